"""One CSV file as raw text columns, every row with the line on which it begins.

Nothing is interpreted here: "NA", "", "007" and "1,5" stay the texts they are until the codebook says what
they mean. A file that is not plainly a comma-separated table in UTF-8 or Latin-1 is refused with the line
where it stops being one. Limits are checked before anything is parsed. RFC 4180.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from providers.report import Report

MAX_FILE_BYTES = 2**30
MAX_COLUMNS = 4096
MAX_CELL = 131_072  # characters; the csv module's own limit

FOREIGN = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    gzip.compress(b"")[:2]: "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"PAR1": "a Parquet file",
    b"SAS": "a SAS file",
    b"HEADER RECORD*": "a SAS transport file",
    b"%PDF": "a PDF document",
}
UTF16 = (b"\xff\xfe", b"\xfe\xff")
DELIMITERS = {";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True)
class Table:
    """Raw text columns of one file, all of equal length; `lines[r]` is where row r begins in the file."""

    file: str
    columns: dict[str, NDArray[np.object_]] = field(repr=False)
    lines: NDArray[np.int64] = field(repr=False)

    @property
    def rows(self) -> int:
        return len(self.lines)

    @property
    def headers(self) -> list[str]:
        return list(self.columns)


def read_table(path: str | os.PathLike[str], report: Report) -> Table | None:
    """The table in a file; None where it cannot be read as one, which the report then explains."""
    file = Path(path).name
    content = _content(Path(path), file, report)
    text = None if content is None else _text(content, file, report)
    if text is None or _wrong_delimiter(text, file, report):
        return None
    before = len(report.errors)
    headers: list[str] | None = None
    rows: list[list[str]] = []
    lines: list[int] = []
    ragged: list[int] = []
    empty: list[int] = []
    for line, cells in _records(text, file, report):
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
            report.error("empty_file", "the file is empty", "give a table with a header line", file=file)
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
        report.error("no_rows", "there is a header but no row", "give at least one row", file=file, line=1)
        return None
    columns = {
        name: _column(values) for name, values in zip(headers, zip(*rows, strict=True), strict=True) if name
    }
    return Table(file, columns, np.array(lines, dtype=np.int64))


def _column(values: tuple[str, ...]) -> NDArray[np.object_]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _content(path: Path, file: str, report: Report) -> bytes | None:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            report.error(
                "file_too_large",
                f"the file has more than {MAX_FILE_BYTES} bytes",
                "split the table by columns into several files, each with the primary key",
                file=file,
            )
            return None
        return path.read_bytes()
    except OSError as wrong:
        report.error(
            "unreadable",
            f"the file cannot be read: {wrong.strerror}",
            "check the name and its rights",
            file=file,
        )
        return None


def _text(content: bytes, file: str, report: Report) -> str | None:
    """Bytes to text: UTF-8, with or without BOM, else Latin-1; anything that is neither is named."""
    if content.startswith(UTF16) or (len(content) > 1 and 0 in content[:2] and content[:2] != b"\0\0"):
        report.error(
            "encoding",
            "the file is in UTF-16",
            "save it as CSV in UTF-8 (Excel: 'CSV UTF-8 (comma delimited)')",
            file=file,
            line=1,
        )
        return None
    for magic, name in FOREIGN.items():
        if content.startswith(magic):
            report.error(
                "not_csv", f"the file is {name}, not CSV text", "export the table as CSV in UTF-8", file=file
            )
            return None
    if (at := content.find(b"\0")) >= 0:
        report.error(
            "nul_byte",
            "the file contains a NUL byte",
            "export the table again as plain text; the file may be damaged",
            file=file,
            line=_line_of(content, at),
        )
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        bad = wrong.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
    # Every byte string is Latin-1, so a file that is nearly UTF-8, or uses the control codes that
    # Windows-1252 and Shift-JIS put letters on, is refused rather than read as other letters.
    control = re.search(rb"[\x80-\x9f]", content)
    half_utf8 = content.startswith(b"\xef\xbb\xbf") or re.search(rb"[\xc3-\xf4][\x80-\xbf]", content[:bad])
    if control or half_utf8:
        report.error(
            "encoding",
            "the text is neither UTF-8 nor Latin-1",
            "save it as CSV in UTF-8",
            file=file,
            line=_line_of(content, bad if half_utf8 or not control else control.start()),
        )
        return None
    report.warning(
        "encoding",
        "the text is not UTF-8 and is read as Latin-1",
        "save it as UTF-8 if letters with accents come out wrong",
        file=file,
        line=_line_of(content, bad),
    )
    return content.decode("latin-1")


def _line_of(content: bytes, at: int) -> int:
    head = content[:at]
    return head.count(b"\n") + head.count(b"\r") - head.count(b"\r\n") + 1


def _wrong_delimiter(text: str, file: str, report: Report) -> bool:
    """Recognise a header that is separated by something other than commas."""
    header = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").split("\n", 1)[0].split("\r", 1)[0])
    for delimiter, name in DELIMITERS.items():
        if header.count(delimiter) > header.count(","):
            report.error(
                "delimiter",
                f"the cells are separated by {name}",
                "save the table as comma-separated values, with a point in decimal numbers",
                file=file,
                line=1,
            )
            return True
    return False


def _records(text: str, file: str, report: Report) -> Iterator[tuple[int, list[str]]]:
    """(first line, cells) of every record; a quoting error ends them and is reported where it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begin = 1
    try:
        for cells in reader:
            if cells:
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as wrong:
        place = {"file": file, "line": begin}
        if "field larger" in str(wrong):
            report.error(
                "cell_too_long",
                f"a cell has more than {MAX_CELL} characters",
                "look for a quote that is never closed, or leave that column out",
                **place,
            )
        elif "unexpected end" in str(wrong):
            report.error("unclosed_quote", "a quote is opened and never closed", "close the quote", **place)
        else:
            report.error(
                "quoting",
                "text follows a closing quote",
                "double the quotes inside a quoted cell",
                **place,
            )


def _headers_hold(headers: list[str], line: int, file: str, report: Report) -> bool:
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
