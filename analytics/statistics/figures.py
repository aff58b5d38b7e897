"""From a plan and its released integers to the statements of a Result.

Pure and deterministic: portal and analyst compute the same figures from the same signed integers. Which
figures are shown depends on released numbers alone: in `dp` mode the minimum cohort is compared with the
noised n, in `exact` mode the parties have zeroed what is too small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from analytics.query.model import Plan
from analytics.query.resolve import DatasetFacts
from analytics.statistics import contingency, correlation, counts, moments
from analytics.statistics.cells import Cell
from analytics.statistics.figure import IMPOSSIBLE, NOISE, Figure, too_few
from analytics.statistics.question import Question, questions

Family: TypeAlias = Callable[[Question, Sequence[Cell]], Figure]

FAMILIES: dict[str, Family] = {
    "count": counts.count,
    "proportion": counts.proportion,
    "mean": moments.mean,
    "sum": moments.total,
    "var": moments.variance,
    "sd": moments.deviation,
    "correlate": correlation.pearson,
    "associate": contingency.association,  # `correlate` of nominal columns
}


def figures(
    plan: Plan, facts: Sequence[DatasetFacts], integers: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """The statements of a Result (docs: REST, Result), one per release of the plan.

    Shapes  facts: of the plan's datasets, in any order; integers: per release, flat row-major over cells,
            dp: noised transform values; exact: [ok, *totals].
    Raises  ValueError if the integers do not fit the plan's shape; nothing for any values of them.
    """
    if len(integers) != len(plan.releases):
        raise ValueError(f"{len(integers)} tables of integers, the plan releases {len(plan.releases)}")
    asked = questions(plan, facts)
    return [_statement(question, values) for question, values in zip(asked, integers, strict=True)]


def _statement(question: Question, integers: Sequence[int]) -> dict[str, Any]:
    release = question.release
    nominal = question.statistic == "correlate" and not release.operands
    family = FAMILIES["associate" if nominal else question.statistic]
    groups = []
    for by, cells in question.cells(integers):
        figure = _allowed(question, cells) or family(question, cells)
        if nominal and not figure.extra:
            figure.extra.update(contingency.blank(question))
        groups.append(figure.public(by, cells[0].t, sum(cell.deviation_of_n**2 for cell in cells) ** 0.5))
    axes = [question.axis(i) for i in range(len(release.operands))]
    statement: dict[str, Any] = {
        "text": question.text,
        "statistic": question.statistic,
        "columns": list(question.columns),
        "level": question.level,
        "where": question.where,
        "epsilon": f"{release.micro_epsilon // 10**6}.{release.micro_epsilon % 10**6:06d}",
        "unit": _unit(question),
        "groups": groups,
    }
    coarse = {axis.column: float(axis.step) for axis in axes if axis.dropped}
    return statement | ({"resolution": coarse} if coarse else {})


def _unit(question: Question) -> str | None:
    """The unit of the value: that of the column, its square for a variance, None for a bare number."""
    if question.statistic not in ("mean", "sum", "sd", "var"):
        return None
    unit = question.fields[question.columns[0]].unit
    return f"{unit} squared" if unit and question.statistic == "var" else unit or None


def _allowed(question: Question, cells: Sequence[Cell]) -> Figure | None:
    """The figure that says why there is none, or None if one may be computed."""
    exact = question.mode == "exact"
    nominal = question.statistic == "correlate" and not question.release.operands
    if not all(cell.ok for cell in cells):
        # A table shows the cells that are large enough; its own module says which.
        return None if nominal else Figure(suppressed=True, reason=too_few("exact", question.minimum_cohort))
    if not all(cell.plausible for cell in cells):
        return Figure(reason=IMPOSSIBLE if exact else NOISE)
    if not exact and sum(cell.n for cell in cells) < question.minimum_cohort:
        return Figure(suppressed=True, reason=too_few("dp", question.minimum_cohort))
    return None
