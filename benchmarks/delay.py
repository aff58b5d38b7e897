"""A transport with a slow network in it: what is pushed now can be read `seconds` later.

Every frame carries the time of its push. The reader sleeps until that time plus the delay, so messages under way
together are late together, as on a long line of unbounded bandwidth. All processes of one machine share the clock.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from mpcnode.transport.base import Frame, Transport

_STAMP = struct.Struct(">q")


class Delayed:
    """A transport whose frames arrive `seconds` after they were pushed."""

    def __init__(self, inner: Transport, seconds: float) -> None:
        self.inner, self.party = inner, inner.party
        self.wait = int(seconds * 1e9)
        self.held: dict[int, deque[bytes]] = {}  # taken from the carrier, not yet due

    def push(self, to: int, frames: Sequence[Frame]) -> None:
        self.inner.push(to, self._stamped(frames))

    def pull(self, frm: int, count: int, timeout: float) -> list[bytes]:
        return self.exchange({}, {frm: count}, timeout)[frm]

    def exchange(
        self, out: Mapping[int, Sequence[Frame]], expect: Mapping[int, int], timeout: float
    ) -> dict[int, list[bytes]]:
        taken = {
            frm: [held.popleft() for _ in range(min(len(held), expect[frm]))]
            for frm in expect
            if (held := self.held.get(frm, deque())) is not None
        }
        missing = {frm: count - len(taken[frm]) for frm, count in expect.items()}
        stamped = {to: self._stamped(frames) for to, frames in out.items()}
        arrived = self.inner.exchange(stamped, {f: c for f, c in missing.items() if c}, timeout)
        for frm, frames in arrived.items():
            taken[frm] += frames
        due = (
            max((_STAMP.unpack_from(f)[0] for frames in taken.values() for f in frames), default=0)
            + self.wait
        )
        time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
        return {frm: [f[_STAMP.size :] for f in frames] for frm, frames in taken.items()}

    def poll(self, frm: int) -> bytes | None:
        held = self.held.setdefault(frm, deque())
        if not held:
            frame = self.inner.poll(frm)
            if frame is None:
                return None
            held.append(frame)
        if _STAMP.unpack_from(held[0])[0] + self.wait > time.monotonic_ns():
            return None
        return held.popleft()[_STAMP.size :]

    def close(self) -> None:
        self.inner.close()

    def _stamped(self, frames: Sequence[Frame]) -> list[Any]:
        now = _STAMP.pack(time.monotonic_ns())
        return [now + bytes(frame) for frame in frames]
