"""Being told to stop: by ctrl-C, by the system, by a closed terminal.

A signal raises Stopped wherever the program is, so that no wait holds it up; it is also remembered, since Python drops
an exception that rises inside a callback of its own (a fork hook, a finaliser). While a child is born signals wait:
a child that nobody remembers would stay.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(BaseException):
    """A person or the system asked this program to end."""


_asked = False


@contextmanager
def politely(*, code: int) -> Iterator[None]:
    """From now on a signal raises Stopped, which ends the program with `code` at the end of the block."""

    def stopped(number: int, frame: object) -> None:
        global _asked
        _asked = True
        raise Stopped

    for number in SIGNALS:
        # Who started it with nohup wants it to outlive the terminal.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stopped)
    try:
        yield
    except Stopped:
        raise SystemExit(code) from None


def check() -> None:
    """Raise Stopped if a signal came whose exception was lost."""
    if _asked:
        raise Stopped


def deaf() -> None:
    """Ignore further signals: stopping is under way and bounded in time."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held() -> Iterator[None]:
    """Signals wait until the end of the block; a child born inside must call `release`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
