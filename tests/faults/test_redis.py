"""Redis dies and comes back empty: sessions end, queued work is neither lost nor done twice."""

from __future__ import annotations

import time

import httpx
import pandas
import pytest

from tests.end_to_end.conftest import codebook, tables  # noqa: F401  (a fixture)
from tests.end_to_end.running import Running
from tests.redis_server import RedisServer
from tests.workers.test_worker import until


def crash(server):
    """SIGKILL; the same port again, with nothing in it."""
    server.kill()
    server.start()


@pytest.mark.parametrize("label", ["before message 5", "before message 14"])
def test_a_redis_that_dies_in_the_middle_ends_the_attempt_and_the_next_one_is_answered(stage, label, figure):
    """Number 3. One label is in the handshake, the other in the rounds."""
    order = stage.order()
    stage.doom(2, label, "hold")
    stage.tell(order)
    until(lambda: stage.fired(2), "party 2 waits")
    crash(stage.server)
    stage.go(2)
    results, aborts = stage.ended(order)
    assert results == [] and {a["code"] for a in aborts} <= {"timeout", "peer_aborted"}
    assert [stage.events(p, order) for p in range(4)] == [["RESERVED", "RETURNED"]] * 4
    began = time.monotonic()
    stage.tell(order, attempt=2)
    stage.answered(order, attempt=2)
    figure(f"answered {time.monotonic() - began:.1f} s after Redis was back")
    stage.no_lists_left(order)


def ends(stack, queries, within):
    """{query: state} once all are final."""
    deadline = time.monotonic() + within
    with stack.client("analyst") as client:
        while True:
            states = {}
            for query in queries:
                try:
                    states[query] = client.get(f"queries/{query}/").json()["state"]
                except (httpx.HTTPError, ValueError):
                    states[query] = "?"
            if set(states.values()) <= {"RELEASED", "ABORTED"}:
                return states
            assert time.monotonic() < deadline, f"{states}\n{stack.logs()}"
            time.sleep(0.5)


@pytest.mark.nightly
@pytest.mark.stack
@pytest.mark.timeout(1800)
def test_each_of_fifty_queries_that_waited_while_redis_died_twice_ends_once(tmp_path, tables, figure):  # noqa: F811
    """Number 4. A Redis without persistence, given by its address; eight queries in flight, so its queues hold tasks."""
    jobs = 50
    ages = pandas.read_csv(tables[0])["age"]
    server = RedisServer().start()
    stack = Running(tmp_path / "var", REDIS_URL=server.url, FOURFOLD_JOBS_IN_FLIGHT="8")
    try:
        stack.wait_ready()
        dataset = stack.upload("provider", codebook("exact", minimum_cohort=1), tables[0])
        queries = {
            stack.submit(f"count() where age >= {age}", [dataset], mode="exact"): age
            for age in range(40, 40 + jobs)
        }
        for query in queries:
            stack.approve(query)
        for _ in range(2):
            time.sleep(2.0)
            crash(server)
        states = ends(stack, queries, 1200)
        with stack.client("analyst") as client:
            for query, state in states.items():
                seen = client.get(f"queries/{query}/").json()
                released = [a for a in seen["attempts"] if a["state"] == "RELEASED"]
                assert len(released) == (state == "RELEASED") and len(seen["attempts"]) <= 2, seen
                answer = client.get(f"queries/{query}/result/")
                assert answer.status_code == (200 if state == "RELEASED" else 409)
                if state == "RELEASED":
                    count = int((ages >= queries[query]).sum())
                    assert answer.json()["statements"][0]["groups"][0]["value"] == count
            (line,) = client.get("budget/", params={"dataset": dataset}).json()
        assert line["reserved"] == "0.000000"
        done = list(states.values()).count("RELEASED")
        figure(f"{done} of {jobs} released, the others aborted")
        assert done >= jobs - 16  # two crashes with eight in flight
    finally:
        stack.end_somehow()
        server.close()
