"""Real Celery workers over a real Redis: four parties answer, and one that is killed is survived."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import redis
from celery import Celery

from tests.redis_server import redis_url  # noqa: F401  (a fixture)
from tests.workers.world import QUERY, World, codebook
from workers.ledger import Ledger

ROOT = Path(__file__).parents[2]
PATIENCE = 40.0  # seconds until a test gives up waiting


def served(portal):
    """The fake portal behind a real socket; (server, url)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = f"http://portal.test{self.path}"
            request = httpx.Request(self.command, url, headers=dict(self.headers), content=body)
            answered = portal.answer(request)
            self.send_response(answered.status_code)
            self.send_header("Content-Length", str(len(answered.content)))
            self.end_headers()
            self.wfile.write(answered.content)

        do_GET = do_POST = answer

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"


class Workers:
    """Four worker processes of a world."""

    application = "workers"  # what Celery runs
    round = 3  # seconds of a peer's silence

    def __init__(self, world, url, portal_url, folder):
        self.world, self.url, self.folder = world, url, folder
        self.processes = {}
        # A party's machine needs no more of the tree than this.
        self.program = folder / "program"
        for package in ("workers", "analytics", "mpcnode"):
            shutil.copytree(
                ROOT / package, self.program / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        self.portal_url = portal_url
        self.configure()
        for number in range(4):
            self.start(number)

    def configure(self, **more):
        for number in range(4):
            self.world.write_party_json(
                number, self.portal_url, **{"timeouts": {"join": 10, "round": self.round}, **more}
            )

    def start(self, number, queue="jobs", **more):
        environ = {
            **{k: v for k, v in os.environ.items() if k not in ("DJANGO_SETTINGS_MODULE", "PYTHONPATH")},
            "FOURFOLD_PARTY_DIR": str(self.world.parties[number].config.folder),
            "REDIS_URL": self.url,
            **more,
        }
        name = f"p{number}-{queue}@%h"
        argv = [sys.executable, "-m", "celery", "-A", self.application, "worker", "-n", name]
        argv += ["-Q", queue, "-c", "1", "-P", "prefork", "--without-gossip", "--without-mingle"]
        with open(self.folder / f"p{number}.log", "ab") as log:
            self.processes[number if queue == "jobs" else (number, queue)] = subprocess.Popen(
                argv, cwd=self.program, env=environ, stdout=log, stderr=log, start_new_session=True
            )

    def send(self, task, parties=range(4), **payload):
        for number in parties:
            app = Celery(broker=self.url, set_as_current=False)
            app.conf.broker_transport_options = {"global_keyprefix": f"p{number}:"}
            app.send_task(task, kwargs=payload, queue="jobs", ignore_result=True)
            app.close()

    def children(self, number):
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.processes[number].pid)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [int(pid) for pid in found.stdout.split()]

    def kill(self, number):
        os.killpg(self.processes[number].pid, signal.SIGKILL)
        self.processes[number].wait()

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        for number, process in self.processes.items():
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                self.kill(number)

    def logs(self):
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("p*.log")))


def until(holds, what=""):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def stage(tmp_path_factory, redis_url):  # noqa: F811
    """World, workers and a dataset on the portal; every party alive."""
    folder = tmp_path_factory.mktemp("workers")
    world = World(folder, minimum_cohort=1)
    server, portal_url = served(world.portal)
    workers = Workers(world, redis_url, portal_url, folder)
    try:
        until(lambda: {r["party"] for r in world.portal.said("heartbeat")} == set(range(4)), "heartbeats")
        world.serve(world.prepare(codebook(policy={"minimum_cohort": 1})))
        yield world, workers
    finally:
        workers.stop()
        server.shutdown()
        server.server_close()


def test_a_dataset_comes_in_and_a_question_is_answered_by_four_processes(stage):
    world, workers = stage
    (dataset,) = world.datasets
    workers.send("workers.ingest", dataset=dataset)
    until(lambda: len(world.portal.said("receipt")) == 4, "receipts")
    order = world.order("count()", mode="exact", number=1)
    world.portal.envelopes[QUERY] = world.envelope(order)
    for _ in range(3):  # told three times: run once
        workers.send("workers.run", query=QUERY, attempt=1)
    until(lambda: len(world.portal.said("result")) == 4, "results")
    results = world.portal.said("result")
    assert len({(r["session"], r["result_hash"]) for r in results}) == 1
    integers = [body["integers"] for body in world.portal.reports if "integers" in body]
    assert integers == [[[1, 300]]] * 4
    until(lambda: workers.logs().count("attempt 1: attempt_seen") == 8, "the repeated tasks")
    assert len(world.portal.said("result")) == 4 and world.portal.said("refusal") == []
    client = redis.Redis.from_url(workers.url)
    until(lambda: not list(client.scan_iter("mpc:*")), "no list is left")
    client.close()


def test_a_killed_child_costs_an_attempt_and_never_a_second_answer(stage):
    """Party 2's computing process dies while it waits for the others, who come a little later."""
    world, workers = stage
    order = world.order("count()", mode="exact", number=2)
    world.portal.envelopes[QUERY] = world.envelope(order)
    before = len(world.portal.said("started", 2))
    workers.send("workers.run", [2], query=QUERY, attempt=1)
    until(lambda: len(world.portal.said("started", 2)) > before, "party 2 starts")
    for child in workers.children(2):
        os.kill(child, signal.SIGKILL)
    until(
        lambda: [a for a in world.portal.said("abort", 2) if a["code"] == "crashed"], "the crash is reported"
    )
    (crashed,) = [a for a in world.portal.said("abort", 2) if a["code"] == "crashed"]
    assert crashed["ready"] is False and crashed["order_hash"] == order.hash
    answered = len(world.portal.said("result"))
    world.portal.envelopes[QUERY] = world.envelope(order, attempt=2)
    workers.send("workers.run", query=QUERY, attempt=2)
    until(lambda: len(world.portal.said("result")) == answered + 4, "the second attempt")
    assert {r["attempt"] for r in world.portal.said("result")[answered:]} == {2}


