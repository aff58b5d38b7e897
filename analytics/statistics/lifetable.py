"""How many had the event and how many were censored in each cell of a public grid of time.

One table of counts, sensitivity 1, from which every survival figure comes: numbers at risk are sums from the
end. Survival curves, log-rank test and Cox model over the same columns ask for the same table, so it is
released and charged once. A cell holds the codes edge <= code < next edge; its last code is its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from math import floor
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import By
from analytics.query.statistic import Asked, Statistic, Wanted, every
from analytics.query.tree import Name
from analytics.statistics import noise
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z
from analytics.statistics.figure import NOISE
from analytics.statistics.noise import Floats
from analytics.statistics.question import Question

DRAWS = 1000
CLEAR = 3.0  # deviations of noise above which a number at risk counts as seen
WHOLE = (
    6.5  # deviations of noise in the sum of all: of fewer patients only lucky noise would leave late times
)
FEW_AT_RISK = "too few are at risk for a figure"


def names_event(columns: Sequence[Field]) -> bool:
    """Whether the second column is the flag of the time and not a group: it is called so, or the time has none."""
    time, *rest = columns
    return bool(rest) and (time.event is None or rest[0].name == time.event or rest[0].role == "event")


def needs(asked: Asked, event: bool) -> tuple[Field, Field, int]:
    """Time, flag and the code that means the event; the flag is named (`event`) or the codebook's.

    Raises  ProgramRejected: wrong_type, no_event, no_occurred, duplicate.
    """
    time = asked.columns[0]
    if time.kind != "number":
        raise asked.refuse("wrong_type", f"{time.name} is a category and no time: name a number", 0)
    if event:
        flag = asked.columns[1]
    elif time.event is None:
        raise asked.refuse(
            "no_event",
            f"the codebook names no event for {time.name}:"
            f" write {asked.statement.statistic}({Name(time.name)}, event) with the column that says who had it",
            0,
        )
    else:
        flag = asked.find(Name(time.event))
    if flag.kind != "category" or flag.codes < 2:
        raise asked.refuse(
            "wrong_type", f"{flag.name} has no two levels and says of no one that it happened", 0
        )
    happened = [code for code, level in enumerate(flag.levels) if level.value == flag.yes]
    if not happened:
        raise asked.refuse(
            "no_occurred",
            f'no level of {flag.name} is known to mean the event: the codebook names it as "occurred"',
            0,
        )
    return time, flag, happened[0]


def table(asked: Asked, arms: Sequence[Field], event: bool) -> list[Wanted]:
    """The table: in each combination of the arms, events and censored in each cell of time."""
    time, flag, happened = needs(asked, event)
    seen = [time.name, flag.name]
    for column in asked.columns[1 + event :]:
        place = asked.columns.index(column)
        if column.kind == "number":
            raise asked.refuse(
                "wrong_type",
                f"{column.name} is a number and makes no groups: name a category, or cut the number in the codebook",
                place,
            )
        if column.name in seen:
            raise asked.refuse("duplicate", f"{column.name} stands twice in this statement", place)
        seen.append(column.name)
    others = tuple(code for code in range(flag.codes) if code != happened)
    inner = (
        *(every(arm) for arm in arms),
        By(column=time.name, edges=time.edges()),
        By(column=flag.name, groups=((happened,), others)),
    )
    return [Wanted(inner=inner, present=(time, flag, *asked.columns[1 + event :]))]


def place_of(field: Field, text: str) -> int:
    """The last code that is not after a time, given as text in the column's unit."""
    minimum, _, step = field.lattice
    return floor((Fraction(text) - minimum) / step)


def times(asked: Asked) -> None:
    """Refuse times that the column cannot have."""
    time = asked.columns[0]
    for value in asked.statement.values:
        if value.number is None or not 0 <= place_of(time, value.text) < time.codes:
            raise asked.refuse(
                "time_out_of_range",
                f"{value.text} is no time of {time.name}, which goes from {time.minimum} to {time.maximum}",
            )


