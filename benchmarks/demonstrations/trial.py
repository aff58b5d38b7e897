"""A trial's main tables at a total epsilon of 4, beside what its rows say.

The German Breast Cancer Study Group's second trial: 686 patients, hormonal therapy or not, time to recurrence or death
(Schumacher et al., J. Clin. Oncol. 12, 1994), as the package lifelines ships it. Bounds and grids are clinical
convention, not the data's. Baseline table and life table have half of epsilon each; curve, test and hazard ratio read
one life table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from analytics.query.plan import DatasetFacts, compile
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate
from analytics.statistics import figures
from benchmarks.validity.scenario import category, number

MONTH = 30.4375  # days
TIMES = (12, 24, 36, 48)
PROGRAM = f"""
table_one(age, size, nodes, menopause, grade) by therapy epsilon 2
survival(months, {", ".join(map(str, TIMES))}) by therapy
logrank(months, therapy)
cox(months, therapy)
"""
CODEBOOK: dict[str, Any] = {
    "primaryKey": ["patient"],
    "title": "German Breast Cancer Study Group 2",
    "fields": [
        number("age", "18", "81") | {"unit": "years", "grid": [18, 35, 40, 45, 50, 55, 60, 65, 70, 81]},
        number("size", "0", "127") | {"unit": "mm", "grid": [0, 10, 15, 20, 25, 30, 40, 50, 127]},
        number("nodes", "0", "63") | {"unit": "positive", "grid": [0, 2, 3, 4, 6, 10, 20, 63]},
        category("menopause", "Pre", "Post"),
        category("grade", "I", "II", "III"),
        category("therapy", "no", "yes"),
        category("event", "no", "yes") | {"role": "event", "occurred": "yes"},
        number("months", "0", "95", role="time", event="event")
        | {"unit": "months", "grid": [0, 7, 13, 19, 25, 31, 37, 43, 49, 55, 61, 73, 95]},
    ],
    "policy": {
        "epsilon": "4",
        "epsilon_per_query": "4",
        "minimum_cohort": 11,
        "modes": ["dp", "exact"],
        "statistics": ["*"],
        "expires": "2040-01-01",
    },
    "capacity": 1024,
    "facts": {"n": 686},
}


def rows() -> dict[str, Any]:
    """The trial's codes."""
    from lifelines.datasets import load_gbsg2

    frame = load_gbsg2()
    columns = {
        "age": frame["age"] - 18,
        "size": frame["tsize"],
        "nodes": frame["pnodes"],
        "menopause": frame["menostat"] == "Post",
        "grade": frame["tgrade"].map({"I": 0, "II": 1, "III": 2}),
        "therapy": frame["horTh"] == "yes",
        "event": frame["cens"],
        "months": np.ceil(frame["time"] / MONTH),  # so that month 12 ends twelve months after the start
    }
    present = np.ones(len(frame), dtype=bool)
    return {name: (np.asarray(values).astype(np.int64), present) for name, values in columns.items()}


def dataset(minimum_cohort: int = 11) -> DatasetFacts:
    """The trial, as the portal knows it."""
    schema = parse_codebook(CODEBOOK)
    return DatasetFacts(
        id="ab" * 16,
        version=1,
        manifest_hash="cd" * 32,
        capacity=1024,
        schema=schema,
        policy=dict(schema.policy) | {"minimum_cohort": minimum_cohort},
    )


def answers(seed: int) -> list[list[Mapping[str, Any]]]:
    """Statements of `dp` mode and of `exact` mode."""
    noisy, fact, table = dataset(), dataset(minimum_cohort=1), rows()
    plan = compile(PROGRAM, [noisy], 4 * 10**6, "dp")
    rng, integers = np.random.default_rng(seed), []
    for release, clear in zip(plan.releases, evaluate(plan, [noisy], [table]), strict=True):
        assert release.scale is not None, "a plan in dp mode has noise"
        p = -np.expm1(-1 / float(release.scale))
        noise = rng.geometric(p, len(clear)) - rng.geometric(p, len(clear))
        integers.append([x + int(z) for x, z in zip(clear, noise, strict=True)])
    exact = compile(PROGRAM, [fact], 4 * 10**6, "exact")
    return [
        list(figures(plan, [noisy], integers)),
        list(figures(exact, [fact], evaluate(exact, [fact], [table]))),
    ]


