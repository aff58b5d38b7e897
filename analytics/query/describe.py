"""A plan in words and numbers, for the people who ask, approve and pay.

What is said follows from the plan, public facts and what an analyst supposes. An expected error is that of the noise,
at a planned number of patients (the codebook's facts or the capacity); precision adds the sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, sqrt
from typing import Any

from analytics.privacy import mechanisms
from analytics.privacy.accountant import delta_text, epsilon_text, short_text
from analytics.privacy.composition import summary
from analytics.query.columns import Field
from analytics.query.cost import NETWORKS, estimate, seconds
from analytics.query.disclosure import notes
from analytics.query.errors import ProgramRejected
from analytics.query.language import parse
from analytics.query.model import DATASET, Operand, Plan, Release
from analytics.query.planned import Study
from analytics.query.precision import LEVEL, MOST_SEARCHED, Asking, Supposed, cheapest, precision, supposed
from analytics.query.resolve import Catalogue, DatasetFacts, catalogue_of
from analytics.query.statistic import Statistic, statistics
from analytics.query.tree import Statement, decimal_text

ATTEMPTS = 2


def describe(
    plan: Plan, facts: Sequence[DatasetFacts], max_attempts: int = ATTEMPTS, assumptions: Any = None
) -> dict[str, Any]:
    """The plan as JSON data: statements with words, cells, noise and precision; tables, totals and cost.

    Shapes  facts: of the plan's datasets, in any order; assumptions: None, or JSON data for `precision.supposed`;
            every number is an int, a finite float or None.
    Raises  ProgramRejected, "assumptions", if those cannot be used.
    """
    catalogue = catalogue_of(plan, facts)
    study = Study.of(catalogue)
    told = supposed(assumptions, len(plan.statements))
    if sum(one.width is not None for one in told.values()) > MOST_SEARCHED:
        raise ProgramRejected(
            "assumptions", f"a width may be wanted of at most {MOST_SEARCHED} statements at once"
        )
    described = {
        "mode": plan.mode,
        "epsilon": epsilon_text(plan.micro_epsilon),
        "delta": delta_text(plan.atto_delta),
        "means": means(plan),
        "max_attempts": max_attempts,
        "worst_charge": epsilon_text(max_attempts * plan.micro_epsilon),
        "worst_delta": delta_text(max_attempts * plan.atto_delta),
        "minimum_cohort": plan.minimum_cohort,
        "planned_n": study.n,
        "datasets": [dataset.public() for dataset in plan.datasets],
        **({"align": list(plan.align)} if plan.align else {}),
        "columns": [column.name for column in plan.columns],
        "released": sum(release.cells * release.values_per_cell(plan.mode) for release in plan.releases),
        "statements": [
            {"label": label} | _statement(plan, number, catalogue, study, told.get(number + 1, Supposed()))
            for number, label in enumerate(labels(plan))
        ],
        "tables": [_table(plan, place) for place in range(len(plan.releases))],
        "composition": _composition(plan),
        "plan_hash": plan.hash,
    }
    cost = estimate(plan)
    return described | {
        "rounds": cost.rounds,
        "bytes_per_party": cost.bytes_per_party,
        "seconds": {network.name: round(seconds(cost, network), 3) for network in NETWORKS},
    }


def means(plan: Plan) -> str:
    """What the plan's charge promises one patient, in a sentence."""
    if plan.mode != "dp":
        return "exact answers: no noise, and no epsilon protects a patient"
    odds = f"the odds of anything about one patient change by at most a factor e^{short_text(plan.micro_epsilon)}"
    if not plan.atto_delta:
        return f"whatever these answers tell, {odds}"
    return (
        f"whatever these answers tell, {odds}, except with a probability of about {delta_text(plan.atto_delta)};"
        f" each of the {len(plan.releases)} tables alone changes them by no more than its own epsilon, without exception"
    )


def _composition(plan: Plan) -> dict[str, Any] | None:
    if plan.mode != "dp":
        return None
    return summary(
        [release.micro_epsilon for release in plan.releases],
        micro_epsilon=plan.micro_epsilon,
        atto_delta=plan.atto_delta,
        at=plan.atto_delta,
    )


