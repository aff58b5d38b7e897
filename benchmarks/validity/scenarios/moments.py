"""Mean, sum, variance and standard deviation."""

from __future__ import annotations

import numpy as np

from benchmarks.validity.scenario import Columns, Scenario, bell, rounded


def bells(rng: np.random.Generator, size: int) -> Columns:
    return {"value": bell(rng, size, 1024)}


def narrow(rng: np.random.Generator, size: int) -> Columns:
    """A tenth of the range is one standard deviation, and the middle is off."""
    return {"value": rounded(350 + 102 * rng.standard_normal(size), 1024)}


def skewed(rng: np.random.Generator, size: int) -> Columns:
    """Many small values and a long tail, as of a duration: skewness about 1.2."""
    return {"value": rounded(100 * rng.gamma(2.5, size=size), 1024)}


SCENARIOS = (
    Scenario(name="mean", program="mean(value)", population=bells, preview=True),
    Scenario(name="mean, skewed", program="mean(value)", population=skewed),
    Scenario(name="sum", program="sum(value)", population=bells, of="cohort", preview=True),
    Scenario(name="standard deviation", program="sd(value)", population=bells, preview=True),
    Scenario(name="standard deviation, a tenth of the range", program="sd(value)", population=narrow),
    Scenario(name="variance", program="var(value)", population=bells, preview=True),
)
