"""Difference of the means of a number between the levels of a category, each level less the first.

In `exact` mode Welch's t with its interval (Welch, Biometrika 34, 1947); Student's with a pooled variance goes with
it. In `dp` mode the mean of each level is drawn as `mean` draws it, sampling and noise together, and the interval
and p come of the differences of such draws: an interval that holds the truth in 95 % of cases is a test that rejects
a true null in 5 %. Strata are combined by their inverse variance (Cochran, Biometrics 10, 1954).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import sqrt
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions, Expected, Statistic, Wanted, coefficients, every
from analytics.query.tree import Name
from analytics.statistics import moments, noise
from analytics.statistics.axis import Axis
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z
from analytics.statistics.figure import NOISE, Figure, said, too_few
from analytics.statistics.figures import withheld
from analytics.statistics.noise import TAIL, Floats
from analytics.statistics.question import Question

TWO = "a difference of means needs two patients at each level"
STILL = "the number does not vary at either level: there is no test"
NO_STRATUM = "no stratum has a figure"
TEST: dict[str, Any] = {"t": None, "df": None, "p": None}
POOLED: dict[str, Any] = {**TEST, "low": None, "high": None}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One level in one stratum, in the unit of the number. `means` are draws of the population's mean, `seen` of
    the cohort's own: their spread is that of the noise. Both are of draws that a real cohort can have; `any_seen` are
    all draws and `errors` the sampling variance of the mean in each, also below zero. None in exact mode."""

    n: Fraction
    mean: Fraction
    variance: Fraction
    means: Floats | None = None
    seen: Floats | None = None
    any_seen: Floats | None = None
    errors: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class _Difference:
    """A figure with what is combined of it: its draws with and without sampling (`means`, `seen`) and the sampling
    variance in each `seen` (`errors`), and the patients of both levels and their sum of squares, for the weight in dp
    mode; or its variance, for that in exact mode."""

    figure: Figure
    variance: float | None = None
    sizes: tuple[float, float] = (0.0, 0.0)
    squares: float = 0.0
    means: Floats | None = None
    seen: Floats | None = None
    errors: Floats | None = None


