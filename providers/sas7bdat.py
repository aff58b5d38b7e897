"""A SAS data set (sas7bdat), read by pandas; its missing values and dates are made texts here.

A missing number is a NaN whose bits say which: "." becomes "", and .A to .Z and ._ stay what they are, for
the codebook to list or to recode.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas.io.sas.sas7bdat import SAS7BDATReader

from providers.cells import column_of, sas_column
from providers.limits import MAX_CELLS, MAX_COLUMNS, MAX_EXPANSION, MAX_ROWS
from providers.report import Report

READER: Any = SAS7BDATReader  # its stubs know neither its arguments nor what it read of the header
MAGIC = bytes(12) + b"\xc2\xea\x81\x60\xb3\x14\x11\xcf\xbd\x92\x08\x00\x09\xc7\x31\x8c\x18\x1f\x10\x11"


def read_sas7bdat(
    content: bytes, file: str, report: Report
) -> tuple[list[str], list[NDArray[np.object_]]] | None:
    """Headers and text columns; None where the report says why not."""
    try:
        reader = READER(io.BytesIO(content), convert_dates=False, blank_missing=False, encoding="infer")
        rows, columns = int(reader.row_count), int(reader.column_count)
        if rows > MAX_ROWS or columns > MAX_COLUMNS or rows * columns > MAX_CELLS:
            report.error(
                "file_too_large",
                f"the file declares {rows} rows of {columns} columns",
                "keep the rows and columns that the codebook needs",
                file=file,
            )
            return None
        densest = MAX_EXPANSION if reader.compression else 1
        if rows * int(reader.row_length) > densest * len(content):
            raise ValueError  # cut off: the rows that it declares are not in it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = reader.read()
        names = [str(name) for name in reader.column_names]
        forms = [str(form) for form in reader.column_formats]
        if len(frame) != rows or len(names) != frame.shape[1]:
            raise ValueError
        texts = []
        for number, form in enumerate(forms):
            series = frame.iloc[:, number]
            if series.dtype.kind == "f":
                values = series.to_numpy(dtype=np.float64)
                texts.append(sas_column(values, missing_texts(values), form))
            else:
                texts.append(column_of(text if isinstance(text, str) else "" for text in series))
        return names, texts
    except Exception:  # noqa: BLE001 (a damaged file fails in ways that pandas does not list)
        report.error(
            "bad_sas7bdat",
            "the SAS data set cannot be read: it is damaged, cut off or in a form not known here",
            "export it as a SAS transport file (version 5) or as CSV in UTF-8",
            file=file,
        )
        return None


def missing_texts(values: NDArray[np.float64]) -> NDArray[np.object_]:
    """For each NaN the text of the missing value that its third byte names; None for a number.

    The byte is the complement of a position (0 is ._, 1 is ., 2 is .A) or of the character itself.
    """
    texts = np.full(len(values), None, dtype=object)
    bits = values.view(np.uint64)
    for row in np.flatnonzero(np.isnan(values)):
        tag = ~(int(bits[row]) >> 40) & 0xFF
        letter = "_" if tag == 0 else chr(ord("A") + tag - 2) if 2 <= tag < 28 else chr(tag)
        texts[row] = f".{letter}" if letter == "_" or "A" <= letter <= "Z" else ""
    return texts
