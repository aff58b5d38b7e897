"""W1: count, sum and sum of squares in five secret groups.

Once as other systems are measured, from ring shares of the value and of five group masks; once as a question of the
product, from bits, with noise.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Table, Work
from benchmarks.questions import ask
from benchmarks.shares import shared
from mpcnode.protocols.gates import product
from mpcnode.protocols.inner import inner
from mpcnode.ring import RING
from mpcnode.session import Session
from mpcnode.sharing import Share, concatenate, stack

GROUPS = 5


def from_ring(party: int, rows: int) -> Work:
    rng = np.random.default_rng(1)
    value = rng.integers(0, 100, rows)
    masks = np.eye(GROUPS, dtype=np.int64)[rng.integers(0, GROUPS, rows)].T
    x = shared(party, value.astype(np.uint64), RING, "x")
    g = shared(party, masks.astype(np.uint64), RING, "g")
    return Work(
        program=lambda session: by_group(session, g, x),
        words=3 * GROUPS,
        expected=lambda: np.concatenate(
            [masks.sum(axis=1), np.stack([masks @ value, masks @ (value * value)], axis=1).reshape(-1)]
        ),
    )


async def by_group(session: Session, masks: Share, x: Share) -> Share:
    """Patients, then sum and sum of squares, of each group. The square is a gate of this program."""
    square: Share = await product(session, x, x)
    sums: Share = await inner(session, masks, stack([x, square]))
    return concatenate([masks.sum(), sums.reshape(-1)])


TABLES = (
    Table(
        title="W1 from ring shares, exact",
        unit="rows",
        sizes=(100_000, 1_000_000),
        prepare=from_ring,
    ),
    Table(
        title="W1 as a question, from bits: sd(small) by arm, seven-bit values, 15 noises",
        unit="rows",
        sizes=(100_000, 1_000_000),
        prepare=ask("sd(small) by arm"),
    ),
    Table(
        title="W1 as a question, ring columns kept, 15 noises",
        unit="rows",
        sizes=(100_000, 1_000_000),
        prepare=ask("sd(small) by arm", warm=True),
    ),
)
