"""Linear regression: statsmodels' least squares in exact mode, sampling and noise together in `dp` mode."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.datasets import anes96

from analytics.query.describe import describe
from analytics.query.errors import ProgramRejected
from analytics.query.plan import compile
from analytics.reference import evaluate
from analytics.render import answer
from analytics.statistics import figures
from analytics.statistics.question import questions
from tests.analytics.statistics import plans
from tests.analytics.statistics.asked import ask, coded, facts, schema_of, values
from tests.analytics.statistics.test_dp import skeleton

ALPHA = 1e-6
STUDY = schema_of(
    ("y", 0, 100, 0.1),
    ("age", 18, 90, 1),
    ("bmi", 10, 50, 0.1),
    ("arm", "placebo", "drug"),
    ("stage", "I", "II", "III"),
    ("site", "A", "B"),
)
TRUE = {"intercept": 45.0, "drug": 5.0, "II": -3.0, "III": -6.0, "age": 0.2}


def near(value):
    return pytest.approx(value, rel=1e-6, abs=1e-6)


def rows(rng, n, missing=0.0, age_effect=0.2):
    made = {
        "age": np.clip(rng.normal(60, 11, n), 20, 88).round(),
        "bmi": np.clip(rng.normal(26, 4, n), 11, 49),
        "arm": rng.integers(0, 2, n).astype(float),
        "stage": rng.choice(3, n, p=[0.4, 0.35, 0.25]).astype(float),
        "site": rng.integers(0, 2, n).astype(float),
    }
    made["y"] = 45 + 5 * made["arm"] - 3 * made["stage"] + age_effect * made["age"] + rng.normal(0, 12, n)
    return {name: np.where(rng.random(n) < missing, np.nan, column) for name, column in made.items()}


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("linear(y, arm)", "y ~ C(arm)"),
        ("regression(y, arm, stage)", "y ~ C(arm) + C(stage)"),
        ("ols(y, age)", "y ~ age"),
        ("lm(y, age, arm)", "y ~ age + C(arm)"),
        ("linear(y, arm, age, stage, bmi)", "y ~ C(arm) + age + C(stage) + bmi"),
        ("linear(y, age, bmi)", "y ~ age + bmi"),
    ],
)
@pytest.mark.parametrize("n", [60, 700])
def test_exact_mode_is_the_least_squares_of_statsmodels(text, formula, n):
    table = coded(STUDY, **rows(np.random.default_rng(n), n, missing=0.05))
    (group,) = ask(text, table, schema=STUDY)
    seen = smf.ols(formula, pd.DataFrame(values(STUDY, table))).fit()
    names = [c["term"] + (f"|{c['level']}" if c["level"] else "") for c in group["coefficients"]]
    order = {"intercept": "Intercept", "age": "age", "bmi": "bmi", "arm|drug": "C(arm)[T.1.0]"}
    order |= {"stage|II": "C(stage)[T.1.0]", "stage|III": "C(stage)[T.2.0]"}
    for name, told in zip(names, group["coefficients"], strict=True):
        key = order[name]
        assert told["value"] == near(seen.params[key])
        assert told["se"] == near(seen.bse[key])
        assert told["p"] == near(seen.pvalues[key])
        assert (told["low"], told["high"]) == near(tuple(seen.conf_int().loc[key]))
    assert group["r_squared"] == near(seen.rsquared)
    assert group["residual_sd"] == near(seen.scale**0.5)
    assert (group["df"], group["n"]) == (seen.df_resid, seen.nobs)
    assert group["value"] == group["coefficients"][1]["value"]


def test_an_election_survey_gives_the_coefficients_of_statsmodels():
    data = anes96.load_pandas().data
    schema = schema_of(("income", 1, 24, 1), ("vote", "Clinton", "Dole"), ("age", 18, 95, 1))
    table = coded(schema, income=data["income"], vote=data["vote"], age=data["age"])
    (group,) = ask("linear(income, vote, age)", table, schema=schema)
    seen = smf.ols("income ~ vote + age", data).fit()
    assert [c["value"] for c in group["coefficients"]] == near(seen.params.tolist())
    assert [c["se"] for c in group["coefficients"]] == near(seen.bse.tolist())


def test_of_one_category_it_is_the_pooled_t_test_and_shares_its_table():
    table = coded(STUDY, **rows(np.random.default_rng(3), 300))
    (fit,), (t,) = ask("linear(y, arm)", table, schema=STUDY), ask("difference(y, arm)", table, schema=STUDY)
    assert fit["p"] == near(t["comparisons"][0]["pooled"]["p"])
    plan = compile("linear(y, arm)\ndifference(y, arm)\nmean(y) by arm", facts(schema=STUDY), 10**6, "dp")
    assert len(plan.releases) == 1


def test_dp_mode_without_the_noise_has_the_same_coefficients():
    table = coded(STUDY, **rows(np.random.default_rng(3), 700))
    for text in ("linear(y, arm, stage)", "linear(y, age, arm)"):
        (dp,), (exact,) = (ask(text, table, mode=m, micro=5 * 10**6, schema=STUDY) for m in ("dp", "exact"))
        assert [c["value"] for c in dp["coefficients"]] == near([c["value"] for c in exact["coefficients"]])


def held(text, n, micro, times, seed, age_effect=0.0):
    """How often each coefficient's interval held the truth, of how many shown."""
    rng, about = np.random.default_rng(seed), facts(schema=STUDY)
    plan = compile(text, about, micro, "dp")
    counted, shown = {}, 0
    for _ in range(times):
        table = coded(STUDY, **rows(rng, n, age_effect=age_effect))
        integers = plans.noised(rng, plan, evaluate(plan, about, [table]))
        (group,) = figures(plan, about, integers)[0]["groups"]
        if group["value"] is None:
            continue
        shown += 1
        for told in group["coefficients"]:
            name = told["level"] or told["term"]
            counted[name] = counted.get(name, 0) + (told["low"] <= TRUE[name] <= told["high"])
    return counted, shown


