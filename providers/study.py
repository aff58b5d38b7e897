"""Several files of one study, joined on the primary key: one patient, one place in the shared table.

Patients are numbered in the order in which they first appear, file by file. A patient without a row in some
file is missing there. Which file a field reads follows from its header, or from the codebook's `file` where
two files have that header; a `file` without an ending is that file in whatever form it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import PurePath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analytics.query.schema import Field, Schema
from analytics.query.tree import normal_form
from providers.report import Report
from providers.table import Table, sheet_name

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """A column as its distinct stripped texts; row r holds `distinct[index[r]]`."""

    distinct: list[str] = field(repr=False)
    index: Rows = field(repr=False)


@dataclass(frozen=True)
class Joined:
    """One file of the study; row r belongs to patient `patient[r]`, or to none (-1) if it has no key."""

    table: Table
    patient: Rows = field(repr=False)
    several: Rows = field(repr=False)  # rows of patients that had a row before, in file order
    cache: dict[str, Texts] = field(default_factory=dict, repr=False)

    def texts(self, header: str) -> Texts:
        if header not in self.cache:
            self.cache[header] = _texts(self.table.columns[header])
        return self.cache[header]

    def line(self, row: int | np.integer) -> int:
        return int(self.table.lines[row])


@dataclass(frozen=True)
class Study:
    """The files that the codebook uses, and where each field is read. Fields without a place are left out."""

    patients: int
    files: dict[str, Joined] = field(repr=False)
    place: dict[str, Joined] = field(repr=False)


def join(schema: Schema, tables: Sequence[Table], report: Report) -> Study:
    """Find every field's file and number the patients; what cannot be found is reported."""
    by_name: dict[str, Table] = {}
    for table in tables:
        if table.file in by_name:
            report.error(
                "same_file_name",
                "two files have the same name",
                "rename one: the codebook tells files apart by name",
                file=table.file,
            )
        by_name[table.file] = table
    chosen = {
        item.name: _table_of(item, schema, list(by_name.values()), report)
        for item in schema.fields
        if item.derive is None
    }
    used = [t for t in by_name.values() if any(t is table for table in chosen.values())]
    for table in by_name.values():
        if not any(table is other for other in used):
            report.warning(
                "unused_file",
                "no field of the codebook reads this file",
                'leave it out, or name it in a field\'s "file"',
                file=table.file,
            )
    keyed = {table.file: keys for table in used if (keys := _keys(schema, table, report)) is not None}
    known, number = pd.factorize(np.concatenate([*keyed.values(), np.array([], dtype=object)]))
    files: dict[str, Joined] = {}
    start = 0
    for file, keys in keyed.items():
        patient = known[start : start + len(keys)].astype(np.int64)
        start += len(keys)
        several = np.flatnonzero(pd.Series(patient).duplicated().to_numpy() & (patient >= 0))
        files[file] = Joined(by_name[file], patient, several)
    patients = len(number)
    _capacity_holds(schema, patients, report)
    place = {name: files[t.file] for name, t in chosen.items() if t is not None and t.file in files}
    _gaps(schema, files, place, patients, report)
    return Study(patients, files, place)


def sheets_of(schema: Schema, file: str) -> list[str | None]:
    """The sheets of a file that the codebook names, in its order; None is the first sheet, or no workbook."""
    named = [item for item in schema.fields if item.file is not None and is_file(item.file, file)]
    return list(dict.fromkeys(item.sheet for item in named)) or [None]


def is_file(named: str, file: str) -> bool:
    """Whether a codebook's `file` means this one: by name, or in any case and form if it has no ending."""
    wanted = PurePath(named).name
    return wanted == file or (
        not PurePath(wanted).suffix and wanted.casefold() == PurePath(file).stem.casefold()
    )


def find_column(name: str, headers: Sequence[str]) -> str | None:
    """The header that a predicate's name means: itself, or the only one of the same normal form."""
    if name in headers:
        return name
    same = [header for header in headers if normal_form(header) == normal_form(name)]
    return same[0] if len(same) == 1 else None


def counts_rows(item: Field) -> bool:
    """Whether a field counts the rows of a file as such, without a column of its own."""
    return item.reduce is not None and item.reduce.how == "count" and item.source == item.name


