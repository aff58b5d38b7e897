"""Tables that were released already: what a plan can read from earlier answers, without the parties.

A table is at hand if an earlier plan over the same dataset versions released one with the same numbers and shape
whose cells, added up, are its cells: the same partition, a coarser one, or those cells that a further condition on
a partitioning column leaves. Adding released integers is post-processing: it tells nothing new and costs nothing.
The sum of k noised cells has k times the variance of one; figures take it for one noise of scale t sqrt(k), whose
variance is no smaller (sinh is convex) and which is wider at 95 % than the sum's own. Only a table at least as precise as asked for is at hand, so who asks for more
epsilon still gets it. Public data throughout; `dp` alone: exact answers cost no epsilon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import isqrt

from analytics.query.columns import Field
from analytics.query.model import By, Cohort, Plan, Release

FINEST = 10**6  # parts of a unit that a square root is rounded up to


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a table is: the earlier plan's place in the list, its release, and the cells of it that each cell adds up."""

    plan: int
    release: int
    cells: tuple[tuple[int, ...], ...]


def find(plan: Plan, earlier: Sequence[Plan], fields: Sequence[Field]) -> list[Source | None]:
    """For each release of the plan, where it is at hand among earlier plans (most precisely, then first), or None.

    Shapes  fields: of the codebook, for which codes there are.
    Deterministic: portal and analyst find the same from the same lists.
    """
    codes = {field.name: field.codes for field in fields}
    found: list[Source | None] = []
    for wanted in plan.releases:
        best: tuple[Fraction, Source] | None = None
        for p, old in enumerate(earlier):
            if plan.mode != "dp" or (old.mode, old.datasets) != (plan.mode, plan.datasets):
                continue
            for r, given in enumerate(old.releases):
                cells = _adding(wanted, given, codes)
                if cells is None:
                    continue
                variance = Fraction(max(map(len, cells)), given.micro_epsilon**2)
                if variance * wanted.micro_epsilon**2 <= 1 and (best is None or variance < best[0]):
                    best = variance, Source(plan=p, release=r, cells=cells)
        found.append(None if best is None else best[1])
    return found


def read(
    plan: Plan,
    sources: Sequence[Source],
    earlier: Sequence[Plan],
    integers: Sequence[Sequence[Sequence[int]]],
) -> tuple[Plan, list[list[int]]]:
    """The plan with the noise that its tables really carry, and their integers.

    Shapes  sources: one for each release, from `find`; integers: per earlier plan, per release, as signed.
    Raises  ValueError if the integers do not fit the earlier plan's shape.
    """
    releases, tables = [], []
    for wanted, source in zip(plan.releases, sources, strict=True):
        given = earlier[source.plan].releases[source.release]
        signed = integers[source.plan][source.release]
        width = len(given.transform)
        if len(signed) != given.cells * width:
            raise ValueError(f"{len(signed)} integers, {given.cells * width} belong to the table")
        most = max(map(len, source.cells))
        assert given.scale is not None, "tables of dp plans have noise"
        releases.append(replace(given, cohort=wanted.cohort, by=wanted.by, scale=_wider(given.scale, most)))
        tables.append(
            [sum(signed[cell * width + i] for cell in cells) for cells in source.cells for i in range(width)]
        )
    return replace(plan, releases=tuple(releases)), tables


def _adding(wanted: Release, given: Release, codes: Mapping[str, int]) -> tuple[tuple[int, ...], ...] | None:
    """Per cell of the wanted table the cells of the given one that add up to it; None: they do not."""
    same = [o.column for o in wanted.operands] == [o.column for o in given.operands]
    if not same or wanted.monomials != given.monomials or len(wanted.transform) != len(given.transform):
        return None
    if any(o.dropped > w.dropped for o, w in zip(given.operands, wanted.operands, strict=True)):
        return None
    kept = _kept(wanted.cohort, given)
    if kept is None:
        return None
    columns = [by.column for by in given.by]
    if any(by.column not in columns for by in wanted.by):
        return None
    places = []  # per partition of the given table: per cell of it, its cell of the wanted one; None: left out
    for by, allowed in zip(given.by, kept, strict=True):
        coarse = next((w for w in wanted.by if w.column == by.column), None)
        placed = _whole(by, codes) if coarse is None else _placed(by, coarse)
        if placed is None:
            return None
        places.append([p if k in allowed else None for k, p in enumerate(placed)])
    cells: dict[tuple[int, ...], list[int]] = {
        where: [] for where in product(*(range(by.size) for by in wanted.by))
    }
    order = [columns.index(by.column) for by in wanted.by]
    for number, at in enumerate(product(*places)):
        if None not in at:
            cells[tuple(at[i] or 0 for i in order)].append(number)
    return tuple(map(tuple, cells.values())) if all(cells.values()) else None


def _kept(wanted: Cohort, given: Release) -> list[set[int]] | None:
    """Per partition of the given table, the cells that the wanted cohort keeps; None if it is no such part of it."""
    conditions, known = _parts(wanted), _parts(given.cohort)
    if not known <= conditions:
        return None
    kept = [set(range(by.size)) for by in given.by]
    for part in conditions - known:
        if part[0] != "in":
            return None
        place = next((i for i, by in enumerate(given.by) if by.column == part[1] and by.groups), None)
        if place is None:
            return None
        codes = set(part[2])
        for k, group in enumerate(given.by[place].groups):
            if not codes.issuperset(group):
                if codes & set(group):
                    return None
                kept[place].discard(k)
        covered = {code for group in given.by[place].groups for code in group}
        if not codes <= covered:
            return None
    return kept


def _parts(cohort: Cohort) -> frozenset[Cohort]:
    """The conditions that a cohort joins by "and"."""
    if cohort[0] == "and":
        return frozenset().union(*(_parts(part) for part in cohort[1:]))
    return frozenset() if cohort[0] == "all" else frozenset({cohort})


def _whole(by: By, codes: Mapping[str, int]) -> list[int | None] | None:
    """All cells as one, if every declared code of the column is in one of them."""
    if by.edges:
        complete = by.edges[0] == 0 and by.edges[-1] >= codes.get(by.column, 2**64)
    else:
        covered = {code for group in by.groups for code in group}
        complete = by.column in codes and covered.issuperset(range(codes[by.column]))
    return [0] * by.size if complete else None


def _placed(fine: By, coarse: By) -> list[int | None] | None:
    """The coarse cell of each fine one (None: in none); None if a fine cell lies in two."""
    if fine == coarse:
        return list(range(fine.size))
    if bool(fine.edges) != bool(coarse.edges):
        return None
    if fine.edges:
        # Within the same ends: cells outside them would be in no cell, which a cohort does not say.
        if not set(coarse.edges) <= set(fine.edges) or (fine.edges[0], fine.edges[-1]) != (
            coarse.edges[0],
            coarse.edges[-1],
        ):
            return None
        return [sum(edge <= low for edge in coarse.edges) - 1 for low in fine.edges[:-1]]
    held = {code: k for k, group in enumerate(coarse.groups) for code in group}
    if not held.keys() <= {code for group in fine.groups for code in group}:
        return None
    placed: list[int | None] = []
    for group in fine.groups:
        within = {held.get(code) for code in group}
        if len(within) != 1:
            return None
        placed.append(within.pop())
    return placed


def _wider(scale: Fraction, cells: int) -> Fraction:
    """scale * sqrt(cells), exactly where the root is whole, else rounded up."""
    root = isqrt(cells * FINEST**2)
    if root * root < cells * FINEST**2:
        root += 1
    return scale * Fraction(root, FINEST)
