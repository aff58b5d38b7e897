"""The same totals in plain numpy, on clear codes: the oracle of the tests and the truth beside the demo.

Nothing here is fast, shared or noised: a row is in the cohort or it is not, and Python integers add up.
Parties never import it; the portal does for a dummy twin alone (`analytics.twin`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import product
from operator import or_
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from analytics.query.disclosure import NOTHING, TOTAL, Earlier, cells, cells_of, guarded, least, models, pairs
from analytics.query.model import DATASET, By, Cohort, Plan, PlanDataset, Release
from analytics.query.resolve import DatasetFacts

Column: TypeAlias = tuple[NDArray[Any], NDArray[np.bool_]]  # codes, present
Table: TypeAlias = Mapping[str, Column]


def evaluate(
    plan: Plan,
    facts: Sequence[DatasetFacts],
    tables: Sequence[Table],
    earlier: Sequence[Earlier] = (),
) -> list[list[int]]:
    """Return the integers of every release, without noise: what figures() reads.

    Shapes  tables: one per dataset, beside its facts; column -> (codes, present), of real rows
            only, under the dataset's own names and codes. In a missing row the code is 0. Result: per release, row-major over cells;
            dp: transform @ totals; exact: [1, *totals]; under a smallest cohort counts to the nearest five, zeros
            where some dataset's own count is small, and [2, 0, ...] in every cell if some dataset's own rows break
            another rule of `disclosure`.
    earlier what each dataset answered exactly before
    """
    if not len(facts) == len(tables) == len(plan.datasets):
        raise ValueError(f"{len(plan.datasets)} datasets, {len(facts)} facts, {len(tables)} tables")
    seen = [_seen(table, dataset) for table, dataset in zip(tables, plan.datasets, strict=True)]
    integers = [_release(release, plan, seen) for release in plan.releases]
    if guarded(plan) and any(
        broken(plan.own(k), table, earlier[k] if earlier else NOTHING) for k, table in enumerate(tables)
    ):
        widths = [release.values_per_cell(plan.mode) for release in plan.releases]
        return [
            [2 if k % width == 0 else 0 for k in range(len(one))]
            for one, width in zip(integers, widths, strict=True)
        ]
    return integers


def broken(plan: Plan, table: Table, earlier: Earlier = NOTHING) -> set[str]:
    """The rules that one dataset's table breaks, in its own plan, names and codes: what stays hidden from all."""
    found = {"complement"} if _near(plan, table, earlier) else set()
    for place, groups, patients in models(plan):
        release = plan.releases[place]
        counts = np.array([holds(cell, table).sum() for cell in cells_of(release)])
        counts = counts.reshape([by.size for by in release.by])
        rest = tuple(range(groups, counts.ndim))
        seen = (counts >= plan.minimum_cohort).any(axis=rest)
        if (seen & (counts.sum(axis=rest) < patients)).any():
            found.add("freedom")
    for release, own in zip(plan.releases, plan.rules, strict=True):
        cells = np.array([holds(cell, table) for cell in cells_of(release)])
        counts = cells.sum(axis=1).reshape([by.size for by in release.by])
        if _classified(release, counts, plan.minimum_cohort):
            found.add("class")
        for operand, amount in zip(release.operands, own.amounts, strict=True):
            codes = table[operand.column][0]
            for values in (codes[cell] for cell in cells if cell.sum() >= plan.minimum_cohort):
                if len(np.unique(values)) == 1:
                    found.add("class")
                if amount is not None:
                    amounts = sorted(int(value) * amount[1] + amount[0] for value in values)
                    if 10 * sum(amounts[-2:]) > 9 * sum(amounts):
                        found.add("dominance")
    return found


def _classified(release: Release, counts: NDArray[np.integer[Any]], fewest: int) -> bool:
    """Whether somebody's level, or interval of a distribution, follows from his group."""
    by = release.by
    seen = counts >= fewest
    if by and len(by[-1].edges) > 2 and (((counts > 0).sum(axis=-1) == 1) & seen.any(axis=-1)).any():
        return True
    people = counts.sum(axis=tuple(k for k, one in enumerate(by) if one.edges)) > 0
    for axis, size in enumerate(people.shape):
        used = people.any(axis=tuple(k for k in range(people.ndim) if k != axis))
        if size > 1 and used.sum() == 1 and seen.any():
            return True
        people = np.compress(used, people, axis=axis)
    return people.ndim > 0 and not bool(people.all())


