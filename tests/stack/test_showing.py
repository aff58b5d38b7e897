"""A demonstration believes an answer or says what is wrong with it."""

from __future__ import annotations

import pytest

from portal.stack.showing import lines, nonsense, wrong

GROUP = {"by": {}, "value": 20.0, "low": 18.0, "high": 22.0, "level": 0.95, "n": 460, "reason": None}
TRUTH = {"value": 20.5, "n": 464}


def group(**changes):
    return GROUP | changes


@pytest.mark.parametrize("changes", [{}, {"value": 18.0}, {"low": 20.0}])
def test_an_answer_near_the_truth_is_believed(changes):
    assert wrong(group(**changes), TRUTH, "dp") == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"value": None, "reason": "too few"}, "missing (too few)"),
        ({"high": None}, "missing"),
        ({"value": float("nan")}, "missing"),
        ({"high": float("inf")}, "missing"),
        ({"value": 17.0}, "outside its own interval"),
        ({"low": 20.0, "high": 20.0}, "without width"),
        ({"value": 60.0, "low": 58.0, "high": 62.0}, "from the truth"),
    ],
)
def test_nonsense_is_named(changes, said):
    assert said in wrong(group(**changes), TRUTH, "dp")


def test_an_exact_answer_is_the_truth_or_wrong():
    assert wrong(group(value=20.5, n=464), TRUTH, "exact") == ""
    assert "exact, but" in wrong(group(value=20.5001, n=464), TRUTH, "exact")
    assert "exact, but" in wrong(group(value=20.5, n=463), TRUTH, "exact")


def test_a_missing_statement_is_noticed():
    assert nonsense([], [TRUTH], "dp") == ["0 statements were answered, not 1"]
    assert nonsense([{"text": "count()", "groups": [GROUP]}], [TRUTH], "dp") == []


def test_answer_interval_and_truth_stand_together():
    shown = "\n".join(lines('average("x")', {"text": "mean(x)", "groups": [GROUP]}, TRUTH))
    for word in ('average("x")', "20", "18 to 22", "95 %", "20.5", "464"):
        assert word in shown


def test_a_suppressed_answer_shows_its_reason():
    shown = "\n".join(
        lines("count()", {"text": "count()", "groups": [group(value=None, reason="too few patients")]}, TRUTH)
    )
    assert "too few patients" in shown
