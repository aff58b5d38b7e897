"""Sealed, numbered messages between one party and its peers.

A round is one message to and one from every peer, also when it is empty: what travels depends on public sizes alone.
Messages are cut in chunks; each is AES-128-GCM under the key of its direction, with nonce = direction and sequence.
The receiver computes the associated data by itself (session, block, from, to, sequence, round, length, chunk i of m),
so a lost, repeated, reordered, reflected or foreign chunk opens under no key. Public: lengths and times.

After any abort the channel is silent: two honest parties never send while they disagree (docs/protocols.md).
A channel is made after any fork, by the process that uses it: a copied one would repeat its nonces.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpcnode.errors import ProtocolAbort
from mpcnode.transport.base import Frame, Transport

Buffer = Any  # whatever exports contiguous memory: bytes, bytearray, memoryview, a numpy array

CHUNK = 128 * 1024  # plaintext bytes of one frame
WINDOW = 4  # frames of one link pushed before the peers' own are read: bounds what Redis holds
TAG = 16
LONGEST = 2**31 - 1  # bytes of one link in one round
OUTSIDE = 2**32 - 1  # the round number of messages outside rounds

_NONCE = struct.Struct(">HHQ")  # direction (from, to), sequence
_PLACE = struct.Struct(">HHQIQII")  # from, to, sequence, round, total length, chunk i, of m


class _Direction:
    """One direction of one link: its key, and the sequence that makes every nonce new."""

    def __init__(self, key: bytes, frm: int, to: int, context: bytes) -> None:
        if len(key) != 16:
            raise ValueError(f"key of {frm} to {to}: {len(key)} bytes, not 16")
        self.cipher = AESGCM(key)
        self.frm, self.to = frm, to
        self.context = len(context).to_bytes(4, "big") + context
        self.sequence = 0
        self.room: list[memoryview] = []  # at most WINDOW frames

    def frame(self, number: int, size: int) -> memoryview:
        """Room for the sealed chunk that is `number` in its window; the same memory in every window."""
        if number == len(self.room):
            self.room.append(memoryview(bytearray(CHUNK + TAG)))
        return self.room[number][:size]

    def next(self, round: int, total: int, chunk: int, chunks: int, label: bytes) -> tuple[bytes, bytes]:
        """Return nonce and associated data of the next chunk."""
        sequence = self.sequence
        self.sequence += 1
        place = _PLACE.pack(self.frm, self.to, sequence, round, total, chunk, chunks)
        return _NONCE.pack(self.frm, self.to, sequence), b"".join((self.context, place, label))


class Channel:
    """One party's sealed links to its peers in one session and block.

    party       own number
    peers       the other parties' numbers
    transport   carries the frames
    keys        {(from, to): 16 bytes}, own number on one side; used by this object alone
    context     session id and block, part of every associated data
    timeout     seconds of a peer's silence that end the session
    Counters    rounds; bytes_sent and bytes_received per peer, as on the wire (16 bytes a chunk above the payload)
    """

    def __init__(
        self,
        party: int,
        peers: Iterable[int],
        transport: Transport,
        keys: Mapping[tuple[int, int], bytes],
        context: bytes,
        timeout: float,
    ) -> None:
        self.party = party
        self.peers = tuple(sorted(peers))
        self.transport = transport
        self.timeout = timeout
        self.rounds = 0
        self.bytes_sent = dict.fromkeys(self.peers, 0)
        self.bytes_received = dict.fromkeys(self.peers, 0)
        self.aborted: ProtocolAbort | None = None
        self._out = {p: _Direction(keys[party, p], party, p, context) for p in self.peers}
        self._in = {p: _Direction(keys[p, party], p, party, context) for p in self.peers}

    def abort(self, reason: str, detail: str = "") -> ProtocolAbort:
        """Fall silent for good, and return the error to raise. The first reason stays."""
        if self.aborted is None:
            self.aborted = ProtocolAbort(reason, detail)
        return self.aborted

    def exchange(
        self,
        outgoing: Mapping[int, Sequence[Buffer]],
        lengths: Mapping[int, int],
        round: int | None = None,
    ) -> dict[int, memoryview]:
        """Send every peer one message and return every peer's: one round.

        outgoing    {peer: buffers, sent one after the other}; a peer not named gets an empty message
        lengths     {peer: bytes expected}, from public shapes; a peer not named sends an empty message
        round       its number; default: one more than the last
        Returns     {peer: writable contiguous bytes}, fresh memory the caller may keep
        Raises      ProtocolAbort("mismatch" | "timeout" | "cancelled"), after which nothing more is sent;
                    ValueError, before anything is sent, for an unknown peer or 2^31 bytes and more on a link
        """
        if self.aborted is not None:
            raise self.aborted
        number = self.rounds if round is None else round
        messages = {p: _Pieces(outgoing.get(p, ())) for p in self.peers}
        inbound = {p: lengths.get(p, 0) for p in self.peers}
        for peer in (*outgoing, *lengths):
            if peer not in self._out:
                raise ValueError(f"party {self.party} has no link to {peer}")
        if any(
            not 0 <= size <= LONGEST for size in (*(m.total for m in messages.values()), *inbound.values())
        ):
            raise ValueError("a link carries fewer than 2^31 bytes a round: take smaller blocks")
        result = {p: np.empty(size, dtype=np.uint8).data for p, size in inbound.items()}
        chunks_out = {p: _chunks(message.total) for p, message in messages.items()}
        chunks_in = {p: _chunks(size) for p, size in inbound.items()}
        most = max((*chunks_out.values(), *chunks_in.values()), default=0)
        # In step, window by window: what a party sends in a round depends on the rounds before alone,
        # so a long link never waits for a short one and at most two windows of a link are under way.
        for start in range(0, most, WINDOW):
            frames = {
                p: self._seal(p, messages[p], number, start, min(start + WINDOW, count), count)
                for p, count in chunks_out.items()
                if start < count
            }
            expect = {p: min(WINDOW, count - start) for p, count in chunks_in.items() if start < count}
            arrived = self._carry(frames, expect)
            for peer, sealed in arrived.items():
                self._open(peer, sealed, result[peer], number, start, chunks_in[peer])
        self.rounds = number + 1
        return result

    def send(self, peer: int, payload: bytes, label: str) -> None:
        """Send one message outside the rounds; `label` says what it is and is authenticated."""
        if self.aborted is not None:
            raise self.aborted
        message = _Pieces((payload,))
        if message.total > LONGEST:
            raise ValueError("a message has fewer than 2^31 bytes")
        count = _chunks(message.total)
        for start in range(0, count, WINDOW):
            end = min(start + WINDOW, count)
            self._carry({peer: self._seal(peer, message, OUTSIDE, start, end, count, label)}, {})

    def receive(
        self, peer: int, label: str, timeout: float | None = None, length: int | None = None
    ) -> bytes:
        """Return the next message of `peer`, which must be a `label`, or abort.

        length      expected bytes; without it any message of one chunk (128 KiB) is taken
        """
        if self.aborted is not None:
            raise self.aborted
        wait = self.timeout if timeout is None else timeout
        if length is None:
            return self._single(peer, self._carry({}, {peer: 1}, wait)[peer][0], label)
        result = bytearray(length)
        count = _chunks(length)
        for start in range(0, count, WINDOW):
            sealed = self._carry({}, {peer: min(WINDOW, count - start)}, wait)[peer]
            self._open(peer, sealed, memoryview(result), OUTSIDE, start, count, label)
        return bytes(result)

    def poll(self, peer: int, label: str) -> bytes | None:
        """Return the next message of `peer` if its one chunk is there, else None at once."""
        if self.aborted is not None:
            raise self.aborted
        try:
            frame = self.transport.poll(peer)
        except ProtocolAbort as failed:
            raise self.abort(failed.reason, failed.detail) from failed
        return None if frame is None else self._single(peer, frame, label)

    def hear(self, peer: int, label: str) -> bytes | None:
        """As `poll`, but a false message is that peer's affair: it raises ProtocolAbort, the channel goes on.

        For the release alone, where a corrupt party's garbage must not keep honest parties from opening.
        """
        if self.aborted is not None:
            raise self.aborted
        frame = self.transport.poll(peer)
        if frame is None:
            return None
        size = len(frame) - TAG
        if not 0 <= size <= CHUNK:
            raise ProtocolAbort("mismatch", f"a frame of {len(frame)} bytes from party {peer}")
        nonce, place = self._in[peer].next(OUTSIDE, size, 0, 1, label.encode())
        try:
            return self._in[peer].cipher.decrypt(nonce, frame, place)
        except InvalidTag:
            raise ProtocolAbort("mismatch", f"a false message from party {peer}") from None

    def _single(self, peer: int, frame: bytes, label: str) -> bytes:
        size = len(frame) - TAG
        if not 0 <= size <= CHUNK:
            raise self.abort("mismatch", f"a frame of {len(frame)} bytes from party {peer}")
        result = bytearray(size)
        self._open(peer, [frame], memoryview(result), OUTSIDE, 0, 1, label)
        return bytes(result)

    def _carry(
        self, frames: Mapping[int, Sequence[Frame]], expect: Mapping[int, int], timeout: float | None = None
    ) -> dict[int, list[bytes]]:
        try:
            arrived = self.transport.exchange(frames, expect, self.timeout if timeout is None else timeout)
        except ProtocolAbort as failed:
            raise self.abort(failed.reason, failed.detail) from failed
        for peer, sent in frames.items():
            self.bytes_sent[peer] += sum(map(len, sent))
        return arrived

    def _seal(
        self, peer: int, message: _Pieces, round: int, start: int, end: int, count: int, label: str = ""
    ) -> list[memoryview]:
        direction, kind, frames = self._out[peer], label.encode(), []
        for chunk in range(start, end):
            nonce, place = direction.next(round, message.total, chunk, count, kind)
            plain = message.take(CHUNK)
            frame = direction.frame(chunk - start, len(plain) + TAG)
            direction.cipher.encrypt_into(nonce, plain, place, frame)
            frames.append(frame)
        return frames

    def _open(
        self,
        peer: int,
        sealed: Sequence[bytes],
        result: memoryview,
        round: int,
        start: int,
        count: int,
        label: str = "",
    ) -> None:
        direction, kind, total = self._in[peer], label.encode(), len(result)
        for chunk, frame in enumerate(sealed, start):
            target = result[chunk * CHUNK : (chunk + 1) * CHUNK]
            nonce, place = direction.next(round, total, chunk, count, kind)
            if len(frame) != len(target) + TAG:
                raise self.abort("mismatch", f"round {round}, party {peer}: length of chunk {chunk}")
            try:
                direction.cipher.decrypt_into(nonce, frame, place, target)
            except InvalidTag:
                raise self.abort("mismatch", f"round {round}, party {peer}: chunk {chunk}") from None
            self.bytes_received[peer] += len(frame)


class _Pieces:
    """Buffers read in order as one message, without joining them first."""

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        views = (memoryview(buffer) for buffer in buffers)
        self.views = [view.cast("B") if view.nbytes else memoryview(b"") for view in views]
        self.total = sum(map(len, self.views))
        self._at = 0  # which view
        self._offset = 0  # and where in it

    def take(self, size: int) -> bytes | memoryview:
        """Return the next `size` bytes, or what is left; a copy only where a chunk spans buffers."""
        parts: list[memoryview] = []
        while size and self._at < len(self.views):
            part = self.views[self._at][self._offset : self._offset + size]
            size -= len(part)
            self._offset += len(part)
            if self._offset == len(self.views[self._at]):
                self._at, self._offset = self._at + 1, 0
            if len(part):
                parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _chunks(total: int) -> int:
    return max(1, -(-total // CHUNK))
