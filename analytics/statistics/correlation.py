"""Pearson's correlation of two numeric columns.

In `exact` mode with Fisher's z interval. In `dp` mode true totals are drawn behind the nine noised ones and
Fisher's z is laid over each. Draws whose variances or correlation no data can have are thrown away, but when
r is near 1 that alone would pull the interval down: so it also spans the draws with those held at r = 1 or -1.
Fisher, Metron 1 (1921).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import atanh, sqrt, tanh

import numpy as np

from analytics.privacy.sensitivity import moment_simplex
from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions, Expected, Statistic, Wanted, coefficients
from analytics.query.tree import Name
from analytics.statistics import noise
from analytics.statistics.cells import Cell, inverse
from analytics.statistics.contingency import ASSOCIATION
from analytics.statistics.counts import Z
from analytics.statistics.figure import EMPTY, IMPOSSIBLE, NOISE, Figure
from analytics.statistics.noise import Floats
from analytics.statistics.question import Question

STILL = "one of the columns does not vary in this cohort"
FOUR = "an interval of a correlation needs four patients"
NOTHING = 2.0  # from -1 to 1
ALMOST_ONE = 1 - 1e-12


def pearson(question: Question, cells: Sequence[Cell]) -> Figure:
    """Pearson's r over the patients who have both columns."""
    (cell,) = cells
    n = cell.n
    if n <= 0:
        return Figure(n=0, reason=EMPTY)
    r = _correlation(cell)
    if question.mode == "exact":
        if r is None:
            return Figure(n=int(n), reason=STILL if _possible(cell) else IMPOSSIBLE)
        if n < 4:
            return Figure.estimate(r, None, within=(-1, 1), n=int(n), noise=0.0, reason=FOUR)
        return Figure.estimate(r, _fisher(r, float(n)), within=(-1, 1), n=int(n), noise=0.0)
    drawn = None if r is None or n < 4 else _drawn(cell)
    if drawn is None:
        return Figure(n=round(n), reason=NOISE)
    interval, deviation = drawn
    return Figure.estimate(r, interval, within=(-1, 1), n=round(n), noise=deviation)


def _moments(cell: Cell) -> tuple[Fraction, Fraction, Fraction]:
    """n**2 times the two variances and the covariance."""
    n, x, y = cell.n, cell.totals[(1, 0)], cell.totals[(0, 1)]
    return (
        n * cell.totals[(2, 0)] - x * x,
        n * cell.totals[(0, 2)] - y * y,
        n * cell.totals[(1, 1)] - x * y,
    )


def _possible(cell: Cell) -> bool:
    xx, yy, xy = _moments(cell)
    return xx >= 0 and yy >= 0 and xy * xy <= xx * yy


def _correlation(cell: Cell) -> float | None:
    xx, yy, xy = _moments(cell)
    if xx <= 0 or yy <= 0 or (cell.t == 0 and xy * xy > xx * yy):
        return None
    r = sqrt(min(xy * xy / (xx * yy), Fraction(1)))
    return r if xy >= 0 else -r


def _fisher(r: float, n: float) -> tuple[float, float]:
    if abs(r) >= 1:
        return r, r
    half = Z / sqrt(n - 3)
    return tanh(atanh(r) - half), tanh(atanh(r) + half)


def _drawn(cell: Cell) -> tuple[tuple[float, float], float] | None:
    """The interval and the noise's standard deviation in r, or None where the draws say nothing."""
    from scipy.special import ndtri

    totals, u = cell.behind("correlate", 1)
    n = totals[(0, 0)]
    counted = np.maximum(n, 1e-9)
    x, y = totals[(1, 0)] / counted, totals[(0, 1)] / counted
    xx, yy = totals[(2, 0)] / counted - x * x, totals[(0, 2)] / counted - y * y
    xy = totals[(1, 1)] / counted - x * y
    varied = (n >= 4) & (xx > 0) & (yy > 0)
    r = np.where(varied, xy / np.sqrt(np.where(varied, xx * yy, 1.0)), np.sign(xy))
    real = varied & (np.abs(r) < 1)
    if real.sum() < noise.FEWEST:
        return None
    z = np.arctanh(np.clip(r, -ALMOST_ONE, ALMOST_ONE)) + ndtri(u[0]) / np.sqrt(np.maximum(n - 3, 1.0))
    inside, all_draws = noise.interval(np.tanh(z[real])), noise.interval(np.tanh(z))
    return (min(inside[0], all_draws[0]), max(inside[1], all_draws[1])), float(r[real].std())


