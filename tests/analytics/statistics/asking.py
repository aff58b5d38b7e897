"""Asking a program of a table of clear codes through the real compiler, exactly or with noise."""

from __future__ import annotations

import json

import numpy as np

from analytics.query.plan import DatasetFacts, compile
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate
from analytics.statistics import figures
from tests.analytics.statistics import plans


def facts(codebook=plans.CODEBOOK, minimum=11, capacity=4096, number=1):
    return DatasetFacts(
        id=f"{number:032x}",
        version=1,
        manifest_hash=f"{number:064x}",
        capacity=capacity,
        schema=parse_codebook(codebook),
        policy={"minimum_cohort": minimum},
    )


def ask(program, table, mode="exact", *, minimum=None, micro=10**6, seed=0, codebook=plans.CODEBOOK):
    """The statements of the answer; in `dp` mode with noise drawn by its definition. Exact figures are unchecked."""
    dataset = facts(codebook, minimum or (11 if mode == "dp" else 1))
    plan = compile(program, [dataset], micro, mode)
    integers = evaluate(plan, [dataset], [table])
    if mode == "dp":
        integers = plans.noised(np.random.default_rng(seed), plan, integers)
    return figures(plan, [dataset], integers)


def skeleton(value):
    """The keys of an answer and the lengths of its lists, without its figures."""
    if isinstance(value, dict):
        return {key: skeleton(item) for key, item in value.items()}
    return [skeleton(item) for item in value] if isinstance(value, list) else None


def numbers(value):
    """Every number in an answer, however deep."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def finite(statement):
    """Whether an answer is JSON without a number that is not one."""
    json.dumps(statement, allow_nan=False)
    return True
