"""Engines with one mistake each, for the tests to notice: what a careless change would make of the real one.

Most are subclasses; `source` makes a copy of a module with one line changed, so that the mutant follows the engine.
None of them is reachable from the engine itself.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any

import numpy as np

from mpcnode import roles
from mpcnode.errors import ProtocolAbort
from mpcnode.prss import Prss, Stream
from mpcnode.ring import Words
from mpcnode.session import Session
from tests.cheating.bench import Engine

log = logging.getLogger(__name__)


@cache
def source(name: str, *changes: tuple[str, str]) -> ModuleType:
    """A copy of a module with lines of its source replaced; each must be there exactly once."""
    origin = importlib.util.find_spec(name)
    assert origin is not None and origin.origin is not None

    class Changed(SourceFileLoader):
        def get_data(self, path: str) -> bytes:
            text = super().get_data(path).decode()
            for old, new in changes:
                assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
                text = text.replace(old, new)
            return text.encode()

        def get_code(self, fullname: str) -> Any:  # never from the cache of the true module
            return self.source_to_code(self.get_data(self.path), self.path)

    title = f"{name}_mutant_{abs(hash(changes))}"
    loader = Changed(title, origin.origin)
    spec = ModuleSpec(title, loader, origin=origin.origin)
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


# The tag and its check

RAISE = 'raise self.channel.abort("mismatch", detail)'


def skip_tag_check() -> type[Session]:
    return source("mpcnode.session", (RAISE, "pass")).Session  # type: ignore[no-any-return]


def check_after_next_send() -> type[Session]:
    """The tag comes in time, but is looked at only when the next round's messages have left."""
    arrived = "received = {s: memoryview(raw[s]) for s in self.peers}"
    return source(  # type: ignore[no-any-return]
        "mpcnode.session",
        (RAISE, 'self.wrong = ProtocolAbort("mismatch", detail)'),
        (arrived, f"if hasattr(self, 'wrong'): raise self.wrong\n        {arrived}"),
    ).Session


class TagOneRoundLate(Session):
    """A round carries the tags of the one before: two honest parties are compared one round late."""

    def _tag(self, peer: int, voucher: int, payload: Any) -> bytes:
        kept: dict[tuple[int, int], bytes] = self.__dict__.setdefault("kept", {})
        tag = super()._tag(peer, voucher, payload)
        before = kept.get((peer, voucher), bytes(len(tag)))
        kept[peer, voucher] = tag
        return before


class HashAtTheEnd(Session):
    """A running hash of each vouched link, compared once, before anything is revealed."""

    def _tag(self, peer: int, voucher: int, payload: Any) -> bytes:
        hashes: dict[tuple[int, int], Any] = self.__dict__.setdefault("hashes", {})
        running = hashes.setdefault((peer, voucher), sha256(bytes([voucher])))
        running.update(payload.tobytes() if isinstance(payload, np.ndarray) else bytes(payload))
        return bytes(16)

    def compare(self) -> None:
        mine = {i: [self.hashes[i, self.party].digest(), bytes(16)] for i in self.peers}  # type: ignore[attr-defined]
        theirs = self.channel.exchange(mine, dict.fromkeys(self.peers, 48))
        for q in self.peers:
            if bytes(theirs[q][:32]) != self.hashes[q, q].digest():  # type: ignore[attr-defined]
                raise ProtocolAbort("mismatch", f"round {self.rounds}: hash of party {q}")


class Relaying(Session):
    """A voucher that tags what the sender sent instead of what it computed itself."""

    relay: Any = (
        None  # function(round, to, words, tag): the sender's lie, for links that this party vouches for
    )
    sender: int = -1

    def _tag(self, peer: int, voucher: int, payload: Any) -> bytes:
        if voucher == self.party and self.relay and roles.vouched_by(self.n, voucher, peer) == self.sender:
            words = bytearray(payload.tobytes())
            type(self).relay(self.rounds, peer, words, bytearray(16))
            payload = bytes(words)
        return super()._tag(peer, voucher, payload)


# Masks and streams


class Zeros:
    """A stream without randomness."""

    def fill(self, out: Words) -> Words:
        out[...] = 0
        return out


class MasksOff(Session):
    """r = 0."""

    def half_gate_stream(self, i: int, j: int) -> Any:
        return Zeros()


class MaskTheReceiverKnows(Session):
    """r = PRF(k_j) instead of PRF(k_i): the receiver i of half gate (i, j) can take it off."""

    def __init__(self, *, every_key: Mapping[int, bytes], **parts: Any) -> None:
        super().__init__(**parts)
        everything = Prss(every_key, 0)
        self.wrong = {pair: everything.open(pair[1], f"gate/{pair[0]}") for pair in self._half_gate}

    def half_gate_stream(self, i: int, j: int) -> Stream:
        return self.wrong[i, j]


