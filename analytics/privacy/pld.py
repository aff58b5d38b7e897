"""How much epsilon each table of an (epsilon, delta) plan may have: its privacy loss distribution, in whole numbers.

A table with noise of pure epsilon e is at worst randomised response, whose loss is e with probability
1 / (1 + exp(-e)), else -e (Kairouz, Oh, Viswanath, ICML 2015); a noised count is exactly that. The losses of tables that
are fixed beforehand add up independently (Dwork, Rothblum, 2016; Sommer, Meiser, Mohammadi, PETS 2019), and

    delta(epsilon) = E max(0, 1 - exp(epsilon - loss)).

`charges` keeps the proportions of a plan and finds the largest unit of loss with which delta(epsilon) stays within the
delta that was asked. Portal, parties and analyst must reach the same numbers on any machine, so no float takes part:
losses are multiples of one unit, masses are 62-bit integers, exponentials come from decimal arithmetic of 40 digits, and
every rounding is towards a larger delta. What the coins' distance from the exact law adds (`mechanisms.distance`) is
taken out of delta first.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from math import ceil, gcd

from analytics.privacy.accountant import ATTO, DeltaRejected, delta_text
from analytics.privacy.mechanisms import COIN_BITS, MOST_DIGITS

FEWEST = 13  # tables: up to twelve, the sum of epsilons is about as good and holds without delta
GRID = 2**14  # cells of the losses of unequal tables
NANO = 10**9
PER_MICRO = 1_000  # nano-epsilon
COIN = 31  # bits of a probability
ONE = 1 << 62  # the mass of everything
POINT = 96  # bits of an exponential

_DECIMAL = Context(prec=40, rounding=ROUND_HALF_EVEN, Emin=-(10**9), Emax=10**9)
# Two coins of each of L <= 61 digits are off by 2^-65, and cutting loses at most 2 exp(-128) < 2^-183.
_DISTANCE = Fraction(2 * MOST_DIGITS, 2 ** (COIN_BITS + 1)) + Fraction(1, 2**183)


def charges(proportions: Sequence[int], micro_epsilon: int, atto_delta: int, numbers: int) -> list[int]:
    """The micro-epsilon of each table of a plan that loses (micro_epsilon, atto_delta) in all.

    Shapes  proportions: one positive integer for each table, such as its charge of a pure plan; unequal ones are kept
            to a part in GRID. numbers: how many integers are released.
    Raises  DeltaRejected: delta_not_offered (twelve tables or fewer), delta_too_small (the coins need more).
    """
    if len(proportions) < FEWEST:
        raise DeltaRejected(
            f"a plan with delta has more than {FEWEST - 1} tables, this one has {len(proportions)}: so few cost about"
            " the same without, and then the promise has no exception; leave out delta",
            "delta_not_offered",
        )
    target = atto_delta - slack(micro_epsilon, numbers)
    if target <= 0:
        raise DeltaRejected(
            f"delta {delta_text(atto_delta)} is too small for {numbers} numbers at this epsilon: ask for less epsilon",
            "delta_too_small",
        )
    weights = _weights(proportions)
    unit = _unit(weights, micro_epsilon, target)
    return [max(1, weight * unit // PER_MICRO) for weight in weights]


def slack(micro_epsilon: int, numbers: int) -> int:
    """What the distance of the coins from the exact law adds to delta, in units of 10^-18, rounded up."""
    factor = Fraction(_exp(micro_epsilon * PER_MICRO)) + 1
    return ceil(factor * (1 + Fraction(1, 10**30)) * numbers * _DISTANCE * ATTO)


def keeps(weights: Sequence[int], unit: int, micro_epsilon: int, target: int) -> bool:
    """Whether tables with losses of weight * unit nano-epsilon stay within `target` (units of 10^-18) at micro_epsilon.

    Never True where they do not; False where the bound, not the loss itself, is above by less than a part in a million.
    """
    return lost(weights, unit, micro_epsilon) * ATTO <= target * ONE


def lost(weights: Sequence[int], unit: int, micro_epsilon: int) -> int:
    """delta(epsilon) of tables with losses of weight * unit nano-epsilon, in units of 1 / ONE: an upper bound."""
    import numpy as np  # the rest of this package knows no arrays

    whole, epsilon = sum(weights), micro_epsilon * PER_MICRO
    # Place k holds the loss (whole - 2 k) unit; only places with more than epsilon are lost, and they are the first.
    places = -(-(whole * unit - epsilon) // (2 * unit))
    if places <= 0:
        return 0
    mass = np.zeros(places, dtype=np.uint64)
    mass[0] = ONE
    coins: dict[int, int] = {}
    for weight in weights:
        if weight not in coins:
            coins[weight] = _worse(weight * unit)
        grown = _part(mass, coins[weight])
        if weight < places:
            grown[weight:] += _part(mass[:-weight], (1 << COIN) - coins[weight])
        mass = grown
    # Horner's rule, rounded down: sum of mass_k exp(epsilon - loss_k).
    ratio, kept, total = _decay(2 * unit), 0, 0
    for one in mass.tolist():
        kept = (kept * ratio >> POINT) + one
        total += one
    nearest = (whole - 2 * (places - 1)) * unit - epsilon
    return total - (kept * _decay(nearest) >> POINT)


@lru_cache(maxsize=256)
def _unit(weights: tuple[int, ...], micro_epsilon: int, target: int) -> int:
    """The largest unit (nano-epsilon) that a search by halves finds to keep the target; the next one does not."""
    low = micro_epsilon * PER_MICRO // sum(weights)  # the sum of epsilons: nothing is lost
    high = 2 * max(1, low)
    while keeps(weights, high, micro_epsilon, target):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if keeps(weights, middle, micro_epsilon, target) else (low, middle)
    return low


def _weights(proportions: Sequence[int]) -> tuple[int, ...]:
    total = sum(proportions)
    found = [max(1, part * GRID // total) for part in proportions]
    common = gcd(*found)
    return tuple(weight // common for weight in found)


def _part(mass, coin: int):  # type: ignore[no-untyped-def]  # arrays of numpy, which is not loaded here
    """mass * coin / 2^COIN, each rounded up, in 64 bits."""
    from numpy import uint64

    low = (mass & uint64((1 << COIN) - 1)) * uint64(coin)
    return (mass >> uint64(COIN)) * uint64(coin) + (low + uint64((1 << COIN) - 1) >> uint64(COIN))


def _worse(nano: int) -> int:
    """1 / (1 + exp(-epsilon)) in units of 2^-COIN, rounded up."""
    odds = _DECIMAL.add(Decimal(1), _exp(-nano))
    return min(1 << COIN, ceil(_DECIMAL.divide(Decimal(1 << COIN), odds)) + 1)


def _decay(nano: int) -> int:
    """exp(-nano / 10^9) in units of 2^-POINT, rounded down."""
    return max(0, int(_DECIMAL.multiply(_exp(-nano), Decimal(1 << POINT))) - 1)


def _exp(nano: int) -> Decimal:
    return _DECIMAL.exp(_DECIMAL.divide(Decimal(nano), Decimal(NANO)))
