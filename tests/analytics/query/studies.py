"""Small studies for the tests: a codebook, its facts, and the plain meaning of a plan over clear rows."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

from analytics.query.plan import DatasetFacts
from analytics.query.schema import parse_codebook

SEED = """average("time_till_death", "northeast")
average("time_since_diagnosis", "northeast")
std("time_since_diagnosis", "northeast")
correlate("region", "death flag")
"""

CODEBOOK: dict[str, Any] = {
    "primaryKey": ["patient"],
    "title": "A study",
    "fields": [
        {
            "name": "time_till_death",
            "title": "Time till death",
            "type": "number",
            "unit": "months",
            "constraints": {"minimum": 0, "maximum": 60},
            "resolution": "0.1",
        },
        {
            "name": "time_since_diagnosis",
            "type": "integer",
            "unit": "days",
            "constraints": {"minimum": -28, "maximum": 99},
        },
        {
            "name": "bmi",
            "title": "Body mass index",
            "type": "number",
            "unit": "kg/m2",
            "constraints": {"minimum": 10, "maximum": 60},
            "resolution": "0.01",
        },
        {
            "name": "region",
            "type": "string",
            "categories": ["West", "Midwest", "South", "Northeast", {"value": "5", "label": "Canada"}],
        },
        {
            "name": "death_flag",
            "title": "Death flag",
            "type": "integer",
            "categories": [{"value": 0, "label": "alive"}, {"value": 1, "label": "dead"}],
        },
        {"name": "smoker", "type": "category", "categories": ["no", "yes"]},
        {"name": "relapse", "type": "category", "categories": ["no", "yes", "unknown"]},
    ],
    "policy": {
        "epsilon": "10",
        "epsilon_per_query": "1",
        "minimum_cohort": 11,
        "modes": ["dp", "exact"],
        "statistics": ["*"],
        "expires": "2030-01-01",
    },
    "capacity": 1024,
    "facts": {"n": 700},
}


def a_codebook(**changes: Any) -> dict[str, Any]:
    """A copy of the codebook; a change names a top-level key."""
    return {**copy.deepcopy(CODEBOOK), **changes}


def with_field(name: str, /, **changes: Any) -> dict[str, Any]:
    """The codebook with one field's keys changed (None removes a key)."""
    codebook = a_codebook()
    for field in codebook["fields"]:
        if field["name"] == name:
            field.update(changes)
            for key in [key for key, value in field.items() if value is None]:
                del field[key]
    return codebook


def some_facts(codebook: dict[str, Any] | None = None, id: str = "ab" * 16, **changes: Any) -> DatasetFacts:
    schema = parse_codebook(codebook or CODEBOOK)
    return DatasetFacts(
        **{
            "id": id,
            "version": 1,
            "manifest_hash": "cd" * 32,
            "capacity": schema.capacity,
            "schema": schema,
            "policy": dict(schema.policy),
            **changes,
        }
    )


def selects(cohort: tuple, row: dict[str, int | None]) -> bool:
    """Whether a cohort holds a row of codes (None is missing): the words of `analytics.query.model`."""
    kind, *rest = cohort
    if kind == "all":
        return True
    if kind == "present":
        return row[rest[0]] is not None
    if kind == "less":
        return (row[rest[0]] or 0) < rest[1]
    if kind == "in":
        return (row[rest[0]] or 0) in rest[1]
    if kind == "not":
        return not selects(rest[0], row)
    return {"and": all, "or": any}[kind](selects(part, row) for part in rest)


def released(release: Any, rows: list[dict[str, int | None]]) -> list[int]:
    """transform @ totals of every cell, row-major, in Python integers: what is noised."""
    values = []
    for cell in product(*(by.groups for by in release.by)):
        inside = [
            row
            for row in rows
            if selects(release.cohort, row)
            and all((row[by.column] or 0) in codes for by, codes in zip(release.by, cell, strict=True))
        ]
        totals = [sum(term(release, row, exponents) for row in inside) for exponents in release.monomials]
        values += [sum(a * b for a, b in zip(line, totals, strict=True)) for line in release.transform]
    return values


def term(release: Any, row: dict[str, int | None], exponents: tuple[int, ...]) -> int:
    value = 1
    for operand, exponent in zip(release.operands, exponents, strict=False):
        v = ((row[operand.column] or 0) >> operand.dropped) - 2 ** (operand.bits - 1)
        value *= v**exponent
    return value
