"""The stack itself: two side by side, a second start, a killed party, an end in mid-query."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from portal.stack import valkey
from tests.end_to_end.conftest import codebook
from tests.end_to_end.running import Running, left_behind, writers

# Long enough to be interrupted: many products of columns over a large capacity.
LONG = "\n".join(
    f"correlate({one}, {other}) epsilon 0.1"
    for one, other in (
        ("age", "bmi"),
        ("age", "tumour_size"),
        ("bmi", "tumour_size"),
        ("age", "time_till_death"),
    )
)


@pytest.fixture
def start(tmp_path):
    stacks: list[Running] = []

    def start(name: str = "var", **more) -> Running:
        stacks.append(Running(tmp_path / name, **more))
        return stacks[-1]

    yield start
    for each in stacks:
        each.end_somehow()


def test_access_is_written_last_for_its_owner_alone_with_everything_a_script_needs(stack):
    path = stack.var / "access.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    names = {"provider", "provider2", "analyst", "analyst2", "operator", "auditor"}
    assert stack.access.keys() >= {"url", "tokens", "passwords", "parties", "portal"}
    assert stack.access["tokens"].keys() == stack.access["passwords"].keys() == names
    assert [party["party"] for party in stack.access["parties"]] == [0, 1, 2, 3]
    assert all(len(party["fingerprint"]) == 32 for party in stack.access["parties"])
    assert stack.access["portal"].keys() == {"sign", "fingerprint"}
    assert stack.lines[-1] == f"ready {stack.url}"


def test_the_start_says_that_it_is_a_demonstration_and_how_low_the_floors_are(stack):
    said = " ".join(stack.lines)
    assert "demo deployment" in said
    assert "minimum cohort 1 " in said and "epsilon per query 20 " in said and "exact mode on" in said


def test_the_served_party_keys_are_those_of_the_access_file(stack):
    with stack.client("analyst") as client:
        served = client.get("parties/").json()
    served = served["parties"] if isinstance(served, dict) else served
    for mine, theirs in zip(stack.access["parties"], served, strict=True):
        assert mine.items() <= theirs.items()


def test_each_program_leads_its_own_session_and_parties_know_no_secret_of_the_portal(stack):
    children = stack.children()
    assert children.keys() == {"web", "dispatch", "valkey", "party0", "party1", "party2", "party3"}
    for name, pid in children.items():
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        if name.startswith("party"):
            for word in (
                b"DJANGO_SETTINGS_MODULE=",
                b"SECRET_KEY=",
                b"DATABASE_URL=",
                b"FOURFOLD_PORTAL_KEY=",
            ):
                assert word not in environ


def test_keys_and_settings_are_readable_by_their_owner_alone(stack):
    loose = [
        path
        for part in ("parties", "portal", "valkey", "log")
        for path in (stack.var / part).rglob("*")
        if path.is_file()
        and path.suffix in {".pem", ".key", ".json", ".conf", ".log"}
        and path.stat().st_mode & 0o077
    ]
    assert loose == []
    assert stat.S_IMODE(stack.var.stat().st_mode) == 0o700


def test_a_taken_port_is_one_line_and_exit_1(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, errors = start(port=taken.getsockname()[1]).ended()
    assert code == 1
    assert len(errors) == 1 and "cannot be used" in errors[0]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("REDIS_URL", "redis://127.0.0.1:1/0", "the Redis server did not answer"),
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none", "the database cannot be used"),
    ],
)
def test_a_server_that_is_not_there_is_one_line_and_exit_1(start, name, value, said):
    running = start(**{name: value})
    code, _, errors = running.ended()
    assert code == 1
    assert len(errors) == 1 and said in errors[0]
    assert left_behind(running.var, within=0) == []


def test_a_second_stack_on_the_same_var_is_refused_in_one_line_and_harms_nothing(stack):
    second = Running(stack.var)
    code, _, errors = second.ended()
    assert code == 1
    assert len(errors) == 1 and "another stack is running" in errors[0]
    with stack.client("analyst") as client:
        assert client.get("datasets/").status_code == 200


def test_it_stops_at_once_when_told_to_and_starts_again_with_everything_it_had(start, tables):
    first = start().wait_ready()
    dataset = first.upload("provider", codebook("exact"), tables[0])
    counted = first.ask("count() where age >= 60", [dataset], mode="exact")["statements"][0]["groups"][0]
    began = time.monotonic()
    assert first.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10
    assert left_behind(first.var, within=0) == []

    second = start().wait_ready()
    for part in ("tokens", "passwords", "parties", "portal"):
        assert second.access[part] == first.access[part]
    again = second.ask("count() where age < 60", [dataset], mode="exact")["statements"][0]["groups"][0]
    assert counted["value"] + again["value"] == 1640
    # A person presses ctrl-C.
    assert second.stop(signal.SIGINT) == 0
    assert left_behind(second.var, within=0) == []


def test_a_killed_supervisor_leaves_nothing_in_the_way_of_the_next_start(start):
    first = start().wait_ready()
    first.process.kill()
    first.process.wait()
    second = start().wait_ready()
    assert second.access["tokens"] == first.access["tokens"]
    assert second.stop() == 0
    assert left_behind(second.var) == []


def long_query(stack: Running, table) -> str:
    dataset = stack.upload("provider", codebook("dp", capacity=2**18), table)
    return stack.submit(LONG, [dataset], epsilon="1")


def wait_running(stack: Running, query: str) -> None:
    deadline = time.monotonic() + 60
    while stack.state(query) != "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_ends_within_ten_seconds_in_the_middle_of_a_query_which_the_next_start_answers(start, tables):
    running = start().wait_ready()
    query = long_query(running, tables[0])
    running.approve(query)
    wait_running(running, query)
    time.sleep(0.3)
    began = time.monotonic()
    assert running.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10
    assert left_behind(running.var, within=0) == []


@pytest.mark.parametrize(
    ("party", "leader_too"), [(0, True), (3, False)], ids=["whole party", "its computing child"]
)
def test_a_party_killed_in_the_middle_of_a_query_makes_a_new_attempt_and_one_release(
    stack, tables, party, leader_too
):
    title = f"killed party {party}"
    dataset = stack.upload(
        "provider", codebook("dp", capacity=2**18, title=title, description=title), tables[0]
    )
    query = stack.submit(LONG, [dataset], epsilon="1")
    stack.approve(query)
    wait_running(stack, query)
    time.sleep(0.3)
    for pid, log in list(writers(stack.var)):
        if log.stem == f"party{party}" and (leader_too or os.getsid(pid) != pid):
            os.kill(pid, signal.SIGKILL)
    answer = stack.result(query, within=180)
    assert answer.status_code == 200, f"{answer.text}\n{stack.logs()}"
    with stack.client("analyst") as client:
        attempts = client.get(f"queries/{query}/").json()["attempts"]
        (line,) = client.get("budget/", params={"dataset": dataset}).json()
    assert [attempt["state"] for attempt in attempts] == ["FAILED", "RELEASED"]
    assert line["reserved"] == "0.000000"
    # Four lines of 0.1: once, or twice if the killed attempt was past the point of no return.
    assert line["spent"] in ("0.400000", "0.800000")
    assert len(answer.json()["signatures"]) in (3, 4)
    assert any(f"party {party} ended" in line for line in stack.lines) == leader_too


def test_a_party_killed_while_a_table_comes_in_signs_its_receipt_when_it_is_back(stack, tables):
    for pid, log in list(writers(stack.var)):
        if log.stem == "party2":
            os.kill(pid, signal.SIGKILL)
    # Prints the id only when all four receipts are in.
    dataset = stack.upload("provider2", codebook("exact", title="killed meanwhile"), tables[1])
    with stack.client("analyst") as client:
        seen = client.get(f"datasets/{dataset}/").json()
    assert seen["state"] == "READY"
    assert sorted(receipt["party"] for receipt in seen["receipts"]) == [0, 1, 2, 3]
    (statement,) = stack.ask("count()", [dataset], mode="exact")["statements"]
    assert statement["groups"][0]["value"] == 1520


def test_two_stacks_side_by_side_do_not_meet(stack, start):
    other = start("other").wait_ready()
    assert other.url != stack.url
    keys = [{party["sign"] for party in each.access["parties"]} for each in (stack, other)]
    assert not keys[0] & keys[1]
    assert other.access["tokens"]["analyst"] != stack.access["tokens"]["analyst"]
    with stack.client("analyst") as client:
        assert (
            client.get(
                "datasets/", headers={"Authorization": f"Token {other.access['tokens']['analyst']}"}
            ).status_code
            == 401
        )
    assert other.stop() == 0
    assert left_behind(other.var, within=0) == []
    with stack.client("analyst") as client:
        assert client.get("datasets/").status_code == 200


@pytest.mark.nightly
def test_an_idle_stack_takes_less_than_three_hundredths_of_a_core(start):
    running = start().wait_ready()
    family = {pid for pid, _ in writers(running.var)} | {running.process.pid}
    time.sleep(10)

    def ticks() -> int:
        return sum(
            sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
            for pid in family
        )

    before, began = ticks(), time.monotonic()
    time.sleep(60)
    share = (ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)
    assert share < 0.03
    assert running.stop() == 0


def test_a_given_redis_is_used_as_it_is_and_left_running(start, tables, tmp_path):
    child, urls = valkey.server(tmp_path / "given", tmp_path / "given.log", dict(os.environ))
    child.start()
    try:
        valkey.wait_for(urls.admin)
        running = start(REDIS_URL=urls.admin).wait_ready()
        assert "valkey" not in running.children()
        dataset = running.upload("provider", codebook("exact"), tables[0])
        (statement,) = running.ask("count()", [dataset], mode="exact")["statements"]
        assert statement["groups"][0]["value"] == 1640
        assert running.stop() == 0
        assert child.ended() is None
    finally:
        child.kill()
