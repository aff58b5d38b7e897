"""Told to stop, a program stops: at once, once, and with the exit code it promised."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(body: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import os, signal, sys, time\nsys.path.insert(0, 'platform')\nfrom portal.stack import stopping\n"
        + body
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        # Whoever runs the tests may ignore it (nohup), and a child would too.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_program_with_its_code_after_clearing_up(number):
    done = run(
        f"with stopping.politely(code=7):\n"
        f"    try:\n        os.kill(os.getpid(), {int(number)}); time.sleep(20)\n"
        f"    finally:\n        print('cleared up')\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "cleared up\n", "")


def test_a_signal_whose_exception_was_lost_is_remembered():
    done = run(
        "class Loses:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.1)\n"
        "with stopping.politely(code=7):\n    Loses()\n    print('went on'); stopping.check(); print('never')\n"
    )
    assert (done.returncode, done.stdout) == (7, "went on\n")


def test_signals_wait_while_a_child_is_born_and_the_child_hears_them_again():
    done = run(
        "with stopping.politely(code=7):\n"
        "    with stopping.held():\n"
        "        os.kill(os.getpid(), signal.SIGTERM); print('waits', flush=True)\n"
        "        if os.fork() == 0:\n"
        "            stopping.release()\n"
        "            print(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)\n"
        "            os._exit(0)\n"
        "        os.wait()\n"
        "    print('never')\n"
    )
    assert (done.returncode, done.stdout) == (7, "waits\nFalse\n")


def test_further_signals_do_not_disturb_the_clearing_up():
    done = run(
        "with stopping.politely(code=7):\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)\n"
        "    finally:\n        stopping.deaf(); os.kill(os.getpid(), signal.SIGINT); print('to the end')\n"
    )
    assert (done.returncode, done.stdout) == (7, "to the end\n")
