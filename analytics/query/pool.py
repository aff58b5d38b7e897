"""One column of several datasets: what must agree, what is harmonised by label, and what every code becomes.

Columns that the program does not align are pooled only where all that gives their codes a meaning is equal. Of
those that it aligns, levels are one where their labels are: the pooled column has the levels of all. A number's codes
are pooled as they are, so its unit, bounds and resolution must be equal in any case.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from analytics.query.align import Columns
from analytics.query.columns import Field, Level
from analytics.query.errors import ProgramRejected, nearest
from analytics.query.levels import some
from analytics.query.model import PlanSource
from analytics.query.tree import Name, normal_form

ALIKE = (
    "type",
    "unit",
    "minimum",
    "maximum",
    "resolution",
    "levels",
    "grid",
)  # what gives a code its meaning


class Pool:
    """The columns of several datasets as one. `titles` name the datasets in messages."""

    def __init__(self, titles: Sequence[str], columns: Sequence[Columns]) -> None:
        self._titles = titles
        self._columns = columns
        self._called = [{seen.own.name: name for name, seen in own.items()} for own in columns]
        self._pooled: dict[str, Field] = {}

    def column(self, name: str, at: tuple[int, int] | None = None) -> Field:
        """One column for all datasets. Raises ProgramRejected: datasets_differ, with every difference."""
        if name not in self._pooled:
            self._pooled[name] = self._one(name, at)
        return self._pooled[name]

    def own(self, place: int, name: str) -> Field:
        """The column as the dataset at this place has it."""
        return self._columns[place][name].own

    def codes(self, place: int, name: str) -> tuple[int, ...]:
        """The code of each own level of the dataset at this place; nothing for a number."""
        seen = self._columns[place][name]
        there = {level.label: code for code, level in enumerate(self.column(name).levels)}
        if self.column(name).levels == seen.field.levels:
            return seen.codes or tuple(range(len(seen.own.levels)))
        return tuple(there[label] for label in seen.labels)

    def sources(self, place: int, names: Collection[str]) -> tuple[PlanSource, ...]:
        """Where the dataset at this place has columns under another name, or with other codes."""
        found = []
        for name in names:
            seen, pooled = self._columns[place][name], self.column(name)
            codes = self.codes(place, name)
            if codes == tuple(range(len(pooled.levels))):
                codes = ()
            if codes or seen.own.name != name:
                found.append(PlanSource(name=name, column=seen.own.name, bits=seen.own.bits, codes=codes))
        return tuple(found)

    def lacking(self, names: Collection[str]) -> list[str]:
        """What no patient of a dataset can have, in words: levels that only other datasets know."""
        found = []
        for name in names:
            levels = self.column(name).levels
            for title, columns in zip(self._titles, self._columns, strict=True):
                without = [x.label for x in levels if x.label not in columns[name].labels]
                if without:
                    found.append(
                        f"{title} has no level {some(without)} of {name}: none of its patients has it"
                    )
        return found

    def _one(self, name: str, at: tuple[int, int] | None) -> Field:
        every = []
        for place, columns in enumerate(self._columns):
            if name not in columns:
                raise self._lacks(name, place, at)
            every.append(columns[name])
        events = [seen.event(called) for seen, called in zip(every, self._called, strict=True)]
        # What is aligned is held to what is not, so that the order of datasets does not matter.
        base = next((place for place, seen in enumerate(every) if not seen.aligned), 0)
        first = every[base]
        for place, seen in enumerate(every):
            categories = first.field.kind == seen.field.kind == "category"
            free = {"type", "levels"} if categories and (seen.aligned or first.aligned) else set()
            wrong = [k for k in ALIKE if k not in free and getattr(first.field, k) != getattr(seen.field, k)]
            said = [
                {**s.field.describe(), "event": str(events[k])} for k, s in ((base, first), (place, seen))
            ]
            if events[base] != events[place]:
                wrong.append("event")
            if wrong:
                raise self._differ(name, at, wrong, said, (base, place), categories)
        levels = first.field.levels
        if any(seen.field.levels != levels for seen in every):
            # A value of one dataset may be another level's in the next: only labels mean one thing in all of them.
            labels = dict.fromkeys(level.label for seen in (first, *every) for level in seen.field.levels)
            levels = tuple(Level(label, label) for label in labels)
        event, occurred = events[base]
        value = next((level.value for level in levels if level.label == occurred), None)
        return replace(first.field, name=name, levels=levels, event=event, occurred=value)

    def _lacks(self, name: str, place: int, at: tuple[int, int] | None) -> ProgramRejected:
        title = self._titles[place]
        own = [seen.own.name for seen in self._columns[place].values()]
        near = nearest(name, own, normal_form)
        return ProgramRejected(
            "datasets_differ",
            f"dataset {title} has no column {name}; another has it: if it is called otherwise there, write"
            f" align {Name(title)} ({Name(near[0]) if near else '...'} = {Name(name)})",
            at=at,
        )

    def _differ(
        self,
        name: str,
        at: tuple[int, int] | None,
        wrong: Sequence[str],
        said: Sequence[dict[str, str]],
        places: tuple[int, int],
        categories: bool,
    ) -> ProgramRejected:
        here, there = (self._titles[place] for place in places)
        shown = "; ".join(
            f"{key} {said[0].get(key, 'none')[:200]} in {here}, {said[1].get(key, 'none')[:200]} in {there}"
            for key in wrong
        )
        own = self._columns[places[1]][name].own.name
        remedy = "ask each dataset alone: its provider may sign a version with the same unit, bounds, steps and grid"
        if categories and set(wrong) <= {"type", "levels"}:
            remedy = f"say which levels are one with align {Name(there)} ({Name(own)} = {Name(name)} (own = other))"
        return ProgramRejected("datasets_differ", f"{name} cannot be pooled: {shown}: {remedy}", at=at)
