"""Child processes that start, are watched, start again, and are gone when they should be.

Each child leads a session of its own (a ctrl-C reaches this process alone, which then stops them in order) and is
told by the kernel when this process dies (Linux; elsewhere a child of a killed supervisor is stopped by the next
start, which finds it in the pid file).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import stopping

PR_SET_PDEATHSIG = 1
BACKOFF_START, BACKOFF_LIMIT, STEADY = 0.5, 30.0, 30.0  # seconds
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def tied_to(parent: int) -> Callable[[], None]:
    """What a child does before its program starts: ask to be ended with `parent`."""

    def before_exec() -> None:
        if LIBC is not None:
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
        stopping.release()

    return before_exec


def spawn(argv: Sequence[str], **how: Any) -> subprocess.Popen[Any]:
    """A child in a session of its own that ends with this process. Call it inside `stopping.held()`."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=tied_to(os.getpid()),  # noqa: PLW1509  (this process has one thread)
        **how,
    )


@dataclass
class Child:
    """One program of the stack. `polite` are the signals of its own graceful stop, first to last."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    cwd: Path
    pass_fds: Sequence[int] = ()
    polite: Sequence[signal.Signals] = (signal.SIGTERM,)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    since: float = 0.0
    backoff: float = BACKOFF_START
    due: float | None = None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as log, stopping.held():
            self.process = spawn(
                self.argv,
                env=dict(self.env),
                cwd=self.cwd,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self.pass_fds,
            )
        self.since, self.due = time.monotonic(), None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None

    def ended(self) -> int | None:
        """The exit code once the program has ended, else None; what it left in its session is killed."""
        if self.process is None:
            return None
        if self.process.returncode is None and ended_unreaped(self.process.pid):
            # Before it is reaped its number cannot belong to anybody else.
            kill_group(self.process.pid, signal.SIGKILL)
            self.process.wait()
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.ended() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None and self.ended() is None:
            kill_group(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def last_words(self, lines: int = 5) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def ended_unreaped(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def kill_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


class Family:
    """All children of one stack, and the file that names them for the next start."""

    def __init__(self, pid_file: Path, say: Callable[[str], None]) -> None:
        self.children: list[Child] = []
        self.pid_file, self.say = pid_file, say

    def add(self, child: Child) -> Child:
        child.start()
        self.children.append(child)
        self.note()
        return child

    def note(self) -> None:
        pids = [pid for child in self.children if (pid := child.pid)]
        spare = self.pid_file.with_suffix(".new")
        spare.write_text(json.dumps([[pid, started(pid)] for pid in pids]))
        spare.replace(self.pid_file)

    def tend(self) -> float | None:
        """Reap what ended and start it again when its pause is over; returns seconds until the next is due."""
        now, changed = time.monotonic(), False
        for child in self.children:
            code = child.ended()
            if code is None:
                continue
            if child.due is None:
                if now - child.since > STEADY:
                    child.backoff = BACKOFF_START
                child.due = now + child.backoff
                self.say(f"{child.name} ended ({outcome(code)}), starting again in {child.backoff:g} s")
                child.backoff = min(2 * child.backoff, BACKOFF_LIMIT)
            if child.due <= now:
                child.start()
                changed = True
        if changed:
            self.note()
        waits = [child.due - now for child in self.children if child.due is not None]
        return max(0.0, min(waits)) if waits else None

    def stop(self, children: Iterable[Child], *, patience: float) -> None:
        """End `children` together: each polite signal gets an equal part of `patience`, then the group is killed."""
        children = [child for child in children if child.process is not None]
        steps = max((len(child.polite) for child in children), default=0)
        for step in range(steps):
            for child in children:
                if step < len(child.polite):
                    child.signal(child.polite[step])
            if wait_until(lambda: all(c.ended() is not None for c in children), patience / steps):
                break
        for child in children:
            child.kill()

    def forget(self) -> None:
        self.pid_file.unlink(missing_ok=True)


def outcome(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"


def wait_until(true: Callable[[], bool], seconds: float, *, pause: float = 0.02) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def started(pid: int) -> str | None:
    """The kernel's start time of a process (Linux), which tells it from a later one of the same number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def clear_leftovers(pid_file: Path) -> int:
    """Kill what a killed supervisor left running; returns how many programs that were."""
    try:
        noted = json.loads(pid_file.read_text())
    except (OSError, ValueError):
        return 0
    cleared = 0
    for pid, start in noted:
        if start is not None and started(pid) == start:
            kill_group(pid, signal.SIGKILL)
            wait_until(lambda pid=pid, start=start: started(pid) != start or zombie(pid), 2.0)  # type: ignore[misc]
            cleared += 1
    pid_file.unlink(missing_ok=True)
    return cleared


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return True