def _table_of(item: Field, schema: Schema, tables: Sequence[Table], report: Report) -> Table | None:
    place = {"column": item.source}
    if item.file is not None:
        wanted, sheet = PurePath(item.file).name, "" if item.sheet is None else sheet_name("", item.sheet)
        named = [
            table
            for table in tables
            if table.file.endswith(sheet) and is_file(wanted, table.file.removesuffix(sheet))
        ]
        if len(named) > 1:
            report.error(
                "ambiguous_file",
                f"field {item.name} reads the file {wanted}, and {len(named)} files are called that",
                f'give one of them, or write "file": {" or ".join(table.file for table in named)}',
                **place,
            )
            return None
        if not named:
            wanted += sheet
            report.error(
                "file_missing",
                f"field {item.name} reads the file {wanted}, which was not given",
                "give that file too, or correct the codebook",
                **place,
            )
            return None
        if item.source not in named[0].columns and not counts_rows(item):
            _column_missing(item, named, report, named[0].file)
            return None
        return named[0]
    having = [table for table in tables if item.source in table.columns]
    if len(having) == 1:
        return having[0]
    if not having and counts_rows(item) and len(tables) == 1:
        return tables[0]
    if not having:
        _column_missing(item, tables, report, tables[0].file if len(tables) == 1 else None)
        return None
    report.error(
        "ambiguous_column",
        f"field {item.name} reads a column that {len(having)} files have",
        f'say which with "file": {" or ".join(table.file for table in having)}',
        **place,
    )
    return None


def _column_missing(item: Field, tables: Sequence[Table], report: Report, file: str | None) -> None:
    headers = [header for table in tables for header in table.headers]
    near = get_close_matches(item.source, headers, n=1, cutoff=0.8)
    hint = f"; did you mean {near[0]}" if near else ""
    if counts_rows(item):
        hint = ', or say with "file" whose rows it counts'
    report.error(
        "column_missing",
        f"field {item.name} reads a column that no header names",
        f'correct the header, or name the column in the field\'s "source"{hint}',
        column=item.source,
        file=file,
        line=1 if file else None,
    )


def _keys(schema: Schema, table: Table, report: Report) -> NDArray[np.object_] | None:
    """The key of every row, stripped; None if the file has no key column."""
    name = schema.primary_key
    if name not in table.columns:
        report.error(
            "key_column_missing",
            "the file has no column of the primary key",
            "add it: rows of several files are joined on it",
            file=table.file,
            line=1,
            column=name,
        )
        return None
    texts = _texts(table.columns[name])
    distinct = np.array(texts.distinct, dtype=object)
    empty = np.array([not text for text in texts.distinct], dtype=bool)[texts.index]
    report.lines(
        "key_missing",
        "the row has no patient key",
        "give every row the key of its patient",
        lines=table.lines[empty],
        file=table.file,
        column=name,
    )
    keys = distinct[texts.index]
    keys[empty] = None  # belongs to no patient: numbered -1
    return keys


def _capacity_holds(schema: Schema, patients: int, report: Report) -> None:
    if patients > schema.capacity:
        report.error(
            "capacity_exceeded",
            f"there are more patients ({patients}) than the codebook's capacity ({schema.capacity})",
            'raise "capacity"; it is public, so choose a round number',
        )


def _gaps(
    schema: Schema, files: dict[str, Joined], place: dict[str, Joined], patients: int, report: Report
) -> None:
    """Warn where a file lacks patients that another file has: often a key written in two ways.

    Not where every field says what a patient without rows has: then the file is meant to lack some.
    """
    told = {item.name for item in schema.fields if item.reduce and item.reduce.tells_without_rows}
    for file, joined in files.items():
        if all(name in told for name, read in place.items() if read is joined):
            continue
        absent = patients - len(np.unique(joined.patient[joined.patient >= 0]))
        if absent:
            report.warning(
                "patients_without_rows",
                f"{absent} of {patients} patients have no row in this file and are missing in its fields",
                "check that the key is written alike in all files",
                file=file,
            )


def _texts(column: NDArray[np.object_]) -> Texts:
    index, distinct = pd.factorize(column)
    # Two texts may strip to one; a second pass over the distinct ones is cheaper than stripping all rows.
    stripped = np.array([text.strip() for text in distinct], dtype=object)
    again, kept = pd.factorize(stripped)
    return Texts([str(text) for text in kept], again[index].astype(np.int64))
