"""Tables as they should not be: every one is refused with its place, rule and remedy, and leaves nothing behind.

The corpus goes through the commands, as a hospital would meet it: `check` exits with 1 and says file, rule and
remedy, with line and column where the fault has one; `upload` exits with 1 before it has made a key, a pin or a
request. Numbers are those of the test catalogue:

24 malformed text (the reader alone: test_table.py), 25 encodings (test_table.py), 26 archives, cut-off files and
endless ones (test_formats.py), 27 cells that are formulas (pages: tests/portal/test_web.py and test_admin.py),
28 texts that are no numbers (test_values.py), 29 values out of range or between codes,
30 patients twice, 31 tables that have changed. 32 and 33, providers that lie to the parties and bundles that are
not what they should be, are in tests/workers/test_bundle.py and test_ingest.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.query.schema import parse_codebook
from providers import __main__ as commands
from providers.codebook import encode
from providers.planes import to_planes
from providers.report import Report
from providers.table import read_table
from tests.providers import formats
from tests.providers.corpus import (
    BINARIES,
    CODEBOOK,
    GOOD,
    HEADER,
    ROWS,
    SAS,
    SAS7BDAT,
    TEXTS,
    XPORT,
    Study,
    wide,
)
from tests.providers.formats import Variable
from tests.providers.world import FakePortal, World

ROOT = Path(commands.__file__).parents[1]


@pytest.fixture
def study(tmp_path, monkeypatch, capsys) -> Study:
    portal = FakePortal(World())
    monkeypatch.setattr(
        commands,
        "connect",
        lambda url, token: httpx.Client(transport=portal.transport, base_url=url),
    )
    (tmp_path / "C.json").write_text(json.dumps(CODEBOOK))
    return Study(tmp_path, portal, capsys)


def test_the_good_table_is_accepted_sent_and_leaves_a_key(study):
    """The other side of every test here: what is compared below does change when something is sent."""
    path = study.write(GOOD)
    assert study.check(path) == []
    before = sorted(study.folder.rglob("*"))
    assert study.upload(path) == 0
    assert study.portal.seen
    assert sorted(study.folder.rglob("*")) != before


# -- 24 and 25: text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXTS)
def test_a_malformed_text_is_refused_with_its_place(study, name):
    content, expected = TEXTS[name]
    found = study.refused(study.write(content))
    assert found[: len(expected)] == expected or sorted(map(str, found)) == sorted(map(str, expected))


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        "\ufeff" + GOOD,
        "\ufeff\ufeff" + GOOD,
        GOOD.encode("utf-16"),
        ("\ufeff" + GOOD).encode("utf-16-be"),
        ("\ufeff" + GOOD).encode("utf-16"),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        "\n\n" + GOOD + "\n\n",
    ],
    ids=[
        "plain",
        "mark",
        "two marks",
        "utf16",
        "utf16be",
        "utf16 two marks",
        "crlf",
        "cr",
        ";",
        "tab",
        "blank lines",
    ],
)
def test_what_only_looks_odd_is_the_same_table_and_no_header_holds_a_mark(study, content):
    assert study.check(study.write(content)) == []
    table = read_table(study.folder / "t.csv", Report())
    assert table is not None
    assert table.headers == ["id", "age", "weight", "arm"]


# -- 26: archives, cut-off files, endless ones -------------------------------------------------------------


@pytest.mark.parametrize("name", BINARIES)
@pytest.mark.parametrize("file", ["t.csv", "t.xlsx"])
def test_a_malformed_archive_or_a_file_cut_off_is_refused_whatever_it_is_called(study, name, file):
    made, rule = BINARIES[name]
    assert study.refused(study.write(made(), file))[0][0] == rule


def test_every_transport_file_that_ends_inside_a_row_is_refused(study):
    start = len(XPORT) - 480  # two rows of 220 bytes, filled up to records of 80
    assert study.check(study.write(XPORT)) == []
    for end in range(start + 1, len(XPORT)):
        report = Report()
        assert read_table(study.write(XPORT[:end]), report) is None
        assert [p.rule for p in report.errors] == ["bad_xport"], end
    study.write(XPORT[:start])
    assert study.refused(study.folder / "t.csv") == [("no_rows", 1, None)]


def test_a_parquet_file_cut_off_is_refused(study):
    made = b"PAR1" + bytes(200)
    assert study.refused(study.write(made))[0][0] in ("bad_parquet", "parquet_needs_pyarrow")


@pytest.mark.parametrize(
    ("content", "file"),
    [
        (formats.workbook({"a": ROWS}), "t.csv"),
        (GOOD.encode(), "t.xlsx"),
        (XPORT, "t.csv"),
        (SAS7BDAT, "t.txt"),
    ],
    ids=["workbook called csv", "csv called workbook", "transport file called csv", "data set called txt"],
)
def test_a_good_table_of_another_name_is_read_for_what_it_is(study, content, file):
    assert study.check(study.write(content, file)) == []


def test_five_gigabytes_are_refused_unread_and_a_stream_too(study):
    path = study.folder / "t.csv"
    with path.open("wb") as file:
        file.write(GOOD.encode())
        file.truncate(5 * 2**30)
    assert study.refused(path) == [("file_too_large", None, None)]
    os.mkfifo(study.folder / "pipe")
    assert study.refused(study.folder / "pipe") == [("unreadable", None, None)]


def test_a_file_that_grows_while_it_is_read_is_refused_at_the_limit(study, monkeypatch):
    monkeypatch.setattr("providers.table.MAX_FILE_BYTES", 100)
    path = study.write(GOOD)
    real = Path.stat

    def smaller(self, **given):
        status = real(self, **given)
        if self == path:
            path.write_text(GOOD + "3,50,70,a\n" * 100)
        return status

    monkeypatch.setattr(Path, "stat", smaller)
    report = Report()
    assert read_table(path, report) is None
    assert [p.rule for p in report.errors] == ["file_too_large"]


MEASURE = """
import contextlib, io, json, sys
from pathlib import Path
import openpyxl, pandas.io.sas.sas7bdat
from providers import __main__ as commands

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024

