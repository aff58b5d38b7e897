"""A column of a codebook: its lattice of codes, and how a provider reads it.

A number lives on the public lattice minimum + k * resolution and is shared as the bits of k; a category is
shared as the index of its level. Everything here is exact decimal arithmetic and public; no value of a patient
is ever inside.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from math import floor

from analytics.query.tree import Predicate, decimal_text, normal_form

DEFAULT_CELLS = 12
DAYS_SINCE = re.compile(r"days since ([0-9]{4}-[0-9]{2}-[0-9]{2})")


@dataclass(frozen=True)
class Level:
    """One value of a category as it stands in the table, and the label that people read."""

    value: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Reduce:
    """Many rows of a patient to one. `where` and `test` are predicates over raw columns of the same file.

    `default` is what a patient without any such row has: a number, or the position of a level; None is missing.
    """

    how: str  # only, first, min, max, any, all, count
    where: Predicate | None = None
    test: Predicate | None = None
    order_by: str | None = None
    default: Decimal | None = None

    @property
    def tells_without_rows(self) -> bool:
        """Whether a patient without rows has a value all the same."""
        return self.how == "count" or self.default is not None


@dataclass(frozen=True, kw_only=True)
class Derive:
    """A value computed from other fields of the same patient, before anything is rounded.

    difference: first - second; ratio: first / second; scale: field * factor + offset; any: yes where one of
    the fields says yes.
    """

    how: str
    fields: tuple[str, ...]
    factor: Decimal = Decimal(1)
    offset: Decimal = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Field:
    """One shared column. `kind` is number or category; `type` is number, integer or category.

    minimum, maximum and resolution are in `unit` and None for a category; `levels` is empty for a number.
    `recodes` goes from raw text to the value read in its place; `event` is the name of a time's flag field;
    `occurred` is the level value of a flag that means the event. `cut` holds the edges that make a category
    of a number, None being open: level k is cut[k] <= x < cut[k + 1]. `grid` holds the edges between the cells that
    histograms and quantiles count in; if there are none, `edges` makes equal ones.
    """

    name: str
    title: str
    type: str
    kind: str
    unit: str = ""
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    resolution: Decimal | None = None
    levels: tuple[Level, ...] = ()
    description: str = ""
    source: str
    file: str | None = None
    sheet: str | None = None
    decimal_char: str | None = None
    missing_values: tuple[str, ...] = ("",)
    recodes: Mapping[str, str] = field(default_factory=dict)
    where: Predicate | None = None
    reduce: Reduce | None = None
    derive: Derive | None = None
    cut: tuple[Decimal | None, ...] = ()
    grid: tuple[Decimal, ...] = ()
    out_of_range: str = "error"  # error, clamp, missing
    role: str | None = None  # time, event
    event: str | None = None
    occurred: str | None = None

    @property
    def reads_number(self) -> bool:
        """Whether a text of its column is read as a number: a number's own, or one that is then cut."""
        return self.kind == "number" or bool(self.cut)

    @cached_property
    def since(self) -> date | None:
        """The day from which a unit such as "days since 2020-01-31" counts; None for any other unit.

        Raises  ValueError if there is no such day.
        """
        found = DAYS_SINCE.fullmatch(self.unit)
        return date.fromisoformat(found[1]) if found else None

    @property
    def yes(self) -> str | None:
        """The level value of a flag that says yes: `occurred`, else the level written or labelled yes."""
        said = (x.value for x in self.levels if "yes" in (normal_form(x.value), normal_form(x.label)))
        return self.occurred or next(said, None)

    def interval(self, value: Decimal | Fraction) -> int:
        """The level of a number that is cut; -1 below all edges, the number of levels at or above the last."""
        inner = [edge for edge in self.cut if edge is not None]
        return bisect_right(inner, value) - (self.cut[0] is not None)

    @cached_property
    def lattice(self) -> tuple[Fraction, Fraction, Fraction]:
        """minimum, maximum, resolution of a number, exactly."""
        if self.minimum is None or self.maximum is None or self.resolution is None:
            raise ValueError(f"{self.name} is a category: it has no bounds")
        return Fraction(self.minimum), Fraction(self.maximum), Fraction(self.resolution)

    @cached_property
    def codes(self) -> int:
        """How many codes are declared: 0 to codes - 1."""
        if self.kind == "category":
            return len(self.levels)
        minimum, maximum, resolution = self.lattice
        return floor((maximum - minimum) / resolution + Fraction(1, 2)) + 1

    @cached_property
    def bits(self) -> int:
        """Planes that a code takes: the least b >= 1 with 2**b >= codes."""
        return max(1, (self.codes - 1).bit_length())

    def code(self, value: Decimal | Fraction) -> int:
        """floor((value - minimum) / resolution + 1/2); outside 0..codes-1 if the value is out of range."""
        minimum, _, resolution = self.lattice
        return floor((Fraction(value) - minimum) / resolution + Fraction(1, 2))

    def value(self, code: int) -> Decimal:
        """The number that a code stands for, exactly."""
        if self.minimum is None or self.resolution is None:
            raise ValueError(f"{self.name} is a category: it has no bounds")
        # Built from integers: Decimal operators would round to the context's precision.
        places = min(0, _exponent(self.minimum), _exponent(self.resolution))
        scaled = (Fraction(self.minimum) + code * Fraction(self.resolution)) * 10**-places
        return Decimal(decimal_text(Decimal(scaled.numerator).scaleb(places)))

    def edges(self) -> tuple[int, ...]:
        """The public grid of a number as codes: cell k holds edges[k] <= code < edges[k + 1], and no code is left out.

        It is the codebook's, else one cell a code, or 12 of equal width. The last edge is 2**bits: comparing with it
        is free.
        """
        last = self.codes - 1
        inner = [self.code(value) for value in self.grid]
        if not inner and self.codes <= DEFAULT_CELLS:
            inner = list(range(1, self.codes))
        elif not inner:
            inner = [(2 * k * last + DEFAULT_CELLS) // (2 * DEFAULT_CELLS) for k in range(1, DEFAULT_CELLS)]
        return (0, *sorted({code for code in inner if 0 < code <= last}), 2**self.bits)

    def describe(self) -> dict[str, str]:
        """What two datasets must agree on to be pooled, as text for comparison and messages."""
        said = {"type": self.type, "unit": self.unit or "none"}
        if self.kind == "category":
            return {**said, "levels": ", ".join(f"{level.value} ({level.label})" for level in self.levels)}
        for name in ("minimum", "maximum", "resolution"):
            said[name] = decimal_text(getattr(self, name))
        said["grid"] = ", ".join(map(decimal_text, self.grid)) or "none of its own"
        return said


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "a codebook holds finite decimals"
    return exponent
