"""Quantiles from a grid: numpy's within a cell, their interval over sampling, noise and the unknown shape of a cell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analytics.query.errors import ProgramRejected
from analytics.query.plan import compile
from analytics.statistics import figures
from analytics.statistics.quantiles import Distribution
from tests.analytics.statistics import plans
from tests.analytics.statistics.asking import ask, facts, finite, skeleton
from tests.analytics.statistics.plans import FIELDS
from tests.analytics.statistics.test_histogram import any_integers

X, Y, ARM, REGION = FIELDS
ALPHA = 1e-6
P = (0.05, 0.25, 0.5, 0.75, 0.9)


def bell(rng, n, middle=50.0, spread=14.0, missing=0.1):
    """A table whose x is normal."""
    table = plans.table(rng, n, missing=missing)
    codes = np.clip(np.rint(rng.normal(middle, spread, n) * 10), 0, 1000).astype(int)
    table["x"] = (np.where(table["x"][1], codes, 0), table["x"][1])
    return table


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_exact_quantiles_are_in_the_cell_of_numpys_and_close_to_it(seed):
    table = bell(np.random.default_rng(seed), 900)
    program = f"quantile(x, {', '.join(map(str, P))})"
    ((group,),) = [s["groups"] for s in ask(program, table, minimum=1)]
    x = plans.values(table, X)
    for row, p in zip(group["quantiles"], P, strict=True):
        inverse, seven = np.quantile(x, p, method="inverted_cdf"), np.quantile(x, p)
        assert row["p"] == p
        assert row["cell_from"] - 1e-9 <= inverse <= row["cell_to"] + 1e-9
        assert row["cell_from"] <= row["value"] <= row["cell_to"]
        assert abs(row["value"] - seven) <= 2.0, "a fraction of the cell, 8.3 wide, for so smooth a column"
        assert row["low"] <= row["value"] <= row["high"]
    assert (group["value"], group["low"]) == (group["quantiles"][0]["value"], group["quantiles"][0]["low"])
    assert group["n"] == len(x)


@pytest.mark.parametrize("seed", range(5))
def test_with_a_cell_for_each_value_the_quantile_is_the_inverse_of_the_distribution_function(seed):
    rng = np.random.default_rng(seed)
    codes = rng.choice(7, 101, p=rng.dirichlet(np.ones(7)))
    grid = Distribution(edges=np.arange(8.0), counts=np.bincount(codes, minlength=7).astype(float), t=0.0)
    for p in P:
        assert grid.quantile(p).code == np.quantile(codes, p, method="inverted_cdf")


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_a_shipped_clinical_data_set_has_the_quantiles_that_numpy_finds(p):
    from statsmodels.datasets import heart

    age = np.floor(heart.load_pandas().data["age"].to_numpy())  # of the Stanford heart transplant patients
    edges = np.array([0, 15, 25, 30, 35, 40, 45, 50, 55, 60, 71.0])  # from 0 to 70 years
    found = Distribution(edges=edges, counts=np.histogram(age, edges)[0].astype(float), t=0.0).quantile(p)
    inverse = np.quantile(age, p, method="inverted_cdf")
    assert edges[found.cell] <= inverse < edges[found.cell + 1]
    assert abs(found.code - inverse) <= 2


def test_median_quartiles_and_box_plot_tell_the_same_quartiles():
    table = bell(np.random.default_rng(4), 800)
    median, quartiles, box, named = ask(
        "median(x)\niqr(x)\nbox_plot(x)\nquantile(x, 0.25, 0.5, 0.75)", table, minimum=1
    )
    assert (
        box["groups"][0]["quantiles"]
        == quartiles["groups"][0]["quantiles"]
        == named["groups"][0]["quantiles"]
    )
    assert median["groups"][0]["value"] == quartiles["groups"][0]["value"] == box["groups"][0]["value"]
    assert median["unit"] == "u"
    q1, _, q3 = (row["value"] for row in box["groups"][0]["quantiles"])
    assert box["groups"][0]["iqr"] == pytest.approx(q3 - q1)


def test_whiskers_end_at_edges_with_enough_patients_and_within_one_and_a_half_ranges():
    table = bell(np.random.default_rng(6), 900, 30, 8, missing=0)
    table["x"][0][:15] = 985  # far outside: no whisker goes there
    table["x"][0][15:18] = 0  # fewer than the minimum cohort in their cell: nor there
    ((group,),) = [s["groups"] for s in ask("boxplot(x)", table, "dp", micro=5 * 10**6)]
    q1, _, q3 = (row["value"] for row in group["quantiles"])
    assert group["whisker_low"] == 8.3
    assert q3 < group["whisker_high"] <= q3 + 1.5 * (q3 - q1) + 0.1


def test_edges_may_follow_median_quartiles_and_box_plot():
    table = bell(np.random.default_rng(4), 800)
    ((group,),) = [s["groups"] for s in ask("median(x, 40, 45, 50, 55, 60)", table)]
    (row,) = group["quantiles"]
    assert (row["cell_from"], row["cell_to"]) in ((45, 50), (50, 55))
    assert "6 cells of edges asked for" in group["method"]


def coverage(n, micro, times, seed, p=0.75, spread=14.0):
    rng, held, shown, lengths = np.random.default_rng(seed), 0, 0, []
    truth = 50 + spread * stats.norm.ppf(p)
    for run in range(times):
        table = bell(rng, n, spread=spread, missing=0)
        ((group,),) = [
            s["groups"] for s in ask(f"quantile(x, {p})", table, "dp", micro=micro, seed=seed + run)
        ]
        if group["value"] is None:
            continue
        shown += 1
        held += group["low"] <= truth <= group["high"]
        lengths.append(group["high"] - group["low"])
    return held, shown, float(np.median(lengths))


@pytest.mark.parametrize(("n", "p"), [(367, 0.5), (367, 0.75), (773, 0.25)])
def test_intervals_hold_the_quantile_of_the_population(n, p):
    held, shown, length = coverage(n, 10**6, 200, n, p)
    assert shown == 200
    assert stats.binom.ppf(ALPHA, shown, 0.93) <= held <= stats.binom.ppf(1 - ALPHA, shown, 0.99)
    assert length < 14, "half a standard deviation either way, not the whole range"


class Peaks:
    """Two thirds of the patients around 25, the others around 65."""

    def rvs(self, n, random_state):
        first = random_state.random(n) < 2 / 3
        return np.where(first, random_state.normal(25, 6, n), random_state.normal(65, 8, n))

    def ppf(self, p):
        x = np.linspace(0, 100, 100_001)
        return float(np.interp(p, (2 * stats.norm.cdf(x, 25, 6) + stats.norm.cdf(x, 65, 8)) / 3, x))


LAWS = {
    "wide": stats.norm(50, 14),
    "narrow": stats.norm(30, 6),
    "skewed": stats.lognorm(0.6, scale=20),
    "exponential": stats.expon(scale=15),
    "two peaks": Peaks(),
}


@pytest.mark.nightly
@pytest.mark.parametrize(("n", "epsilon"), [(60, 1), (367, 0.5), (367, 1), (773, 1), (773, 2), (3000, 1)])
@pytest.mark.parametrize("law", LAWS)
def test_intervals_hold_quantiles_of_columns_of_every_shape(law, n, epsilon):
    rng, runs, decay = np.random.default_rng(n), 1000, -np.expm1(-epsilon)
    edges = np.array([*X.edges()[:-1], X.codes], dtype=float)
    for p in (0.1, 0.25, 0.5, 0.75, 0.9):
        truth, held = 10 * LAWS[law].ppf(p), 0
        for _ in range(runs):
            codes = np.clip(np.rint(10 * LAWS[law].rvs(n, random_state=rng)), 0, 1000)
            a, b = rng.geometric(decay, (2, 12))
            counts = np.histogram(codes, edges)[0] + a - b
            found = Distribution(edges=edges, counts=counts.astype(float), t=1 / epsilon).quantile(p)
            held += found.low <= truth <= found.high + 1
        assert held >= stats.binom.ppf(ALPHA, runs, 0.94)


def test_without_noise_in_it_an_interval_is_too_short_for_noised_counts():
    rng, edges, held = np.random.default_rng(1), np.array([0, 10, 20, 30, 40, 50.0]), {10.0: 0, 1e-9: 0}
    for _ in range(300):
        counts = np.histogram(np.clip(rng.normal(25, 10, 80), 0, 49.9), edges)[0]
        counts = counts + np.rint(rng.laplace(0, 10, 5))
        for t in held:
            found = Distribution(edges=edges, counts=counts, t=t).quantile(0.5)
            held[t] += found.low <= 25 <= found.high
    assert held[1e-9] < stats.binom.ppf(ALPHA, 300, 0.93) < held[10.0]


@pytest.mark.parametrize(
    ("program", "code", "word"),
    [
        ("quantile(x)", "wrong_arguments", "one column and numbers"),
        ("quantile(x, 25)", "bad_quantile", "such as 0.25"),
        ("quantile(x, 0)", "bad_quantile", "between 0 and 1"),
        ("quantile(arm, 0.5)", "wrong_type", "is a category"),
        ("median(region)", "wrong_type", "is a category"),
        ("boxplot(x, 90, 10)", "bad_edges", "ascend"),
    ],
)
def test_what_has_no_quantile_is_refused(program, code, word):
    with pytest.raises(ProgramRejected) as caught:
        compile(program, [facts()], 10**6, "dp")
    assert caught.value.code == code
    assert word in str(caught.value)


def test_a_small_cell_withholds_an_exact_quantile_and_says_how_to_ask():
    table = bell(np.random.default_rng(4), 300)
    ((group,),) = [s["groups"] for s in ask("median(x)", table, minimum=11)]
    assert group["suppressed"] and group["value"] is None
    assert "fewer than the minimum cohort of 11" in group["reason"]
    ((wider,),) = [s["groups"] for s in ask("median(x, 40, 50, 60)", table, minimum=11)]
    assert wider["value"] is not None


def test_a_cohort_that_the_noise_outweighs_has_no_quantile():
    table = bell(np.random.default_rng(4), 30)
    ((group,),) = [s["groups"] for s in ask("median(x)", table, "dp", micro=100_000, minimum=1)]
    assert group["value"] is None and group["reason"]


PROGRAM = "quantile(x, 0.1, 0.9) by arm\nmedian(x)\nquartiles(y, 0)\nboxplot(x)"


@pytest.mark.parametrize("mode", ["dp", "exact"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_integers_give_a_quantile_within_the_bounds_or_a_reason(mode, data):
    dataset = facts()
    plan = compile(PROGRAM, [dataset], 10**6, mode)
    integers = any_integers(data, plan)
    said = figures(plan, [dataset], integers)
    assert skeleton(said) == skeleton(figures(plan, [dataset], [[0] * len(row) for row in integers]))
    assert finite(said)
    for group in (group for statement in said for group in statement["groups"]):
        assert group["value"] is not None or group["reason"]
        for row in group["quantiles"]:
            if row["value"] is not None:
                assert -50 <= row["low"] <= row["value"] <= row["high"] <= 100