def run(codebook, file):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status("VmRSS")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = commands.main(["check", "--codebook", codebook, "--json", file])
    problems = json.loads(out.getvalue())
    return code, [problem["rule"] for problem in problems][:1], status("VmHWM") - before

codebook, good, *files = sys.argv[1:]
assert run(codebook, good)[0] == 0
print(json.dumps([run(codebook, file) for file in files]))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory as Linux tells it")
def test_no_malformed_file_costs_a_hundred_megabytes(study):
    good = study.write(GOOD, "good.csv")
    heavy: dict[str, bytes | str] = {
        name: content for name, (content, _) in TEXTS.items() if len(content) > 100_000
    }
    heavy |= {name: made() for name, (made, _) in BINARIES.items()}
    heavy |= {"wide and long": wide(10_000) * 400}
    paths = [study.write(content, f"{number}.csv") for number, content in enumerate(heavy.values())]
    # Of a gigabyte only the first bytes are on the disk: the rest is NUL.
    sparse = {"gzip": (b"\x1f\x8b\x08", 2**30), "NUL": (b"", 2**30), "enormous": (GOOD.encode(), 5 * 2**30)}
    for name, (head, size) in sparse.items():
        paths.append(study.write(head, f"{name}.csv"))
        os.truncate(paths[-1], size)
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            MEASURE,
            str(study.folder / "C.json"),
            *map(str, [good, *paths]),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = dict(zip([*heavy, *sparse], json.loads(ran.stdout), strict=True))
    assert {code for code, _, _ in told.values()} == {1}
    assert {name: figures for name, figures in told.items() if figures[2] >= 100} == {}


# -- 27: cells that are formulas, and texts that command a terminal ----------------------------------------


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")']
)
def test_a_formula_in_a_cell_is_no_level_and_is_never_shown(study, cell):
    quoted = '"' + cell.replace('"', '""') + '"'
    path = study.write(GOOD + f"3,50,70,{quoted}\n4,{quoted},70,a\n")
    found = study.refused(path)
    assert ("unknown_level", 4, "arm") in found
    assert "age" in {column for _, _, column in found}
    assert commands.main(["check", "--codebook", str(study.folder / "C.json"), str(path)]) == 1
    assert cell.strip() not in study.capture.readouterr().out


@pytest.mark.parametrize("header", ["\x1b[2Jage", "age\x07", "=cmd|' /C calc'!A0", "a\u202ege", "<b>age</b>"])
def test_a_header_that_is_a_command_is_printed_as_text_of_one_line(study, header):
    quoted = '"' + header.replace('"', '""') + '"'
    study.write(f"id,{quoted},{quoted},weight,arm\n1,50,50,70,a\n")
    assert (
        commands.main(["check", "--codebook", str(study.folder / "C.json"), str(study.folder / "t.csv")]) == 1
    )
    out = study.capture.readouterr().out
    assert "duplicate_header" in out
    assert all(character.isprintable() or character == "\n" for character in out)
    assert len(out.splitlines()) == 2


