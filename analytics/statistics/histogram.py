"""Counts on the public grid of a number, or of each level of a category.

The grid is the codebook's, or the edges that the statement names after the column; it is never taken from the data.
Cells are disjoint, so one patient moves one count by one: the sensitivity is 1 however fine the grid. A count describes
the cohort itself: its interval holds the true count, and is the count alone in `exact` mode. Counts below the
policy's minimum cohort are not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from math import sqrt
from typing import Any

from analytics.privacy import mechanisms
from analytics.query.columns import Field
from analytics.query.model import By, Release
from analytics.query.statistic import Asked, Assumptions, Expected, Statistic, Wanted, every
from analytics.query.tree import decimal_text
from analytics.statistics import noise
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z
from analytics.statistics.figure import Figure, said, too_few
from analytics.statistics.question import Question

MOST_EDGES = 256


def histogram(question: Question, cells: Sequence[Cell]) -> Figure:
    """The number of patients who have a value, and in `bins` how many are in each cell."""
    exact = question.mode == "exact"
    seen = [int(cell.n) for cell in cells]
    shown = [
        x if cell.ok and (exact or x >= question.minimum_cohort) else None
        for x, cell in zip(seen, cells, strict=True)
    ]
    if not all(cell.ok for cell in cells):
        reason = too_few("exact", question.minimum_cohort)
        return Figure(suppressed=True, reason=reason, extra=_extra(question, shown, 0))
    q = noise.reach(cells[0].t)
    n = min(max(sum(seen), 0), cells[0].capacity)
    deviation = sum(cell.deviation_of_n**2 for cell in cells) ** 0.5
    half = Z * deviation
    return Figure.estimate(
        n,
        (int(n - half), int(n + half) + (half > 0)),
        within=(0, cells[0].capacity),
        n=n,
        noise=deviation,
        extra=_extra(question, shown, q),
    )


def _extra(question: Question, shown: Sequence[int | None], reach: int) -> dict[str, Any]:
    named = places(question, question.inner[0])
    total = sum(x for x in shown if x is not None) if None not in shown else None
    bins = [
        {
            **place,
            "n": n,
            "low": None if n is None else max(0, n - reach),
            "high": None if n is None else n + reach,
            "share": said(n / total) if n is not None and total else None,
        }
        for place, n in zip(named, shown, strict=True)
    ]
    return {"bins": bins}


def places(question: Question, by: By) -> list[dict[str, Any]]:
    """What the cells of a partition are called: a level, or from (included) and to (not, but for the column's maximum)."""
    if by.edges:
        edges = [said(float(text)) for text in question.edges(by)]
        return [{"from": low, "to": high} for low, high in pairwise(edges)]
    return [{"level": label} for label in question.labels(by)]


def on_grid(asked: Asked, column: Field, edges: Sequence[Decimal] = ()) -> Wanted:
    """The table of counts of a number on its grid, or between the edges that a statement names; the same for all who ask."""
    inner = By(column=column.name, edges=_own(asked, column) if edges else column.edges())
    return Wanted(inner=(inner,), present=(column,))


def numbers_of(asked: Asked) -> list[Decimal]:
    """The numbers after the columns."""
    return [number for value in asked.statement.values if (number := value.number) is not None]


def _own(asked: Asked, column: Field) -> tuple[int, ...]:
    """The edges that a statement names, as codes: within the bounds, ascending, each a value of the column."""
    edges = numbers_of(asked)
    low, _, step = column.lattice
    assert column.minimum is not None and column.maximum is not None, "a number has bounds"
    unit = f" {column.unit}" if column.unit else ""
    for edge in edges:
        shown, code = decimal_text(edge), column.code(edge)
        if not column.minimum < edge < column.maximum:
            bounds = f"{decimal_text(column.minimum)} to {decimal_text(column.maximum)}{unit}"
            raise asked.refuse("bad_edges", f"{shown} is not inside the range of {column.name}, {bounds}")
        if low + code * step != edge:
            near = decimal_text(column.value(code))
            raise asked.refuse(
                "bad_edges", f"{shown} is between two values of {column.name}: write {near}, for example"
            )
    if any(high <= low for low, high in pairwise(edges)):
        raise asked.refuse("bad_edges", f"the edges after {column.name} ascend: sort them, name each once")
    return (0, *map(column.code, edges), 2**column.bits)


def _counts(asked: Asked) -> list[Wanted]:
    (column,) = asked.columns
    edges = numbers_of(asked)
    if column.kind == "number":
        return [on_grid(asked, column, edges)]
    if edges:
        raise asked.refuse("wrong_type", f"{column.name} is a category and has no edges: ask without them", 0)
    return [Wanted(inner=(every(column),))]


def expected(releases: Sequence[Release], fields: Sequence[Field], n: int, level: float) -> Expected:
    """What the noise does to each count of the first table."""
    scale = releases[0].scale
    assert scale is not None, "only noise is expected"
    half = float(mechanisms.reach(scale, level))
    return Expected(half_width=half, unit="patients in each cell", assuming="nothing")


def sampling_of_a_cell(assumed: Assumptions) -> float | None:
    """How a count of middle size would differ in another cohort: binomial."""
    if not assumed.cells:
        return None
    planned = sorted(n for row in assumed.cells for n in row)
    middle = planned[len(planned) // 2]
    return assumed.z * sqrt(middle * max(1 - middle / assumed.n, 1 / len(planned)))


STATISTICS = (
    Statistic(
        name="histogram",
        words="histogram",
        aliases=("hist", "distribution", "frequencies"),
        level="may",
        values=(0, MOST_EDGES),
        tables=_counts,
        family=histogram,
        blank=lambda question: _extra(question, [None] * question.inner[0].size, 0),
        partial=True,
        expected=expected,
        sampling=sampling_of_a_cell,
        of_cohort=True,
    ),
)