def _near(plan: Plan, table: Table, earlier: Earlier) -> bool:
    """Whether two cohorts differ by some rows of the table, but by fewer than the smallest cohort; of totals the cells
    that are shown.
    """
    own = [_told(cohort, table, plan.minimum_cohort) for cohort in cells(plan)]
    totals = [(TOTAL, *(earlier.cells[k] for k in total)) for total in earlier.totals]
    before = [_told(cohort, table, earlier.minimum) for cohort in (*earlier.cells, *totals)]
    differences = [own[i] ^ own[j] for i, j in pairs(plan)] + [a ^ b for a in own for b in before]
    return any(0 < int(rows.sum()) < least(plan) for rows in differences)


def _told(cohort: Cohort, table: Table, fewest: int) -> NDArray[np.bool_]:
    if cohort[0] == TOTAL:
        return reduce(or_, (_told(cell, table, fewest) for cell in cohort[1:]))
    rows = holds(cohort, table)
    return rows if rows.sum() >= fewest else np.zeros_like(rows)


def _seen(table: Table, dataset: PlanDataset) -> Table:
    """A dataset's table in the plan's names and codes."""
    own = {source.column for source in dataset.sources}
    seen = {name: column for name, column in table.items() if name not in own}
    for source in dataset.sources:
        codes, present = table[source.column]
        seen[source.name] = (np.array(source.codes)[codes] if source.codes else codes, present)
    return seen


def _release(release: Release, plan: Plan, tables: Sequence[Table]) -> list[int]:
    integers: list[int] = []
    for groups in product(*(range(by.size) for by in release.by)):
        counts, totals = [], [0] * len(release.monomials)
        for place, table in enumerate(tables):
            rows = holds(release.cohort, table)
            for by, k in zip(release.by, groups, strict=True):
                codes = np.full(len(rows), place) if by.column == DATASET else table[by.column][0]
                rows = rows & _inside(by, k, codes)
            counts.append(int(rows.sum()))
            for i, exponents in enumerate(release.monomials):
                totals[i] += _total(release, exponents, table, rows)
        if plan.mode == "dp":
            integers += [sum(k * s for k, s in zip(row, totals, strict=True)) for row in release.transform]
        elif guarded(plan) and any(0 < count < plan.minimum_cohort for count in counts):
            integers += [0] * (1 + len(totals))
        elif guarded(plan) and not release.operands:
            integers += [1, *(5 * ((2 * total + 5) // 10) for total in totals)]
        else:
            integers += [1, *totals]
    return integers


def _inside(by: By, k: int, codes: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Which codes are in cell k of a partition."""
    if by.edges:
        return np.asarray((by.edges[k] <= codes) & (codes < by.edges[k + 1]))
    return np.isin(codes, by.groups[k])


def _total(release: Release, exponents: tuple[int, ...], table: Table, rows: NDArray[np.bool_]) -> int:
    terms = np.ones(int(rows.sum()), dtype=object)  # Python integers: squares of squares pass 64 bits
    for operand, exponent in zip(release.operands, exponents, strict=False):
        codes = table[operand.column][0][rows].astype(object)
        terms = terms * ((codes >> operand.dropped) - 2 ** (operand.bits - 1)) ** exponent
    return int(terms.sum())


def holds(cohort: Cohort, table: Table) -> NDArray[np.bool_]:
    """Which rows of the table are in the cohort."""
    kind, *rest = cohort
    if kind == "all":
        return np.ones(_rows(table), dtype=bool)
    if kind == "present":
        return table[rest[0]][1].astype(bool)
    if kind == "less":
        return np.asarray(table[rest[0]][0] < rest[1], dtype=bool)
    if kind == "in":
        return np.isin(table[rest[0]][0], rest[1])
    if kind == "and":
        return np.asarray(np.logical_and.reduce([holds(node, table) for node in rest]))
    if kind == "or":
        return np.asarray(np.logical_or.reduce([holds(node, table) for node in rest]))
    if kind == "not":
        return ~holds(rest[0], table)
    raise ValueError(f"unknown cohort node {kind!r}")


def _rows(table: Table) -> int:
    return next((len(codes) for codes, _ in table.values()), 0)
