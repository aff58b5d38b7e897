"""Mean and its standard error, sum, variance and standard deviation (ddof 1) of a numeric column.

From N, S and Q: the number of patients and the totals of v and v**2. A sum describes the cohort itself, as
a count does. In `exact` mode the mean has Student's interval and the standard deviation the chi-square one.
In `dp` mode true totals are drawn behind the noised ones, those with a negative variance are thrown away,
and the same two sampling laws are laid over each draw: the interval covers sampling and noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from analytics.privacy import mechanisms
from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions, Expected, Statistic, Wanted, need_numbers
from analytics.statistics import noise
from analytics.statistics.axis import Axis
from analytics.statistics.cells import Cell
from analytics.statistics.figure import EMPTY, IMPOSSIBLE, NOISE, OUT_OF_NOISE, Figure
from analytics.statistics.noise import TAIL, Floats
from analytics.statistics.question import Question

ONE = "one patient: there is no spread to speak of"


@dataclass(frozen=True, kw_only=True)
class Behind:
    """Draws of what may stand behind the integers: n, mean and variance of v / M, two uniforms each."""

    n: Floats
    mean: Floats
    variance: Floats
    u: Floats


def total(question: Question, cells: Sequence[Cell]) -> Figure:
    """The sum over the cohort, in the unit of the column."""
    (cell,), axis = cells, question.axis(0)
    n, s = cell.n, cell.totals[(1,)]
    value = n * axis.origin + s * axis.step
    most = cell.capacity
    within = (min(most * axis.low, Fraction(0)), max(most * axis.high, Fraction(0)))
    if question.mode == "exact":
        return Figure.estimate(value, (value, value), within=within, n=int(n), noise=0.0)
    drawn = behind("sum", cell, axis)
    if drawn is None:
        return Figure(n=round(n), reason=NOISE)
    sums = drawn.n * (float(axis.origin) + float(axis.step * axis.reach) * drawn.mean)
    return Figure.estimate(value, noise.interval(sums), within=within, n=round(n), noise=float(sums.std()))


def mean(question: Question, cells: Sequence[Cell]) -> Figure:
    """The mean, in the unit of the column."""
    from scipy.special import stdtrit

    (cell,), axis = cells, question.axis(0)
    n, s = cell.n, cell.totals[(1,)]
    if n <= 0:
        return Figure(n=0, reason=EMPTY)
    value = axis.origin + axis.step * s / max(n, Fraction(1))
    within = (axis.low, axis.high)
    if question.mode == "exact":
        spread = spread_of(cell, axis)
        if spread is None:
            return Figure(n=int(n), reason=IMPOSSIBLE)
        if n == 1:
            return Figure.estimate(value, None, within=within, n=1, noise=0.0, reason=ONE)
        half = float(stdtrit(float(n - 1), 1 - TAIL)) * sqrt(spread / n)
        return Figure.estimate(
            value, (float(value) - half, float(value) + half), within=within, n=int(n), noise=0.0
        )
    drawn = behind("mean", cell, axis)
    if drawn is None or n < OUT_OF_NOISE * cell.deviation_of_n:
        return Figure(n=round(n), reason=NOISE)
    unit = float(axis.step * axis.reach)
    means = drawn.mean + np.sqrt(drawn.variance / (drawn.n - 1)) * stdtrit(drawn.n - 1, drawn.u[0])
    low, high = noise.interval(float(axis.origin) + unit * means)
    return Figure.estimate(
        value, (low, high), within=within, n=round(n), noise=unit * float(drawn.mean.std())
    )


def variance(question: Question, cells: Sequence[Cell]) -> Figure:
    """The variance with ddof 1, in the unit of the column squared."""
    return _dispersion(question, cells, lambda spread, n: spread)


def deviation(question: Question, cells: Sequence[Cell]) -> Figure:
    """The standard deviation with ddof 1, in the unit of the column."""
    return _dispersion(question, cells, lambda spread, n: spread**0.5)


def error(question: Question, cells: Sequence[Cell]) -> Figure:
    """The standard error of the mean, in the unit of the column: the standard deviation over the root of n."""
    return _dispersion(question, cells, lambda spread, n: (spread / n) ** 0.5)


def _dispersion(question: Question, cells: Sequence[Cell], of: Callable[[Any, Any], Any]) -> Figure:
    """What rises with the variance: `of` (variance, n), so that an interval of one is an interval of the other."""
    (cell,), axis = cells, question.axis(0)
    n = cell.n
    if n <= 0:
        return Figure(n=0, reason=EMPTY)
    if question.mode == "exact":
        spread = spread_of(cell, axis)
        if spread is None:
            return Figure(n=int(n), reason=IMPOSSIBLE)
        if n == 1:
            return Figure(n=1, reason=ONE)
        ends = _chi_square(float(spread), float(n))
        interval = of(ends[0], float(n)), of(ends[1], float(n))
        return Figure.estimate(of(spread, n), interval, within=(0, None), n=int(n), noise=0.0)
    drawn = behind("var", cell, axis)
    if drawn is None or n < 2:
        return Figure(n=round(n), reason=NOISE)
    from scipy.special import gammaincinv

    spread = max(spread_of(cell, axis) or Fraction(0), Fraction(0))
    unit = float(axis.step * axis.reach) ** 2
    # Popoviciu: no distribution on [low, high] varies more than one that sits half at each end
    most = axis.span**2 / 4
    # (n - 1) s^2 / sigma^2 is chi-square: each draw of a cohort gets one sigma that may have made it
    chi = 2 * gammaincinv((drawn.n - 1) / 2, drawn.u[0])
    variances = unit * drawn.variance * drawn.n / np.maximum(chi, 1e-300)
    low, high = noise.interval(of(np.minimum(variances, float(most)), drawn.n))
    return Figure.estimate(
        of(spread, n),
        (low, high),
        within=(0, of(most * n / (n - 1), n)),
        n=round(n),
        noise=float(of(unit * drawn.variance, drawn.n).std()),
    )


def _chi_square(spread: float, n: float) -> tuple[float, float]:
    from scipy.special import gammaincinv

    low, high = (2 * float(gammaincinv((n - 1) / 2, p)) for p in (TAIL, 1 - TAIL))
    return (n - 1) * spread / high, (n - 1) * spread / low


def spread_of(cell: Cell, axis: Axis) -> Fraction | None:
    """The variance with ddof 1 in the unit squared; 0 for one patient, None if no data can have it.

    Where only N and S were released it is the largest variance that a column with this mean and these
    bounds can have (Bhatia & Davis, Amer. Math. Monthly 107, 2000): an interval from it is never too short.
    """
    n, s = cell.n, cell.totals[(1,)]
    if n <= 1:
        return Fraction(0) if n > 0 and cell.t == 0 else None
    if (2,) not in cell.totals:
        middle = min(max(axis.origin + axis.step * s / n, axis.low), axis.high)
        return (axis.high - middle) * (middle - axis.low) * n / (n - 1)
    spread = (cell.totals[(2,)] - s * s / n) / (n - 1) * axis.step**2
    return None if spread < 0 and cell.t == 0 else spread


def behind(label: str, cell: Cell, axis: Axis) -> Behind | None:
    """Draws that a real cohort of two or more can have, or None where too few of them are.

    Shapes  of v / M; `label` is of this cell alone where several cells make one figure, or equal ones draw alike.
    """
    drawn = any_behind(label, cell, axis)
    real = (drawn.n >= 2) & (drawn.variance >= 0)
    if real.sum() < noise.FEWEST:
        return None
    return Behind(n=drawn.n[real], mean=drawn.mean[real], variance=drawn.variance[real], u=drawn.u[:, real])


def any_behind(label: str, cell: Cell, axis: Axis) -> Behind:
    """All draws, also those of a cohort of none and those whose variance is below zero."""
    drawn, u = cell.behind(label, 1)
    n = drawn[(0,)]
    counted = np.maximum(n, 1e-9)
    middle = drawn[(1,)] / counted
    if (2,) in cell.totals:
        spread = drawn[(2,)] / counted - middle**2
    else:
        unit = float(axis.step * axis.reach)
        low, high = float(axis.low - axis.origin) / unit, float(axis.high - axis.origin) / unit
        spread = (high - middle) * (middle - low)
    return Behind(n=n, mean=middle, variance=spread, u=u)


def _moments(asked: Asked) -> list[Wanted]:
    need_numbers(asked)
    return [Wanted(numbers=asked.columns, shape="moments")]


def _pair(asked: Asked) -> list[Wanted]:
    need_numbers(asked)
    return [Wanted(numbers=asked.columns, shape="pair")]


def expected_mean(releases: Sequence[Release], fields: Sequence[Field], n: int, level: float) -> Expected:
    scale, step, reach = _noise(releases[0], fields[0])
    # S = (B2 - B0) / 4M
    half = mechanisms.half_width(scale, (step / (4 * reach) / n,) * 2, level)
    assuming = f"{n} patients in the group, a mean in the middle of the range"
    return Expected(half_width=half, unit=fields[0].unit or None, assuming=assuming)


def _expected_sum(releases: Sequence[Release], fields: Sequence[Field], n: int, level: float) -> Expected:
    scale, step, reach = _noise(releases[0], fields[0])
    # The sum of x = c + step * v is c N + step S with N = (A + B) / 2M, S = (A - B) / 2.
    centre = float(fields[0].lattice[0]) + step * reach
    weights = centre / (2 * reach) + step / 2, centre / (2 * reach) - step / 2
    half = mechanisms.half_width(scale, weights, level)
    return Expected(half_width=half, unit=fields[0].unit or None, assuming="nothing")


def _expected_spread(
    releases: Sequence[Release], fields: Sequence[Field], n: int, level: float, *, squared: bool
) -> Expected:
    """The error that the noise makes in simulation: of few patients it is no straight line of the noises."""
    scale, step, reach = _noise(releases[0], fields[0])
    # In units of M: bell-shaped cohorts of a sixth of the codes each way from their middle.
    (b0, b1, b2), (of_mean, of_spread) = noise.simulated(float(scale) / reach**2, 3, 2)
    total = of_mean * sqrt(n) / 3
    around = np.maximum(1 + of_spread * sqrt(2 / max(1, n - 1)), 0) * max(1, n - 1) / 9
    counted = n + (b0 + b1 + b2) / 4
    counted = np.where(counted < 2, np.nan, counted)  # the figure is refused
    s, q = total + (b2 - b0) / 4, around + total**2 / n + (b0 - b1 + b2) / 4
    spread = np.clip((q - s * s / counted) / (counted - 1), 0, 1)
    true = around / max(1, n - 1)
    off = np.abs(spread - true) if squared else np.abs(np.sqrt(spread) - np.sqrt(true))
    off = off[~np.isnan(off)]
    most = float(np.quantile(off, level)) if off.size else 1.0  # no figure is expected: it may be anything
    half = most * (step * reach) ** (2 if squared else 1)
    unit = fields[0].unit or None
    return Expected(
        half_width=half,
        unit=f"({unit})^2" if unit and squared else unit,
        assuming=f"{n} patients in the group, a standard deviation of a sixth of the range, a mean in its middle",
    )


def _noise_of_variance(scale: Fraction, step: float, n: int, level: float) -> float:
    z = NormalDist().inv_cdf(0.5 + level / 2)
    return z * sqrt(3) / 4 * sqrt(mechanisms.variance(scale)) * step**2 / n


def _deviation_noise(
    releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions
) -> float | None:
    if assumed.sd is None:
        return None
    scale, step, _ = _noise(releases[0], fields[0])
    return _noise_of_variance(scale, step, assumed.n, assumed.level) / (2 * assumed.sd)


def sampling_of_mean(assumed: Assumptions) -> float | None:
    return None if assumed.sd is None else assumed.z * assumed.sd / sqrt(assumed.n)


def _sum_sampling(assumed: Assumptions) -> float | None:
    return None if assumed.sd is None else assumed.z * assumed.sd * sqrt(assumed.n)


def _variance_sampling(assumed: Assumptions) -> float | None:
    # Of a normal column: the variance of s^2 is 2 sigma^4 / (n - 1).
    if assumed.sd is None or assumed.n < 2:
        return None
    return assumed.z * assumed.sd**2 * sqrt(2 / (assumed.n - 1))


def _deviation_sampling(assumed: Assumptions) -> float | None:
    of_variance = _variance_sampling(assumed)
    return None if of_variance is None or assumed.sd is None else of_variance / (2 * assumed.sd)


def _error_sampling(assumed: Assumptions) -> float | None:
    of_deviation = _deviation_sampling(assumed)
    return None if of_deviation is None else of_deviation / sqrt(assumed.n)


def _expected_error(releases: Sequence[Release], fields: Sequence[Field], n: int, level: float) -> Expected:
    of_deviation = _expected_spread(releases, fields, n, level, squared=False)
    return replace(of_deviation, half_width=of_deviation.half_width / sqrt(n))


def _noise(release: Release, field: Field) -> tuple[Fraction, float, int]:
    """Scale of the noise, step of the codes in the column's unit, and M."""
    assert release.scale is not None, "only noise is expected"
    (operand,) = release.operands
    return release.scale, float(field.lattice[2] * 2**operand.dropped), 2 ** (operand.bits - 1)


