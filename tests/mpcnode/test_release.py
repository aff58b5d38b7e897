"""Budget, READY, opening: either every honest party opens or none does, and a liar is outvoted."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mpcnode.errors import ProtocolAbort, UndeclaredReveal
from mpcnode.release import Purpose, Terms, reveal
from mpcnode.ring import RING
from tests.world import World

KEYS = [Ed25519PrivateKey.from_private_bytes(hashlib.sha256(bytes([p])).digest()) for p in range(4)]


def verify(party, body, signature):
    try:
        KEYS[party].public_key().verify(signature, body)
    except InvalidSignature:
        return False
    return True


class Wrapped:
    """A corrupt party's channel: what it sends may be changed, or kept back."""

    def __init__(self, channel, change):
        self.channel, self.change = channel, change

    def send(self, peer, payload, label):
        payload = self.change(peer, payload, label)
        if payload is not None:
            self.channel.send(peer, payload, label)

    def __getattr__(self, name):
        return getattr(self.channel, name)


def release(values, n=4, corrupt=None, change=None, timeout=1.0, words=None, wrap=Wrapped):
    """Outcomes of all parties, and which of them had spent."""
    world = World(7, n)
    shares = world.share(values, RING)
    world.connect()
    spent = set()

    def act(session):
        p = session.party
        terms = Terms(
            words=len(values) if words is None else words,
            purpose=Purpose.NOISED_RESULT,
            plan_hash=bytes(32),
            commit=lambda: spent.add(p) or bytes([p]) * 16,
            opening=lambda: None,
            sign=lambda body: KEYS[p].sign(body),
            verify=verify,
            timeout=timeout,
        )
        channel = world.channels[p]
        if p == corrupt:
            channel = wrap(channel, change)
        return reveal(session, channel, shares[p], Purpose.NOISED_RESULT, terms)

    return world.outcomes(act), spent


VALUES = np.array([5, 2**64 - 3, 7], dtype=np.uint64)


@pytest.mark.parametrize("n", [4, 3])
@pytest.mark.parametrize("size", [1, 3, 40_000])
def test_all_parties_get_the_values(n, size):
    values = np.arange(size, dtype=np.uint64) * np.uint64(2**60 + 1)
    outcomes, spent = release(values, n)
    for outcome in outcomes:
        np.testing.assert_array_equal(outcome, values)
    assert spent == set(range(n))


@pytest.mark.parametrize("corrupt", range(4))
def test_a_false_opening_is_outvoted(corrupt):
    def change(peer, payload, label):
        return payload[:-1] + bytes([payload[-1] ^ 128]) if label.startswith("opening") else payload

    outcomes, _ = release(VALUES, corrupt=corrupt, change=change)
    for outcome in outcomes:
        np.testing.assert_array_equal(outcome, VALUES)


@pytest.mark.parametrize("corrupt", range(4))
def test_an_opening_kept_back_does_not_keep_the_answer(corrupt):
    outcomes, _ = release(
        VALUES, corrupt=corrupt, change=lambda peer, payload, label: None if "opening" in label else payload
    )
    for p, outcome in enumerate(outcomes):
        if p != corrupt:
            np.testing.assert_array_equal(outcome, VALUES)


@pytest.mark.parametrize("corrupt", range(4))
@pytest.mark.parametrize("favourite", [0, 1, 3])
def test_a_ready_shown_to_one_peer_opens_at_all_honest_parties(corrupt, favourite):
    """The favourite opens with the complete set, which carries the READY to the others."""
    if favourite == corrupt:
        favourite = 2

    def change(peer, payload, label):
        return payload if peer == favourite or label != "ready" else None

    outcomes, spent = release(VALUES, corrupt=corrupt, change=change)
    for p, outcome in enumerate(outcomes):
        if p != corrupt:
            np.testing.assert_array_equal(outcome, VALUES)
    assert spent == {0, 1, 2, 3}


@pytest.mark.parametrize("corrupt", range(4))
def test_without_its_ready_nobody_opens_and_honest_debits_stay(corrupt):
    opened = []

    def change(peer, payload, label):
        opened.append(label)

    outcomes, spent = release(VALUES, corrupt=corrupt, change=change, timeout=0.3)
    assert all(isinstance(outcome, ProtocolAbort) and outcome.reason == "timeout" for outcome in outcomes)
    assert spent == {0, 1, 2, 3}


@pytest.mark.parametrize("corrupt", range(4))
def test_a_ready_of_another_plan_counts_as_silence(corrupt):
    def change(peer, payload, label):
        if label == "ready":
            return payload[:16] + KEYS[corrupt].sign(b"fourfold/1/ready" + b"another plan")
        return None

    outcomes, _ = release(VALUES, corrupt=corrupt, change=change, timeout=0.3)
    assert all(isinstance(outcome, ProtocolAbort) for outcome in outcomes)


def test_a_ready_cannot_be_signed_for_another_party():
    def change(peer, payload, label):
        if label == "ready":
            return payload[:16] + KEYS[(1 + peer) % 4].sign(b"anything")
        return payload

    outcomes, _ = release(VALUES, corrupt=1, change=change, timeout=0.3)
    assert all(isinstance(outcome, ProtocolAbort) for p, outcome in enumerate(outcomes) if p != 1)


@pytest.mark.parametrize("declared", [2, 4])
def test_an_undeclared_reveal_aborts_before_anything_is_spent(declared):
    outcomes, spent = release(VALUES, words=declared)
    assert all(isinstance(outcome, UndeclaredReveal) for outcome in outcomes)
    assert not spent


def test_a_false_opening_among_three_aborts():
    def change(peer, payload, label):
        return payload[:-1] + bytes([payload[-1] ^ 1]) if label.startswith("opening") else payload

    outcomes, _ = release(VALUES, n=3, corrupt=2, change=change)
    assert [isinstance(o, ProtocolAbort) for o in outcomes] == [True, True, False]


class CalledOff(Wrapped):
    """Party 0's channel, called off as soon as two openings of one piece have come in.

    It begins to hear openings `late` seconds after it could: by then all three lie ready and are read in one pass.
    """

    def __init__(self, channel, late):
        super().__init__(channel, lambda peer, payload, label: payload)
        self.openings, self.late = 0, late

    def hear(self, peer, label):
        if label.startswith("opening") and self.late:
            time.sleep(self.late)
            self.late = 0
        if self.openings == 2:
            raise ProtocolAbort("cancelled")
        message = self.channel.hear(peer, label)
        self.openings += message is not None and label.startswith("opening")
        return message


@pytest.mark.parametrize("late", [0, 0.2])
def test_a_session_called_off_after_two_openings_decided_keeps_its_answer(late):
    outcomes, _ = release(VALUES, corrupt=0, wrap=lambda channel, change: CalledOff(channel, late))
    np.testing.assert_array_equal(outcomes[0], VALUES)
