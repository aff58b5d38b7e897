"""Each dataset's columns as the question sees them: under its names, with its labels.

Without `align` a dataset is seen as its codebook writes it. An `align` gives some columns another name and some
levels another label; what it says is looked up here and kept in the codebooks' own words, so that two spellings
are one plan. Public words throughout, no data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from analytics.query.columns import Field, Level
from analytics.query.errors import ProgramRejected, nearest
from analytics.query.levels import level_code, matching
from analytics.query.tree import Align, Name, Renamed, normal_form

if TYPE_CHECKING:
    from analytics.query.resolve import DatasetFacts


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A column of one dataset: `own` as its codebook has it, `field` with the question's name and labels.

    codes    the code in `field` of each own level; empty where they are the same
    aligned  whether the program aligns it
    """

    own: Field
    field: Field
    codes: tuple[int, ...] = ()
    aligned: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The question's label of each own level."""
        return tuple(self.field.levels[code].label for code in self.codes or range(len(self.own.levels)))

    def event(self, called: Mapping[str, str]) -> tuple[str | None, str | None]:
        """The column that flags a time's event, and the level of a flag that means it; `called` by own names."""
        levels = zip(self.own.levels, self.labels, strict=True)
        occurred = next((label for level, label in levels if level.value == self.own.occurred), None)
        return called.get(self.own.event or ""), occurred


Columns: TypeAlias = dict[str, Seen]  # of one dataset, by the question's names


def titles(datasets: Sequence[DatasetFacts]) -> list[str]:
    """What the datasets are called: by title, or by id where that is no name or not one dataset's alone."""
    forms = [normal_form(fact.schema.title) for fact in datasets]
    return [
        fact.schema.title if form and forms.count(form) == 1 and _is_name(fact.schema.title) else fact.id
        for fact, form in zip(datasets, forms, strict=True)
    ]


def columns_seen(
    datasets: Sequence[DatasetFacts], align: Sequence[Align]
) -> tuple[list[Columns], list[Align]]:
    """The columns of each dataset, and what aligns them in the codebooks' own words, in the order of datasets.

    Raises  ProgramRejected: unknown_dataset, unknown_column, unknown_level, ambiguous_level, duplicate, wrong_type.
    """
    seen = [{f.name: Seen(own=f, field=f) for f in fact.schema.fields} for fact in datasets]
    if not align:
        return seen, []
    called = titles(datasets)
    said: dict[int, Align] = {}
    for one in align:
        place = _place(one.dataset, datasets, called)
        if place in said:
            raise ProgramRejected(
                "duplicate", f"{one.dataset.text} is aligned twice: write one align", at=one.dataset.at
            )
        said[place] = one
    canonical = []
    coined: dict[str, str] = {}  # common names that no codebook has, by normal form
    names = [_names(fact.schema.fields) for fact in datasets]
    for place, one in sorted(said.items()):
        others = {
            form: f.name for k, own in reversed([*enumerate(names)]) if k != place for form, f in own.items()
        }
        renamed: dict[str, tuple[str, Renamed]] = {}
        for part in one.columns:
            own = names[place].get(part.column.form)
            if own is None:
                raise ProgramRejected(
                    "unknown_column",
                    f"{called[place]} has no column {part.column.text}",
                    at=part.column.at,
                    suggestions=nearest(
                        part.column.text, [f.name for f in datasets[place].schema.fields], normal_form
                    ),
                )
            name = others.get(part.name.form) or coined.setdefault(part.name.form, part.name.text)
            if own.name in renamed or name in (other for other, _ in renamed.values()):
                raise ProgramRejected(
                    "duplicate", f"{part} names a column a second time in this align", at=part.column.at
                )
            renamed[own.name] = name, part
        there = [seen[k] for k in range(len(datasets)) if k != place]
        seen[place] = _aligned(called[place], seen[place], renamed, there)
        parts = tuple(_canonical(column) for column in seen[place].values() if column.aligned)
        canonical.append(Align(Name(datasets[place].id), parts))
    return seen, canonical


def _place(name: Name, datasets: Sequence[DatasetFacts], called: Sequence[str]) -> int:
    """The dataset that a name means: its id, or its title."""
    for place, (fact, title) in enumerate(zip(datasets, called, strict=True)):
        if name.text == fact.id or name.form == normal_form(title):
            return place
    raise ProgramRejected(
        "unknown_dataset",
        f"{name.text} is no dataset of this question: align names one by its id or title",
        at=name.at,
        suggestions=called[:3],
    )


def _names(fields: Sequence[Field]) -> dict[str, Field]:
    """The fields by normal form of name and title; two that look alike were refused with the codebook."""
    return {normal_form(text): field for field in fields for text in (field.title, field.name)}


def _aligned(
    title: str, columns: Columns, renamed: Mapping[str, tuple[str, Renamed]], there: Sequence[Columns]
) -> Columns:
    taken = dict(renamed.values())
    found: Columns = {}
    for seen in columns.values():
        name, part = renamed.get(seen.own.name, (seen.own.name, None))
        if part is not None:
            found[name] = _relabelled(seen.own, name, part, there)
        elif name in taken:
            raise ProgramRejected(
                "duplicate",
                f"{title} has a column {name} itself: align that one to another name too",
                at=taken[name].name.at,
            )
        else:
            found[name] = seen
    return found


def _relabelled(own: Field, name: str, part: Renamed, there: Sequence[Columns]) -> Seen:
    if part.levels and own.kind != "category":
        raise ProgramRejected(
            "wrong_type", f"{own.name} is a number: it has no levels to align", at=part.levels[0][0].at
        )
    labels = [level.label for level in own.levels]
    mapped: set[int] = set()
    for level, common in part.levels:
        code = level_code(own, level)
        if code in mapped:
            raise ProgramRejected("duplicate", f"{level.text} stands twice in this align", at=level.at)
        mapped.add(code)
        labels[code] = _label(name, common, there)
    if labels == [level.label for level in own.levels]:
        return Seen(own=own, field=replace(own, name=name), aligned=True)
    unique = list(dict.fromkeys(labels))
    return Seen(
        own=own,
        field=replace(own, name=name, levels=tuple(Level(label, label) for label in unique)),
        codes=tuple(unique.index(label) for label in labels),
        aligned=True,
    )


def _label(name: str, level: Name, there: Iterable[Columns]) -> str:
    """The label as another dataset writes it, or the text itself."""
    for columns in there:
        if name in columns:
            field = columns[name].field
            codes = matching(field, level.text)
            if len(codes) == 1:
                return field.levels[codes[0]].label
    return level.text


def _canonical(seen: Seen) -> Renamed:
    """What aligns a column, in the codebooks' words: levels that keep their label are left out."""
    pairs = zip((level.label for level in seen.own.levels), seen.labels, strict=True)
    levels = tuple((Name(own), Name(label)) for own, label in pairs if own != label)
    return Renamed(Name(seen.own.name), Name(seen.field.name), levels)


def _is_name(text: str) -> bool:
    try:
        return bool(Name(text))
    except ProgramRejected:
        return False
