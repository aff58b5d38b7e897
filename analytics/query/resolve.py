"""From names in a question to columns and codes of one or several codebooks.

A name means the column whose name or title has the same normal form; a level means the code whose label or
value does. Several datasets are seen as one (`align`, `pool`). Whatever is not found is refused with the nearest names of the codebook: public words, no data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analytics.query.align import columns_seen, titles
from analytics.query.columns import Field, Level
from analytics.query.errors import ProgramRejected, nearest
from analytics.query.language import parse_align
from analytics.query.levels import level_code, matching, some, texts
from analytics.query.model import DATASET, Plan, Release
from analytics.query.pool import Pool
from analytics.query.schema import Schema
from analytics.query.tree import Align, Name, normal_form

UNSTRATIFIED = "pooled without strata: an effect can change its sign"


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What is public of a dataset: its signed manifest's hash, policy and padded size, and its codebook."""

    id: str
    version: int
    manifest_hash: str
    capacity: int
    schema: Schema
    policy: Mapping[str, Any]


class Catalogue:
    """The columns of the datasets of one question. `datasets` are sorted by id and not empty.

    `align` says what a dataset calls them. Raises  ProgramRejected as `columns_seen`.
    """

    def __init__(self, datasets: Sequence[DatasetFacts], align: Sequence[Align] = ()) -> None:
        self.datasets = datasets
        called = titles(datasets)
        self._columns, self.align = columns_seen(datasets, align)
        self.pool = Pool(called, self._columns)
        self._by_form: dict[str, str] = {}
        for columns in self._columns:
            for name, seen in columns.items():
                for text in (name, seen.own.title):
                    self._by_form.setdefault(normal_form(text), name)
        # Which dataset a row is in, as a category that no codebook has.
        self.dataset = Field(
            name="dataset",
            title="dataset",
            type="category",
            kind="category",
            levels=tuple(Level(fact.id, title) for fact, title in zip(datasets, called, strict=True)),
            source="dataset",
        )

    @property
    def names(self) -> list[str]:
        """Every column of the question, in the order of the first dataset's codebook."""
        return list(dict.fromkeys(name for columns in self._columns for name in columns))

    @cached_property
    def fields(self) -> Mapping[str, Field]:
        """Every column that can be pooled, by name, and the dataset as DATASET."""
        found = {DATASET: self.dataset}
        for name in self._columns[0]:
            if all(name in columns for columns in self._columns):
                with suppress(ProgramRejected):
                    found[name] = self.pool.column(name)
        return found

    def warnings(self, unstratified: bool, releases: Sequence[Release]) -> list[str]:
        """What who reads an answer must know of how datasets were pooled for it."""
        read = sorted(set().union(*(release.columns for release in releases)))
        return [UNSTRATIFIED] * unstratified + self.pool.lacking(read)

    def column(self, name: Name) -> Field:
        """The column that a name or title means, pooled over all datasets.

        Raises  ProgramRejected: unknown_column, datasets_differ.
        """
        found = self._by_form.get(name.form)
        if found is None:
            raise self._unknown_column(name)
        return self.pool.column(found, name.at)

    def knows(self, name: Name) -> bool:
        """Whether a name or title of a column is meant."""
        return name.form in self._by_form

    def group(self, name: Name) -> Field:
        """What a name after `by` means: a column, or the dataset where no column is called so."""
        if name.form == normal_form(self.dataset.name) and name.form not in self._by_form:
            return self.dataset
        return self.column(name)

    def level(self, level: Name) -> tuple[Field, int]:
        """The one column that has a level, and its code.

        Raises  ProgramRejected: unknown_level with the nearest levels of any column, ambiguous_level with
                the columns that have it, datasets_differ.
        """
        nominal = self._categories()
        having = {field.name: field for field in nominal if matching(field, level.text)}
        if not having:
            hint = ""
            if level.form in self._by_form:
                hint = f"; {level.text} is a column: to have one answer for each of its levels, write by"
            raise ProgramRejected(
                "unknown_level",
                f"no column has a level {level.text}{hint}",
                at=level.at,
                suggestions=nearest(level.text, texts(nominal), normal_form),
            )
        if len(having) > 1:
            raise ProgramRejected(
                "ambiguous_level",
                f"{level.text} is a level of {some(list(having))}: name the column with where",
                at=level.at,
                suggestions=[
                    f"where {Name(f.name)} == {Name(f.levels[matching(f, level.text)[0]].label)}"
                    for f in list(having.values())[:8]
                ],
            )
        field = self.pool.column(next(iter(having)), level.at)
        return field, level_code(field, level)

    def _categories(self) -> list[Field]:
        """The categories of the first dataset, as each of the datasets has them."""
        return [
            columns[name].field
            for name in self._columns[0]
            for columns in self._columns
            if name in columns and columns[name].field.kind == "category"
        ]

    def _unknown_column(self, name: Name) -> ProgramRejected:
        having = list(dict.fromkeys(f.name for f in self._categories() if matching(f, name.text)))
        hint = f"; {name.text} is a level of {some(having)}" if having else ""
        if name.form == normal_form(self.dataset.name):
            hint = ": to have one answer for each dataset write by dataset, to ask one of them name it alone"
        known = [
            text
            for columns in self._columns
            for seen in columns.values()
            for text in (seen.field.name, seen.own.title)
        ]
        return ProgramRejected(
            "unknown_column",
            f"there is no column {name.text}{hint}",
            at=name.at,
            suggestions=nearest(name.text, known, normal_form),
        )


def catalogue_of(plan: Plan, facts: Sequence[DatasetFacts]) -> Catalogue:
    """The columns of a plan's datasets, as its statements call them; `facts` in any order."""
    by_id = {fact.id: fact for fact in facts}
    ordered = [by_id[dataset.id] for dataset in plan.datasets]
    return Catalogue(ordered, [parse_align(text) for text in plan.align])
