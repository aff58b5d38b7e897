"""A SAS transport file (XPORT, version 5), the form in which trials are submitted to regulators.

Records of 80 bytes; numbers in IBM's hexadecimal floating point, most significant byte first. Read here
rather than by pandas because that loses the special missing values (.A to .Z, ._) and the formats that make
a number a date. SAS technical support document TS-140.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from providers.cells import column_of, sas_column
from providers.limits import MAX_COLUMNS
from providers.report import Report

MAGIC = b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!"
MAGIC_8 = b"HEADER RECORD*******LIBV8   HEADER RECORD!!!!!!!"
MEMBER = b"HEADER RECORD*******MEMBER  HEADER RECORD!!!!!!!"
NAMES = b"HEADER RECORD*******NAMESTR HEADER RECORD!!!!!!!"
ROWS = b"HEADER RECORD*******OBS     HEADER RECORD!!!!!!!"
RECORD = 80
NAMESTR = struct.Struct(">hhhh8s40s8shhh2s8shhl")
MISSING = {ord("."): ""} | {code: f".{chr(code)}" for code in (*range(65, 91), ord("_"))}

Columns = dict[str, NDArray[np.object_]]


class Malformed(Exception):
    """The file is not what its first bytes say. The text names the part that is wrong."""


@dataclass(frozen=True)
class Variable:
    """Where a variable lies in a row, and how it is shown."""

    name: str
    numeric: bool
    start: int
    width: int
    form: str


def read_xport(
    content: bytes, file: str, report: Report
) -> tuple[list[str], list[NDArray[np.object_]]] | None:
    """Headers and text columns; None where the report says why not."""
    try:
        if content.startswith(MAGIC_8):
            raise Malformed("it is in version 8 of the format")
        variables, start = _variables(content)
        rows = _rows(content, start, max(item.start + item.width for item in variables))
        return [item.name for item in variables], [_column(rows, item, file, report) for item in variables]
    except (Malformed, struct.error, ValueError) as wrong:
        said = str(wrong) if isinstance(wrong, Malformed) else "a header is cut off or malformed"
        report.error(
            "bad_xport",
            f"the SAS transport file cannot be read: {said}",
            "write one data set in version 5 (libname ... xport), or export it as CSV in UTF-8",
            file=file,
        )
        return None


def _variables(content: bytes) -> tuple[list[Variable], int]:
    """The variables, and where the first row begins."""
    member, names = content[3 * RECORD : 4 * RECORD], content[7 * RECORD : 8 * RECORD]
    if not member.startswith(MEMBER) or not names.startswith(NAMES):
        raise Malformed("the header of its data set is not where it belongs")
    size, count = int(member[74:78]), int(names[54:58])
    if size not in (136, 140) or not 0 < count <= MAX_COLUMNS:
        raise Malformed(f"it declares {count} variables of {size} bytes")
    at = 8 * RECORD
    found = []
    for number in range(count):
        one = content[at + number * size : at + (number + 1) * size]
        kind, _, width, _, name, _, form, *_, start = NAMESTR.unpack_from(one)
        numeric = kind == 1
        if kind not in (1, 2) or start < 0 or not (2 <= width <= 8 if numeric else 0 < width <= 32_767):
            raise Malformed("a variable has an impossible type, place or length")
        found.append(Variable(_text(name), numeric, start, width, _text(form)))
    at += -(-count * size // RECORD) * RECORD
    if not content[at : at + RECORD].startswith(ROWS):
        raise Malformed("the header of its rows is not where it belongs")
    return found, at + RECORD


def _rows(content: bytes, start: int, width: int) -> NDArray[np.uint8]:
    """Rows as bytes, (rows, width), without the blanks that fill the last record."""
    at = start
    while (at := content.find(MEMBER, at)) >= 0:
        if at % RECORD == 0:
            raise Malformed("it holds several data sets")
        at += 1
    count, rest = divmod(len(content) - start, width)
    if len(content) % RECORD or rest >= RECORD or content[len(content) - rest :].strip(b" "):
        raise Malformed("it is cut off in the middle of a row")
    rows = np.frombuffer(content, dtype=np.uint8, count=count * width, offset=start).reshape(count, width)
    padding = 0
    while count and padding + width < RECORD and (rows[count - 1] == ord(" ")).all():
        count -= 1
        padding += width
    return rows[:count]


def _column(rows: NDArray[np.uint8], item: Variable, file: str, report: Report) -> NDArray[np.object_]:
    cells = rows[:, item.start : item.start + item.width]
    if item.numeric:
        values, missing = ibm_numbers(cells)
        return sas_column(values, missing, item.form)
    texts = [bytes(cell).rstrip(b" \0") for cell in np.ascontiguousarray(cells)]
    try:
        return column_of(text.decode("utf-8") for text in texts)
    except UnicodeDecodeError:
        report.warning(
            "encoding",
            "the text is not UTF-8 and is read as Latin-1",
            "check letters with accents",
            file=file,
            column=item.name,
        )
        return column_of(text.decode("latin-1") for text in texts)


def ibm_numbers(cells: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Numbers of 2 to 8 bytes in IBM's form, and the text of each that is a missing value, else None."""
    padded = np.zeros((len(cells), 8), dtype=np.uint8)
    padded[:, : cells.shape[1]] = cells
    words = padded.view(">u8").reshape(-1).astype(np.uint64)
    sign = np.where(words >> np.uint64(63), -1.0, 1.0)
    exponent = ((words >> np.uint64(56)) & np.uint64(0x7F)).astype(np.int64)
    fraction = words & np.uint64(2**56 - 1)
    values = sign * np.ldexp(fraction.astype(np.float64), 4 * (exponent - 64) - 56)
    missing = np.full(len(cells), None, dtype=object)
    for row in np.flatnonzero((fraction == 0) & (words != 0)):
        missing[row] = MISSING.get(int(padded[row, 0]))
    return values, missing


def _text(raw: bytes) -> str:
    return raw.rstrip(b" \0").decode("latin-1")
