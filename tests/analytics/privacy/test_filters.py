"""Two accountings of one budget: each alone, either together, and what their union may lose."""

from fractions import Fraction
from math import exp, isqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.privacy.accountant import ATTO, MICRO
from analytics.privacy.composition import _at_delta
from analytics.privacy.filters import Allowance, Loss, squares

MILLIONTH = 10**12
POLICY = Allowance.of(10 * MICRO, MILLIONTH)


def plan(*epsilons, delta=0, charged=None):
    charges = [round(e * MICRO) for e in epsilons]
    total = sum(charges) if charged is None else round(charged * MICRO)
    return Loss(micro_epsilon=total, atto_delta=delta, squares=squares(charges))


def test_without_delta_the_sum_alone_decides():
    pure = Allowance.of(MICRO, 0)
    assert pure.squares == 0
    assert pure.covers(plan(0.5, 0.5))
    assert not pure.covers(plan(0.5, 0.500001))
    assert not pure.covers(plan(0.001, delta=1))
    assert not pure.by_zcdp(Loss())


def test_with_delta_a_few_large_tables_fit_by_the_sum_and_many_small_ones_by_zcdp():
    few, many = plan(*[2.5] * 4), plan(*[0.1] * 250)
    assert POLICY.by_sum(few) and not POLICY.by_zcdp(few)
    assert POLICY.by_zcdp(many) and not POLICY.by_sum(many)  # 25 in all
    assert POLICY.covers(few) and POLICY.covers(many)
    assert not POLICY.covers(plan(*[2.6] * 4)) and not POLICY.covers(plan(*[0.1] * 300))


def test_epsilons_and_deltas_of_mixed_plans_add_up_and_half_of_delta_is_theirs():
    pure, with_delta = plan(6.0), plan(*[0.2] * 40, charged=3, delta=MILLIONTH // 4)
    assert POLICY.by_sum(pure + with_delta)
    assert POLICY.by_sum(pure + with_delta + plan(1.0, delta=MILLIONTH // 4))
    assert not POLICY.by_sum(pure + with_delta + plan(1.0, delta=MILLIONTH // 4 + 1))
    assert not POLICY.covers(pure + with_delta + plan(1.000001))


def test_the_other_half_is_what_rho_is_turned_into_epsilon_with():
    rho = POLICY.squares / (2 * MICRO**2)
    assert _at_delta(rho, 0.5e-6) <= 10
    assert _at_delta(rho * 1.001, 0.5e-6) > 10


@given(
    st.integers(100_000, 20 * MICRO), st.integers(8, 14), st.integers(0, 30 * MICRO), st.integers(0, 10**13)
)
@settings(max_examples=60, deadline=None)
def test_what_is_left_is_the_most_that_one_table_may_have(epsilon, places, spent, delta):
    allowed = Allowance.of(epsilon, 10**places)
    held = Loss(micro_epsilon=spent, atto_delta=delta, squares=spent**2 // 9)
    left = allowed.left(held)
    one = Loss(micro_epsilon=left, squares=left**2)
    more = Loss(micro_epsilon=left + 1, squares=(left + 1) ** 2)
    assert left == 0 or allowed.covers(held + one)
    assert not allowed.covers(held + more)


@pytest.mark.parametrize("seed", range(3))
def test_whoever_asks_adaptively_never_loses_more_than_the_budget(seed):
    """Randomised responses whose epsilons depend on earlier answers, as long as either accounting lets them pass.

    delta at the budget's epsilon, summed over all transcripts, for an asker that turns to larger epsilons when the loss
    is high: the worst kind. Enumerated exactly over a lattice of losses.
    """
    rng = Random(seed)
    budget = Allowance.of(2 * MICRO, 10**14)
    small, large = rng.choice([(40_000, 200_000), (50_000, 150_000), (60_000, 300_000)])
    live = {(0, Loss()): 1.0}
    done = 0.0
    while live:
        grown = {}
        for (loss, held), mass in live.items():
            wish = large if loss > rng.choice([200_000, 400_000]) else small
            charge = next(
                (c for c in (wish, small)
                 if budget.covers(held + Loss(micro_epsilon=c, squares=c * c))), None
            )  # fmt: skip
            if charge is None or mass < 1e-14:
                done += mass * max(0.0, 1 - exp(2 - loss / MICRO))
                continue
            then = held + Loss(micro_epsilon=charge, squares=charge * charge)
            worse = 1 / (1 + exp(-charge / MICRO))
            for sign, p in ((1, worse), (-1, 1 - worse)):
                place = (loss + sign * charge, then)
                grown[place] = grown.get(place, 0.0) + mass * p
        live = grown
    assert done <= 1e-4


def test_the_filters_left_is_a_root_in_whole_numbers():
    held = Loss(micro_epsilon=50 * MICRO, atto_delta=MILLIONTH, squares=POLICY.squares - 17)
    assert POLICY.left(held) == isqrt(17) == 4
    assert POLICY.left(Loss(micro_epsilon=11 * MICRO, squares=POLICY.squares + 1)) == 0
    assert Fraction(POLICY.atto_delta, ATTO) == Fraction(1, 10**6)
