"""Counts and proportions."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.validity.scenario import Columns, Scenario


def responding(share: float) -> Any:
    def population(rng: np.random.Generator, size: int) -> Columns:
        yes = np.arange(size) < round(share * size)
        return {"response": yes.astype(np.int64)}

    return population


SCENARIOS = (
    Scenario(
        name="count of a half",
        program="count() where response == yes",
        population=responding(0.5),
        of="cohort",
        preview=True,
    ),
    Scenario(
        name="proportion of a half",
        program="proportion(response, yes)",
        population=responding(0.5),
        preview=True,
    ),
    Scenario(
        name="proportion of one in ten",
        program="proportion(response, yes)",
        population=responding(0.1),
    ),
)
