"""Nothing computed from a message or a share is signed, logged, reported or kept in a ledger.

A party that knows the mask enumerates what a hash of a masked word covers: a hash of a payload, in whatever a party
signs or writes down, tells it the word. So a recorder keeps every message and every share of two attempts by four whole
parties, and no digest of any of them, nor their own bytes, is found in what those parties let out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mpcnode import release as release_module
from mpcnode.channel import Channel
from mpcnode.transport.memory import MemoryNetwork
from tests.cheating.bench import ENGINE, Engine
from tests.workers.test_party import Four
from tests.workers.world import World, codebook
from workers import joint as joint_module

WINDOW = 16  # bytes: a digest is recognised by its first 16, its hex or base64 by as many letters
HASHES = ("sha256", "sha512", "sha1", "md5", "sha3_256", "blake2b", "blake2s")


class Recorder:
    """Plaintext of all messages of all parties, as sent and as received, and all shares that they read."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.secrets: set[bytes] = set()
        self.signed: list[bytes] = []
        self.clear: dict[tuple[int, int, int], bytes] = {}
        recorder, exchange, send, ready = self, Channel.exchange, Channel.send, release_module.ready_message
        post = MemoryNetwork.post

        def noted_exchange(channel: Channel, outgoing: Any, lengths: Any, round: int | None = None) -> Any:
            received = exchange(channel, outgoing, lengths, round)
            for parts in outgoing.values():
                recorder.keep(*(bytes(part) for part in parts), b"".join(bytes(part) for part in parts))
            recorder.keep(*(bytes(data) for data in received.values()))
            recorder.keep(*(bytes(data[:-WINDOW]) for data in received.values()))
            return received

        def noted_send(channel: Channel, peer: int, payload: bytes, label: str) -> None:
            if label.startswith("opening"):
                recorder.keep(bytes(payload)[4 * 80 :])  # after the READYs of all, which are public
            elif label != "ready":
                recorder.keep(bytes(payload))
            send(channel, peer, payload, label)

        def noted_ready(*parts: Any) -> bytes:
            recorder.signed.append(ready(*parts))
            return recorder.signed[-1]

        patch.setattr(Channel, "exchange", noted_exchange)
        patch.setattr(Channel, "send", noted_send)

        def noted_post(network: MemoryNetwork, frm: int, to: int, frames: Any) -> None:
            for frame in frames:  # the first of a link is a hello, or a signed ABANDON
                recorder.clear.setdefault((id(network), frm, to), bytes(frame))
            post(network, frm, to, frames)

        patch.setattr(release_module, "ready_message", noted_ready)
        patch.setattr(MemoryNetwork, "post", noted_post)

    def keep(self, *blobs: bytes) -> None:
        self.secrets.update(blob for blob in blobs if any(blob))

    def keep_shares(self, components: Any) -> None:
        for array in components:
            self.keep(array.astype("<u8").tobytes(), *(row.astype("<u8").tobytes() for row in array))

    def marks(self) -> dict[bytes, str]:
        """What must not be found, and what it is."""
        found = {}
        for blob in self.secrets:
            if len(blob) >= WINDOW:
                found[blob[:WINDOW]] = "the bytes"
            for name in HASHES:
                digest = hashlib.new(name, blob).digest()
                for text in (
                    digest,
                    digest.hex().encode(),
                    digest.hex().upper().encode(),
                    base64.b64encode(digest),
                ):
                    found[text[:WINDOW]] = name
        return found


def let_out(world: World, recorder: Recorder, logged: str) -> bytes:
    """Everything that parties signed, reported, logged, wrote to their ledgers and said in the clear."""
    ledgers = [
        json.dumps(list(map(str, row)))
        for party in world.parties
        for (table,) in sqlite3.connect(party.config.database).execute(
            "select name from sqlite_master where type = 'table'"
        )
        for row in sqlite3.connect(party.config.database).execute(f'select * from "{table}"')
    ]
    texts = [logged, json.dumps(world.portal.reports), json.dumps(world.portal.requests), *ledgers]
    return b"\n".join([*recorder.signed, *recorder.clear.values(), *(text.encode() for text in texts)])


def no_payload_leaves(
    folder: Path, patch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, engine: Engine = ENGINE
) -> None:
    """Assert that nothing which parties let out holds a message, a share, or a digest of one."""
    caplog.set_level(logging.DEBUG)
    recorder = Recorder(patch)
    patch.setattr(joint_module, "Session", engine.session)
    world = World(folder, minimum_cohort=1)
    world.give(world.prepare(codebook(policy={"minimum_cohort": 1})))
    for party in world.parties:
        for dataset in world.datasets:
            for components in party.store.columns(dataset, ["", "age", "arm"]).values():
                recorder.keep_shares(components)
    four = Four(world)
    order = world.order("mean(age) by arm; count() where age < 40", micro_epsilon=2_000_000)
    assert set(four.ask(order).values()) == {"answered"}
    # A second attempt that ends in an abort: its reports and logs speak of a failure.
    patch.setattr(Channel, "exchange", _flipped_once(Channel.exchange))
    failed = world.order("mean(age)", micro_epsilon=1_000_000, number=2)
    assert "mismatch" in four.ask(failed).values()
    marks = recorder.marks()
    counts = len(recorder.secrets), len(recorder.signed), len(recorder.clear)
    assert min(counts[0] - 400, counts[1] - 4, counts[2] - 24) >= 0, counts
    text = let_out(world, recorder, caplog.text)
    assert len(world.portal.said("result")) == len(world.portal.said("abort")) == 4
    hits = {marks[text[k : k + WINDOW]] for k in range(len(text)) if text[k : k + WINDOW] in marks}
    assert not hits, f"found in what parties let out: {hits}"


def _flipped_once(true: Any) -> Any:
    """Party 2 changes a bit of its third round to party 0."""

    def exchange(channel: Channel, outgoing: Any, lengths: Any, round: int | None = None) -> Any:
        if (channel.party, channel.rounds) == (2, 3):
            words = bytearray(b"".join(bytes(part) for part in outgoing[0]))
            words[-1] ^= 1
            outgoing = {**outgoing, 0: [words]}
        return true(channel, outgoing, lengths, round)

    return exchange


def test_no_message_no_share_and_no_digest_of_one_is_let_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    no_payload_leaves(tmp_path, monkeypatch, caplog)
