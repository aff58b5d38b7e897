"""Rounds alone: gates of 64 words one after another. What a round costs when there is next to nothing in it."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Table, Work
from benchmarks.shares import shared
from mpcnode.protocols.gates import product
from mpcnode.ring import XOR
from mpcnode.session import Session
from mpcnode.sharing import Share


def prepare(party: int, rounds: int) -> Work:
    x = shared(party, np.full(64, 2**64 - 1, dtype=np.uint64), XOR, "x")

    async def program(session: Session) -> Share:
        y = x
        for _ in range(rounds):
            y = await product(session, x, y)
        return y

    return Work(program=program)


TABLES = (Table(title="rounds of one gate of 64 words", unit="rounds", sizes=(100,), prepare=prepare),)
