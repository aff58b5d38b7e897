"""A figure as a person reads it: a value, an interval that holds, or the reason why there is none.

No number leaves here that is not finite, no interval leaves its possible range, and the keys are the same
whatever the values. Floats carry twelve digits: more would be the machine's, not the study's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

from analytics.statistics.noise import LEVEL

Number: TypeAlias = float | int | Fraction | None

NOISE = "unavailable: the noise outweighs the cohort"
# The same words whichever rule was broken: they are all that an analyst learns.
FOR_REVIEW = (
    "withheld for review: the exact answer to this program did not pass every disclosure check, and nothing of it is"
    " shown; an operator looks at what was asked (docs/privacy.md has the checks)"
)
IMPOSSIBLE = "unavailable: no cohort has these totals"
EMPTY = "no patient in the cohort"
OUT_OF_NOISE = 4  # standard deviations of the noise in n that a cohort must have (docs/validity.md)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One group of a statement. `noise` is the standard deviation of the noise within the value."""

    value: Number = None
    low: Number = None
    high: Number = None
    n: int | None = None
    noise: Number = None
    suppressed: bool = False
    reason: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def estimate(
        cls,
        value: Number,
        interval: tuple[Number, Number] | None,
        *,
        within: tuple[Number, Number] = (None, None),
        **rest: Any,
    ) -> Figure:
        """A figure whose value and interval are held within a possible range, the value in the interval."""
        clamped = _held(value, within)
        low, high = (None, None) if interval is None else (_held(end, within) for end in interval)
        if clamped is not None and low is not None and high is not None:
            low, high = min(low, clamped), max(high, clamped)
        return cls(value=clamped, low=low, high=high, **rest)

    def public(self, by: dict[str, str], scale: float, deviation_of_n: float) -> dict[str, Any]:
        """The group of the Result."""
        group = {
            "by": by,
            "value": said(self.value),
            "low": said(self.low),
            "high": said(self.high),
            "level": LEVEL,
            "n": said(self.n),
            "noise_scale": {"released": said(scale), "value": said(self.noise), "n": said(deviation_of_n)},
            "suppressed": self.suppressed,
            "reason": self.reason,
        }
        return group | self.extra

    def one(self) -> dict[str, Any]:
        """One of several figures within a group: a comparison, a coefficient, a stratum."""
        return {
            "value": said(self.value),
            "low": said(self.low),
            "high": said(self.high),
            "n": said(self.n),
            "noise": said(self.noise),
            "reason": self.reason,
            **self.extra,
        }


def too_few(mode: str, minimum: int) -> str:
    """Why a figure is suppressed: the rule, the threshold, who set it, what to change."""
    who = "fewer than" if mode == "exact" else "noised cohort below"
    return f"{who} the minimum cohort of {minimum}; set by the provider's policy; ask for a wider cohort"


def said(number: Number) -> float | int | None:
    """A JSON number or None: whole numbers whole, others with twelve digits, never NaN or infinite."""
    if number is None or (isinstance(number, int) and not isinstance(number, bool)):
        return number
    try:
        as_float = float(number)
    except OverflowError:
        return None
    return float(f"{as_float:.12g}") + 0.0 if math.isfinite(as_float) else None


def _held(number: Number, within: tuple[Number, Number]) -> Number:
    if number is None or (isinstance(number, float) and math.isnan(number)):
        return None
    low, high = within
    if low is not None and number < low:
        return low
    if high is not None and number > high:
        return high
    return number
