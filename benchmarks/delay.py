"""A transport with a slow network in it: what is pushed now can be read `seconds` later.

Every frame carries the time of its push. The reader sleeps until that time plus the delay, so messages under way
together are late together, as on a long line of unbounded bandwidth. All processes of one machine share the clock.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Mapping, Sequence

from mpcnode.transport.base import Frame, Transport

_STAMP = struct.Struct(">q")


def stamped(frames: Sequence[Frame]) -> list[bytes]:
    """Frames with the present time before each."""
    now = _STAMP.pack(time.monotonic_ns())
    return [now + frame for frame in frames]


class Delayed:
    """A transport whose frames arrive `seconds` after they were pushed."""

    def __init__(self, inner: Transport, seconds: float) -> None:
        self.inner, self.party = inner, inner.party
        self.wait = int(seconds * 1e9)
        self.held: dict[int, deque[bytes]] = {}  # taken from the carrier, not yet due

    def push(self, to: int, frames: Sequence[Frame]) -> None:
        self.inner.push(to, stamped(frames))

    def pull(self, frm: int, count: int, timeout: float) -> list[bytes]:
        return self.exchange({}, {frm: count}, timeout)[frm]

    def exchange(
        self, out: Mapping[int, Sequence[Frame]], expect: Mapping[int, int], timeout: float
    ) -> dict[int, list[bytes]]:
        taken: dict[int, list[bytes]] = {}
        for frm, count in expect.items():
            held = self.held.get(frm, deque())
            taken[frm] = [held.popleft() for _ in range(min(len(held), count))]
        missing = {frm: count - len(taken[frm]) for frm, count in expect.items() if count > len(taken[frm])}
        sent = {to: stamped(frames) for to, frames in out.items()}
        for frm, frames in self.inner.exchange(sent, missing, timeout).items():
            taken[frm] += frames
        pushed = [_STAMP.unpack_from(frame)[0] for frames in taken.values() for frame in frames]
        if pushed:
            time.sleep(max(0, max(pushed) + self.wait - time.monotonic_ns()) / 1e9)
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
