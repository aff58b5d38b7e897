"""What a preview expects of comparisons, regressions, quantiles and tables is what their figures then do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analytics.query.plan import compile, describe
from benchmarks.validity import runs
from benchmarks.validity.scenario import Scenario, facts, scenarios
from benchmarks.validity.scenarios import contingency, effects, regression
from tests.analytics.query.studies import a_codebook, some_facts

SCENARIOS = scenarios()
NAMES = (
    "difference of means, none",
    "risk difference, none",
    "risk ratio, none",
    "odds ratio, none",
    "covariance, r = 0",
    "median",
    "upper quartile",
    "a cell of twelve",
    "linear, no effect",
    "logistic, no effect",
)
STUDY = some_facts(
    a_codebook(
        facts={
            "n": 746,
            "registered": {
                "smoker": {"yes": 376, "no": 370},
                "relapse": {"no": 500, "yes": 200, "unknown": 46},
            },
            "planned": {"bmi": {"sd": 4.5}, "death_flag": {"dead": "0.3"}},
        }
    )
)
PROGRAMS = (
    "difference(bmi, smoker)",
    "difference(bmi, smoker, relapse)",
    "risk_difference(death_flag, smoker, dead)",
    "risk_ratio(death_flag, smoker, dead)",
    "odds_ratio(death_flag, smoker, relapse, dead)",
    "mantel_haenszel(death_flag, smoker, relapse, dead)",
    "covariance(bmi, time_since_diagnosis)",
    "correlations(bmi, time_since_diagnosis)",
    "quantile(bmi, 0.9)",
    "median(bmi)",
    "quartiles(bmi)",
    "boxplot(bmi)",
    "histogram(bmi)",
    "crosstab(smoker, relapse)",
    "correlate(smoker, relapse)",
    "table_one(bmi, relapse) by smoker",
    "linear(bmi, smoker, relapse)",
    "linear(bmi, smoker, time_since_diagnosis)",
    "linear(bmi, time_since_diagnosis, smoker)",
    "logistic(death_flag, smoker, relapse)",
    "se(bmi)",
)


def precise(program: str, assumed: dict[str, float] | None = None, micro: int = 10**6) -> dict[str, object]:
    plan = compile(program, [STUDY], micro, "dp")
    told = describe(plan, [STUDY], assumptions={"all": assumed} if assumed else None)
    precision: dict[str, object] = told["statements"][0]["precision"]
    return precision


@pytest.mark.parametrize("name", NAMES)
def test_the_noise_that_a_preview_expects_is_the_noise_that_comes(name: str) -> None:
    scenario = replace(SCENARIOS[name], preview=True)
    line = runs.judge(scenario, 200, 1.0, runs.run(scenario, 200, 1.0, 600))
    assert line.preview == pytest.approx(1, abs=0.15)  # three deviations of a quantile of 600 errors


@pytest.mark.nightly
@pytest.mark.parametrize("n", [200, 773])
@pytest.mark.parametrize("name", [name for name in NAMES if SCENARIOS[name].preview])
def test_within_five_percent_in_ten_thousand_runs(name: str, n: int) -> None:
    line = runs.judge(SCENARIOS[name], n, 1.0, runs.run(SCENARIOS[name], n, 1.0, 10_000))
    assert line.preview == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", ["difference of means in strata", "Mantel-Haenszel, odds ratio 1"])
def test_strata_are_in_the_expected_noise(name: str) -> None:
    scenario = replace(SCENARIOS[name], preview=True, supposed={"sd": 12.0, "event_rate": 0.35})
    line = runs.judge(scenario, 367, 1.0, runs.run(scenario, 367, 1.0, 400))
    assert line.preview == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_preview_tells_widths_whether_they_are_useful_and_the_cheapest_epsilon(program: str) -> None:
    told = precise(program, {"sd": 4.5, "event_rate": 0.3})
    half = told["half_width"]
    assert isinstance(half, dict) and half["noise"] > 0 and half["sampling"] > 0 and half["total"] > 0
    assert told["useful"] is not None
    wanted = 1.2 * half["total"]
    cheapest = precise(program, {"sd": 4.5, "event_rate": 0.3, "width": wanted})["cheapest"]
    assert isinstance(cheapest, dict) and float(cheapest["epsilon"]) < 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_more_epsilon_means_less_noise_and_the_same_sampling(program: str) -> None:
    little, much = (
        precise(program, {"sd": 4.5, "event_rate": 0.3}, micro)["half_width"]
        for micro in (500_000, 4_000_000)
    )
    assert isinstance(little, dict) and isinstance(much, dict)
    assert much["noise"] < little["noise"] and much["sampling"] == little["sampling"]


def test_a_comparison_that_the_noise_outweighs_is_called_not_useful() -> None:
    told = precise("difference(bmi, smoker)", {"sd": 0.3}, 200_000)
    assert told["useful"] is False and "more epsilon" in str(told["reason"])


def test_every_line_of_a_baseline_table_has_its_widths_and_one_that_is_not_useful_says_so() -> None:
    told = precise("table_one(bmi, relapse) by smoker")
    assert isinstance(told["lines"], list)
    assert [line["figure"] for line in told["lines"]] == [
        "n",
        "mean of bmi",
        "median of bmi",
        "percentage of relapse",
    ]
    assert all(line["half_width"]["total"] > 0 for line in told["lines"])
    poor = precise("table_one(bmi, relapse) by smoker", {"sd": 0.2})
    assert poor["useful"] is False and str(poor["reason"]).startswith("mean of bmi: a half-width of")


def found(scenario: Scenario, n: int, epsilon: float = 1.0, number: int = 400) -> float:
    """The part of runs that found something at 5 %."""
    p = runs.run(scenario, n, epsilon, number).dp[:, 3]
    return float((p <= 0.05).mean())


def power(scenario: Scenario, n: int, effect: float, epsilon: float = 1.0, **assumed: float) -> float:
    fact = facts(scenario, n)
    plan = compile(scenario.program, [fact], round(epsilon * 10**6), "dp")
    told = describe(plan, [fact], assumptions={"all": {"n": n, "effect": effect, **assumed}})
    return float(told["statements"][0]["precision"]["power"]["power"])


def test_the_power_of_a_difference_is_how_often_it_is_found() -> None:
    scenario = SCENARIOS["difference of means, 0.4 standard deviations"]
    assert power(scenario, 200, 0.4 * 12.8, sd=12.8) == pytest.approx(found(scenario, 200), abs=0.08)


def test_the_power_of_an_analysis_of_variance_is_how_often_it_finds_two_levels_apart() -> None:
    def population(rng: np.random.Generator, size: int) -> dict[str, np.ndarray]:
        stage = np.arange(size) % 3
        value = 511.5 + np.array([-60, 60, 0])[stage] + 170 * rng.standard_normal(size)
        return {"stage": stage, "value": np.clip(np.rint(value), 0, 1023).astype(np.int64)}

    scenario = Scenario(name="anova, two apart", program="anova(value, stage)", population=population)
    assert power(scenario, 200, 12.0, sd=17.0) == pytest.approx(found(scenario, 200), abs=0.08)


def test_the_power_of_a_table_is_how_often_its_test_finds_an_association() -> None:
    scenario = Scenario(
        name="2 x 2, V = 0.2",
        program="correlate(arm, response)",
        population=contingency.crossed("arm", "response", [[0.6, 0.4], [0.4, 0.6]]),
    )
    assert power(scenario, 200, 0.2) == pytest.approx(found(scenario, 200), abs=0.08)


def test_the_power_of_an_odds_ratio_takes_the_ratio_and_its_logarithm() -> None:
    scenario = replace(
        SCENARIOS["odds ratio, 0.4 against 0.25"], name="0.42 and 0.28", population=effects.risks(0.42, 0.28)
    )
    ratio = (0.28 / 0.72) / (0.42 / 0.58)
    assert power(scenario, 200, ratio, event_rate=0.35) == pytest.approx(found(scenario, 200), abs=0.08)
    assert power(scenario, 200, 1 / ratio, event_rate=0.35) == power(scenario, 200, ratio, event_rate=0.35)


def test_the_power_of_a_coefficient_is_how_often_it_is_found() -> None:
    scenario = Scenario(
        name="linear, power", program="linear(value, arm, stage)", population=regression.explained
    )
    assert power(scenario, 200, 6.0, sd=12.5) == pytest.approx(found(scenario, 200), abs=0.08)
