"""Workbooks, SAS and Parquet files become the texts that a CSV export of them would hold, or say why not."""

from __future__ import annotations

import builtins
import math
import struct
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import limits, workbook
from providers.cells import number_text, text_of
from providers.report import Report
from providers.sas7bdat import missing_texts
from providers.table import Table, read_table
from providers.xport import ibm_numbers
from tests.providers import formats
from tests.providers.formats import Variable

VISIT = [
    Variable("ID", 4, cells=["p1", "p2", "p3", "p4"]),
    Variable("AGE", cells=[50, 61.0, ".", ".A"]),
    Variable("BMI", cells=[27.4, 0.1, -3.25, "._"]),
    Variable("DAY", form="DATE", cells=[0, 21_915, ".", 21_915.5]),
    Variable("AT", form="DATETIME", cells=[0, 1_893_456_061, ".Z", 86_400]),
    Variable("ARM", 6, cells=["a", "größ"[:4], "", "b c"]),
]
VISIT_TEXTS = {
    "ID": ["p1", "p2", "p3", "p4"],
    "AGE": ["50", "61", "", ".A"],
    "BMI": ["27.4", "0.1", "-3.25", "._"],
    "DAY": ["1960-01-01", "2020-01-01", "", "2020-01-01"],
    "AT": ["1960-01-01", "2020-01-01T00:01:01", ".Z", "1960-01-02"],
    "ARM": ["a", "größ", "", "b c"],
}


def read(
    folder: Path, content: bytes, sheet: str | None = None, name: str = "t.csv"
) -> tuple[Table | None, Report]:
    """A file is read by what it holds: here everything is called .csv."""
    (folder / name).write_bytes(content)
    report = Report()
    return read_table(folder / name, report, sheet), report


def texts(table: Table | None) -> dict[str, list[str]]:
    assert table is not None
    return {name: list(column) for name, column in table.columns.items()}


def rules(report: Report) -> list[str]:
    return [problem.rule for problem in report.problems]


@pytest.mark.parametrize("written", [formats.xport(VISIT), formats.xport(VISIT, size=136), formats.sas7bdat(VISIT)],
                         ids=["xpt", "xpt of VAX", "sas7bdat"])  # fmt: skip
def test_a_sas_file_is_texts_with_whole_numbers_iso_dates_and_its_special_missing_values(tmp_path, written):
    table, report = read(tmp_path, written)
    assert report.problems == []
    assert texts(table) == VISIT_TEXTS
    assert list(table.lines) == [1, 2, 3, 4]


@given(st.lists(st.floats(-1e70, 1e70).filter(lambda x: x == 0 or abs(x) > 1e-70), min_size=1, max_size=20))
def test_every_double_within_ibms_range_comes_back_exactly(values):
    cells = np.frombuffer(b"".join(formats.ibm(value) for value in values), dtype=np.uint8).reshape(-1, 8)
    found, missing = ibm_numbers(cells)
    assert list(found) == values
    assert list(missing) == [None] * len(values)


@pytest.mark.parametrize("width", range(3, 9))
def test_a_number_of_fewer_bytes_is_the_same_number(width):
    cells = np.frombuffer(formats.ibm(1.5), dtype=np.uint8).reshape(1, 8)[:, :width]
    assert list(ibm_numbers(cells)[0]) == [1.5]


def test_missing_values_of_a_sas_data_set_are_read_in_both_ways_of_tagging():
    assert struct.unpack("<d", formats.nan("."))[0] != 0
    raw = b"".join(formats.nan(tag) for tag in (".", "._", ".A", ".Z"))
    in_ascii = bytes([0, 0, 0, 0, 0, ~ord("B") & 0xFF, 0xFF, 0xFF])
    values = np.frombuffer(raw + in_ascii + struct.pack("<dd", math.nan, 1.0), dtype=np.float64)
    assert list(missing_texts(values)) == ["", "._", ".A", ".Z", ".B", "", None]


