"""Covariance."""

from __future__ import annotations

from benchmarks.validity.scenario import Scenario
from benchmarks.validity.scenarios.correlation import correlated

SCENARIOS = (
    Scenario(
        name="covariance, r = 0",
        program="covariance(value, other)",
        population=correlated(0.0),
        preview=True,
    ),
    Scenario(name="covariance, r = 0.6", program="covariance(value, other)", population=correlated(0.6)),
)
