"""What a person is told of a draft, on the provider's own screen: a line a column, then what to look at.

Levels that few patients hold point at people: they are named here with their counts, and with a way to merge
them. These lines hold values and counts: they are for the person at the table and go nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np

from analytics.query.schema import Field
from providers.draft import Draft, Drafted
from providers.ranging import Column

MOST_MERGED = 12


def said_of(draft: Draft) -> Iterator[str]:
    """The lines, in order."""
    yield f"key {draft.schema.primary_key}, {draft.encoded.patients} patients, capacity {draft.schema.capacity}"
    yield from draft.notes
    yield from _table(draft)
    for one in draft.drafted:
        for note in one.notes:
            yield f"{_place(one)}: {note}"
    yield from _rare(draft)
    yield from _left_to_do(draft)


def _table(draft: Draft) -> Iterator[str]:
    rows = [("file", "column", "field", "proposed", "present", "missing", "distinct")]
    for one in draft.drafted:
        if not one.name:
            rows.append((one.file, one.column or "-", "-", "left out", "", "", ""))
            continue
        column = draft.encoded.columns[one.name]
        present = int(column.present.sum())
        shown = _shown(draft.schema.field(one.name))
        counts = (str(present), str(len(column.present) - present), str(one.made.distinct))
        rows.append((one.file, one.column or "-", one.name, shown, *counts))
    widths = [min(40, max(len(row[at]) for row in rows)) for at in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _shown(item: Field) -> str:
    how = f", {item.reduce.how}" if item.reduce is not None else ""
    if item.kind == "number":
        unit = f" {item.unit}" if item.unit else ""
        return f"{item.type} {item.minimum} to {item.maximum} by {item.resolution}{unit}{how}"
    return f"{len(item.levels)} level{'s' * (len(item.levels) != 1)}{how}"


def _rare(draft: Draft) -> Iterator[str]:
    """Levels that fewer patients hold than the policy lets a cohort have."""
    least = draft.schema.policy["minimum_cohort"]
    for one in draft.drafted:
        if not one.name:
            continue
        item, column = draft.schema.field(one.name), draft.encoded.columns[one.name]
        if item.kind != "category":
            continue
        rare = {n: held for n, held in enumerate(_held_by(item, column)) if 0 < held < least}
        if not rare:
            continue
        named = ", ".join(f"{item.levels[n].value} ({held})" for n, held in list(rare.items())[:MOST_MERGED])
        more = f" and {len(rare) - MOST_MERGED} more" if len(rare) > MOST_MERGED else ""
        yield (
            f"{_place(one)}: levels held by fewer than {least} patients may identify them, and the level list is "
            f"public: {named}{more}. {_merge(item, column, list(rare))}"
        )


def _held_by(item: Field, column: Column) -> list[int]:
    counted: list[int] = np.bincount(column.codes[column.present], minlength=len(item.levels)).tolist()
    return counted


def _merge(item: Field, column: Column, rare: Sequence[int]) -> str:
    """How to merge them: with their neighbour on a scale, else into one level."""
    if item.reduce is not None and item.reduce.how in ("any", "all"):
        return "Change the test, or leave the field out"
    values = [level.value for level in item.levels]
    if len(values) - len(rare) < 1 or len(values) < 3:
        return "Leave the column out, or list as missing what may not be known"
    if all(value.lstrip("-").isdecimal() for value in values):
        kept = [n for n in range(len(values)) if n not in rare]
        into = {values[n]: values[min(kept, key=lambda k: (abs(k - n), k))] for n in rare[:MOST_MERGED]}
        return (
            f'To merge with a neighbour, if they are a scale: "recodes": {json.dumps(into, ensure_ascii=False)}, '
            'and take them off "categories"; else recode them to one level "other"'
        )
    into = {values[n]: "other" for n in rare[:MOST_MERGED]}
    return (
        f'To merge: "recodes": {json.dumps(into, ensure_ascii=False)}, and {{"value": "other"}} in their place '
        'in "categories"'
    )


def _left_to_do(draft: Draft) -> Iterator[str]:
    yield "nothing was sent. This draft is refused by check and upload until a person has confirmed it:"
    yield (
        "  compare every level list, bound, resolution and missing code with the protocol; write its source (a "
        'section, or the clinical convention) into "facts"; then remove the field\'s "local", and that of the codebook'
    )
    yield "  levels and bounds are public: what only the data say, and no protocol, should not stay in them"
    yield '  decide on "policy": the epsilon that all questions together may spend, and the day it expires'
    yield '  give units ("unit"), titles and labels; for survival "role", "event" and "occurred"'


def _place(one: Drafted) -> str:
    return f"{one.file}: {one.column or one.name}" + (
        f" ({one.name})" if one.name not in ("", one.column) else ""
    )
