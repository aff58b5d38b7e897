"""Questions of the language on one made-up study, run by the product's own plans.

Every row is present, so that plain numpy says what the answer is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from analytics.execute import Table, execute, released_words
from analytics.query import cost
from analytics.query.model import Plan, Release
from analytics.query.plan import DatasetFacts, compile
from analytics.query.schema import parse_codebook
from benchmarks.harness import Work
from benchmarks.shares import clear_columns, planes_of, shared
from mpcnode.ring import RING, WORD_BITS, XOR, Words, pack, words_for

INTEGERS = {"age": 255, "value": 4095, "other": 4095, "third": 4095, "small": 127, "long": 2**32 - 1}
INTEGERS |= {f"lab{k}": 4095 for k in range(1, 21)}
CATEGORIES = {"arm": 5, "ward": 10, "bin": 32}
POLICY: dict[str, Any] = {
    "epsilon": "10",
    "epsilon_per_query": "5",
    "minimum_cohort": 1,
    "modes": ["dp", "exact"],
    "statistics": ["*"],
    "expires": "2040-01-01",
}


def codebook(rows: int) -> dict[str, Any]:
    integers = [
        {
            "name": name,
            "type": "integer",
            "unit": "u",
            "constraints": {"minimum": 0, "maximum": top},
        }
        for name, top in INTEGERS.items()
    ]
    categories = [
        {"name": name, "type": "category", "categories": [f"{name}{k}" for k in range(size)]}
        for name, size in CATEGORIES.items()
    ]
    return {
        "primaryKey": ["patient"],
        "title": "A study to measure with",
        "fields": [*integers, *categories],
        "policy": POLICY,
        "capacity": rows,
        "facts": {"n": rows},
    }


@cache
def plan_of(text: str, rows: int, mode: str = "dp") -> Plan:
    """The product's plan of a program over one dataset of `rows` rows."""
    schema = parse_codebook(codebook(rows))
    facts = DatasetFacts(
        id="ab" * 16,
        version=1,
        manifest_hash="cd" * 32,
        capacity=rows,
        schema=schema,
        policy=dict(schema.policy),
    )
    return compile(text, [facts], 10**6, mode)


class Clear(dict[str, Any]):
    """The codes of the study's columns, each made when it is first read."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def __missing__(self, name: str) -> Any:
        top = INTEGERS[name] + 1 if name in INTEGERS else CATEGORIES[name]
        return self.setdefault(name, clear_columns({name: top}, self.rows)[name])


@cache
def clear(rows: int) -> Clear:
    return Clear(rows)


@dataclass(frozen=True)
class Kept:
    """Ring columns as an earlier query left them; what a session makes is not kept."""

    columns: Mapping[cost.Monomial, Words] = field(repr=False)

    @property
    def held(self) -> Collection[cost.Monomial]:
        return self.columns.keys()

    def read(self, monomial: cost.Monomial, start: int, stop: int) -> Words:
        return self.columns[monomial][:, start * WORD_BITS : stop * WORD_BITS]

    def keep(self, monomial: cost.Monomial, start: int, rows: Words) -> None:
        """Every repetition starts with the same columns."""


def kept(plan: Plan, party: int, rows: int) -> Kept:
    """One party's part of every ring column that the plan's totals are sums of."""
    codes = clear(rows)
    bits = {(o.column, o.dropped): o.bits for r in plan.releases for o in r.operands}
    columns = {}
    for monomial in cost.ring_columns(plan):
        value = np.ones(words_for(rows) * WORD_BITS, dtype=np.uint64)
        for column, dropped, exponent in monomial:
            code = np.zeros(len(value), dtype=np.uint64)
            code[:rows] = codes[column] >> np.uint64(dropped)
            value *= (code - np.uint64(1 << (bits[column, dropped] - 1))) ** np.uint64(exponent)
        columns[monomial] = shared(party, value, RING, str(monomial)).components
    return Kept(columns)


def table_of(plan: Plan, party: int, rows: int, warm: bool = False) -> Table:
    """One party's part of the columns that a plan reads; `warm` with the ring columns of an earlier query."""
    codes = clear(rows)
    present = np.ones(rows, dtype=bool)
    planes = {"": shared(party, pack(present)[None], XOR, "valid").components}
    for column in plan.columns:
        bits = planes_of(codes[column.name], column.bits)
        whole = np.concatenate([bits, pack(present)[None]])
        planes[column.name] = shared(party, whole, XOR, column.name).components
    return Table(rows, planes, kept(plan, party, rows)) if warm else Table(rows, planes)


def ask(text: str, mode: str = "dp", *, warm: bool = False) -> Callable[[int, int], Work]:
    """The work of one program of the language: prepare(party, rows)."""

    def prepare(party: int, rows: int) -> Work:
        plan = plan_of(text, rows, mode)
        table = table_of(plan, party, rows, warm)
        if party:
            clear.cache_clear()
        return Work(
            program=lambda session: execute(session, plan, [table]),
            words=released_words(plan),
            expected=lambda: expected(plan, rows),
            within=np.concatenate([within(r, plan.mode) for r in plan.releases]),
            rounds=cost.estimate(plan, [table.views.held]).rounds,
        )

    return prepare


def within(release: Release, mode: str) -> Any:
    """60 scales of noise on every integer: reached once in 10^25."""
    size = release.cells * release.values_per_cell(mode)
    return np.full(size, 0 if release.scale is None else int(60 * release.scale) + 1)


def expected(plan: Plan, rows: int) -> Any:
    """The plan's totals in plain numpy, before the noise."""
    return np.concatenate([_release(r, clear(rows), plan.mode) for r in plan.releases])


def _release(release: Release, codes: Clear, mode: str) -> Any:
    rows = codes.rows
    chosen = _cohort(release.cohort, codes, rows)
    cell, cells = np.zeros(rows, dtype=np.int64), 1
    for by in release.by:
        group = np.full(1 << 12, -1)
        for number, members in enumerate(by.groups):
            group[list(members)] = number
        number = group[codes[by.column].astype(np.int64)]
        chosen = chosen & (number >= 0)
        cell, cells = cell * len(by.groups) + number, cells * len(by.groups)
    values = [(codes[o.column].astype(np.int64) >> o.dropped) - (1 << (o.bits - 1)) for o in release.operands]
    totals = np.zeros((cells, len(release.monomials)), dtype=np.int64)
    for k, exponents in enumerate(release.monomials):
        term = np.ones(rows, dtype=np.int64)
        for value, exponent in zip(values, exponents, strict=True):
            term = term * value**exponent
        np.add.at(totals[:, k], cell[chosen], term[chosen])
    if mode == "exact":
        return np.concatenate([np.ones((cells, 1), dtype=np.int64), totals], axis=1).reshape(-1)
    return (totals @ np.array(release.transform, dtype=np.int64).T).reshape(-1)


def _cohort(node: Any, codes: Clear, rows: int) -> Any:
    kind, *rest = node
    if kind in ("all", "present"):
        return np.ones(rows, dtype=bool)
    if kind == "less":
        return codes[rest[0]] < np.uint64(rest[1])
    if kind == "in":
        return np.isin(codes[rest[0]], np.array(rest[1], dtype=np.uint64))
    parts = [_cohort(part, codes, rows) for part in rest]
    if kind == "not":
        return ~parts[0]
    return np.logical_and.reduce(parts) if kind == "and" else np.logical_or.reduce(parts)
