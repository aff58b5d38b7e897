"""A typed cell as the text that a person would have written into a CSV file.

Workbooks, SAS and Parquet files hold numbers, dates and truth values; the codebook speaks of texts. A whole
number has no ".0", any other is the shortest text that names the same binary number, a day is YYYY-MM-DD,
truth is true or false, and nothing is "".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

EPOCH = datetime(1960, 1, 1)  # of SAS
DATES = ("DATE", "DAY", "DDMMYY", "MMDDYY", "YYMMDD", "E8601DA", "B8601DA", "IS8601DA", "JULIAN", "MONYY",
         "WEEKDAT", "WORDDAT", "YYMM", "YYMON", "YYQ", "NLDATE", "MINGUO", "NENGO", "QTR")  # fmt: skip
MOMENTS = ("DATETIME", "DATEAMPM", "E8601DT", "B8601DT", "IS8601DT", "MDYAMPM", "DTDATE", "NLDATM")


def text_of(value: Any) -> str:
    """The text of one cell. Raises TypeError for what no cell of a table holds, such as a list."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, np.floating):
        return number_text(float(str(value)))  # the shortest text of its own width
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return number_text(value.total_seconds())
    raise TypeError(f"a cell holds a {type(value).__name__}")


def number_text(value: float) -> str:
    """27.4, 1 for 1.0, and nan or inf as they are: no reader of numbers takes them for one."""
    if value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return repr(value)


def moment_text(moment: datetime) -> str:
    """A day where it is midnight, else a day and a time."""
    if moment.time() == time(0):
        return moment.date().isoformat()
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")


def column_of(texts: Iterable[str]) -> NDArray[np.object_]:
    """Texts as a column of a table."""
    values = list(texts)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def sas_column(values: NDArray[np.float64], missing: NDArray[np.object_], form: str) -> NDArray[np.object_]:
    """A numeric SAS column as texts; a format of days or moments makes dates of its numbers.

    Shapes  values, missing: (rows,); `missing` holds None, or the text of a missing value: "" for the
            ordinary one, ".A" to ".Z" and "._" for those that say why.
    """
    name = form.strip().upper().rstrip("0123456789.")
    seconds = 1 if name.startswith(MOMENTS) else 86_400 if name.startswith(DATES) else 0
    distinct, index = np.unique(values, return_inverse=True)
    texts = column_of(_sas_text(float(value), seconds) for value in distinct)
    column = texts[index.reshape(-1)]
    given = np.array([text is not None for text in missing], dtype=bool)
    column[given] = missing[given]
    return column


def _sas_text(value: float, seconds: int) -> str:
    if seconds and abs(value) * seconds < 10**12:
        try:
            return moment_text(EPOCH + timedelta(seconds=int(value // 1) * seconds))
        except OverflowError:
            return number_text(value)
    return number_text(value)
