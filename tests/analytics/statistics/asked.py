"""A statement from text to its figures, with the compiler and the oracle's totals; and cohorts to ask."""

from __future__ import annotations

import numpy as np

from analytics.query.plan import DatasetFacts, compile
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate
from analytics.statistics import figures
from tests.analytics.statistics import plans
from tests.analytics.statistics.plans import CODEBOOK

SCHEMA = parse_codebook(CODEBOOK)


def facts(minimum=1, schema=SCHEMA):
    return [
        DatasetFacts(
            id="a" * 32,
            version=1,
            manifest_hash="b" * 64,
            capacity=1024,
            schema=schema,
            policy={"minimum_cohort": minimum},
        )
    ]


def schema_of(*fields):
    """A codebook of numbers (name, minimum, maximum, resolution) and categories (name, *labels)."""
    made = []
    for name, *rest in fields:
        if isinstance(rest[0], str):
            made.append({"name": name, "type": "string", "categories": list(rest)})
        else:
            low, high, step = rest
            made.append(
                {
                    "name": name,
                    "type": "number",
                    "constraints": {"minimum": low, "maximum": high},
                    "resolution": str(step),
                }
            )
    return parse_codebook({**CODEBOOK, "fields": made})


def coded(schema, **columns):
    """The table of values as they are read: numbers in their unit, categories by the place of the level, nan missing."""
    table = {}
    for field in schema.fields:
        values = np.asarray(columns[field.name], dtype=float)
        present = ~np.isnan(values)
        filled = np.where(present, values, 0 if field.kind == "category" else float(field.minimum))
        if field.kind == "number":
            low, _, step = map(float, field.lattice)
            filled = np.clip(np.rint((filled - low) / step), 0, field.codes - 1)
        table[field.name] = (np.where(present, filled, 0).astype(int), present)
    return table


def values(schema, table):
    """What the codes stand for: numbers in their unit, categories as places, nan missing."""
    found = {}
    for field in schema.fields:
        codes, present = table[field.name]
        low, step = (
            (0.0, 1.0) if field.kind == "category" else (float(field.minimum), float(field.resolution))
        )
        found[field.name] = np.where(present, low + step * codes, np.nan)
    return found


def ask(text, table, *, mode="exact", micro=10**6, seed=None, minimum=1, schema=SCHEMA):
    """The one statement's groups; in `dp` mode noised where a seed is given."""
    about = facts(minimum, schema)
    plan = compile(text, about, micro, mode)
    integers = evaluate(plan, about, [table])
    if seed is not None:
        integers = plans.noised(np.random.default_rng(seed), plan, integers)
    (statement,) = figures(plan, about, integers)
    return statement["groups"]
