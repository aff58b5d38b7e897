"""Logistic regression: statsmodels' maximum likelihood in exact mode, sampling and noise together in `dp` mode."""

import json

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
from tests.analytics.statistics import plans
from tests.analytics.statistics.asked import ask, coded, facts, schema_of, values
from tests.analytics.statistics.test_dp import skeleton
from tests.analytics.statistics.test_linear import parted

ALPHA = 1e-6
STUDY = schema_of(
    ("dead", "no", "yes"),
    ("arm", "placebo", "drug"),
    ("stage", "I", "II", "III"),
    ("site", "A", "B"),
    ("age", 18, 90, 1),
)
TRUE = {"intercept": -0.5, "drug": 0.6, "II": -0.4, "III": 0.8}


def near(value):
    return pytest.approx(value, rel=1e-6, abs=1e-6)


def rows(rng, n, missing=0.0):
    made = {
        "arm": rng.integers(0, 2, n).astype(float),
        "stage": rng.choice(3, n, p=[0.4, 0.35, 0.25]).astype(float),
        "site": rng.integers(0, 2, n).astype(float),
        "age": rng.integers(18, 90, n).astype(float),
    }
    eta = -0.5 + 0.6 * made["arm"] + np.array([0, -0.4, 0.8])[made["stage"].astype(int)]
    made["dead"] = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float)
    return {name: np.where(rng.random(n) < missing, np.nan, column) for name, column in made.items()}


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("logistic(dead, arm)", "dead ~ C(arm)"),
        ("logit(dead, stage, arm)", "dead ~ C(stage) + C(arm)"),
        ("logistic_regression(dead, arm, stage, site)", "dead ~ C(arm) + C(stage) + C(site)"),
    ],
)
@pytest.mark.parametrize("n", [100, 900])
def test_exact_mode_is_the_maximum_likelihood_of_statsmodels(text, formula, n):
    table = coded(STUDY, **rows(np.random.default_rng(n), n, missing=0.05))
    (group,) = ask(text, table, schema=STUDY)
    seen = smf.logit(formula, pd.DataFrame(values(STUDY, table))).fit(disp=0, tol=1e-12)
    told = group["coefficients"]
    assert [c["value"] for c in told] == near(seen.params.tolist())
    assert [c["se"] for c in told] == near(seen.bse.tolist())
    assert [c["p"] for c in told] == near(seen.pvalues.tolist())
    assert [[c["low"], c["high"]] for c in told] == [near(row) for row in seen.conf_int().to_numpy().tolist()]
    assert [c["odds_ratio"]["value"] for c in told] == near(np.exp(seen.params).tolist())
    assert (group["event"], group["n"]) == ("yes", seen.nobs)
    assert group["value"] == told[1]["value"]


def test_an_election_survey_gives_the_coefficients_of_statsmodels():
    data = anes96.load_pandas().data
    schema = schema_of(
        ("vote", "Clinton", "Dole"),
        ("party", *(f"party {k}" for k in range(7))),
    )
    table = coded(schema, vote=data["vote"], party=data["PID"])
    (group,) = ask("logistic(vote, party)", table, schema=schema)
    seen = smf.logit("vote ~ C(PID)", data).fit(disp=0, tol=1e-12, maxiter=100)
    assert [c["value"] for c in group["coefficients"]] == near(seen.params.tolist())
    assert [c["se"] for c in group["coefficients"]] == near(seen.bse.tolist())


def test_of_one_category_of_two_levels_it_is_the_odds_ratio_of_the_table():
    table = coded(STUDY, **rows(np.random.default_rng(3), 300))
    (group,) = ask("logistic(dead, arm)", table, schema=STUDY)
    dead, arm = table["dead"][0], table["arm"][0]
    a, b, c, d = (int(((arm == i) & (dead == j)).sum()) for i in (1, 0) for j in (1, 0))
    assert group["coefficients"][1]["odds_ratio"]["value"] == near(a * d / (b * c))
    assert group["coefficients"][1]["se"] == near((1 / a + 1 / b + 1 / c + 1 / d) ** 0.5)


def test_the_event_is_what_the_codebook_says_yes_to():
    schema = schema_of(("dead", "yes", "no"), ("arm", "placebo", "drug"))
    made = rows(np.random.default_rng(3), 300)
    turned = coded(schema, dead=1 - made["dead"], arm=made["arm"])
    (group,) = ask("logistic(dead, arm)", turned, schema=schema)
    (other,) = ask("logistic(dead, arm)", coded(STUDY, **made), schema=STUDY)
    assert group["value"] == near(other["value"])
    assert group["event"] == "yes"


