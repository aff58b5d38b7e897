"""A plan in words and numbers, for the people who ask, approve and pay.

What is said follows from the plan and public facts alone. Errors are those of the noise, at a planned number of
patients (the codebook's facts or the capacity): sampling error comes on top and needs the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import sqrt
from typing import Any

from analytics.privacy import mechanisms
from analytics.privacy.accountant import epsilon_text
from analytics.privacy.composition import summary
from analytics.query.columns import Field
from analytics.query.cost import estimate
from analytics.query.language import parse
from analytics.query.model import Operand, Plan, Release
from analytics.query.resolve import DatasetFacts
from analytics.query.statistic import Statistic, statistics
from analytics.query.tree import Statement, decimal_text

LEVEL = 0.95
ATTEMPTS = 2


def describe(plan: Plan, facts: Sequence[DatasetFacts], max_attempts: int = ATTEMPTS) -> dict[str, Any]:
    """The plan as JSON data: statements with words, cells, noise and expected error; totals and cost.

    Shapes  facts: of the plan's datasets, in any order; every number is an int, a finite float or None.
    """
    by_id = {fact.id: fact for fact in facts}
    ordered = [by_id[dataset.id] for dataset in plan.datasets]
    planned = _planned(ordered)
    described = {
        "mode": plan.mode,
        "epsilon": epsilon_text(plan.micro_epsilon),
        "max_attempts": max_attempts,
        "worst_charge": epsilon_text(max_attempts * plan.micro_epsilon),
        "minimum_cohort": plan.minimum_cohort,
        "planned_n": planned,
        "datasets": [asdict(dataset) for dataset in plan.datasets],
        "columns": [column.name for column in plan.columns],
        "released": sum(release.cells * release.values_per_cell(plan.mode) for release in plan.releases),
        "statements": [
            _statement(plan, number, ordered[0], planned) for number in range(len(plan.statements))
        ],
        "composition": summary([release.micro_epsilon for release in plan.releases])
        if plan.mode == "dp"
        else None,
        "plan_hash": plan.hash,
    }
    cost = estimate(plan)
    return described | {"rounds": cost.rounds, "bytes_per_party": cost.bytes_per_party}


def _planned(ordered: Sequence[DatasetFacts]) -> int:
    """The registered number of patients where every codebook's facts give one as "n", else the capacity."""
    said = [fact.schema.facts.get("n") for fact in ordered]
    if all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in said):
        return sum(n for n in said if isinstance(n, int))
    return sum(fact.capacity for fact in ordered)


def _statement(plan: Plan, number: int, dataset: DatasetFacts, planned: int) -> dict[str, Any]:
    text, places = plan.statements[number], plan.uses[number]
    asked = parse(text).statements[0]
    columns = [dataset.schema.field(name.text) for name in asked.columns]
    statistic = statistics()[asked.statistic].of(columns)
    releases = [plan.releases[place] for place in places]
    operands = {o.column: o for release in releases for o in release.operands}
    groups = 1
    for by in releases[0].by[: len(asked.by)]:
        groups *= by.size
    return {
        "text": text,
        "words": _words(asked, statistic, dataset),
        "statistic": asked.statistic,
        "groups": groups,
        "cells": sum(release.cells for release in releases),
        "released": sum(release.cells * release.values_per_cell(plan.mode) for release in releases),
        "epsilon": epsilon_text(sum(release.micro_epsilon for release in releases)),
        "sensitivity": releases[0].sensitivity,
        "noise": _noise(releases[0]),
        "tables": [_table(plan, place) for place in places],
        "resolution": {
            name: _resolution(operand, dataset.schema.field(name)) for name, operand in operands.items()
        },
        "expected_error": _error(statistic, releases, dataset, max(1, planned // groups)),
    }


def _table(plan: Plan, place: int) -> dict[str, Any]:
    """One released table, and the statements that read it: it is computed and charged once."""
    release = plan.releases[place]
    return {
        "table": place + 1,
        "cells": release.cells,
        "epsilon": epsilon_text(release.micro_epsilon),
        "sensitivity": release.sensitivity,
        "noise": _noise(release),
        "read_by": [number + 1 for number, places in enumerate(plan.uses) if place in places],
    }


def _noise(release: Release) -> dict[str, Any] | None:
    scale = release.scale
    if scale is None:
        return None
    return {
        "law": "discrete Laplace",
        "scale": f"{scale.numerator}/{scale.denominator}",
        "scale_value": float(scale),
        "standard_deviation": sqrt(mechanisms.variance(scale)),
        "digits": mechanisms.digits(scale),
        "delta": mechanisms.slack(scale, release.micro_epsilon) * release.cells * len(release.transform),
    }


def _resolution(operand: Operand, field: Field) -> dict[str, Any]:
    step = field.lattice[2] * 2**operand.dropped
    return {
        "step": float(step),
        "unit": field.unit or None,
        "declared": decimal_text(field.resolution) if field.resolution is not None else None,
        "dropped_bits": operand.dropped,
    }


def _words(asked: Statement, statistic: Statistic, dataset: DatasetFacts) -> str:
    titles = [_title(dataset.schema.field(name.text)) for name in asked.columns]
    said = statistic.words
    if titles:
        said += f" {'with' if statistic.name == 'count' else 'of'} {' and '.join(titles)}"
    if asked.level is not None:
        said += f" that is {asked.level.text}"
    if asked.values:
        said += f" at {', '.join(value.text for value in asked.values)}"
    if asked.where is not None:
        said += f", among patients with {asked.where}"
    if asked.by:
        said += f", for each {' and '.join(_title(dataset.schema.field(name.text)) for name in asked.by)}"
    return said


def _title(field: Field) -> str:
    return f"{field.title} ({field.unit})" if field.unit else field.title


def _error(
    statistic: Statistic, releases: Sequence[Release], dataset: DatasetFacts, n: int
) -> dict[str, Any] | None:
    """What the noise alone does to the figure: half-width of a 95 % interval, in the figure's unit."""
    if statistic.expected is None or releases[0].scale is None:
        return None
    fields = [dataset.schema.field(operand.column) for operand in releases[0].operands]
    expected = statistic.expected(releases, fields, n, LEVEL)
    return {
        "half_width": expected.half_width,
        "level": LEVEL,
        "unit": expected.unit,
        "n": n,
        "assuming": expected.assuming,
        "noise_only": True,
    }
