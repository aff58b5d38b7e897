"""Pearson's correlation."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from benchmarks.validity.scenario import Columns, Scenario, rounded


def correlated(r: float) -> Any:
    """Two bell-shaped columns of a sixth of their range each."""

    def population(rng: np.random.Generator, size: int) -> Columns:
        a, b = rng.standard_normal((2, size))
        both = a, r * a + sqrt(1 - r * r) * b
        x, y = (rounded(511.5 + 1024 / 6 * z, 1024) for z in both)
        return {"value": x, "other": y}

    return population


SCENARIOS = (
    Scenario(
        name="r = 0", program="correlate(value, other)", population=correlated(0.0), preview=True, null=True
    ),
    Scenario(name="r = 0.3", program="correlate(value, other)", population=correlated(0.3)),
    Scenario(name="r = 0.6", program="correlate(value, other)", population=correlated(0.6)),
    Scenario(name="r = 0.9", program="correlate(value, other)", population=correlated(0.9)),
)
