"""What must hold before an exact plan shows anything: public rules, which the parties decide on shares.

Exact totals give patients away if they are of few, if two of them differ by few, if everybody of a group has one value,
if one or two patients make a sum, or if a model fits few patients closely. The rules are those of output checkers
(Griffiths et al., Handbook on Statistical Disclosure Control for Outputs, 2019; the defaults of ACRO, 2023). Each is
decided of each dataset's own rows (`analytics.withhold`), since other hospitals subtract theirs. The threshold zeroes a
cell, and the others are shown; of all other rules one bit of the whole plan leaves, and if one is broken nothing of the
plan is shown. A plan here is what one dataset sees of it (`Plan.own`).

    threshold      a cell holds nobody, or as many as the smallest cohort: else it is zeroed, and not seen below
    complement     cells, and totals over the seen cells of a table, that lie in different tables or in earlier exact
                   answers differ by no row, or by as many, and by ten at least: so no zeroed cell is what is left
    class          once levels without anybody are left out, no cell is empty, and a category with a seen cell has two
                   levels or more; the numbers of a seen cell are not all the same; a grid with a seen interval has
                   patients in two
    freedom        a model with a seen cell has ten more patients than parameters
    dominance      the two largest amounts of a seen cell are 90 % of its sum at most; then the rest is a tenth of the
                   largest at least

No table tells a zeroed cell of its own: its cells are disjoint, and totals over them are not released.

After Dinur & Nissim, PODS 2003, and Denning, Denning & Schwartz, ACM TODS 4 (1979), on trackers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise, product
from typing import TYPE_CHECKING, Any

from analytics.query.columns import Field
from analytics.query.model import By, Cohort, Plan, PlanColumn, Release, Rules, canonical, columns_of
from analytics.query.resolve import DatasetFacts

if TYPE_CHECKING:
    from analytics.query.tables import Resolved, Table

WITHHELD = 2  # in the place of ok
WORD = 64  # rows
MOST_WORDS = 1 << 22  # that the comparisons of one dataset may take: 96 MiB at a party
FEWEST = 10  # patients by which cohorts differ, whatever a policy says, where it has a smallest cohort at all
TOTAL = "total"  # (TOTAL, *cells): what a table tells of these together, without those that are zeroed
FREEDOM = 10  # patients beyond the parameters of a model
ROUNDED = 5  # counts are multiples of it
ROUNDING = "exact counts are opened as multiples of 5, and figures of counts are computed from these"


def guarded(plan: Plan) -> bool:
    """Whether the rules hold: exact answers of a dataset that has a smallest cohort."""
    return plan.mode == "exact" and plan.minimum_cohort > 1


def least(plan: Plan) -> int:
    """The fewest patients that a difference may show."""
    return max(FEWEST, plan.minimum_cohort)


def rules(
    found: Sequence[Resolved], uses: Sequence[Sequence[int]], tables: Sequence[Table], minimum: int
) -> tuple[Rules, ...]:
    """The rules of each table, from the statements that read it and the bounds of its numbers."""
    models: list[set[tuple[int, int]]] = [set() for _ in tables]
    for one, places in zip(found, uses, strict=True):
        for place in places if one.model else ():
            assert one.model is not None, "only what is fitted has a model"
            models[place].add(one.model)
    return tuple(
        Rules(
            models=tuple(sorted(own)),
            amounts=tuple(_amount(field, minimum) for field in table.numbers),
        )
        for own, table in zip(models, tables, strict=True)
    )


def _amount(field: Field, fewest: int) -> tuple[int, int] | None:
    minimum, _, step = field.lattice
    least = minimum / step
    most = least + (1 << field.bits) - 1
    if (
        least < 0 or 2 * most <= 9 * (fewest - 2) * least
    ):  # as dominance, of the largest two and the smallest others
        return None
    return Fraction(least).numerator, Fraction(least).denominator


def dominated(amount: tuple[int, int]) -> tuple[tuple[int, int, int], int]:
    """9 * sum - 10 * (two largest) of amounts code + p / q, all times q: coefficients of the sum of codes, of patients
    and of each of the two codes, and the constant. It is negative where two patients dominate.

    With R the rest, x1 + x2 <= 9 R, so x1 <= 10 R: the p-ratio rule at 0.1 holds wherever this one does.
    """
    p, q = amount
    return (9 * q, 9 * p, -10 * q), -20 * p


def cells_of(release: Release) -> list[Cohort]:
    """The cohort of each cell of a release, in its order."""
    choices = [[_chosen(by, k) for k in range(by.size)] for by in release.by]
    return [("and", release.cohort, *chosen) if chosen else release.cohort for chosen in product(*choices)]


def margins(release: Release) -> list[tuple[int, ...]]:
    """The partitions that each total over cells keeps: all proper choices of them, in an order that all reach."""
    axes = len(release.by)
    return [tuple(k for k in range(axes) if kept >> k & 1) for kept in range((1 << axes) - 1)]


def margin_of(release: Release, kept: Sequence[int]) -> list[Cohort]:
    """The totals that keep some partitions and sum over the others, as their cells, in the order of the cells."""
    places = product(*(range(by.size) for by in release.by))
    groups: dict[tuple[int, ...], list[Cohort]] = {}
    for place, cell in zip(places, cells_of(release), strict=True):
        groups.setdefault(tuple(place[axis] for axis in kept), []).append(cell)
    return [(TOTAL, *summed) for summed in groups.values()]


def table_of(release: Release) -> list[Cohort]:
    """Every cohort whose count a release tells: its cells, then the totals over them."""
    return cells_of(release) + [c for kept in margins(release) for c in margin_of(release, kept)]


def cells(plan: Plan) -> tuple[Cohort, ...]:
    """Every cohort whose count the plan tells, each once, in the order of the plan."""
    return tuple(dict.fromkeys(cell for release in plan.releases for cell in table_of(release)))


def pairs(plan: Plan) -> list[tuple[int, int]]:
    """Pairs of cohorts, by their place in `cells`, that are compared: those of different tables.

    Within one table the cells are disjoint: what is left of a total without some of them are its other cells.
    """
    place = {cell: k for k, cell in enumerate(cells(plan))}
    inside = [0] * len(place)  # in which tables each cohort is, as bits
    for number, table in enumerate(dict.fromkeys(tuple(table_of(release)) for release in plan.releases)):
        for cohort in table:
            inside[place[cohort]] |= 1 << number
    alike: dict[int, list[int]] = {}
    for cell, tables in enumerate(inside):
        alike.setdefault(tables, []).append(cell)
    return [
        two
        for one, other in combinations(alike, 2)
        if not one & other
        for two in product(alike[other], alike[one])
    ]


def grids(release: Release) -> tuple[int, ...]:
    """Which partitions are grids of numbers. Their intervals may be empty: categories are looked at without them."""
    return tuple(k for k, by in enumerate(release.by) if by.edges)


def categories(release: Release) -> tuple[int, ...]:
    """Which partitions are by levels of a category, of more than one."""
    return tuple(k for k, by in enumerate(release.by) if not by.edges and by.size > 1)


def distribution(release: Release) -> bool:
    """Whether each group is a distribution over a grid, and not a curve, whose grid other partitions follow."""
    return bool(release.by) and len(release.by[-1].edges) > 2


def models(plan: Plan) -> list[tuple[int, int, int]]:
    """(release, partitions, patients) of each model that needs more patients than each seen cell has anyhow."""
    return [
        (place, groups, parameters + FREEDOM)
        for place, own in enumerate(plan.rules)
        for groups, parameters in own.models
        if parameters + FREEDOM > plan.minimum_cohort
    ]


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Cells of earlier exact answers from one dataset, and the columns that they are of.

    totals   over cells, by their places
    minimum  the smallest cohort of the dataset: smaller cells were zeroed then, perhaps larger ones too
    """

    cells: tuple[Cohort, ...] = ()
    totals: tuple[tuple[int, ...], ...] = ()
    minimum: int = 1
    columns: tuple[PlanColumn, ...] = ()

    @classmethod
    def of(cls, given: Sequence[Cohort], plan: Plan, facts: DatasetFacts) -> Earlier:
        """Those that are no cells of the plan itself, in an order that all parties reach."""
        own = set(cells(plan))
        new = {cohort for cohort in given if cohort not in own}
        totals = sorted((cohort for cohort in new if cohort[0] == TOTAL), key=canonical)
        kept = sorted(new.difference(totals).union(*(total[1:] for total in totals)), key=canonical)
        place = {cell: k for k, cell in enumerate(kept)}
        read = set().union(*(columns_of(cell) for cell in kept))
        return cls(
            cells=tuple(kept),
            totals=tuple(tuple(place[cell] for cell in total[1:]) for total in totals),
            minimum=int(facts.policy["minimum_cohort"]),
            columns=tuple(
                PlanColumn(name=f.name, bits=f.bits) for f in facts.schema.fields if f.name in read
            ),
        )

    @property
    def told(self) -> int:
        """How many cohorts were told: cells, and totals over them."""
        return len(self.cells) + len(self.totals)

    def bits(self, plan: Plan) -> dict[str, int]:
        """The bits of every column that a plan and its comparisons read."""
        return {column.name: column.bits for column in (*plan.columns, *self.columns)}


