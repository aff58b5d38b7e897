"""Plans with delta: the tables' epsilons against exact enumeration, published figures, and noise that is too small."""

from fractions import Fraction
from math import comb, exp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.privacy import pld
from analytics.privacy.accountant import ATTO, MICRO, DeltaRejected, atto_delta, delta_text
from analytics.privacy.composition import pld_epsilon
from analytics.privacy.mechanisms import distance, exact_pmf, scale

MILLIONTH = 10**12  # delta 1e-6


def lost(epsilons, epsilon):
    """delta at epsilon of tables of two kinds at most, from binomials."""
    kinds = sorted(set(epsilons))
    outcomes = [(0.0, 1.0)]
    for kind in kinds:
        n, p = epsilons.count(kind), 1 / (1 + exp(-kind))
        outcomes = [
            (loss + (2 * k - n) * kind, mass * comb(n, k) * p**k * (1 - p) ** (n - k))
            for loss, mass in outcomes
            for k in range(n + 1)
        ]
    return sum(mass * max(0.0, 1 - exp(epsilon - loss)) for loss, mass in outcomes)


def proportions(most=60):
    return st.lists(st.integers(1, 2 * MICRO), min_size=13, max_size=most)


@pytest.mark.parametrize("delta", [10**10, MILLIONTH, 10**14])
@pytest.mark.parametrize(
    ("small", "large"), [(13, 0), (16, 0), (40, 0), (120, 0), (20, 20), (39, 1), (5, 60)]
)
@pytest.mark.parametrize("epsilon", [0.1, 1, 4])
def test_the_tables_lose_what_was_asked_and_hardly_less(delta, small, large, epsilon):
    found = pld.charges([1] * small + [3] * large, round(epsilon * MICRO), delta, small + large)
    epsilons = [one / MICRO for one in found]
    asked = delta / ATTO
    assert lost(epsilons, epsilon) <= asked
    assert lost([one * 1.001 for one in epsilons], epsilon) > asked  # nothing worth having is given away
    if large:
        assert found[-1] / found[0] == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize(("tables", "epsilon"), [(13, 1), (40, 1), (40, 4), (100, 2)])
def test_noise_at_nine_tenths_of_its_scale_is_caught_by_its_delta(tables, epsilon):
    """The check that catches a mutant: with noise that is too small, delta at the asked epsilon is above the asked one."""
    found = pld.charges([1] * tables, epsilon * MICRO, MILLIONTH, tables)
    assert lost([one / MICRO for one in found], epsilon) <= 1e-6
    assert lost([one / 0.9 / MICRO for one in found], epsilon) > 5e-6


