"""Numbers, dates and charges have one format on every page."""

from datetime import UTC, datetime

import pytest

from portal.web.templatetags.formats import bytes_text, duration, epsilon, number, when


@pytest.mark.parametrize(
    ("text", "shown"),
    [("1.500000", "1.5"), ("2.000000", "2"), ("10", "10"), ("0.000001", "0.000001"),
     ("1.500000 and delta 1e-10", "1.5 and delta 1e-10"), ("3.000000 and delta 0.00000100", "3 and delta 0.00000100")],
)  # fmt: skip
def test_an_epsilon_loses_its_last_zeros_and_a_delta_beside_it_loses_nothing(text, shown):
    assert epsilon(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""),
        (0.26, "0.3 s"),
        (42, "42 s"),
        (245, "4 min 5 s"),
        (7800, "2 h 10 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, shown):
    assert duration(seconds) == shown


def test_numbers_sizes_and_moments():
    assert number(1234567) == "1\u202f234\u202f567" and number(None) == "-" and number(0.123456) == "0.1235"
    assert bytes_text(3_400_000) == "3.4 MB" and bytes_text(12) == "12 B"
    assert "24 Nov 2026, 16:20 UTC" in when(datetime(2026, 11, 24, 16, 20, tzinfo=UTC)) and when(None) == ""
