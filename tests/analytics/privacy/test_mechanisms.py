"""The constants of the noise: coins that make the exact discrete Laplace law, to within 2**-50."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analytics.privacy import mechanisms
from analytics.privacy.mechanisms import (
    coin_pmf,
    constants_digest,
    digits,
    distance,
    exact_pmf,
    fits,
    half_width,
    reach,
    scale,
    slack,
    thresholds,
    variance,
)

SCALES = st.builds(Fraction, st.integers(1, 10**15), st.integers(1, 10**7)).filter(lambda t: t < 2**50)
SMALL = [Fraction(1, 20), Fraction(1, 2), Fraction(1), Fraction(3, 2), Fraction(10, 3), Fraction(20)]


def test_a_scale_is_an_exact_fraction():
    assert scale(1, 333_333) == Fraction(10**6, 333_333)
    assert scale(4 * 2**24, 500_000) == 2**27
    for odd in ((0, 1), (1, 0), (-1, 1)):
        with pytest.raises(ValueError, match="positive"):
            scale(*odd)


@given(t=SCALES)
def test_digits_are_the_least_whose_cut_off_tail_is_negligible(t):
    length = digits(t)
    assert length == 1 or Fraction(2**length, 128) >= t > Fraction(2**length, 256)
    assert Fraction(2**length) >= 128 * t, "the tail beyond is exp(-128) at most"


@pytest.mark.parametrize(
    ("t", "length"),
    [
        (Fraction(1), 7),
        (Fraction(2), 8),
        (Fraction(2) + Fraction(1, 10**9), 9),
        (Fraction(1, 2), 6),
        (Fraction(1, 1000), 1),
    ],
)
def test_digits_at_powers_of_two(t, length):
    assert digits(t) == length
    assert len(thresholds(t)) == length


@settings(max_examples=60, deadline=None)
@given(t=SCALES)
@example(t=Fraction(1, 2302586))
def test_thresholds_are_the_nearest_64_bit_integers(t):
    with localcontext() as context:
        context.prec = 160  # more digits than the module works with
        context.Emin, context.Emax = -(10**9), 10**9  # small scales have small thresholds
        for i, threshold in enumerate(thresholds(t)):
            true = Decimal(2**64) / (1 + (Decimal(2**i * t.denominator) / t.numerator).exp())
            assert abs(true - threshold) <= Decimal("0.5")
            assert 0 <= threshold <= 2**63


def test_known_constants_do_not_move():
    assert thresholds(Fraction(1)) == (
        4961093570831980854,
        2198905795380358826,
        331787012026708147,
        6186118031800230,
        2075907333724,
        233613,
        0,
    )
    assert constants_digest([Fraction(1), Fraction(4096, 3)]) == constants_digest(
        [Fraction(1), Fraction(4096, 3)]
    )
    assert constants_digest([Fraction(1)]) != constants_digest([Fraction(1), Fraction(1)])
    assert constants_digest([Fraction(2, 1)]) != constants_digest([Fraction(1)])


@pytest.mark.parametrize("t", SMALL)
def test_the_coins_make_the_exact_law_within_the_stated_distance(t):
    with localcontext() as context:
        context.prec = 150
        coins = [Decimal(p.numerator) / p.denominator for p in coin_pmf(t)]
        a = (-Decimal(t.denominator) / t.numerator).exp()
        exact = [(1 - a) * a**g for g in range(len(coins))]
        off = sum((abs(p - q) for p, q in zip(coins, exact, strict=True)), a ** len(coins)) / 2
        assert abs(sum(coins) - 1) < Decimal("1e-140")
        # G1 - G2 is off by at most twice what one of them is
        assert 2 * off <= Decimal(distance(t).numerator) / distance(t).denominator
        # and the bound is no idle one: it is within a factor of a thousand
        assert 2000 * off >= Decimal(distance(t).numerator) / distance(t).denominator


@pytest.mark.parametrize("t", SMALL)
def test_the_exact_law_sums_to_one_and_has_the_stated_variance(t):
    span = math.ceil(80 * t) + 1
    law = exact_pmf(t, span)
    assert len(law) == 2 * span + 1
    assert abs(sum(law) - 1) < Decimal("1e-25")
    assert law == law[::-1]
    moment = sum(p * (z - span) ** 2 for z, p in enumerate(law))
    assert float(moment) == pytest.approx(variance(t), rel=1e-12)


@pytest.mark.parametrize("t", SMALL)
def test_a_shift_by_one_changes_no_probability_by_more_than_e_to_one_over_t(t):
    law = exact_pmf(t, 40)
    bound = (Decimal(t.denominator) / t.numerator).exp()
    for left, right in pairwise(law):
        assert max(left / right, right / left) <= bound * (1 + Decimal("1e-20"))


def test_for_large_scales_the_variance_is_that_of_laplace():
    assert variance(Fraction(10**9)) == pytest.approx(2e18, rel=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("t", [*SMALL, Fraction(1000, 3)])
def test_reach_is_the_least_that_holds_the_level(t, level):
    q = reach(t, level)
    law = exact_pmf(t, q)
    assert sum(law) >= Decimal(str(level)) - Decimal("1e-15")
    if q:
        assert sum(law[1:-1]) < Decimal(str(level))


def test_half_width_of_two_noises_holds_the_level():
    t = Fraction(40)
    law = [float(p) for p in exact_pmf(t, 800)]
    for w1, w2 in ((0.5, 0.5), (1.0, 0.25), (2.0, -1.0)):
        q = half_width(t, (w1, w2))
        inside = sum(
            p * sum(law[max(0, math.ceil(min(lo, hi)) + 800) : math.floor(max(lo, hi)) + 801])
            for z, p in enumerate(law, -800)
            for lo, hi in [((-q - w1 * z) / w2, (q - w1 * z) / w2)]
        )
        assert inside == pytest.approx(0.95, abs=0.01)
    assert half_width(t, (3.0,)) == 3 * reach(t)
    assert half_width(t, ()) == 0


def test_the_slack_is_below_two_to_the_minus_fifty_up_to_epsilon_five():
    for micro in (1, 10**6, 5 * 10**6):
        for delta in (1, 2**13, 2**26, 2**50):
            t = scale(delta, micro)
            if digits(t) <= mechanisms.MOST_DIGITS:
                assert 0 < slack(t, micro) < 2**-50


def test_plans_that_would_leave_the_ring_do_not_fit():
    assert fits(Fraction(1), 2**62, 1)
    assert not fits(Fraction(1), 2**63 - 1, 1)
    assert fits(Fraction(2**54), 1, 1)
    assert digits(Fraction(2**54) + 1) == 62
    assert not fits(Fraction(2**54) + 1, 1, 1)


def test_no_scale_is_zero_or_negative():
    for odd in (Fraction(0), Fraction(-1)):
        with pytest.raises(ValueError, match="positive"):
            digits(odd)