STATISTICS = (
    Statistic(
        name="mean",
        words="mean",
        aliases=("average", "avg"),
        level="may",
        tables=_moments,
        family=mean,
        unit=lambda unit: unit or None,
        expected=expected_mean,
        sampling=sampling_of_mean,
    ),
    Statistic(
        name="sum",
        words="sum",
        level="may",
        tables=_pair,
        family=total,
        unit=lambda unit: unit or None,
        expected=_expected_sum,
        sampling=_sum_sampling,
        of_cohort=True,
    ),
    Statistic(
        name="var",
        words="variance",
        aliases=("variance",),
        level="may",
        tables=_moments,
        family=variance,
        unit=lambda unit: f"{unit} squared" if unit else None,
        expected=partial(_expected_spread, squared=True),
        sampling=_variance_sampling,
    ),
    Statistic(
        name="sd",
        words="standard deviation",
        aliases=("std", "stddev"),
        level="may",
        tables=_moments,
        family=deviation,
        unit=lambda unit: unit or None,
        expected=partial(_expected_spread, squared=False),
        noise=_deviation_noise,
        sampling=_deviation_sampling,
    ),
    Statistic(
        name="se",
        words="standard error of the mean",
        aliases=("stderr", "sem", "standard_error"),
        level="may",
        tables=_moments,
        family=error,
        unit=lambda unit: unit or None,
        expected=_expected_error,
        sampling=_error_sampling,
    ),
)
