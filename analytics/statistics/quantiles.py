"""Quantiles, median, quartiles and the figures of a box plot, from counts on a public grid.

What leaves is how many patients are in each cell, so a quantile is known to lie in a cell and its place there is
interpolated: along Fritsch and Carlson's monotone cubic through the distribution function (SIAM J. Numer. Anal. 17,
1980), to the nearest value of the codebook. A straight line is too high above the mode and too low below it.
Intervals are Woodruff's (JASA 47, 1952): p is in question at x where D(x) = (number below x) - p n is within 1.96
standard deviations of zero, with variance n p (1 - p) for sampling and the noise of the counts that D adds up. They
reach as far as the curve says and are widened by a 24th of a cell, for nobody knows the shape inside a cell. `exact` mode is the same without noise: the value is in the cell of the inverse
distribution function (type 1). Nothing here is the smallest or the largest value of a patient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions, Expected, Statistic, Wanted, need_numbers
from analytics.statistics import noise
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z
from analytics.statistics.figure import EMPTY, NOISE, OUT_OF_NOISE, Figure, said
from analytics.statistics.histogram import MOST_EDGES, numbers_of, on_grid, places
from analytics.statistics.noise import Floats
from analytics.statistics.question import Question

MOST_QUANTILES = 20
QUARTILES = (0.25, 0.5, 0.75)
SHAPE = 24  # the interval is widened by this part of a cell
HALVINGS = 40
NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True)
class Quantile:
    """One quantile in codes of the column, with its interval, its cell and the deviation of the noise in it."""

    code: int
    low: int
    high: int
    cell: int
    noise: float


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Counts on a grid. edges: codes, the last is the one after the column's; counts: noised unless t is 0."""

    edges: Floats
    counts: Floats
    t: float

    @classmethod
    def of(cls, question: Question, cells: Sequence[Cell]) -> Distribution:
        by = question.inner[0]
        codes = question.fields[by.column].codes
        return cls(
            edges=np.array([min(edge, codes) for edge in by.edges], dtype=np.float64),
            counts=np.array([float(cell.n) for cell in cells]),
            t=cells[0].t,
        )

    @property
    def n(self) -> float:
        return float(self.counts.sum())

    def below(self) -> Floats:
        """How many are below each edge: never falling, from 0 to all (isotonic regression)."""
        total = max(self.n, 1.0)
        summed = np.clip(np.concatenate([[0.0], np.cumsum(self.counts)]), 0.0, total)
        if self.t > 0:
            from scipy.optimize import isotonic_regression

            summed = isotonic_regression(summed).x
        summed[0], summed[-1] = 0.0, total
        return np.asarray(summed)

    def quantile(self, p: float) -> Quantile:
        """The p-quantile; n must be positive."""
        curve = _Curve.through(self.edges, self.below())
        n, size = max(self.n, 1.0), len(self.counts)
        k = np.arange(size + 1)
        variance = noise.variance(self.t)
        noisy = variance * ((1 - p) ** 2 * k + p**2 * (size - k))
        spread = Z * np.sqrt(n * p * (1 - p) + noisy)
        apart = np.concatenate([[0.0], np.cumsum(self.counts)]) - p * self.n
        cell, part = _first(curve.below - p * n)
        low = curve.place(*_first(apart + spread))
        high = curve.place(*_last(apart - spread))
        value, width = curve.place(cell, part), self.edges[cell + 1] - self.edges[cell]
        shape = (width - 1) / SHAPE
        low = value - sqrt(max(value - low, 0.0) ** 2 + shape**2)
        high = value + sqrt(max(high - value, 0.0) ** 2 + shape**2)
        steepness = max(float(curve.below[cell + 1] - curve.below[cell]), 1.0) / width
        last = int(self.edges[-1]) - 1
        first, beyond = int(self.edges[cell]), int(self.edges[cell + 1])
        code = min(max(ceil(value) - 1, first), beyond - 1)
        return Quantile(
            code=code,
            low=min(max(floor(low), 0), code),
            high=max(min(ceil(high) - 1, last), code),
            cell=cell,
            noise=float(sqrt(noisy[cell : cell + 2].max()) / steepness) if self.t > 0 else 0.0,
        )


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """The distribution function as a monotone cubic: `slopes` at the edges, in patients a code."""

    edges: Floats
    below: Floats
    slopes: Floats

    @classmethod
    def through(cls, edges: Floats, below: Floats) -> _Curve:
        width, steep = np.diff(edges), np.diff(below) / np.diff(edges)
        slopes = np.zeros(len(edges))
        if len(steep) > 1:
            left, right = steep[:-1], steep[1:]
            one, other = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
            rising = (left > 0) & (right > 0)
            mean = one / np.where(rising, left, 1.0) + other / np.where(rising, right, 1.0)
            slopes[1:-1] = np.where(rising, (one + other) / mean, 0.0)
        # at the ends a parabola through the first slope, held where the curve still never falls
        for end, inner, cell in ((0, 1, 0), (-1, -2, -1)):
            slopes[end] = min(max(2 * steep[cell] - slopes[inner], 0.0), 3 * steep[cell])
        return cls(edges=edges, below=below, slopes=slopes)

    def place(self, cell: int, part: float) -> float:
        """The code at which this part of the cell's patients is reached, along the curve."""
        rise = float(self.below[cell + 1] - self.below[cell])
        width = float(self.edges[cell + 1] - self.edges[cell])
        if rise <= 0:
            return self.straight(cell, part)
        first, last = (float(slope) * width / rise for slope in self.slopes[cell : cell + 2])
        low, high = 0.0, 1.0
        for _ in range(HALVINGS):
            s = (low + high) / 2
            reached = s * s * (3 - 2 * s) + first * s * (1 - s) ** 2 - last * s * s * (1 - s)
            low, high = (s, high) if reached < part else (low, s)
        return self.straight(cell, high)

    def straight(self, cell: int, part: float) -> float:
        """The code at this part of the cell's width."""
        return float(self.edges[cell] + part * (self.edges[cell + 1] - self.edges[cell]))


