"""A small trial for the tests of effects: an event, arms, sites, follow-up, and rows of it at random."""

from __future__ import annotations

import numpy as np

from analytics.query.plan import DatasetFacts, compile
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate
from analytics.statistics import figures
from tests.analytics.statistics import plans

CODEBOOK = {
    "primaryKey": "patient",
    "fields": [
        {"name": "death", "type": "integer", "role": "event", "occurred": 1,
         "categories": [{"value": 0, "label": "alive"}, {"value": 1, "label": "dead"}]},
        {"name": "response", "type": "string", "categories": ["none", "partial", "complete"]},
        {"name": "smoker", "type": "string", "categories": ["yes", "no"]},
        {"name": "arm", "type": "string", "categories": ["placebo", "imatinib"]},
        {"name": "dose", "type": "string", "categories": ["low", "middle", "high"]},
        {"name": "site", "type": "string", "categories": ["Berlin", "Paris", "Rome"]},
        {"name": "city", "type": "string", "categories": [f"city {k}" for k in range(8)]},
        {"name": "follow_up", "type": "number", "unit": "months", "role": "time", "event": "death",
         "constraints": {"minimum": 0, "maximum": 51.1}, "resolution": "0.1"},
    ],
    "capacity": 2048,
    "policy": {"epsilon": "10", "epsilon_per_query": "5", "minimum_cohort": 11, "modes": ["dp", "exact"],
               "statistics": ["*"], "expires": "2035-01-01"},
}  # fmt: skip
SCHEMA = parse_codebook(CODEBOOK)
SIZES = {field.name: field.codes for field in SCHEMA.fields}


def facts(number=1, minimum=1):
    return DatasetFacts(
        id=f"{number:032x}",
        version=1,
        manifest_hash=f"{number:064x}",
        capacity=2048,
        schema=SCHEMA,
        policy={"minimum_cohort": minimum},
    )


def table(rng, n, *, missing=0.05, **columns):
    """n rows; a column that is not given is uniform over its codes, with some values missing."""
    made = {}
    for name, size in SIZES.items():
        given = columns.get(name)
        codes = rng.integers(0, size, n) if given is None else np.asarray(given)
        present = np.ones(n, dtype=bool) if given is not None else rng.random(n) >= missing
        made[name] = (np.where(present, codes, 0), present)
    return made


def counts(table, *columns):
    """How many rows have each combination of codes, of rows that have all of these columns."""
    whole = np.logical_and.reduce([table[name][1] for name in columns])
    found = np.zeros([SIZES[name] for name in columns], dtype=int)
    np.add.at(found, tuple(table[name][0][whole] for name in columns), 1)
    return found


class Asking:
    """A program compiled once, to be asked of many tables. `minimum` is the minimum cohort."""

    def __init__(self, text, mode="exact", micro=10**6, minimum=1):
        self.facts = [facts(minimum=minimum)]
        self.plan = compile(text, self.facts, micro, mode)

    def of(self, table, rng=None):
        """The statements on these rows, with noise if there is a generator."""
        integers = evaluate(self.plan, self.facts, [table])
        return self.said(plans.noised(rng, self.plan, integers) if rng is not None else integers)

    def said(self, integers):
        return figures(self.plan, self.facts, integers)


def ask(text, table, mode="exact", rng=None, **more):
    """The groups of a single statement."""
    (statement,) = Asking(text, mode, **more).of(table, rng)
    return statement["groups"]
