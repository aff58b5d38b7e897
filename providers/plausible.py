"""Numbers that no patient can have, and units that were mixed: known from a column's name, counted, never shown.

Height in metres among centimetres, degrees Fahrenheit among Celsius, fractions among percentages, a body mass
index of zero, a time before its own start. Limits are wide: they are the limits of life, not of the normal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.query.schema import Field
from providers.headers import PERCENT, TIME, words

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """What names it, the range of life in its usual unit, and another unit's range that does not overlap."""

    words: frozenset[str]
    low: float
    high: float
    unit: str
    other: tuple[float, float, str] | None = None


MEASURES = (
    Measure(frozenset(["bmi"]), 7, 120, "kg/m2"),
    Measure(frozenset(["height", "hgt", "stature"]), 30, 260, "cm", (0.3, 2.6, "m")),
    Measure(frozenset(["weight", "wgt", "wt", "bodyweight"]), 0.3, 650, "kg"),
    Measure(frozenset(["temp", "temperature"]), 25, 46, "degrees Celsius", (77, 115, "degrees Fahrenheit")),
    Measure(frozenset(["pulse", "hr", "heartrate"]), 10, 350, "beats a minute"),
    Measure(frozenset(["sbp", "sysbp", "systolic"]), 30, 320, "mmHg"),
    Measure(frozenset(["dbp", "diabp", "diastolic"]), 10, 220, "mmHg"),
    Measure(frozenset(["age"]), 0, 130, "years"),
)


def measure_of(named: frozenset[str]) -> Measure | None:
    """The measure that a header's words name; None if none, or if they name a category made of it."""
    return next(
        (m for m in MEASURES if named & m.words and not named & {"cat", "group", "change", "loss"}), None
    )


def never_zero(named: frozenset[str]) -> bool:
    """Whether zero can only mean that nothing was measured."""
    measure = measure_of(named)
    return measure is not None and measure.low > 0


def implausible(item: Field, numbers: Numbers) -> Iterator[tuple[str, str, str]]:
    """(rule, message, remedy) of everything suspicious in the present values of a number."""
    named = words(item.name) | words(item.source) | words(item.title)
    measure = measure_of(named)
    if measure is not None:
        yield from _of_measure(item, measure, numbers)
    elif named & PERCENT or item.unit.strip() == "%":
        small = int(((numbers > 0) & (numbers < 1)).sum())
        large = int((numbers > 1).sum())
        if small > large or (small and small > 0.02 * len(numbers) and large):
            yield (
                "fractions",
                f"{small} of {len(numbers)} values of {item.name} lie between 0 and 1: fractions among percentages",
                "multiply them by 100 in the file, or correct the unit",
            )
    before = int((numbers < 0).sum())
    if before and (item.role == "time" or named & TIME or named & {"age"}):
        yield (
            "negative_time",
            f"{before} values of {item.name} are negative: a time before its own start",
            "check the two dates that it was made from",
        )


def _of_measure(item: Field, measure: Measure, numbers: Numbers) -> Iterator[tuple[str, str, str]]:
    zeros = int((numbers == 0).sum()) if measure.low > 0 else 0
    if zeros:
        yield (
            "zero_value",
            f"{zeros} values of {item.name} are 0, which nobody has: not measured",
            'list "0" in "missingValues"',
        )
    own = (numbers >= measure.low) & (numbers <= measure.high)
    elsewhere = np.zeros(len(numbers), dtype=bool)
    if measure.other is not None:
        low, high, unit = measure.other
        elsewhere = (numbers >= low) & (numbers <= high) & ~own
        if elsewhere.any() and own.any():
            yield (
                "mixed_units",
                f"{int(elsewhere.sum())} values of {item.name} look like {unit}, the others like {measure.unit}",
                "bring all to one unit in the file",
            )
        elif elsewhere.all() and item.unit == measure.unit:
            yield ("other_unit", f"the values of {item.name} look like {unit}", "correct the unit")
        elsewhere = elsewhere if own.any() else (numbers >= low) & (numbers <= high)
    impossible = int((~own & ~elsewhere & (numbers != 0)).sum())
    if impossible:
        yield (
            "implausible",
            f"{impossible} values of {item.name} are outside {measure.low:g} to {measure.high:g} {measure.unit}",
            'check the unit and codes for missing; correct them, or set "outOfRange" to "missing"',
        )
