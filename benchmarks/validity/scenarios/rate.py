"""Incidence rates and their ratio."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.validity.scenario import Columns, Scenario, category, number

FIELDS = (
    category("died", "no", "yes") | {"role": "event", "occurred": "yes"},
    number("months", "0", "63", role="time", event="died"),
)


def followed(ratio: float) -> Any:
    """Months to death or to the end of the study, the second arm with `ratio` times the hazard."""

    def population(rng: np.random.Generator, size: int) -> Columns:
        arm = np.arange(size) % 2
        time = rng.exponential(40 / np.where(arm == 1, ratio, 1.0))
        end = rng.uniform(24, 60, size)
        months = np.clip(np.minimum(time, end).astype(np.int64), 0, 63)
        return {"arm": arm, "died": (time <= end).astype(np.int64), "months": months}

    return population


SCENARIOS = (
    Scenario(name="rate", program="rate(months)", population=followed(1.0), fields=FIELDS),
    Scenario(
        name="rate ratio",
        program="rate_ratio(died, months, arm)",
        population=followed(0.6),
        log=True,
        fields=FIELDS,
    ),
)
