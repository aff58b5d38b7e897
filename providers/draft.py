"""A codebook proposed for files that have none: every column a field, every guess marked for a person.

What was read from values is named in `local` (of a field, and of the codebook for its capacity), and every
reader of codebooks refuses a codebook with such a mark: nothing leaves before a person has compared each level
list and bound with the protocol and removed it. The draft is then held against its own files, as `check` will
be: a field that does not hold is left out and said so. Nothing here is sent; all of it stays local.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations
from pathlib import PurePath
from typing import Any

import numpy as np

from analytics.query.errors import CodebookRejected
from analytics.query.schema import (
    DEFAULT_CAPACITY,
    LARGEST_CAPACITY,
    MOST_FIELDS,
    Schema,
    load_codebook,
    parse_codebook,
)
from analytics.query.tree import normal_form
from providers.codebook import Encoded, encode
from providers.headers import SITE, words
from providers.patient_key import DraftRefused, find_key, unnumbered, with_patients
from providers.proposal import DAY_ZERO, Proposal, Rows, is_name, numeric, propose
from providers.repeats import CHOICES, Repeats, most_rows, of_thing, repeats_of, to_one
from providers.repeats import MOST_FIELDS as MOST_OF_A_FILE
from providers.report import Report
from providers.round_bounds import round_bounds
from providers.study import Joined
from providers.suspicion import suspect_values
from providers.table import Table

POLICY = {
    "epsilon": "10",
    "epsilon_per_query": "1",
    "minimum_cohort": 11,
    "modes": ["dp"],
    "statistics": ["*"],
}
YEARS = 3  # until the proposed policy ends


@dataclass
class Drafted:
    """One field, or one column without any, and what a person should know of it."""

    file: str
    column: str
    made: Proposal
    name: str = ""  # "" where the column is left out

    @property
    def notes(self) -> list[str]:
        return self.made.notes


@dataclass
class Draft:
    """`codebook` is ready to print; `schema` and `encoded` are what it says of its files once it is confirmed."""

    codebook: dict[str, Any]
    drafted: list[Drafted]
    notes: list[str]
    schema: Schema = field(repr=False)
    encoded: Encoded = field(repr=False)


def draft(tables: Sequence[Table], report: Report, *, primary_key: str | None, today: date) -> Draft:
    """The draft of a codebook for the files of one study; what looks wrong in them goes to the report.

    Raises  DraftRefused if there is no key, or nothing that can be shared.
    """
    if len({table.file for table in tables}) < len(tables):
        raise DraftRefused("two files have the same name: rename one, the codebook tells files apart by name")
    files = [unnumbered(table) for table in tables]
    key = find_key(files, primary_key)
    files = with_patients(files, key)
    drafted: list[Drafted] = []
    notes: list[str] = []
    for file in files:
        drafted += _of_file(file, key, notes)
    notes += _strangers(files)
    _place(drafted, files)
    _name(drafted, key)
    reference = _date_fields(drafted)
    if reference is not None:
        notes.append(
            f"all dates count from {reference}, so that differences of two fields are days: any round day will do"
        )
    patients = 1 + max(int(file.patient.max()) for file in files)
    codebook = {
        "primaryKey": key,
        "local": ["capacity"],
        "capacity": _capacity(patients),
        "fields": [],
        "policy": {**POLICY, "expires": date(today.year + YEARS, 1, 1).isoformat()},
        "facts": {"sources": {}},
    }
    schema, encoded = _held(codebook, drafted, tables, report)
    suspect_values(replace(schema, facts={}), encoded, report)  # sources are a person's to write
    return Draft(codebook, drafted, notes, schema, encoded)


def confirmed(codebook: dict[str, Any]) -> dict[str, Any]:
    """The codebook as a person leaves it who confirms everything: without its marks."""
    plain = copy.deepcopy(codebook)
    for part in (plain, *plain["fields"]):
        part.pop("local", None)
    return plain


# -- from columns to fields ----------------------------------------------------------------------------------


def _of_file(file: Joined, key: str, notes: list[str]) -> list[Drafted]:
    repeats = repeats_of(file, key)
    name = file.table.file
    if repeats is not None:
        notes.append(_said_of(file, repeats))
        notes += [
            f"{name}: the same {key} stands beside several values of {header}: if numbers begin anew at each, join "
            "the two into one column of the file"
            for header in file.table.headers
            if words(header) & SITE and header not in repeats.constant
        ]
    made: list[Drafted] = []
    if repeats is not None and repeats.thing is None and not repeats.slip:
        made.append(Drafted(name, "", _counted(file)))
    rows = np.arange(file.table.rows)
    values = [] if repeats is None or repeats.thing is None else _values(file, key, repeats)
    for header in file.table.headers:
        if header == key:
            continue
        if not is_name(header):
            made.append(
                Drafted(name, header, _left("the header is no name: give the column a shorter, plain one"))
            )
        elif header in values:
            assert repeats is not None
            made += _by_thing(file, header, repeats)
        elif repeats is not None and header not in repeats.constant and repeats.thing is not None:
            made.append(Drafted(name, header, _left(_why_left(header, repeats))))
        else:
            made.append(Drafted(name, header, _column(file, header, rows, repeats)))
    return made


def _column(file: Joined, header: str, rows: Rows, repeats: Repeats | None) -> Proposal:
    texts = file.texts(header)
    made = propose(header, texts, rows, file.table.decimal)
    if repeats is not None and made.kind != "left out":
        counts = np.bincount(texts.index, minlength=len(texts.distinct))
        to_one(made, header, repeats, dict(zip(texts.distinct, counts.tolist(), strict=True)))
    return made


def _values(file: Joined, key: str, repeats: Repeats) -> list[str]:
    """The columns of which every thing has its own value; none if that would be too many fields."""
    aside = {key, repeats.thing, repeats.order} | repeats.constant | repeats.told
    values = [name for name in file.table.headers if name not in aside]
    return values if len(values) * len(repeats.things) <= MOST_OF_A_FILE else []


def _by_thing(file: Joined, header: str, repeats: Repeats) -> list[Drafted]:
    """One field for each thing that the rows are of."""
    things = file.texts(str(repeats.thing))
    made = []
    for number, thing in enumerate(things.distinct):
        rows = np.flatnonzero(things.index == number)
        one = propose(header, file.texts(header), rows, file.table.decimal)
        if one.kind != "left out":
            one.setting["reduce"] = of_thing(repeats, thing)
            one.local.append("reduce")
        drafted = Drafted(file.table.file, header, one, f"{header} {thing}")
        made.append(drafted)
    return made


def _counted(file: Joined) -> Proposal:
    """How many rows each patient has."""
    most = most_rows(file)
    made = Proposal("number", local=["constraints", "resolution"], distinct=most)
    bounds = round_bounds(Decimal(0), Decimal(most), 0)
    assert bounds is not None, "a file has fewer rows than a codebook can write"
    made.setting = {**numeric(bounds, whole=True), "reduce": {"how": "count"}}
    made.note("how many rows a patient has")
    return made


def _left(why: str) -> Proposal:
    return Proposal("left out", notes=[why])


def _why_left(header: str, repeats: Repeats) -> str:
    if header == repeats.thing:
        return 'tells the rows of a patient apart: each field\'s "reduce" names one of its values'
    if header == repeats.order:
        return "sorts the rows of a patient"
    if header in repeats.told:
        return f"follows from {repeats.thing}: write it as the title or unit of the fields"
    return (
        f"{len(repeats.things)} values of {repeats.thing} would make too many fields: list those that matter"
    )


def _strangers(files: Sequence[Joined]) -> list[str]:
    """Files with the same columns and no patient in common are two hospitals', not one study's."""
    return [
        f"{one.table.file} and {other.table.file} have the same columns and no patient in common: if they are two "
        "hospitals' tables, draft from one and check the other with the same codebook"
        for one, other in combinations(files, 2)
        if set(one.table.headers) == set(other.table.headers)
        and not np.isin(one.patient, other.patient).any()
    ]


def _said_of(file: Joined, repeats: Repeats) -> str:
    patients, rows = len(np.unique(file.patient)), file.table.rows
    said = f"{file.table.file}: {rows} rows of {patients} patients"
    if repeats.slip:
        again = len(np.unique(file.patient[file.several]))
        return (
            f"{said}: {again} patient{'s are' if again > 1 else ' is'} in the table twice, first in line {file.line(int(file.several[0]))}; "
            "correct the file. The fields read the first row until then"
        )
    if repeats.thing is not None:
        return f"{said}: {repeats.thing} tells them apart, so each of its values makes fields of its own"
    return (
        f'{said}: every column comes down to one value a patient as its "reduce" says; others are {CHOICES}'
    )


# -- from fields to a codebook -------------------------------------------------------------------------------


def _place(drafted: Sequence[Drafted], files: Sequence[Joined]) -> None:
    """Say the file where a header is in several."""
    for one in drafted:
        having = sum(one.column in file.table.columns for file in files)
        if having > 1 or (not one.column and len(files) > 1):
            one.made.setting["file"] = one.file


def _name(drafted: Sequence[Drafted], key: str) -> None:
    """A name for every field, unlike all others also to a reader who knows no case, spaces and hyphens."""
    taken = {normal_form(key), ""}
    given = 0
    for number, one in enumerate(drafted, start=1):
        if one.made.kind == "left out":
            one.name = ""
            continue
        if given == MOST_FIELDS:
            one.made, one.name = _left(f"a codebook has at most {MOST_FIELDS} fields"), ""
            continue
        given += 1
        stem = PurePath(one.file).stem
        plain = one.name or one.column or "rows"
        tries = [
            plain,
            f"{plain} {stem}",
            f"{one.column} {number}",
            f"column {number}",
            f"field {number} of {stem}",
        ]
        tries += [f"column {number} {more}" for more in range(2, 2 + len(drafted))]
        one.name = next(
            name for name in tries if normal_form(name) not in taken and len(name) < 200 and is_name(name)
        )
        taken.add(normal_form(one.name))
        if one.column and one.name != one.column:
            one.made.setting["source"] = one.column


def _date_fields(drafted: Sequence[Drafted]) -> date | None:
    """Give all dates one day to count from, at the start of a decade; None if there are no dates."""
    dates = [one.made for one in drafted if one.made.kind == "days"]
    if not dates:
        return None
    first = DAY_ZERO + timedelta(days=min(made.low for made in dates))
    reference = date(max(1, first.year // 10 * 10), 1, 1)
    start = (reference - DAY_ZERO).days
    for made in dates:
        bounds = round_bounds(Decimal(made.low - start), Decimal(made.high - start), 0)
        assert bounds is not None, "a calendar has few days"
        made.setting |= {**numeric(bounds, whole=True), "unit": f"days since {reference}"}
    return reference


def _capacity(patients: int) -> int:
    """The usual capacity, or the next power of two that leaves a quarter free."""
    capacity = DEFAULT_CAPACITY
    while 3 * capacity < 4 * patients and capacity < LARGEST_CAPACITY:
        capacity *= 2
    if patients > capacity:
        raise DraftRefused(f"more patients than a dataset holds ({LARGEST_CAPACITY})")
    return capacity


ORDERED = ("name", "source", "file", "type", "unit", "constraints", "resolution", "categories", "missingValues",
           "decimalChar", "recodes", "reduce")  # fmt: skip


def _held(
    codebook: dict[str, Any], drafted: Sequence[Drafted], tables: Sequence[Table], report: Report
) -> tuple[Schema, Encoded]:
    """Fill in the fields, and hold the confirmed codebook against the files until nothing is wrong.

    Raises  DraftRefused if no field is left.
    """
    while True:
        fields = [one for one in drafted if one.made.kind != "left out"]
        if not fields:
            raise DraftRefused(_nothing_left(drafted))
        codebook["fields"] = [_setting(one) for one in fields]
        codebook["facts"] = {"sources": {one.name: "" for one in fields}}
        own = Report()
        try:
            schema = parse_codebook(load_codebook(json.dumps(confirmed(codebook))))
            encoded = encode(schema, tables, own)
        except CodebookRejected as wrong:
            broken = {p["where"] for p in wrong.problems}
            bad = [one for one in fields if any(_in(place, one, fields) for place in broken)] or fields
        else:
            bad = [one for one in fields if one.name not in encoded.columns]
            if not bad and not own.errors:
                report.problems += own.problems
                return schema, encoded
            bad = bad or fields
        for one in bad:
            one.made = _left("what was proposed did not hold on these files: write this field by hand")
            one.name = ""


def _setting(one: Drafted) -> dict[str, Any]:
    said = {"name": one.name, **one.made.setting}
    return {key: said[key] for key in ORDERED if key in said} | {"local": sorted(set(one.made.local))}


def _in(place: str, one: Drafted, fields: Sequence[Drafted]) -> bool:
    number = next(n for n, other in enumerate(fields) if other is one)
    return place.startswith((f"fields[{number}]", f"fields.{one.name}."))


def _nothing_left(drafted: Sequence[Drafted]) -> str:
    if not drafted:
        return "there is no column besides the key"
    return f"no column can be shared: {drafted[0].column}: {drafted[0].notes[0]}"
