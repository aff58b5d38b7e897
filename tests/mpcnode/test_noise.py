"""Noise drawn inside the protocol follows the exact law of the discrete Laplace distribution."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from mpcnode.protocols.noise import discrete_laplace
from tests.world import World, opened

ALPHA = 1e-6


def thresholds(scale: Fraction) -> tuple[int, ...]:
    """Simple and slow: P(coin i) = 1 / (1 + exp(2^i / t)) in 64-bit fixed point, in doubles and so off by 2^-11."""
    digits = int(np.ceil(np.log2(float(scale)))) + 7
    return tuple(max(1, int(2**64 / (1 + np.exp(float(2**i / scale))))) for i in range(digits))


def draw(scale: Fraction, number: int, seed: int, n: int = 4, times: float = 1.0) -> np.ndarray:
    world = World(seed, n)
    world.connect()
    table = thresholds(scale * Fraction(times))

    async def program(session, _):
        return await discrete_laplace(session, [table] * number)

    return opened(world.run(program, [None] * n)).astype(np.int64)


def pmf(scale: Fraction, k: np.ndarray) -> np.ndarray:
    p = np.exp(-1 / float(scale))
    return (1 - p) / (1 + p) * p ** np.abs(k)


def p_value(sample: np.ndarray, scale: Fraction) -> float:
    edge = int(5 * float(scale))
    inner = np.arange(-edge, edge + 1)
    observed = np.array([(sample == k).sum() for k in inner] + [(np.abs(sample) > edge).sum()])
    expected = np.append(pmf(scale, inner), 0.0)
    expected[-1] = 1 - expected.sum()
    expected *= len(sample)
    assert expected.min() >= 5, "too few expected for a chi-square"
    fits: float = stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue
    # A chi-square looks at shape; the mean of |x| looks at scale, sharply.
    p = np.exp(-1 / float(scale))
    mean, second = 2 * p / (1 - p * p), 2 * p / (1 - p) ** 2
    z = (np.abs(sample).mean() - mean) / np.sqrt((second - mean**2) / len(sample))
    return min(fits, 2 * stats.norm.sf(abs(z)))


@pytest.mark.parametrize("n", [4, 3])
def test_a_hundred_thousand_samples_fit_the_exact_law_and_no_other_scale(n):
    scale = Fraction(7)
    sample = np.concatenate([draw(scale, 20_000, seed, n) for seed in range(5)])
    assert p_value(sample, scale) > ALPHA
    for wrong in (Fraction(105, 100), Fraction(95, 100)):
        assert p_value(sample, scale * wrong) < ALPHA
    assert abs(sample.mean()) < 5 * np.sqrt(2 * 49 / len(sample))


def test_too_much_and_too_little_noise_are_both_rejected():
    scale = Fraction(7)
    for times in (1.05, 0.95):
        sample = np.concatenate([draw(scale, 20_000, seed, times=times) for seed in range(5)])
        assert p_value(sample, scale) < ALPHA


def test_noises_of_different_scales_come_from_one_call_in_eight_rounds():
    world = World(3)

    async def program(session, _):
        return await discrete_laplace(session, [thresholds(Fraction(2)), thresholds(Fraction(100_000))] * 200)

    z = opened(world.run(program, [None] * 4)).astype(np.int64).reshape(-1, 2)
    assert world.sessions[0].rounds == 8
    assert np.abs(z[:, 0]).max() < 100 < np.abs(z[:, 1]).mean()


def test_no_noise_is_asked_for_and_none_is_made():
    world = World(4)

    async def program(session, _):
        return await discrete_laplace(session, [])

    assert opened(world.run(program, [None] * 4)).shape == (0,)
    assert world.sessions[0].rounds == 0


def test_the_noise_depends_on_every_key():
    def sample(swapped: int | None) -> list[int]:
        from tests.world import key

        world = World(9, prss_key=lambda p, c: key("other" if c == swapped else "same", c))

        async def program(session, _):
            return await discrete_laplace(session, [thresholds(Fraction(50))] * 64)

        return opened(world.run(program, [None] * 4)).tolist()

    honest = sample(None)
    assert sample(None) == honest
    for c in range(4):
        assert sample(c) != honest
