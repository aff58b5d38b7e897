"""Differences of means and analysis of variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.validity.scenario import Columns, Scenario, bell, rounded


def arms(column: str, number: int, shift: float, *, spread: float = 6.0) -> Any:
    """Equal bells in every level of a category, each `shift` standard deviations above the one before."""

    def population(rng: np.random.Generator, size: int) -> Columns:
        one = bell(rng, size // number, 1024, spread=spread)
        level = np.repeat(np.arange(number), len(one))
        return {column: level, "value": rounded(np.tile(one, number) + level * shift * 1024 / spread, 1024)}

    return population


def in_strata(rng: np.random.Generator, size: int) -> Columns:
    """Half a standard deviation between arms in every sex, men above women, arms not equally often in each."""
    sex = np.arange(size) % 2
    arm = (rng.random(size) < np.where(sex == 1, 0.6, 0.4)).astype(np.int64)
    value = 400 + 120 * sex + 60 * arm + 120 * rng.standard_normal(size)
    return {"sex": sex, "arm": arm, "value": rounded(value, 1024)}


SCENARIOS = (
    Scenario(
        name="difference of means, none",
        program="difference(value, arm)",
        population=arms("arm", 2, 0.0),
        null=True,
        preview=True,
    ),
    Scenario(
        name="difference of means, 0.4 standard deviations",
        program="difference(value, arm)",
        population=arms("arm", 2, 0.4, spread=8.0),
    ),
    Scenario(
        name="difference of means in strata",
        program="difference(value, arm, sex)",
        population=in_strata,
        truth=6.0,
    ),
    Scenario(
        name="analysis of variance, nothing there",
        program="anova(value, stage)",
        population=arms("stage", 3, 0.0),
        truth=float("nan"),
        null=True,
    ),
)
