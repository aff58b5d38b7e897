"""Text cut into records: commas, semicolons or tabs, whichever the header line is cut by. RFC 4180.

A file with semicolons was mostly written where a comma is the decimal point. It is taken at its word only
where its numbers allow no other reading; else a field's "decimalChar" decides.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from providers.limits import MAX_CELL
from providers.report import Report

COMMA = re.compile(r"\s*[+-]?[0-9]*,([0-9]+)\s*")
POINT = re.compile(r"\s*[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?\s*")
DECLARED = re.compile(r"sep=([,;\t])(\r\n|\n|\r)", re.IGNORECASE)  # Excel writes and obeys such a first line
PIECE = 2**20  # characters

Record = tuple[int, list[str]]


def delimiter_of(text: str) -> str:
    """What separates the cells of the header line: the most frequent of comma, semicolon and tab."""
    if declared := DECLARED.match(text):
        return declared[1]
    header = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").split("\n", 1)[0].split("\r", 1)[0])
    return max((",", ";", "\t"), key=header.count)


def records(text: str, delimiter: str, file: str, report: Report) -> Iterator[Record]:
    """(first line, cells) of every record; a quoting error ends them and is reported where it begins."""
    skipped = DECLARED.match(text)
    lines_before = 1 if skipped else 0
    reader = csv.reader(_lines(text, skipped.end() if skipped else 0), delimiter=delimiter, strict=True)
    begin = 1 + lines_before
    try:
        for cells in reader:
            if cells:
                yield begin, cells
            begin = reader.line_num + 1 + lines_before
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


def _lines(text: str, start: int) -> Iterator[str]:
    """The lines of a text with their ends, as csv wants them: LF, CRLF and CR, none of Unicode's others.

    A StringIO cuts them, but copies its text at four bytes a character: so it gets a piece at a time.
    """
    end = "\n" if "\n" in text else "\r"
    while start < len(text):
        stop = text.find(end, min(start + PIECE, len(text))) + 1 or len(text)
        yield from io.StringIO(text[start:stop], newline="")
        start = stop


def decimal_of(delimiter: str, columns: Iterable[NDArray[np.object_]]) -> str:
    """ "," for a file with semicolons whose numbers can only have decimal commas, else ".".

    1,234 alone may be a thousand and more: some number must have another length behind its comma, and none
    may have a point.
    """
    if delimiter != ";":
        return "."
    certain = False
    for column in columns:
        for text in set(column):
            if POINT.fullmatch(text):
                return "."
            behind = COMMA.fullmatch(text)
            certain = certain or (behind is not None and len(behind[1]) != 3)
    return "," if certain else "."
