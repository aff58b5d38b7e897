"""Linear and logistic regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.validity.scenario import Columns, Scenario, bell, category, rounded
from benchmarks.validity.scenarios.effects import FLAG

FIELDS = (category("died", "no", "yes") | FLAG,)


def nothing(rng: np.random.Generator, size: int) -> Columns:
    """A bell-shaped number and an event that three in ten have, the same in all arms and stages."""
    place = np.arange(size)
    return {
        "arm": place % 2,
        "stage": place // 2 % 3,
        "value": np.repeat(bell(rng, size // 6, 1024), 6),
        "died": (place // 6 % 10 < 3).astype(np.int64),
    }


def explained(rng: np.random.Generator, size: int) -> Columns:
    """Half a deviation between the arms, a third from stage to stage, and something by age."""
    arm, stage = rng.integers(0, 2, size), rng.integers(0, 3, size)
    age = rounded(31.5 + 10 * rng.standard_normal(size), 64)
    value = 380 + 60 * arm + 40 * stage + 2 * (age - 31.5) + 120 * rng.standard_normal(size)
    return {"arm": arm, "stage": stage, "age": age, "value": rounded(value, 1024)}


def events(ratio: float) -> Any:
    """One odds ratio between the arms, arms not equally often in each stage."""

    def population(rng: np.random.Generator, size: int) -> Columns:
        stage = np.arange(size) % 3
        arm = (rng.random(size) < np.array([0.4, 0.5, 0.6])[stage]).astype(np.int64)
        odds = np.array([0.4, 0.7, 1.0])[stage] * np.where(arm == 1, ratio, 1.0)
        return {"stage": stage, "arm": arm, "died": (rng.random(size) < odds / (1 + odds)).astype(np.int64)}

    return population


SCENARIOS = (
    Scenario(
        name="linear, no effect",
        fields=FIELDS,
        program="linear(value, arm, stage)",
        population=nothing,
        null=True,
        preview=True,
    ),
    Scenario(name="linear, arm and stage", program="linear(value, arm, stage)", population=explained),
    Scenario(name="linear, arm and age", program="linear(value, arm, age)", population=explained),
    Scenario(
        name="logistic, no effect",
        program="logistic(died, arm, stage)",
        population=nothing,
        null=True,
        preview=True,
        supposed={"event_rate": 0.3},
        fields=FIELDS,
    ),
    Scenario(
        name="logistic, odds ratio 2",
        program="logistic(died, arm, stage)",
        population=events(2.0),
        fields=FIELDS,
    ),
)
