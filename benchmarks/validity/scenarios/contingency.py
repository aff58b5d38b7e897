"""Association of two categories: Cramer's V and its test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.validity.scenario import Columns, Scenario


def crossed(x: str, y: str, shares: Sequence[Sequence[float]]) -> Any:
    """A population whose table has these shares of each row, rows equally often."""

    def population(rng: np.random.Generator, size: int) -> Columns:
        table = np.rint(np.array(shares) * size / len(shares)).astype(np.int64)
        cells = np.repeat(np.arange(table.size), table.reshape(-1))
        return {x: cells // table.shape[1], y: cells % table.shape[1]}

    return population


SCENARIOS = (
    Scenario(
        name="2 x 2, nothing there",
        program="correlate(arm, response)",
        population=crossed("arm", "response", [[0.7, 0.3], [0.7, 0.3]]),
        null=True,
    ),
    Scenario(
        name="2 x 2, V = 0.3",
        program="correlate(arm, response)",
        population=crossed("arm", "response", [[0.65, 0.35], [0.35, 0.65]]),
    ),
    Scenario(
        name="2 x 4, nothing there",
        program="correlate(arm, region)",
        population=crossed("arm", "region", [[0.4, 0.3, 0.2, 0.1]] * 2),
        null=True,
    ),
    Scenario(
        name="2 x 4, V = 0.29",
        program="correlate(arm, region)",
        population=crossed("arm", "region", [[0.3, 0.3, 0.2, 0.2], [0.1, 0.3, 0.2, 0.4]]),
    ),
)
