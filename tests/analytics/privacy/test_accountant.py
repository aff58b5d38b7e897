"""Epsilon is counted in whole millionths, read exactly, and rounded only upwards."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.privacy.accountant import (
    LARGEST_BUDGET,
    LARGEST_QUERY,
    EpsilonRejected,
    charged,
    composed,
    epsilon_text,
    micro_epsilon,
    shares,
    short_text,
)


@pytest.mark.parametrize(
    ("value", "micro"),
    [
        ("1", 1_000_000),
        ("1.0", 1_000_000),
        (" 0.1 ", 100_000),
        ("+.5", 500_000),
        ("5.", 5_000_000),
        ("0.000001", 1),
        ("0.1000000000", 100_000),
        ("20", 20_000_000),
        (1, 1_000_000),
        (0.1, 100_000),
        (0.3, 300_000),
        (1e-6, 1),
        (Decimal("0.25"), 250_000),
        (Decimal("1E+1"), 10_000_000),
    ],
)
def test_texts_and_numbers_are_read_exactly(value, micro):
    assert micro_epsilon(value) == micro


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "0.0",
        "-1",
        "-0.5",
        "0.0000001",
        "1.0000001",
        "1e0",
        "1,5",
        "one",
        "nan",
        "inf",
        "0x1",
        "1_0",
        "١",
        "1" * 200,
    ]
    + [
        0,
        -1,
        0.0,
        -0.1,
        1e-7,
        0.1 + 0.2,
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        Decimal("NaN"),
        Decimal("1e-7"),
        b"1",
    ],
)
def test_what_is_no_epsilon_of_six_places_is_refused_never_rounded(value):
    with pytest.raises(EpsilonRejected) as caught:
        micro_epsilon(value)
    assert caught.value.code == "epsilon_invalid"


@pytest.mark.parametrize("value", ["20.000001", "21", "1000000000", 10**30, 1e9, Decimal("1e9"), "9" * 20])
def test_too_much_is_its_own_refusal(value):
    with pytest.raises(EpsilonRejected) as caught:
        micro_epsilon(value)
    assert caught.value.code == "epsilon_too_large"


def test_a_budget_may_be_larger_than_a_query():
    assert micro_epsilon("1000", largest=LARGEST_BUDGET) == LARGEST_BUDGET == 50 * LARGEST_QUERY


@given(micro=st.integers(1, LARGEST_QUERY))
def test_every_text_of_an_epsilon_reads_back(micro):
    assert micro_epsilon(epsilon_text(micro)) == micro_epsilon(short_text(micro)) == micro
    assert micro_epsilon(Decimal(micro) / 10**6) == micro
    assert micro_epsilon(micro / 10**6) == micro, "a JSON number is read as its shortest decimal"
    assert len(epsilon_text(micro).split(".")[1]) == 6


def test_six_places_are_shown_also_below_zero():
    assert [epsilon_text(m) for m in (0, 1, 1_500_000, -250_000)] == [
        "0.000000",
        "0.000001",
        "1.500000",
        "-0.250000",
    ]
    assert [short_text(m) for m in (0, 1, 1_500_000, 20_000_000)] == ["0", "0.000001", "1.5", "20"]


@given(epsilon=st.fractions(0, 100))
def test_a_computed_epsilon_is_rounded_up_and_by_less_than_a_millionth(epsilon):
    assert 0 <= charged(epsilon) - epsilon * 10**6 < 1


def test_a_charge_is_never_negative():
    with pytest.raises(EpsilonRejected):
        charged(Fraction(-1, 10**9))
    for odd in (-1, 0.5, True, None):
        with pytest.raises(EpsilonRejected):
            composed([1, odd])


@settings(max_examples=50, deadline=None)
@given(charges=st.lists(st.integers(0, LARGEST_QUERY), max_size=2000))
def test_charges_add_up_without_rounding_in_any_order(charges):
    exact = sum(Fraction(micro, 10**6) for micro in charges)
    assert Fraction(composed(charges), 10**6) == exact == Fraction(composed(reversed(charges)), 10**6)


@given(
    total=st.integers(0, LARGEST_QUERY),
    own=st.lists(st.none() | st.integers(1, LARGEST_QUERY // 3), min_size=1, max_size=8),
)
def test_a_split_gives_every_statement_something_and_no_more_than_there_is(total, own):
    try:
        parts = shares(total, own)
    except EpsilonRejected as error:
        named = sum(micro or 0 for micro in own)
        assert error.code == ("epsilon_exceeds_request" if named > total else "epsilon_exhausted")
        assert named > total or (total - named) // own.count(None) == 0
    else:
        assert all(part >= 1 for part in parts)
        assert sum(parts) <= total
        assert sum(parts) > total - len(own) or None not in own
        assert all(part == micro for part, micro in zip(parts, own, strict=True) if micro is not None)
        assert len({part for part, micro in zip(parts, own, strict=True) if micro is None}) <= 1