def _first(values: Floats) -> tuple[int, float]:
    """The first cell in which values at the edges reach zero, and the part of it where they do."""
    reached = np.nonzero(values >= 0)[0]
    if not len(reached):
        return len(values) - 2, 1.0
    k = int(reached[0]) - 1
    if k < 0:
        return 0, 0.0
    return k, float(-values[k] / (values[k + 1] - values[k]))


def _last(values: Floats) -> tuple[int, float]:
    """The last cell in which values at the edges leave zero for good, and the part of it where they do."""
    cell, part = _first(-values[::-1])
    return len(values) - 2 - cell, 1.0 - part


def unavailable(question: Question, cells: Sequence[Cell]) -> Figure | None:
    """Why there is no quantile, or None if there is one."""
    if not all(cell.ok for cell in cells):
        minimum = question.minimum_cohort
        reason = (
            f"a cell of the grid has fewer than the minimum cohort of {minimum}; set by the provider's policy;"
            " ask for a wider cohort, or for a histogram with fewer edges"
        )
        return Figure(suppressed=True, reason=reason)
    n = sum(cell.n for cell in cells)
    if n <= 0:
        return Figure(n=0, reason=EMPTY)
    if n < OUT_OF_NOISE * sum(cell.deviation_of_n**2 for cell in cells) ** 0.5:
        return Figure(n=round(n), reason=NOISE)
    return None


def _figure(question: Question, cells: Sequence[Cell], asked: Sequence[float], shown: int) -> Figure:
    """Quantiles at all p of `asked`; the figure's own value is the one at place `shown`."""
    without = unavailable(question, cells)
    if without is not None:
        return without
    distribution = Distribution.of(question, cells)
    found = [distribution.quantile(p) for p in asked]
    field = _field(question)
    one = found[shown]
    return Figure.estimate(
        _value(field, one.code),
        (_value(field, one.low), _value(field, one.high)),
        n=min(round(distribution.n), cells[0].capacity),
        noise=one.noise * float(field.lattice[2]),
        extra=_rows(question, asked, found),
    )


