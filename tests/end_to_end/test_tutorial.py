"""The commands of docs/tutorial.md, run as they stand, against a stack that runs already."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.running import ROOT

PAGE = ROOT / "docs/tutorial.md"
MARK = "---- block "
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="the page approves with curl")


@pytest.fixture(scope="module")
def blocks() -> list[tuple[str, str]]:
    """(language, text) of each block: bash is run, text is what it must print, console is for reading only."""
    found = BLOCK.findall(PAGE.read_text())
    assert {language for language, _ in found} == {"bash", "text", "console"}
    return found


@pytest.fixture(scope="module")
def told(stack, blocks, tmp_path_factory) -> list[str]:
    """What each block of bash printed, all of them run in one shell that stops at the first failure."""
    tools = tmp_path_factory.mktemp("tools")
    # Not a link to the interpreter: that would be a Python without its environment.
    (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tools / "python").chmod(0o755)
    # Of a page that fails half-way no question goes on polling.
    script = "set -eu -o pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + "\n".join(
        f"echo '{MARK}'\n{text}" for language, text in blocks if language == "bash"
    )
    clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    scratch = tmp_path_factory.mktemp("scratch")
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=clean | {"PATH": f"{tools}:{os.environ['PATH']}", "VAR": str(stack.var), "TMPDIR": str(scratch)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}\n{stack.logs()}"
    return ran.stdout.split(MARK + "\n")[1:]


def work(told) -> Path:
    """The folder of the page: where its first command says it wrote."""
    return Path(told[0].split()[0]).parent


def test_every_command_of_the_page_does_what_the_page_says(blocks, told):
    assert len(told) == sum(language == "bash" for language, _ in blocks)
    number = -1
    for language, text in blocks:
        number += language == "bash"
        if language == "text":
            shown = iter(told[number].splitlines())
            for line in text.splitlines():
                # A long line may be cut off on the page.
                assert any(one.startswith(line) for one in shown), (
                    f"not printed, or not in this order: {line}"
                )


def test_the_preview_tells_the_error_and_the_answer_is_signed(told):
    assert told[-4].count("expected_error:") == 3
    assert "signed these integers" in told[-1]
    # Asked again in words, it is the answer that was approved: the same figures.
    answer = json.loads((work(told) / "answer.json").read_text())
    for group in answer["statements"][0]["groups"]:
        assert f"{group['value']:.6g}" in told[-1]


def test_the_answer_is_near_what_the_corrected_files_say(told):
    folder = work(told)
    with (folder / "ward.csv").open(encoding="latin-1", newline="") as file:
        ward = {row["Pat-Nr"]: row for row in csv.DictReader(file, delimiter=";") if row["Pat-Nr"]}
    with (folder / "visits.txt").open(newline="") as file:
        visits = list(csv.DictReader(file, delimiter="\t"))
    first = {row["Pat-Nr"]: float(row["Hb"].replace(",", ".")) for row in visits if row["Besuch"] == "1"}
    ill = {row["Pat-Nr"] for row in visits if row["Komplikation"] == "ja"}
    old = [patient for patient, row in ward.items() if int(row["Alter"]) >= 65]
    values = {
        label: [value for patient, value in first.items() if ward[patient]["Geschlecht"] == letter]
        for label, letter in (("female", "w"), ("male", "m"))
    }
    answer = json.loads((folder / "answer.json").read_text())
    average, proportion, table = (statement["groups"] for statement in answer["statements"])
    wanted = [sum(values[g["by"]["sex"]]) / len(values[g["by"]["sex"]]) for g in average]
    wanted.append(sum(patient in ill for patient in old) / len(old))
    assert len(wanted) == 3
    for group, truth in zip([*average, *proportion], wanted, strict=True):
        assert abs(group["value"] - truth) < 3 * (group["high"] - group["low"])
    counts = table[0]["table"]["counts"]
    for line, smokes in zip(counts, ("nein", "ja"), strict=True):
        mine = [patient for patient, row in ward.items() if row["Raucher"] == smokes]
        for count, there in zip(line, (False, True), strict=True):
            assert abs(count - sum((patient in ill) == there for patient in mine)) < 60


def test_the_messy_files_are_the_same_bytes_every_time(tmp_path):
    made = []
    for name in ("one", "two"):
        ran = subprocess.run(
            [sys.executable, "samples/messy/generate.py", str(tmp_path / name)],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        made.append([Path(line).read_bytes() for line in ran.stdout.decode().split()])
    assert made[0] == made[1]
    assert len(made[0]) == 2