def test_a_cancelled_attempt_ends_while_the_parties_wait_and_is_not_paid(stage):
    """Party 3 never comes; the portal's word ends the wait of the others long before their time-out."""
    world, workers = stage
    order = world.order("count()", mode="exact", number=4)
    world.portal.envelopes[QUERY] = world.envelope(order)
    workers.send("workers.run", [0, 1, 2], query=QUERY, attempt=1)
    until(lambda: len([s for s in world.portal.said("started") if s["order_hash"] == order.hash]) == 3)
    client = redis.Redis.from_url(workers.url)
    client.set(f"cancel:{QUERY}", "1", ex=60)

    def ended():
        return [a for a in world.portal.said("abort") if a["order_hash"] == order.hash]

    until(lambda: len(ended()) == 3, "three parties stop")
    assert "cancelled" in {a["code"] for a in ended()} <= {"cancelled", "peer_aborted"}
    assert not any(a["ready"] for a in ended())
    client.delete(f"cancel:{QUERY}")
    client.close()


def test_a_message_that_is_no_json_or_no_task_of_ours_changes_nothing(stage):
    world, workers = stage
    app = Celery(broker=workers.url, set_as_current=False)
    app.conf.update(broker_transport_options={"global_keyprefix": "p0:"}, task_serializer="pickle")
    app.send_task("workers.ingest", kwargs={"dataset": "0" * 32}, queue="jobs", serializer="pickle")
    app.send_task("os.system", args=["touch /tmp/never"], queue="jobs", serializer="json")
    for name in ("../../healthz", "canary\nline", 5):
        app.send_task("workers.ingest", kwargs={"dataset": name}, queue="jobs", serializer="json")
        app.send_task("workers.run", kwargs={"query": name, "attempt": 1}, queue="jobs", serializer="json")
    app.close()
    until(lambda: "unregistered task" in workers.logs(), "the unknown task")
    until(lambda: workers.logs().count("is no hint of ours") == 6, "six hints")
    (dataset,) = world.datasets
    receipts = len(world.portal.said("receipt", 0))
    workers.send("workers.ingest", [0], dataset=dataset)
    until(lambda: len(world.portal.said("receipt", 0)) > receipts, "party 0 still works")
    assert "canary" not in workers.logs() and not any("healthz" in path for _, path in world.portal.requests)
    assert workers.processes[0].poll() is None
    assert "ContentDisallowed" in workers.logs() or "Refusing to deserialize" in workers.logs()


def test_a_killed_worker_comes_back_with_its_ledger(stage):
    world, workers = stage
    workers.kill(1)
    path = world.parties[1].config.database
    length, head = Ledger(path).verify()
    beats = len(world.portal.said("heartbeat", 1))
    workers.start(1)
    until(lambda: len(world.portal.said("heartbeat", 1)) > beats, "party 1 is back")
    assert world.portal.said("heartbeat", 1)[-1]["ledger"] == {"length": length, "head": head}
    order = world.order("count()", mode="exact", number=3)
    world.portal.envelopes[QUERY] = world.envelope(order)
    answered = len(world.portal.said("result"))
    workers.send("workers.run", query=QUERY, attempt=1)
    until(lambda: len(world.portal.said("result")) == answered + 4, "an answer with the party that came back")


def test_rows_are_spread_over_two_processes_of_each_party(stage):
    world, workers = stage
    large = world.prepare(codebook(capacity=300_032, policy={"minimum_cohort": 1}))
    world.serve(large)
    workers.send("workers.ingest", dataset=large.id)
    until(lambda: len([r for r in world.portal.said("receipt") if r["dataset"] == large.id]) == 4)

    def ask(number):
        order = world.order("sum(age) by arm", datasets=[large.id], mode="exact", number=number)
        world.portal.envelopes[QUERY] = world.envelope(order)
        before = len(world.portal.said("result"))
        workers.send("workers.run", query=QUERY, attempt=1)
        until(lambda: len(world.portal.said("result")) == before + 4, "an answer")
        return next(body["integers"] for body in reversed(world.portal.reports) if "integers" in body)

    workers.configure(ring_views_mb=0)  # with its column stored the table would be one block
    alone = ask(11)
    beats = len(world.portal.said("heartbeat"))
    workers.configure(drivers=2, ring_views_mb=0, timeouts={"join": 20, "round": 20})
    for number in range(4):
        workers.start(number, "helpers")
    assert ask(12) == alone
    assert workers.logs().count("driver 1: joined") == 4
    assert len(world.portal.said("heartbeat")) <= beats + 8  # helpers have none of their own
    client = redis.Redis.from_url(workers.url)
    names = (f"mpc:*{12:032x}*", f"mpc:*{QUERY}*")
    until(lambda: not any(list(client.scan_iter(name)) for name in names), "no list is left")
    client.close()


def test_neither_keys_nor_the_exact_count_are_in_the_logs(stage):
    world, workers = stage
    logs = workers.logs()
    assert QUERY in logs and "[[1, 300]]" not in logs
    for party in world.parties:
        assert party.keys.store.hex() not in logs
