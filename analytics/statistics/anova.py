"""One-way analysis of variance: F over the levels of a category, its p and eta squared.

In `exact` mode Fisher's F; levels without a patient are dropped. In `dp` mode p is simulated (parametric bootstrap,
Ferrando, Wang, Sheldon, AISTATS 2022): of each draw of what may stand behind the integers, levels with one common
mean and that draw's variance are sampled, noised as the parties noise, and their spread is compared with the one
that was released. Without noise this is the F test itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions, Statistic, Wanted, coefficients, every
from analytics.statistics import moments, noise
from analytics.statistics.axis import Axis
from analytics.statistics.cells import Cell
from analytics.statistics.difference import need_number_and_category
from analytics.statistics.figure import EMPTY, IMPOSSIBLE, NOISE, Figure, said
from analytics.statistics.noise import DRAWS, Floats
from analytics.statistics.question import Question

STILL = "the number does not vary within any level"
SINGLE = "all patients are at one level, or alone at theirs"
BLANK: dict[str, Any] = {"df": None, "df_within": None, "p": None, "eta_squared": None}


def anova(question: Question, cells: Sequence[Cell]) -> Figure:
    """F between the levels, with its degrees of freedom, p and eta squared."""
    if question.mode == "exact":
        return _fisher([cell for cell in cells if cell.n > 0])
    axis = question.axis(0)
    n = sum(cell.n for cell in cells)
    drawn = [moments.behind(f"anova {place}", cell, axis) for place, cell in enumerate(cells)]
    behind = [one for one in drawn if one is not None]
    between, within = _squares(cells)
    if len(behind) < len(cells) or within <= 0 or any(cell.n < 2 for cell in cells):
        return Figure(n=round(n), reason=NOISE)
    df, rest = len(cells) - 1, float(n) - len(cells)
    f = float(between / df) / (float(within) / rest)
    p, deviation = _simulated(question, cells, behind, axis)
    eta = float(between / (between + within))
    extra = {"df": df, "df_within": said(rest), "p": said(p), "eta_squared": said(eta)}
    return Figure.estimate(f, None, within=(0, None), n=round(n), noise=deviation, extra=extra)


def _fisher(cells: Sequence[Cell]) -> Figure:
    from scipy.special import fdtrc

    n = int(sum(cell.n for cell in cells))
    if n == 0:
        return Figure(n=0, reason=EMPTY)
    df, rest = len(cells) - 1, n - len(cells)
    if df < 1 or rest < 1:
        return Figure(n=n, reason=SINGLE)
    between, within = _squares(cells)
    if within < 0 or between < 0:
        return Figure(n=n, reason=IMPOSSIBLE)
    if within == 0:
        return Figure(n=n, reason=STILL)
    f = (between / df) / (within / rest)
    extra = {
        "df": df,
        "df_within": rest,
        "p": said(float(fdtrc(df, rest, float(f)))),
        "eta_squared": said(between / (between + within)),
    }
    return Figure.estimate(f, None, within=(0, None), n=n, noise=0.0, extra=extra)


def _squares(cells: Sequence[Cell]) -> tuple[Fraction, Fraction]:
    """Sums of squares between and within the levels, of centred codes."""
    filled = [cell for cell in cells if cell.n > 0]
    n, s = sum(cell.n for cell in filled), sum(cell.totals[(1,)] for cell in filled)
    of_means = sum((cell.totals[(1,)] ** 2 / cell.n for cell in filled), Fraction(0))
    between = of_means - Fraction(s * s) / n if n else Fraction(0)
    return between, sum((cell.totals[(2,)] for cell in filled), Fraction(0)) - of_means


def _simulated(
    question: Question, cells: Sequence[Cell], behind: Sequence[moments.Behind], axis: Axis
) -> tuple[float, float]:
    """p, and the standard deviation of F from noise alone; everything of v / M."""
    from scipy.special import gammaincinv, ndtri

    k = len(cells)
    label = noise.generator("anova", [x for cell in cells for x in cell.integers])
    u = noise.uniforms(label, (4 * k + 1, DRAWS))
    n = np.array([np.resize(one.n, DRAWS) for one in behind])
    mean = np.array([np.resize(one.mean, DRAWS) for one in behind])
    variance = np.array([np.resize(one.variance, DRAWS) for one in behind])
    inside = (n * variance).sum(0)
    sigma2 = inside / np.maximum(2 * gammaincinv((n.sum(0) - k) / 2, u[0]), 1e-300)
    common = (n * mean).sum(0) / n.sum(0)
    null = common + np.sqrt(sigma2 / n) * ndtri(u[1 : k + 1])
    released_n = np.array([float(cell.n) for cell in cells])[:, None]
    released_mean = np.array([float(cell.totals[(1,)] / cell.n / axis.reach) for cell in cells])[:, None]
    # N = (B0 + B1 + B2) / 4M^2 and S / M = (B2 - B0) / 4M^2
    unit = 4.0 * axis.reach**2
    b0, b1, b2 = (
        np.array([noise.noise(cells[0].t, v) for v in u[k * i + 1 : k * (i + 1) + 1]]) / unit
        for i in (1, 2, 3)
    )
    noised_n = np.maximum(n + b0 + b1 + b2, 1.0)
    noised_mean = (n * null + b2 - b0) / noised_n
    seen, simulated = _between(released_n, released_mean), _between(noised_n, noised_mean)
    p = float((1 + (simulated >= seen * (1 - 1e-9)).sum()) / (1 + DRAWS))
    total = n.sum(0)
    middle = (n * mean).sum(0) / total
    f = (n * (mean - middle) ** 2).sum(0) / (k - 1) / np.maximum(inside / np.maximum(total - k, 1.0), 1e-300)
    return p, float(f.std())


def _between(n: Floats, mean: Floats) -> Floats:
    """The sum of squares between levels."""
    middle = (n * mean).sum(0) / n.sum(0)
    return np.asarray((n * (mean - middle) ** 2).sum(0))


def _moments(asked: Asked) -> list[Wanted]:
    number, category = need_number_and_category(asked)
    return [Wanted(inner=(every(category),), numbers=(number,), shape="moments")]


def _power(releases: Sequence[Release], assumed: Assumptions, effect: float) -> tuple[float, str] | None:
    """Of the F test where two levels lie `effect` apart and the others midway, which is hardest to see (Cohen, Statistical
    Power Analysis, 1988, pattern 1): the non-central F, with the noise of each mean in its variance."""
    from scipy.special import fdtri, ncfdtr

    sd, release = assumed.sd, releases[0]
    (sizes,) = assumed.cells
    if sd is None:
        return None
    noisy = 0.0
    if release.scale is not None:
        (operand,), (number, *_) = release.operands, assumed.columns
        step, reach = float(number.lattice[2] * 2**operand.dropped), 2 ** (operand.bits - 1)
        noisy = 2 * noise.variance(float(release.scale)) * (step / (4 * reach)) ** 2  # S = (B2 - B0) / 4M
    k, rest = len(sizes), sum(sizes) - len(sizes)
    if rest < 1:
        return None
    weights = np.array([1 / (sd**2 / n + noisy / n**2) for n in (max(size, 1.0) for size in sizes)])
    means = np.zeros(k)
    means[np.argsort(weights)[:2]] = -effect / 2, effect / 2  # the two least known
    centred = means - (weights * means).sum() / weights.sum()
    away = float((weights * centred**2).sum())
    found = 1 - float(ncfdtr(k - 1, rest, away, float(fdtri(k - 1, rest, 0.95))))
    return found, "two levels this far apart in their means, the others midway"


STATISTICS = (
    Statistic(
        name="anova",
        words="one-way analysis of variance",
        aliases=("aov", "oneway", "f_test"),
        columns=(2, 2),
        tables=_moments,
        parameters=coefficients,
        family=anova,
        blank=lambda question: dict(BLANK),
        power=_power,
    ),
)
