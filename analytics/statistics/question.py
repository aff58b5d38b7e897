"""What one statement asks, with the releases that answer it, read against the codebook.

Public throughout: the text of the plan, the names and labels of the codebook, the policy's minimum cohort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from analytics.query.columns import Field
from analytics.query.language import parse
from analytics.query.model import By, Plan, Release
from analytics.query.resolve import DatasetFacts
from analytics.query.statistic import Statistic, statistics
from analytics.query.tree import decimal_text
from analytics.statistics.axis import Axis
from analytics.statistics.cells import Cell


@dataclass(frozen=True, kw_only=True)
class Question:
    """One statement of a plan with its releases. `groups` are its By, then come its strata, then the statistic's own."""

    text: str
    statistic: Statistic
    columns: tuple[str, ...]
    level: str | None
    values: tuple[str, ...]
    where: str | None
    mode: str
    minimum_cohort: int
    capacity: int
    releases: tuple[Release, ...]
    groups: tuple[By, ...]
    strata: tuple[By, ...]
    fields: Mapping[str, Field]

    @property
    def release(self) -> Release:
        """The only release, or the first."""
        return self.releases[0]

    @property
    def inner(self) -> tuple[By, ...]:
        """The partitions that the statistic made of the first release."""
        return self.release.by[len(self.groups) + len(self.strata) :]

    @property
    def micro_epsilon(self) -> int:
        """What its releases are charged together, those included that other statements share."""
        return sum(release.micro_epsilon for release in self.releases)

    def axis(self, operand: int, release: int = 0) -> Axis:
        """The unit of a numeric operand of a release."""
        column = self.releases[release].operands[operand]
        return Axis.of(column, self.fields[column.column])

    def labels(self, by: By) -> list[str]:
        """What the groups of a By are called: the label of the level, all its labels, or the interval of a grid."""
        if by.edges:
            return [f"{low} to {high}" for low, high in pairwise(self.edges(by))]
        levels = self.fields[by.column].levels
        return [" or ".join(str(levels[code].label) for code in codes) for codes in by.groups]

    def edges(self, by: By) -> list[str]:
        """The edges of a grid in the column's unit, as decimal text: cell k is edge k <= x < edge k + 1."""
        field = self.fields[by.column]
        return [decimal_text(field.value(code)) for code in by.edges]

    def cells(self, integers: Sequence[int], release: int = 0) -> list[tuple[dict[str, str], list[Cell]]]:
        """The cells of every group with what the group is called, in the order of the release: strata, inner.

        Raises  ValueError if there are not as many integers as the release has.
        """
        table = self.releases[release]
        width = table.values_per_cell(self.mode)
        if len(integers) != table.cells * width:
            raise ValueError(f"{len(integers)} integers, {table.cells * width} belong to {self.text}")
        cells = [self._cell(table, integers[i : i + width]) for i in range(0, len(integers), width)]
        inside = 1
        for by in table.by[len(self.groups) :]:
            inside *= by.size
        called = product(*(self.labels(by) for by in self.groups))
        return [
            ({by.column: label for by, label in zip(self.groups, names, strict=True)}, cells[i : i + inside])
            for names, i in zip(called, range(0, len(cells), inside), strict=True)
        ]

    def _cell(self, release: Release, integers: Sequence[int]) -> Cell:
        exact = self.mode == "exact"
        return Cell(
            release=release,
            integers=tuple(integers[1:] if exact else integers),
            capacity=self.capacity,
            ok=not exact or integers[0] == 1,
        )


def questions(plan: Plan, facts: Sequence[DatasetFacts]) -> list[Question]:
    """One question per statement of the plan, in order. What the plan reads is equal in all datasets."""
    fields = {field.name: field for field in facts[0].schema.fields}
    return [_question(plan, number, fields) for number in range(len(plan.statements))]


def _question(plan: Plan, number: int, fields: Mapping[str, Field]) -> Question:
    text = plan.statements[number]
    # A plan's text names columns and levels as the codebook does: nothing is left to look up.
    statement = parse(text).statements[0]
    columns = tuple(name.text for name in statement.columns)
    releases = tuple(plan.releases[place] for place in plan.uses[number])
    statistic = statistics()[statement.statistic].of([fields[name] for name in columns])
    groups = len(statement.by)
    strata = 0 if statistic.strata is None else max(0, len(columns) - statistic.strata)
    return Question(
        text=text,
        statistic=statistic,
        columns=columns,
        level=None if statement.level is None else statement.level.text,
        values=tuple(name.text for name in statement.values),
        where=None if statement.where is None else str(statement.where),
        mode=plan.mode,
        minimum_cohort=plan.minimum_cohort,
        capacity=sum(dataset.capacity for dataset in plan.datasets),
        releases=releases,
        groups=releases[0].by[:groups],
        strata=releases[0].by[groups : groups + strata],
        fields=fields,
    )
