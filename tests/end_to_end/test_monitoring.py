"""What an operator watches of a running stack: JSON logs of every process, metrics of portal and parties."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.conftest import codebook
from tests.end_to_end.running import Running, four_free_ports
from tests.portal.receiver import Receiver

TOKEN = "scrape-me-please"
PROGRAM = 'count() where region = "northeast"'


@pytest.fixture(scope="module")
def hooked():
    """A receiver of webhooks on this machine."""
    receiver = Receiver()
    receiver.url = f"http://127.0.0.1:{receiver.port}/"
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory, tables, hooked):
    """A stack with two web processes in which one query was answered."""
    stack = Running(
        tmp_path_factory.mktemp("watched") / "var",
        LOG_FORMAT="json",
        METRICS_TOKEN=TOKEN,
        METRICS_PORT=str(four_free_ports()),
        WEB_CONCURRENCY="2",
        FOURFOLD_WEBHOOKS_LOOPBACK="true",
    )
    try:
        stack.wait_ready()
        stack.dataset = stack.upload("provider", codebook("dp"), tables[0])
        with stack.client("analyst") as analyst:
            hook = analyst.post("webhooks/", json={"url": hooked.url})
            assert hook.status_code == 201, hook.text
            stack.secret = hook.json()["secret"]
            asked = analyst.post(
                "queries/",
                json={"program": PROGRAM, "datasets": [stack.dataset], "epsilon": "4", "mode": "dp"},
                headers={"X-Request-ID": "asked-1"},
            )
        stack.query = asked.json()["id"]
        stack.approve(stack.query)
        assert stack.result(stack.query).status_code == 200
        yield stack
    finally:
        stack.end_somehow()


def scraped(url, token=""):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.get(url, headers=headers, timeout=20, trust_env=False)
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def total(samples, name, **labels):
    wanted = set(labels.items())
    return sum(v for (n, found), v in samples.items() if n == name and wanted <= set(found))


def lines(stack, name):
    return [json.loads(line) for line in (stack.var / "log" / f"{name}.log").read_text().splitlines()]


def test_every_line_of_every_process_is_one_json_object(watched):
    for name in ("web", "dispatch", *(f"party{n}" for n in range(4))):
        found = lines(watched, name)
        assert all({"time", "level", "logger", "message"} <= set(line) for line in found), name
        assert all(line["time"].endswith("Z") for line in found)


def said_of(stack, party, within=30.0):
    """A party's lines about the query; three signatures release it, so the fourth party may still be at it."""
    deadline = time.monotonic() + within
    while True:
        ours = [line for line in lines(stack, f"party{party}") if line.get("query") == stack.query]
        if ours or time.monotonic() > deadline:
            return ours
        time.sleep(0.2)


def test_celery_s_own_lines_are_among_them_and_name_party_and_query(watched):
    for party in range(4):
        found = lines(watched, f"party{party}")
        loggers = {line["logger"] for line in found}
        assert any(logger.startswith("celery") for logger in loggers), loggers
        assert {line["party"] for line in found} == {party} and {line["role"] for line in found} == {"party"}
        ours = said_of(watched, party)
        assert ours and {line["attempt"] for line in ours} == {1}
        assert all(line["request"] for line in ours)


def test_a_party_s_request_has_the_same_id_in_the_log_of_the_portal(watched):
    """The answer was released by the last party's report, whose id is that of its task."""
    released = [line for line in lines(watched, "web") if line["message"].startswith("query released")]
    (last,) = [line for line in released if line["query"] == watched.query]
    ours = lines(watched, f"party{last['party']}")
    assert last["request"] in {line["request"] for line in ours if line.get("query") == watched.query}


def test_the_request_id_that_the_analyst_chose_is_in_the_log(watched):
    submitted = [line for line in lines(watched, "web") if line.get("request") == "asked-1"]
    assert [line["message"].split()[:2] for line in submitted] == [["query", "submitted"]]


def test_no_log_holds_a_token_a_password_or_the_program(watched):
    access = watched.access
    secrets = [*access["tokens"].values(), *access["passwords"].values(), TOKEN, "northeast"]
    for path in (watched.var / "log").glob("*.log"):
        text = path.read_text()
        assert [secret for secret in secrets if secret in text] == [], path.name


def test_counts_of_requests_add_up_over_the_processes_of_the_web_server(watched):
    url = f"{watched.url}/metrics"
    name, labels = "fourfold_http_request_seconds_count", {"route": "api:me", "status": "200"}
    before = total(scraped(url, TOKEN), name, **labels)

    def ask(_):
        # A connection each: the kernel hands them to whichever process is free.
        with watched.client("analyst") as analyst:
            assert analyst.get("me/").status_code == 200

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(60)))
    seen = {total(scraped(url, TOKEN), name, **labels) - before for _ in range(6)}
    assert seen == {60}
    files = list((watched.var / "portal" / "metrics").glob("histogram_*.db"))
    assert len(files) >= 2  # both processes counted


def test_the_portal_shows_queries_parties_queues_and_uploads(watched):
    found = scraped(f"{watched.url}/metrics", TOKEN)
    assert total(found, "fourfold_queries", state="RELEASED") == 1
    assert total(found, "fourfold_uploads_total") == 1
    assert total(found, "fourfold_broker_up") == 1
    assert [total(found, "fourfold_queue_length", party=str(n)) for n in range(4)] == [0] * 4
    ages = [v for (n, _), v in found.items() if n == "fourfold_party_heartbeat_age_seconds"]
    assert len(ages) == 4 and max(ages) < 15


def test_metrics_of_the_portal_are_closed_to_strangers(watched):
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = httpx.get(f"{watched.url}/metrics", headers=headers, trust_env=False)
        assert answer.status_code == 401


def test_each_party_shows_its_session_on_its_own_port(watched):
    ports = [
        int(re.search(r"metrics on 127\.0\.0\.1:(\d+)", line["message"])[1])
        for n in range(4)
        for line in lines(watched, f"party{n}")
        if line["message"].startswith("metrics on")
    ]
    assert len(set(ports)) == 4
    for port in ports:
        found = scraped(f"http://127.0.0.1:{port}/metrics")
        assert total(found, "fourfold_party_sessions_total", outcome="answered") == 1
        assert total(found, "fourfold_party_rounds_total") > 0
        assert total(found, "fourfold_party_ledger_lines") == 2  # reserved, spent
        assert total(found, "fourfold_party_store_bytes") > 0


def test_the_dispatcher_s_process_tells_a_webhook_signed_with_its_secret(watched, hooked):
    deadline = time.monotonic() + 30
    while len(hooked.heard) < 2:
        assert time.monotonic() < deadline, hooked.heard
        time.sleep(0.1)
    events = set()
    for _, headers, body in hooked.heard:
        stamp, signed = (part.partition("=")[2] for part in headers["Fourfold-Signature"].split(","))
        key = watched.secret.encode()
        assert signed == hmac.new(key, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        events.add((json.loads(body)["event"], json.loads(body)["query"]))
    assert events == {("query.approved", watched.query), ("query.released", watched.query)}
