"""For every statistic there is: one patient more or less moves what is released by at most what the noise is made for.

The totals are those of the reference, before any noise, of the plans that real questions compile to.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.query.model import Plan
from analytics.reference import evaluate
from tests.analytics import asking

QUESTIONS = asking.questions()
PATIENTS = st.integers(0, asking.ROWS - 1)


def distances(plan: Plan, rows: list[asking.Row], patient: asking.Row) -> list[int]:
    """How far each release moves in all, when the patient comes to the rows."""
    after = evaluate(plan, [asking.FACTS], [asking.table([*rows, patient])])
    before = (
        evaluate(plan, [asking.FACTS], [asking.table(rows)]) if rows else [[0] * len(row) for row in after]
    )
    return [sum(abs(a - b) for a, b in zip(x, y, strict=True)) for x, y in zip(before, after, strict=True)]


@cache
def of_corners(program: str) -> list[tuple[asking.Row, list[int]]]:
    """Every extreme patient, and how far each release of a table of nobody moves when it comes."""
    plan = QUESTIONS[program]
    return [(corner, distances(plan, [], corner)) for corner in asking.corners()]


def test_every_statistic_is_asked() -> None:
    assert asking.missing() == set(), "name a program in asking.OTHERS"


@pytest.mark.parametrize("program", QUESTIONS)
def test_the_noise_is_made_for_the_declared_sensitivity_and_all_of_it_is_charged(program: str) -> None:
    plan = QUESTIONS[program]
    for release in plan.releases:
        assert release.scale == Fraction(release.sensitivity * 10**6, release.micro_epsilon)
    assert sum(release.micro_epsilon for release in plan.releases) == plan.micro_epsilon


@pytest.mark.parametrize("program", asking.tables())
def test_some_patient_reaches_the_declared_sensitivity_and_none_of_the_extreme_ones_exceeds_it(
    program: str,
) -> None:
    moved = [distance for _, distance in of_corners(program)]
    for release, of_release in zip(QUESTIONS[program].releases, zip(*moved, strict=True), strict=True):
        assert max(of_release) == release.sensitivity


def never_more(program: str, rows: list[int], patient: int) -> None:
    plan = QUESTIONS[program]
    moved = distances(plan, [asking.row(k) for k in rows], asking.row(patient))
    for release, distance in zip(plan.releases, moved, strict=True):
        assert distance <= release.sensitivity


@pytest.mark.parametrize("program", asking.tables())
@settings(max_examples=100, deadline=None)
@given(rows=st.lists(PATIENTS, max_size=4), patient=PATIENTS)
def test_no_patient_moves_a_release_by_more(program: str, rows: list[int], patient: int) -> None:
    never_more(program, rows, patient)


@pytest.mark.nightly
@pytest.mark.parametrize("program", asking.tables())
@settings(max_examples=1000, deadline=None)
@given(rows=st.lists(PATIENTS, max_size=4), patient=PATIENTS)
def test_no_patient_of_a_thousand_cases_moves_a_release_by_more(
    program: str, rows: list[int], patient: int
) -> None:
    never_more(program, rows, patient)
