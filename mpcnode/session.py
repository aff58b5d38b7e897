"""A session: one run of one program among the parties, and what a round of it is.

A protocol is a coroutine; a gate is an `await` of an Op; `gather` lets several coroutines share rounds. The
driver (`mpcnode.driver`) joins all pending ops of a round into one `Session.exchange`.

Every message of a round goes out with the tag of its voucher on the voucher's own link in the same round, and
all tags of a round are verified before anything of the next is computed: two honest parties never send while they
disagree about a component (docs/protocols.md, The invariant).
"""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Generator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpcnode import roles
from mpcnode.errors import ProtocolAbort
from mpcnode.prss import Prss, Stream
from mpcnode.ring import Words

TAG_BYTES = 16
SMALL_WORDS = 512  # XOR gates below this are joined into one kernel call
ONE_TABLE_WORDS = 256  # a gate below this uses one half table, alternating


class Links(Protocol):
    """What a session needs of its channel: one message to and from each peer a round, and silence."""

    def exchange(
        self, outgoing: Mapping[int, Sequence[Any]], lengths: Mapping[int, int]
    ) -> Mapping[int, Any]: ...

    def abort(self, reason: str, detail: str = "") -> ProtocolAbort:
        """Fall silent for good, and return the error to raise."""


class Op(ABC):
    """One interactive step; subclasses say what goes over each link and what becomes of it."""

    @abstractmethod
    def words(self, s: int, i: int) -> int:
        """Words on link s -> i; public, from shapes."""

    @abstractmethod
    def begin(self, outgoing: Mapping[int, Words], vouched: Mapping[int, Words]) -> None:
        """Write this party's words for each receiver, and those that it vouches for."""

    @abstractmethod
    def finish(self, received: Mapping[int, Words]) -> Any:
        """The result, from the words of each sender."""

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self)


class Gather:
    """Several coroutines that share rounds; the result is the list of theirs."""

    def __init__(self, children: Sequence[Coroutine[Any, Any, Any]]) -> None:
        self.children = list(children)

    def __await__(self) -> Generator[Any, Any, list[Any]]:
        return (yield self)  # type: ignore[no-any-return]


def gather(*children: Coroutine[Any, Any, Any]) -> Gather:
    """Run coroutines together: round k of each travels in one exchange."""
    return Gather(children)


class Session:
    """Party, peers, randomness and position of one driver (one block of one session)."""

    def __init__(
        self,
        *,
        party: int,
        n: int,
        channel: Links,
        prss_keys: Mapping[int, bytes],
        vouch_keys: Mapping[int, bytes],
        session_id: bytes,
        block: int = 0,
    ) -> None:
        self.party = party
        self.n = n
        self.channel = channel
        self.session_id = session_id
        self.prss = Prss(prss_keys, block)
        self.peers = tuple(p for p in range(n) if p != party)
        self.held = self.peers
        self.rounds = 0
        self.words_sent = 0
        self.revealed = False
        self._gates = 0
        self._links = [(s, i) for s in range(n) for i in range(n) if s != i]
        self._vouch = {peer: AESGCM(key) for peer, key in vouch_keys.items()}
        self._half_gate: dict[roles.Pair, Stream] = {
            (i, j): self.prss.open(i, f"gate/{j}") for i in self.held for j in range(n) if j != i
        }
        self._bits = {c: self.prss.open(c, "bits") for c in self.held}

    def half_gate_stream(self, i: int, j: int) -> Stream:
        """r of half gate (i, j), known to all but i."""
        return self._half_gate[i, j]

    def random_components(self, shape: tuple[int, ...]) -> Words:
        """Components (n - 1, *shape) of uniform words that no party knows."""
        out = np.empty((self.n - 1, *shape), dtype=np.uint64)
        for slot, c in enumerate(self.held):
            self._bits[c].fill(out[slot])
        return out

    def half_tables(self, size: int) -> list[tuple[int, int, tuple[roles.Pair, ...]]]:
        """(start, stop, half gates) of a gate of `size` words."""
        first, second = roles.halves(self.n)
        if self.n == 3:
            return [(0, size, first)]
        if size < ONE_TABLE_WORDS:
            self._gates += 1
            return [(0, size, second if self._gates % 2 else first)]
        middle = (size + 1) // 2
        return [(0, middle, first), (middle, size, second)]

    def exchange(self, ops: Sequence[Op]) -> list[Any]:
        """One round: all ops' words and tags out, all checked, results in order.

        Raises ProtocolAbort when a message, a tag or a length is wrong or late; this party then sends nothing more.
        """
        me, n = self.party, self.n
        size = {link: [op.words(*link) for op in ops] for link in self._links}
        outgoing = {i: np.empty(sum(size[me, i]), dtype=np.uint64) for i in self.peers}
        vouched = {
            i: np.empty(sum(size[s, i]), dtype=np.uint64)
            for i in self.peers
            if (s := roles.vouched_by(n, me, i)) is not None
        }
        mine = {i: _cut(outgoing[i], size[me, i]) for i in outgoing}
        others = {i: _cut(vouched[i], size[roles.vouched_by(n, me, i), i]) for i in vouched}  # type: ignore[index]
        for k, op in enumerate(ops):
            op.begin({i: mine[i][k] for i in mine}, {i: others[i][k] for i in others})
        tags = {i: self._tag(i, me, vouched[i]) for i in vouched}
        tag_bytes = TAG_BYTES if n == 4 else 0
        raw = self.channel.exchange(
            {i: [outgoing[i].view(np.uint8).data, *([tags[i]] if tag_bytes else [])] for i in self.peers},
            {s: 8 * sum(size[s, me]) + tag_bytes for s in self.peers},
        )
        received = {s: memoryview(raw[s]) for s in self.peers}
        words = {s: received[s][: 8 * sum(size[s, me])] for s in self.peers}
        for s in self.peers:
            q = roles.voucher(n, s, me)
            if q is not None:
                expected = self._tag(q, q, words[s])
                if not hmac.compare_digest(expected, received[q][-TAG_BYTES:]):
                    detail = f"round {self.rounds}: link {s} to {me}, voucher {q}"
                    raise self.channel.abort("mismatch", detail)
        self.rounds += 1
        self.words_sent += sum(len(out) for out in outgoing.values())
        pieces = {s: _cut(np.frombuffer(words[s], dtype=np.uint64), size[s, me]) for s in self.peers}
        return [op.finish({s: pieces[s][k] for s in self.peers}) for k, op in enumerate(ops)]

    def _tag(self, peer: int, voucher: int, payload: Any) -> bytes:
        """GMAC under the key shared with `peer`; the nonce names voucher and round and never repeats."""
        nonce = voucher.to_bytes(4, "big") + self.rounds.to_bytes(8, "big")
        data = payload.view(np.uint8).data if isinstance(payload, np.ndarray) else payload
        return self._vouch[peer].encrypt(nonce, b"", data)


def _cut(buffer: Words, sizes: Sequence[int]) -> list[Words]:
    """Consecutive views of a buffer, one for each op."""
    return [buffer[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]
