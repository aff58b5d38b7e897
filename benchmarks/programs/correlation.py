"""Correlation of two 12-bit columns under a filter: the product's plan, and the same totals from stored ring views.

The plan converts the columns from bits in the query itself. With views, one mask bit a row is converted, multiplied
by x, and inner products do the rest.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from analytics.privacy.mechanisms import thresholds
from benchmarks.harness import Table, Work
from benchmarks.questions import ask, clear
from benchmarks.shares import shared, shared_bits
from mpcnode.protocols.compare import less
from mpcnode.protocols.convert import to_ring
from mpcnode.protocols.gates import product
from mpcnode.protocols.inner import inner
from mpcnode.protocols.noise import discrete_laplace
from mpcnode.ring import RING
from mpcnode.session import Session, gather
from mpcnode.sharing import Share, concatenate, stack

SCALE = Fraction(1 << 22)
NOISES = 6


def views(party: int, rows: int) -> Work:
    codes = clear(rows)
    x, y = codes["value"], codes["other"]
    columns = [shared(party, v, RING, f"view {k}") for k, v in enumerate((x, y, x * x, y * y))]
    age = shared_bits(party, codes["age"], 8, "age")
    chosen = codes["age"] < 200
    a, b = x[chosen].astype(np.int64), y[chosen].astype(np.int64)
    return Work(
        program=lambda session: moments(session, age, columns),
        words=NOISES,
        expected=lambda: np.array(
            [chosen.sum(), a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()]
        ),
        within=int(60 * SCALE),
    )


async def moments(session: Session, age: Share, columns: list[Share]) -> Share:
    """Count, sums, sums of squares and of products of the rows with age < 200, noised."""
    totals, noise = await gather(
        masked(session, age, columns), discrete_laplace(session, [thresholds(SCALE)] * NOISES)
    )
    noised: Share = totals + noise
    return noised


async def masked(session: Session, age: Share, columns: list[Share]) -> Share:
    rows = columns[0].shape[0]
    mask = (await to_ring(session, await less(session, age, 200)))[:rows]
    x, y = columns[:2]
    fx: Share = await product(session, mask, x)
    sums, cross = await gather(
        _inner(session, mask.reshape(1, rows), stack(columns)),
        _inner(session, fx.reshape(1, rows), y.reshape(1, rows)),
    )
    return concatenate([mask.sum().reshape(1), sums.reshape(-1), cross.reshape(-1)])


async def _inner(session: Session, x: Share, y: Share) -> Share:
    z: Share = await inner(session, x, y)
    return z


TABLES = (
    Table(
        title="correlate(value, other) where age < 200: the product's plan",
        unit="rows",
        sizes=(1_000, 10_000, 100_000),
        prepare=ask("correlate(value, other) where age < 200"),
        goals={100_000: 0.100},
    ),
    Table(
        title="the moments of a correlation from stored ring views x, y, x^2, y^2; six noises",
        unit="rows",
        sizes=(1_000, 10_000, 100_000),
        prepare=views,
        goals={100_000: 0.100},
    ),
)