def _joint(asked: Asked) -> list[Wanted]:
    x, y = asked.columns
    if x.name == y.name:
        raise asked.refuse("duplicate", f"{x.name} is correlated with itself", 1)
    return [Wanted(numbers=(x, y), shape="joint")]


def _mixed(asked: Asked) -> list[Wanted]:
    number, category = sorted(asked.columns, key=lambda field: field.kind, reverse=True)
    raise asked.refuse(
        "pearson_of_nominal",
        f"{category.name} is a category: its codes have no order, so a Pearson r with {number.name} would"
        f" mean nothing; ask mean({Name(number.name)}) by {Name(category.name)},"
        " or correlate two categories or two numbers",
    )


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """Bell-shaped cohorts without correlation, in units of Mx and My: their own second moments about the mean, each times
    n, and those of their noised totals, each times `counted` squared.

    Shapes  (draws,)
    """

    counted: Floats
    own: tuple[Floats, Floats, Floats]  # xx, yy, xy
    noised: tuple[Floats, Floats, Floats]


def simulated(release: Release, n: int, spreads: tuple[float, float] = (1 / 3, 1 / 3)) -> Simulated:
    """Cohorts of n with these standard deviations, by default a sixth of the codes, about the middle of both ranges."""
    assert release.scale is not None, "only noise is expected"
    x, y = (2 ** (operand.bits - 1) for operand in release.operands)
    noises, (of_x, of_y, of_r) = noise.simulated(float(release.scale) / (x * y) ** 2, 9, 3)
    basis = np.array(inverse(moment_simplex(1).transform), dtype=np.float64)
    made = np.einsum("ia,jb,abk->ijk", basis, basis, noises.reshape(3, 3, -1))  # in the totals of x^i y^j
    vx, vy = (
        np.maximum(1 + z * sqrt(2 / max(1, n - 1)), 0) * n * spread**2
        for z, spread in zip((of_x, of_y), spreads, strict=True)
    )
    r = np.clip(of_r / sqrt(max(1, n - 1)), -1, 1)
    counted, vxy = n + made[0, 0], r * np.sqrt(vx * vy)
    return Simulated(
        counted=counted,
        own=(vx, vy, vxy),
        noised=(
            (vx + made[2, 0]) * counted - made[1, 0] ** 2,
            (vy + made[0, 2]) * counted - made[0, 1] ** 2,
            (vxy + made[1, 1]) * counted - made[1, 0] * made[0, 1],
        ),
    )


def expected_correlation(
    releases: Sequence[Release], fields: Sequence[Field], n: int, level: float
) -> Expected:
    """The error that the noise makes in simulation: it is in both variances too, and r ends at 1."""
    made = simulated(releases[0], n)
    (vx, vy, vxy), (xx, yy, xy) = made.own, made.noised
    shown = (made.counted >= 4) & (xx > 0) & (yy > 0)
    true = vxy[shown] / np.sqrt(np.maximum(vx * vy, 1e-300))[shown]
    off = np.abs(np.clip(xy[shown] / np.sqrt(xx[shown] * yy[shown]), -1, 1) - true)
    # Where most cohorts would have no figure, the preview promises nothing of it.
    told = shown.mean() > 0.5
    return Expected(
        half_width=float(np.quantile(off, level)) if told else NOTHING,
        unit=None,
        assuming=f"{n} patients in the group, standard deviations of a sixth of the ranges, means in their middle,"
        " no correlation",
    )


def sampling_of_correlation(assumed: Assumptions) -> float | None:
    """At r = 0, where it is widest."""
    return tanh(assumed.z / sqrt(assumed.n - 3)) if assumed.n > 3 else None


PEARSON = Statistic(
    name="correlate",
    words="Pearson correlation",
    columns=(2, 2),
    tables=_joint,
    parameters=coefficients,
    family=pearson,
    expected=expected_correlation,
    sampling=sampling_of_correlation,
)
MIXED = Statistic(name="correlate", words="correlation", columns=(2, 2), tables=_mixed)


def _by_kind(columns: Sequence[Field]) -> Statistic:
    kinds = {field.kind for field in columns}
    return MIXED if len(kinds) == 2 else PEARSON if kinds == {"number"} else ASSOCIATION


STATISTICS = (
    Statistic(
        name="correlate",
        words="correlation or association",
        aliases=("corr", "correlation"),
        columns=(2, 2),
        choose=_by_kind,
    ),
)