# -- 28 and 29: texts that are no numbers of this column ---------------------------------------------------


NUMBERS = {
    "NaN": "not_finite",
    "inf": "not_finite",
    "-Infinity": "not_finite",
    "#DIV/0!": "not_finite",
    "1e309": "number_too_large",
    "1e-400": "number_too_large",
    "1" * 200: "number_too_large",
    "1,5": "decimal_comma",
    "1,234": "decimal_comma",
    "1.234,5": "decimal_comma",
    "1,234.5": "not_a_number",
    "1'234,5": "decimal_comma",
    "1 234": "not_a_number",
    "70\u00a0kg": "not_a_number",
    "70%": "not_a_number",
    "٧٠": "not_a_number",
    "７０": "not_a_number",
    "½": "not_a_number",
    "0x46": "not_a_number",
    "7_0": "not_a_number",
    "2020-01-31": "date_as_number",
    "31.01.2020": "date_as_number",
    "05FEB2021": "date_as_number",
    "1/2": "not_a_number",
    "true": "not_a_number",
    "-0.1": "out_of_range",
    "29.7": "out_of_range",
    "157.8": "out_of_range",
    "1e300": "out_of_range",
}


@pytest.mark.parametrize("text", NUMBERS)
def test_a_text_that_is_no_number_of_its_column_is_refused_and_never_shown(study, text):
    path = study.write(GOOD + f'3,50,"{text}",a\n')
    assert study.refused(path) == [(NUMBERS[text], 4, "weight")]
    assert all(text not in problem["message"] + problem["remedy"] for problem in study.check(path))


@pytest.mark.parametrize("value", [1e308, "#DIV/0!", "31.01.2020", True, "70 kg"])
def test_a_cell_of_a_workbook_that_is_no_number_of_its_column_is_refused(study, value):
    found = study.refused(study.write(formats.workbook({"a": [*ROWS, ["3", 50, value, "a"]]}), "t.xlsx"))
    assert [(line, column) for _, line, column in found] == [(4, "weight")]


@pytest.mark.parametrize("value", [float("inf"), -1e308, 157.8])
def test_a_number_of_a_data_set_that_is_none_of_its_column_is_refused(study, value):
    variables = [SAS[0], SAS[1], Variable("weight", cells=[value, 81]), SAS[3]]
    found = study.refused(study.write(formats.sas7bdat(variables), "t.sas7bdat"))
    assert [(line, column) for _, line, column in found] == [(1, "weight")]


def test_minus_zero_is_zero(study):
    report = Report()
    table = read_table(study.write(HEADER + "1,-0,70,a\n2,0,70,a\n3,-0.0,70,a\n4,0e5,70,a\n"), report)
    encoded = encode(parse_codebook(CODEBOOK), [table], report)
    assert report.problems == []
    assert encoded.columns["age"].codes.tolist() == [0, 0, 0, 0]


@given(st.decimals(-500, 500, allow_nan=False, places=6), st.sampled_from(["error", "clamp", "missing"]))
def test_a_value_between_codes_or_out_of_range_never_becomes_a_code_out_of_range(
    tmp_path_factory, value, how
):
    field = CODEBOOK["fields"][1] | {"outOfRange": how}
    schema = parse_codebook(CODEBOOK | {"fields": [field]})
    path = tmp_path_factory.mktemp("values") / "t.csv"
    path.write_text(f"id,weight\n1,{value}\n2,30\n")
    report = Report()
    table = read_table(path, report)
    column = encode(schema, [table], report).columns.get("weight")
    within = Decimal("29.75") <= value < Decimal("157.75")
    assert [p.rule for p in report.problems] == ([] if within else [
        {"error": "out_of_range", "clamp": "clamped", "missing": "out_of_range_missing"}[how]
    ])  # fmt: skip
    assert all(str(value) not in str(p) for p in report.problems)
    if column is None:
        assert how == "error" and not within
        return
    assert column.present.tolist() == [within or how == "clamp", True]
    if column.present[0]:
        nearest = min(max(value, Decimal(30)), Decimal("157.5"))
        assert abs(schema.field("weight").value(int(column.codes[0])) - nearest) <= Decimal("0.25")


def test_whatever_bits_are_shared_mean_a_number_within_the_declared_lattice():
    """A provider that forges its planes can say anything, but nothing beyond what 2^b codes can say."""
    schema = parse_codebook(CODEBOOK)
    for item in schema.fields:
        if item.kind == "number":
            low, high, step = item.lattice
            values = [item.value(code) for code in range(2**item.bits)]
            assert min(values) == low
            assert max(values) < low + step * 2**item.bits
            assert 2**item.bits < 2 * item.codes
            assert high in values


