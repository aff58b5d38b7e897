"""The differencing attack: two allowed questions whose cohorts differ by one patient, subtracted.

The attacker knows four harmless facts of a patient (age, sex, region, stage) and wants the answer to a fifth and a
measured value. The conventional tool answers exactly and refuses cohorts below eleven, as many do; both questions are
about hundreds. Here the same two questions carry noise that is made for just this difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from typing import Any

import numpy as np

from analytics.query.plan import DatasetFacts, compile
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate, holds
from benchmarks.validity.scenario import STUDY

PATIENTS = 773
MINIMUM = 11
TARGETS = 400
EPSILONS = (0.2, 1.0, 2.0, 4.0)  # of both questions together
SEX, REGIONS, STAGES = ("female", "male"), ("north", "east", "south", "west"), ("I", "II", "III")


def facts() -> DatasetFacts:
    policy = {
        "epsilon": "4",
        "epsilon_per_query": "4",
        "minimum_cohort": MINIMUM,
        "modes": ["dp", "exact"],
        "statistics": ["*"],
        "expires": "2040-01-01",
    }
    schema = parse_codebook(
        {
            "primaryKey": ["patient"],
            "title": "A study",
            "fields": list(STUDY),
            "policy": policy,
            "capacity": 1024,
        }
    )
    return DatasetFacts(
        id="ab" * 16,
        version=1,
        manifest_hash="cd" * 32,
        capacity=1024,
        schema=schema,
        policy=dict(schema.policy),
    )


def patients(rng: np.random.Generator) -> dict[str, Any]:
    """Made-up rows: a flag that half of them have, and a value."""
    columns = {
        "age": rng.integers(0, 64, PATIENTS),
        "sex": rng.integers(0, 2, PATIENTS),
        "region": rng.integers(0, 4, PATIENTS),
        "stage": rng.integers(0, 3, PATIENTS),
        "response": (rng.random(PATIENTS) < 1 / 2).astype(np.int64),
        "value": np.clip(np.rint(512 + 150 * rng.standard_normal(PATIENTS)), 0, 1023).astype(np.int64),
    }
    present = np.ones(PATIENTS, dtype=bool)
    return {name: (codes, present) for name, codes in columns.items()}


def singled_out(table: dict[str, Any]) -> list[int]:
    """Patients who are alone with their age, sex, region and stage."""
    known = np.stack([table[name][0] for name in ("age", "sex", "region", "stage")])
    _, where, counts = np.unique(known, axis=1, return_inverse=True, return_counts=True)
    return [int(row) for row in np.flatnonzero(counts[where.reshape(-1)] == 1)]


def questions(table: dict[str, Any], row: int, ask: str, where: str) -> tuple[str, str]:
    """One question about everybody, and the same about everybody else."""
    age, sex, region, stage = (int(table[name][0][row]) for name in ("age", "sex", "region", "stage"))
    one = f"age == {20 + age} and sex == {SEX[sex]} and region == {REGIONS[region]} and stage == {STAGES[stage]}"
    return f"{ask} where {where}", f"{ask} where {where} and not ({one})"


def conventional(table: dict[str, Any], program: str) -> tuple[int, float]:
    """How many, and their mean value; refused below the minimum."""
    (release,) = compile(program, [facts()], 10**6, "exact").releases
    rows = holds(release.cohort, table)
    if rows.sum() < MINIMUM:
        raise PermissionError("fewer than the minimum cohort")
    return int(rows.sum()), float(table["value"][0][rows].mean() / 10)


def noised(table: dict[str, Any], program: str, micro: int, rng: np.random.Generator) -> tuple[float, float]:
    """N, and the sum of what was asked, as anyone computes them from the released integers."""
    fact = facts()
    plan = compile(program, [fact], micro, "dp")
    (release,) = plan.releases
    assert release.scale is not None, "a plan in dp mode has noise"
    p = -np.expm1(-1 / float(release.scale))
    (clear,) = evaluate(plan, [fact], [table])
    integers = np.array(clear) + rng.geometric(p, len(clear)) - rng.geometric(p, len(clear))
    if len(integers) == 1:
        return float(integers[0]), float("nan")
    a, b = (float(x) for x in integers)
    reach = 2 ** (release.operands[0].bits - 1)
    n = (a + b) / (2 * reach)
    return n, n * reach / 10 + (a - b) / 20


def lines() -> Iterator[str]:
    rng = np.random.default_rng(2)
    table = patients(rng)
    targets = singled_out(table)[:TARGETS]
    flags, values = table["response"][0], table["value"][0] / 10
    right, off, asked = 0, [], 0
    for row in targets:
        counts = [conventional(table, q)[0] for q in questions(table, row, "count()", "response == yes")]
        right += (counts[0] - counts[1] == 1) == bool(flags[row])
        (n, mean), (fewer, rest) = (
            conventional(table, q) for q in questions(table, row, "sum(value)", "age >= 20")
        )
        off.append(abs(n * mean - fewer * rest - values[row]))
        asked += n - fewer == 1
    yield f"{len(singled_out(table))} of {PATIENTS} patients are alone with their age, sex, region and stage;"
    yield f"the attack was run against {len(targets)} of them. Smallest cohort asked about: {int(flags.sum()) - 1} patients."
    yield ""
    yield "| tool | epsilon of both questions | hidden flag guessed right | no attack can do better than | error of the recovered value (median) |"
    yield "|---|---|---|---|---|"
    yield f"| exact answers, none below {MINIMUM} patients | | {share(right, len(targets))} | 100 % | {np.median(off):.1f} |"
    for epsilon in EPSILONS:
        micro = round(epsilon / 2 * 10**6)
        hits, errors = 0, []
        for row in targets:
            one, other = (
                noised(table, q, micro, rng)[0] for q in questions(table, row, "count()", "response == yes")
            )
            hits += (one - other > 0.5 or (one - other == 0.5 and rng.random() < 0.5)) == bool(flags[row])
            sums = [noised(table, q, micro, rng)[1] for q in questions(table, row, "sum(value)", "age >= 20")]
            errors.append(abs(min(max(sums[0] - sums[1], 0.0), 102.3) - values[row]))
        best = exp(epsilon) / (1 + exp(epsilon))
        yield f"| Fourfold | {epsilon:g} | {share(hits, len(targets))} | {100 * best:.0f} % | {np.median(errors):.1f} |"
    base = max(float(flags[targets].mean()), 1 - float(flags[targets].mean()))
    guess = float(np.median(np.abs(values[targets] - values.mean())))
    yield f"| no tool: the likelier answer, the mean | | {100 * base:.1f} % | | {guess:.1f} |"


def share(right: int, of: int) -> str:
    return f"{100 * right / of:.1f} %"