def test_the_blanks_that_fill_a_transport_file_are_no_rows_and_rows_of_blanks_stay(tmp_path):
    for rows in range(1, 90):
        variables = [
            Variable("ID", 3, cells=[f"p{n}" for n in range(rows)]),
            Variable("ARM", 2, cells=["x"] * rows),
        ]
        table, _ = read(tmp_path, formats.xport(variables))
        assert table is not None
        assert table.rows == rows


def test_a_transport_file_that_is_not_plain_is_refused_and_says_what_to_write(tmp_path):
    good = formats.xport(VISIT)
    bad = {
        "cut off": good[:900],
        "two data sets": good + good[240:],
        "version 8": good.replace(b"LIBRARY HEADER", b"LIBV8   HEADER", 1),
        "no rows header": good.replace(b"OBS     HEADER", b"OBX     HEADER"),
        "silly count": good.replace(b"0000000006", b"0000009999"),
    }
    for name, content in bad.items():
        table, report = read(tmp_path, content)
        assert table is None, name
        assert rules(report) == ["bad_xport"], name
        assert "version 5" in report.problems[0].remedy


def test_a_damaged_sas_data_set_is_one_error(tmp_path):
    good = formats.sas7bdat(VISIT)
    for content in (
        good[:1000],
        good[:5000],
        good[:1024] + bytes(65_536),
        good[:196] + b"\xff" * 12 + good[208:],
    ):
        table, report = read(tmp_path, content)
        assert table is None
        assert rules(report) == ["bad_sas7bdat"]


def test_a_sas_data_set_that_declares_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("providers.sas7bdat.MAX_ROWS", 3)
    _, report = read(tmp_path, formats.sas7bdat(VISIT))
    assert rules(report) == ["file_too_large"]


BOOK = {
    "patients": [["id", "age", "bmi", "seen", "ok"], ["p1", 50, 27.400000000000002, date(2020, 1, 31), True],
                 ["p2", 61.0, None, datetime(2020, 1, 31, 8, 30), False]],
    "labs": [[None, None], ["id", "crea"], ["p1", 0.9], [None, None], ["p2", "NA"]],
}  # fmt: skip


def test_a_workbook_gives_its_first_sheet_or_the_one_named(tmp_path):
    table, report = read(tmp_path, formats.workbook(BOOK))
    assert report.problems == []
    assert texts(table) == {
        "id": ["p1", "p2"], "age": ["50", "61"], "bmi": ["27.4", ""],
        "seen": ["2020-01-31", "2020-01-31T08:30:00"], "ok": ["true", "false"],
    }  # fmt: skip
    assert list(table.lines) == [2, 3]
    table, report = read(tmp_path, formats.workbook(BOOK), "labs")
    assert table.file == "t.csv[labs]"
    assert texts(table) == {"id": ["p1", "p2"], "crea": ["0.9", "NA"]}
    assert list(table.lines) == [3, 5]


def test_a_sheet_that_is_not_there_is_named(tmp_path):
    for content in (formats.workbook(BOOK), b"id,x\n1,2\n"):
        table, report = read(tmp_path, content, "visits")
        assert table is None
        assert rules(report) == ["sheet_missing"]


def test_a_cell_beyond_the_header_is_a_ragged_row(tmp_path):
    _, report = read(tmp_path, formats.workbook({"a": [["id", "x"], ["1", "2", "3"], ["4", "5"]]}))
    assert [(p.rule, p.line) for p in report.problems] == [("ragged_row", 2)]


def test_a_far_away_cell_costs_no_rows_of_its_own(tmp_path):
    book = formats.workbook({"a": [["id", "x"], ["1", "2"]]})
    table, report = read(tmp_path, _with_cell(book, b"XFD900000"))
    assert rules(report) == []
    assert table.rows == 1
    _, report = read(tmp_path, _with_cell(book, b"A99999999"))
    assert rules(report)[-1] == "file_too_large"


