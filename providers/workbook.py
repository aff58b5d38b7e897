"""An Excel workbook (.xlsx): one sheet as records of texts, values as they were last computed.

The zip directory is weighed before anything is unpacked, and found true before anything is parsed. Excel keeps 15 digits and so do we: 27.4 is not
27.400000000000002.
"""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from providers.cells import text_of
from providers.delimited import Record
from providers.limits import (
    MAX_COLUMNS,
    MAX_EXPANSION,
    MAX_MEMBERS,
    MAX_UNPACKED_BYTES,
    SMALL_UNPACKED_BYTES,
)
from providers.report import Report

MAGIC = b"PK\x03\x04"
MAX_SHEET_ROWS = 2**20  # Excel's own
PIECE = 2**20  # bytes
ENTITY = tuple("<!ENTITY".encode(form) for form in ("utf-8", "utf-16-le", "utf-16-be"))


def is_workbook(content: bytes, file: str, report: Report) -> bool:
    """Whether a zip file is a workbook that may be unpacked; the report says why not."""
    remedy = "export the table as CSV in UTF-8"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            names = {member.filename for member in members}
    except (zipfile.BadZipFile, RuntimeError, ValueError, OSError):  # unknown compression is a RuntimeError
        report.error("not_csv", "the file is a damaged zip archive, not a table", remedy, file=file)
        return False
    unpacked = sum(member.file_size for member in members)
    bomb = unpacked > max(SMALL_UNPACKED_BYTES, MAX_EXPANSION * len(content))
    if len(members) > MAX_MEMBERS or unpacked > MAX_UNPACKED_BYTES or bomb:
        report.error(
            "zip_bomb",
            f"the file unpacks to {unpacked} bytes in {len(members)} parts, far more than a table of its size",
            remedy,
            file=file,
        )
        return False
    if "xl/workbook.xml" not in names:
        known = "a binary Excel workbook" if "xl/workbook.bin" in names else "a zip archive"
        report.error("not_csv", f"the file is {known}, not a table", remedy, file=file)
        return False
    if not _is_sound(content):
        _bad(file, report)
        return False
    return True


def _is_sound(content: bytes) -> bool:
    """Whether every part unpacks to what the directory says and declares no entities; read in small pieces.

    A workbook has no use for entities (ECMA-376, part 2, forbids their declaration); they multiply without end.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                with archive.open(member) as part:
                    before = b""
                    while piece := part.read(PIECE):
                        if any(word in before + piece for word in ENTITY):
                            return False
                        before = piece[-len(ENTITY[-1]) :]
        return True
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError, OSError):
        return False


def _bad(file: str, report: Report) -> None:
    report.error(
        "bad_workbook",
        "the workbook cannot be read: it is damaged or in a form not known here",
        "open it in a spreadsheet program and save it again, or export the table as CSV in UTF-8",
        file=file,
    )


def records(content: bytes, file: str, sheet: str | None, report: Report) -> Iterator[Record]:
    """(row, cells) of every row with a value, all of the header's length; the first is the header."""
    import openpyxl  # a third of a second that tables in CSV need not wait

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            names = [page.title for page in book.worksheets]
            if not names or (sheet is not None and sheet not in names):
                report.error(
                    "sheet_missing",
                    f"the workbook has no sheet {sheet}" if names else "the workbook has no sheet of cells",
                    'correct "sheet" in the codebook',
                    file=file,
                )
                return
            page: Any = book[sheet] if sheet is not None else book.worksheets[0]
            page.reset_dimensions()  # what a file says of its own size may be wrong
            yield from _rows(page, file, report)
    except Exception:  # noqa: BLE001 (a damaged workbook fails in ways that openpyxl does not list)
        _bad(file, report)


def _rows(page: Any, file: str, report: Report) -> Iterator[Record]:
    start, header = 0, []
    for number, values in enumerate(page.iter_rows(max_col=MAX_COLUMNS + 1, values_only=True), start=1):
        header = _trimmed([_text(value) for value in values])
        if header or number > MAX_SHEET_ROWS:
            start = number
            break
    if not header:
        return
    yield start, header
    width = len(header)
    rows = page.iter_rows(min_row=start + 1, max_col=width + 1, values_only=True)
    for number, values in enumerate(rows, start=start + 1):
        if number > MAX_SHEET_ROWS:
            report.error(
                "file_too_large",
                f"the sheet has more than {MAX_SHEET_ROWS} rows",
                "split it, or export the table as CSV in UTF-8",
                file=file,
            )
            return
        cells = _trimmed([_text(value) for value in values])
        if cells:
            yield number, cells + [""] * (width - len(cells))


def _text(value: Any) -> str:
    if isinstance(value, float) and not value.is_integer():
        return text_of(float(f"{value:.15g}"))
    return text_of(value)


def _trimmed(cells: list[str]) -> list[str]:
    while cells and not cells[-1].strip():
        cells.pop()
    return cells
