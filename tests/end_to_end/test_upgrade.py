"""What an older commit's stack left in its VAR serves today's: tables, answers, budgets, ledgers.

FOURFOLD_UPGRADE_FROM names the commit; the one before the last is the default. Needs git and its history.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.end_to_end.conftest import codebook
from tests.end_to_end.running import ROOT, Running, run

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def older(tmp_path_factory) -> Path:
    """The tree of an older commit."""
    commit = os.environ.get("FOURFOLD_UPGRADE_FROM", "HEAD~1")
    try:
        packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as wrong:
        pytest.skip(f"git does not give the tree of {commit}: {wrong}")
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_a_var_of_an_older_commit_serves_todays_stack(older, tables, tmp_path):
    stack = Running(tmp_path / "var", root=older).wait_ready()
    try:
        datasets = {mode: stack.upload("provider", codebook(mode), tables[0]) for mode in ("dp", "exact")}
        counted = stack.ask("count() where age >= 60", [datasets["exact"]], mode="exact")
        noised = stack.submit('average("bmi")', [datasets["dp"]])
        stack.approve(noised)
        assert stack.result(noised).status_code == 200
        with stack.client("analyst") as analyst:
            before = analyst.get(f"queries/{noised}/result/").content
            budget = analyst.get(f"budget/?dataset={datasets['dp']}").json()
        lines = {n: ledger(stack, n) for n in range(4)}
        assert stack.stop(signal.SIGTERM) == 0

        stack = Running(tmp_path / "var").wait_ready()
        with stack.client("analyst") as analyst:
            assert analyst.get(f"queries/{noised}/result/").content == before
            [now], [was] = analyst.get(f"budget/?dataset={datasets['dp']}").json(), budget
            assert {name: now[name] for name in was} == was
        assert {n: ledger(stack, n) for n in range(4)} == lines
        rest = stack.ask("count() where age < 60", [datasets["exact"]], mode="exact")
        values = [said["statements"][0]["groups"][0]["value"] for said in (counted, rest)]
        assert sum(values) == 1640
        again = stack.submit('average("age")', [datasets["dp"]])
        stack.approve(again)
        assert stack.result(again).status_code == 200
        fresh = stack.upload("provider2", codebook("exact"), tables[1])
        assert stack.ask("count() where age >= 60", [fresh], mode="exact")["statements"]
        assert stack.stop(signal.SIGTERM) == 0
    finally:
        stack.end_somehow()


def ledger(stack: Running, party: int) -> str:
    done = run(["-m", "workers", "verify-ledger", str(stack.var / f"parties/{party}")])
    assert done.returncode == 0, done.stderr
    return done.stdout
