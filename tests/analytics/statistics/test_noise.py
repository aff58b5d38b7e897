import math

import numpy as np
import pytest
from scipy import stats

from analytics.statistics import noise

SCALES = [0.4, 1.0, 3.5, 40.0]


def pmf(z, t):
    a = math.exp(-1 / t)
    return (1 - a) / (1 + a) * a ** np.abs(z)


def drawn(t, size=200_000, label="test"):
    return noise.uniforms(noise.generator(label, [int(t * 10)]), (size,))


@pytest.mark.parametrize("t", SCALES)
def test_noise_follows_the_discrete_laplace_law(t):
    draws = noise.noise(t, drawn(t))
    edge = max(2, int(4 * t))
    z = np.arange(-edge, edge + 1)
    seen = np.array([(draws == k).sum() for k in z] + [(np.abs(draws) > edge).sum()])
    expected = np.append(pmf(z, t), 1 - pmf(z, t).sum()) * len(draws)
    kept = expected > 5
    chi2 = ((seen - expected)[kept] ** 2 / expected[kept]).sum()
    assert stats.chi2.sf(chi2, kept.sum() - 1) > 1e-6


@pytest.mark.parametrize("t", SCALES)
def test_variance_is_that_of_the_law(t):
    z = np.arange(-4000, 4001)
    assert noise.variance(t) == pytest.approx((z**2 * pmf(z, t)).sum(), rel=1e-9)
    assert noise.variance(1e9) == pytest.approx(2e18, rel=1e-6)


@pytest.mark.parametrize("t", [*SCALES, 1000.0])
def test_reach_is_the_smallest_half_width_that_holds_95_percent(t):
    q = noise.reach(t)
    mass = pmf(np.arange(-q, q + 1), t).sum()
    assert mass >= 0.95
    assert q == 0 or mass - 2 * pmf(q, t) < 0.95


@pytest.mark.parametrize("released", [-7, -1, 0, 2, 30])
@pytest.mark.parametrize("t", [1.0, 3.5])
def test_totals_behind_a_released_number_follow_bayes_rule_over_counts(released, t):
    draws = noise.behind(released, t, drawn(t))
    x = np.arange(0, 200)
    weight = pmf(released - x, t)
    weight = weight / weight.sum()
    assert draws.min() >= 0
    for k in range(6):
        p = weight[k]
        assert abs((draws == k).mean() - p) < 6 * math.sqrt(p * (1 - p) / len(draws)) + 1e-9
    assert draws.mean() == pytest.approx((x * weight).sum(), abs=0.05)


def test_draws_are_a_function_of_the_released_integers_and_their_use():
    a, b, c, d = (
        noise.uniforms(noise.generator(label, numbers), (50,))
        for label, numbers in (("m", [1, 2]), ("m", [1, 2]), ("m", [1, 3]), ("s", [1, 2]))
    )
    assert (a == b).all()
    assert not (a == c).any()
    assert not (a == d).any()


def test_uniforms_never_touch_the_ends_and_never_change():
    u = noise.uniforms(noise.generator("vector", [-5, 2**62]), (3,))
    assert u.tolist() == [0.7758823820777585, 0.9826996795281302, 0.21106329386387473]
    many = noise.uniforms(noise.generator("ends", [0]), (100_000,))
    assert many.min() > 0
    assert many.max() < 1
