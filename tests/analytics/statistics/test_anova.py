"""Analysis of variance: Fisher's F in exact mode, a simulated null with the noise in it in `dp` mode."""

import json

import numpy as np
import pytest
from scipy import stats

from analytics.query.errors import ProgramRejected
from analytics.query.plan import compile
from analytics.reference import evaluate
from analytics.statistics import figures
from tests.analytics.statistics import plans
from tests.analytics.statistics.asked import SCHEMA, ask, facts, values
from tests.analytics.statistics.test_difference import ALPHA, population
from tests.analytics.statistics.test_dp import skeleton


def near(value):
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def parts(table):
    said = values(SCHEMA, table)
    return [said["x"][(said["region"] == k) & ~np.isnan(said["x"])] for k in range(4)]


@pytest.mark.parametrize("n", [40, 300, 1000])
def test_exact_mode_is_the_f_test_of_scipy(n):
    table = plans.table(np.random.default_rng(n), n)
    (group,) = ask("anova(x, region)", table)
    levels = parts(table)
    seen = stats.f_oneway(*levels)
    everything = np.concatenate(levels)
    assert (group["value"], group["p"]) == near((seen.statistic, seen.pvalue))
    assert (group["df"], group["df_within"]) == (3, len(everything) - 4)
    within = sum(((x - x.mean()) ** 2).sum() for x in levels)
    assert group["eta_squared"] == near(1 - within / ((everything - everything.mean()) ** 2).sum())


def test_of_two_levels_it_is_the_square_of_students_t():
    table = plans.table(np.random.default_rng(4), 200)
    (f,), (t,) = ask("anova(x, arm)", table), ask("difference(x, arm)", table)
    assert f["value"] == near(t["comparisons"][0]["pooled"]["t"] ** 2)
    assert f["p"] == near(t["comparisons"][0]["pooled"]["p"])


def test_levels_without_a_patient_are_dropped():
    table = plans.table(np.random.default_rng(4), 200, missing=0)
    table["region"] = (np.minimum(table["region"][0], 2), table["region"][1])
    (group,) = ask("anova(x, region)", table)
    assert group["df"] == 2
    assert group["p"] == near(stats.f_oneway(*parts(table)[:3]).pvalue)


def rejections(n, micro, times, seed, slope=0.0):
    rng, about = np.random.default_rng(seed), facts()
    plan = compile("anova(x, region)", about, micro, "dp")
    rejected = shown = 0
    for _ in range(times):
        table = population(rng, n)
        moved = table["x"][0] + np.rint(10 * slope * table["region"][0]).astype(int)
        table["x"] = (np.clip(moved, 0, 1000), table["x"][1])
        integers = plans.noised(rng, plan, evaluate(plan, about, [table]))
        (group,) = figures(plan, about, integers)[0]["groups"]
        if group["p"] is not None:
            shown += 1
            rejected += group["p"] <= 0.05
    return rejected, shown


@pytest.mark.parametrize(("n", "micro"), [(200, 10**6), (773, 10**6)])
def test_levels_that_do_not_differ_are_rejected_as_rarely_as_it_says(n, micro):
    rejected, shown = rejections(n, micro, 120, seed=n)
    assert shown > 60
    assert rejected <= stats.binom.ppf(1 - ALPHA, shown, 0.07)


@pytest.mark.nightly
@pytest.mark.parametrize("micro", [500_000, 10**6, 2 * 10**6])
@pytest.mark.parametrize("n", [60, 200, 367, 773])
def test_type_one_error_in_two_thousand_runs(n, micro):
    rejected, shown = rejections(n, micro, 2000, seed=n + micro)
    assert shown > 200
    assert rejected <= stats.binom.ppf(1 - ALPHA, shown, 0.07)


def test_levels_that_differ_are_found():
    rejected, shown = rejections(773, 2 * 10**6, 20, seed=1, slope=5.0)
    assert rejected == shown == 20


def test_without_noise_the_simulated_p_is_that_of_the_f_test():
    table = plans.table(np.random.default_rng(7), 400)
    (group,) = ask("anova(x, region)", table, mode="dp", micro=5 * 10**6)
    assert group["p"] == pytest.approx(stats.f_oneway(*parts(table)).pvalue, abs=0.06)


@pytest.mark.parametrize("mode", ["dp", "exact"])
def test_whatever_integers_come_the_keys_are_the_same(mode):
    about = facts(11)
    plan = compile("anova(x, region)", about, 10**6, mode)
    width = plan.releases[0].values_per_cell(mode)
    rng = np.random.default_rng(3)
    shapes = set()
    for low, high in ((0, 1), (-(2**40), 2**40), (-(2**62), 2**62), (0, 2**26), (0, 3), (2**20, 2**20 + 1)):
        integers = rng.integers(low, high, plan.releases[0].cells * width).tolist()
        if mode == "exact":
            integers[::width] = [1] * plan.releases[0].cells
        (statement,) = figures(plan, about, [integers])
        shapes.add(json.dumps(skeleton(statement), allow_nan=False))
        json.dumps(statement, allow_nan=False)
        assert statement["groups"][0]["value"] is not None or statement["groups"][0]["reason"]
    assert len(shapes) == 1


@pytest.mark.parametrize("text", ["anova(region, x)", "anova(x, y)", "anova(x)", "anova(x, arm, region)"])
def test_columns_it_is_not_for_are_refused(text):
    with pytest.raises(ProgramRejected):
        compile(text, facts(), 10**6, "dp")
