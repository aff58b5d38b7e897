"""Which cohorts of an exact plan must not lie too near each other, or near those of earlier exact answers.

Two exact totals over cohorts that differ by a few patients give away those patients by subtraction, whatever the
size of each. So wherever a provider's rows of two cells differ at all, they must differ by as many patients as the
smallest cohort that may be shown. The cells are public predicates; how far they lie apart is compared on shares
(`analytics.execute`), and nothing but the answer "near" or "not near" of the whole plan is released. A plan here is what one dataset sees of
it (`Plan.own`).
After Dinur & Nissim, PODS 2003, and Denning, Denning & Schwartz, ACM TODS 4 (1979), on trackers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

from analytics.query.model import By, Cohort, Plan, PlanColumn, Release, canonical, columns_of
from analytics.query.resolve import DatasetFacts

NEAR = 2  # in the place of ok
WORD = 64  # rows
MOST_WORDS = 1 << 22  # that the comparisons of one dataset may take: 96 MiB at a party


def guarded(plan: Plan) -> bool:
    """Whether small differences are looked for: exact answers of a dataset that has a smallest cohort."""
    return plan.mode == "exact" and plan.minimum_cohort > 1


def cells_of(release: Release) -> list[Cohort]:
    """The cohort of each cell of a release, in its order."""
    choices = [[_chosen(by, k) for k in range(by.size)] for by in release.by]
    return [("and", release.cohort, *chosen) if chosen else release.cohort for chosen in product(*choices)]


def cells(plan: Plan) -> tuple[Cohort, ...]:
    """The cohort of every released cell, each once, in the order of the plan."""
    return tuple(dict.fromkeys(cell for release in plan.releases for cell in cells_of(release)))


def pairs(plan: Plan) -> list[tuple[int, int]]:
    """Pairs of cells, by their place in `cells`, that are compared: those of different tables.

    Cells of one table are disjoint: they differ by the patients of both, and each is large enough or not shown.
    """
    place = {cell: k for k, cell in enumerate(cells(plan))}
    tables = {tuple(place[cell] for cell in cells_of(release)) for release in plan.releases}
    beside = {frozenset(two) for table in tables for two in product(table, table)}
    return [(i, j) for i in range(len(place)) for j in range(i) if frozenset((i, j)) not in beside]


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Cells of earlier exact answers from one dataset, and the columns that they are of."""

    cells: tuple[Cohort, ...] = ()
    columns: tuple[PlanColumn, ...] = ()

    @classmethod
    def of(cls, given: Sequence[Cohort], plan: Plan, facts: DatasetFacts) -> Earlier:
        """Those that are no cells of the plan itself, in an order that all parties reach."""
        own = set(cells(plan))
        kept = sorted({cell for cell in given if cell not in own}, key=canonical)
        read = set().union(*(columns_of(cell) for cell in kept))
        columns = tuple(PlanColumn(name=f.name, bits=f.bits) for f in facts.schema.fields if f.name in read)
        return cls(cells=tuple(kept), columns=columns)

    def bits(self, plan: Plan) -> dict[str, int]:
        """The bits of every column that a plan and its comparisons read."""
        return {column.name: column.bits for column in (*plan.columns, *self.columns)}


def compared(plan: Plan, earlier: Earlier) -> int:
    """How many differences are counted of one dataset."""
    return len(pairs(plan)) + len(cells(plan)) * len(earlier.cells)


NOTHING = Earlier()


def too_many(plan: Plan, earlier: Earlier, capacity: int) -> bool:
    """Whether the comparisons of one dataset would not fit into a party's memory."""
    return compared(plan, earlier) * -(-capacity // WORD) > MOST_WORDS


def withheld(plan: Plan, integers: Sequence[Sequence[int]]) -> bool:
    """Whether an answer shows nothing because cohorts lay too near: its first flag is 2, then so are all."""
    return guarded(plan) and bool(integers) and integers[0][0] == NEAR


def text_of(cohorts: Sequence[Cohort]) -> str:
    """Cohorts as one canonical text, to be kept."""
    return canonical([_listed(cohort) for cohort in cohorts]).decode()


def read(text: str) -> tuple[Cohort, ...]:
    """The cohorts of a kept text."""
    return tuple(_tupled(cohort) for cohort in json.loads(text))


def _chosen(by: By, cell: int) -> Cohort:
    if by.edges:
        low, high = list(pairwise(by.edges))[cell]
        return ("and", ("not", ("less", by.column, low)), ("less", by.column, high))
    return ("in", by.column, by.groups[cell])


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value
