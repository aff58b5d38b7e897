"""Nothing is opened before it is paid for, by everybody; and what was opened, every honest party has.

The corrupt party shows its READY to nobody, to one victim, or to one victim when the others have given up: whatever it
gets out of that, every honest ledger holds the debit. It tells each peer another value: the majority opens, and the
odd copy is in the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpcnode.channel import Channel
from mpcnode.errors import ProtocolAbort
from mpcnode.release import Purpose, Terms
from mpcnode.ring import RING
from tests.cheating.bench import ENGINE, SIGNING, Engine, reason, verify
from tests.workers import world as parties
from tests.workers.test_party import Four
from tests.world import World

VALUES = np.array([5, 2**64 - 3, 7], dtype=np.uint64)
SHORT, LONG = 0.15, 5.0  # seconds of patience

Say = Callable[[int, bytes, str], bytes | None]  # to, message, label: what is sent instead


class Noted:
    """A party's channel: notes what leaves; a corrupt party's messages are changed first."""

    def __init__(self, channel: Any, say: Say, opening: Opening) -> None:
        self.channel, self.say, self.opening = channel, say, opening

    def send(self, peer: int, payload: bytes, label: str) -> None:
        said = self.say(peer, payload, label)
        if said is not None:
            me = self.channel.party
            self.opening.sent.append((me, peer, label, me in self.opening.spent))
            self.channel.send(peer, said, label)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)


@dataclass
class Opening:
    """One release: outcomes, whose ledger holds the debit, and (from, to, label, was it paid?) of each message."""

    spent: set[int] = field(default_factory=set)
    sent: list[tuple[int, int, str, bool]] = field(default_factory=list)
    outcomes: list[Any] = field(default_factory=list)

    def openings_to(self, party: int) -> set[int]:
        return {frm for frm, to, label, _ in self.sent if to == party and label.startswith("opening")}


def opening(
    engine: Engine,
    corrupt: int,
    say: Say,
    patience: Mapping[int, float] | None = None,
    n: int = 4,
    slow: float = 0.0,
    late: Mapping[int, float] | None = None,
) -> Opening:
    """Release VALUES; honest parties take `slow` seconds before they open, so that a lie is there first.

    late  seconds after which a party comes to the release: the corrupt party held back its last round's message.
    """
    world = World(76, n)
    shares = world.share(VALUES, RING)
    world.connect()
    result = Opening()

    def honest(peer: int, payload: bytes, label: str) -> bytes:
        if label.startswith("opening"):
            time.sleep(slow)
        return payload

    def act(session: Any) -> Any:
        p = session.party
        time.sleep((late or {}).get(p, 0.0))
        terms = Terms(
            words=len(VALUES),
            purpose=Purpose.NOISED_RESULT,
            plan_hash=bytes(32),
            commit=lambda: result.spent.add(p) or bytes([p]) * 16,
            opening=lambda: None,
            sign=SIGNING[p].sign,
            verify=verify,
            timeout=(patience or {}).get(p, LONG),
        )
        channel = Noted(world.channels[p], say if p == corrupt else honest, result)
        return engine.reveal(session, channel, shares[p], Purpose.NOISED_RESULT, terms)

    result.outcomes = world.outcomes(act)
    for outcome in result.outcomes:
        reason(outcome)
    return result


def honest_parties(corrupt: int) -> set[int]:
    return {0, 1, 2, 3} - {corrupt}


def ready_leaves_after_the_debit(engine: Engine = ENGINE) -> None:
    done = opening(engine, 0, lambda peer, payload, label: payload)
    assert all((outcome == VALUES).all() for outcome in done.outcomes)
    assert done.sent and all(paid for _, _, _, paid in done.sent)


def nothing_opens_before_every_ready(engine: Engine = ENGINE) -> None:
    for corrupt in range(4):
        kept = opening(engine, corrupt, lambda *_: None, dict.fromkeys(range(4), SHORT))
        assert not kept.openings_to(corrupt)
        assert all(reason(kept.outcomes[p]) == "timeout" for p in honest_parties(corrupt))
        assert honest_parties(corrupt) <= kept.spent


def whoever_is_opened_to_alone_has_been_paid_for_by_all(engine: Engine = ENGINE) -> None:
    """READY to one victim when the others have given up: it opens to the corrupt party alone."""
    for corrupt in range(4):
        victim = (corrupt + 1) % 4

        def late(peer: int, payload: bytes, label: str, victim: int = victim) -> bytes | None:
            if peer != victim or label != "ready":
                return None
            time.sleep(4 * SHORT)
            return payload

        done = opening(
            engine,
            corrupt,
            late,
            {p: LONG if p == victim else SHORT for p in range(4)} | {corrupt: 1.0, victim: 1.0},
        )
        assert done.openings_to(corrupt) == {victim}, "the attack did not get its answer"
        assert honest_parties(corrupt) <= done.spent, "an answer was opened that a ledger does not know"


def what_is_opened_at_the_last_moment_all_honest_parties_have(engine: Engine = ENGINE) -> None:
    """All are as patient; the victim comes late, and alone sees the READY when the others have given up on it."""
    corrupt, victim = 0, 1
    for shown in (0.45, 0.75):
        start = time.monotonic()

        def say(peer: int, payload: bytes, label: str, at: float = start + shown) -> bytes | None:
            if peer != victim or label != "ready":
                return None
            time.sleep(max(0.0, at - time.monotonic()))
            return payload

        patience = dict.fromkeys(range(4), 0.5) | {corrupt: LONG}
        done = opening(engine, corrupt, say, patience, late={victim: 0.4})
        answered = {p for p in honest_parties(corrupt) if reason(done.outcomes[p]) is None}
        assert not done.openings_to(corrupt) or answered == honest_parties(corrupt)


def test_a_ready_shown_at_the_last_moment_opens_at_all_honest_parties_or_at_none() -> None:
    what_is_opened_at_the_last_moment_all_honest_parties_have()


def test_a_ready_leaves_only_after_its_debit() -> None:
    ready_leaves_after_the_debit()


def test_without_every_ready_nothing_is_opened_and_honest_debits_stay() -> None:
    nothing_opens_before_every_ready()


def test_a_ready_shown_to_one_victim_at_the_last_moment_is_in_every_honest_ledger() -> None:
    whoever_is_opened_to_alone_has_been_paid_for_by_all()


@pytest.mark.parametrize("corrupt", range(4))
def test_a_ready_and_an_opening_for_one_peer_alone_give_all_honest_parties_the_answer(corrupt: int) -> None:
    for favourite in honest_parties(corrupt):
        done = opening(ENGINE, corrupt, lambda peer, payload, _, f=favourite: payload if peer == f else None)
        for p in honest_parties(corrupt):
            np.testing.assert_array_equal(done.outcomes[p], VALUES)
        assert honest_parties(corrupt) <= done.spent


@pytest.mark.parametrize("corrupt", range(4))
def test_another_lie_to_each_peer_is_outvoted_and_logged(
    corrupt: int, caplog: pytest.LogCaptureFixture
) -> None:
    def lie(peer: int, payload: bytes, label: str) -> bytes:
        if not label.startswith("opening"):
            return payload
        return payload[:-8] + (int.from_bytes(payload[-8:], "little") ^ 1 << 9 * peer).to_bytes(8, "little")

    # Two honest copies are enough, so a party that has them no longer waits for the liar's.
    done = opening(ENGINE, corrupt, lie, slow=0.05)
    for outcome in done.outcomes:
        np.testing.assert_array_equal(outcome, VALUES)
    odd = {record.args for record in caplog.records if "minority opening" in record.message}
    assert odd == {(p, corrupt) for p in honest_parties(corrupt)}


@pytest.mark.parametrize("corrupt", range(3))
def test_among_three_another_lie_to_each_peer_ends_in_no_answer(corrupt: int) -> None:
    def lie(peer: int, payload: bytes, label: str) -> bytes:
        return payload[:-1] + bytes([payload[-1] ^ 1 << peer]) if label.startswith("opening") else payload

    done = opening(ENGINE, corrupt, lie, n=3)
    for p, outcome in enumerate(done.outcomes):
        assert isinstance(outcome, ProtocolAbort) is (p != corrupt)


@pytest.mark.parametrize("corrupt", range(4))
def test_whole_parties_all_hold_the_debit_and_three_of_four_answer(
    corrupt: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real ledgers: READY to one peer, no opening, no RESULT of the corrupt party."""
    send, favourite = Channel.send, (corrupt + 1) % 4

    def selective(channel: Channel, peer: int, payload: bytes, label: str) -> None:
        hidden = label.startswith("opening") or (label == "ready" and peer != favourite)
        if channel.party != corrupt or not hidden:
            send(channel, peer, payload, label)

    monkeypatch.setattr(Channel, "send", selective)
    world = parties.World(tmp_path, minimum_cohort=1)
    world.give(world.prepare(parties.codebook(policy={"minimum_cohort": 1})))
    four = Four(world)
    order = world.order("count()", micro_epsilon=2_000_000)
    said = four.ask(order)
    assert {said[p] for p in honest_parties(corrupt)} == {"answered"}
    results = [r for r in world.portal.said("result") if r["party"] != corrupt]
    assert len(results) == 3 and len({(r["session"], r["result_hash"]) for r in results}) == 1
    balances = four.balances(order)
    assert [balances[p] for p in honest_parties(corrupt)] == [(0, 2_000_000)] * 3
