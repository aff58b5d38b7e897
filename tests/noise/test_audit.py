"""Epsilon measured from outside: what is released of a table and of its neighbour is told apart no better than declared.

An event is chosen on one half of the samples; on the other half Clopper and Pearson's bounds of its two probabilities
give a lower bound of epsilon that is wrong once in a thousand audits (Jagielski, Ullman, Oprea, NeurIPS 2020). The event
is the best there is: the likelihood ratio of all released numbers together, whatever a statistic releases. Noise of
eight tenths of the scale, or made for half of the sensitivity, must be caught.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import log
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from analytics.privacy import mechanisms
from analytics.query.model import Plan
from analytics.reference import evaluate
from mpcnode.protocols.noise import discrete_laplace
from tests.analytics import asking
from tests.analytics.privacy.test_every_statistic import of_corners
from tests.world import World, opened

ALPHA = 1e-3  # of an audit that accuses a right mechanism
SAMPLES = 100_000
Noises = Callable[[Fraction, tuple[int, ...], int], NDArray[np.int64]]


def lower_bound(here: NDArray[Any], there: NDArray[Any]) -> float:
    """A lower bound of epsilon from scores on a table and on its neighbour, high where "here" is the better guess."""
    found = 0.0
    for one, other in ((here, there), (-there, -here)):
        chosen = _event(one[::2], other[::2])
        hits, false = int((one[1::2] >= chosen).sum()), int((other[1::2] >= chosen).sum())
        size, least = len(one[1::2]), ALPHA / 4
        p = stats.beta.ppf(least, hits, size - hits + 1) if hits else 0.0
        q = stats.beta.ppf(1 - least, false + 1, size - false)
        found = max(found, log(p / q) if p > 0 else 0.0)
    return found


def _event(one: NDArray[Any], other: NDArray[Any]) -> Any:
    """The threshold at which the bound would be highest."""
    best, threshold = -1.0, one.max()
    for candidate in np.unique(np.quantile(one, np.linspace(0.02, 0.98, 49), method="higher")):
        hits, false = int((one >= candidate).sum()), int((other >= candidate).sum())
        p = stats.beta.ppf(ALPHA / 4, hits, len(one) - hits + 1) if hits else 0.0
        q = stats.beta.ppf(1 - ALPHA / 4, false + 1, len(other) - false)
        if p / q > best:
            best, threshold = p / q, candidate
    return threshold


def engines(scale: Fraction, shape: tuple[int, ...], seed: int) -> NDArray[np.int64]:
    """Noise of the four parties' own protocol, in memory."""
    size, found = int(np.prod(shape)), []
    thresholds = mechanisms.thresholds(scale)
    for start in range(0, size, 25_000):
        world, number = World(seed * 1000 + start), min(25_000, size - start)
        world.connect()

        async def program(session: Any, _: Any, number: int = number) -> Any:
            return await discrete_laplace(session, [thresholds] * number)

        found.append(opened(world.run(program, [None] * 4)).astype(np.int64))
    return np.concatenate(found).reshape(shape)


def coins(scale: Fraction, shape: tuple[int, ...], seed: int) -> NDArray[np.int64]:
    """The same coins against the same thresholds, tossed by numpy: fast enough for every statistic."""
    rng, noise = np.random.default_rng(seed), np.zeros(shape, dtype=np.int64)
    for i, threshold in enumerate(mechanisms.thresholds(scale)):
        for sign in (1, -1):
            tossed = rng.integers(0, 2**64, shape, dtype=np.uint64) < np.uint64(threshold)
            noise += sign * (tossed.astype(np.int64) << i)
    return noise


