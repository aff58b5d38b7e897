"""From names in a question to columns and codes of one or several codebooks.

A name means the column whose name or title has the same normal form; a level means the code whose label or
value does. Several datasets are pooled only where their columns agree in everything that gives codes a
meaning. Whatever is not found is refused with the nearest names of the codebook: public words, no data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics.query.columns import Field, Level
from analytics.query.errors import ProgramRejected, nearest
from analytics.query.schema import Schema
from analytics.query.tree import Name, as_number, normal_form

ALIKE = (
    "type",
    "unit",
    "minimum",
    "maximum",
    "resolution",
    "levels",
    "grid",
)  # what gives a code its meaning


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
    """The columns of the datasets of one question. `datasets` are sorted by id and not empty."""

    def __init__(self, datasets: Sequence[DatasetFacts]) -> None:
        self.datasets = datasets
        self._by_form: dict[str, Field] = {}
        self._by_name: list[dict[str, Field]] = []
        for dataset in datasets:
            self._by_name.append({field.name: field for field in dataset.schema.fields})
            for field in dataset.schema.fields:
                for text in (field.name, field.title):
                    self._by_form.setdefault(normal_form(text), field)
        self._agreed: set[str] = set()

    def column(self, name: Name) -> Field:
        """The column that a name or title means, equal in every dataset.

        Raises  ProgramRejected: unknown_column, datasets_differ.
        """
        field = self._by_form.get(name.form)
        if field is None:
            raise self._unknown_column(name)
        self._agree(field, name)
        return field

    def knows(self, name: Name) -> bool:
        """Whether a name or title of a column is meant."""
        return name.form in self._by_form

    def code(self, field: Field, level: Name) -> int:
        """The code of a level of a category. Raises ProgramRejected: unknown_level, ambiguous_level."""
        codes = matching(field, level.text)
        if not codes:
            raise ProgramRejected(
                "unknown_level",
                f"{field.name} has no level {level.text}; it has {_some([x.label for x in field.levels])}",
                at=level.at,
                suggestions=nearest(level.text, _texts(field.levels), normal_form),
            )
        if len(codes) > 1:
            raise ProgramRejected(
                "ambiguous_level",
                f"{level.text} may be several levels of {field.name}: write one exactly",
                at=level.at,
                suggestions=[field.levels[code].label for code in codes],
            )
        return codes[0]

    def level(self, level: Name) -> tuple[Field, int]:
        """The one column that has a level, and its code.

        Raises  ProgramRejected: unknown_level with the nearest levels of any column, ambiguous_level with
                the columns that have it, datasets_differ.
        """
        nominal = [field for field in self._by_name[0].values() if field.kind == "category"]
        having = [field for field in nominal if matching(field, level.text)]
        if not having:
            hint = ""
            if level.form in self._by_form:
                hint = f"; {level.text} is a column: to have one answer for each of its levels, write by"
            raise ProgramRejected(
                "unknown_level",
                f"no column has a level {level.text}{hint}",
                at=level.at,
                suggestions=nearest(
                    level.text, [text for field in nominal for text in _texts(field.levels)], normal_form
                ),
            )
        if len(having) > 1:
            raise ProgramRejected(
                "ambiguous_level",
                f"{level.text} is a level of {_some([f.name for f in having])}: name the column with where",
                at=level.at,
                suggestions=[
                    f"where {Name(f.name)} == {Name(f.levels[matching(f, level.text)[0]].label)}"
                    for f in having[:8]
                ],
            )
        self._agree(having[0], level)
        return having[0], self.code(having[0], level)

    def _agree(self, field: Field, name: Name) -> None:
        if field.name in self._agreed:
            return
        first = self._by_name[0].get(field.name)
        for dataset, columns in zip(self.datasets, self._by_name, strict=True):
            other = columns.get(field.name)
            if first is None or other is None:
                lacking = self.datasets[0] if first is None else dataset
                raise ProgramRejected(
                    "datasets_differ",
                    f"dataset {lacking.id} has no column {field.name}; another has it",
                    at=name.at,
                )
            differing = [key for key in ALIKE if getattr(first, key) != getattr(other, key)]
            if differing:
                here, there = first.describe(), other.describe()
                shown = "; ".join(
                    f"{key} {here.get(key, 'none')[:200]} in {self.datasets[0].id},"
                    f" {there.get(key, 'none')[:200]} in {dataset.id}"
                    for key in differing
                )
                raise ProgramRejected(
                    "datasets_differ", f"{field.name} cannot be pooled: {shown}", at=name.at
                )
        self._agreed.add(field.name)

    def _unknown_column(self, name: Name) -> ProgramRejected:
        having = [
            field.name
            for field in self._by_name[0].values()
            if field.kind == "category" and matching(field, name.text)
        ]
        hint = f"; {name.text} is a level of {_some(having)}" if having else ""
        known = [text for columns in self._by_name for f in columns.values() for text in (f.name, f.title)]
        return ProgramRejected(
            "unknown_column",
            f"there is no column {name.text}{hint}",
            at=name.at,
            suggestions=nearest(name.text, known, normal_form),
        )


def matching(field: Field, text: str) -> list[int]:
    """Codes that a text may mean: exactly a label or value, else in normal form, else as an equal number."""
    exactly = [code for code, level in enumerate(field.levels) if text in (level.label, level.value)]
    if exactly:
        return exactly
    form = normal_form(text)
    alike = [
        code
        for code, level in enumerate(field.levels)
        if form and form in (normal_form(level.label), normal_form(level.value))
    ]
    number = as_number(text)
    if number is None:
        return alike
    # -1 and 1 share a normal form: a text that spells a number means the level that spells the same one.
    return [
        code
        for code, level in enumerate(field.levels)
        if number in (as_number(level.value), as_number(level.label))
    ]


def _texts(levels: Sequence[Level]) -> list[str]:
    return list(dict.fromkeys(text for level in levels for text in (level.label, level.value)))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