def test_intervals_hold_the_coefficients():
    counted, shown = held("linear(y, arm, stage)", 367, 10**6, 80, seed=1)
    assert shown == 80
    assert min(counted.values()) >= stats.binom.ppf(ALPHA, shown, 0.9)


@pytest.mark.nightly
@pytest.mark.parametrize("micro", [500_000, 10**6, 2 * 10**6])
@pytest.mark.parametrize("n", [200, 367, 773])
@pytest.mark.parametrize(
    ("text", "age"), [("linear(y, arm, stage)", 0.0), ("linear(y, age, arm, stage)", 0.2)]
)
def test_coverage_in_a_thousand_runs(text, age, n, micro):
    counted, shown = held(text, n, micro, 1000, seed=n + micro, age_effect=age)
    assert shown > 100
    assert min(counted.values()) >= stats.binom.ppf(ALPHA, shown, 0.9)


def parted(text, table, mode="exact", schema=STUDY, minimum=1):
    """The answer to a statement whose groups are made the strata, as pooled data sets are."""
    about = facts(minimum, schema)
    plan = compile(text, about, 10**6, mode)
    (question,) = questions(plan, about)
    question = replace(question, groups=(), strata=question.groups)
    (group,) = question.statistic.groups(question, evaluate(plan, about, [table]))
    return group


@pytest.mark.parametrize("mode", ["exact", "dp"])
def test_strata_have_intercepts_of_their_own(mode):
    table = coded(STUDY, **rows(np.random.default_rng(5), 600))
    (whole,) = ask("linear(y, arm, age, site)", table, schema=STUDY)
    for one, other in zip(
        whole["coefficients"],
        parted("linear(y, arm, age) by site", table, mode)["coefficients"],
        strict=False,
    ):
        assert other["value"] == near(one["value"])
        if mode == "exact":
            assert other["se"] == near(one["se"])


