"""The baseline table of a trial ("table one"): what the patients of each arm were like, one statement for all columns.

A number gets n, mean (SD) and median [quartiles], a category n (%) of each level among those who have one; missing are
counted. Each column has tables of its own, the ones that mean, median and histogram ask for, so statements of the same
program share them. Epsilon is split by what makes errors alike: in standard deviations, at scale 1 / epsilon and n
patients, noise moves a mean by 6 (a range of six deviations), a median by 6 (twelve cells) and a percentage by 2.5, and
the sum of squares is least where shares go with the power 2/3 (minimising sum (c / e)^2): 3.3, 3.3, 1.8; rounded 4, 4, 2.
The arms' sizes get 1. Percentages have Wilson's interval (JASA 22, 1927), with the noise in its variance; the
others are those of their own modules. There are no p-values: arms were drawn by lot, and noise would need its own test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from typing import Any

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions, Line, Statistic, Wanted, every
from analytics.statistics import noise
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z, count, sampling_of_share
from analytics.statistics.figure import EMPTY, NOISE, Figure, said, too_few
from analytics.statistics.figures import withheld
from analytics.statistics.histogram import expected, on_grid
from analytics.statistics.moments import deviation, expected_mean, mean, sampling_of_mean
from analytics.statistics.quantiles import (
    QUARTILES,
    Distribution,
    noise_of_quantile,
    sampling_of_quantile,
    unavailable,
)
from analytics.statistics.question import Question

SIZE, PERCENTAGE, MEAN, QUANTILE = 1, 2, 4, 4  # weights, see above
MOST_COLUMNS = 50
SHARES_OUT_OF_NOISE = 5  # standard deviations of the noise in n that percentages ask for

Row = dict[str, Any]


def table_one(question: Question, integers: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """One group for each arm: its size, and a row for each figure of each characteristic."""
    of = [_only(question, k) for k in range(len(question.releases))]
    cells = [one.cells(row) for one, row in zip(of, integers, strict=True)]
    groups = []
    for arm, (by, sizes) in enumerate(cells[0]):
        figure = withheld(of[0], sizes) or count(of[0], sizes)
        inside = [table[arm][1] for table in cells[1:]]
        rows = _rows(question, of[1:], inside, sizes[0])
        figure.extra["characteristics"] = [_empty(row) for row in rows] if figure.value is None else rows
        groups.append(figure.public(by, sizes[0].t, sizes[0].deviation_of_n))
    return groups


def _only(question: Question, place: int) -> Question:
    """The question as if one of its tables were all of it."""
    return replace(question, releases=(question.releases[place],))


def _rows(
    question: Question, of: Sequence[Question], cells: Sequence[Sequence[Cell]], arm: Cell
) -> list[Row]:
    rows: list[Row] = []
    tables = iter(zip(of, cells, strict=True))
    for name in question.columns:
        column = question.fields[name]
        if column.kind == "number":
            rows += _number(column, next(tables), next(tables), arm)
        else:
            rows += _category(column, next(tables), arm)
    return rows


def _row(column: Field, figure: str, form: str, level: str | None = None, **numbers: Any) -> Row:
    keys = ("n", "value", "low", "high", "sd", "q1", "q3", "reason")
    return {
        "characteristic": column.name,
        "level": level,
        "figure": figure,
        "format": form,
        **{key: numbers.get(key) for key in keys},
    }


def _empty(row: Row) -> Row:
    told = ("characteristic", "level", "figure", "format")
    return {key: value if key in told else None for key, value in row.items()}


def _number(
    column: Field,
    moments: tuple[Question, Sequence[Cell]],
    grid: tuple[Question, Sequence[Cell]],
    arm: Cell,
) -> list[Row]:
    unit = f", {column.unit}" if column.unit else ""
    middle = withheld(*moments) or mean(*moments)
    spread = middle if middle.value is None else deviation(*moments)
    if spread.value == 0 and moments[0].mode == "dp":  # beside no interval it would be read as one
        spread = Figure(n=spread.n, reason=NOISE)
    quartiles = withheld(*grid) or unavailable(*grid)
    numbers: dict[str, Any] = {"reason": quartiles.reason if quartiles else None}
    if quartiles is None:
        distribution = Distribution.of(*grid)
        first, median, third = (distribution.quantile(p) for p in QUARTILES)
        codes = {
            "value": median.code, "low": median.low, "high": median.high, "q1": first.code, "q3": third.code
        }  # fmt: skip
        numbers |= {key: said(float(column.value(code))) for key, code in codes.items()}
    return [
        _row(column, "n", "{n}", n=middle.n, reason=middle.reason),
        _row(
            column,
            f"mean (SD){unit}",
            "{value} ({sd})",
            value=said(middle.value),
            low=said(middle.low),
            high=said(middle.high),
            sd=said(spread.value),
            reason=middle.reason or spread.reason,
        ),
        _row(column, f"median [quartiles]{unit}", "{value} [{q1}, {q3}]", **numbers),
        _missing(column, moments[0], moments[1], arm),
    ]


def _category(column: Field, table: tuple[Question, Sequence[Cell]], arm: Cell) -> list[Row]:
    question, cells = table
    labels = [level.label for level in column.levels]
    minimum = question.minimum_cohort
    without = withheld(question, cells)
    released = [int(cell.n) for cell in cells]
    n = sum(released)
    if without is None and n <= 0:
        without = Figure(n=0, reason=EMPTY)
    if without is None and n < SHARES_OUT_OF_NOISE * sqrt(sum(cell.deviation_of_n**2 for cell in cells)):
        without = Figure(n=n, reason=NOISE)
    rows = [
        _row(column, "n", "{n}", n=without.n if without else n, reason=without.reason if without else None)
    ]
    for label, x in zip(labels, released, strict=True):
        numbers: dict[str, Any] = {}
        if without is not None:
            numbers["reason"] = without.reason
        elif question.mode == "dp" and x < minimum:
            numbers["reason"] = too_few("dp", minimum)
        else:
            low, high = share_interval(x, n, len(cells), cells[0].t)
            percent = [said(100 * part) for part in (min(max(x / n, 0.0), 1.0), low, high)]
            numbers = {"n": x, **dict(zip(("value", "low", "high"), percent, strict=True))}
        rows.append(_row(column, "n (%)", "{n} ({value})", label, **numbers))
    return [*rows, _missing(column, question, cells, arm)]


def _missing(column: Field, question: Question, cells: Sequence[Cell], arm: Cell) -> Row:
    """How many of the arm have no value: a difference of two counts, shown where it is not a few."""
    exact, minimum = question.mode == "exact", question.minimum_cohort
    row = _row(column, "missing", "{n}")
    without = withheld(question, cells)
    if without is not None:
        return row | {"reason": without.reason}
    n = max(0, round(arm.n - sum(cell.n for cell in cells)))
    if n < minimum and not (exact and n == 0):
        return row | {"reason": too_few(question.mode, minimum)}
    half = Z * sqrt(arm.deviation_of_n**2 + sum(cell.deviation_of_n**2 for cell in cells))
    return row | {"n": n, "low": said(max(0.0, n - half)), "high": said(n + half)}


def share_interval(x: float, n: float, cells: int, t: float) -> tuple[float, float]:
    """Wilson's interval of x / n, n the sum of `cells` counts of which x is one, each with noise of scale t.

    The p at which x - p n is 1.96 standard deviations from zero, with variance n p (1 - p) and the noises'
    v ((1 - p)^2 + (cells - 1) p^2).
    """
    z, v = Z * Z, noise.variance(t)
    a = n * n + z * n - z * v * cells
    b = -2 * x * n - z * (n - 2 * v)
    c = x * x - z * v
    if a <= 0:
        return 0.0, 1.0
    root = sqrt(max(b * b - 4 * a * c, 0.0))
    low, high = (-b - root) / (2 * a), (-b + root) / (2 * a)
    value = min(max(x / n, 0.0), 1.0)
    return min(max(low, 0.0), value), max(min(high, 1.0), value)


def _tables(asked: Asked) -> list[Wanted]:
    wanted = [Wanted(present=(), weight=SIZE)]
    for column in asked.columns:
        if column.kind == "number":
            moments = Wanted(numbers=(column,), shape="moments", present=(column,), weight=MEAN)
            wanted += [moments, replace(on_grid(asked, column), weight=QUANTILE)]
        else:
            wanted.append(Wanted(inner=(every(column),), present=(column,), weight=PERCENTAGE))
    return wanted


def _lines(releases: Sequence[Release], assumed: Assumptions) -> list[Line]:
    """Half-widths of each figure, in the order of the rows: of a percentage in percent and, where facts tell no more, at
    one half. The supposed `sd` and `event_rate` are those of the first column."""
    tables = iter(releases[1:])
    size = expected(releases, (), assumed.n, assumed.level).half_width if releases[0].scale else None
    found = [Line(figure="n", noise=size, sampling=assumed.z * sqrt(assumed.n))]
    for place, column in enumerate(assumed.columns):
        one = replace(assumed, sd=assumed.sds[place] if place else assumed.sd, columns=(column,))
        if column.kind == "number":
            moments, grid = [next(tables)], next(tables)
            mean = expected_mean(moments, [column], assumed.n, assumed.level) if moments[0].scale else None
            of_mean = None if mean is None else mean.half_width
            of_median = noise_of_quantile(grid, column, one, 0.5) if grid.scale else None
            found += [
                Line(figure=f"mean of {column.name}", noise=of_mean, sampling=sampling_of_mean(one)),
                Line(
                    figure=f"median of {column.name}",
                    noise=of_median,
                    sampling=sampling_of_quantile(one, 0.5),
                ),
            ]
            continue
        release = next(tables)
        rate = 0.5 if assumed.event_rate is None or place else assumed.event_rate
        sampling = sampling_of_share(replace(one, event_rate=rate)) or 0.0
        # Of x / n to first order, n being the sum of all levels.
        v = noise.variance(float(release.scale or 0))
        of_share = assumed.z * sqrt(v * ((1 - rate) ** 2 + (column.codes - 1) * rate**2)) / assumed.n
        found.append(
            Line(figure=f"percentage of {column.name}", noise=100 * of_share, sampling=100 * sampling)
        )
    return found


STATISTICS = (
    Statistic(
        name="table_one",
        words="baseline table",
        aliases=("baseline", "baseline_table", "table1"),
        columns=(1, MOST_COLUMNS),
        tables=_tables,
        groups=table_one,
        expected=expected,
        sampling=lambda assumed: assumed.z * sqrt(assumed.n),
        lines=_lines,
        of_cohort=True,
    ),
)