def _with_cell(book: bytes, place: bytes) -> bytes:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    row = place.lstrip(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    cell = b'<row r="' + row + b'"><c r="' + place + b'"><v>1</v></c></row></sheetData>'
    name = "xl/worksheets/sheet1.xml"
    return formats.zipped(members | {name: members[name].replace(b"</sheetData>", cell)})


def test_a_zip_bomb_is_refused_on_the_word_of_its_directory(tmp_path, monkeypatch):
    bomb = formats.zipped({"xl/workbook.xml": b"<x/>", "xl/sharedStrings.xml": bytes(2**25)})
    table, report = read(tmp_path, bomb)
    assert table is None
    assert rules(report) == ["zip_bomb"]
    monkeypatch.setattr(workbook, "MAX_MEMBERS", 3)
    _, report = read(tmp_path, formats.zipped({f"{n}": b"" for n in range(4)} | {"xl/workbook.xml": b""}))
    assert rules(report) == ["zip_bomb"]


@pytest.mark.parametrize(
    ("members", "rule"),
    [
        ({"a.csv": b"id,x\n1,2\n"}, "not_csv"),
        ({"xl/workbook.bin": b""}, "not_csv"),
        ({"xl/workbook.xml": b"<broken"}, "bad_workbook"),
        ({"xl/workbook.xml": b'<workbook xmlns="x"><sheets/></workbook>'}, "bad_workbook"),
    ],
)
def test_a_zip_that_is_no_workbook_is_named(tmp_path, members, rule):
    table, report = read(tmp_path, formats.zipped(members))
    assert table is None
    assert rules(report) == [rule]


def test_a_damaged_workbook_is_one_error(tmp_path):
    good = formats.workbook(BOOK)
    for content in (good[:100], good[:-30], good[:200] + bytes(50) + good[250:]):
        table, report = read(tmp_path, content)
        assert table is None
        assert len(report.errors) == 1


def test_parquet_without_pyarrow_says_in_one_line_how_to_install_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    table, report = read(tmp_path, b"PAR1restPAR1")
    assert table is None
    assert rules(report) == ["parquet_needs_pyarrow"]
    assert "pip install pyarrow==" in report.problems[0].remedy
    assert "\n" not in str(report.problems[0])


def test_a_parquet_file_is_texts(tmp_path, monkeypatch):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is optional: 170 MB, for Parquet files only")
    from pyarrow import parquet

    columns = {
        "id": ["p1", "p2"],
        "n": [1, None],
        "x": [27.4, 61.0],
        "f": arrow.array([27.4, None], arrow.float32()),
        "d": [Decimal("1.50"), None],
        "day": [date(2020, 1, 31), None],
        "ok": [True, False],
        "arm": arrow.array(["a", "b"]).dictionary_encode(),
    }
    parquet.write_table(arrow.table(columns), tmp_path / "p.parquet")
    content = (tmp_path / "p.parquet").read_bytes()
    table, report = read(tmp_path, content)
    assert report.problems == []
    assert texts(table) == {
        "id": ["p1", "p2"], "n": ["1", ""], "x": ["27.4", "61"], "f": ["27.4", ""], "d": ["1.50", ""],
        "day": ["2020-01-31", ""], "ok": ["true", "false"], "arm": ["a", "b"],
    }  # fmt: skip
    parquet.write_table(arrow.table({"id": ["a"], "x": [[1, 2]]}), tmp_path / "n.parquet")
    assert rules(read(tmp_path, (tmp_path / "n.parquet").read_bytes())[1]) == ["nested_column"]
    assert rules(read(tmp_path, content[:-20])[1]) == ["bad_parquet"]
    monkeypatch.setattr("providers.parquet.MAX_UNPACKED_BYTES", 10)
    assert rules(read(tmp_path, content)[1]) == ["file_too_large"]


def test_a_stream_and_a_folder_are_no_files(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        report = Report()
        assert read_table(place, report) is None
        assert rules(report) == ["unreadable"]


def test_a_cell_is_the_text_of_a_csv_export():
    assert [text_of(value) for value in (None, 1.0, 1e22, 0.1, -0.0, 5, True, Decimal("1E+2"))] == [
        "", "1", "1e+22", "0.1", "0", "5", "true", "100"
    ]  # fmt: skip
    assert number_text(math.inf) == "inf"
    with pytest.raises(TypeError):
        text_of([1])


def test_limits_are_such_that_a_table_of_the_largest_capacity_fits():
    assert limits.MAX_ROWS == 2**24