def test_a_stratum_without_patients_is_left_out_and_in_dp_mode_one_below_the_minimum_cohort():
    made = rows(np.random.default_rng(5), 600)
    made["site"] = np.zeros(600)
    table = coded(STUDY, **made)
    (alone,) = ask("linear(y, arm, stage)", table, schema=STUDY)
    told = parted("linear(y, arm, stage) by site", table)
    assert [c["value"] for c in told["coefficients"]] == near([c["value"] for c in alone["coefficients"]])
    made["site"][:8] = 1
    made["y"][:8] = 100
    rest = coded(STUDY, **{name: column[8:] for name, column in made.items()})
    (alone,) = ask("linear(y, arm, stage)", rest, schema=STUDY)
    told = parted("linear(y, arm, stage) by site", coded(STUDY, **made), "dp", minimum=11)
    assert [c["value"] for c in told["coefficients"]] == near([c["value"] for c in alone["coefficients"]])


@pytest.mark.parametrize(
    "text", ["linear(y, arm, stage)", "linear(y, age, arm) by site", "linear(y, age, bmi)"]
)
@pytest.mark.parametrize("mode", ["dp", "exact"])
def test_whatever_integers_come_the_keys_are_the_same(text, mode):
    about = facts(11, STUDY)
    plan = compile(text, about, 10**6, mode)
    rng = np.random.default_rng(3)
    shapes = set()
    for low, high in (
        (0, 1),
        (-(2**40), 2**40),
        (-(2**62), 2**62),
        (0, 2**28),
        (0, 3),
        (40, 41),
        (2**24, 2**25),
    ):
        integers = []
        for release in plan.releases:
            width = release.values_per_cell(mode)
            integers.append(rng.integers(low, high, release.cells * width).tolist())
            if mode == "exact":
                integers[-1][::width] = [1] * release.cells
        (statement,) = figures(plan, about, integers)
        shapes.add(json.dumps(skeleton(statement), allow_nan=False))
        json.dumps(statement, allow_nan=False)
        for group in statement["groups"]:
            assert group["value"] is not None or group["reason"]
    assert len(shapes) == 1


def test_a_design_that_says_nothing_has_a_reason():
    made = rows(np.random.default_rng(3), 300)
    made["site"] = made["arm"]
    (group,) = ask("linear(y, arm, site)", coded(STUDY, **made), schema=STUDY)
    assert group["value"] is None
    assert "told apart" in group["reason"]
    made["site"] = np.zeros(300)
    (group,) = ask("linear(y, arm, site)", coded(STUDY, **made), schema=STUDY)
    assert group["reason"] == "no patient at the level B of site: leave it out with where, or join levels"
    (group,) = ask("linear(y, arm, stage)", coded(STUDY, **rows(np.random.default_rng(3), 4)), schema=STUDY)
    assert group["value"] is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("linear(arm, y)", "wrong_type"),
        ("linear(y, arm, arm)", "duplicate"),
        ("linear(y, y)", "duplicate"),
        ("linear(y)", "wrong_arguments"),
        ("linear(y, arm) by arm", "duplicate"),
    ],
)
def test_columns_it_is_not_for_are_refused(text, code):
    with pytest.raises(ProgramRejected) as refused:
        compile(text, facts(schema=STUDY), 10**6, "dp")
    assert refused.value.code == code


def test_a_model_of_more_than_thirty_two_coefficients_is_refused():
    schema = schema_of(
        ("y", 0, 100, 0.1), ("a", *map(str, range(20))), ("b", *map(str, range(13))), ("c", "0", "1")
    )
    compile("linear(y, a, b)", facts(schema=schema), 10**6, "exact")
    with pytest.raises(ProgramRejected) as refused:
        compile("linear(y, a, b, c)", facts(schema=schema), 10**6, "exact")
    assert refused.value.code == "too_many_terms"


def test_it_is_previewed_computed_and_printed():
    about = facts(11, STUDY)
    plan = compile("linear(y, arm, stage)", about, 10**6, "dp")
    assert describe(plan, about)["statements"][0]["words"].startswith("linear regression")
    table = coded(STUDY, **rows(np.random.default_rng(1), 800))
    integers = plans.noised(np.random.default_rng(1), plan, evaluate(plan, about, [table]))
    printed = answer({"mode": "dp", "statements": figures(plan, about, integers)})
    assert "drug" in printed and "III" in printed
