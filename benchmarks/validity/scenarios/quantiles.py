"""Quantiles from a grid of twelve cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.validity.scenario import Columns, Scenario
from benchmarks.validity.scenarios.moments import bells, skewed


def quantile(p: float) -> Any:
    def truth(columns: Columns) -> float:
        return float(np.quantile(columns["value"], p, method="inverted_cdf") / 10)

    return truth


SCENARIOS = (
    Scenario(name="median", program="median(value)", population=bells, truth=quantile(0.5)),
    Scenario(name="median, skewed", program="median(value)", population=skewed, truth=quantile(0.5)),
    Scenario(
        name="upper quartile",
        program="quantile(value, 0.75)",
        population=bells,
        truth=quantile(0.75),
    ),
)
