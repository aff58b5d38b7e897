"""Operators' work on a real stack: doctor, health, drain and resume, a backup that brings a lost party back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import codebook
from tests.end_to_end.running import ROOT, Running

COUNT = "count() where age >= 60"


def environ_of(stack: Running, party: int) -> dict[str, str]:
    """What the party's own process was started with."""
    raw = Path(f"/proc/{stack.children()[f'party{party}']}/environ").read_bytes()
    return dict(item.split("=", 1) for item in raw.decode().split("\0") if "=" in item)


def workers(environ: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workers", *argv], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )  # fmt: skip


def manage(stack: Running, *argv: str) -> subprocess.CompletedProcess[str]:
    """A command on the stack's own VAR, as an operator types it."""
    clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environ = clean | {"VAR": str(stack.var), "FOURFOLD_DEMO": "1"}
    return subprocess.run(
        [sys.executable, "manage.py", *argv], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )  # fmt: skip


def until(holds, what: str, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.2)


def parties(stack: Running) -> list[dict]:
    with stack.client("operator") as operator:
        return operator.get("parties/").json()["parties"]


@pytest.mark.parametrize("party", [0, 3])
def test_the_doctor_finds_nothing_wrong_with_a_party_of_a_running_stack(world, party):
    done = workers(environ_of(world.stack, party), "doctor", "--deep", "--json")
    found = {entry["check"]: entry for entry in json.loads(done.stdout)}
    amiss = {name: entry for name, entry in found.items() if entry["state"] != "ok"}
    assert (done.returncode, amiss) == (0, {})
    assert "datasets" in found["store"]["message"] and "sealed columns open" in found["store"]["message"]


def test_every_party_is_ok_and_says_how_its_store_is(world):
    world.stack.ask(COUNT, world.datasets["exact"], mode="exact")
    # What a party saw of its peers in that session is in its next heartbeat.
    until(lambda: all(len(p["health"]["peers"]) == 3 for p in parties(world.stack)), "heartbeats")
    listed = parties(world.stack)
    # On a busy machine a heartbeat may be late or a PING slow for a while.
    until(lambda: all(p["state"] == "ok" for p in parties(world.stack)), f"all ok: {listed}")
    for party in listed:
        said = party["health"]
        assert said["store"]["datasets"] >= 4 and said["store"]["columns"] > 20 and said["redis_us"] > 0
        assert said["fingerprint"] == party["fingerprint"]
        assert {peer for peer, _, _ in said["peers"]} == set(range(4)) - {party["party"]}
    assert len({p["health"]["constants"] for p in listed}) == len({p["code_version"] for p in listed}) == 1


def test_a_drained_stack_starts_nothing_until_it_is_resumed(world):
    stack = world.stack
    done = manage(stack, "drain", "--by", "ann", "--reason", "upgrade")
    try:
        assert done.returncode == 0 and "drained" in done.stdout, done.stderr
        query = stack.submit("count() where age >= 44", world.datasets["exact"], mode="exact")
        stack.approve(query)
        time.sleep(2)
        assert stack.state(query) == "APPROVED"
    finally:
        done = manage(stack, "resume", "--by", "ann")
    assert done.returncode == 0, done.stderr
    answer = stack.result(query)
    assert answer.status_code == 200, answer.text


@pytest.mark.nightly
def test_a_lost_party_comes_back_from_its_backup_and_an_older_backup_is_refused(tmp_path, tables):
    """Drained, backed up, lost, restored: it answers. From a backup before the last answer: peers refuse, named."""
    stack = Running(tmp_path / "var").wait_ready()
    try:
        dataset = stack.upload("provider", codebook("exact"), tables[0])
        folder, environ = stack.var / "parties/2", environ_of(stack, 2)
        first = stack.ask(COUNT, [dataset], mode="exact")
        old = workers(environ, "backup", str(tmp_path / "old"))
        assert old.returncode == 0, old.stderr
        stack.ask("count() where age < 60", [dataset], mode="exact")
        assert workers(environ, "backup", str(tmp_path / "new")).returncode == 0
        stack.stop(signal.SIGTERM)

        def lose() -> None:
            for path in [*folder.glob("party.sqlite3*"), folder / "store"]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

        lose()
        done = workers(environ, "restore", str(tmp_path / "new"))
        assert done.returncode == 0 and "is not known" in done.stderr, done.stderr
        stack = Running(tmp_path / "var").wait_ready()
        again = stack.ask("count() where age >= 61", [dataset], mode="exact")
        assert again["statements"][0]["groups"][0]["value"] < first["statements"][0]["groups"][0]["value"]
        stack.stop(signal.SIGTERM)

        lose()
        assert workers(environ, "restore", str(tmp_path / "old")).returncode == 0
        stack = Running(tmp_path / "var").wait_ready()
        query = stack.submit("count() where age >= 62", [dataset], mode="exact")
        stack.approve(query)
        answer = stack.result(query)
        assert answer.status_code == 409 and answer.json()["code"] == "aborted", answer.text
        with stack.client("operator") as operator:
            said = operator.get(f"queries/{query}/").json()
        assert "older than its peers saw" in json.dumps(said)
        until(lambda: parties(stack)[2]["state"] == "degraded", "party 2 is degraded", 30)
        assert "set back, and peers refuse it" in parties(stack)[2]["reasons"][0]
        doctor = workers(environ_of(stack, 2), "doctor", "--json")
        (failed,) = [entry for entry in json.loads(doctor.stdout) if entry["state"] == "failed"]
        assert (
            failed["check"] == "ledger"
            and "that are not in it" in failed["message"]
            and doctor.returncode == 1
        )
    finally:
        stack.end_somehow()


def test_the_audit_trail_of_a_running_stack_holds_and_all_four_parties_have_signed_it(world, tmp_path):
    file = tmp_path / "trail.jsonl"
    deadline, signers = time.monotonic() + 60, set()
    while signers != {0, 1, 2, 3}:
        assert time.monotonic() < deadline, signers
        file.unlink(missing_ok=True)
        exported = manage(world.stack, "export_audit", str(file))
        assert exported.returncode == 0, exported.stderr
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        signers = {row["signed"]["party"] for row in rows if "signed" in row}
        time.sleep(0.5)
    assert any(row["event"]["kind"] == "dataset announced" for row in rows if "event" in row)
    for argv in ([], [str(file)]):
        checked = manage(world.stack, "verify_audit", *argv)
        assert checked.returncode == 0 and "holds" in checked.stdout, checked.stderr