def compared(plan: Plan, earlier: Earlier) -> int:
    """How many differences are counted of one dataset."""
    return len(pairs(plan)) + len(cells(plan)) * earlier.told


NOTHING = Earlier()


def too_many(plan: Plan, earlier: Earlier, capacity: int) -> bool:
    """Whether the comparisons of one dataset, and the planes of numbers of its cells, would not fit into memory."""
    bits = {column.name: column.bits for column in plan.columns}
    planes = sum(4 * r.cells * bits[o.column] for r in plan.releases for o in r.operands)
    return (compared(plan, earlier) + planes) * -(-capacity // WORD) > MOST_WORDS


def withheld(plan: Plan, integers: Sequence[Sequence[int]]) -> bool:
    """Whether an answer shows nothing because a rule was broken: its first flag is 2, then so are all."""
    return guarded(plan) and bool(integers) and integers[0][0] == WITHHELD


def notes(plan: Plan, releases: Sequence[Release]) -> list[str]:
    """What a reader of a statement's figures must know."""
    counts = guarded(plan) and any(not release.operands for release in releases)
    return [ROUNDING] if counts else []


def text_of(cohorts: Sequence[Cohort]) -> str:
    """Cohorts as one canonical text, to be kept; totals by the places of their cells."""
    place = {cohort: k for k, cohort in enumerate(cohorts)}
    return canonical(
        [
            [TOTAL, *(place[cell] for cell in cohort[1:])] if cohort[0] == TOTAL else _listed(cohort)
            for cohort in cohorts
        ]
    ).decode()


def read(text: str) -> tuple[Cohort, ...]:
    """The cohorts of a kept text."""
    given = [_tupled(cohort) for cohort in json.loads(text)]
    return tuple((TOTAL, *(given[k] for k in one[1:])) if one[0] == TOTAL else one for one in given)


def _chosen(by: By, cell: int) -> Cohort:
    if by.edges:
        low, high = list(pairwise(by.edges))[cell]
        return _between(by.column, low, high)
    return ("in", by.column, by.groups[cell])


def _between(column: str, low: int, high: int) -> Cohort:
    return ("and", ("not", ("less", column, low)), ("less", column, high))


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value