def _rows(question: Question, asked: Sequence[float], found: Sequence[Quantile] | None) -> dict[str, Any]:
    field, cells = _field(question), places(question, question.inner[0])
    rows = []
    for k, p in enumerate(asked):
        one = found[k] if found else None
        rows.append(
            {
                "p": p,
                "value": _value(field, one.code) if one else None,
                "low": _value(field, one.low) if one else None,
                "high": _value(field, one.high) if one else None,
                "cell_from": cells[one.cell]["from"] if one else None,
                "cell_to": cells[one.cell]["to"] if one else None,
            }
        )
    cut = f"{len(cells)} cells of {'edges asked for' if question.inner[0].edges != field.edges() else 'the public grid'}"
    return {"quantiles": rows, "method": f"counts in {cut}, to the nearest value of the codebook (type 1)"}


def _field(question: Question) -> Field:
    return question.fields[question.inner[0].column]


def _value(field: Field, code: int) -> float | int | None:
    return said(float(field.value(code)))


def _probabilities(question: Question) -> list[float]:
    return [float(text) for text in question.values]


def box(question: Question, cells: Sequence[Cell]) -> Figure:
    """The quartiles, and whiskers that end at edges of the grid.

    A whisker ends at the outer edge of the outermost cell with at least the minimum cohort that reaches within 1.5
    interquartile ranges of the box (Tukey, Exploratory Data Analysis, 1977), and no farther than that.
    """
    figure = _figure(question, cells, QUARTILES, 1)
    if figure.value is None:
        return figure
    distribution, field = Distribution.of(question, cells), _field(question)
    first, _, third = (distribution.quantile(p) for p in QUARTILES)
    edges, fence = distribution.edges, 1.5 * (third.code - first.code)
    enough = [k for k, n in enumerate(distribution.counts) if n >= question.minimum_cohort]
    low = [max(edges[k], first.code - fence) for k in enough if edges[k + 1] > first.code - fence]
    high = [min(edges[k + 1] - 1, third.code + fence) for k in enough if edges[k] <= third.code + fence]
    inside = min([*low, first.code]), max([*high, third.code])
    ends = [min(max(round(code), 0), field.codes - 1) for code in inside]
    figure.extra.update(_whiskers(*(_value(field, code) for code in ends)))
    figure.extra["iqr"] = said(float((third.code - first.code) * field.lattice[2]))
    return figure


def _whiskers(low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"whisker_low": low, "whisker_high": high, "iqr": None}


def _quantile_tables(asked: Asked) -> list[Wanted]:
    need_numbers(asked)
    for value, number in zip(asked.statement.values, numbers_of(asked), strict=True):
        if not 0 < number < 1:
            raise asked.refuse(
                "bad_quantile",
                f"{value.text} is no quantile: write numbers between 0 and 1, such as 0.25 for the lower quartile",
            )
    return [on_grid(asked, asked.columns[0])]


def _tables(asked: Asked) -> list[Wanted]:
    """On the column's grid, or on the edges that follow the column."""
    need_numbers(asked)
    return [on_grid(asked, asked.columns[0], numbers_of(asked))]


def expected_quantile(releases: Sequence[Release], fields: Sequence[Field], n: int, level: float) -> Expected:
    """Of a median. The release is that of the grid, the field its column."""
    field = fields[0]
    low, high, _ = field.lattice
    half = _noise_of(releases[0], field, n, float(high - low) / 6, 0.5, level)
    return Expected(
        half_width=half,
        unit=field.unit or None,
        assuming=f"{n} patients in the group, a standard deviation of a sixth of the range, its middle as median",
    )


def noise_of_quantile(release: Release, column: Field, assumed: Assumptions, p: float) -> float:
    """What the noise does to the p-quantile of a normal column about the middle of its range."""
    low, high, _ = column.lattice
    return _noise_of(release, column, assumed.n, assumed.sd or float(high - low) / 6, p, assumed.level)


