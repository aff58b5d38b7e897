"""What whoever owns the wire can do: hooks on sealed frames, around any transport.

A hook sees each frame a party pushes and says what is delivered instead: (from, to, bytes), any number of times, to
anybody. It acts on ciphertext; a corrupt party's own lies, before its tags, are another module's business.

    ChaosTransport(inner, first(flip(bit=3), to=2, index=5), post=network.post)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mpcnode.transport.base import Frame, Transport


@dataclass(frozen=True)
class Wire:
    """One frame on its way; `index` counts the frames of its (from, to), from 0."""

    frm: int
    to: int
    index: int
    data: bytes


Delivery = tuple[int, int, bytes]
Hook = Callable[[Wire], Sequence[Delivery]]
Post = Callable[[int, int, Sequence[bytes]], None]  # deliver as if `from` had pushed: MemoryNetwork.post


def passing(wire: Wire) -> Sequence[Delivery]:
    return [(wire.frm, wire.to, wire.data)]


def drop(wire: Wire) -> Sequence[Delivery]:
    return []


def duplicate(wire: Wire) -> Sequence[Delivery]:
    return [(wire.frm, wire.to, wire.data)] * 2


def reflect(wire: Wire) -> Sequence[Delivery]:
    """Send a copy back to its sender as if its receiver had sent it."""
    return [(wire.frm, wire.to, wire.data), (wire.to, wire.frm, wire.data)]


def flip(bit: int) -> Hook:
    """Change one bit; the position wraps round the frame."""

    def hook(wire: Wire) -> Sequence[Delivery]:
        data = bytearray(wire.data)
        data[bit // 8 % len(data)] ^= 1 << bit % 8
        return [(wire.frm, wire.to, bytes(data))]

    return hook


def replace(data: bytes) -> Hook:
    return lambda wire: [(wire.frm, wire.to, data)]


def resize(by: int) -> Hook:
    """Cut bytes off (negative) or add zeros."""
    return lambda wire: [(wire.frm, wire.to, wire.data[:by] if by < 0 else wire.data + bytes(by))]


def inject(data: bytes) -> Hook:
    """Put a frame of another time or session before the true one."""
    return lambda wire: [(wire.frm, wire.to, data), (wire.frm, wire.to, wire.data)]


class Swap:
    """Hold the frame it is given until the next of the same link has passed. Use on its own or through `first`."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], Wire] = {}

    def __call__(self, wire: Wire) -> Sequence[Delivery]:
        held = self.held.pop((wire.frm, wire.to), None)
        if held is None:
            self.held[wire.frm, wire.to] = wire
            return []
        return [(wire.frm, wire.to, wire.data), (wire.frm, wire.to, held.data)]


class Slow:
    """Every frame takes `seconds` longer; order stays."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, wire: Wire) -> Sequence[Delivery]:
        time.sleep(self.seconds)
        return passing(wire)


class Late:
    """The frame arrives after `seconds`, whatever was sent since: the others overtake it."""

    def __init__(self, seconds: float, post: Post) -> None:
        self.seconds, self.post = seconds, post

    def __call__(self, wire: Wire) -> Sequence[Delivery]:
        timer = threading.Timer(self.seconds, self.post, (wire.frm, wire.to, [wire.data]))
        timer.daemon = True
        timer.start()
        return []


class Recorder:
    """Keeps every frame and lets it pass."""

    def __init__(self) -> None:
        self.seen: list[Wire] = []

    def __call__(self, wire: Wire) -> Sequence[Delivery]:
        self.seen.append(wire)
        return passing(wire)

    def link(self, frm: int, to: int) -> list[bytes]:
        return [wire.data for wire in self.seen if (wire.frm, wire.to) == (frm, to)]


def first(hook: Hook, *, to: int | None = None, index: int = 0, count: int = 1) -> Hook:
    """Apply `hook` to frames `index` to `index + count - 1` of the links to `to` (all links by default)."""

    def chosen(wire: Wire) -> Sequence[Delivery]:
        here = (to is None or wire.to == to) and index <= wire.index < index + count
        return hook(wire) if here else passing(wire)

    return chosen


class ChaosTransport:
    """A transport whose pushes pass a hook. `post` delivers what the hook sends anywhere else than on its way."""

    def __init__(self, inner: Transport, hook: Hook, post: Post | None = None) -> None:
        self.inner = inner
        self.party = inner.party
        self.hook = hook
        self.post = post
        self.pushed: dict[int, int] = {}  # frames this party wanted to send, per peer

    def push(self, to: int, frames: Sequence[Frame]) -> None:
        self.inner.push(to, self._through(to, frames))

    def pull(self, frm: int, count: int, timeout: float) -> list[bytes]:
        return self.inner.pull(frm, count, timeout)

    def exchange(
        self, out: Mapping[int, Sequence[Frame]], expect: Mapping[int, int], timeout: float
    ) -> dict[int, list[bytes]]:
        changed = {to: self._through(to, frames) for to, frames in out.items()}
        return self.inner.exchange(changed, expect, timeout)

    def poll(self, frm: int) -> bytes | None:
        return self.inner.poll(frm)

    def close(self) -> None:
        self.inner.close()

    def _through(self, to: int, frames: Sequence[Frame]) -> list[bytes]:
        own: list[bytes] = []
        for frame in frames:
            index = self.pushed.get(to, 0)
            self.pushed[to] = index + 1
            for frm, goal, data in self.hook(Wire(self.party, to, index, bytes(frame))):
                if (frm, goal) == (self.party, to):
                    own.append(data)
                else:
                    assert self.post is not None, "this hook needs `post`"
                    self.post(frm, goal, [data])
        return own