def held(text, n, micro, times, seed):
    rng, about = np.random.default_rng(seed), facts(schema=STUDY)
    plan = compile(text, about, micro, "dp")
    counted, shown = {}, 0
    for _ in range(times):
        integers = plans.noised(rng, plan, evaluate(plan, about, [coded(STUDY, **rows(rng, n))]))
        (group,) = figures(plan, about, integers)[0]["groups"]
        if group["value"] is None:
            continue
        shown += 1
        for told in group["coefficients"]:
            name = told["level"] or told["term"]
            if name in TRUE:
                counted[name] = counted.get(name, 0) + (told["low"] <= TRUE[name] <= told["high"])
    return counted, shown


def test_intervals_hold_the_coefficients():
    counted, shown = held("logistic(dead, arm, stage)", 367, 10**6, 60, seed=1)
    assert shown == 60
    assert min(counted.values()) >= stats.binom.ppf(ALPHA, shown, 0.9)


@pytest.mark.nightly
@pytest.mark.parametrize("micro", [500_000, 10**6, 2 * 10**6])
@pytest.mark.parametrize("n", [200, 367, 773])
@pytest.mark.parametrize("text", ["logistic(dead, arm, stage)", "logistic(dead, arm, stage, site)"])
def test_coverage_in_a_thousand_runs(text, n, micro):
    counted, shown = held(text, n, micro, 1000, seed=n + micro)
    assert shown > 500
    assert min(counted.values()) >= stats.binom.ppf(ALPHA, shown, 0.9)


@pytest.mark.parametrize("mode", ["exact", "dp"])
def test_strata_have_intercepts_of_their_own(mode):
    table = coded(STUDY, **rows(np.random.default_rng(5), 900))
    (whole,) = ask("logistic(dead, arm, stage, site)", table, schema=STUDY)
    told = parted("logistic(dead, arm, stage) by site", table, mode, schema=STUDY)
    for one, other in zip(whole["coefficients"], told["coefficients"], strict=False):
        assert other["value"] == near(one["value"])
        if mode == "exact":
            assert other["se"] == near(one["se"])


def test_an_odds_ratio_without_an_end_has_a_reason():
    made = rows(np.random.default_rng(3), 300)
    made["dead"] = np.where(made["arm"] == 1, 1.0, made["dead"])
    (group,) = ask("logistic(dead, arm)", coded(STUDY, **made), schema=STUDY)
    assert group["value"] is None
    assert "no finite odds ratio" in group["reason"]
    made = rows(np.random.default_rng(3), 300)
    made["site"] = made["arm"]
    (group,) = ask("logistic(dead, arm, site)", coded(STUDY, **made), schema=STUDY)
    assert "told apart" in group["reason"]
    made["dead"] = np.ones(300)
    (group,) = ask("logistic(dead, arm)", coded(STUDY, **made), schema=STUDY)
    assert "all patients of the cohort have the event" in group["reason"]


@pytest.mark.parametrize("text", ["logistic(dead, arm, stage)", "logistic(dead, arm) by site"])
@pytest.mark.parametrize("mode", ["dp", "exact"])
def test_whatever_integers_come_the_keys_are_the_same(text, mode):
    about = facts(11, STUDY)
    plan = compile(text, about, 10**6, mode)
    width = plan.releases[0].values_per_cell(mode)
    rng = np.random.default_rng(3)
    shapes = set()
    for low, high in ((0, 1), (-(2**40), 2**40), (-(2**62), 2**62), (0, 1000), (0, 3), (40, 41), (-40, 100)):
        integers = rng.integers(low, high, plan.releases[0].cells * width).tolist()
        if mode == "exact":
            integers[::width] = [1] * plan.releases[0].cells
        (statement,) = figures(plan, about, [integers])
        shapes.add(json.dumps(skeleton(statement), allow_nan=False))
        json.dumps(statement, allow_nan=False)
        for group in statement["groups"]:
            assert group["value"] is not None or group["reason"]
    assert len(shapes) == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("logistic(age, arm)", "wrong_type"),
        ("logistic(dead, age)", "wrong_type"),
        ("logistic(stage, arm)", "wrong_type"),
        ("logistic(dead, arm, dead)", "duplicate"),
        ("logistic(dead)", "wrong_arguments"),
    ],
)
def test_columns_it_is_not_for_are_refused(text, code):
    with pytest.raises(ProgramRejected) as refused:
        compile(text, facts(schema=STUDY), 10**6, "dp")
    assert refused.value.code == code


def test_it_is_previewed_computed_and_printed():
    about = facts(11, STUDY)
    plan = compile("logistic(dead, arm, stage)", about, 10**6, "dp")
    assert describe(plan, about)["statements"][0]["words"].startswith("logistic regression")
    assert plan.releases[0].sensitivity == 1
    table = coded(STUDY, **rows(np.random.default_rng(1), 800))
    integers = plans.noised(np.random.default_rng(1), plan, evaluate(plan, about, [table]))
    printed = answer({"mode": "dp", "statements": figures(plan, about, integers)})
    assert "drug" in printed and "III" in printed
