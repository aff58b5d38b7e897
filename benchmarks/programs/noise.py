"""Discrete Laplace samples alone, of 24 binary digits: revealed, and compared with their law's reach."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from analytics.privacy.mechanisms import digits, thresholds
from benchmarks.harness import Table, Work
from mpcnode.protocols.noise import discrete_laplace

SCALE = Fraction(1 << 17)
assert digits(SCALE) == 24


def prepare(party: int, samples: int) -> Work:
    table = [thresholds(SCALE)] * samples
    return Work(
        program=lambda session: discrete_laplace(session, table),
        words=samples,
        expected=lambda: np.zeros(samples, dtype=np.int64),
        within=int(60 * SCALE),
    )


TABLES = (
    Table(
        title="noises of 24 digits, revealed",
        unit="samples",
        sizes=(1, 15, 128),
        prepare=prepare,
        goals={128: 0.015},
    ),
)
