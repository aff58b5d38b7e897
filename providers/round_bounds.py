"""Bounds and a step for numbers of which only the ends are known: outward to round figures, then to whole bits.

The minimum goes down to a multiple of a round part of the spread, the maximum up; then the maximum goes on to
the last code that the same number of bits holds, which costs nothing and tells less of the data. Of the round
steps the one is taken whose codes reach least beyond the range, for noise grows with that reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

from providers.values import EXACT

MOST_STEPS = 5000  # of a number with a fraction: more bits are more noise
FEWEST_STEPS = 250
MOST_WHOLE_STEPS = 2**16
LARGEST, SMALLEST = 17, -17  # powers of ten that a codebook can write with room to spare


@dataclass(frozen=True)
class Bounds:
    minimum: Decimal
    maximum: Decimal
    resolution: Decimal


def round_bounds(low: Decimal, high: Decimal, places: int) -> Bounds | None:
    """Bounds around low..high for values with that many decimal places; None if they are beyond all sense."""
    with localcontext(EXACT):
        ends = [abs(x).adjusted() for x in (low, high) if x]
        if any(not SMALLEST < end < LARGEST for end in ends):
            return None
        spread = high - low or abs(high) or Decimal(1)
        unit = _unit(spread, whole=not places)
        if unit.adjusted() <= SMALLEST:
            return None
        minimum, top = _multiple(low, unit, ROUND_FLOOR), _multiple(high, unit, ROUND_CEILING)
        if top == minimum:
            top += unit
        step = min(_steps(top - minimum, places), key=lambda step: (_held(top - minimum, step) * step, step))
        return Bounds(minimum, minimum + (_held(top - minimum, step) - 1) * step, step)


def _unit(spread: Decimal, *, whole: bool) -> Decimal:
    """The round figure of which bounds are multiples: a tenth to a fifth of the spread or so."""
    power = Decimal(1).scaleb(spread.adjusted())
    unit = power / 5 if spread < 2 * power else power / 2 if spread < 5 * power else power
    return max(Decimal(1), unit.to_integral_value(ROUND_CEILING)) if whole else unit


def _multiple(value: Decimal, unit: Decimal, way: str) -> Decimal:
    """The nearest multiple of the unit on one side; exact, since a unit is 1, 2 or 5 by a power of ten."""
    digit = Decimal(unit.as_tuple().digits[0])
    power = unit.adjusted()
    scaled = value.scaleb(-power) * (Decimal(10) / digit)  # tenths of a unit
    return (scaled / 10).to_integral_value(way) * unit


def _steps(width: Decimal, places: int) -> list[Decimal]:
    """The steps to choose from: as fine as the data, or as the most steps allow, and coarser ones."""
    step = Decimal(1).scaleb(max(-places, width.adjusted() - 8))
    most = MOST_STEPS if places else MOST_WHOLE_STEPS
    while width > most * step:
        step = _coarser(step)
    found = [step]
    while places and width >= FEWEST_STEPS * _coarser(found[-1]):
        found.append(_coarser(found[-1]))
    return found


def _held(width: Decimal, step: Decimal) -> int:
    """The codes of the fewest bits that reach over the width: noise grows with codes by step."""
    steps = int(width // step) + (width % step > 0)
    return int(2 ** steps.bit_length())


def places_of(values: list[Decimal]) -> int:
    """The most decimal places of any value: 0 where all are whole."""
    return max((_places(value) for value in values), default=0)


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "a table's numbers are finite"
    if exponent >= 0:
        return 0
    digits = "".join(map(str, value.as_tuple().digits[exponent:])) if value else ""
    return max(0, -exponent - (len(digits) - len(digits.rstrip("0")))) if value else 0


def _coarser(step: Decimal) -> Decimal:
    """1, 2, 5, 10, 20 and so on."""
    return step * (Decimal("2.5") if step.as_tuple().digits[0] == 2 else 2)
