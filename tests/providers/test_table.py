"""A file is read as raw text with true line numbers, or refused with the line, a rule and a remedy."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import delimited
from providers import table as module
from providers.report import PLACES_SHOWN, Report
from providers.table import Table, read_table


def read(tmp_path: Path, content: bytes | str) -> tuple[Table | None, Report]:
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    report = Report()
    return read_table(path, report), report


def places(report: Report) -> list[tuple[str, int | None, str]]:
    return [(problem.rule, problem.line, problem.severity) for problem in report.problems]


def test_everything_is_text_as_it_stands(tmp_path):
    table, report = read(tmp_path, 'id,x,y\n1,NA,007\n2,,"1,5"\n3, a ,nan\n')
    assert report.problems == []
    assert table.headers == ["id", "x", "y"]
    assert list(table.columns["x"]) == ["NA", "", " a "]
    assert list(table.columns["y"]) == ["007", "1,5", "nan"]
    assert list(table.lines) == [2, 3, 4]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_counted_through_quoted_line_breaks_and_blank_lines(tmp_path, newline):
    text = newline.join(["id,x", "1,plain", '2,"two', 'lines"', "", "3,after", ""])
    table, report = read(tmp_path, text)
    assert list(table.lines) == [2, 3, 6]
    assert list(table.columns["id"]) == ["1", "2", "3"]
    assert report.problems == []


@pytest.mark.parametrize("end", ["", "\n", "\r\n\r\n"])
def test_the_last_line_may_end_or_not(tmp_path, end):
    table, _ = read(tmp_path, "id,x\n1,2" + end)
    assert list(table.columns["x"]) == ["2"]


@pytest.mark.parametrize(
    "content",
    [
        "id,ä\n1,ü\n".encode(),
        "\ufeffid,ä\n1,ü\n".encode(),
        "id,ä\n1,ü\n".encode("latin-1"),
        "id,ä\n1,ü\n".encode("utf-16"),
        "\ufeffid,ä\n1,ü\n".encode("utf-16-be"),
    ],
    ids=["utf8", "bom", "latin1", "utf16", "utf16be"],
)
def test_utf8_utf16_and_latin1_give_the_same_table(tmp_path, content):
    table, report = read(tmp_path, content)
    assert table.headers == ["id", "ä"]
    assert list(table.columns["ä"]) == ["ü"]
    assert report.errors == []


def test_latin1_is_said_aloud(tmp_path):
    _, report = read(tmp_path, "id,x\n1,a\n2,ü\n".encode("latin-1"))
    assert places(report) == [("encoding", 3, "warning")]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("id,x\n1,ü\n".encode("utf-16")[:-1], 2),
        ("id,x\n1,2\n".encode("utf-16-le"), 1),
        ("id,x\n1,2\n".encode("utf-16-be"), 1),
        ("id,x\n1,漢字\n".encode("shift-jis"), 2),
        ("id,x\n1,a\n2,“b”\n".encode("cp1252"), 3),
        ("id,x\n1,ü\n2,".encode() + b"\xff\n", 3),
        ("\ufeffid,x\n1,".encode() + b"\xfc\n", 2),
    ],
    ids=["utf16-cut", "utf16le", "utf16be", "shift-jis", "cp1252", "broken-utf8", "bom-then-latin1"],
)
def test_other_encodings_are_explained_with_their_line(tmp_path, content, line):
    table, report = read(tmp_path, content)
    assert table is None
    assert places(report) == [("encoding", line, "error")]
    assert "UTF-8" in report.problems[0].remedy


MALFORMED = {
    "empty": (b"", "empty_file", None),
    "blank": (b"\n\n", "empty_file", None),
    "bom only": (b"\xef\xbb\xbf", "empty_file", None),
    "header only": (b"id,x\n", "no_rows", 1),
    "duplicate header": (b"id,x,x\n1,2,3\n", "duplicate_header", 1),
    "two empty headers": (b"id,,\n1,2,3\n", "empty_header", 1),
    "no header": (b",,\n1,2,3\n", "no_header", 1),
    "short row": (b"id,x\n1,2\n3\n", "ragged_row", 3),
    "long row": (b'id,x\n1,"a\nb"\n3,4,5\n', "ragged_row", 4),
    "unclosed quote": (b'id,x\n1,2\n3,"4\n5,6\n', "unclosed_quote", 3),
    "text after quote": (b'id,x\n1,"2"3\n', "quoting", 2),
    "NUL": (b"id,x\n1,2\r\n3,\x004\n", "nul_byte", 3),
    "ten megabyte cell": (b"id,x\n1,2\n3," + b"a" * 10_000_000, "cell_too_long", 3),
    "ten thousand columns": (",".join(f"c{i}" for i in range(10_000)).encode(), "too_many_columns", 1),
    "utf-16 with NUL": ("id,x\n1,\0\n".encode("utf-16"), "nul_byte", 2),
    "zip": (b"PK\x03\x04rest", "not_csv", None),
    "gzip": (b"\x1f\x8b\x08rest", "not_csv", None),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1", "not_csv", None),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_with_rule_line_and_remedy(tmp_path, name):
    content, rule, line = MALFORMED[name]
    _, report = read(tmp_path, content)
    assert places(report) == [(rule, line, "error")]
    assert report.problems[0].remedy
    assert report.problems[0].file == "t.csv"


def test_a_ragged_row_does_not_hide_the_others(tmp_path):
    table, report = read(tmp_path, "id,x\n1,2\n3\n4,5\n")
    assert [problem.rule for problem in report.errors] == ["ragged_row"]
    assert list(table.columns["id"]) == ["1", "4"]


def test_a_thousand_ragged_rows_are_a_few_places_and_a_count(tmp_path):
    _, report = read(tmp_path, "id,x\n" + "1\n" * 1000)
    ragged = [problem for problem in report.problems if problem.rule == "ragged_row"]
    assert len(ragged) == PLACES_SHOWN + 1
    assert f"{1000 - PLACES_SHOWN} further lines" in ragged[-1].message
    assert [problem.line for problem in ragged[:3]] == [2, 3, 4]


def test_rows_of_empty_cells_are_left_out_with_a_warning(tmp_path):
    table, report = read(tmp_path, "id,x\n1,2\n,\n3,4\n")
    assert list(table.lines) == [2, 4]
    assert places(report) == [("empty_row", 3, "warning")]


def test_one_column_without_header_is_left_out_with_a_warning(tmp_path):
    table, report = read(tmp_path, '"",id\n1,7\n')
    assert table.headers == ["id"]
    assert places(report) == [("empty_header", 1, "warning")]


def test_a_single_column_needs_no_comma(tmp_path):
    table, report = read(tmp_path, "id\n1\n2\n")
    assert report.problems == []
    assert table.rows == 2


@pytest.mark.parametrize("text", ["id;x;y\n1;2,5;a b\n", "id\tx\ty\n1\t2,5\ta b\n", 'id,x,y\n1,"2,5",a b\n'])
def test_semicolons_and_tabs_separate_cells_as_commas_do(tmp_path, text):
    table, report = read(tmp_path, text)
    assert report.problems == []
    assert {name: list(column) for name, column in table.columns.items()} == {
        "id": ["1"], "x": ["2,5"], "y": ["a b"]
    }  # fmt: skip


def test_a_first_line_for_excel_names_the_separator_and_is_still_a_line(tmp_path):
    table, report = read(tmp_path, "sep=;\nid;a,b,c\n1;2\n")
    assert report.problems == []
    assert table.headers == ["id", "a,b,c"]
    assert list(table.lines) == [3]


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("id;x\n1;2,5\n", ","),
        ("id;x\n1;1,234\n2;-0,5\n", ","),
        ("id;x\n1;1,234\n2;12,345\n", "."),
        ("id;x\n1;2,5\n2;2.5\n", "."),
        ("id;x\n1;a,b\n", "."),
        ("id\tx\n1\t2,5\n", "."),
        ('id,x\n1,"2,5"\n', "."),
    ],
)
def test_decimal_commas_are_recognised_only_where_nothing_else_can_be_meant(tmp_path, text, decimal):
    table, _ = read(tmp_path, text)
    assert table.decimal == decimal


def test_semicolons_inside_quotes_do_not_make_a_semicolon_file(tmp_path):
    table, report = read(tmp_path, '"a;b;c",x\n1,2\n')
    assert report.problems == []
    assert table.headers == ["a;b;c", "x"]


def test_a_missing_file_and_one_above_the_limit_are_refused_before_reading(tmp_path, monkeypatch):
    report = Report()
    assert read_table(tmp_path / "nowhere.csv", report) is None
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 5)
    (tmp_path / "t.csv").write_text("id,x\n1,2\n")
    assert read_table(tmp_path / "t.csv", report) is None
    assert [problem.rule for problem in report.problems] == ["unreadable", "file_too_large"]


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_what_a_csv_writer_wrote_is_read_back_with_its_lines(tmp_path_factory, rows, newline):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator=newline)
    writer.writerow(["id", "x"])
    lines = []
    for row in rows:
        written = buffer.getvalue()
        lines.append(written.count("\n") + written.count("\r") - written.count("\r\n") + 1)
        writer.writerow(row)
    table, report = read(tmp_path_factory.mktemp("csv"), buffer.getvalue())
    kept = [(row, line) for row, line in zip(rows, lines, strict=True) if any(row)]
    if kept:
        assert list(zip(table.columns["id"], table.columns["x"], strict=True)) == [row for row, _ in kept]
        np.testing.assert_array_equal(table.lines, [line for _, line in kept])
    assert {problem.rule for problem in report.problems} <= {"empty_row", "no_rows"}


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_an_error(tmp_path_factory, content):
    table, report = read(tmp_path_factory.mktemp("csv"), content)
    assert table is not None or report.errors


@given(st.text(st.sampled_from('a,"\r\n \x0b\x85\u2028'), max_size=14), st.integers(1, 5))
def test_a_text_is_cut_into_the_same_records_in_whatever_pieces(text, piece):
    whole, report = Report(), Report()
    wanted = list(delimited.records(text, ",", "t.csv", whole))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "PIECE", piece)
        assert list(delimited.records(text, ",", "t.csv", report)) == wanted
    assert places(report) == places(whole)
