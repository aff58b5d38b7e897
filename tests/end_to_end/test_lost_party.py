"""The drill of docs/lost-party.md with real processes: a party falls silent, comes back behind, and is replaced."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import codebook
from tests.end_to_end.running import Running, run

FRESH = "7"  # seconds: a beat is every five
ACCOUNT = "provider"
BEFORE, WITHOUT, AFTER = "count() by arm", "count() by region", "count() by arm\ncount() by sex"


class Drill:
    """One stack whose party `lost` goes away, and what the people around it do."""

    def __init__(self, stack: Running, lost: int) -> None:
        self.stack, self.lost = stack, lost
        self.rest = [p for p in range(4) if p != lost]
        self.stopped = 0

    def silence(self) -> None:
        """As if its machine were gone: its processes stop in the middle of whatever they do."""
        self.stopped = self.stack.children()[f"party{self.lost}"]
        os.killpg(self.stopped, signal.SIGSTOP)

    def wake(self) -> None:
        if self.stopped:
            os.killpg(self.stopped, signal.SIGCONT)
            self.stopped = 0

    def allow_three(self) -> None:
        for party in self.rest:
            path = folder(self.stack, party) / "party.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"three_party": True}))

    def operator(self, path: str, **body: object):
        with self.stack.client("operator") as operator:
            return operator.post(path, json=body)

    def eventually(self, path: str, **body: object) -> dict:
        """The operator tries until it is allowed."""
        deadline = time.monotonic() + 60
        while not (answer := self.operator(path, **body)).is_success:
            assert answer.status_code == 409 and time.monotonic() < deadline, (
                f"{answer.text}\n{self.stack.logs()}"
            )
            time.sleep(0.5)
        return answer.json()

    def provider(self, command: str, *arguments: str):
        key = self.stack.var / "hospitals" / ACCOUNT / "key.pem"
        given = ["--url", self.stack.url, "--token", self.stack.access["tokens"][ACCOUNT], "--key", str(key)]
        return run(
            ["-m", "providers", command, *given, "--parties", str(self.stack.var / "access.json"), *arguments]
        )

    def ask(self, program: str, dataset: str) -> dict:
        return self.stack.ask(program, [dataset], mode="exact")


def folder(stack: Running, party: int) -> Path:
    return stack.var / "parties" / str(party)


def signs(stack: Running) -> dict[int, str]:
    return {p["party"]: p["sign"] for p in stack.access["parties"]}


def counts(result: dict, statement: int = 0) -> dict[str, int]:
    return {str(g["by"]): g["value"] for g in result["statements"][statement]["groups"]}


@pytest.mark.parametrize("lost", [2, *(pytest.param(p, marks=pytest.mark.nightly) for p in (0, 1, 3))])
def test_a_lost_party_is_done_without_comes_back_and_is_replaced(tmp_path, tables, lost):
    stack = Running(tmp_path / "var", FOURFOLD_PARTY_FRESH=FRESH)
    drill = Drill(stack, lost)
    try:
        stack.wait_ready()
        dataset = stack.upload(ACCOUNT, codebook("exact"), tables[0])
        before = drill.ask(BEFORE, dataset)
        assert len(before["signatures"]) >= 3 and before["security"] == "four-party, active"

        goes_on_among_three(drill, dataset)
        comes_back_behind(drill, dataset)

        old = signs(stack)
        stack.stop()
        shutil.rmtree(folder(stack, lost))
        drill.stack = stack = Running(stack.var, FOURFOLD_PARTY_FRESH=FRESH)
        stack.wait_ready()
        after = is_replaced(drill, dataset)
        assert counts(after) == counts(before)
        assert after["security"] == "four-party, active"
        assert {p for p in range(4) if old[p] != signs(stack)[p]} == {lost}
    finally:
        drill.wake()
        stack.end_somehow()


def goes_on_among_three(drill: Drill, dataset: str) -> None:
    stack, lost = drill.stack, drill.lost
    drill.silence()
    drill.allow_three()
    assert drill.operator(f"parties/{lost}/lost/", reason="drill").status_code == 409  # it reported just now
    assert drill.eventually(f"parties/{lost}/lost/", reason="drill")["lost"] is True
    query = stack.submit(WITHOUT, [dataset], mode="exact")
    approved = drill.operator(f"queries/{query}/approve/", reason="urgent", missing=lost)
    assert approved.json()["security"] == "three-party, passive"
    time.sleep(1)
    assert stack.state(query) == "APPROVED"  # it waits for consent
    done = drill.provider("consent", query, "--yes")
    assert done.returncode == 0 and f"party {lost} is missing" in done.stderr, done.stderr
    answer = stack.result(query)
    assert answer.status_code == 200, f"{answer.text}\n{stack.logs()}"
    result = answer.json()
    assert (result["security"], result["missing"]) == ("three-party, passive", lost)
    assert [s["party"] for s in result["signatures"]] == drill.rest
    saved = stack.var / "result.json"
    saved.write_text(json.dumps(result))
    checked = run(["-m", "analytics", "verify", str(saved), "--parties", str(stack.var / "access.json")])
    assert f"three-party, passive: party {lost} was missing" in checked.stdout, checked.stderr


def comes_back_behind(drill: Drill, dataset: str) -> None:
    stack, lost = drill.stack, drill.lost
    drill.wake()
    drill.eventually(f"parties/{lost}/returned/", reason="drill")
    query = stack.submit("count() by sex", [dataset], mode="exact")
    stack.approve(query)
    answer = stack.result(query)
    assert answer.status_code == 409 and answer.json()["abort_code"] == "ledger_behind", answer.text
    done = run(["-m", "workers", "take-over", str(folder(stack, lost))])
    assert done.returncode == 0 and "1 debit taken over" in done.stdout, done.stderr
    assert drill.ask("count() by sex", dataset)["security"] == "four-party, active"


def is_replaced(drill: Drill, dataset: str) -> dict:
    stack = drill.stack
    query = stack.submit(AFTER, [dataset], mode="exact")
    assert drill.operator(f"queries/{query}/approve/", reason="").status_code == 409
    done = drill.provider("sign-parties", dataset, "--yes")
    assert done.returncode == 0 and f"party {drill.lost} is replaced" in done.stderr, done.stderr
    drill.eventually(f"queries/{query}/approve/", reason="")
    answer = stack.result(query)
    assert answer.status_code == 200, f"{answer.text}\n{stack.logs()}"
    result: dict = answer.json()
    return result
