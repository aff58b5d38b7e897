"""Differences of means: Welch in exact mode, sampling and noise together in `dp` mode, strata by inverse variance."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.datasets import anes96, randhie

from analytics.query.describe import describe
from analytics.query.errors import ProgramRejected
from analytics.query.plan import compile
from analytics.reference import evaluate
from analytics.render import answer
from analytics.statistics import figures
from tests.analytics.statistics import plans
from tests.analytics.statistics.asked import SCHEMA, ask, coded, facts, schema_of, values
from tests.analytics.statistics.test_dp import skeleton
from tests.providers.gist import FOLDER, IDENT

ALPHA = 1e-6
SD = 14.0


def near(value):
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def parts(table, by="arm", size=2):
    said = values(SCHEMA, table)
    return [said["x"][(said[by] == k) & ~np.isnan(said["x"])] for k in range(size)]


@pytest.fixture(params=[1, 2, 3])
def table(request):
    return plans.table(np.random.default_rng(request.param), 40 * request.param**3)


@pytest.mark.parametrize("name", ["difference", "ttest", "welch", "difference of means", "mean_difference"])
def test_it_is_asked_under_its_usual_names(name, table):
    assert ask(f"{name.replace(' ', '_')}(x, arm)", table)[0]["value"] is not None


def test_exact_mode_is_welchs_test_and_students_beside_it(table):
    (group,) = ask("difference(x, arm)", table)
    placebo, imatinib = parts(table)
    for told, equal in ((group, False), (group["comparisons"][0]["pooled"], True)):
        seen = stats.ttest_ind(imatinib, placebo, equal_var=equal)
        assert (told["t"], told["df"], told["p"]) == near((seen.statistic, seen.df, seen.pvalue))
        assert (told["low"], told["high"]) == near(tuple(seen.confidence_interval(0.95)))
    assert group["value"] == near(imatinib.mean() - placebo.mean())
    assert group["n"] == len(placebo) + len(imatinib)
    assert group["comparisons"][0]["level"] == "imatinib"
    assert group["comparisons"][0]["against"] == "placebo"


def test_more_levels_are_each_compared_with_the_first(table):
    (group,) = ask("difference(x, region)", table)
    first, *others = parts(table, "region", 4)
    assert [c["level"] for c in group["comparisons"]] == ["North West", "South East", "South West"]
    for comparison, other in zip(group["comparisons"], others, strict=True):
        assert comparison["p"] == near(stats.ttest_ind(other, first, equal_var=False).pvalue)
    assert group["value"] == group["comparisons"][0]["value"]


def test_strata_are_combined_by_inverse_variance():
    table = plans.table(np.random.default_rng(9), 600)
    (group,) = ask("difference(x, arm, region)", table)
    said = values(SCHEMA, table)
    seen = []
    for region in range(4):
        a, b = (
            said["x"][(said["arm"] == k) & (said["region"] == region) & ~np.isnan(said["x"])] for k in (0, 1)
        )
        seen.append((b.mean() - a.mean(), a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)))
    d, v = np.array(seen).T
    combined, error = np.average(d, weights=1 / v), np.sqrt(1 / (1 / v).sum())
    assert group["value"] == near(combined)
    assert (group["low"], group["high"]) == near(
        (combined - stats.norm.ppf(0.975) * error, combined + stats.norm.ppf(0.975) * error)
    )
    assert group["p"] == near(2 * stats.norm.sf(abs(combined / error)))
    strata = group["comparisons"][0]["strata"]
    assert strata[0]["by"] == {"region": "North East"}
    assert [s["value"] for s in strata] == near(d.tolist())
    assert [s["weight"] for s in strata] == near((1 / v / (1 / v).sum()).tolist())


def test_a_stratum_without_one_of_the_arms_is_left_out():
    table = plans.table(np.random.default_rng(9), 600, missing=0)
    table["arm"] = (np.where(table["region"][0] == 0, 0, table["arm"][0]), table["arm"][1])
    (group,) = ask("difference(x, arm, region)", table)
    strata = group["comparisons"][0]["strata"]
    assert (strata[0]["value"], strata[0]["weight"]) == (None, None)
    assert "two patients" in strata[0]["reason"]
    assert group["n"] == (table["region"][0] != 0).sum()


def test_an_election_survey_gives_the_t_test_of_scipy():
    data = anes96.load_pandas().data
    schema = schema_of(("age", 18, 95, 1), ("vote", "Clinton", "Dole"))
    table = coded(schema, age=data["age"], vote=data["vote"])
    (group,) = ask("difference(age, vote)", table, schema=schema)
    seen = stats.ttest_ind(data["age"][data["vote"] == 1], data["age"][data["vote"] == 0], equal_var=False)
    assert (group["t"], group["p"]) == near((seen.statistic, seen.pvalue))


def test_a_shipped_health_trial_has_the_t_test_that_scipy_makes():
    """The RAND health insurance experiment: chronic diseases of those in fair health and of the others."""
    data = randhie.load_pandas().data.head(900)
    schema = schema_of(("disea", 0, 60, 0.01), ("fair", "no", "yes"))
    diseases = data["disea"].round(2)
    table = coded(schema, disea=diseases, fair=data["hlthf"])
    (group,) = ask("difference(disea, fair)", table, schema=schema)
    seen = stats.ttest_ind(diseases[data["hlthf"] == 1], diseases[data["hlthf"] == 0], equal_var=False)
    assert group["n"] == 900, group["reason"]
    assert (group["t"], group["p"]) == near((seen.statistic, seen.pvalue))


@pytest.mark.skipif(not IDENT.exists(), reason=f"the trial's files are not beside the project ({FOLDER})")
def test_a_trial_of_real_shape_gives_the_t_test_that_was_computed_of_it_in_clear():
    rows = pd.read_csv(IDENT)
    rows = rows[rows["ITT"] == 1]
    schema = schema_of(("bmi", 10, 60, 0.001), ("arm", "placebo", "imatinib"))
    table = coded(schema, bmi=rows["BMI"].where(rows["BMI"] > 0), arm=2 - rows["TRTN"])
    (group,) = ask("difference(bmi, arm)", table, schema=schema)
    assert group["n"] == 687
    # Of the values as they are: the codebook rounds them to 0.001.
    assert group["value"] == pytest.approx(0.46540694, abs=1e-4)
    assert (group["t"], group["df"], group["p"]) == pytest.approx(
        (1.0831563, 684.13970, 0.27912063), rel=1e-3
    )
    assert (group["low"], group["high"]) == pytest.approx((-0.37823624, 1.30905012), abs=1e-4)


def test_it_shares_its_table_with_the_means_by_arm():
    text = "difference(x, arm)\nmean(x) by arm\nsd(x) by arm\nse(x) by arm\nanova(x, arm)\n"
    text += "mean(x) by region, arm\ndifference(x, arm, region)"
    plan = compile(text, facts(), 10**6, "dp")
    assert len(plan.releases) == 2
    assert [release.micro_epsilon for release in plan.releases] == [714285, 285714]


def population(rng, n, shift=0.0):
    arm = np.arange(n) % 2
    x = np.clip(np.rint((50 + SD * rng.standard_normal(n) + shift * arm) * 10), 0, 1000).astype(int)
    every = np.ones(n, dtype=bool)
    region = rng.integers(0, 4, n)
    return {"x": (x, every), "arm": (arm, every), "region": (region, every), "y": (x, every)}


def runs(text, n, times, micro, seed, shift=0.0):
    """How many intervals held the shift, how many tests rejected, of how many shown, and the mean width."""
    rng, about = np.random.default_rng(seed), facts()
    plan = compile(text, about, micro, "dp")
    held = rejected = shown = 0
    widths = []
    for _ in range(times):
        integers = plans.noised(rng, plan, evaluate(plan, about, [population(rng, n, shift)]))
        (group,) = figures(plan, about, integers)[0]["groups"]
        if group["value"] is None:
            continue
        shown += 1
        held += group["low"] <= shift <= group["high"]
        rejected += group["p"] <= 0.05
        widths.append(group["high"] - group["low"])
    return held, rejected, shown, float(np.median(widths))


def ideal(n, micro):
    noise = np.sqrt(2) * 2 * 2**9 * 0.1 / (micro / 1e6) / (n / 2)  # of a mean of one arm, in units
    return 2 * 1.96 * np.sqrt(2 * SD**2 / (n / 2) + 2 * noise**2 / 2)


@pytest.mark.parametrize(("n", "micro"), [(60, 500_000), (200, 10**6)])
def test_an_interval_holds_the_shift_and_a_test_rejects_as_rarely_as_it_says(n, micro):
    held, rejected, shown, _ = runs("difference(x, arm)", n, 150, micro, seed=n)
    assert shown >= 140
    assert stats.binom.ppf(ALPHA, shown, 0.93) <= held
    assert rejected <= stats.binom.ppf(1 - ALPHA, shown, 0.07)


@pytest.mark.nightly
@pytest.mark.parametrize("micro", [500_000, 10**6, 2 * 10**6])
@pytest.mark.parametrize("n", [60, 200, 367, 773])
@pytest.mark.parametrize("text", ["difference(x, arm)", "difference(x, arm, region)"])
def test_coverage_and_error_rates_in_two_thousand_runs(text, n, micro):
    held, rejected, shown, width = runs(text, n, 2000, micro, seed=n + micro, shift=0.0)
    assert shown >= 1800
    assert stats.binom.ppf(ALPHA, shown, 0.93) <= held
    assert rejected <= stats.binom.ppf(1 - ALPHA, shown, 0.07)
    if "region" not in text:  # of strata of a few patients each the interval may be too long, never too short
        assert held <= stats.binom.ppf(1 - ALPHA, shown, 0.99)
    if n >= 200 and "region" not in text:
        assert width <= 1.25 * ideal(n, micro)


def test_an_interval_is_not_much_longer_than_sampling_and_noise_make_it():
    _, _, _, width = runs("difference(x, arm)", 367, 30, 10**6, seed=1)
    assert 0.9 * ideal(367, 10**6) < width < 1.25 * ideal(367, 10**6)


def test_a_true_difference_is_found():
    _, rejected, shown, _ = runs("difference(x, arm)", 773, 30, 10**6, seed=2, shift=8.0)
    assert rejected == shown == 30


@pytest.mark.parametrize(
    "text", ["difference(x, arm)", "difference(x, region) by arm", "difference(x, arm, region)"]
)
@pytest.mark.parametrize("mode", ["dp", "exact"])
def test_whatever_integers_come_the_keys_are_the_same(text, mode):
    about = facts(11)
    plan = compile(text, about, 10**6, mode)
    size = plan.releases[0].cells * plan.releases[0].values_per_cell(mode)
    rng = np.random.default_rng(3)
    shapes = set()
    for low, high in ((0, 1), (-(2**40), 2**40), (-(2**62), 2**62), (0, 2**26), (0, 3), (-1, 1)):
        integers = rng.integers(low, high, size).tolist()
        if mode == "exact":
            integers[:: plan.releases[0].values_per_cell(mode)] = [1] * plan.releases[0].cells
        (statement,) = figures(plan, about, [integers])
        shapes.add(json.dumps(skeleton(statement), allow_nan=False))
        json.dumps(statement, allow_nan=False)
        for group in statement["groups"]:
            assert group["value"] is not None or group["reason"]
    assert len(shapes) == 1


def test_two_arms_with_equal_integers_still_differ_by_their_noise():
    about = facts()
    plan = compile("difference(x, arm)", about, 10**6, "dp")
    cell = [100 * 2**18, 2 * 100 * 2**18, 100 * 2**18]
    (group,) = figures(plan, about, [cell * 2])[0]["groups"]
    assert group["value"] == 0.0
    assert group["low"] < -1 < 1 < group["high"]
    assert group["p"] > 0.8


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("difference(arm, x)", "wrong_type"),
        ("difference(x, y)", "wrong_type"),
        ("difference(x, arm, arm)", "duplicate"),
        ("difference(x, arm, y)", "wrong_type"),
        ("difference(x, arm) by arm", "duplicate"),
        ("difference(x)", "wrong_arguments"),
    ],
)
def test_columns_it_is_not_for_are_refused(text, code):
    with pytest.raises(ProgramRejected) as refused:
        compile(text, facts(), 10**6, "dp")
    assert refused.value.code == code


def test_it_is_previewed_computed_and_printed():
    about = facts(11)
    plan = compile("difference(x, arm, region)", about, 10**6, "dp")
    (said,) = describe(plan, about)["statements"]
    assert said["words"].startswith("difference of means")
    assert said["expected_error"]["half_width"] > 0
    table = plans.table(np.random.default_rng(1), 800)
    integers = plans.noised(np.random.default_rng(1), plan, evaluate(plan, about, [table]))
    printed = answer({"mode": "dp", "statements": figures(plan, about, integers)})
    assert "imatinib" in printed and "placebo" in printed
