"""Four parties in one process: the transport of tests, with the promises of the real one.

A party that closed is known to be silent, so its peers' waits end at once instead of at their time-out: a tampered
session costs no seconds in a test. Nothing else is different.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from mpcnode.errors import ProtocolAbort
from mpcnode.transport.base import Frame, Watch

SLICE = 0.25  # seconds between two looks at `cancelled`


class MemoryNetwork:
    """The queues of one session: one per (from, to), a party's own included."""

    def __init__(self, parties: int) -> None:
        self.parties = parties
        self.arrived = [threading.Condition() for _ in range(parties)]
        self.queues: dict[tuple[int, int], deque[bytes]] = {
            (frm, to): deque() for frm in range(parties) for to in range(parties)
        }
        self.closed = [False] * parties
        self.stopped = False

    def transport(self, party: int, cancelled: Callable[[], bool] | None = None) -> MemoryTransport:
        return MemoryTransport(self, party, cancelled)

    def post(self, frm: int, to: int, frames: Sequence[Frame]) -> None:
        """Deliver frames as if `frm` had pushed them: what whoever owns the network can do."""
        copies = [bytes(frame) for frame in frames]  # bytes(b) of bytes is b itself: no copy
        with self.arrived[to]:
            if not self.closed[to]:
                self.queues[frm, to].extend(copies)
                self.arrived[to].notify_all()

    def stop(self) -> None:
        """Cancel the session for everybody."""
        self.stopped = True
        self._wake()

    def _wake(self) -> None:
        for condition in self.arrived:
            with condition:
                condition.notify_all()


class MemoryTransport:
    """One party's end of a MemoryNetwork."""

    def __init__(
        self, network: MemoryNetwork, party: int, cancelled: Callable[[], bool] | None = None
    ) -> None:
        self.network = network
        self.party = party
        self._cancelled = Watch(cancelled)

    def push(self, to: int, frames: Sequence[Frame]) -> None:
        self._check()
        self.network.post(self.party, to, frames)

    def pull(self, frm: int, count: int, timeout: float) -> list[bytes]:
        queue = self.network.queues[frm, self.party]
        deadline = time.monotonic() + timeout
        with self.network.arrived[self.party]:
            while len(queue) < count:
                self._check()
                left = deadline - time.monotonic()
                if left <= 0 or self.network.closed[frm]:
                    raise ProtocolAbort("timeout", f"party {frm} sent {len(queue)} of {count} frames")
                self.network.arrived[self.party].wait(min(left, SLICE))
            return [queue.popleft() for _ in range(count)]

    def exchange(
        self, out: Mapping[int, Sequence[Frame]], expect: Mapping[int, int], timeout: float
    ) -> dict[int, list[bytes]]:
        for to, frames in out.items():
            self.push(to, frames)
        deadline = time.monotonic() + timeout
        return {
            frm: self.pull(frm, count, max(0.0, deadline - time.monotonic())) for frm, count in expect.items()
        }

    def poll(self, frm: int) -> bytes | None:
        self._check()
        with self.network.arrived[self.party]:
            queue = self.network.queues[frm, self.party]
            return queue.popleft() if queue else None

    def close(self) -> None:
        with self.network.arrived[self.party]:
            self.network.closed[self.party] = True
            for (_, to), queue in self.network.queues.items():
                if to == self.party:
                    queue.clear()
        self.network._wake()

    def _check(self) -> None:
        if self.network.stopped or self.network.closed[self.party] or self._cancelled():
            raise ProtocolAbort("cancelled")