def told(row: Mapping[str, Any]) -> str:
    """A row of a baseline table as its format says it; a mean whose standard deviation is withheld stands alone."""
    shown = {key: "-" if x is None else f"{x:.4g}" if isinstance(x, float) else x for key, x in row.items()}
    nothing = row["value"] is None and row["n"] is None
    return "withheld" if nothing else str(row["format"]).format(**shown)


def between(group: Mapping[str, Any], places: int = 2) -> str:
    """A figure with its interval."""
    value, low, high = (group[key] for key in ("value", "low", "high"))
    if value is None or low is None:
        return "withheld"
    return f"{value:.{places}f} ({low:.{places}f} to {high:.{places}f})"


def lines() -> Iterator[str]:
    noised, true = answers(seed=4)
    yield from _baseline(noised[0], true[0])
    yield ""
    yield from _curves(noised[1])
    yield ""
    yield from _compared(noised)


def _baseline(noised: Mapping[str, Any], true: Mapping[str, Any]) -> Iterator[str]:
    names = [group["by"]["therapy"] for group in noised["groups"]]
    heads = [f"{what}, therapy {name}" for name in names for what in ("released", "truth")]
    yield "| at the start | " + " | ".join(heads) + " |"
    yield "|---" * (1 + len(heads)) + "|"
    pairs = [
        list(zip(a["characteristics"], b["characteristics"], strict=True))
        for a, b in zip(noised["groups"], true["groups"], strict=True)
    ]
    sizes = [str(group["n"]) for pair in zip(noised["groups"], true["groups"], strict=True) for group in pair]
    yield "| patients | " + " | ".join(sizes) + " |"
    for rows_of_arms in zip(*pairs, strict=True):
        row = rows_of_arms[0][0]
        if row["figure"] in ("n", "missing"):
            continue
        name = " ".join(str(row[key]) for key in ("characteristic", "level") if row[key])
        cells = [told(one) for pair in rows_of_arms for one in pair]
        yield f"| {name}: {row['figure']} | " + " | ".join(cells) + " |"


def _curves(noised: Mapping[str, Any]) -> Iterator[str]:
    """Kaplan and Meier's estimate of the rows' days is the truth: no grid, no months."""
    from lifelines import KaplanMeierFitter
    from lifelines.datasets import load_gbsg2

    frame = load_gbsg2()
    yield "| free of recurrence | therapy no: released | truth | therapy yes: released | truth |"
    yield "|---|---|---|---|---|"
    fits = []
    for arm in ("no", "yes"):
        own = frame[frame["horTh"] == arm]
        fits.append(KaplanMeierFitter().fit(own["time"], own["cens"]))
    for k, month in enumerate(TIMES):
        cells = []
        for group, fit in zip(noised["groups"], fits, strict=True):
            at = group["at"][k]
            cells += [between(at | {"value": at["survival"]}), f"{float(fit.predict(month * MONTH)):.2f}"]
        yield f"| {month} months | " + " | ".join(cells) + " |"
    cells = []
    for group, fit in zip(noised["groups"], fits, strict=True):
        ends = [group[key] for key in ("median", "median_low", "median_high")]
        median = [f"{end:.0f}" if end is not None else "not reached" for end in ends]
        days = fit.median_survival_time_
        cells += [
            f"{median[0]} ({median[1]} to {median[2]})",
            f"{days / MONTH:.0f}" if np.isfinite(days) else "not reached",
        ]
    yield "| median, months | " + " | ".join(cells) + " |"


def _compared(noised: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    from lifelines import CoxPHFitter
    from lifelines.datasets import load_gbsg2
    from lifelines.statistics import logrank_test

    frame = load_gbsg2()
    frame["therapy"] = (frame["horTh"] == "yes").astype(int)
    yes, no = frame[frame["therapy"] == 1], frame[frame["therapy"] == 0]
    test = logrank_test(yes["time"], no["time"], yes["cens"], no["cens"])
    fit = CoxPHFitter().fit(
        frame[["time", "cens", "therapy"]], "time", "cens", fit_options={"precision": 1e-12}
    )
    low, high = np.exp(fit.confidence_intervals_.loc["therapy"])
    ratio = {"value": float(np.exp(fit.params_["therapy"])), "low": low, "high": high}
    yield "| therapy against none | released | truth |"
    yield "|---|---|---|"
    yield f"| hazard ratio | {between(noised[3]['groups'][0])} | {between(ratio)} |"
    yield f"| log-rank p | {noised[2]['groups'][0]['p']:.4f} | {test.p_value:.4f} |"
