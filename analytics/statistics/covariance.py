"""Covariance (ddof 1) of two numeric columns, from the table of their correlation.

Its variance in samples of a normal population is (xx yy + xy^2) / (n - 1) with the moments of the population
(Wishart, Biometrika 20A, 1928). In `exact` mode that makes the interval; in `dp` mode true totals are drawn behind
the noised ones and the same law is laid over each draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import sqrt

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import (
    Asked,
    Assumptions,
    Expected,
    Statistic,
    Wanted,
    coefficients,
    need_numbers,
)
from analytics.statistics import noise
from analytics.statistics.cells import Cell
from analytics.statistics.correlation import simulated
from analytics.statistics.counts import Z
from analytics.statistics.figure import EMPTY, NOISE, Figure
from analytics.statistics.question import Question

TWO = "a covariance needs two patients"


def covariance(question: Question, cells: Sequence[Cell]) -> Figure:
    """The covariance over the patients who have both columns, in the product of their units."""
    (cell,), a, b = cells, question.axis(0), question.axis(1)
    n, unit = cell.n, a.step * b.step
    if n < 2:
        exact_reason = EMPTY if n == 0 else TWO
        return Figure(n=max(round(n), 0), reason=exact_reason if question.mode == "exact" else NOISE)
    xx, yy, xy = (_centred(cell, pair) for pair in ((0, 0), (1, 1), (0, 1)))
    value = unit * xy / (n - 1)
    most = a.span * b.span / 4 * n / (n - 1)  # Popoviciu and Cauchy-Schwarz
    if question.mode == "exact":
        product = max(float(xx * yy), 0.0) + float(xy) ** 2
        half = Z * float(unit) * sqrt(product) / float(n - 1) ** 1.5
        ends = float(value) - half, float(value) + half
        return Figure.estimate(value, ends, within=(-most, most), n=int(n), noise=0.0)
    drawn = _drawn(cell)
    if drawn is None:
        return Figure(n=round(n), reason=NOISE)
    scale = float(unit * a.reach * b.reach)
    (low, high), deviation = drawn
    return Figure.estimate(
        value, (scale * low, scale * high), within=(-most, most), n=round(n), noise=scale * deviation
    )


def _centred(cell: Cell, pair: tuple[int, int]) -> Fraction:
    """n times the central second moment of two of the columns, exactly."""
    first = [(1, 0), (0, 1)]
    i, j = first[pair[0]], first[pair[1]]
    return cell.totals[(i[0] + j[0], i[1] + j[1])] - cell.totals[i] * cell.totals[j] / cell.n


def _drawn(cell: Cell) -> tuple[tuple[float, float], float] | None:
    """The interval and the noise's standard deviation in units of Mx My, or None where the draws say nothing."""
    from scipy.special import ndtri

    totals, u = cell.behind("covariance", 1)
    n = totals[(0, 0)]
    counted = np.maximum(n, 1e-9)
    x, y = totals[(1, 0)] / counted, totals[(0, 1)] / counted
    xx, yy = totals[(2, 0)] / counted - x * x, totals[(0, 2)] / counted - y * y
    xy = totals[(1, 1)] / counted - x * y
    real = (n >= 2) & (xx >= 0) & (yy >= 0)
    if real.sum() < noise.FEWEST:
        return None
    sampled = xy + np.sqrt(np.maximum(xx * yy, 0.0) + xy * xy) / np.sqrt(np.maximum(n - 1, 1.0)) * ndtri(u[0])
    return noise.interval(sampled[real]), float(xy[real].std())


def _joint(asked: Asked) -> list[Wanted]:
    need_numbers(asked)
    x, y = asked.columns
    if x.name == y.name:
        raise asked.refuse("duplicate", f"the covariance of {x.name} with itself is its variance: ask var", 1)
    return [Wanted(numbers=(x, y), shape="joint")]


def _expected(releases: Sequence[Release], fields: Sequence[Field], n: int, level: float) -> Expected:
    return Expected(
        half_width=_noise_of(releases[0], fields, n, level),
        unit=None,
        assuming=f"{n} patients in the group, standard deviations of a sixth of the ranges, means in their middle,"
        " no correlation",
    )


def _noise(releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions) -> float | None:
    return _noise_of(releases[0], fields, assumed.n, assumed.level, _deviations(assumed))


def _noise_of(
    release: Release,
    fields: Sequence[Field],
    n: int,
    level: float,
    deviations: tuple[float, float] | None = None,
) -> float:
    """The error that the noise makes in simulation, in the product of the units."""
    steps = [float(f.lattice[2] * 2**o.dropped) for f, o in zip(fields, release.operands, strict=True)]
    x, y = (float(2 ** (o.bits - 1) * step) for o, step in zip(release.operands, steps, strict=True))
    made = simulated(
        release, n, (1 / 3, 1 / 3) if deviations is None else (deviations[0] / x, deviations[1] / y)
    )
    shown = made.counted >= 2
    counted = made.counted[shown]
    seen = np.clip(made.noised[2][shown] / counted / (counted - 1), -1, 1)
    off = np.abs(seen - made.own[2][shown] / max(1, n - 1))
    return x * y * (float(np.quantile(off, level)) if off.size else 1.0)


def _deviations(assumed: Assumptions) -> tuple[float, float] | None:
    """Of both columns: the first is supposed, of the second facts tell, else it is a sixth of its range."""
    if assumed.sd is None:
        return None
    low, high, _ = assumed.columns[1].lattice
    return assumed.sd, assumed.sds[1] or float(high - low) / 6


def _sampling(assumed: Assumptions) -> float | None:
    """In samples of a normal population without correlation, where the variance is xx yy / (n - 1)."""
    deviations = _deviations(assumed)
    if deviations is None or assumed.n < 2:
        return None
    return assumed.z * deviations[0] * deviations[1] / sqrt(assumed.n - 1)


STATISTICS = (
    Statistic(
        name="covariance",
        words="covariance",
        aliases=("cov",),
        columns=(2, 2),
        tables=_joint,
        parameters=coefficients,
        family=covariance,
        expected=_expected,
        noise=_noise,
        sampling=_sampling,
    ),
)
