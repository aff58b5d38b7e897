"""Four parties in one process: the test bench of every protocol.

Keys come from a seed instead of a handshake, messages travel in memory, and each party is a thread. `tamper` stands
inside one corrupt party: it sees and may change what that party sends before it is sealed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpcnode.channel import Channel
from mpcnode.driver import run
from mpcnode.ring import XOR, Algebra, Words, pack
from mpcnode.session import Session
from mpcnode.sharing import Share
from mpcnode.transport.memory import MemoryNetwork


def key(*parts: Any) -> bytes:
    """16 bytes that the parties of a test agree on."""
    return hashlib.sha256(repr(parts).encode()).digest()[:16]


def split(values: Words, n: int, algebra: Algebra, rng: np.random.Generator) -> list[Share]:
    """All n shares of an array, masked from the test's generator."""
    masks = [rng.integers(0, 2**64, values.shape, dtype=np.uint64) for _ in range(n - 1)]
    last = values.astype(np.uint64)
    for mask in masks:
        last = algebra.sub(last, mask)
    components = [*masks, last]
    return [Share(p, n, algebra, np.stack([components[c] for c in range(n) if c != p])) for p in range(n)]


@dataclass
class World:
    """n parties and their links, made anew for each run.

    tamper   {party: function(channel) -> channel-like}: wraps a corrupt party's plaintext side
    wire     function(party, transport) -> transport: wraps the ciphertext side
    make     makes a party's session: a mutant of the engine stands here; `makers` for one party alone
    block    number of the driver: part of every key
    """

    seed: int = 0
    n: int = 4
    timeout: float = 5.0
    tamper: dict[int, Callable[[Any], Any]] = field(default_factory=dict)
    wire: Callable[[int, Any], Any] = lambda party, transport: transport
    prss_key: Callable[[int, int], bytes] | None = None  # (party, component)
    make: Callable[..., Session] = Session
    makers: dict[int, Callable[..., Session]] = field(default_factory=dict)
    block: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.sessions: list[Session] = []
        self.channels: list[Channel] = []

    def share(self, values: Any, algebra: Algebra) -> list[Share]:
        return split(np.asarray(values), self.n, algebra, self.rng)

    def share_bits(self, bits: Any) -> list[Share]:
        return self.share(pack(np.asarray(bits, dtype=bool)), XOR)

    def connect(self) -> list[Session]:
        network = MemoryNetwork(self.n)
        session_id = hashlib.sha256(b"session" + self.seed.to_bytes(8, "big")).digest()
        self.network, self.sessions, self.channels = network, [], []
        for p in range(self.n):
            peers = [q for q in range(self.n) if q != p]
            keys = {
                pair: key(self.seed, "chan", self.block, pair) for q in peers for pair in ((p, q), (q, p))
            }
            channel = Channel(p, peers, self.wire(p, network.transport(p)), keys, session_id, self.timeout)
            self.channels.append(channel)
            held = {c: self.prss_key(p, c) if self.prss_key else key(self.seed, "prss", c) for c in peers}
            vouch = {q: key(self.seed, "vouch", self.block, min(p, q), max(p, q)) for q in peers}
            links = self.tamper[p](channel) if p in self.tamper else channel
            self.sessions.append(
                self.makers.get(p, self.make)(
                    party=p,
                    n=self.n,
                    channel=links,
                    prss_keys=held,
                    vouch_keys=vouch,
                    session_id=session_id,
                    block=self.block,
                )
            )
        return self.sessions

    def outcomes(self, act: Callable[[Session], Any]) -> list[Any]:
        """What `act` returns or raises at each party, all running together."""
        results: list[Any] = [None] * self.n

        def play(p: int) -> None:
            try:
                results[p] = act(self.sessions[p])
            except Exception as error:  # noqa: BLE001 - whatever a party raises is its outcome
                results[p] = error
                self.channels[p].transport.close()  # its peers need not wait for their time-out

        threads = [threading.Thread(target=play, args=(p,), daemon=True) for p in range(self.n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads), "a party hangs"
        return results

    def run(
        self, program: Callable[..., Coroutine[Any, Any, Any]], *shares: Sequence[Any], **public: Any
    ) -> list[Any]:
        """Each party's result of program(session, its share of each argument, **public); raises the first error."""
        self.connect()
        results = self.outcomes(
            lambda session: run(session, program(session, *(s[session.party] for s in shares), **public))
        )
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results


def opened(shares: Sequence[Share]) -> Words:
    """The clear array, after checking that all holders of a component hold the same."""
    n = shares[0].n
    components = []
    for c in range(n):
        copies = [s.component(c) for s in shares if s.party != c]
        for copy in copies[1:]:
            np.testing.assert_array_equal(copy, copies[0])
        components.append(copies[0])
    total = components[0]
    for component in components[1:]:
        total = shares[0].algebra.add(total, component)
    return total