def labels(plan: Plan) -> list[str | None]:
    """What each statement is of the plan: primary or exploratory where one is marked primary, else nothing."""
    primary = [parse(text).statements[0].primary for text in plan.statements]
    return [("primary" if one else "exploratory") if any(primary) else None for one in primary]


def _statement(
    plan: Plan,
    number: int,
    catalogue: Catalogue,
    study: Study,
    told: Supposed,
) -> dict[str, Any]:
    text, places = plan.statements[number], plan.uses[number]
    asked = parse(text).statements[0]
    columns = [catalogue.column(name) for name in asked.columns]
    statistic = statistics()[asked.statistic].of(columns)
    releases = [plan.releases[place] for place in places]
    operands = {o.column: o for release in releases for o in release.operands}
    groups = 1
    for by in releases[0].by[: len(asked.by)]:
        groups *= by.size
    asking = Asking(
        statement=asked,
        statistic=statistic,
        columns=columns,
        fields=catalogue.fields,
        releases=releases,
        study=study,
        minimum=plan.minimum_cohort,
        supposed=told,
    )
    return {
        "text": text,
        "words": _words(asked, statistic, releases, catalogue),
        "statistic": asked.statistic,
        "groups": groups,
        "cells": sum(release.cells for release in releases),
        "released": sum(release.cells * release.values_per_cell(plan.mode) for release in releases),
        "epsilon": epsilon_text(sum(release.micro_epsilon for release in releases)),
        "sensitivity": releases[0].sensitivity,
        "noise": _noise(releases[0]),
        "tables": [_table(plan, place) for place in places],
        "resolution": {
            name: _resolution(operand, catalogue.pool.column(name)) for name, operand in operands.items()
        },
        "expected_error": _error(asking),
        "precision": precision(asking)
        | {"cheapest": cheapest(asking, "\n".join((*plan.align, text)), catalogue.datasets)},
        "warnings": [*catalogue.warnings(asked.unstratified, releases), *notes(plan, releases)],
    }


def _table(plan: Plan, place: int) -> dict[str, Any]:
    """One released table, and the statements that read it: it is computed and charged once."""
    release = plan.releases[place]
    return {
        "table": place + 1,
        "cells": release.cells,
        "epsilon": epsilon_text(release.micro_epsilon),
        "share": release.micro_epsilon / sum(r.micro_epsilon for r in plan.releases)
        if plan.micro_epsilon
        else None,
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


def _words(asked: Statement, statistic: Statistic, releases: Sequence[Release], catalogue: Catalogue) -> str:
    titles = [_title(catalogue.column(name)) for name in asked.columns]
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
        said += f", for each {' and '.join(_title(catalogue.group(name)) for name in asked.by)}"
    if any(by.column == DATASET for by in releases[0].by[len(asked.by) :]):
        said += ", within each dataset and then taken together"
    return said


def _title(field: Field) -> str:
    return f"{field.title} ({field.unit})" if field.unit else field.title


def _error(asking: Asking) -> dict[str, Any] | None:
    """What the noise alone does to the figure: half-width of a 95 % interval, in the figure's unit."""
    statistic, n = asking.statistic, asking.planned
    if asking.releases[0].scale is None:
        return None
    if statistic.expected is not None:
        expected = statistic.expected(asking.releases, asking.operands, n, LEVEL)
        half, unit, assuming = expected.half_width, expected.unit, expected.assuming
    elif statistic.noise is not None:
        alone = replace(asking, supposed=Supposed())
        found = statistic.noise(asking.releases, asking.operands, alone.assumptions())
        if found is None:
            return None
        unit = statistic.unit(asking.columns[0].unit) if asking.columns else None
        half, assuming = found, f"{n} patients in the group, {statistic.assuming}"
    else:
        return None
    return {
        "half_width": half if isfinite(half) else None,
        "level": LEVEL,
        "unit": unit,
        "n": n,
        "assuming": assuming,
        "noise_only": True,
    }
