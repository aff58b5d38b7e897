"""Epsilon as money: millionths, whole numbers, never rounded in the analyst's favour.

One dataset's charges add up (basic composition of pure differential privacy, a valid filter for adaptively
chosen epsilons: Rogers et al., NeurIPS 2016), so an account is a sum of integers. Text with more than six
decimal places is refused rather than rounded; what must be rounded (a computed epsilon) is rounded up.
A delta is counted in units of 10^-18, whole numbers too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil

MICRO = 1_000_000
LARGEST_QUERY = 20 * MICRO  # above it the answer is as good as exact, and no party accepts it
LARGEST_BUDGET = 1_000 * MICRO
ATTO = 10**18
SMALLEST_DELTA = 10**8  # 1e-10: below it the arithmetic of `privacy.pld` gives nothing away
LARGEST_DELTA = 10**14  # 1e-4

_DECIMAL = re.compile(r"\+?([0-9]{1,20})(?:\.([0-9]{0,40}))?|\+?\.([0-9]{1,40})")
_SMALL = re.compile(r"\+?([0-9]{0,20})(?:\.([0-9]{0,40}))?(?:e[-+]?[0-9]{1,3})?")


class EpsilonRejected(ValueError):
    """This is no epsilon that can be charged."""

    code = "epsilon_invalid"

    def __init__(self, message: str, code: str = "epsilon_invalid") -> None:
        super().__init__(message)
        self.code = code


class DeltaRejected(ValueError):
    """This is no delta that can be charged."""

    code = "delta_invalid"

    def __init__(self, message: str, code: str = "delta_invalid") -> None:
        super().__init__(message)
        self.code = code


def atto_delta(value: str | float | Decimal) -> int:
    """Units of 10^-18 of the delta that a text such as "1e-6" or "0.000001", or a JSON number, spells.

    Raises  DeltaRejected: delta_invalid (no decimal number, below 1e-10, more than 18 decimal places),
            delta_too_large (above 1e-4).
    """
    text = value.strip().lower() if isinstance(value, str) else _spelled(value)
    match = _SMALL.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        raise DeltaRejected('delta is a small decimal number, such as "1e-6"')
    exact = Decimal(text).scaleb(18)
    if exact > LARGEST_DELTA:
        raise DeltaRejected(f"delta is at most {delta_text(LARGEST_DELTA)}", "delta_too_large")
    if exact < SMALLEST_DELTA:
        raise DeltaRejected(f"delta is at least {delta_text(SMALLEST_DELTA)}, or left out")
    if exact != int(exact):
        raise DeltaRejected("delta has at most 18 decimal places")
    return int(exact)


def delta_text(atto: int) -> str:
    """The shortest text of a delta: 10^12 units are "1e-6", none are "0"."""
    if atto == 0:
        return "0"
    digits = str(atto).rstrip("0")
    whole = digits[0] + ("." + digits[1:] if digits[1:] else "")
    return f"{whole}e-{18 - len(str(atto)) + 1}"


def micro_epsilon(value: str | float | Decimal, *, largest: int = LARGEST_QUERY) -> int:
    """Millionths of the epsilon that a text or a JSON number spells.

    A float is read as its shortest decimal (0.1 is 100000), never as the binary fraction behind it.
    Raises  EpsilonRejected: epsilon_invalid (no plain decimal, zero, negative, more than six decimal
            places), epsilon_too_large.
    """
    text = _spelled(value)
    if re.fullmatch(r"-[0-9.]+", text):
        raise EpsilonRejected("epsilon must be positive")
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise EpsilonRejected('epsilon is a plain decimal number, such as "0.5"')
    whole, places = match[1] or "0", (match[2] or match[3] or "").rstrip("0")
    if len(places) > 6:
        raise EpsilonRejected("epsilon has at most six decimal places")
    micro = int(whole) * MICRO + int(places.ljust(6, "0"))
    if micro == 0:
        raise EpsilonRejected("epsilon must be positive")
    if micro > largest:
        raise EpsilonRejected(f"epsilon is at most {short_text(largest)}", "epsilon_too_large")
    return micro


def charged(epsilon: Fraction) -> int:
    """Millionths charged for a computed epsilon: rounded up, so the account never understates a loss."""
    if epsilon < 0:
        raise EpsilonRejected("a charge is never negative")
    return ceil(epsilon * MICRO)


def composed(charges: Iterable[int]) -> int:
    """What several releases from one dataset cost together: their sum."""
    total = 0
    for charge in charges:
        if not isinstance(charge, int) or isinstance(charge, bool) or charge < 0:
            raise EpsilonRejected("a charge is a whole number of millionths, not negative")
        total += charge
    return total


def shares(total: int, own: Sequence[int | None]) -> list[int]:
    """Split a program's total: a statement's own figure first, the rest equally, floored.

    The shares never sum to more than `total`. Raises EpsilonRejected: epsilon_exceeds_request if the own
    figures do, epsilon_exhausted if nothing (under a millionth each) is left for the others.
    """
    named = composed(figure for figure in own if figure is not None)
    if named > total:
        raise EpsilonRejected(
            f"the statements ask for epsilon {short_text(named)} together, the request has {short_text(total)}",
            "epsilon_exceeds_request",
        )
    others = sum(figure is None for figure in own)
    if not others:
        return [figure for figure in own if figure is not None]
    share = (total - named) // others
    if share == 0:
        raise EpsilonRejected(
            f"of epsilon {short_text(total)} nothing is left for {others} statements without their own figure",
            "epsilon_exhausted",
        )
    return [share if figure is None else figure for figure in own]


def weighted(total: int, weights: Sequence[int]) -> list[int]:
    """Split a statement's epsilon over its tables by weight; what flooring leaves goes to the first.

    Raises EpsilonRejected, epsilon_exhausted, if a table would have less than a millionth.
    """
    if total == 0:  # exact mode
        return [0] * len(weights)
    parts = [total * weight // sum(weights) for weight in weights]
    parts[0] += total - sum(parts)
    if not all(parts):
        raise EpsilonRejected(
            f"epsilon {short_text(total)} is too little for {len(weights)} tables", "epsilon_exhausted"
        )
    return parts


def epsilon_text(micro: int) -> str:
    """Six decimal places, as ledgers and budgets show it: 1500000 is "1.500000"."""
    sign, micro = "-" * (micro < 0), abs(micro)
    return f"{sign}{micro // MICRO}.{micro % MICRO:06d}"


def short_text(micro: int) -> str:
    """The shortest decimal text, as programs show it: 1500000 is "1.5"."""
    return epsilon_text(micro).rstrip("0").rstrip(".")


def _spelled(value: object) -> str:
    if isinstance(value, str):
        return value.strip() if len(value) <= 100 else "?"
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return "?"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "1" + "0" * 19
    exact = Decimal(repr(value)) if isinstance(value, float) else value
    if not exact.is_finite() or abs(exact.adjusted()) > 19 and exact != 0:
        return "?"
    return format(exact, "f")
