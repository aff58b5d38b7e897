"""Questions for every statistic there is, found by trying: a new statistic is in them by its presence.

One small study whose codes fill their bits, so that every code is a possible patient. For each statistic, each number
of columns and each role of a column is tried in turn; what compiles is a question, one for each combination of numbers
and categories.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from analytics.query.model import Plan
from analytics.query.plan import DatasetFacts, ProgramRejected, compile
from analytics.query.statistic import Statistic, statistics
from tests.analytics.query.studies import a_codebook, some_facts

CODEBOOK: dict[str, Any] = a_codebook(
    fields=[
        {"name": "x", "type": "integer", "constraints": {"minimum": -8, "maximum": 7}},
        {
            "name": "y",
            "type": "number",
            "constraints": {"minimum": 0, "maximum": "15.75"},
            "resolution": "0.25",
        },
        {
            "name": "time",
            "type": "integer",
            "unit": "months",
            "role": "time",
            "event": "died",
            "constraints": {"minimum": 0, "maximum": 31},
        },
        {"name": "died", "type": "string", "role": "event", "categories": ["no", "yes"], "occurred": "yes"},
        {"name": "a", "type": "string", "categories": ["p", "q", "r", "s"]},
        {"name": "b", "type": "string", "categories": ["u", "v"]},
        {"name": "c", "type": "string", "categories": ["k", "l"]},
    ],
    capacity=256,
)
FACTS: DatasetFacts = some_facts(CODEBOOK)
CODES = {field.name: field.codes for field in FACTS.schema.fields}
# In the order in which they are tried: columns of each role.
ROLES = {"number": ("x", "y"), "category": ("b", "a", "c"), "time": ("time",), "event": ("died",)}
KINDS = {"number": "number", "category": "category", "time": "number", "event": "category"}
LEVELS = {"a": "q", "b": "v", "c": "l", "died": "yes"}
VALUES = ((), ("12",), ("0", "8"), ("0.5",), ("2", "4", "8"))
# For statistics that no trial finds: name -> programs.
OTHERS: dict[str, tuple[str, ...]] = {}


def _trials(statistic: Statistic) -> Iterator[tuple[tuple[str, ...], str]]:
    """Kinds of columns, and a program with columns of these kinds."""
    fewest, most = statistic.columns
    for number in range(fewest, min(fewest + 1, most) + 1):
        for roles in product(ROLES, repeat=number):
            if any(roles.count(role) > len(columns) for role, columns in ROLES.items()):
                continue
            names = [ROLES[role][roles[:k].count(role)] for k, role in enumerate(roles)]
            for values in VALUES:
                if statistic.values[0] <= len(values) <= statistic.values[1]:
                    level = [LEVELS[names[0]]] if statistic.level == "must" and names[0] in LEVELS else []
                    yield (
                        tuple(KINDS[role] for role in roles),
                        f"{statistic.name}({', '.join([*names, *level, *values])})",
                    )


@cache
def questions(mode: str = "dp") -> dict[str, Plan]:
    """Program and plan: for every statistic, one of each combination of kinds that it takes."""
    found: dict[str, Plan] = {}
    for name, statistic in statistics().items():
        known = set()
        for program in OTHERS.get(name, ()):
            found[program] = compile(program, [FACTS], 10**6, mode)
        for kinds, program in _trials(statistic):
            if kinds in known:
                continue
            try:
                found[program] = compile(program, [FACTS], 10**6, mode)
            except ProgramRejected:
                continue
            known.add(kinds)
    return found


def missing() -> set[str]:
    """Statistics for which no question was found, but for those of exact mode alone."""
    asked = {program.split("(")[0] for program in questions()}
    return {name for name, statistic in statistics().items() if not statistic.exact} - asked


ROWS = int(np.prod([codes + 1 for codes in CODES.values()]))
Row = dict[str, int | None]


def row(number: int) -> Row:
    """The patient of this number, of 0 to ROWS - 1: every combination of codes and missing values is one."""
    found: Row = {}
    for name, codes in CODES.items():
        number, code = divmod(number, codes + 1)
        found[name] = None if code == codes else code
    return found


def corners() -> list[Row]:
    """Patients at both ends and in the middle of every number, at the first and last level, or without any value."""
    ends = {
        name: sorted({0, codes // 2, codes - 1}) if codes > 4 else [0, codes - 1]
        for name, codes in CODES.items()
    }
    found = [dict(zip(CODES, values, strict=True)) for values in product(*ends.values())]
    return [*found, dict.fromkeys(CODES)]


def table(rows: list[Row]) -> dict[str, Any]:
    """Rows as `analytics.reference` reads them."""
    return {
        name: (
            np.array([one[name] or 0 for one in rows], dtype=np.int64),
            np.array([one[name] is not None for one in rows], dtype=bool),
        )
        for name in CODES
    }


def tables() -> list[str]:
    """Of the questions that release the same tables, the first."""
    first: dict[Any, str] = {}
    for program, plan in questions().items():
        first.setdefault(plan.releases, program)
    return list(first.values())