def differences(question: Question, integers: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The groups of the answer: the first comparison as the figure, all of them in `comparisons`."""
    axis, levels = question.axis(0), question.labels(question.inner[0])
    groups = []
    for by, cells in question.cells(integers[0]):
        none = withheld(question, cells)
        if none is None:
            arms = [_arm(question, f"difference {place}", cell, axis) for place, cell in enumerate(cells)]
            own = [x for cell in cells for x in cell.integers]
            figures = [_compared(question, arms, k, len(levels), axis, own) for k in range(1, len(levels))]
        else:
            figures = [_nothing(question, none) for _ in levels[1:]]
        said_all = [
            {"level": level, "against": levels[0], **figure.one()}
            for level, figure in zip(levels[1:], figures, strict=True)
        ]
        first = figures[0]
        told = Figure(
            value=first.value, low=first.low, high=first.high, n=first.n, noise=first.noise,
            suppressed=first.suppressed, reason=first.reason,
            extra={**{key: first.extra[key] for key in TEST}, "comparisons": said_all},
        )  # fmt: skip
        groups.append(told.public(by, cells[0].t, sum(cell.deviation_of_n**2 for cell in cells) ** 0.5))
    return groups


def strata_of(question: Question) -> list[dict[str, str]]:
    """What the strata are called, in the order of the cells; one without a name where there are none."""
    labels = [question.labels(by) for by in question.strata]
    names = [by.column or "dataset" for by in question.strata]
    return [dict(zip(names, called, strict=True)) for called in product(*labels)]


def p_of(draws: Floats) -> float:
    """The two-sided p that goes with an interval of draws: how far into a tail 0 lies."""
    below = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (1 + below) / (1 + len(draws)))


def _arm(question: Question, label: str, cell: Cell, axis: Axis) -> Arm | str:
    """The level, or why there is nothing to say of it."""
    from scipy.special import stdtrit

    n, s = cell.n, cell.totals[(1,)]
    spread = moments.spread_of(cell, axis)
    if question.mode == "exact":
        if n < 2 or spread is None:
            return TWO
        return Arm(n=n, mean=axis.origin + axis.step * s / n, variance=spread)
    drawn, every_draw = moments.behind(label, cell, axis), moments.any_behind(label, cell, axis)
    if drawn is None or n < 2:
        return NOISE
    unit = float(axis.step * axis.reach)
    sampled = drawn.mean + np.sqrt(drawn.variance / (drawn.n - 1)) * stdtrit(drawn.n - 1, drawn.u[0])
    mean = min(max(axis.origin + axis.step * s / n, axis.low), axis.high)
    # Draws that no cohort can have are gone, of each level others: what is left is gone through again.
    return Arm(
        n=n,
        mean=mean,
        variance=spread or Fraction(0),
        means=float(axis.origin) + unit * np.resize(sampled, noise.DRAWS),
        seen=float(axis.origin) + unit * np.resize(drawn.mean, noise.DRAWS),
        any_seen=float(axis.origin) + unit * every_draw.mean,
        errors=unit**2 * every_draw.variance / (np.maximum(every_draw.n, 2.0) - 1),
    )


def _compared(
    question: Question, arms: Sequence[Arm | str], k: int, levels: int, axis: Axis, integers: Sequence[int]
) -> Figure:
    """Level k less the first one, over all strata; `integers` are those released of all arms."""
    ones = [
        _difference(question, arms[i + k], arms[i], axis)
        for i in range(0, len(arms), levels)
    ]  # fmt: skip
    if not question.strata:
        return ones[0].figure
    parts = [one for one in ones if one.figure.value is not None and (one.variance or one.means is not None)]
    if not parts:
        figure = Figure(reason=NO_STRATUM, extra={**TEST, "pooled": POOLED})
        weights: list[float] = []
    else:
        figure, weights = _combined(question, parts, axis, integers)
    place = {id(one): weight for one, weight in zip(parts, weights, strict=True)}
    figure.extra["strata"] = [
        _stratum(question, called, one.figure, place.get(id(one)))
        for called, one in zip(strata_of(question), ones, strict=True)
    ]
    return figure


def _difference(question: Question, arm: Arm | str, first: Arm | str, axis: Axis) -> _Difference:
    """Of one stratum."""
    if isinstance(arm, str) or isinstance(first, str):
        why = arm if isinstance(arm, str) else str(first)
        return _Difference(figure=Figure(reason=why, extra={**TEST, "pooled": POOLED}))
    value, n = arm.mean - first.mean, arm.n + first.n
    within = (-axis.span, axis.span)
    if arm.means is None or first.means is None:
        test, variance = _welch(float(value), arm, first)
        if variance == 0:
            figure = Figure.estimate(
                value,
                None,
                within=within,
                n=int(n),
                noise=0.0,
                reason=STILL,
                extra={**TEST, "pooled": POOLED},
            )
            return _Difference(figure=figure)
        extra = {key: said(test[key]) for key in TEST} | {"pooled": _pooled(float(value), arm, first)}
        figure = Figure.estimate(
            value, (test["low"], test["high"]), within=within, n=int(n), noise=0.0, extra=extra
        )
        return _Difference(figure=figure, variance=variance)
    assert arm.seen is not None and first.seen is not None, "drawn together"
    assert arm.any_seen is not None and first.any_seen is not None, "drawn together"
    assert arm.errors is not None and first.errors is not None, "drawn together"
    means, seen = arm.means - first.means, arm.seen - first.seen
    figure = Figure.estimate(
        value,
        noise.interval(means),
        within=within,
        n=round(n),
        noise=float(seen.std()),
        extra={**TEST, "p": said(p_of(means)), "pooled": POOLED},
    )
    return _Difference(
        figure=figure,
        sizes=(float(arm.n), float(first.n)),
        squares=float(arm.n * arm.variance + first.n * first.variance),
        means=means,
        seen=arm.any_seen - first.any_seen,
        errors=arm.errors + first.errors,
    )


def _welch(value: float, arm: Arm, first: Arm) -> tuple[dict[str, float], float]:
    a, b = float(arm.variance / arm.n), float(first.variance / first.n)
    if a + b == 0:
        return {}, 0.0
    df = (a + b) ** 2 / (a * a / float(arm.n - 1) + b * b / float(first.n - 1))
    return _student(value, sqrt(a + b), df), a + b


def _pooled(value: float, arm: Arm, first: Arm) -> dict[str, Any]:
    df = arm.n + first.n - 2
    variance = ((arm.n - 1) * arm.variance + (first.n - 1) * first.variance) / df
    test = _student(value, sqrt(variance * (1 / arm.n + 1 / first.n)), float(df))
    return {key: said(test[key]) for key in POOLED}


def _student(value: float, error: float, df: float) -> dict[str, float]:
    """t, df, two-sided p and interval of an estimate with its standard error."""
    from scipy.special import stdtr, stdtrit

    t, half = value / error, float(stdtrit(df, 1 - TAIL)) * error
    return {"t": t, "df": df, "p": 2 * float(stdtr(df, -abs(t))), "low": value - half, "high": value + half}


def _combined(
    question: Question, parts: Sequence[_Difference], axis: Axis, integers: Sequence[int]
) -> tuple[Figure, list[float]]:
    """Strata weighted by their inverse variance, and the weights, which add up to 1."""
    from scipy.special import ndtr, stdtrit

    values = [float(part.figure.value or 0) for part in parts]
    variances = _variances(parts)
    raw = np.array([1 / variance for variance in variances])
    weights = raw / raw.sum()
    value, n = float(weights @ values), sum(int(part.figure.n or 0) for part in parts)
    within, extra = (-axis.span, axis.span), {**TEST, "pooled": POOLED}
    if question.mode == "exact":
        error = 1 / sqrt(raw.sum())
        extra["p"] = said(2 * float(ndtr(-abs(value / error))))
        ends = value - Z * error, value + Z * error
        figure = Figure.estimate(value, ends, within=within, n=n, noise=0.0, extra=extra)
        return figure, weights.tolist()
    # A stratum of few patients has hardly a variance of its own beside the noise. Draws below zero stay in, so that
    # the variance of the whole leans to no side; only a whole below zero is no draw.
    seen, errors = np.zeros(noise.DRAWS), np.zeros(noise.DRAWS)
    for weight, part in zip(weights, parts, strict=True):
        assert part.seen is not None and part.errors is not None, "dp mode draws"
        seen += weight * part.seen
        errors += weight**2 * part.errors
    real = errors > 0
    if real.sum() < noise.FEWEST:
        return Figure(n=n, reason=NOISE, extra=extra), weights.tolist()
    u = noise.uniforms(noise.generator("difference in strata", integers), (noise.DRAWS,))
    means = (seen + np.sqrt(np.maximum(errors, 0.0)) * stdtrit(max(n - 2 * len(parts), 1), u))[real]
    extra["p"] = said(p_of(means))
    figure = Figure.estimate(
        value, noise.interval(means), within=within, n=n, noise=float(seen.std()), extra=extra
    )
    return figure, weights.tolist()


def _variances(parts: Sequence[_Difference]) -> list[float]:
    """Of the differences of the strata. In dp mode of one common variance of the number and each stratum's noise: a
    weight that follows the noise in a stratum's own variance would cost more than it gains."""
    if parts[0].means is None:
        return [part.variance or 1.0 for part in parts]
    common = max(sum(part.squares for part in parts) / sum(sum(part.sizes) for part in parts), 0.0)
    found = []
    for part in parts:
        assert part.seen is not None, "dp mode draws"
        low, high = noise.interval(part.seen)
        sampling = common * sum(1 / size for size in part.sizes)
        found.append(max(sampling + ((high - low) / (2 * Z)) ** 2, 1e-300))
    return found


def _stratum(
    question: Question, called: dict[str, str], figure: Figure, weight: float | None
) -> dict[str, Any]:
    """A stratum as it is shown; in `dp` mode one below the minimum cohort counts in the whole alone."""
    if question.mode == "dp" and figure.n is not None and figure.n < question.minimum_cohort:
        figure = Figure(
            reason=too_few("dp", question.minimum_cohort),
            extra=dict.fromkeys(figure.extra) | {"pooled": POOLED},
        )
    told = figure.one()
    return {"by": called, **{key: told[key] for key in ("value", "low", "high", "n", "p")}} | {
        "weight": said(weight),
        "reason": told["reason"],
    }


def _nothing(question: Question, why: Figure) -> Figure:
    """A comparison that may not be given: the same keys, every number null."""
    extra: dict[str, Any] = {**TEST, "pooled": POOLED}
    if question.strata:
        empty = Figure(reason=why.reason, extra={**TEST})
        extra["strata"] = [_stratum(question, called, empty, None) for called in strata_of(question)]
    return Figure(suppressed=why.suppressed, reason=why.reason, extra=extra)


def _arms(asked: Asked) -> list[Wanted]:
    number, category = need_number_and_category(asked)
    # The order in which `mean(number) by strata, category` has them: then the table is the same.
    return [
        Wanted(
            inner=(every(category),),
            numbers=(number,),
            shape="moments",
            present=(number, *asked.columns[2:], category),
        )
    ]


def no_column_twice(asked: Asked) -> None:
    """Refuse a statement that names a column twice."""
    names = [column.name for column in asked.columns]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise asked.refuse("duplicate", f"{name} stands twice in this statement", place)


def need_number_and_category(asked: Asked) -> tuple[Field, Field]:
    """The first two columns. Raises ProgramRejected where they are not a number and a category of two levels."""
    number, category = asked.columns[:2]
    no_column_twice(asked)
    if number.kind == "category":
        raise asked.refuse(
            "wrong_type",
            f"{number.name} is a category and has no mean: name a number first, then the category; for the share of"
            f" a level ask proportion by {Name(category.name)}",
            0,
        )
    if category.kind == "number":
        raise asked.refuse(
            "wrong_type",
            f"{category.name} is a number and makes no groups: name a category, or cut the number in the codebook",
            1,
        )
    if category.codes < 2:
        raise asked.refuse(
            "wrong_type", f"{category.name} has a single level: there is nothing to compare", 1
        )
    return number, category


def _expected(releases: Sequence[Release], fields: Sequence[Field], n: int, level: float) -> Expected:
    levels = releases[0].by[-1].size
    half = _noise_of(releases[0], fields[0], [(n / levels,) * levels], None, level)
    return Expected(
        half_width=half,
        unit=fields[0].unit or None,
        assuming=f"{n} patients in the group, as many at each level, a standard deviation of a sixth of the range,"
        " means in its middle, no strata",
    )


def _noise(releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions) -> float | None:
    return _noise_of(releases[0], fields[0], assumed.cells, assumed.sd, assumed.level)


def _noise_of(
    release: Release, field: Field, cells: Sequence[Sequence[float]], sd: float | None, level: float
) -> float:
    """The error that the noise makes in simulation, second level less first, in the column's unit.

    cells  planned patients of each level, a row for each stratum
    """
    assert release.scale is not None, "only noise is expected"
    (operand,) = release.operands
    reach: int = 2 ** (operand.bits - 1)
    step = float(field.lattice[2] * 2**operand.dropped)
    spread = 1 / 3 if sd is None else sd / (step * reach)  # in units of M
    strata = [(max(row[0], 1.0), max(row[1], 1.0)) for row in cells]
    noises, normals = noise.simulated(float(release.scale) / reach**2, 6 * len(strata), 4 * len(strata))
    sizes = np.maximum(noise.cohorts(np.array(strata).ravel(), normals[2 * len(strata) :]), 1.0)
    of_noise = 2 * (noise.variance(float(release.scale)) / reach**4) / 16
    weights = [1 / sum(spread**2 / n + of_noise / n**2 for n in row) for row in strata]
    off = np.zeros(noises.shape[1])
    for place, weight in enumerate(weights):
        for arm in range(2):
            b0, b1, b2 = noises[6 * place + 3 * arm : 6 * place + 3 * arm + 3]
            n = sizes[2 * place + arm]
            mean = normals[2 * place + arm] * spread / np.sqrt(n)
            counted = np.maximum(n + (b0 + b1 + b2) / 4, 1.0)
            seen = np.clip((n * mean + (b2 - b0) / 4) / counted, -1, 1)
            off += (2 * arm - 1) * weight / sum(weights) * (seen - mean)
    return step * reach * float(np.quantile(np.abs(off), level))


def _sampling(assumed: Assumptions) -> float | None:
    """Of the second level less the first, strata by their inverse variance, with one standard deviation in all."""
    if assumed.sd is None or not assumed.cells:
        return None
    weights = [1 / (1 / max(row[0], 1.0) + 1 / max(row[1], 1.0)) for row in assumed.cells]
    return assumed.z * assumed.sd / sqrt(sum(weights))


STATISTICS = (
    Statistic(
        name="difference",
        words="difference of means",
        aliases=("difference_of_means", "mean_difference", "ttest", "welch"),
        columns=(2, 6),
        strata=2,
        tables=_arms,
        parameters=coefficients,
        groups=differences,
        unit=lambda unit: unit or None,
        expected=_expected,
        noise=_noise,
        sampling=_sampling,
    ),
)