class RestartedStream(Stream):
    """The counter begins at zero for every draw."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.key = key

    def fill(self, out: Words) -> Words:
        super().__init__(self.key)
        return super().fill(out)


class StreamNotAdvanced(Session):
    def half_gate_stream(self, i: int, j: int) -> Any:
        return self._restarted((i, f"gate/{j}"))

    def random_components(self, shape: tuple[int, ...]) -> Words:
        return np.stack(
            [self._restarted((c, "bits")).fill(np.empty(shape, dtype=np.uint64)) for c in self.held]
        )

    def _restarted(self, name: tuple[int, str]) -> RestartedStream:
        c, label = name
        return RestartedStream(sha256(self.prss._keys[c] + label.encode()).digest()[:16])


def block_not_in_key() -> type[Session]:
    return source("mpcnode.session", ("Prss(prss_keys, block)", "Prss(prss_keys, 0)")).Session  # type: ignore[no-any-return]


class CoinsFromOneKey(Session):
    """Noise from the key of component 0 alone: parties 1, 2 and 3 know every coin."""

    def random_components(self, shape: tuple[int, ...]) -> Words:
        drawn = super().random_components(shape)
        for slot, c in enumerate(self.held):
            if c != 0:
                drawn[slot] = 0
        return drawn


# The release


def commit_at_opening() -> Any:
    """The budget is spent when the opening leaves, not before READY."""
    spend = "debit = self.terms.commit()"
    complete = 'complete = b"".join(self.ready[p] for p in range(self.session.n))'
    return source(
        "mpcnode.release",
        (spend, "debit = bytes(DEBIT_BYTES)"),
        (complete, f"self.terms.commit()\n        {complete}"),
    ).reveal


def open_before_ready_of_all() -> Any:
    """READY after the opening: nobody is waited for."""
    complete = 'complete = b"".join(self.ready[p] for p in range(self.session.n))'
    return source(
        "mpcnode.release",
        ("    door.await_everyone()\n", ""),
        (complete, complete.replace("self.ready[p]", "self.ready.get(p, bytes(80))")),
    ).reveal


def late_ready_counts_first_hand() -> Any:
    """One deadline for everything: who shows its READY to one victim in the last moment has it open alone."""
    return source(
        "mpcnode.release",
        ("self.patience = self.deadline + 2 * terms.timeout", "self.patience = self.deadline"),
    ).reveal


# Nothing computed from payloads leaves


class TranscriptOfPayloads(Session):
    """Logs a hash of each message that it received, for the record."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        inner, peers = self.channel, self.peers

        class Hashing:
            def exchange(self, outgoing: Any, lengths: Any) -> Any:
                received = inner.exchange(outgoing, lengths)
                for peer in peers:
                    log.info("round from %d: %s", peer, sha256(received[peer]).hexdigest())
                return received

            def __getattr__(self, name: str) -> Any:
                return getattr(inner, name)

        self.channel = Hashing()


SKIP_TAG_CHECK = Engine("skip tag check", skip_tag_check())
CHECK_AFTER_NEXT_SEND = Engine("tag check after the next send", check_after_next_send())
TAG_ONE_ROUND_LATE = Engine("tags one round late", TagOneRoundLate)
HASH_AT_THE_END = Engine("hash at the end", HashAtTheEnd, compare_at_end=True)
VOUCHER_TAGS_WHAT_IT_RECEIVED = Engine("voucher tags what it received", Relaying, relays=True)
MASKS_OFF = Engine("masks off", MasksOff)
MASK_THE_RECEIVER_KNOWS = Engine("r = PRF(k_j)", MaskTheReceiverKnows, knows_every_key=True)
STREAM_NOT_ADVANCED = Engine("stream not advanced", StreamNotAdvanced)
BLOCK_NOT_IN_KEY = Engine("block not in key", block_not_in_key())
COINS_FROM_ONE_KEY = Engine("coins from one key", CoinsFromOneKey)
COMMIT_AT_OPENING = Engine("commit at opening", reveal=commit_at_opening())
ONE_DEADLINE = Engine("one deadline for all", reveal=late_ready_counts_first_hand())
READY_AFTER_OPENING = Engine("READY after opening", reveal=open_before_ready_of_all())
TRANSCRIPT_OF_PAYLOADS = Engine("transcript of payloads", TranscriptOfPayloads)
