"""What carries frames from one party to another, and what it promises.

A transport is neither secret nor honest: it belongs to whoever runs Redis. Frames are opaque here; the channel
seals them, numbers them and cuts long messages. Public: who sends how many bytes to whom, and when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

Frame = bytes | bytearray | memoryview
GLANCE = 0.5  # seconds between two looks at whether the session was cancelled


class Transport(Protocol):
    """One party's end of one named session. One thread at a time may use it.

    Promises, held by the same tests for every transport:
    - frames of one (from, to) arrive in the order they were pushed, unchanged, once; links never mix;
    - `push` never waits for the reader, whatever the size, so two parties that push at each other go on;
    - the caller may reuse a frame's buffer as soon as `push` or `exchange` returns;
    - `pull` returns exactly `count` frames and leaves the rest with the carrier, or raises
      ProtocolAbort("timeout") after `timeout` seconds; what it took before is gone: a session is never resumed;
    - a cancelled session raises ProtocolAbort("cancelled") within about a second, also in the middle of a wait;
    - a failing carrier raises ProtocolAbort("timeout"): it is a peer's silence, and nothing is sent twice;
    - `close` deletes what nobody read of the frames for this party, leaves what this party
      pushed, and is harmless when repeated; after it this end raises ProtocolAbort("cancelled").
    No promise against whoever controls the carrier: it may drop, delay, repeat, reorder, change and invent.
    """

    party: int

    def push(self, to: int, frames: Sequence[Frame]) -> None:
        """Send frames to one peer, in this order."""

    def pull(self, frm: int, count: int, timeout: float) -> list[bytes]:
        """Return the next `count` frames of one peer; seconds of silence raise ProtocolAbort("timeout")."""

    def exchange(
        self, out: Mapping[int, Sequence[Frame]], expect: Mapping[int, int], timeout: float
    ) -> dict[int, list[bytes]]:
        """Push to all, then pull from all: one round trip where the carrier can do that."""

    def poll(self, frm: int) -> bytes | None:
        """Return the next frame of one peer if it is there already."""

    def close(self) -> None:
        """End this party's use of the session."""


class Watch:
    """Asks `cancelled` at most twice a second, however short the rounds; once true it stays true."""

    def __init__(self, cancelled: Callable[[], bool] | None) -> None:
        self._ask = cancelled
        self._next = 0.0
        self._was = False

    def __call__(self) -> bool:
        if self._ask is not None and not self._was and time.monotonic() >= self._next:
            self._was = self._ask()
            self._next = time.monotonic() + GLANCE
        return self._was
