"""From centred codes back to the unit of the column, exactly.

A release counts in v = (code >> dropped) - M with M = 2**(bits - 1). A code that lost its low bits stands
for the middle of what it covers. Fractions throughout: the only rounding is the last, to a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from analytics.query.columns import Field
from analytics.query.model import Operand


@dataclass(frozen=True, kw_only=True)
class Axis:
    """x = origin + step * v; low and high are the declared bounds of x, reach is M."""

    column: str
    origin: Fraction
    step: Fraction
    low: Fraction
    high: Fraction
    reach: int
    dropped: int

    @classmethod
    def of(cls, operand: Operand, field: Field) -> Axis:
        """The axis of an operand over a numeric field of the codebook."""
        minimum, maximum, resolution = field.lattice
        wide = 2**operand.dropped
        reach = 2 ** (operand.bits - 1)
        return cls(
            column=operand.column,
            origin=minimum + resolution * (wide * reach + Fraction(wide - 1, 2)),
            step=resolution * wide,
            low=minimum,
            high=maximum,
            reach=reach,
            dropped=operand.dropped,
        )

    @property
    def span(self) -> Fraction:
        return self.high - self.low
