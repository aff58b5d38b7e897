"""The one door through which a value leaves: budget, READY of all, majority opening.

Order of things (docs/protocols.md, Release): rounds done; the budget is SPENT in the transaction that precedes my
signed READY; READY of all; opening. A party sends the complete set of READYs with its opening, and one that has sent
its READY and receives a complete set from anybody opens too: so either every honest party opens, or none does.
All holders of x_i send it to i, who takes the majority word by word: a corrupt party can neither change the answer
nor keep it for itself. Openings carry no tag, so that a false one is outvoted instead of ending the session.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

import numpy as np

from mpcnode.channel import Channel
from mpcnode.errors import ProtocolAbort, UndeclaredReveal
from mpcnode.ring import RING, Words
from mpcnode.session import Session
from mpcnode.sharing import Share

log = logging.getLogger(__name__)

READY = b"fourfold/1/ready"
ABANDON = b"fourfold/1/abandon"
DEBIT_BYTES = 16
SIGNATURE_BYTES = 64
PIECE = 96 * 1024  # bytes of an opening in one message
PAUSE = 0.0005  # seconds between looks at the links
GRACE = 0.25  # seconds that the third opening may take after two decided


class Purpose(Enum):
    """Why a value may leave."""

    NOISED_RESULT = "noised result"
    EXACT_RESULT = "exact result, small cells zeroed"


@dataclass(frozen=True)
class Terms:
    """What a plan declares of its reveal, and how this party commits to it.

    words    how many ring elements the plan releases
    purpose  the only purpose that it declares
    commit   spends the budget in one transaction and returns the debit's 16-byte id; called once, before READY
    opening  records that this party opens now; called once, before its first opening leaves
    sign     this party's Ed25519 signature of a message
    verify   whether a signature of a party is right
    """

    words: int
    purpose: Purpose
    plan_hash: bytes
    commit: Callable[[], bytes]
    opening: Callable[[], None]
    sign: Callable[[bytes], bytes]
    verify: Callable[[int, bytes, bytes], bool]
    timeout: float


def ready_message(session_id: bytes, plan_hash: bytes, rounds: int, debit_id: bytes) -> bytes:
    """What a READY signs."""
    return READY + session_id + plan_hash + rounds.to_bytes(8, "big") + debit_id


def abandon_message(session_id: bytes) -> bytes:
    """What an ABANDON signs: I have not opened in this session and never will."""
    return ABANDON + session_id


def reveal(session: Session, channel: Channel, total: Share, purpose: Purpose, terms: Terms) -> Words:
    """Return the clear values of a ring share, after every party has committed to revealing them.

    Shapes  total (words,), exactly as the plan declares; result (words,).
    Cost    two flights: READY (80 bytes), then 8 bytes a word and peer with the READYs of all.
    Leaks   the values, to every party. Raises UndeclaredReveal before anything is spent; ProtocolAbort when a READY
            or a majority is missing: `commit` was then already called, and its debit stays unless all others abandon.
    """
    if total.algebra is not RING or total.shape != (terms.words,) or purpose is not terms.purpose:
        raise UndeclaredReveal("the plan does not declare this reveal")
    if session.revealed:
        raise UndeclaredReveal("a session reveals once")
    session.revealed = True
    door = _Door(session, channel, terms)
    door.commit()
    door.await_everyone()
    door.open(total)
    return door.collect(total)


class _Door:
    """READYs and openings of one session, as they come in on three links."""

    def __init__(self, session: Session, channel: Channel, terms: Terms) -> None:
        self.session, self.channel, self.terms = session, channel, terms
        self.ready: dict[int, bytes] = {}
        self.direct: set[int] = set()  # peers whose own READY was read from their link
        self.deaf: set[int] = set()  # peers whose last message was no valid one
        self.pieces: dict[int, list[bytes]] = {p: [] for p in session.peers}
        self.set_bytes = session.n * (DEBIT_BYTES + SIGNATURE_BYTES)
        self.opening_bytes = self.set_bytes + 8 * terms.words
        self.count = -(-self.opening_bytes // PIECE)
        # A READY counts first-hand until `deadline`, and from then on only as passed on by somebody else: who
        # shows its READY to one party at the last moment cannot have that party alone open (Dolev, Strong 1983,
        # one liar). Honest parties come here at most one time-out apart, hence two more for what is passed on.
        self.deadline = time.monotonic() + terms.timeout
        self.patience = self.deadline + 2 * terms.timeout

    def commit(self) -> None:
        debit = self.terms.commit()
        signature = self.terms.sign(
            ready_message(self.session.session_id, self.terms.plan_hash, self.session.rounds, debit)
        )
        self.ready[self.session.party] = debit + signature
        for peer in self.session.peers:
            self.channel.send(peer, debit + signature, "ready")

    def await_everyone(self) -> None:
        self._listen_until(lambda: len(self.ready) == self.session.n, "a READY is missing")

    def open(self, total: Share) -> None:
        self.terms.opening()
        complete = b"".join(self.ready[p] for p in range(self.session.n))
        for peer in self.session.peers:
            payload = complete + total.component(peer).astype("<u8").tobytes()
            for k in range(self.count):
                self.channel.send(peer, payload[k * PIECE : (k + 1) * PIECE], f"opening/{k}")

    def collect(self, total: Share) -> Words:
        self._listen_until(lambda: self._majority() is not None, "no majority of openings")
        self._await_the_third()
        value = self._majority()
        assert value is not None, "what two openings decided stays"
        for c in self.session.held:
            value = value + total.component(c)
        return value

    def _await_the_third(self) -> None:
        """Two copies decide; the last one is read too if it comes soon, so that a lie in it is logged.

        The answer is known and paid for: whatever ends the session now takes it from nobody.
        """
        until = time.monotonic() + GRACE
        with suppress(ProtocolAbort):
            while any(len(self.pieces[p]) < self.count for p in self.session.peers if p not in self.deaf):
                if not self._listen():
                    if time.monotonic() > until:
                        return
                    time.sleep(PAUSE)
            self._majority()

    def _listen_until(self, done: Callable[[], bool], missing: str) -> None:
        """Listen until `done`; what came in the very pass that a cancel ended still counts."""
        while not done():
            try:
                heard = self._listen()
            except ProtocolAbort:
                if not done():
                    raise
                return
            if not heard:
                self._pause(missing)

    def _listen(self) -> bool:
        """Take one message from every link that has one; whether any had."""
        heard = False
        for peer in self.session.peers:
            if peer in self.deaf:
                continue
            k = len(self.pieces[peer])
            label = f"opening/{k}" if peer in self.direct else "ready"
            if peer in self.direct and k == self.count:
                continue
            try:
                message = self.channel.hear(peer, label)
            except ProtocolAbort as failed:
                if failed.reason == "cancelled":
                    raise
                self.deaf.add(peer)
                log.warning(
                    "party %d: a false message from party %d while releasing", self.session.party, peer
                )
                continue
            if message is None:
                continue
            heard = True
            if peer not in self.direct:
                if self._take_ready(peer, message, peer):
                    self.direct.add(peer)
                else:
                    self.deaf.add(peer)
            else:
                self.pieces[peer].append(message)
                if k == 0:
                    self._take_set(message[: self.set_bytes], peer)
        return heard

    def _take_ready(self, party: int, message: bytes, told_by: int) -> bool:
        """Whether this is the party's READY; it counts unless the party itself tells it too late."""
        if len(message) != DEBIT_BYTES + SIGNATURE_BYTES:
            return False
        if self.ready.get(party) == message:  # verified before; each READY comes in four times
            return True
        debit, signature = message[:DEBIT_BYTES], message[DEBIT_BYTES:]
        body = ready_message(self.session.session_id, self.terms.plan_hash, self.session.rounds, debit)
        if not self.terms.verify(party, body, signature):
            return False
        if party != told_by or time.monotonic() < self.deadline:
            self.ready.setdefault(party, message)
        return True

    def _take_set(self, complete: bytes, told_by: int) -> None:
        size = DEBIT_BYTES + SIGNATURE_BYTES
        for party in range(self.session.n):
            self._take_ready(party, complete[party * size : (party + 1) * size], told_by)

    def _majority(self) -> Words | None:
        """My own component as most of its holders sent it; None while that is open."""
        copies = {}
        for peer in self.session.peers:
            payload = b"".join(self.pieces[peer])
            if len(self.pieces[peer]) == self.count and len(payload) == self.opening_bytes:
                copies[peer] = np.frombuffer(payload[self.set_bytes :], dtype="<u8").astype(np.uint64)
        if self.session.n == 3:
            if len(copies) < 2:
                return None
            first, second = copies.values()
            if not np.array_equal(first, second):
                raise ProtocolAbort("mismatch", "openings differ")
            return first
        return self._of_three(copies)

    def _of_three(self, copies: dict[int, Words]) -> Words | None:
        peers = list(copies)
        for a in range(len(peers)):
            for b in range(a + 1, len(peers)):
                if np.array_equal(copies[peers[a]], copies[peers[b]]):
                    for odd in set(peers) - {peers[a], peers[b]}:
                        if not np.array_equal(copies[odd], copies[peers[a]]):
                            log.warning("party %d: minority opening of party %d", self.session.party, odd)
                    return copies[peers[a]]
        if len(peers) == 3:
            raise ProtocolAbort("mismatch", "no two openings agree")
        return None

    def _pause(self, missing: str) -> None:
        if time.monotonic() > self.patience:
            raise ProtocolAbort("timeout", missing)
        time.sleep(PAUSE)
