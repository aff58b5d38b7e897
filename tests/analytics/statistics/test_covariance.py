"""Covariances and matrices of correlations, from the joint tables that `correlate` asks."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.datasets import longley

from analytics.query.errors import ProgramRejected
from analytics.query.plan import compile
from analytics.reference import evaluate
from analytics.render import answer
from analytics.statistics import figures
from tests.analytics.statistics import plans
from tests.analytics.statistics.asked import SCHEMA, ask, coded, facts, schema_of, values
from tests.analytics.statistics.test_dp import skeleton

ALPHA = 1e-6
THREE = schema_of(("a", 0, 100, 0.1), ("b", -50, 50, 0.05), ("c", 0, 10, 0.01), ("arm", "no", "yes"))


def near(value):
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def rows(rng, n, r=0.4, missing=0.1):
    z = rng.standard_normal((3, n))
    made = {
        "a": 50 + 14 * z[0],
        "b": 12 * (r * z[0] + np.sqrt(1 - r * r) * z[1]),
        "c": 5 + 1.2 * (0.5 * z[1] + np.sqrt(0.75) * z[2]),
        "arm": rng.integers(0, 2, n).astype(float),
    }
    return {name: np.where(rng.random(n) < missing, np.nan, column) for name, column in made.items()}


def test_exact_mode_is_the_covariance_of_pandas_with_the_interval_of_a_normal_sample():
    table = plans.table(np.random.default_rng(2), 300)
    (group,) = ask("cov(x, y)", table)
    frame = pd.DataFrame(values(SCHEMA, table))[["x", "y"]].dropna()
    matrix, n = frame.cov().to_numpy(), len(frame)
    half = stats.norm.ppf(0.975) * np.sqrt((matrix[0, 0] * matrix[1, 1] + matrix[0, 1] ** 2) / (n - 1))
    assert group["value"] == near(matrix[0, 1])
    assert (group["low"], group["high"]) == near((matrix[0, 1] - half, matrix[0, 1] + half))
    assert group["n"] == n


@pytest.mark.parametrize("mode", ["exact", "dp"])
def test_a_matrix_is_pairwise_complete_like_that_of_pandas(mode):
    table = coded(THREE, **rows(np.random.default_rng(3), 700))
    for arm, group in enumerate(ask("correlations(a, b, c) by arm", table, mode=mode, schema=THREE)):
        frame = pd.DataFrame(values(THREE, table))
        part = frame[frame["arm"] == arm][["a", "b", "c"]]
        assert np.array(group["matrix"]["values"]) == near(part.corr().to_numpy())
        assert [(p["x"], p["y"]) for p in group["correlations"]] == [("a", "b"), ("a", "c"), ("b", "c")]
        if mode == "exact":
            assert [p["n"] for p in group["correlations"]] == [
                len(part[[p["x"], p["y"]]].dropna()) for p in group["correlations"]
            ]


def test_economic_series_give_the_published_correlations():
    data = longley.load_pandas().data
    columns = {"gnp": data["GNP"] / 1000, "employed": data["TOTEMP"] / 1000, "year": data["YEAR"]}
    schema = schema_of(("gnp", 200, 600, 0.001), ("employed", 50, 80, 0.001), ("year", 1940, 1970, 1))
    (group,) = ask("correlations(gnp, employed, year)", coded(schema, **columns), schema=schema)
    seen = pd.DataFrame(columns).round(3).corr().to_numpy()
    assert np.array(group["matrix"]["values"]) == pytest.approx(seen, abs=1e-6)


def test_covariance_correlation_and_matrix_share_their_tables():
    text = "covariance(a, b)\ncorrelate(a, b)\ncorrelations(a, b, c)"
    assert len(compile(text, facts(schema=THREE), 10**6, "dp").releases) == 3


def covered(n, micro, times, seed, r):
    rng, about = np.random.default_rng(seed), facts(schema=THREE)
    plan = compile("covariance(a, b)", about, micro, "dp")
    held = shown = 0
    for _ in range(times):
        table = coded(THREE, **rows(rng, n, r, missing=0))
        integers = plans.noised(rng, plan, evaluate(plan, about, [table]))
        (group,) = figures(plan, about, integers)[0]["groups"]
        if group["value"] is not None:
            shown += 1
            held += group["low"] <= r * 14 * 12 <= group["high"]
    return held, shown


@pytest.mark.parametrize("r", [0.0, 0.6])
def test_an_interval_of_a_covariance_holds_the_truth(r):
    held, shown = covered(400, 10**6, 100, 1, r)
    assert shown == 100
    assert held >= stats.binom.ppf(ALPHA, shown, 0.93)


@pytest.mark.nightly
@pytest.mark.parametrize("r", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("micro", [500_000, 2 * 10**6])
@pytest.mark.parametrize("n", [60, 367, 773])
def test_coverage_of_a_covariance_in_two_thousand_runs(n, micro, r):
    held, shown = covered(n, micro, 2000, n + micro, r)
    assert shown > 1000
    assert held >= stats.binom.ppf(ALPHA, shown, 0.93)


@pytest.mark.parametrize("text", ["covariance(a, b)", "correlations(a, b, c) by arm"])
@pytest.mark.parametrize("mode", ["dp", "exact"])
def test_whatever_integers_come_the_keys_are_the_same(text, mode):
    about = facts(11, THREE)
    plan = compile(text, about, 10**6, mode)
    rng = np.random.default_rng(3)
    shapes = set()
    for low, high in ((0, 1), (-(2**40), 2**40), (-(2**62), 2**62), (0, 2**26), (0, 3), (2**20, 2**20 + 1)):
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


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("covariance(a, arm)", "wrong_type"),
        ("covariance(a, a)", "duplicate"),
        ("correlations(a, b, arm)", "wrong_type"),
        ("correlations(a, b, a)", "duplicate"),
        ("correlations(a)", "wrong_arguments"),
    ],
)
def test_columns_they_are_not_for_are_refused(text, code):
    with pytest.raises(ProgramRejected) as refused:
        compile(text, facts(schema=THREE), 10**6, "dp")
    assert refused.value.code == code


def test_a_matrix_is_printed_pair_by_pair():
    about = facts(11, THREE)
    plan = compile("correlations(a, b, c)", about, 10**6, "exact")
    table = coded(THREE, **rows(np.random.default_rng(3), 300))
    printed = answer({"mode": "exact", "statements": figures(plan, about, evaluate(plan, about, [table]))})
    assert len([line for line in printed.splitlines() if " to " in line]) == 4