def either(statistic: Statistic, groups: int) -> Statistic:
    """The statistic with or without the flag among its columns; `groups` columns precede the strata."""
    plain, flagged = replace(statistic, strata=1 + groups), replace(statistic, strata=2 + groups)
    return replace(statistic, choose=lambda columns: flagged if names_event(columns) else plain)


@dataclass(frozen=True, kw_only=True)
class LifeTable:
    """Events and censored as they were released, shape (strata, arms, cells of time, 2), noised in `dp` mode."""

    counts: Floats = field(repr=False)
    t: float
    time: Field
    by: By
    minimum: int
    capacity: int
    released: tuple[int, ...] = field(repr=False)

    @classmethod
    def of(cls, question: Question, cells: Sequence[Cell]) -> LifeTable:
        """The life table of one group of a statement."""
        *arms, by, flag = question.inner
        released = tuple(int(cell.n) for cell in cells)
        shape = (-1, int(np.prod([arm.size for arm in arms], dtype=int)), by.size, flag.size)
        return cls(
            counts=np.array(released, dtype=np.float64).reshape(shape),
            t=cells[0].t,
            time=question.fields[by.column],
            by=by,
            minimum=question.minimum_cohort,
            capacity=question.capacity,
            released=released,
        )

    @property
    def noised(self) -> bool:
        return self.t > 0

    @property
    def n(self) -> int:
        """All patients, as far as noise lets one say."""
        return min(max(sum(self.released), 0), self.capacity)

    @cached_property
    def widths(self) -> Floats:
        """How many codes each cell of time has."""
        return np.diff(np.minimum(np.array(self.by.edges, dtype=np.float64), self.time.codes))

    def last(self, cell: int) -> int:
        """The last code of a cell of time."""
        return min(self.by.edges[cell + 1], self.time.codes) - 1

    def clear(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """In which strata and cells of time enough are at risk, all arms together: shape (strata, cells)."""
        counts = self.counts.sum(1)
        n = at_risk(counts)
        if not self.noised:
            return np.asarray(n > 0)
        summed = np.arange(counts.shape[-2], 0, -1) * (2 * self.counts.shape[1])
        return np.asarray(np.logical_and.accumulate(n >= self.fewest(summed), axis=-1))

    def fewest(self, summed: Any) -> Any:
        """The fewest patients in so many counts that are told from none: the minimum cohort, or more with noise."""
        if not self.noised:
            return 1.0
        return np.maximum(self.minimum, CLEAR * np.sqrt(noise.variance(self.t) * summed))

    def drowned(self, deviations: float = WHOLE) -> bool:
        """Whether all patients together do not stand out of the noise of all counts together."""
        return self.noised and sum(self.released) < deviations * float(
            np.sqrt(noise.variance(self.t) * len(self.released))
        )

    @property
    def unseen(self) -> str:
        """Why nothing is said of any time."""
        return NOISE if self.drowned() else FEW_AT_RISK

    def noised_again(self, label: str, times: int | None = None) -> Floats:
        """The counts under further noise of the same scale, shape (times, *counts.shape)."""
        times = max(100, min(times or DRAWS, 400_000 // self.counts.size))
        bits = noise.generator(label, self.released)
        return self.counts + noise.noise(self.t, noise.uniforms(bits, (times, *self.counts.shape)))


def at_risk(counts: Floats) -> Floats:
    """Who is at risk when a cell of time begins, from counts (..., cells, 2): sums from the end."""
    return np.asarray(np.cumsum(counts.sum(-1)[..., ::-1], axis=-1)[..., ::-1])


def deviation(draws: Floats) -> Floats:
    """The standard deviation of a normal law with the central 95 % of these draws, over their first axis.

    Where few are at risk a draw may fall far out; the draws between which an interval lies do not.
    """
    low, high = np.quantile(draws, [noise.TAIL, 1 - noise.TAIL], axis=0)
    return np.asarray((high - low) / (2 * Z))
