"""The demonstration as a newcomer runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

from tests.end_to_end.running import ROOT, left_behind


def start(var):
    clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo"],
        cwd=ROOT,
        env=clean | {"VAR": str(var)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_shows_each_line_with_its_answer_beside_the_truth_and_leaves_nothing_running(tmp_path):
    demo = start(tmp_path)
    out, err = demo.communicate(timeout=200)
    assert demo.returncode == 0, f"{out}\n{err}"
    assert err == ""
    for line in (ROOT / "samples/questions.txt").read_text().splitlines():
        assert out.count(f"  {line}\n") == 2, "once with noise, once without"
    assert len(re.findall(r"answer +[\d.]+ +95 % interval [\d.]+ to [\d.]+", out)) == 8
    assert len(re.findall(r"truth +[\d.]+ +\(in clear", out)) == 8
    assert "epsilon 4" in out and "Where to look next" in out and "FAILED" not in out
    assert len(re.findall(r"^\[ *\d+\.\d s\] ", out, re.MULTILINE)) >= 6
    assert left_behind(tmp_path / "demo", within=0) == []


def test_interrupted_half_way_it_leaves_nothing_running(tmp_path):
    demo = start(tmp_path)
    log = tmp_path / "demo/log/party3.log"
    deadline = time.monotonic() + 90
    while not log.exists():
        assert time.monotonic() < deadline and demo.poll() is None
        time.sleep(0.05)
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert err == ""
    assert left_behind(tmp_path / "demo") == []
