"""What a preview expects of survival figures is what the noise then does to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analytics.query.plan import compile, describe
from analytics.statistics import followed
from benchmarks.validity import runs
from benchmarks.validity.scenario import facts, first_group, scenarios

SCENARIOS = scenarios()
NAMES = (
    "survival at 12 months",
    "survival at 36 months",
    "restricted mean up to 24 months",
    "cumulative hazard at 24 months",
    "hazard ratio of 1",
)
PROGRAMS = (
    "survival(months, 12)",
    "cumulative_incidence(months, 12)",
    "median_survival(months)",
    "rmst(months, 24)",
    "cumulative_hazard(months, 24)",
    "logrank(months, arm)",
    "logrank(months, arm, stage)",
    "cox(months, arm)",
    "cox(months, arm, sex)",
)


def precise(program: str, n: int = 367, micro: int = 10**6, **assumed: float) -> dict[str, object]:
    about = facts(SCENARIOS["survival at 12 months"], n)
    plan = compile(program, [about], micro, "dp")
    told = describe(plan, [about], assumptions={"all": {"n": n, "event_rate": 0.64, **assumed}})
    precision: dict[str, object] = told["statements"][0]["precision"]
    return precision


@pytest.mark.parametrize("name", NAMES)
def test_the_noise_that_a_preview_expects_is_the_noise_that_comes(name: str) -> None:
    line = runs.judge(SCENARIOS[name], 200, 1.0, runs.run(SCENARIOS[name], 200, 1.0, 600))
    assert line.preview == pytest.approx(1, abs=0.15)  # three deviations of a quantile of 600 errors


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_preview_tells_widths_and_the_cheapest_epsilon(program: str) -> None:
    told = precise(program)
    half = told["half_width"]
    assert isinstance(half, dict) and half["noise"] > 0 and half["sampling"] > 0
    assert told["useful"] is True
    cheapest = precise(program, width=1.2 * half["total"])["cheapest"]
    assert isinstance(cheapest, dict) and 0 < float(cheapest["epsilon"]) < 1


@pytest.mark.parametrize("name", [*NAMES, "median survival"])
def test_sampling_is_what_the_textbooks_interval_has(name: str) -> None:
    scenario = SCENARIOS[name]
    half = precise(scenario.program)["half_width"]
    one = runs.run(scenario, 367, 1.0, 60)
    low, high = (np.log(one.exact[:, 1:3]) if scenario.log else one.exact[:, 1:3]).T
    assert isinstance(half, dict)
    assert half["sampling"] == pytest.approx(
        np.nanmedian(high - low) / 2, rel=0.25 if name == "median survival" else 0.12
    )  # whole months


def test_the_power_of_a_log_rank_test_is_how_often_it_finds_the_ratio() -> None:
    name = replace(SCENARIOS["hazard ratio of 0.6"], program="logrank(months, arm)", read=first_group)
    found = float((runs.run(name, 200, 1.0, 400).dp[:, 3] <= 0.05).mean())
    told = precise("logrank(months, arm)", n=200, effect=0.6, event_rate=0.56)["power"]
    assert isinstance(told, dict)
    assert told["power"] == pytest.approx(found, abs=0.08)
    half = precise("logrank(months, arm)", n=200, micro=100_000, effect=0.6)["power"]
    assert half is None or (isinstance(half, dict) and half["power"] < told["power"])


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_a_planned_table_has_the_supposed_events(rate: float) -> None:
    parts = followed.parts((0, 8, 16, 64), 64, rate)
    assert parts.sum(0) == pytest.approx([rate, 1 - rate], abs=2e-3)
    rng = np.random.default_rng(1)
    death = rng.exponential(64 / followed._hazard(rate), 200_000)
    end = rng.uniform(64 / 3, 64, 200_000)
    seen, died = np.minimum(death, end), death <= end
    counts = [
        [((seen >= a) & (seen < b) & (died == x)).mean() for x in (True, False)]
        for a, b in ((0, 8), (8, 16), (16, 64))
    ]
    assert parts == pytest.approx(np.array(counts), abs=6e-3)


def test_of_too_few_patients_no_late_time_is_told_and_it_is_said_why() -> None:
    line = runs.judge(
        SCENARIOS["survival at 36 months"],
        60,
        0.5,
        runs.run(SCENARIOS["survival at 36 months"], 60, 0.5, 200),
    )
    assert line.refused