# -- 30 and 31: patients twice, tables that have changed ---------------------------------------------------


def test_a_patient_twice_is_refused_for_every_field_even_if_the_rows_agree(study):
    path = study.write(GOOD + "2,61,81,b\n1,50,70.2,a\n")
    assert study.refused(path) == [("several_rows", 4, name) for name in ("age", "weight", "arm")]


def test_more_rows_of_a_patient_never_weigh_more_than_one_patient(study):
    """Whatever is reduced is one code a patient: what one patient can change does not grow with its rows."""
    fields = [
        {"name": "top", "type": "integer", "source": "age", "constraints": {"minimum": 0, "maximum": 127}},
        {
            "name": "rows",
            "type": "integer",
            "constraints": {"minimum": 0, "maximum": 7},
            "outOfRange": "clamp",
        },
    ]
    fields[0]["reduce"], fields[1]["reduce"] = {"how": "max"}, {"how": "count"}
    schema = parse_codebook(CODEBOOK | {"fields": fields})
    shapes = []
    for rows in (1, 8, 500):
        report = Report()
        table = read_table(study.write("id,age\n2,60\n" + "1,50\n" * rows), report)
        encoded = encode(schema, [table], report)
        assert encoded.patients == 2
        assert encoded.columns["top"].codes.tolist() == [60, 50]
        assert encoded.columns["rows"].codes.tolist() == [1, min(rows, 7)]
        shapes.append(to_planes(encoded, schema.plane_names, schema.capacity))
    assert len({planes.shape for planes in shapes}) == 1
    np.testing.assert_array_equal(shapes[1], shapes[2])


CHANGED = {
    "column gone": (GOOD.replace("weight", "mass"), [("column_missing", 1, "weight")]),
    "column in other letters": (GOOD.replace("arm", "ARM"), [("column_missing", 1, "arm")]),
    "key gone": (GOOD.replace("id", "patient"), [("key_column_missing", 1, "id")]),
    "level added": (GOOD + "3,50,70,c\n", [("unknown_level", 4, "arm")]),
    "unit changed": (GOOD + "3,50,154324,a\n", [("out_of_range", 4, "weight")]),
    "type changed": (GOOD + "3,50-59,70,a\n", [("not_a_number", 4, "age")]),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_table_that_has_drifted_from_its_codebook_is_refused(study, name):
    content, expected = CHANGED[name]
    assert study.refused(study.write(content)) == expected


def test_more_patients_than_the_codebook_has_places_for_are_refused(study):
    path = study.write(HEADER + "".join(f"{n},50,70,a\n" for n in range(65)))
    problems = study.check(path)
    assert [p["rule"] for p in problems] == ["capacity_exceeded"]
    assert study.upload(path) == 1
    assert study.portal.seen == []


def test_columns_in_another_order_and_columns_that_nobody_asked_for_change_nothing(study):
    assert study.upload(study.write(GOOD)) == 0
    first = study.capture.readouterr().out
    rows = [line.split(",") for line in GOOD.splitlines()]
    turned = "".join(",".join([row[3], row[0], "note", row[2], row[1]]) + "\n" for row in rows)
    assert study.upload(study.write(turned)) == 0
    assert study.capture.readouterr().out == first


def test_a_level_that_is_added_to_the_codebook_makes_another_dataset(study):
    assert study.upload(study.write(GOOD)) == 0
    first = study.capture.readouterr().out
    fields = [*CODEBOOK["fields"][:2], CODEBOOK["fields"][2] | {"categories": ["a", "b", "c"]}]
    (study.folder / "C.json").write_text(json.dumps(CODEBOOK | {"fields": fields}))
    assert study.upload(study.write(GOOD)) == 0
    assert study.capture.readouterr().out != first


def test_one_bad_file_of_several_stops_them_all(study):
    second = {"name": "grade", "type": "integer", "constraints": {"minimum": 0, "maximum": 7}}
    (study.folder / "C.json").write_text(json.dumps(CODEBOOK | {"fields": [*CODEBOOK["fields"], second]}))
    good, other = study.write(GOOD), study.write("id,grade\n1,3\n2,nine\n", "u.csv")
    assert study.refused(good, other) == [("not_a_number", 3, "grade")]
    other.write_bytes(b"\x1f\x8b\x08")
    assert study.refused(good, other) == [("not_csv", None, None)]
