"""Networks of parties for tests: one interface over memory and over real Redis lists."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.delay import Delayed, stamped
from mpcnode.channel import Channel
from mpcnode.errors import ProtocolAbort
from mpcnode.transport.base import Frame, Transport
from mpcnode.transport.memory import MemoryNetwork
from mpcnode.transport.redis import RedisTransport, connect, key


class Memory:
    kind = "memory"

    def __init__(self, parties: int) -> None:
        self.network = MemoryNetwork(parties)
        self.post = self.network.post

    def transport(self, party: int, cancelled: Callable[[], bool] | None = None) -> Transport:
        return self.network.transport(party, cancelled)

    def waiting(self, frm: int, to: int) -> int:
        return len(self.network.queues[frm, to])

    def close(self) -> None:
        self.network.stop()


class Redis:
    kind = "redis"

    def __init__(self, parties: int, url: str) -> None:
        self.parties = parties
        self.name = secrets.token_hex(8)
        self.client = connect(url)

    def transport(self, party: int, cancelled: Callable[[], bool] | None = None) -> Transport:
        peers = [p for p in range(self.parties) if p != party]
        return RedisTransport(self.client, party, peers, self.name, cancelled=cancelled)

    def post(self, frm: int, to: int, frames: Sequence[Frame]) -> None:
        self.client.rpush(key(frm, to, self.name), *frames)

    def waiting(self, frm: int, to: int) -> int:
        return int(self.client.llen(key(frm, to, self.name)))

    def close(self) -> None:
        for left in self.client.scan_iter(f"mpc:*:{self.name}"):
            self.client.delete(left)
        self.client.close()


class Slow(Memory):
    """Memory with a delay in it, as the benchmarks measure with."""

    kind = "slow"

    def __init__(self, parties: int, seconds: float = 0.002) -> None:
        super().__init__(parties)
        self.seconds = seconds
        self.post = lambda frm, to, frames: self.network.post(frm, to, stamped(frames))

    def transport(self, party: int, cancelled: Callable[[], bool] | None = None) -> Transport:
        return Delayed(super().transport(party, cancelled), self.seconds)


Network = Memory | Redis


def random_keys(parties: int) -> dict[tuple[int, int], bytes]:
    return {(a, b): secrets.token_bytes(16) for a in range(parties) for b in range(parties) if a != b}


def channels(
    transports: Sequence[Transport],
    keys: Mapping[tuple[int, int], bytes],
    context: bytes = b"session",
    timeout: float = 5.0,
) -> list[Channel]:
    numbers = range(len(transports))
    return [
        Channel(p, [q for q in numbers if q != p], transports[p], keys, context, timeout) for p in numbers
    ]


def together(*tasks: Callable[[], Any]) -> list[Any]:
    """Run each task in a thread; return its value or the ProtocolAbort it raised. Other errors are raised here."""

    def play(task: Callable[[], Any]) -> Any:
        try:
            return task()
        except ProtocolAbort as abort:
            return abort

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(play, tasks))
