"""What several releases lose at a delta, against exact enumeration and published figures."""

from fractions import Fraction
from itertools import product
from math import exp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.privacy.composition import (
    DELTA,
    MICRO,
    _at_delta,
    pld_epsilon,
    zcdp_cap,
    zcdp_epsilon,
)
from analytics.privacy.mechanisms import exact_pmf

CHARGES = st.lists(st.integers(1, 2 * MICRO), min_size=1, max_size=40)


def lost(charges, micro):
    """delta at epsilon, term by term, of randomised responses with these charges."""
    total = 0.0
    for signs in product((1, -1), repeat=len(charges)):
        loss = sum(s * c for s, c in zip(signs, charges, strict=True)) / MICRO
        mass = 1.0
        for s, c in zip(signs, charges, strict=True):
            mass *= 1 / (1 + exp(-s * c / MICRO))
        total += mass * max(0.0, 1 - exp(micro / MICRO - loss))
    return total


@given(st.lists(st.integers(1, 2 * MICRO), min_size=1, max_size=7), st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_the_loss_distribution_gives_the_least_epsilon_of_exact_enumeration(charges, places):
    delta = Fraction(1, 10**places)
    found = pld_epsilon(charges, delta)
    assert lost(charges, found) <= float(delta)
    # Rounded up by at most a grid step for each release.
    slack = len(charges) * (-(-sum(charges) // 20_000)) * 2 + 2
    assert found <= slack or lost(charges, found - slack) > float(delta) * (1 - 1e-9)


def test_a_noised_count_loses_what_the_distribution_says():
    """Three counts of epsilon 0.7: delta at epsilon 1.4 from the exact law of the noise, moved by one patient."""
    law = {z - 60: float(p) for z, p in enumerate(exact_pmf(Fraction(10, 7), 60))}
    one = {}
    for z, p in law.items():
        loss = round((abs(z - 1) - abs(z)) * 0.7, 6)
        one[loss] = one.get(loss, 0.0) + p
    three = {0.0: 1.0}
    for _ in range(3):
        grown = {}
        for (a, p), (b, q) in product(three.items(), one.items()):
            grown[round(a + b, 6)] = grown.get(round(a + b, 6), 0.0) + p * q
        three = grown
    direct = sum(p * max(0.0, 1 - exp(1.4 - loss)) for loss, p in three.items())
    assert direct == pytest.approx(lost([700_000] * 3, 1_400_000), rel=1e-9)


@given(CHARGES)
@settings(max_examples=60, deadline=None)
def test_neither_is_ever_above_the_sum_nor_negative(charges):
    assert 0 <= pld_epsilon(charges) <= sum(charges)
    assert 0 <= zcdp_epsilon(charges) <= sum(charges)


def test_few_releases_gain_nothing_and_many_do():
    assert pld_epsilon([100_000] * 10) == pytest.approx(MICRO, rel=0.02)
    assert zcdp_epsilon([100_000] * 10) == MICRO  # 1.30 by itself: the sum is better
    assert pld_epsilon([100_000] * 100) < zcdp_epsilon([100_000] * 100) < 6 * MICRO
    assert pld_epsilon([250_000] * 40) < 9 * MICRO


@pytest.mark.parametrize(
    ("rho", "epsilon"), [(0.01, 0.622), (0.05, 1.472), (0.1, 2.142), (0.5, 5.222), (1.0, 7.766)]
)
def test_rho_becomes_epsilon_as_in_canonne_kamath_steinke(rho, epsilon):
    assert _at_delta(rho, 1e-6) == pytest.approx(epsilon, abs=0.002)


@given(st.integers(100_000, 20 * MICRO))
@settings(max_examples=40, deadline=None)
def test_a_filter_lets_pass_what_keeps_its_epsilon_and_stops_what_does_not(micro):
    cap = zcdp_cap(micro)
    assert _at_delta(cap / (2 * MICRO**2), float(DELTA)) <= micro / MICRO
    assert _at_delta(cap * 1.001 / (2 * MICRO**2), float(DELTA)) > micro / MICRO * (1 - 1e-6)


def test_what_is_no_charge_or_no_delta_is_refused():
    for charges, delta in (([-1], DELTA), ([0.5], DELTA), ([1], Fraction(0)), ([1], Fraction(1))):
        with pytest.raises(ValueError):
            pld_epsilon(charges, delta)
        with pytest.raises(ValueError):
            zcdp_epsilon(charges, delta)
    assert pld_epsilon([]) == zcdp_epsilon([0]) == 0
