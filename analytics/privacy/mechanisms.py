"""The discrete Laplace mechanism, as coins that four parties can toss together.

Noise of scale t (a Fraction: sensitivity / epsilon) is G1 - G2 with two independent geometric variables,
P(G = g) = (1 - a) a**g, a = exp(-1/t). The binary digits of G are independent coins,
P(digit i = 1) = 1 / (1 + exp(2**i / t)), so G is the sum of 2**i coin_i over i < L, and a coin is r < T_i with a
uniform 64-bit r and T_i = round(2**64 / (1 + exp(2**i / t))). Champion, shelat, Ullman, CCS 2019.

Distance to the exact law, for every t: each of the 2 L coins is off by at most 2**-65; cutting G at 2**L >= 128 t
loses at most exp(-128) each. So d <= 2 L 2**-65 + 2 exp(-128), and a released number is (epsilon, (1 + e**epsilon) d)
differentially private: `slack` below. No float takes part in a constant that the parties use.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import lru_cache

COIN_BITS = 64
MOST_DIGITS = 61  # 2**61 plus the totals still fits the ring
PRECISION = 120  # decimal digits; the constants need some 20

_EXACT = Context(prec=PRECISION, rounding=ROUND_HALF_EVEN, Emin=-(10**9), Emax=10**9)


def scale(sensitivity: int, micro_epsilon: int) -> Fraction:
    """t = sensitivity / epsilon, exactly."""
    if sensitivity < 1 or micro_epsilon < 1:
        raise ValueError("sensitivity and epsilon are positive")
    return Fraction(sensitivity * 10**6, micro_epsilon)


def digits(t: Fraction) -> int:
    """L = ceil(log2 t) + 7, at least 1: binary digits of a geometric variable of scale t."""
    if t <= 0:
        raise ValueError("a scale is positive")
    p, q = t.numerator, t.denominator
    log = p.bit_length() - q.bit_length() - 1  # below log2 t
    while p << max(0, -log) > q << max(0, log):
        log += 1
    return max(1, log + 7)


def fits(t: Fraction, capacity: int, sensitivity: int) -> bool:
    """Whether totals of `capacity` patients and noise of scale t stay below 2**63, and L is at most 61."""
    length = digits(t)
    return length <= MOST_DIGITS and capacity * sensitivity + 2**length < 2**63


@lru_cache(maxsize=1024)
def thresholds(t: Fraction) -> tuple[int, ...]:
    """T_0 to T_(L-1): coin i is 1 where a uniform 64-bit integer is below T_i."""
    return tuple(_threshold(i, t) for i in range(digits(t)))


def constants_digest(scales: Iterable[Fraction]) -> str:
    """SHA-256 over scales and their thresholds: parties that computed other constants notice it."""
    table = [[t.numerator, t.denominator, list(thresholds(t))] for t in scales]
    text = json.dumps({"type": "fourfold/1/noise", "coin_bits": COIN_BITS, "scales": table}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def distance(t: Fraction) -> Fraction:
    """A bound on the statistical distance between the coins' noise and the exact law."""
    return Fraction(2 * digits(t), 2**65) + Fraction(2, 2**184)  # exp(-128) < 2**-184


def slack(t: Fraction, micro_epsilon: int) -> float:
    """The delta that comes with one released number: (1 + e**epsilon) times the distance, an upper bound."""
    return (1 + math.exp(micro_epsilon / 10**6)) * float(distance(t)) * (1 + 1e-9)


def exact_pmf(t: Fraction, reach: int) -> list[Decimal]:
    """P(noise = z) of the exact law for z = -reach..reach, to 100 digits and more."""
    a = _decay(t)
    centre = _EXACT.divide(_EXACT.subtract(Decimal(1), a), _EXACT.add(Decimal(1), a))
    half = [centre]
    for _ in range(reach):
        half.append(_EXACT.multiply(half[-1], a))
    return half[:0:-1] + half


def coin_pmf(t: Fraction) -> list[Fraction]:
    """P(G = g) for g = 0..2**L - 1 of the coins as tossed: what the circuit really draws."""
    law = [Fraction(1)]
    for bit in thresholds(t):
        one = Fraction(bit, 2**COIN_BITS)
        law = [p * (1 - one) for p in law] + [p * one for p in law]
    return law


def variance(t: Fraction) -> float:
    """Variance of the noise, 2 a / (1 - a)**2, about 2 t**2."""
    a = _decay(t)
    rest = _EXACT.subtract(Decimal(1), a)
    return float(_EXACT.divide(_EXACT.multiply(Decimal(2), a), _EXACT.multiply(rest, rest)))


def reach(t: Fraction, level: float = 0.95) -> int:
    """The smallest q with P(|noise| <= q) >= level."""
    a = _decay(t)
    # P(|noise| > q) = 2 a**(q+1) / (1 + a)
    outside = _EXACT.divide(_EXACT.multiply(Decimal(repr(1 - level)), _EXACT.add(Decimal(1), a)), Decimal(2))
    q = _EXACT.divide(_EXACT.ln(outside), _EXACT.ln(a))
    return max(0, math.ceil(q) - 1)


def half_width(t: Fraction, weights: Sequence[float], level: float = 0.95) -> float:
    """The q with P(|w1 noise1 + w2 noise2| <= q) = level, for one or two independent noises of scale t.

    One weight: exact. Two: the continuous law, whose tail is (b1**2 exp(-q/b1) - b2**2 exp(-q/b2)) /
    (b1**2 - b2**2) with b = |w| t; right to one unit of the lattice.
    """
    scales = sorted((abs(w) * float(t) for w in weights if w), reverse=True)
    if len(scales) < 2:
        return max((abs(w) for w in weights), default=0.0) * reach(t, level)
    wide, narrow = scales[0], min(scales[1], scales[0] * (1 - 1e-6))
    low, high = 0.0, 100 * wide
    for _ in range(200):
        q = (low + high) / 2
        tail = wide**2 * math.exp(-q / wide) - narrow**2 * math.exp(-q / narrow)
        low, high = (q, high) if tail > (1 - level) * (wide**2 - narrow**2) else (low, q)
    return high


def _decay(t: Fraction) -> Decimal:
    return _EXACT.exp(_EXACT.divide(Decimal(-t.denominator), Decimal(t.numerator)))


def _threshold(i: int, t: Fraction) -> int:
    power = _EXACT.divide(Decimal(2**i * t.denominator), Decimal(t.numerator))
    odds = _EXACT.add(Decimal(1), _EXACT.exp(power))
    return int(_EXACT.divide(Decimal(2**COIN_BITS), odds).to_integral_value(ROUND_HALF_EVEN))
