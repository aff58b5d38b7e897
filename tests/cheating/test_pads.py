"""No key stream is drawn twice and no nonce comes twice under a key, in any party.

A recorder stands at the ciphers themselves, in a whole session from the handshake to the release: every stretch of a
PRSS stream that is drawn, every (key, nonce) of the channels and of the tags. Two blocks of one session, two attempts
of one order, four parties and three.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpcnode import channel as channel_module
from mpcnode import handshake as handshake_module
from mpcnode import prss as prss_module
from mpcnode import session as session_module
from mpcnode.driver import run
from mpcnode.handshake import Established
from mpcnode.release import Purpose, Terms
from mpcnode.session import Session
from mpcnode.transport.memory import MemoryNetwork
from tests.cheating.bench import ENGINE, SIGNING, Engine, reason, verify
from tests.cheating.program import WORDS, Inputs, every_operation
from tests.mpcnode.test_handshake import TERMS, Meeting
from tests.world import World

Range = tuple[int, int]


class Recorder:
    """What each party drew and sealed: streams[party, key] stretches, nonces[party, key, use] nonces."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.streams: dict[tuple[int, bytes], list[Range]] = {}
        self.nonces: dict[tuple[int, bytes, str], list[bytes]] = {}
        self.here = threading.local()  # which party this thread plays
        patch.setattr(prss_module, "Cipher", self._cipher(prss_module.Cipher))
        for module, use in ((session_module, "tag"), (channel_module, "seal")):
            patch.setattr(module, "AESGCM", self._gcm(module.AESGCM, use))

    def _cipher(self, true: Any) -> Any:
        recorder = self

        class Stretch:
            def __init__(self, algorithm: Any, mode: Any) -> None:
                self.key, self.start = algorithm.key, int.from_bytes(mode.nonce, "big") * 16
                self.inner = true(algorithm, mode).encryptor()

            def encryptor(self) -> Stretch:
                return self

            def update_into(self, data: Any, out: Any) -> int:
                drawn = recorder.streams.setdefault((recorder.here.party, bytes(self.key)), [])
                drawn.append((self.start, self.start + len(data)))
                self.start += len(data)
                return int(self.inner.update_into(data, out))

        return Stretch

    def _gcm(self, true: Any, use: str) -> Any:
        recorder = self

        class Sealing:
            def __init__(self, key: bytes) -> None:
                self.key, self.inner = bytes(key), true(key)

            def encrypt(self, nonce: bytes, data: Any, place: Any) -> bytes:
                self._used(nonce)
                return self.inner.encrypt(nonce, data, place)  # type: ignore[no-any-return]

            def encrypt_into(self, nonce: bytes, data: Any, place: Any, into: Any) -> int:
                self._used(nonce)
                return int(self.inner.encrypt_into(nonce, data, place, into))

            def decrypt(self, nonce: bytes, data: Any, place: Any) -> bytes:
                return self.inner.decrypt(nonce, data, place)  # type: ignore[no-any-return]

            def decrypt_into(self, nonce: bytes, data: Any, place: Any, into: Any) -> int:
                return int(self.inner.decrypt_into(nonce, data, place, into))

            def _used(self, nonce: bytes) -> None:
                recorder.nonces.setdefault((recorder.here.party, self.key, use), []).append(bytes(nonce))

        return Sealing

    def repeats(self) -> list[str]:
        """Every repetition, in words; empty is what we want."""
        found = []
        for (party, _), drawn in self.streams.items():
            ordered = sorted(drawn)
            found += [
                f"party {party} draws {b} after {a}" for a, b in itertools.pairwise(ordered) if b[0] < a[1]
            ]
        for (party, _, use), nonces in self.nonces.items():
            if len(set(nonces)) < len(nonces):
                found.append(f"party {party} repeats a nonce of a {use}")
        uses: dict[bytes, set[str]] = {}
        for _, key in self.streams:
            uses.setdefault(key, set()).add("stream")
        for _, key, use in self.nonces:
            uses.setdefault(key, set()).add(use)
        return found + [f"a key is used for {names}" for names in uses.values() if len(names) > 1]


