"""One file as raw text columns, every row with the line on which it begins, or its number.

Nothing is interpreted here: "NA", "", "007" and "1,5" stay the texts they are until the codebook says what
they mean. What a file is follows from its first bytes, never from its name: text (CSV), an Excel workbook, a
SAS transport file or data set, a Parquet file; anything else is refused by name. Limits are checked before
anything is parsed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from providers import delimited, parquet, sas7bdat, workbook, xport
from providers.cells import column_of
from providers.delimited import Record
from providers.encoding import decode, holds_nul
from providers.limits import MAX_CELL, MAX_COLUMNS, MAX_FILE_BYTES
from providers.report import Report

FOREIGN = {
    b"\xd0\xcf\x11\xe0": "an old Excel workbook, or one with a password",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"(\xb5/\xfd": "a zstd archive",
    b"%PDF": "a PDF document",
    b"$FL2": "an SPSS file",
    b"<stata_dta>": "a Stata file",
}

BINARY = (workbook.MAGIC, xport.MAGIC, xport.MAGIC_8, sas7bdat.MAGIC, parquet.MAGIC)
HEAD_BYTES = 2**16


@dataclass(frozen=True)
class Table:
    """Raw text columns of one file, all of equal length.

    `lines[r]` is where row r begins in the file: a line of text, a row of a sheet, the number of an
    observation. `decimal` is the decimal point of the whole file, where that is certain.
    """

    file: str
    columns: dict[str, NDArray[np.object_]] = field(repr=False)
    lines: NDArray[np.int64] = field(repr=False)
    decimal: str = "."

    @property
    def rows(self) -> int:
        return len(self.lines)

    @property
    def headers(self) -> list[str]:
        return list(self.columns)


def read_table(path: str | os.PathLike[str], report: Report, sheet: str | None = None) -> Table | None:
    """The table in a file; None where it cannot be read as one, which the report then explains."""
    file = Path(path).name
    content = _content(Path(path), file, report)
    if content is None:
        return None
    named = file if sheet is None else sheet_name(file, sheet)
    if content.startswith(workbook.MAGIC):
        if not workbook.is_workbook(content, file, report):
            return None
        return _from_records(named, workbook.records(content, named, sheet, report), report)
    if sheet is not None:
        report.error(
            "sheet_missing", "the file is no workbook: it has no sheets", 'remove "sheet"', file=file
        )
        return None
    if content.startswith((xport.MAGIC, xport.MAGIC_8)):
        return _from_columns(file, xport.read_xport(content, file, report), report)
    if content.startswith(sas7bdat.MAGIC):
        return _from_columns(file, sas7bdat.read_sas7bdat(content, file, report), report)
    if content.startswith(parquet.MAGIC):
        return _from_columns(file, parquet.read_parquet(content, file, report), report)
    text = decode(content, file, report)
    del content  # a second copy of all that follows
    if text is None:
        return None
    delimiter = delimited.delimiter_of(text)
    return _from_records(file, delimited.records(text, delimiter, file, report), report, delimiter)


def sheet_name(file: str, sheet: str) -> str:
    """What a table is called that is one named sheet of a workbook."""
    return f"{file}[{sheet}]"


def _from_records(file: str, records: Iterable[Record], report: Report, delimiter: str = ",") -> Table | None:
    before = len(report.errors)
    headers: list[str] | None = None
    rows: list[list[str]] = []
    lines: list[int] = []
    ragged: list[int] = []
    empty: list[int] = []
    for line, cells in records:
        if headers is None:
            headers = [name.strip() for name in cells]
            if not _headers_hold(headers, line, file, report):
                return None
        elif len(cells) != len(headers):
            ragged.append(line)
        elif not any(cells):
            empty.append(line)
        else:
            rows.append(cells)
            lines.append(line)
    if headers is None:
        if len(report.errors) == before:
            _empty(file, report)
        return None
    report.lines(
        "ragged_row",
        f"the row has another number of cells than the header ({len(headers)})",
        "quote cells that contain a comma, and give every row all its cells",
        lines=ragged,
        file=file,
    )
    report.lines(
        "empty_row",
        "all cells of the row are empty: it is left out",
        "delete empty rows",
        lines=empty,
        file=file,
        severity="warning",
    )
    if len(report.errors) > before and not ragged:
        return None  # a quote swallowed the rest: what it hid cannot be checked
    if not rows:
        _no_rows(file, report)
        return None
    columns = {
        name: column_of(values) for name, values in zip(headers, zip(*rows, strict=True), strict=True) if name
    }
    decimal = delimited.decimal_of(delimiter, columns.values())
    table = Table(file, columns, np.array(lines, dtype=np.int64), decimal)
    return table if _cells_hold(table, report) else None


def _from_columns(
    file: str, read: tuple[Sequence[str], Sequence[NDArray[np.object_]]] | None, report: Report
) -> Table | None:
    if read is None:
        return None
    headers, columns = [name.strip() for name in read[0]], read[1]
    if not headers:
        _empty(file, report)
        return None
    if not _headers_hold(headers, None, file, report):
        return None
    rows = len(columns[0])
    if not rows:
        _no_rows(file, report)
        return None
    named = {name: column for name, column in zip(headers, columns, strict=True) if name}
    table = Table(file, named, np.arange(1, rows + 1))
    return table if _cells_hold(table, report) else None


def _content(path: Path, file: str, report: Report) -> bytes | None:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            report.error(
                "unreadable",
                "this is not a file: a stream has no size to check",
                "save the table as a file",
                file=file,
            )
            return None
        if status.st_size > MAX_FILE_BYTES:
            _too_large(file, report)
            return None
        with path.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
            if _is_no_table(head, file, report):
                return None
            opened.seek(0)
            content = opened.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:  # it grows, or never said how large it is
            _too_large(file, report)
            return None
        return content
    except OSError as wrong:
        report.error(
            "unreadable",
            f"the file cannot be read: {wrong.strerror}",
            "check the name and its rights",
            file=file,
        )
        return None


def _is_no_table(head: bytes, file: str, report: Report) -> bool:
    """Whether the first bytes tell already that the file is no table: the rest of it is then never read."""
    for magic, name in FOREIGN.items():
        if head.startswith(magic):
            report.error(
                "not_csv", f"the file is {name}, not a table", "export the table as CSV in UTF-8", file=file
            )
            return True
    if head.startswith(BINARY) or not holds_nul(head):
        return False
    return decode(head, file, report) is None


def _too_large(file: str, report: Report) -> None:
    report.error(
        "file_too_large",
        f"the file has more than {MAX_FILE_BYTES} bytes",
        "split the table by columns into several files, each with the primary key",
        file=file,
    )


def _empty(file: str, report: Report) -> None:
    report.error("empty_file", "the file is empty", "give a table with a header line", file=file)


def _no_rows(file: str, report: Report) -> None:
    report.error("no_rows", "there is a header but no row", "give at least one row", file=file, line=1)


def _cells_hold(table: Table, report: Report) -> bool:
    for name, column in table.columns.items():
        long = [row for row, text in enumerate(column) if len(text) > MAX_CELL]
        if long:
            report.error(
                "cell_too_long",
                f"a cell has more than {MAX_CELL} characters",
                "leave that column out",
                file=table.file,
                line=int(table.lines[long[0]]),
                column=name,
            )
            return False
    return True


def _headers_hold(headers: list[str], line: int | None, file: str, report: Report) -> bool:
    place = {"file": file, "line": line}
    before = len(report.errors)
    if len(headers) > MAX_COLUMNS:
        report.error(
            "too_many_columns",
            f"the header has {len(headers)} columns, more than {MAX_COLUMNS}",
            "keep the columns that the codebook names",
            **place,
        )
    seen: set[str] = set()
    for position, name in enumerate(headers, start=1):
        if name and name in seen:
            report.error(
                "duplicate_header",
                f"column {position} has the same header as an earlier column",
                "give every column its own header",
                column=name,
                **place,
            )
        seen.add(name)
    unnamed = headers.count("")
    if unnamed == len(headers):
        report.error("no_header", "the header names no column", "begin the file with a header line", **place)
    elif unnamed > 1:
        report.error(
            "empty_header", f"{unnamed} columns have an empty header", "give every column a header", **place
        )
    elif unnamed == 1:
        report.warning(
            "empty_header", "the column without a header is left out", "give it a header to use it", **place
        )
    return len(report.errors) == before
