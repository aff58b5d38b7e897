"""A party that lies while the largest numbers are searched and the rules decided is caught in the same round."""

from __future__ import annotations

import numpy as np
import pytest

from mpcnode.driver import run
from mpcnode.errors import ProtocolAbort
from mpcnode.protocols import binary
from mpcnode.protocols.largest import two_largest
from mpcnode.ring import XOR
from mpcnode.session import Session
from mpcnode.sharing import Share
from tests.cheating.bench import Liar, reason
from tests.world import World


async def dominance(session: Session, rows: Share, code: Share) -> Share:
    first, second = await two_largest(session, rows, code)
    residue = await binary.residues(session, first, 5)
    sign = await binary.not_negative(session, [(9, first), (-10, second)], -3)
    return sign ^ residue[0]


def play(world: World) -> list[object]:
    rng = np.random.default_rng(9)
    rows = world.share(rng.integers(0, 2**64, (2, 3), dtype=np.uint64), XOR)
    code = world.share(rng.integers(0, 2**64, (3, 3), dtype=np.uint64), XOR)
    world.connect()
    return world.outcomes(lambda s: run(s, dominance(s, rows[s.party], code[s.party])))


ROUNDS = 3 * (2 + 10) + 2 + 10


@pytest.mark.parametrize("number", range(0, ROUNDS, 3))
@pytest.mark.parametrize(("frm", "to"), [(0, 1), (2, 3), (3, 0)])
@pytest.mark.parametrize("what", ["payload", "tag"])
def test_a_changed_bit_of_the_search_is_caught_by_its_receiver(number, frm, to, what):
    told = []

    def change(now, peer, words, tag):
        if (now, peer) == (number, to):
            part = words if what == "payload" and len(words) else tag
            part[0] ^= 1
            told.append(now)

    world = World(9, tamper={frm: lambda channel: Liar(channel, change)}, timeout=2.0)
    outcomes = play(world)
    assert told == [number]
    caught = outcomes[to]
    assert isinstance(caught, ProtocolAbort) and reason(caught) == "mismatch"
    assert caught.detail.startswith(f"round {number}:")
    assert all(isinstance(outcomes[p], ProtocolAbort) for p in range(4) if p != frm)


def test_the_program_above_has_the_rounds_that_are_lied_in():
    world = World(9)
    assert not any(isinstance(result, Exception) for result in play(world))
    assert world.sessions[0].rounds >= ROUNDS