def session(recorder: Recorder, engine: Engine, n: int, attempt: int, blocks: int) -> None:
    """One session as a party runs it: handshake, blocks one after the other, release from the first."""
    inputs = Inputs.draw(np.random.default_rng(72))
    shared = inputs.shared(World(72, n))
    networks = [MemoryNetwork(n) for _ in range(blocks)]

    def play(made: Established) -> None:
        p = made.party

        def driver(block: int) -> tuple[Session, Any]:
            channel, vouch = (
                (made.channel, made.vouch_keys)
                if block == 0
                else made.driver(block, networks[block].transport(p), 5.0)
            )
            return engine.session(
                party=p,
                n=n,
                channel=channel,
                prss_keys=made.prss_keys,
                vouch_keys=vouch,
                session_id=made.session_id,
                block=block,
            ), channel

        drivers = [driver(block) for block in range(blocks)]
        totals = [
            run(one, every_operation(one, {name: s[p] for name, s in shared.items()}, inputs.constants))
            for one, _ in drivers
        ]
        terms = Terms(
            words=WORDS,
            purpose=Purpose.NOISED_RESULT,
            plan_hash=bytes(32),
            commit=lambda: bytes(16),
            opening=lambda: None,
            sign=SIGNING[p].sign,
            verify=verify,
            timeout=5.0,
        )
        one, channel = drivers[0]
        engine.reveal(one, channel, totals[0], Purpose.NOISED_RESULT, terms)

    asked = dataclasses.replace(TERMS, attempt=attempt, missing=3 if n == 3 else None)
    meeting = Meeting(n, changes={p: {"terms": asked} for p in range(n)})
    inner = meeting.play

    def as_party(party: int, after: Callable[[Established], Any]) -> Any:
        recorder.here.party = party
        return inner(party, after)

    meeting.play = as_party  # type: ignore[method-assign]
    for outcome in meeting.run(play):
        assert reason(outcome) is None


def pads_are_new(patch: pytest.MonkeyPatch, engine: Engine = ENGINE) -> Recorder:
    """Assert that nothing repeats over operations, blocks, attempts and parties; returns the record."""
    recorder = Recorder(patch)
    session(recorder, engine, 4, 1, 2)
    session(recorder, engine, 4, 2, 1)
    session(recorder, engine, 3, 1, 2)
    assert not recorder.repeats(), recorder.repeats()[:5]
    return recorder


def test_no_stream_and_no_nonce_serves_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = pads_are_new(monkeypatch)
    streams = {key for _, key in recorder.streams}
    tags = {key for _, key, use in recorder.nonces if use == "tag"}
    seals = {key for _, key, use in recorder.nonces if use == "seal"}
    # Three blocks of four parties: each component's key makes three half gates and the noise. Two of three: one and it.
    assert len(streams) == 3 * 4 * (3 + 1) + 2 * 3 * (1 + 1)
    assert len(tags) == 3 * 6
    assert len(seals) == 3 * 12 + 2 * 6


def test_all_holders_draw_the_same_stretches_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what they throw away: else two honest parties would go on with different masks."""
    recorder = Recorder(monkeypatch)
    session(recorder, ENGINE, 4, 1, 2)
    by_key: dict[bytes, list[list[Range]]] = {}
    for (_, key), drawn in recorder.streams.items():
        by_key.setdefault(key, []).append(drawn)
    assert all(len(parties) == 3 and parties.count(parties[0]) == 3 for parties in by_key.values())


def one_key_for_channel_and_vouch(patch: pytest.MonkeyPatch) -> None:
    """The mutant of the key schedule: a label is left out."""
    true: Any = handshake_module.HKDFExpand

    def expand(algorithm: Any, length: int, info: bytes) -> Any:
        return true(algorithm, length, info.replace(b"\0\0\0\x05vouch", b"\0\0\0\x04chan"))

    patch.setattr(handshake_module, "HKDFExpand", expand)


def test_one_key_for_channel_and_vouch_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    one_key_for_channel_and_vouch(monkeypatch)
    with pytest.raises(AssertionError, match="a key is used for"):
        pads_are_new(monkeypatch)
