"""What one release answers: the statement it belongs to, read against the codebook.

Public throughout: the text of the plan, the names and labels of the codebook, the policy's minimum cohort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from analytics.query.language import parse
from analytics.query.model import By, Plan, Release
from analytics.query.tree import Statement, normal_form
from analytics.statistics.axis import Axis
from analytics.statistics.cells import Cell


@dataclass(frozen=True, kw_only=True)
class Question:
    """One statement of a plan with its release. `groups` are its By, `inner` those of the statistic."""

    text: str
    statistic: str
    columns: tuple[str, ...]
    level: str | None
    where: str | None
    mode: str
    minimum_cohort: int
    capacity: int
    release: Release
    groups: tuple[By, ...]
    inner: tuple[By, ...]
    fields: dict[str, Any]

    def axis(self, operand: int) -> Axis:
        """The unit of a numeric operand of the release."""
        column = self.release.operands[operand]
        return Axis.of(column, self.fields[column.column])

    def labels(self, by: By) -> list[str]:
        """What the groups of a By are called: the label of the level, or all its labels."""
        levels = self.fields[by.column].levels
        return [" or ".join(str(levels[code].label) for code in codes) for codes in by.groups]

    def cells(self, integers: Sequence[int]) -> list[tuple[dict[str, str], list[Cell]]]:
        """The cells of every group with what the group is called, in the order of the release.

        Raises  ValueError if there are not as many integers as the release has.
        """
        width = self.release.values_per_cell(self.mode)
        if len(integers) != self.release.cells * width:
            raise ValueError(f"{len(integers)} integers, {self.release.cells * width} belong to {self.text}")
        cells = [self._cell(integers[i : i + width]) for i in range(0, len(integers), width)]
        inside = 1
        for by in self.inner:
            inside *= len(by.groups)
        called = product(*(self.labels(by) for by in self.groups))
        return [
            ({by.column: label for by, label in zip(self.groups, names, strict=True)}, cells[i : i + inside])
            for names, i in zip(called, range(0, len(cells), inside), strict=True)
        ]

    def _cell(self, integers: Sequence[int]) -> Cell:
        exact = self.mode == "exact"
        return Cell(
            release=self.release,
            integers=tuple(integers[1:] if exact else integers),
            capacity=self.capacity,
            ok=not exact or integers[0] == 1,
        )


def questions(plan: Plan, facts: Sequence[Any]) -> list[Question]:
    """One question per release of the plan, in order. Fields are those of the first dataset (all equal)."""
    schema = facts[0].schema
    fields = {field.name: field for field in schema.fields}
    return [_question(plan, release, fields) for release in plan.releases]


def _question(plan: Plan, release: Release, fields: dict[str, Any]) -> Question:
    text = plan.statements[release.statement]
    statement: Statement = parse(text).statements[0]
    outer = len(statement.by)
    columns = tuple(_field(fields, name.text).name for name in statement.columns)
    level = None if statement.level is None else statement.level.text
    if statement.statistic == "proportion" and level is not None:
        level = _label(fields[columns[0]], level)
    return Question(
        text=text,
        statistic=statement.statistic,
        columns=columns,
        level=level,
        where=None if statement.where is None else str(statement.where),
        mode=plan.mode,
        minimum_cohort=plan.minimum_cohort,
        capacity=sum(dataset.capacity for dataset in plan.datasets),
        release=release,
        groups=release.by[:outer],
        inner=release.by[outer:],
        fields=fields,
    )


def _field(fields: dict[str, Any], name: str) -> Any:
    if name in fields:
        return fields[name]
    return next(field for field in fields.values() if normal_form(field.name) == normal_form(name))


def _label(field: Any, text: str) -> str:
    form = normal_form(text)
    for level in field.levels:
        if form in (normal_form(str(level.label)), normal_form(str(level.value))):
            return str(level.label)
    return text
