"""Texts become exact numbers or a rule; numbers become codes without any rounding before the floor."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.values import Unreadable, code_of, is_whole, read_number

DECIMALS = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent),
    st.integers(-(10**15), 10**15),
    st.integers(-18, 6),
)
POSITIVE = DECIMALS.filter(lambda value: value > 0)


@given(DECIMALS, DECIMALS, POSITIVE)
def test_a_code_is_the_floor_of_exact_fractions(value, minimum, resolution):
    exact = (Fraction(value) - Fraction(minimum)) / Fraction(resolution) + Fraction(1, 2)
    assert code_of(value, minimum, resolution) == floor(exact)


@pytest.mark.parametrize(
    ("text", "code"),
    [("0.105", 11), ("0.1049999999999999999999999999999", 10), ("-0.005", 0), ("-0.0050000000000000001", -1)],
)
def test_a_half_goes_up_and_what_is_less_by_any_digit_does_not(text, code):
    assert code_of(Decimal(text), Decimal(0), Decimal("0.01")) == code


@given(DECIMALS)
def test_every_plain_decimal_reads_back_as_itself(value):
    assert read_number(str(value)) == value
    assert read_number(format(value, "f")) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("-0", 0), ("+1.50", "1.5"), (".5", "0.5"), ("5.", 5), ("1e3", 1000), ("1E-3", "0.001"), ("007", 7)],
)
def test_the_usual_spellings_are_numbers(text, value):
    assert read_number(text) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        *[(text, "not_finite") for text in ("NaN", "nan", "inf", "-Infinity", "+INF", "#NUM!", "#DIV/0!")],
        *[(text, "decimal_comma") for text in ("1,5", "-0,25", "1.234,5", "1 234,5", "12,")],
        *[
            (text, "date_as_number")
            for text in ("2020-01-31", "31.1.2020", "1/2/20", "3-Mar-2020", "03MAR2020")
        ],
        *[(text, "number_too_large") for text in ("1e309", "-1e400", "1e999999", "1e-400", "9" * 400)],
        *[
            (text, "not_a_number")
            for text in ("abc", "", "1 2", "0x10", "1_000", "--1", "½", "١٢", "1e", "12%")
        ],
    ],
)
def test_what_is_no_number_is_refused_by_a_rule_of_its_own(text, rule):
    found = read_number(text)
    assert isinstance(found, Unreadable)
    assert found.rule == rule
    assert found.remedy


def test_numbers_at_the_limit_are_read():
    assert read_number("1e308") == Decimal("1e308")
    assert read_number("1e-308") == Decimal("1e-308")
    assert read_number("0e999999") == 0


@pytest.mark.parametrize(("text", "whole"), [("3", True), ("3.00", True), ("1e3", True), ("3.5", False)])
def test_whole_numbers_are_told_apart(text, whole):
    assert is_whole(Decimal(text)) is whole


@given(st.text(max_size=30))
def test_any_text_is_a_finite_number_or_a_rule(text):
    found = read_number(text)
    assert isinstance(found, Unreadable) or found.is_finite()
