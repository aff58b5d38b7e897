"""The attack that a late comparison lets in, and the tag in the same round keeps out.

Corrupt party C never holds component C of anything. It sends honest party i a word with one bit wrong, so that i goes
on with a wrong component j of z. Where z meets a secret y, half gate (C, j) makes z_C y_j + z_j y_C - r for C: two
honest parties now have different opinions of it, and they differ exactly where bit y_C is set. One of them sends the
word, the other vouches for it; whoever lets C see both has told it a bit of the component that it must never hold.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from mpcnode import roles
from mpcnode.driver import run
from mpcnode.protocols.gates import product
from mpcnode.ring import XOR
from mpcnode.session import Session
from mpcnode.sharing import Share, concatenate
from tests.cheating.bench import ENGINE, Engine, Liar, Tap, flip, reason
from tests.cheating.mutants import CHECK_AFTER_NEXT_SEND, HASH_AT_THE_END, SKIP_TAG_CHECK
from tests.world import World

TRIALS = 40
WORDS = 256  # of one half table


async def two_gates(session: Session, a: Share, b: Share, y: Share) -> Share:
    z: Share = await product(session, a, b)
    # z twice: every word meets both half tables, so whatever (i, j) was, (C, j) sees it.
    u: Share = await product(session, concatenate([z, z]), concatenate([y, y]))
    return await product(session, u, concatenate([y, y]))


def attack(seed: int, engine: Engine) -> tuple[bool | None, bool, World, int, dict[Any, Any]]:
    """(what C believes of one bit of y_C, that bit, the world, the target, frames by link)."""
    world = World(seed, make=engine.session)
    corrupt = int(world.rng.integers(4))
    target = int(world.rng.choice([p for p in range(4) if p != corrupt]))
    j = next(j for j in range(4) if j != target and roles.sender(4, target, j) == corrupt)
    table = next(t for t, pairs in enumerate(roles.halves(4)) if (target, j) in pairs)
    bit = int(world.rng.integers(64 * WORDS))
    frames: dict[tuple[int, int], list[bytes]] = {}
    liars: list[Liar] = []

    def change(number: int, to: int, words: bytearray, tag: bytearray) -> None:
        if (number, to) == (0, target):
            assert len(words) == 8 * WORDS  # the link carries half gate (i, j) alone
            flip(words, bit)

    def tamper(channel: Any) -> Liar:
        liars.append(Liar(channel, change))
        return liars[0]

    world.wire = lambda party, transport: Tap(transport, frames)
    world.tamper = {corrupt: tamper}
    a, b, y = world.rng.integers(0, 2**64, (3, 2 * WORDS), dtype=np.uint64)
    shares = [world.share(x, XOR) for x in (a, b, y)]
    secret = shares[2][target].component(corrupt)
    place = 64 * WORDS * table + bit  # among the words of z, and of either half of the second gate
    truth = bool(secret[place // 64] >> np.uint64(place % 64) & np.uint64(1))
    world.connect()

    def act(session: Session) -> None:
        run(session, two_gates(session, *(s[session.party] for s in shares)))
        if engine.compare_at_end:
            session.compare()  # type: ignore[attr-defined]

    outcomes = world.outcomes(act)
    for outcome in outcomes:
        reason(outcome)
    return read(liars[0], world.sessions[corrupt], j, place, engine), truth, world, target, frames


def read(liar: Liar, session: Session, j: int, place: int, engine: Engine) -> bool | None:
    """What C makes of the two opinions it received about half gate (C, j) of the second gate."""
    corrupt = session.party
    sender = roles.sender(4, corrupt, j)
    voucher = roles.after(4, corrupt, sender)
    if len(liar.received) < 2:
        return None
    words = liar.received[1][sender][:-16]
    other = bytearray(words)
    flip(other, place)  # the message on this link is half gate (C, j), z's words in order
    later = 3 if engine is HASH_AT_THE_END else 1
    if len(liar.received) <= later:
        return None
    opinion = liar.received[later][voucher]
    if engine is HASH_AT_THE_END:
        # The hash covers all rounds; what the wrong bit does in the last one also takes y_C's bit.
        rounds = b"".join(received[sender][:-16] for received in liar.received[:3])
        return opinion[:32] != sha256(bytes([voucher]) + rounds).digest()
    session.rounds = 1
    tags = [Session._tag(session, voucher, voucher, bytes(text)) for text in (words, other)]
    return None if opinion[-16:] not in tags else opinion[-16:] == tags[1]


@pytest.mark.parametrize("engine", [HASH_AT_THE_END, CHECK_AFTER_NEXT_SEND, SKIP_TAG_CHECK], ids=str)
def test_where_the_comparison_comes_late_the_attack_reads_every_bit(engine: Engine) -> None:
    read_right = 0
    for trial in range(TRIALS):
        guess, truth, *_ = attack(1000 + trial, engine)
        read_right += guess == truth
    assert read_right == TRIALS


def test_with_the_tag_in_the_same_round_the_target_stops_and_the_attack_reads_nothing() -> None:
    for trial in range(TRIALS):
        guess, _, world, target, frames = attack(1000 + trial, ENGINE)
        assert guess is None
        assert world.sessions[target].rounds == 0
        assert all(len(frames[target, peer]) == 1 for peer in world.sessions[target].peers)
