"""Codes confined to the declared range: an error, the nearest bound, or missing, as the field says.

The last step for every field, read or derived. A field that others are derived from keeps its exact values
beside its codes, bounded in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.query.schema import Field
from providers.report import Report
from providers.trace import Trace
from providers.values import Unreadable, code_of

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Exact = list[Decimal | Fraction | None]

OUT_OF_RANGE = Unreadable(
    "out_of_range",
    "the value lies outside minimum and maximum",
    'correct it, widen the range, or set "outOfRange" to "clamp" or "missing"',
)
OUTSIDE_CUT = Unreadable(
    "out_of_range",
    "the value lies in no interval of the cut",
    'correct it, add an edge or an open end (null), or set "outOfRange" to "missing"',
)


@dataclass(frozen=True)
class Column:
    """One field of all patients: codes and presence, (patients,) each; a missing code is 0.

    `exact` is the number of each patient before rounding, None where missing; only of a number that another
    field is derived from, else None altogether.
    """

    codes: Codes = field(repr=False)
    present: Mask = field(repr=False)
    exact: Exact | None = field(default=None, repr=False)


def code_in(item: Field, value: Decimal | Fraction) -> int:
    """The code, or -1 below and `codes` above the declared range. A category's value is its position."""
    if item.cut:
        return item.interval(value)
    if item.kind == "category":
        return int(value)
    if isinstance(value, Fraction):
        return max(-1, min(item.code(value), item.codes))
    assert item.minimum is not None and item.resolution is not None
    return max(-1, min(code_of(value, item.minimum, item.resolution), item.codes))


def ranged(
    item: Field,
    codes: Codes,
    present: Mask,
    exact: Exact | None,
    report: Report,
    *,
    place: Callable[[Mask], dict[str, Any]],
    complain: Callable[[Mask, Unreadable], None] | None,
    trace: Trace,
) -> Column | None:
    """The column within its range; None if the field takes a value outside for an error.

    `place` names where the values of the patients selected stand; `complain` names every row of theirs,
    without it an error counts them.
    """
    outside = present & ((codes < 0) | (codes >= item.codes))
    trace.present, trace.below = int(present.sum()), int((present & (codes < 0)).sum())
    trace.above = int(outside.sum()) - trace.below
    if outside.any():
        beyond = "minimum and maximum" if not item.cut else "all intervals of the cut"
        message = f"{int(outside.sum())} values of {item.name} lie outside {beyond}"
        if item.out_of_range == "error":
            reason = OUTSIDE_CUT if item.cut else OUT_OF_RANGE
            if complain is not None:
                complain(outside, reason)
            else:
                report.error(reason.rule, message, reason.remedy, column=item.source)
            return None
        clamped = item.out_of_range == "clamp"
        report.warning(
            "clamped" if clamped else "out_of_range_missing",
            f"{message} and are {'moved to the nearest bound' if clamped else 'missing'}",
            "check that these are not errors of units or codes for missing",
            **place(outside),
        )
        if clamped and exact is not None:
            for row in np.flatnonzero(outside):
                exact[row] = item.minimum if codes[row] < 0 else item.maximum
        if not clamped:
            present = present & ~outside
    if exact is not None:
        exact = [value if here else None for value, here in zip(exact, present, strict=True)]
    return Column(np.where(present, np.clip(codes, 0, item.codes - 1), 0), present, exact)
