"""What one release answers: the statement it belongs to, read against the codebook.

Public throughout: the text of the plan, the names and labels of the codebook, the policy's minimum cohort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from analytics.query.columns import Field
from analytics.query.language import parse
from analytics.query.model import By, Plan, Release
from analytics.query.resolve import DatasetFacts
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
    fields: Mapping[str, Field]

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


def questions(plan: Plan, facts: Sequence[DatasetFacts]) -> list[Question]:
    """One question per release of the plan, in order. What the plan reads is equal in all datasets."""
    fields = {field.name: field for field in facts[0].schema.fields}
    return [_question(plan, release, fields) for release in plan.releases]


def _question(plan: Plan, release: Release, fields: Mapping[str, Field]) -> Question:
    text = plan.statements[release.statement]
    # A plan's text names columns and levels as the codebook does: nothing is left to look up.
    statement = parse(text).statements[0]
    outer = len(statement.by)
    return Question(
        text=text,
        statistic=statement.statistic,
        columns=tuple(name.text for name in statement.columns),
        level=None if statement.level is None else statement.level.text,
        where=None if statement.where is None else str(statement.where),
        mode=plan.mode,
        minimum_cohort=plan.minimum_cohort,
        capacity=sum(dataset.capacity for dataset in plan.datasets),
        release=release,
        groups=release.by[:outer],
        inner=release.by[outer:],
        fields=fields,
    )