def audited(plan: Plan, corner: asking.Row, noises: Noises, samples: int = SAMPLES) -> float:
    """The lower bound of epsilon of a whole plan, from a table of three patients with and without a fourth.

    Numbers that are equal on both tables tell nothing and are left out.
    """
    rows = [asking.row(number) for number in (12_345, 777_777, 4_000_000)]
    tables = [evaluate(plan, [asking.FACTS], [asking.table(r)]) for r in (rows, [*rows, corner])]
    scores = [np.zeros(samples), np.zeros(samples)]
    for number, (release, without, with_) in enumerate(zip(plan.releases, *tables, strict=True)):
        assert release.scale is not None
        moved = [k for k, (a, b) in enumerate(zip(without, with_, strict=True)) if a != b]
        clear = [np.array([table[k] for k in moved], dtype=np.int64) for table in (without, with_)]
        for side in (0, 1):
            noised = clear[side] + noises(release.scale, (samples, len(moved)), 2 * number + side)
            nearer = np.abs(noised - clear[0]) - np.abs(noised - clear[1])
            scores[side] += (nearer / float(release.scale)).sum(axis=1)
    return lower_bound(scores[1], scores[0])


def farthest(program: str) -> asking.Row:
    """A patient that moves every release by its whole sensitivity, or as many as any does."""
    return max(of_corners(program), key=lambda found: sum(map(bool, found[1])))[0]


def scaled(plan: Plan, factor: Fraction) -> Plan:
    """A mutant whose noise has so much of the scale."""
    return replace(
        plan, releases=tuple(replace(r, scale=r.scale and r.scale * factor) for r in plan.releases)
    )


def counted(scale: Fraction, noises: Noises, samples: int) -> float:
    """The bound of one number that moves by one."""
    one, other = (noises(scale, (samples,), seed) for seed in (1, 2))
    return lower_bound(one + 1, other)


@pytest.mark.parametrize("epsilon", [Fraction(1)])
def test_the_engines_noise_gives_no_more_than_it_declares_and_eight_tenths_of_it_is_caught(
    epsilon: Fraction,
) -> None:
    assert 0.8 * epsilon < counted(1 / epsilon, engines, 30_000) <= epsilon
    assert counted(Fraction(8, 10) / epsilon, engines, 30_000) > epsilon


@pytest.mark.parametrize("epsilon", [Fraction(1, 10), Fraction(1, 2), Fraction(2), Fraction(5)])
def test_coins_give_no_more_than_they_declare_at_any_epsilon(epsilon: Fraction) -> None:
    assert counted(1 / epsilon, coins, SAMPLES) <= epsilon


@pytest.mark.parametrize("epsilon", [Fraction(1, 2), Fraction(1), Fraction(2)])
def test_eight_tenths_of_the_noise_and_half_of_the_sensitivity_are_caught(epsilon: Fraction) -> None:
    assert counted(Fraction(8, 10) / epsilon, coins, 4 * SAMPLES) > epsilon
    assert counted(Fraction(1, 2) / epsilon, coins, SAMPLES) > epsilon


@pytest.mark.parametrize("program", asking.tables())
def test_every_statistic_gives_no_more_than_its_plan_charges_and_eight_tenths_is_caught(program: str) -> None:
    plan = asking.questions()[program]
    corner, epsilon = farthest(program), plan.micro_epsilon / 1e6
    found = audited(plan, corner, coins)
    assert found <= epsilon
    if len(plan.releases) == 1:  # the worst event of several tables together is too rare to be seen
        assert found > 0.8 * epsilon
        assert audited(scaled(plan, Fraction(8, 10)), corner, coins) > epsilon


@pytest.mark.nightly
def test_a_million_samples_of_the_engine_come_near_the_declared_epsilon() -> None:
    assert 0.95 < counted(Fraction(1), engines, 1_000_000) <= 1
    assert counted(Fraction(8, 10), engines, 1_000_000) > 1.15


@pytest.mark.nightly
@pytest.mark.parametrize("program", asking.tables())
def test_a_million_samples_of_every_statistic_come_near_what_its_plan_charges(program: str) -> None:
    plan = asking.questions()[program]
    corner, epsilon = farthest(program), plan.micro_epsilon / 1e6
    found = audited(plan, corner, coins, 1_000_000)
    assert found <= epsilon
    if len(plan.releases) == 1:
        assert found > 0.9 * epsilon
        assert audited(scaled(plan, Fraction(8, 10)), corner, coins, 1_000_000) > 1.1 * epsilon