def sampling_of_quantile(assumed: Assumptions, p: float) -> float | None:
    """Of the p-quantile of a normal column: root of p (1 - p) / n over the density there (Mosteller, Ann. Math. Stat. 17,
    1946); the grid adds a little."""
    if assumed.sd is None:
        return None
    density = NORMAL.pdf(NORMAL.inv_cdf(p)) / assumed.sd
    return assumed.z * sqrt(p * (1 - p) / assumed.n) / density


def _noise_of(release: Release, field: Field, n: int, sd: float, p: float, level: float) -> float:
    """The error that the noise makes in simulated cohorts, in the column's unit, along straight lines in the cells."""
    from scipy.special import ndtr

    assert release.scale is not None, "only noise is expected"
    edges = np.array([min(edge, field.codes) for edge in release.by[-1].edges], dtype=np.float64)
    step = float(field.lattice[2])
    inner = ndtr((edges[1:-1] - field.codes / 2) * step / sd)
    shares = np.diff(np.concatenate([[0.0], inner, [1.0]]))
    noises, normals = noise.simulated(float(release.scale), len(shares), len(shares))
    counts = noise.cohorts(n * shares, normals)
    off = np.abs(_straight(edges, counts + noises, p) - _straight(edges, counts, p))
    return step * float(np.quantile(off, level))


def _straight(edges: Floats, counts: Floats, p: float) -> Floats:
    """The p-quantile of every draw. Shapes  edges (cells + 1,), counts (cells, draws)."""
    total = np.maximum(counts.sum(0), 1.0)
    below = np.clip(np.concatenate([np.zeros((1, counts.shape[1])), counts.cumsum(0)]), 0.0, total)
    rising = np.maximum.accumulate(below), np.minimum.accumulate(below[::-1])[::-1]
    below = (rising[0] + rising[1]) / 2  # never falling, as the isotonic regression is
    below[0], below[-1] = 0.0, total
    cell = np.clip((below < p * total).sum(0) - 1, 0, len(counts) - 1)
    draw = np.arange(counts.shape[1])
    first, last = below[cell, draw], below[cell + 1, draw]
    part = np.clip((p * total - first) / np.maximum(last - first, 1e-9), 0.0, 1.0)
    return np.asarray(edges[cell] + part * (edges[cell + 1] - edges[cell]))


def _of(
    asked: Callable[[Question], Sequence[float]],
    shown: int,
    p: Callable[[Assumptions], float] = lambda assumed: 0.5,
) -> dict[str, Any]:
    """The family of a statistic that asks these quantiles, what stands where there is none, and what is expected of the
    one at `p`."""
    return {
        "family": lambda question, cells: _figure(question, cells, asked(question), shown),
        "blank": lambda question: _rows(question, asked(question), None),
        "partial": True,
        "unit": lambda unit: unit or None,
        "expected": expected_quantile,
        "noise": lambda releases, fields, assumed: noise_of_quantile(
            releases[0], fields[0], assumed, p(assumed)
        ),
        "sampling": lambda assumed: sampling_of_quantile(assumed, p(assumed)),
    }


STATISTICS = (
    Statistic(
        name="quantile",
        words="quantiles",
        aliases=("quantiles",),
        level="may",
        values=(1, MOST_QUANTILES),
        tables=_quantile_tables,
        **_of(_probabilities, 0, lambda assumed: assumed.values[0]),
    ),
    Statistic(
        name="median",
        words="median",
        level="may",
        values=(0, MOST_EDGES),
        tables=_tables,
        **_of(lambda question: (0.5,), 0),
    ),
    Statistic(
        name="quartiles",
        words="quartiles",
        aliases=("quartile", "iqr", "interquartile_range"),
        level="may",
        values=(0, MOST_EDGES),
        tables=_tables,
        **_of(lambda question: QUARTILES, 1),
    ),
    Statistic(
        name="boxplot",
        words="figures of a box plot",
        aliases=("box_plot", "box", "five_numbers"),
        level="may",
        values=(0, MOST_EDGES),
        tables=_tables,
        **_of(lambda question: QUARTILES, 1)
        | {"family": box, "blank": lambda question: _rows(question, QUARTILES, None) | _whiskers()},
    ),
)
