"""A transport whose peers have other numbers inside the session than outside it.

Three parties of four number themselves 0 to 2 in their session, while the carrier's lists and its access rules
keep the numbers that the organisations have. Everything else is the promise of the transport below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpcnode.transport.base import Frame, Transport


class Renumbered:
    """One party's end of a session in which number k is `parties[k]` of the carrier."""

    def __init__(self, below: Transport, parties: Sequence[int]) -> None:
        self._below = below
        self._parties = tuple(parties)
        self.party = self._parties.index(below.party)

    def push(self, to: int, frames: Sequence[Frame]) -> None:
        self._below.push(self._parties[to], frames)

    def pull(self, frm: int, count: int, timeout: float) -> list[bytes]:
        return self._below.pull(self._parties[frm], count, timeout)

    def exchange(
        self, out: Mapping[int, Sequence[Frame]], expect: Mapping[int, int], timeout: float
    ) -> dict[int, list[bytes]]:
        got = self._below.exchange(
            {self._parties[to]: frames for to, frames in out.items()},
            {self._parties[frm]: count for frm, count in expect.items()},
            timeout,
        )
        return {frm: got[self._parties[frm]] for frm in expect}

    def poll(self, frm: int) -> bytes | None:
        return self._below.poll(self._parties[frm])

    def close(self) -> None:
        self._below.close()
