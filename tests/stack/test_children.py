"""Programs of the stack: started, started again, and gone when they should be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from portal.stack.children import Child, Family, clear_leftovers, started, wait_until

ROOT = Path(__file__).resolve().parents[2]
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
# Ignores polite signals and keeps a child of its own that does so too.
STUBBORN = [
    sys.executable,
    "-S",
    "-c",
    (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "other = os.fork()\n"
        "if other: open(sys.argv[1], 'w').write(str(other))\n"
        "time.sleep(60)"
    ),
]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def child(tmp_path: Path, argv: list[str], name: str = "one", **more) -> Child:
    return Child(
        name=name, argv=argv, env=dict(os.environ), log=tmp_path / f"{name}.log", cwd=tmp_path, **more
    )


@pytest.fixture
def family(tmp_path):
    said: list[str] = []
    family = Family(tmp_path / "children.json", said.append)
    family.said = said
    yield family
    for each in family.children:
        each.kill()


def test_a_child_leads_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(family, tmp_path):
    one = family.add(child(tmp_path, SLEEP))
    assert os.getsid(one.pid) == one.pid != os.getsid(0)


def test_what_it_prints_goes_to_a_log_that_only_its_owner_reads(family, tmp_path):
    one = family.add(child(tmp_path, [sys.executable, "-S", "-c", "print('hello')"]))
    assert wait_until(lambda: one.ended() is not None, 10)
    assert one.last_words() == "hello"
    assert one.log.stat().st_mode & 0o777 == 0o600


def test_a_child_that_ended_is_started_again_after_a_growing_pause(family, tmp_path):
    one = family.add(child(tmp_path, [sys.executable, "-S", "-c", "raise SystemExit(3)"]))
    pauses = []
    for _ in range(3):
        first = one.process.pid
        assert wait_until(lambda: one.ended() is not None, 10)
        pauses.append(family.tend())
        one.due = 0.0
        family.tend()
        assert one.process.pid != first
    assert pauses == pytest.approx([0.5, 1.0, 2.0], abs=0.2)
    assert family.said[0] == "one ended (exit 3), starting again in 0.5 s"


def test_a_killed_child_is_named_with_its_signal_and_its_orphans_are_killed(family, tmp_path):
    note = tmp_path / "orphan"
    one = family.add(child(tmp_path, [*STUBBORN, str(note)]))
    assert wait_until(lambda: note.exists() and note.read_text().isdigit(), 10)
    orphan = int(note.read_text())
    os.kill(one.pid, signal.SIGKILL)
    assert wait_until(lambda: one.ended() is not None, 10)
    family.tend()
    assert "signal SIGKILL" in family.said[0]
    assert wait_until(lambda: not alive(orphan), 5)


def test_stopping_kills_the_whole_group_of_one_that_does_not_listen(family, tmp_path):
    note = tmp_path / "other"
    stubborn = family.add(child(tmp_path, [*STUBBORN, str(note)]))
    gentle = family.add(child(tmp_path, SLEEP, name="two"))
    assert wait_until(lambda: note.exists() and note.read_text().isdigit(), 10)
    pids = [stubborn.pid, gentle.pid, int(note.read_text())]
    family.stop(family.children, patience=0.5)
    assert wait_until(lambda: not any(map(alive, pids)), 5)
    assert gentle.process.returncode == -signal.SIGTERM
    assert stubborn.process.returncode == -signal.SIGKILL


def test_a_second_polite_signal_is_tried_before_killing(family, tmp_path):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    one = family.add(
        child(tmp_path, [sys.executable, "-S", "-c", code], polite=(signal.SIGTERM, signal.SIGUSR1))
    )
    assert wait_until(lambda: one.last_words() == "up", 10)
    family.stop([one], patience=2)
    assert one.process.returncode == -signal.SIGUSR1


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_killed_supervisor_takes_its_children_with_it(tmp_path):
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from portal.stack.children import Child, Family\n"
        f"family = Family(Path({str(tmp_path / 'children.json')!r}), print)\n"
        f"one = Child(name='one', argv={SLEEP!r}, env=dict(os.environ), log=Path({str(tmp_path / 'one.log')!r}), cwd='/')\n"
        "print(family.add(one).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / "platform")}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        pid = int(supervisor.stdout.readline())
        assert alive(pid)
        supervisor.kill()
    assert wait_until(lambda: not alive(pid), 5)


def test_a_start_ends_what_a_killed_stack_left_and_nothing_else(tmp_path):
    left = subprocess.Popen(SLEEP, start_new_session=True)
    bystander = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        file = tmp_path / "children.json"
        # The bystander has the number of a program that ended long ago: its start time tells.
        file.write_text(json.dumps([[left.pid, started(left.pid)], [bystander.pid, "1"]]))
        assert clear_leftovers(file) == 1
        left.wait(5)
        time.sleep(0.1)
        assert bystander.poll() is None
        assert not file.exists()
    finally:
        for process in (left, bystander):
            process.kill()
            process.wait()


@pytest.mark.parametrize("content", [None, "", "{", "[[999999999, null]]"])
def test_a_missing_or_broken_note_of_an_earlier_stack_is_no_obstacle(tmp_path, content):
    file = tmp_path / "children.json"
    if content is not None:
        file.write_text(content)
    assert clear_leftovers(file) == 0
