"""Intervals of `dp` mode hold the truth as often as they say, sampling and noise together.

Every run draws a new cohort from a known population, and new noise by its definition. A rate is judged
against the binomial quantiles at 1e-6 of the promised range, so that a correct interval does not fail.
"""

import math

import numpy as np
import pytest
from scipy import stats

from analytics.reference import evaluate
from analytics.statistics import figures
from tests.analytics.statistics import plans
from tests.analytics.statistics.plans import FIELDS

X, Y, ARM, REGION = FIELDS
ALPHA = 1e-6
SPREAD = 14.0  # of x, which is declared on 0 to 100
BY_LEVEL = [plans.by("region", groups=((0,), (1, 2, 3)))]
ASKED = {
    "count": ("count()", plans.count()),
    "mean": ("mean(x)", plans.moments(X)),
    "mean of a pair": ("mean(x)", plans.moments(X, 1)),
    "sd": ("sd(x)", plans.moments(X)),
    "var": ("var(x)", plans.moments(X)),
    "se": ("se(x)", plans.moments(X)),
    "sum": ("sum(x)", plans.moments(X, 1)),
    "proportion": ("proportion(region, 'North East')", plans.count(by=BY_LEVEL)),
    "r 0.3": ("correlate(x, y)", plans.pair(X, Y)),
    "r 0.9": ("correlate(x, y)", plans.pair(X, Y)),
    "V": ("correlate(arm, region)", plans.count(by=[plans.by("arm", 2), plans.by("region", 4)])),
}
SHARES = {0: (0.3, 0.3, 0.2, 0.2), 1: (0.1, 0.3, 0.2, 0.4)}  # of regions in each arm: V is 0.289 ...


def association():
    p = np.array([SHARES[0], SHARES[1]]) / 2
    independent = p.sum(1, keepdims=True) * p.sum(0)
    return math.sqrt(((p - independent) ** 2 / independent).sum())


def population(rng, n, r):
    """One cohort of n and what is true of its population (of the cohort itself, for count and sum)."""
    a, b = rng.standard_normal((2, n))
    x = np.clip(np.rint((50 + SPREAD * a) * 10), 0, 1000).astype(int)
    y = np.clip(np.rint((SPREAD * (r * a + math.sqrt(1 - r * r) * b) + 50) * 20), 0, 2000).astype(int)
    arm = rng.integers(0, 2, n)
    region = np.where(arm == 0, rng.choice(4, n, p=SHARES[0]), rng.choice(4, n, p=SHARES[1]))
    every = np.ones(n, dtype=bool)
    table = {"x": (x, every), "y": (y, every), "arm": (arm, every), "region": (region, every)}
    sd = SPREAD  # rounding adds 0.1**2 / 12 to its square, the bounds are 3.5 sd away
    truth = {
        "count": n,
        "mean": 50.0,
        "mean of a pair": 50.0,
        "sd": sd,
        "var": sd**2,
        "se": sd / math.sqrt(n),
        "sum": x.sum() / 10,
        "proportion": 0.2,
    }
    return table, truth | {"V": association(), "r 0.3": 0.3, "r 0.9": 0.9}


def runs(statistic, n, times, seed, micro=10**6):
    rng = np.random.default_rng(seed)
    text, release = ASKED[statistic]
    plan = plans.plan(text, plans.at(release, micro))
    held, lengths, shown = 0, [], 0
    for _ in range(times):
        table, truth = population(rng, n, 0.9 if statistic == "r 0.9" else 0.3)
        integers = plans.noised(rng, plan, evaluate(plan, plans.facts(), [table]))
        (group,) = figures(plan, plans.facts(), integers)[0]["groups"]
        if group["value"] is None:
            continue
        shown += 1
        lengths.append(group["high"] - group["low"])
        held += group["low"] <= truth[statistic] <= group["high"]
    return held, shown, float(np.median(lengths))


def assert_rate(held, shown, low=0.93, high=0.99):
    assert stats.binom.ppf(ALPHA, shown, low) <= held <= stats.binom.ppf(1 - ALPHA, shown, high)


@pytest.mark.parametrize("n", [60, 400])
@pytest.mark.parametrize("statistic", ["count", "mean", "sd", "se", "proportion", "sum", "r 0.3", "V"])
def test_intervals_hold_the_truth(statistic, n):
    held, shown, _ = runs(statistic, n, 200, seed=20 + n)
    # of 60 patients, the noised variances are often no variances: then there is no figure to be wrong
    assert shown >= (100 if (statistic, n) == ("r 0.3", 60) else 190)
    assert_rate(held, shown)


@pytest.mark.nightly
@pytest.mark.parametrize("micro", [500_000, 10**6, 2 * 10**6])
@pytest.mark.parametrize("n", [60, 400, 800])
@pytest.mark.parametrize("statistic", ASKED)
def test_intervals_hold_the_truth_in_three_thousand_runs(statistic, n, micro):
    held, shown, _ = runs(statistic, n, 3000, seed=n + micro, micro=micro)
    assert shown >= (600 if statistic in ("r 0.3", "r 0.9") else 2700)
    assert_rate(
        held,
        shown,
        high=0.99 if statistic in ("count", "mean", "sd", "se", "var", "sum", "proportion") else 1.0,
    )


def test_without_the_sum_of_squares_the_interval_of_a_mean_is_never_too_short():
    held, shown, long = runs("mean of a pair", 60, 100, seed=5)
    assert held >= stats.binom.ppf(ALPHA, shown, 0.95)
    assert long > 1.5 * runs("mean", 60, 100, seed=5)[2]


def test_an_interval_of_a_mean_is_not_much_longer_than_sampling_and_noise_make_it():
    _, _, length = runs("mean", 400, 40, seed=1)
    noise = 2 * 2**9 * 0.1 / 400  # sd of the noise in S, in units, over n
    ideal = 2 * 1.96 * math.sqrt(SPREAD**2 / 400 + noise**2)
    assert 0.9 * ideal < length < 1.15 * ideal


def test_a_test_of_association_rejects_independence_as_rarely_as_it_says():
    rng = np.random.default_rng(3)
    plan = plans.plan(ASKED["V"][0], plans.at(ASKED["V"][1], 500_000))
    times, rejected, naive = 300, 0, 0
    for _ in range(times):
        counts = rng.multinomial(60, np.full(8, 1 / 8))
        (group,) = figures(plan, plans.facts(), plans.noised(rng, plan, [counts.tolist()]))[0]["groups"]
        rejected += group["p"] <= 0.05
        naive += stats.chi2.sf(group["chi2"], 3) <= 0.05
    assert rejected <= stats.binom.ppf(1 - ALPHA, times, 0.07)
    assert naive > stats.binom.ppf(1 - ALPHA, times, 0.07)  # what it would be without the noise-aware null
