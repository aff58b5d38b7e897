"""From a plan and its released integers to the statements of a Result.

Pure and deterministic: portal and analyst compute the same figures from the same signed integers. Which
figures are shown depends on released numbers alone: in `dp` mode the minimum cohort is compared with the
noised n, in `exact` mode the parties have zeroed what is too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analytics.privacy.accountant import epsilon_text
from analytics.query.model import Plan
from analytics.query.resolve import DatasetFacts
from analytics.statistics import multiplicity
from analytics.statistics.cells import Cell
from analytics.statistics.figure import FOR_REVIEW, IMPOSSIBLE, NOISE, Figure, too_few
from analytics.statistics.question import Question, questions


def figures(
    plan: Plan, facts: Sequence[DatasetFacts], integers: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """The statements of a Result (docs: REST, Result), in the order of the plan.

    Shapes  facts: of the plan's datasets, in any order; integers: per release, flat row-major over cells,
            dp: noised transform values; exact: [ok, *totals].
    Raises  ValueError if the integers do not fit the plan's shape; nothing for any values of them.
    """
    if len(integers) != len(plan.releases):
        raise ValueError(f"{len(integers)} tables of integers, the plan releases {len(plan.releases)}")
    asked = questions(plan, facts)
    statements = [
        _statement(question, [integers[place] for place in places])
        for question, places in zip(asked, plan.uses, strict=True)
    ]
    multiplicity.adjust(statements)
    return statements


def _statement(question: Question, integers: Sequence[Sequence[int]]) -> dict[str, Any]:
    statistic = question.statistic
    axes = [
        question.axis(i, k)
        for k, release in enumerate(question.releases)
        for i in range(len(release.operands))
    ]
    statement: dict[str, Any] = {
        "text": question.text,
        "label": question.label,
        "statistic": statistic.name,
        "columns": list(question.columns),
        "level": question.level,
        "where": question.where,
        "epsilon": epsilon_text(question.micro_epsilon),
        "unit": statistic.unit(question.fields[question.columns[0]].unit) if question.columns else None,
        "groups": (statistic.groups or single)(question, integers),
        "warnings": list(question.warnings),
    }
    coarse = {axis.column: float(axis.step) for axis in axes if axis.dropped}
    return statement | ({"resolution": coarse} if coarse else {})


def single(question: Question, integers: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The groups of a statistic with one table and one figure in each group."""
    statistic = question.statistic
    assert statistic.family is not None, "a statistic has a family or its own groups"
    groups = []
    for by, cells in question.cells(integers[0]):
        figure = withheld(question, cells) or statistic.family(question, cells)
        if not figure.extra:
            figure.extra.update(statistic.blank(question))
        groups.append(figure.public(by, cells[0].t, sum(cell.deviation_of_n**2 for cell in cells) ** 0.5))
    return groups


def withheld(question: Question, cells: Sequence[Cell]) -> Figure | None:
    """The figure that says why there is none, or None if one may be computed."""
    exact = question.mode == "exact"
    if any(cell.withheld for cell in cells):
        return Figure(suppressed=True, reason=FOR_REVIEW)
    if not all(cell.ok for cell in cells):
        # A table shows the cells that are large enough; its own module says which.
        partial = question.statistic.partial
        return None if partial else Figure(suppressed=True, reason=too_few("exact", question.minimum_cohort))
    if not all(cell.plausible for cell in cells):
        return Figure(reason=IMPOSSIBLE if exact else NOISE)
    if not exact and sum(cell.n for cell in cells) < question.minimum_cohort:
        return Figure(suppressed=True, reason=too_few("dp", question.minimum_cohort))
    return None
