"""A plan: which secret totals are formed, and what is released of them.

A plan is public and deterministic: portal, parties and analyst compile the same text against the same
codebooks and must reach the same bytes. It holds integers and strings only; every figure that a person
reads is computed later, from released integers (`analytics.statistics`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

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

    groups  the codes of each cell, of a category; or
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

    def values_per_cell(self, mode: str) -> int:
        return len(self.transform) + (mode == "exact")


@dataclass(frozen=True, kw_only=True)
class PlanColumn:
    """A column that the plan reads, the same in every dataset."""

    name: str
    bits: int


@dataclass(frozen=True, kw_only=True)
class PlanDataset:
    id: str
    version: int
    manifest_hash: str
    capacity: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every party computes for one query.

    `statements` are the canonical texts, in order; `uses` says which releases each of them reads, in its own order.
    A release that several statements read is computed, noised and charged once.
    """

    mode: str
    micro_epsilon: int
    minimum_cohort: int
    statements: tuple[str, ...]
    uses: tuple[tuple[int, ...], ...]
    datasets: tuple[PlanDataset, ...]
    columns: tuple[PlanColumn, ...]
    releases: tuple[Release, ...]

    def public(self) -> dict[str, Any]:
        """The plan as canonical JSON data: integers, strings, lists, objects."""
        return {
            "type": "fourfold/1/plan",
            "mode": self.mode,
            "micro_epsilon": self.micro_epsilon,
            "minimum_cohort": self.minimum_cohort,
            "statements": list(self.statements),
            "uses": _listed(self.uses),
            "datasets": [vars(d) for d in self.datasets],
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
        }

    @property
    def hash(self) -> str:
        return digest(self.public())


def _partition(by: By) -> dict[str, Any]:
    if by.edges:
        return {"column": by.column, "edges": list(by.edges)}
    return {"column": by.column, "groups": _listed(by.groups)}


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, tuple) else value
