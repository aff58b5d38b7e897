"""W0: 400 patients in ten secret groups, three values and their squares, summed by group.

Once as other systems are measured, from ring shares of values, squares and group masks, exact; once as a question of
the product, from bits, with noise.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Table, Work
from benchmarks.questions import ask
from benchmarks.shares import shared
from mpcnode.protocols.inner import inner
from mpcnode.ring import RING
from mpcnode.session import Session
from mpcnode.sharing import Share, concatenate

GROUPS = 10
QUESTION = "sd(value) by ward\nsd(other) by ward\nsd(third) by ward"


def from_ring(party: int, patients: int) -> Work:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 100, (3, patients))
    columns = np.concatenate([values, values * values])
    masks = np.eye(GROUPS, dtype=np.int64)[rng.integers(0, GROUPS, patients)].T
    x, g = (shared(party, a.astype(np.uint64), RING, label) for a, label in ((columns, "x"), (masks, "g")))
    return Work(
        program=lambda session: by_group(session, g, x),
        words=GROUPS * 7,
        expected=lambda: np.concatenate([masks.sum(axis=1), (masks @ columns.T).reshape(-1)]),
    )


async def by_group(session: Session, masks: Share, columns: Share) -> Share:
    """Patients, then sums of every column, of each group."""
    sums: Share = await inner(session, masks, columns)
    return concatenate([masks.sum(), sums.reshape(-1)])


TABLES = (
    Table(
        title="W0 from ring shares, exact",
        unit="patients",
        sizes=(400,),
        prepare=from_ring,
        goals={400: 0.030},
    ),
    Table(
        title="W0 as a question, from bits: sd of three columns by ten groups, 90 noises",
        unit="patients",
        sizes=(400,),
        prepare=ask(QUESTION),
        goals={400: 0.030},
    ),
    Table(
        title="W0 as a question, ring columns kept, 90 noises",
        unit="patients",
        sizes=(400,),
        prepare=ask(QUESTION, warm=True),
        goals={400: 0.030},
    ),
)
