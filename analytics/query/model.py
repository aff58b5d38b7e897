"""A plan: which secret totals are formed, and what is released of them.

A plan is public and deterministic: portal, parties and analyst compile the same text against the same
codebooks and must reach the same bytes. It holds integers and strings only; every figure that a person
reads is computed later, from released integers (`analytics.statistics`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

from analytics.privacy.filters import Loss, squares

DATASET = ""  # the column of a By that parts rows by the dataset they are in: a code is a dataset's place in the plan

# A cohort is a predicate over codes, as nested tuples:
#   ("all",)                       every valid row
#   ("present", column)            the column is not missing
#   ("less", column, code)         code of the row < public code (0 <= code <= 2**bits)
#   ("in", column, (code, ...))    code of the row is one of the public codes (may be empty: no row)
#   ("and", node, ...)  ("or", node, ...)  ("not", node)
# Leaves do not look at presence: the compiler writes ("and", ("present", x), ("less", x, 7)).
# The executor itself intersects every cohort with the table's valid plane.
Cohort: TypeAlias = tuple[Any, ...]


def canonical(value: Any) -> bytes:
    """The one byte string of a JSON value: sorted keys, no spaces, UTF-8, no floats."""
    _refuse_floats(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any) -> str:
    """SHA-256 of the canonical bytes, as hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise TypeError("a float has no canonical form")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError("keys of a canonical object are strings")
            _refuse_floats(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _refuse_floats(item)


@dataclass(frozen=True, kw_only=True)
class By:
    """A partition of the cohort by one column: disjoint sets of codes, in public order, or a grid.

    groups  the codes of each cell, of a category or, where `column` is DATASET, of the pooled datasets; or
    edges   ascending codes, of a number: cell k holds edges[k] <= code < edges[k + 1]
    """

    column: str
    groups: tuple[tuple[int, ...], ...] = ()
    edges: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many cells it makes."""
        return len(self.edges) - 1 if self.edges else len(self.groups)


@dataclass(frozen=True, kw_only=True)
class Operand:
    """A numeric column as a release uses it: the code without its `dropped` low bits, centred.

    v = (code >> dropped) - 2**(bits - 1), so v is in [-M, M) with M = 2**(bits - 1).
    """

    column: str
    bits: int
    dropped: int = 0


@dataclass(frozen=True, kw_only=True)
class Release:
    """One table of integers that leaves the protocol, charged once: its cells are disjoint.

    Cells are the product of the groups of `by`, row-major, the last `by` running fastest.
    In each cell the total of every monomial (one exponent per operand) is formed over the cohort;
    in `dp` mode transform @ totals + noise of `scale` is released, in `exact` mode
    [ok, *totals], all zero where the cell is suppressed (transform is then the identity).
    """

    cohort: Cohort
    by: tuple[By, ...] = ()
    operands: tuple[Operand, ...] = ()
    monomials: tuple[tuple[int, ...], ...]
    transform: tuple[tuple[int, ...], ...]
    sensitivity: int
    micro_epsilon: int
    scale: Fraction | None

    @property
    def cells(self) -> int:
        product = 1
        for by in self.by:
            product *= by.size
        return product

    @property
    def columns(self) -> set[str]:
        """The columns that it reads."""
        by = {by.column for by in self.by if by.column != DATASET}
        return columns_of(self.cohort) | by | {operand.column for operand in self.operands}

    def values_per_cell(self, mode: str) -> int:
        return len(self.transform) + (mode == "exact")

    @property
    def parted(self) -> bool:
        """Whether each dataset has cells of its own."""
        return any(by.column == DATASET for by in self.by)

    def cells_of(self, place: int) -> range | list[int]:
        """Which cells hold rows of the dataset at this place of the plan, in the order of its own table."""
        found: list[int] | range = range(1)
        for by in self.by:
            inside = (place,) if by.column == DATASET else range(by.size)
            found = [cell * by.size + k for cell in found for k in inside]
        return found


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is checked of a release of an exact plan beside the sizes of its cells (`analytics.query.disclosure`).

    models   (partitions, parameters) of the models that statements fit: in each cell of so many first partitions,
             those by dataset not counted, there must be as many patients as parameters and ten more
    amounts  of each operand (p, q) if two patients may hold most of a sum of it: a patient's part of the sum is
             code + p / q in steps of the column; None if its bounds rule that out, or it has negative values
    """

    models: tuple[tuple[int, int], ...] = ()
    amounts: tuple[tuple[int, int] | None, ...] = ()

    def public(self) -> dict[str, Any]:
        """The rules as canonical JSON data."""
        return {"models": _listed(self.models), "amounts": _listed(self.amounts)}


@dataclass(frozen=True, kw_only=True)
class PlanColumn:
    """A column that the plan reads, of every dataset: under this name, or as its `PlanSource` says."""

    name: str
    bits: int


@dataclass(frozen=True, kw_only=True)
class PlanSource:
    """Where a dataset has a column of the plan: its own column, and the plan's code of each of its own codes.

    `codes` is empty where they are the same; several own codes may be one of the plan's.
    """

    name: str
    column: str
    bits: int
    codes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlanDataset:
    """One dataset of a plan; `sources` are the columns that it has under another name or with other codes."""

    id: str
    version: int
    manifest_hash: str
    capacity: int
    sources: tuple[PlanSource, ...] = ()

    def public(self) -> dict[str, Any]:
        """The dataset as canonical JSON data."""
        said = {name: value for name, value in vars(self).items() if name != "sources"}
        if not self.sources:
            return said
        return {**said, "sources": [{**vars(s), "codes": list(s.codes)} for s in self.sources]}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every party computes for one query.

    `micro_epsilon` is what is charged: the sum of its releases' epsilons, or less where `atto_delta` (units of 10^-18)
    is not 0 and is charged as well (`analytics.privacy.pld`).
    `statements` are the canonical texts, in order; `uses` says which releases each of them reads, in its own order.
    A release that several statements read is computed, noised and charged once. `align` are canonical texts too: how
    the datasets' own columns and levels are called in the statements.
    """

    mode: str
    micro_epsilon: int
    minimum_cohort: int
    statements: tuple[str, ...]
    uses: tuple[tuple[int, ...], ...]
    datasets: tuple[PlanDataset, ...]
    columns: tuple[PlanColumn, ...]
    releases: tuple[Release, ...]
    align: tuple[str, ...] = ()
    atto_delta: int = 0
    rules: tuple[Rules, ...] = ()  # of each release, of exact plans whose datasets have a smallest cohort

    @property
    def loss(self) -> Loss:
        """What one attempt is charged to each dataset."""
        return Loss(
            micro_epsilon=self.micro_epsilon,
            atto_delta=self.atto_delta,
            squares=squares(release.micro_epsilon for release in self.releases),
        )

    def own(self, place: int) -> Plan:
        """What the plan asks of the rows of one dataset: in its own columns and codes, in its own cells alone."""
        sources = {source.name: source for source in self.datasets[place].sources}
        if not sources and not any(release.parted for release in self.releases):
            return self
        return replace(
            self,
            columns=tuple(_own_column(column, sources) for column in self.columns),
            releases=tuple(_own_release(release, sources) for release in self.releases),
        )

    def public(self) -> dict[str, Any]:
        """The plan as canonical JSON data: integers, strings, lists, objects."""
        return {
            "type": "fourfold/1/plan",
            "mode": self.mode,
            "micro_epsilon": self.micro_epsilon,
            **({"atto_delta": self.atto_delta} if self.atto_delta else {}),
            "minimum_cohort": self.minimum_cohort,
            "statements": list(self.statements),
            "uses": _listed(self.uses),
            "datasets": [d.public() for d in self.datasets],
            **({"align": list(self.align)} if self.align else {}),
            "columns": [vars(c) for c in self.columns],
            "releases": [
                {
                    "cohort": _listed(r.cohort),
                    "by": [_partition(b) for b in r.by],
                    "operands": [vars(o) for o in r.operands],
                    "monomials": _listed(r.monomials),
                    "transform": _listed(r.transform),
                    "sensitivity": r.sensitivity,
                    "micro_epsilon": r.micro_epsilon,
                    "scale": None if r.scale is None else [r.scale.numerator, r.scale.denominator],
                }
                for r in self.releases
            ],
            **({"rules": [rules.public() for rules in self.rules]} if self.rules else {}),
        }

    @property
    def hash(self) -> str:
        return digest(self.public())


def columns_of(cohort: Cohort) -> set[str]:
    """The columns that a cohort reads."""
    if cohort[0] in ("present", "less", "in"):
        return {cohort[1]}
    return set().union(*(columns_of(part) for part in cohort[1:])) if cohort[0] != "all" else set()


Sources: TypeAlias = Mapping[str, PlanSource]


def _own_column(column: PlanColumn, sources: Sources) -> PlanColumn:
    source = sources.get(column.name)
    return PlanColumn(name=source.column, bits=source.bits) if source else column


def _own_release(release: Release, sources: Sources) -> Release:
    return replace(
        release,
        cohort=_own_cohort(release.cohort, sources),
        by=tuple(_own_partition(by, sources) for by in release.by if by.column != DATASET),
        operands=tuple(
            replace(o, column=sources[o.column].column) if o.column in sources else o
            for o in release.operands
        ),
    )


def _own_partition(by: By, sources: Sources) -> By:
    source = sources.get(by.column)
    if source is None:
        return by
    return replace(by, column=source.column, groups=tuple(_own_codes(codes, source) for codes in by.groups))


def _own_cohort(cohort: Cohort, sources: Sources) -> Cohort:
    kind, *rest = cohort
    if kind == "all":
        return cohort
    if kind in ("and", "or", "not"):
        return (kind, *(_own_cohort(part, sources) for part in rest))
    source = sources.get(rest[0])
    if source is None:
        return cohort
    if kind == "in":
        return (kind, source.column, _own_codes(rest[1], source))
    return (kind, source.column, *rest[1:])


def _own_codes(codes: tuple[int, ...], source: PlanSource) -> tuple[int, ...]:
    """The dataset's own codes that mean one of the plan's codes."""
    if not source.codes:
        return codes
    return tuple(own for own, code in enumerate(source.codes) if code in codes)


def _partition(by: By) -> dict[str, Any]:
    if by.edges:
        return {"column": by.column, "edges": list(by.edges)}
    return {"column": by.column, "groups": _listed(by.groups)}


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, tuple) else value
