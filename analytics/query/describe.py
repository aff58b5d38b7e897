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
from analytics.query.columns import Field
from analytics.query.cost import estimate
from analytics.query.language import parse
from analytics.query.model import Operand, Plan, Release
from analytics.query.resolve import DatasetFacts
from analytics.query.tree import STATISTICS, Statement, decimal_text

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
        "statements": [_statement(plan, release, ordered[0], planned) for release in plan.releases],
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


def _statement(plan: Plan, release: Release, dataset: DatasetFacts, planned: int) -> dict[str, Any]:
    text = plan.statements[release.statement]
    asked = parse(text).statements[0]
    fields = [dataset.schema.field(operand.column) for operand in release.operands]
    groups = 1
    for by in release.by[: len(asked.by)]:
        groups *= len(by.groups)
    scale = release.scale
    return {
        "text": text,
        "words": _words(asked, release, dataset),
        "statistic": asked.statistic,
        "groups": groups,
        "cells": release.cells,
        "released": release.cells * release.values_per_cell(plan.mode),
        "epsilon": epsilon_text(release.micro_epsilon),
        "sensitivity": release.sensitivity,
        "noise": None
        if scale is None
        else {
            "law": "discrete Laplace",
            "scale": f"{scale.numerator}/{scale.denominator}",
            "scale_value": float(scale),
            "standard_deviation": sqrt(mechanisms.variance(scale)),
            "digits": mechanisms.digits(scale),
            "delta": mechanisms.slack(scale, release.micro_epsilon) * release.cells * len(release.transform),
        },
        "resolution": {
            field.name: _resolution(operand, field)
            for operand, field in zip(release.operands, fields, strict=True)
        },
        "expected_error": None if scale is None else _error(asked, release, fields, planned // groups),
    }


def _resolution(operand: Operand, field: Field) -> dict[str, Any]:
    step = field.lattice[2] * 2**operand.dropped
    return {
        "step": float(step),
        "unit": field.unit or None,
        "declared": decimal_text(field.resolution) if field.resolution is not None else None,
        "dropped_bits": operand.dropped,
    }


def _words(asked: Statement, release: Release, dataset: DatasetFacts) -> str:
    titles = [_title(dataset.schema.field(name.text)) for name in asked.columns]
    what = STATISTICS[asked.statistic].words
    if asked.statistic == "correlate":
        what = "Pearson correlation" if release.operands else "contingency table, chi-square and Cramer's V"
    said = {
        "count": f"{what} with {titles[0]}" if titles else what,
        "proportion": f"{what} of {titles[0]} that is {asked.level.text if asked.level else ''}"
        if titles
        else what,
        "correlate": f"{what} of {' and '.join(titles)}",
    }.get(asked.statistic, f"{what} of {titles[0]}" if titles else what)
    if asked.where is not None:
        said += f", among patients with {asked.where}"
    if asked.by:
        said += f", for each {' and '.join(_title(dataset.schema.field(name.text)) for name in asked.by)}"
    return said


def _title(field: Field) -> str:
    return f"{field.title} ({field.unit})" if field.unit else field.title


def _error(asked: Statement, release: Release, fields: Sequence[Field], n: int) -> dict[str, Any]:
    """What the noise alone does to the figure: half-width of a 95 % interval, in the figure's unit."""
    assert release.scale is not None
    n = max(1, n)
    t = release.scale
    deviation = sqrt(mechanisms.variance(t))
    reaches = [2 ** (operand.bits - 1) for operand in release.operands]
    steps = [float(f.lattice[2] * 2**o.dropped) for f, o in zip(fields, release.operands, strict=True)]
    unit: str | None = "patients"
    assuming = f"{n} patients in the group"
    if asked.statistic == "count" or (asked.statistic == "correlate" and not fields):
        half, assuming = float(mechanisms.reach(t, LEVEL)), "nothing"
        unit = "patients" if asked.statistic == "count" else "patients in each cell"
    elif asked.statistic == "proportion":
        half, unit = mechanisms.half_width(t, (0.5 / n, 0.5 / n), LEVEL), None
        assuming += ", a proportion of one half"
    elif asked.statistic == "mean":
        half, unit = (
            # S = (B2 - B0) / 4M
            mechanisms.half_width(t, (steps[0] / (4 * reaches[0]) / n,) * 2, LEVEL),
            fields[0].unit or None,
        )
        assuming += ", a mean in the middle of the range"
    elif asked.statistic == "sum":
        weights = _sum_weights(fields[0], steps[0], reaches[0])
        half, unit, assuming = mechanisms.half_width(t, weights, LEVEL), fields[0].unit or None, "nothing"
    elif asked.statistic in ("var", "sd"):
        # Q = (B0 - B1 + B2) / 4 carries the error; a standard deviation of a sixth of the codes is assumed.
        of_variance = 1.96 * sqrt(3) / 4 * deviation * steps[0] ** 2 / n
        assumed = steps[0] * reaches[0] / 3
        half = of_variance if asked.statistic == "var" else of_variance / (2 * assumed)
        unit = fields[0].unit or None
        if unit and asked.statistic == "var":
            unit = f"({unit})^2"
        assuming += ", a standard deviation of a sixth of the range, a mean in its middle"
    else:
        # sum xy = ((x2 - x0) (y2 - y0)) / 16 MxMy: four terms of the nine
        of_product = 1.96 * 2 * deviation / (16 * reaches[0] * reaches[1])
        half, unit = of_product / (n * reaches[0] / 3 * reaches[1] / 3), None
        assuming += ", standard deviations of a sixth of the ranges, means in their middle"
    return {
        "half_width": half,
        "level": LEVEL,
        "unit": unit,
        "n": n,
        "assuming": assuming,
        "noise_only": True,
    }


def _sum_weights(field: Field, step: float, reach: int) -> tuple[float, float]:
    """The sum of x = c + step * v is c N + step S with N = (A + B) / 2M, S = (A - B) / 2."""
    centre = float(field.lattice[0]) + step * reach
    return centre / (2 * reach) + step / 2, centre / (2 * reach) - step / 2
