"""AND gates: one round of 64 gates a word, nothing revealed."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Table, Work
from benchmarks.shares import shared
from mpcnode.protocols.gates import product
from mpcnode.ring import XOR, Words
from mpcnode.session import Session
from mpcnode.sharing import Share


def prepare(party: int, words: int) -> Work:
    rng = np.random.default_rng(1)
    clear = [rng.integers(0, 2**64, words, dtype=np.uint64) for _ in range(2)]
    x, y = (shared(party, c, XOR, f"gates {k}") for k, c in enumerate(clear))
    return Work(program=lambda session: conjunction(session, x, y))


async def conjunction(session: Session, x: Share, y: Share) -> Words:
    z: Share = await product(session, x, y)
    return z.components


TABLES = (
    Table(
        title="AND gates (goal: 350 million a second at 10^5 words)",
        unit="words",
        sizes=(1_000, 10_000, 100_000, 1_000_000),
        prepare=prepare,
        goals={100_000: 64e5 / 350e6},
        rate=("gates", 64),
    ),
)
