"""Counts of a histogram's cells."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.validity.scenario import Reading, Scenario, Statement
from benchmarks.validity.scenarios.moments import bells


def cell(place: int) -> Callable[[Statement], Reading]:
    """The count of one cell."""

    def read(statement: Statement) -> Reading:
        one = statement["groups"][0]["bins"][place]
        return Reading(one["n"], one["low"], one["high"])

    return read


SCENARIOS = (
    Scenario(
        name="the middle of three cells",
        program="histogram(value, 40, 60)",
        population=bells,
        of="cohort",
        read=cell(1),
        preview=True,
    ),
    Scenario(
        name="a cell of twelve",
        program="histogram(value)",
        population=bells,
        of="cohort",
        read=cell(5),
        preview=True,
        sizes=(200, 367, 773),  # of 60 patients a cell has fewer than the minimum cohort
    ),
)