@given(proportions(), st.integers(20_000, 8 * MICRO), st.integers(8, 14))
@settings(max_examples=40, deadline=None)
def test_the_next_smaller_noise_would_not_keep_delta(parts, epsilon, places):
    delta = 10**places
    target = delta - pld.slack(epsilon, len(parts))
    weights = pld._weights(parts)
    unit = pld._unit(weights, epsilon, target)
    assert pld.keeps(weights, unit, epsilon, target)
    assert not pld.keeps(weights, unit + 1, epsilon, target)
    found = pld.charges(parts, epsilon, delta, len(parts))
    assert all(one == max(1, weight * unit // 1000) for one, weight in zip(found, weights, strict=True))
    # The float figure that is shown rounds each loss up to its grid; beyond that it agrees.
    shown = pld_epsilon(found, Fraction(delta, ATTO))
    assert shown <= epsilon + len(found) * -(-sum(found) // 20_000) + 2


@given(proportions(20), st.integers(100_000, 4 * MICRO))
@settings(max_examples=30, deadline=None)
def test_the_sum_of_masses_in_whole_numbers_is_the_float_sum_rounded_up(parts, epsilon):
    import numpy as np

    weights = pld._weights(parts)
    unit = 2 * epsilon * 1000 // sum(weights) + 1
    mass = np.array([1.0])
    for weight in weights:
        p = 1 / (1 + exp(-weight * unit / 1e9))
        grown = np.zeros(len(mass) + weight)
        grown[: len(mass)] += p * mass
        grown[weight:] += (1 - p) * mass
        mass = grown
    losses = (sum(weights) - 2 * np.arange(len(mass))) * unit / 1e9
    direct = float(np.sum(mass * np.maximum(0, -np.expm1(epsilon / MICRO - losses))))
    found = pld.lost(weights, unit, epsilon) / pld.ONE
    assert direct * (1 - 1e-9) <= found <= direct * (1 + 1e-5) + 1e-13


def test_a_plan_with_delta_is_the_same_on_every_machine():
    """Frozen: whoever computes other numbers computes another plan, and parties refuse it."""
    assert pld.charges([1] * 40, 4 * MICRO, MILLIONTH, 40) == [139_104] * 40
    assert pld.charges([1] * 13, MICRO, MILLIONTH, 39) == [77_309] * 13
    unequal = pld.charges([*range(1, 21)], 2 * MICRO, MILLIONTH, 20)
    assert (unequal[0], unequal[9], unequal[19], sum(unequal)) == (10_019, 100_195, 200_390, 2104094)


@pytest.mark.parametrize(
    ("tables", "each", "epsilon"), [(10, 0.1, 1.00), (100, 0.1, 4.77), (40, 0.25, 7.41), (20, 0.5, 9.67)]
)
def test_published_figures_are_met(tables, each, epsilon):
    """What dp-accounting 0.6.0 gives at delta 1e-6 for Laplace noise, which loses at most as much as the worst law."""
    unit, most = round(each * pld.NANO), round(tables * each * MICRO)
    least = next(m for m in range(0, most + 1, 2000) if pld.keeps((1,) * tables, unit, m, MILLIONTH))
    assert epsilon * 0.995 <= least / MICRO <= epsilon * 1.05


def test_few_tables_are_told_that_delta_gains_nothing():
    with pytest.raises(DeltaRejected) as refused:
        pld.charges([1] * 12, MICRO, MILLIONTH, 12)
    assert refused.value.code == "delta_not_offered"
    assert "more than 12 tables, this one has 12" in str(refused.value)
    assert len(pld.charges([1] * 13, MICRO, MILLIONTH, 13)) == 13


def test_what_the_coins_are_off_by_is_taken_out_of_delta():
    numbers = 1000
    each = (1 + Fraction(exp(1))) * distance(scale(1, 25_000)) * numbers * ATTO
    assert pld.slack(MICRO, numbers) >= each  # noise has at most 61 digits, this one fewer
    with pytest.raises(DeltaRejected) as refused:
        pld.charges([1] * 13, 20 * MICRO, 10**8, 16_384)
    assert refused.value.code == "delta_too_small"


def test_sixteen_noised_counts_lose_no_more_than_asked():
    """From the exact law of the noise, moved by one patient: sixteen counts whose losses add up."""
    found = pld.charges([1] * 16, MICRO, MILLIONTH, 16)[0]
    each = found / MICRO
    law = [float(p) for p in exact_pmf(scale(1, found), 600)]
    better = sum(law[z] for z in range(len(law)) if z - 600 <= 0)  # |z - 1| - |z| = 1 here, else -1
    assert better == pytest.approx(1 / (1 + exp(-each)), abs=1e-9)
    assert lost([each] * 16, 1) <= 1e-6


@pytest.mark.parametrize(
    ("text", "atto"),
    [
        ("1e-6", 10**12),
        ("0.000001", 10**12),
        (1e-6, 10**12),
        ("2.5E-7", 25 * 10**10),
        (" 1e-10 ", 10**8),
        ("1e-4", 10**14),
    ],
)
def test_a_delta_is_read_exactly(text, atto):
    assert atto_delta(text) == atto
    assert atto_delta(delta_text(atto)) == atto


@pytest.mark.parametrize(
    ("text", "code"),
    [("0", "delta_invalid"), ("-1e-6", "delta_invalid"), ("1e-11", "delta_invalid"), ("1.1e-4", "delta_too_large"),
     ("1", "delta_too_large"), ("", "delta_invalid"), ("e-6", "delta_invalid"), ("nan", "delta_invalid"),
     (True, "delta_invalid"), ("1.0000000000001e-6", "delta_invalid"), ("1e999", "delta_too_large")],
)  # fmt: skip
def test_what_is_no_delta_is_refused(text, code):
    with pytest.raises(DeltaRejected) as refused:
        atto_delta(text)
    assert refused.value.code == code


def test_deltas_are_told_as_people_write_them():
    assert [delta_text(a) for a in (0, 10**12, 25 * 10**10, 10**8)] == ["0", "1e-6", "2.5e-7", "1e-10"]
