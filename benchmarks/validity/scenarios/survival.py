"""Survival over time, hazards, log-rank test and hazard ratio."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.validity.scenario import Columns, Reading, Scenario, Statement, category, number

FIELDS = (
    category("died", "no", "yes") | {"role": "event", "occurred": "yes"},
    number("months", "0", "63", role="time", event="died"),
)


RATE = {"event_rate": 0.64}


def followed(ratio: float) -> Any:
    """Months to death (median 28) or to an end between a third and all of the range, as a preview plans, the second arm with `ratio` times the hazard."""

    def population(rng: np.random.Generator, size: int) -> Columns:
        once = rng.exponential(40, size // 2)
        end = np.tile(rng.uniform(64 / 3, 64, size // 2), 2)
        time = np.concatenate([once, once / ratio])
        seen = np.minimum(time, end)
        return {
            "arm": np.repeat([0, 1], size // 2),
            "died": (time <= end).astype(np.int64),
            "months": np.clip(seen.astype(np.int64), 0, 63),
            "_death": time.astype(np.int64),
            "sex": rng.integers(0, 2, 2 * (size // 2)),
        }

    return population


def alive_after(month: int) -> Any:
    def truth(columns: Columns) -> float:
        return float((columns["_death"] > month).mean())

    return truth


def mean_up_to(tau: int) -> Any:
    def truth(columns: Columns) -> float:
        return float(np.minimum(columns["_death"], tau).mean())

    return truth


def first_coefficient(statement: Statement) -> Reading:
    """The hazard ratio with the p of its coefficient."""
    group = statement["groups"][0]
    return Reading(group["value"], group["low"], group["high"], group["coefficients"][0]["p"])


SCENARIOS = (
    Scenario(
        name="survival at 12 months",
        program="survival(months, 12)",
        population=followed(1.0),
        truth=alive_after(12),
        preview=True,
        supposed=RATE,
        fields=FIELDS,
    ),
    Scenario(
        name="survival at 36 months",
        program="survival(months, 36)",
        population=followed(1.0),
        truth=alive_after(36),
        preview=True,
        supposed=RATE,
        fields=FIELDS,
    ),
    Scenario(
        name="median survival",
        program="median_survival(months)",
        population=followed(1.0),
        truth=lambda columns: float(np.median(columns["_death"])),
        fields=FIELDS,
    ),
    Scenario(
        name="restricted mean up to 24 months",
        program="rmst(months, 24)",
        population=followed(1.0),
        truth=mean_up_to(24),
        preview=True,
        supposed=RATE,
        fields=FIELDS,
    ),
    Scenario(
        name="cumulative hazard at 24 months",
        program="cumulative_hazard(months, 24)",
        population=followed(1.0),
        truth=lambda columns: -float(np.log((columns["_death"] > 24).mean())),
        preview=True,
        supposed=RATE,
        fields=FIELDS,
    ),
    Scenario(
        name="log-rank, nothing there",
        program="logrank(months, arm)",
        population=followed(1.0),
        truth=float("nan"),
        null=True,
        fields=FIELDS,
    ),
    Scenario(
        name="hazard ratio of 1",
        program="cox(months, arm)",
        population=followed(1.0),
        truth=1.0,
        read=first_coefficient,
        log=True,
        null=True,
        preview=True,
        supposed=RATE,
        fields=FIELDS,
    ),
    Scenario(
        name="hazard ratio of 0.6",
        program="cox(months, arm)",
        population=followed(0.6),
        truth=0.6,
        read=first_coefficient,
        log=True,
        fields=FIELDS,
    ),
    Scenario(
        name="hazard ratio of 1 beside a covariate",
        program="cox(months, arm, sex)",
        population=followed(1.0),
        truth=1.0,
        read=first_coefficient,
        log=True,
        null=True,
        fields=FIELDS,
    ),
)
