"""What one statement asks, with the releases that answer it, read against the codebook.

Public throughout: the text of the plan, the names and labels of the codebook, the policy's minimum cohort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product

from analytics.query.columns import Field
from analytics.query.describe import labels
from analytics.query.disclosure import ROUNDED, WITHHELD, guarded, notes
from analytics.query.language import parse
from analytics.query.model import DATASET, By, Plan, Release
from analytics.query.resolve import Catalogue, DatasetFacts, catalogue_of
from analytics.query.statistic import Statistic, statistics
from analytics.query.tree import Statement, decimal_text
from analytics.statistics.axis import Axis
from analytics.statistics.cells import Cell


@dataclass(frozen=True, kw_only=True)
class Question:
    """One statement of a plan with its releases. `groups` are its By, then come its strata, then the statistic's own.

    Strata are levels of columns and, first of them, the pooled datasets: of each By here `labels` gives the names.
    `rounded` says that counts are multiples of five.
    """

    text: str
    statistic: Statistic
    columns: tuple[str, ...]
    level: str | None
    values: tuple[str, ...]
    label: str | None
    where: str | None
    mode: str
    minimum_cohort: int
    capacity: int
    releases: tuple[Release, ...]
    groups: tuple[By, ...]
    strata: tuple[By, ...]
    fields: Mapping[str, Field]
    warnings: tuple[str, ...] = ()
    rounded: bool = False

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

    @property
    def named_strata(self) -> list[dict[str, str]]:
        """What each stratum is called, in the order of the cells."""
        names = [self.fields[by.column].name for by in self.strata]
        called = product(*(self.labels(by) for by in self.strata))
        return [dict(zip(names, labels, strict=True)) for labels in called]

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
        """The edges of a grid in the column's unit, as decimal text: cell k is edge k <= x < edge k + 1.

        Where a grid goes on to the last code, its last edge is the column's maximum, and belongs to the cell.
        """
        field = self.fields[by.column]
        return [decimal_text(field.value(min(code, field.codes - 1))) for code in by.edges]

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
            (
                {self.fields[by.column].name: label for by, label in zip(self.groups, names, strict=True)},
                cells[i : i + inside],
            )
            for names, i in zip(called, range(0, len(cells), inside), strict=True)
        ]

    def _cell(self, release: Release, integers: Sequence[int]) -> Cell:
        exact = self.mode == "exact"
        return Cell(
            release=release,
            integers=tuple(integers[1:] if exact else integers),
            capacity=self.capacity + (self.rounded and ROUNDED // 2),
            ok=not exact or integers[0] == 1,
            withheld=exact and integers[0] == WITHHELD,
        )


def questions(plan: Plan, facts: Sequence[DatasetFacts]) -> list[Question]:
    """One question per statement of the plan, in order."""
    catalogue = catalogue_of(plan, facts)
    fields = catalogue.fields
    return [_question(plan, number, fields, catalogue, label) for number, label in enumerate(labels(plan))]


@lru_cache(maxsize=256)
def _statement(text: str) -> Statement:
    """A statement of a plan: it names columns and levels as the codebook does, so nothing is left to look up."""
    return parse(text).statements[0]


def _question(
    plan: Plan, number: int, fields: Mapping[str, Field], catalogue: Catalogue, label: str | None
) -> Question:
    text = plan.statements[number]
    statement = _statement(text)
    columns = tuple(name.text for name in statement.columns)
    releases = tuple(plan.releases[place] for place in plan.uses[number])
    statistic = statistics()[statement.statistic].of([fields[name] for name in columns])
    groups = len(statement.by)
    strata = 0 if statistic.strata is None else max(0, len(columns) - statistic.strata)
    strata += any(by.column == DATASET for by in releases[0].by[groups:])
    return Question(
        text=text,
        statistic=statistic,
        columns=columns,
        level=None if statement.level is None else statement.level.text,
        values=tuple(name.text for name in statement.values),
        label=label,
        where=None if statement.where is None else str(statement.where),
        mode=plan.mode,
        minimum_cohort=plan.minimum_cohort,
        capacity=sum(dataset.capacity for dataset in plan.datasets),
        releases=releases,
        groups=releases[0].by[:groups],
        strata=releases[0].by[groups : groups + strata],
        fields=fields,
        warnings=(*catalogue.warnings(statement.unstratified, releases), *notes(plan, releases)),
        rounded=guarded(plan),
    )
