"""A trial at a total epsilon of 4: baseline table, survival curves and hazard ratio beside the truth.

The made-up trial of `samples` (one hospital, 1 640 patients). The truth is read from its rows: pandas for the baseline
table, and for times the same estimators on exact months, from statsmodels. The noise of this page has a seed; the
protocol's has none.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analytics.query.plan import DatasetFacts, compile
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate
from analytics.statistics.figures import figures
from providers.codebook import encode
from providers.report import Report
from providers.table import read_table
from samples.generate import generate

EPSILON = 4
SAMPLES = Path(__file__).resolve().parents[2] / "samples"
TIMES = (12, 24, 36)
PROGRAM = f"""table_one(age, bmi, sex) by arm
survival(time_till_death, {", ".join(map(str, TIMES))}) by arm
cox(time_till_death, arm) primary"""


def study() -> tuple[DatasetFacts, dict[str, Any], pd.DataFrame]:
    """Public facts, codes as the parties would share them, and the rows as their hospital knows them."""
    schema = parse_codebook(json.loads((SAMPLES / "codebook.json").read_text()))
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        path = generate(Path(folder))[0]
        table = read_table(path, report)
        assert table is not None and not report.problems, "the samples are clean"
        encoded = encode(schema, [table], report)
    codes = {name: (column.codes, column.present) for name, column in encoded.columns.items()}
    frame = pd.DataFrame()
    for field in schema.fields:
        own, present = codes[field.name]
        if field.kind == "category":
            values = np.array([level.label for level in field.levels], dtype=object)[own]
        else:
            low, _, step = field.lattice
            values = float(low) + own * float(step)
        frame[field.name] = pd.Series(values).where(pd.Series(present))
    facts = DatasetFacts(
        id="ab" * 16,
        version=1,
        manifest_hash="cd" * 32,
        capacity=schema.capacity,
        schema=schema,
        policy=dict(schema.policy),
    )
    return facts, codes, frame


def answers(facts: DatasetFacts, codes: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements of a result, as an analyst gets them."""
    plan = compile(PROGRAM, [facts], EPSILON * 10**6, "dp")
    rng = np.random.default_rng(1)
    noised = []
    for release, clear in zip(plan.releases, evaluate(plan, [facts], [codes]), strict=True):
        assert release.scale is not None, "a plan in dp mode has noise"
        p = -np.expm1(-1 / float(release.scale))
        noise = rng.geometric(p, len(clear)) - rng.geometric(p, len(clear))
        noised.append([int(a + b) for a, b in zip(clear, noise, strict=True)])
    return figures(plan, [facts], noised)


def baseline(statement: dict[str, Any], frame: pd.DataFrame) -> Iterator[str]:
    yield "| characteristic | arm | answer | truth |"
    yield "|---|---|---|---|"
    for group in statement["groups"]:
        arm = group["by"]["arm"]
        own = frame[frame["arm"] == arm]
        for row in group["characteristics"]:
            name, level, figure = row["characteristic"], row["level"], row["figure"]
            if figure.startswith("mean"):
                told = f"{row['value']:.2f} ({row['sd']:.2f})"
                truth = f"{own[name].mean():.2f} ({own[name].std():.2f})"
            elif figure.startswith("median"):
                told = f"{row['value']:g} [{row['q1']:g}, {row['q3']:g}]"
                q1, middle, q3 = own[name].quantile([0.25, 0.5, 0.75])
                truth = f"{middle:g} [{q1:g}, {q3:g}]"
            elif level is not None:
                told = f"{row['n']} ({row['value']:.1f})"
                n = int((own[name] == level).sum())
                truth = f"{n} ({100 * n / own[name].count():.1f})"
            else:
                continue
            yield f"| {level or name}, {figure} | {arm} | {told} | {truth} |"


def survival(statement: dict[str, Any], times: pd.DataFrame) -> Iterator[str]:
    from statsmodels.duration.survfunc import SurvfuncRight

    yield "| months | arm | survival | 95 % interval | truth |"
    yield "|---|---|---|---|---|"
    for group in statement["groups"]:
        arm = group["by"]["arm"]
        own = times[times["arm"] == arm]
        curve = SurvfuncRight(own["time_till_death"], own["dead"])
        for row in group["at"]:
            before = np.searchsorted(curve.surv_times, row["time"], side="right") - 1
            truth = curve.surv_prob[before]
            yield f"| {row['time']:g} | {arm} | {row['survival']:.3f} | {row['low']:.3f} to {row['high']:.3f} | {truth:.3f} |"


def hazard(statement: dict[str, Any], times: pd.DataFrame) -> Iterator[str]:
    from statsmodels.duration.hazard_regression import PHReg

    (group,) = statement["groups"]
    levels = sorted(times["arm"].unique())
    model = PHReg(
        times["time_till_death"],
        (times["arm"] == levels[1]).astype(float),
        status=times["dead"],
        ties="efron",
    ).fit()
    low, high = np.exp(model.conf_int()[0])
    yield "| hazard ratio | answer | truth |"
    yield "|---|---|---|"
    yield (
        f"| {levels[1]} against {levels[0]} | {group['value']:.2f} ({group['low']:.2f} to {group['high']:.2f})"
        f" | {np.exp(model.params[0]):.2f} ({low:.2f} to {high:.2f}) |"
    )


def lines() -> Iterator[str]:
    facts, codes, frame = study()
    table, curves, ratio = answers(facts, codes)
    times = frame[["arm", "time_till_death", "death_flag"]].dropna()
    times = times.assign(dead=(times["death_flag"] == "Dead").astype(int))
    spent = ", ".join(f"{s['statistic']} {float(s['epsilon']):.2f}" for s in (table, curves, ratio))
    yield f"{len(frame)} patients. Epsilon of the tables that each statement reads: {spent}; the last two share one."
    yield ""
    yield from baseline(table, frame)
    yield ""
    yield from survival(curves, times)
    yield ""
    yield from hazard(ratio, times)
