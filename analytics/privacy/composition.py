"""What many releases lose together, at a small delta: for information, beside the sum of epsilons that is charged.

The sum is a statement without delta and holds whatever is asked next. Two others are often smaller:

    PLD    the privacy loss distribution of these releases, each taken as the worst that its epsilon allows: randomised
           response, whose loss is epsilon with probability e^epsilon / (1 + e^epsilon), else -epsilon (Kairouz, Oh,
           Viswanath, ICML 2015). A count with discrete Laplace noise is exactly that; other tables lose less. Valid for
           releases fixed beforehand.
    zCDP   rho = sum of epsilon^2 / 2 (Bun, Steinke, TCC 2016), turned into epsilon at delta by Proposition 12 of
           Canonne, Kamath, Steinke (NeurIPS 2020). Valid also for epsilons chosen after earlier answers, as a filter:
           as long as rho stays below what an (epsilon, delta) allows (Whitehouse, Ramdas, Rogers, Wu, ICML 2023).

Floats, rounded up where they are rounded: no charge depends on them. What a plan with delta may charge is found in whole
numbers (`privacy.pld`), and so is whether a filter lets a further plan pass (`privacy.filters`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from math import ceil, exp, log, log1p
from typing import Any

from analytics.privacy.accountant import ATTO, delta_text, epsilon_text

MICRO = 10**6
DELTA = Fraction(1, 10**6)
CELLS = 20_000  # of the grid of losses
SAFE = 1e-9  # relative; far above what the sums of floats are off by
MOST = 2_000  # releases whose distribution is still computed
MEANS = {
    "sum": "charged: whatever is learnt from the answers, its odds for one patient are at most e^epsilon times"
    " what they would be without that patient; holds whatever is asked next",
    "pld": "for information: the same with this epsilon, except with a probability of about delta; for exactly these"
    " tables, fixed beforehand",
    "zcdp": "for information: the same with this epsilon, except with a probability of about delta; also for tables"
    " chosen after earlier answers",
}

CHARGED = (
    "whatever is learnt from these answers, its odds for one patient are at most e^epsilon times what they would be"
    " without that patient, except with a probability of about delta; holds for these tables together, fixed beforehand;"
    " over several plans epsilons and deltas add up"
)
SUM_BESIDE = "for information: the same without any exception, with this larger epsilon; it holds whatever is asked next"


def pld_epsilon(charges: Sequence[int], delta: Fraction = DELTA) -> int:
    """Micro-epsilon at `delta` of releases with these charges (micro-epsilon each), by their privacy loss distribution.

    Never above the sum. Losses are rounded up to a grid of CELLS steps, so the answer is an upper bound.
    """
    _checked(charges, delta)
    import numpy as np  # the rest of this package knows no arrays

    total = sum(charges)
    if total == 0:
        return 0
    step = max(1, ceil(total / CELLS))
    steps = [-(-charge // step) for charge in charges if charge]
    mass = np.zeros(sum(steps) + 1)  # at k: losses of sum(steps) - 2 k steps
    mass[0] = 1.0
    for size in steps:
        worse = 1 / (1 + exp(-size * step / MICRO))
        better = mass[:-size] * (1 - worse)
        mass *= worse
        mass[size:] += better
    losses = (sum(steps) - 2.0 * np.arange(len(mass))) * step / MICRO

    def exceeded(micro: int) -> bool:
        over = losses > micro / MICRO
        lost = float(mass[over] @ -np.expm1(micro / MICRO - losses[over]))
        return lost * (1 + SAFE) > float(delta)

    low, high = -1, total  # at the sum nothing is lost beyond epsilon, whatever delta
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if exceeded(middle) else (low, middle)
    return high


def zcdp_epsilon(charges: Sequence[int], delta: Fraction = DELTA) -> int:
    """Micro-epsilon at `delta` of releases with these charges, as zero-concentrated differential privacy. Not above the sum."""
    _checked(charges, delta)
    if not any(charges):
        return 0
    return min(sum(charges), ceil(_at_delta(_rho(charges), float(delta)) * MICRO))


def zcdp_cap(micro_epsilon: int, delta: Fraction = DELTA) -> int:
    """The most that twice rho may be, in square micro-epsilon, for (epsilon, delta) to hold; rounded down."""
    _checked([micro_epsilon], delta)
    low, high = 0.0, micro_epsilon / MICRO  # epsilon at delta is above rho
    for _ in range(200):
        middle = (low + high) / 2
        fits = _at_delta(middle, float(delta)) * (1 + SAFE) <= micro_epsilon / MICRO
        low, high = (middle, high) if fits else (low, middle)
    return int((Decimal(low) * 2 * MICRO**2).to_integral_value(ROUND_DOWN))


def summary(
    charges: Sequence[int], *, micro_epsilon: int | None = None, atto_delta: int = 0, at: int = 0
) -> dict[str, Any]:
    """The figures as decimal text with six places, and what each means in words. `pld` is null beyond MOST.

    `micro_epsilon` and `atto_delta` are what was charged where that is not the sum; PLD and zCDP are told at the delta
    `at` (units of 10^-18), which is 10^-6 unless there is one.
    """
    at = at or int(DELTA * ATTO)
    told = {
        "tables": len(charges),
        "delta": format(Decimal(at).scaleb(-18).normalize(), "f"),
        "sum": epsilon_text(sum(charges)),
        "pld": epsilon_text(pld_epsilon(charges, Fraction(at, ATTO))) if len(charges) <= MOST else None,
        "zcdp": epsilon_text(zcdp_epsilon(charges, Fraction(at, ATTO))),
        "means": dict(MEANS),
    }
    if atto_delta and micro_epsilon is not None:
        told["charged"] = {"epsilon": epsilon_text(micro_epsilon), "delta": delta_text(atto_delta)}
        told["means"] = {"charged": CHARGED, **MEANS, "sum": SUM_BESIDE}
    return told


def _rho(charges: Iterable[int]) -> float:
    return sum(charge * charge for charge in charges) / (2 * MICRO**2)


def _at_delta(rho: float, delta: float) -> float:
    """The least over alpha > 1 of alpha rho + (ln(1 / delta) + (alpha - 1) ln(1 - 1 / alpha) - ln alpha) / (alpha - 1)."""
    if rho <= 0:
        return 0.0

    def bound(beta: float) -> float:  # alpha = 1 + e^beta
        less = exp(beta)
        alpha = 1 + less
        return alpha * rho + (-log(delta) - less * log1p(1 / less) - log(alpha)) / less

    # Any alpha gives a valid bound, so a coarse search is safe.
    best = min((b / 20 for b in range(-200, 400)), key=bound)
    return max(0.0, min(bound(best + k / 1000) for k in range(-50, 51)))


def _checked(charges: Sequence[int], delta: Fraction) -> None:
    if any(not isinstance(c, int) or isinstance(c, bool) or c < 0 for c in charges):
        raise ValueError("a charge is a whole number of millionths, not negative")
    if not 0 < delta < 1:
        raise ValueError("delta is between 0 and 1")
