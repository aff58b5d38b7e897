"""One text to one exact number, and one number to one code. No float is ever made.

A hospital's 27.405 must become the same code here, in a browser and in a test; binary floats would round
it either way. Decimals hold the text exactly, and the code of a number is floor((x - minimum)/resolution
+ 1/2) without any rounding before the floor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal, Inexact, InvalidOperation

NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]{1,3}(?:[.' ]?[0-9]{3})*,[0-9]+|[+-]?[0-9]+,[0-9]*")
WITH_COMMA = re.compile(r"[+-]?(?:[0-9]+,[0-9]*|,[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
SAS_DAY = re.compile(
    rf"([0-9]{{1,2}})(-?)({'|'.join(MONTHS)})\2([0-9]{{4}})", re.IGNORECASE
)  # DATE9., DATE11.
ISO_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[ T][0-9:.]+Z?)?")
DATE = re.compile(
    r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}(?:[ T].*)?|[0-9]{1,2}[- ]?[A-Za-z]{3}[- ]?[0-9]{2,4}"
)
NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)|#num!|#div/0!|#n/a", re.IGNORECASE)
MAX_DIGITS = 100
MAX_EXPONENT = 308

# Wide enough for every accepted number, so that nothing is ever rounded; if it were, Inexact raises.
EXACT = Context(prec=2000, Emax=10**6, Emin=-(10**6), traps=[Inexact, InvalidOperation])


@dataclass(frozen=True)
class Unreadable:
    """Why a text is not a number: a rule with its message and remedy, without the text."""

    rule: str
    message: str
    remedy: str


RECODE = 'or list it in "missingValues" or "recodes" if it means something else'
NOT_A_NUMBER = Unreadable("not_a_number", "the text is not a number", f"correct it, {RECODE}")
COMMA = Unreadable(
    "decimal_comma",
    "the number has a decimal comma or thousands separators",
    'write it as 1234.5, or declare "decimalChar": "," in the field',
)
A_POINT = Unreadable(
    "decimal_point",
    "the number has a decimal point where decimal commas are declared or found in this file",
    'write all numbers in one way, or say with the field\'s "decimalChar" which it is',
)
A_DATE = Unreadable(
    "date_as_number",
    "the text looks like a date where a number is expected",
    'give days since a reference date, or dates as YYYY-MM-DD or 31JAN2020 and the unit "days since 2000-01-01"',
)
INFINITE = Unreadable("not_finite", "the text stands for no finite number", f"leave the cell empty, {RECODE}")
ENORMOUS = Unreadable(
    "number_too_large",
    "the number has an exponent or a length beyond any measurement",
    f"correct it, {RECODE}",
)
NOT_AN_INTEGER = Unreadable(
    "not_an_integer", "the number is not whole", 'correct it, or give the field the type "number"'
)


def with_point(text: str, decimal: str) -> str:
    """A number with a decimal comma, where `decimal` is one, as it is written with a point; else the text."""
    return text.replace(",", ".") if decimal == "," and WITH_COMMA.fullmatch(text) else text


def read_days(text: str, since: date) -> Decimal | Unreadable:
    """Whole days from a reference day to a text YYYY-MM-DD, or 31JAN2020 as SAS writes it.

    A time of day behind the first form is cut off. Months are read in English only.
    """
    try:
        if found := ISO_DAY.fullmatch(text):
            day = date.fromisoformat(found[1])
        elif found := SAS_DAY.fullmatch(text):
            day = date(int(found[4]), MONTHS.index(found[3].upper()) + 1, int(found[1]))
        else:
            return A_DATE
    except ValueError:
        return A_DATE
    return Decimal((day - since).days)


def read_number(text: str, decimal: str = ".") -> Decimal | Unreadable:
    """The exact decimal that a stripped text writes, or why it is none."""
    if decimal == ",":
        if "." in text and NUMBER.fullmatch(text):
            return A_POINT
        text = with_point(text, decimal)
    if NUMBER.fullmatch(text):
        value = Decimal(text)
        if len(text) > MAX_DIGITS + 10 or (value and abs(value.adjusted()) > MAX_EXPONENT):
            return ENORMOUS
        return value or Decimal(0)
    if NOT_FINITE.fullmatch(text):
        return INFINITE
    if DATE.fullmatch(text):
        return A_DATE
    if DECIMAL_COMMA.fullmatch(text):
        return COMMA
    return NOT_A_NUMBER


def code_of(value: Decimal, minimum: Decimal, resolution: Decimal) -> int:
    """floor((value - minimum)/resolution + 1/2): not yet confined to the declared range."""
    above = EXACT.add(EXACT.multiply(Decimal(2), EXACT.subtract(value, minimum)), resolution)
    quotient, rest = EXACT.divmod(above, EXACT.multiply(Decimal(2), resolution))
    # Decimal's quotient is cut towards zero; the floor is one lower where that went up.
    return int(quotient) - (rest < 0)


def is_whole(value: Decimal) -> bool:
    return value == value.to_integral_value(context=EXACT)
