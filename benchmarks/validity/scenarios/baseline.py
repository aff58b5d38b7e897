"""The baseline table: means, medians and percentages of one arm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.validity.scenario import Columns, Reading, Scenario, Statement, bell

PROGRAM = "table_one(value, sex) by arm"


def two_arms(rng: np.random.Generator, size: int) -> Columns:
    """Arms and sexes of equal size, a bell-shaped number."""
    return {"arm": np.arange(size) % 2, "sex": np.arange(size) // 2 % 2, "value": bell(rng, size, 1024)}


def row(figure: str, level: str | None = None) -> Callable[[Statement], Reading]:
    """The first row of the first arm with this figure."""

    def read(statement: Statement) -> Reading:
        rows = statement["groups"][0]["characteristics"]
        one = next(r for r in rows if r["figure"].startswith(figure) and r["level"] == level)
        return Reading(one["value"], one["low"], one["high"])

    return read


def _median(columns: Columns) -> float:
    return float(np.quantile(columns["value"][columns["arm"] == 0], 0.5, method="inverted_cdf") / 10)


def _row(name: str, figure: str, level: str | None = None, **more: Any) -> Scenario:
    return Scenario(
        name=f"table one, {name}", program=PROGRAM, population=two_arms, read=row(figure, level), **more
    )


SCENARIOS = (
    _row("mean", "mean"),
    _row("median", "median", truth=_median),
    _row("percentage", "n (%)", "male"),
)
