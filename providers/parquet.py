"""A Parquet file, if pyarrow is installed: it is large, few hospitals need it, so nothing else asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.cells import column_of, text_of
from providers.limits import MAX_CELLS, MAX_COLUMNS, MAX_ROWS, MAX_UNPACKED_BYTES
from providers.report import Report

MAGIC = b"PAR1"
INSTALL = "python -m pip install pyarrow==26.0.1"


def read_parquet(
    content: bytes, file: str, report: Report
) -> tuple[list[str], list[NDArray[np.object_]]] | None:
    """Headers and text columns; None where the report says why not."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        report.error(
            "parquet_needs_pyarrow",
            "the file is a Parquet file, and pyarrow is not installed",
            f"run {INSTALL}, or export the table as CSV in UTF-8",
            file=file,
        )
        return None
    try:
        table = parquet.ParquetFile(arrow.BufferReader(content))
        facts = table.metadata
        unpacked = sum(facts.row_group(group).total_byte_size for group in range(facts.num_row_groups))
        cells = facts.num_rows * facts.num_columns
        if (
            facts.num_rows > MAX_ROWS
            or facts.num_columns > MAX_COLUMNS
            or cells > MAX_CELLS
            or unpacked > MAX_UNPACKED_BYTES
        ):
            report.error(
                "file_too_large",
                f"the file declares {facts.num_rows} rows of {facts.num_columns} columns, {unpacked} bytes unpacked",
                "keep the rows and columns that the codebook needs",
                file=file,
            )
            return None
        nested = [item.name for item in table.schema_arrow if arrow.types.is_nested(item.type)]
        for name in nested:
            report.error(
                "nested_column",
                "the column holds lists or records",
                "leave it out, or spread it over plain columns",
                file=file,
                column=name,
            )
        if nested:
            return None
        read = table.read()
        return list(read.column_names), [column_of(_texts(column)) for column in read.columns]
    except Exception:  # noqa: BLE001 (a damaged file fails in ways that pyarrow does not list)
        report.error(
            "bad_parquet",
            "the Parquet file cannot be read: it is damaged, cut off or of a type not known here",
            "export the table as CSV in UTF-8",
            file=file,
        )
        return None


def _texts(column: Any) -> list[str]:
    narrow = str(column.type) in ("float", "halffloat")
    known: dict[Any, str] = {}
    texts = []
    for value in column.to_pylist():
        # 1, 1.0 and True are one key of a dictionary; in one column they do not meet.
        if value not in known:
            known[value] = text_of(np.float32(value) if narrow and value is not None else value)
        texts.append(known[value])
    return texts
