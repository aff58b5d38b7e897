"""A draft is a codebook that its own files pass once a person has confirmed it, and that nothing accepts before."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.query.schema import CodebookRejected, load_codebook, parse_codebook
from providers import __main__ as commands
from providers.draft import Draft, confirmed, draft
from providers.draft_report import said_of
from providers.patient_key import DraftRefused
from providers.report import Report
from providers.table import read_table
from samples import generate as samples
from tests.providers.formats import Variable, sas7bdat, workbook, xport
from tests.providers.gist import FOLDER

TODAY = date(2026, 5, 17)
NOTHING_HELD = "did not hold"


def drafted(tmp_path: Path, *texts: str, key: str | None = None) -> tuple[Draft, str]:
    """The draft of a.csv, b.csv and so on, and everything that is said of it."""
    report, tables = Report(), []
    for name, text in zip("abc", texts, strict=False):
        (tmp_path / f"{name}.csv").write_text(text)
        tables.append(read_table(tmp_path / f"{name}.csv", report))
    made = draft([t for t in tables if t], report, primary_key=key, today=TODAY)
    return made, "\n".join([*said_of(made), *map(str, report.problems)])


def fields(made: Draft) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in made.codebook["fields"]}


def values(item: dict[str, Any]) -> list[str]:
    return [level["value"] for level in item["categories"]]


def rows(count: int, *cells: Callable[[int], Any], header: str) -> str:
    lines = [",".join(str(cell(n)) for cell in cells) for n in range(count)]
    return "\n".join([f"id,{header}", *(f"p{n},{line}" for n, line in enumerate(lines))]) + "\n"


def run(*arguments: str) -> int:
    return commands.main(list(arguments))


def passes(tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The codebook that `draft` prints for files that pass `check` with it once it is confirmed, not before."""
    assert run("draft", *files) == 0
    captured = capsys.readouterr()
    assert NOTHING_HELD not in captured.err
    book: dict[str, Any] = json.loads(captured.out)
    path = tmp_path / "drafted.json"
    path.write_text(captured.out)
    assert run("check", "--json", "--codebook", str(path), *files) == 1
    assert {p["rule"] for p in json.loads(capsys.readouterr().out)} == {"not_confirmed"}
    path.write_text(json.dumps(confirmed(book)))
    assert run("check", "--json", "--codebook", str(path), *files) == 0
    assert not [p for p in json.loads(capsys.readouterr().out) if p["severity"] == "error"]
    return book


# -- every file passes ---------------------------------------------------------------------------------------

TRIAL = sorted(FOLDER.glob("*.csv"))


@pytest.mark.background
@pytest.mark.skipif(not TRIAL, reason=f"the trial's files are not beside the project ({FOLDER})")
@pytest.mark.parametrize("size", [1, *(pytest.param(n, marks=pytest.mark.nightly) for n in (2, 3, 4)), 5])
def test_the_draft_of_a_real_trials_files_in_any_combination_passes_check(tmp_path, capsys, size):
    for files in itertools.combinations(TRIAL, size):
        book = passes(tmp_path, [str(path) for path in files], capsys)
        assert book["primaryKey"] == "MASK_ID"


@pytest.mark.background
@pytest.mark.skipif(not TRIAL, reason=f"the trial's files are not beside the project ({FOLDER})")
def test_the_traps_of_a_real_trial_are_pointed_out(capsys):
    assert run("draft", *map(str, TRIAL)) == 0
    captured = capsys.readouterr()
    found = {item["name"]: item for item in json.loads(captured.out)["fields"]}
    assert found["BMI"]["missingValues"] == ["", "0", "NA"]
    assert found["DTH_C"]["missingValues"] == ["", "99"]
    assert found["EXPDAY_N"]["missingValues"] == ["", "9999", "NA"]
    assert values(found["REGION_C"]) == ["5", "Midwest", "Northeast", "South", "West"]
    assert found["AEVGRD1C"]["reduce"] == {"how": "any", "test": ">= 3"}
    only = {"how": "only", "where": 'E_TEXT == "RFS by CRF documented recurrence"'}
    assert found["TT_EVENT RFS by CRF documented recurrence"]["reduce"] == only
    assert "WEST and REGION_C contradict each other for 329 patients" in captured.err
    assert "LABRSL1N TBIL): the largest or smallest value lies far from all others" in captured.err
    assert "CKITREAS" not in found
    assert "PT_TXT" not in found


def test_the_drafts_of_the_samples_pass_check(tmp_path, capsys):
    paths = [str(path) for path in samples.generate(tmp_path)]
    for files in ([paths[0]], [paths[1]], paths):
        book = passes(tmp_path, files, capsys)
        assert book["primaryKey"] == "patient_id"


def _semicolons() -> str:
    lines = [
        f"P{n:02};{60 + n * 0.75};{1000 + 7 * n};{'FM'[n % 2]};2020-{1 + n % 12:02}-03" for n in range(40)
    ]
    return "id;weight;platelets;sex;started\n" + "\n".join(lines).replace(".", ",") + "\n"


def _typed(kind: Callable[[list[Variable]], bytes]) -> bytes:
    ages = [30 + n if n % 7 else ".A" for n in range(30)]
    return kind(
        [
            Variable("USUBJID", 8, "", [f"P{n}" for n in range(30)]),
            Variable("AGE", 0, "", ages),
            Variable("SEX", 1, "", ["FM"[n % 2] for n in range(30)]),
            Variable("STARTED", 0, "DATE9", [20000 + 30 * n for n in range(30)]),
        ]
    )


def _sheet() -> bytes:
    lines = [(f"P{n}", 61.5 + n / 3, "FM"[n % 2], bool(n % 2), date(2020, 1, 1 + n % 28)) for n in range(40)]
    return workbook({"a": [("id", "weight", "sex", "treated", "started"), *lines]})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("semicolons.csv", _semicolons().encode()),
        ("utf16.csv", _semicolons().encode("utf-16")),
        ("latin.csv", _semicolons().replace(";F;", ";m\xe4nnlich;").encode("latin-1")),
        ("tabs.tsv", _semicolons().replace(";", "\t").replace(",", ".").encode()),
        ("quoted.csv", b'id,dose\n' + b"".join(b'%d,"%d,5"\n' % (n, n) for n in range(30))),
        ("book.xlsx", _sheet()),
        ("transport.xpt", _typed(xport)),
        ("set.sas7bdat", _typed(sas7bdat)),
    ],
)  # fmt: skip
def test_the_draft_of_a_file_as_hospitals_have_them_passes_check(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    book = passes(tmp_path, [str(tmp_path / name)], capsys)
    found = {item["name"]: item for item in book["fields"]}
    if "weight" in found:
        assert found["weight"]["type"] == "number"
        assert found["started"]["unit"] == "days since 2020-01-01"
    if name in ("semicolons.csv", "utf16.csv", "latin.csv", "quoted.csv"):
        assert [item["name"] for item in book["fields"] if item.get("decimalChar") == ","] == [
            "dose" if name == "quoted.csv" else "weight"
        ]
    if "AGE" in found:
        assert found["AGE"]["missingValues"] == ["", ".A"]


def test_the_draft_of_a_parquet_file_passes_check(tmp_path, capsys):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is optional: 170 MB, for Parquet files only")
    from pyarrow import parquet

    columns = {
        "id": [f"P{n}" for n in range(40)],
        "weight": [None if n == 5 else 61.5 + n / 4 for n in range(40)],
        "grade": [n % 4 for n in range(40)],
        "sex": arrow.array(["FM"[n % 2] for n in range(40)]).dictionary_encode(),
        "treated": [bool(n % 2) for n in range(40)],
        "started": [date(2020, 1, 1 + n % 28) for n in range(40)],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "p.parquet")
    book = passes(tmp_path, [str(tmp_path / "p.parquet")], capsys)
    found = {item["name"]: item for item in book["fields"]}
    assert found["weight"]["type"] == "number" and found["started"]["unit"] == "days since 2020-01-01"
    assert [len(found[name]["categories"]) for name in ("sex", "treated")] == [2, 2]


# -- what is proposed ----------------------------------------------------------------------------------------


def test_everything_read_from_values_is_marked_local(tmp_path):
    text = rows(
        30,
        lambda n: 20 + n,
        lambda n: "NA" if n == 3 else f"{15 + n / 10:.1f}",
        lambda n: "MmF"[n % 3],
        lambda n: f"2021-02-{1 + n % 28:02}",
        header="age,bmi,sex,seen",
    )
    made, _ = drafted(tmp_path, text)
    assert made.codebook["local"] == ["capacity"]
    assert {name: item["local"] for name, item in fields(made).items()} == {
        "age": ["constraints", "resolution"],
        "bmi": ["constraints", "missingValues", "resolution"],
        "sex": ["categories", "recodes"],
        "seen": ["constraints", "unit"],
    }
    for item in made.codebook["fields"]:
        named = {"constraints", "resolution", "missingValues", "categories", "recodes", "unit", "decimalChar"}
        assert named & set(item) - {"resolution"} <= set(item["local"]), item["name"]


def test_the_default_policy_is_proposed_and_ends(tmp_path):
    made, _ = drafted(tmp_path, rows(5, lambda n: n * 9, header="age"))
    assert made.codebook["policy"] == {
        "epsilon": "10",
        "epsilon_per_query": "1",
        "minimum_cohort": 11,
        "modes": ["dp"],
        "statistics": ["*"],
        "expires": "2029-01-01",
    }
    assert made.codebook["facts"] == {"sources": {"age": ""}}


@pytest.mark.parametrize(
    ("header", "cells", "missing"),
    [
        ("age", [*range(20, 60), 999, 999], ["", "999"]),
        ("age", [*range(20, 60), -9], ["", "-9"]),
        ("age", [*range(20, 60), 99, 99, 99], ["", "99"]),
        ("age", [*range(20, 99), 99], None),
        ("age", [*range(20, 91), 99, 99], None),
        ("grade", [1, 2, 3, 4, 5, 9] * 5, ["", "9"]),
        ("grade", [1, 2, 3, 4, 5, 6, 7, 8, 9] * 5, None),
        ("white", [0, 1, 9] * 9, ["", "9"]),
        ("bmi", [*range(20, 60), 0], ["", "0"]),
        ("children", [*range(40), 0], None),
        ("age", [*range(20, 60), "NA", ".", ""], ["", ".", "NA"]),
        ("crp", [*range(20, 60), "<5"], ["", "<5"]),
        ("region", ["north", "none"] * 20, None),
    ],
)
def test_codes_for_missing_are_those_that_say_so_or_stand_apart(tmp_path, header, cells, missing):
    made, said = drafted(tmp_path, rows(len(cells), lambda n: cells[n], header=header))
    assert fields(made)[header].get("missingValues") == missing
    guessed = missing is not None and set(missing) - {"", ".", "NA"}
    assert ("proposed as missing" in said) == bool(guessed)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2"] * 20, "string"),
        (["7", "31"] * 20, "integer"),
        (["1.0", "2.0"] * 20, "string"),
        (["0.5", "1.5"] * 20, "number"),
        ([str(n) for n in range(30, 70)], "integer"),
        (["01", "02"] * 20, "string"),
        (["yes", "no"] * 20, "string"),
    ],
)
def test_few_small_whole_numbers_are_levels_and_others_are_numbers(tmp_path, cells, kind):
    made, _ = drafted(tmp_path, rows(40, lambda n: cells[n], header="x"))
    assert fields(made)["x"]["type"] == kind


def test_yes_and_no_are_labelled_and_spellings_of_a_level_become_one(tmp_path):
    text = rows(40, lambda n: n % 2, lambda n: ["Male", "male", "Male", "FEMALE"][n % 4], header="dead,sex")
    made, _ = drafted(tmp_path, text)
    assert fields(made)["dead"]["categories"] == [
        {"value": "0", "label": "no"},
        {"value": "1", "label": "yes"},
    ]
    assert values(fields(made)["sex"]) == ["FEMALE", "Male"]
    assert fields(made)["sex"]["recodes"] == {"male": "Male"}


def test_minus_one_and_one_are_two_levels(tmp_path):
    made, _ = drafted(tmp_path, rows(40, lambda n: [-1, 0, 1][n % 3], header="change"))
    assert values(fields(made)["change"]) == ["-1", "0", "1"]


def test_free_text_personal_columns_and_identifiers_are_left_out_and_said(tmp_path):
    text = rows(
        40,
        lambda n: f"came in with complaint {n}",
        lambda n: "a@b.de",
        lambda n: 7000 + n,
        lambda n: f"{1 + n % 12}/{1 + n % 28}/2020",
        lambda n: "",
        lambda n: 30 + n % 7,
        header="comment,email,screening_no,seen,empty,age",
    )
    made, said = drafted(tmp_path, text)
    assert list(fields(made)) == ["age"]
    for column in ("comment", "email", "screening_no", "seen", "empty"):
        assert re.search(f"a.csv: {column}: ", said), column


def test_dates_count_from_one_day_and_a_duration_is_suggested(tmp_path):
    text = rows(
        30, lambda n: f"1962-03-{1 + n % 28:02}", lambda n: f"2021-02-{1 + n % 28:02}", header="born,seen"
    )
    made, said = drafted(tmp_path, text)
    assert {item["unit"] for item in made.codebook["fields"]} == {"days since 1960-01-01"}
    assert '"derive": {"difference": [later, earlier]}' in said


def test_levels_of_few_patients_are_named_on_the_screen_with_a_way_to_merge_them(tmp_path):
    text = rows(
        60, lambda n: "rare" if n < 3 else "ab"[n % 2], lambda n: 3 if n < 2 else 1 + n % 2, header="x,ecog"
    )
    made, said = drafted(tmp_path, text)
    assert "rare (3)" in said
    assert '"recodes": {"rare": "other"}' in said
    assert '"recodes": {"3": "2"}' in said
    assert "may identify" not in json.dumps(made.codebook)


# -- the key, and many rows of a patient ---------------------------------------------------------------------


def test_the_key_is_found_by_being_unique_or_by_name_and_may_be_said(tmp_path):
    cells = [(f"k{n}", f"s{n}", 20 + n % 9) for n in range(20)]
    text = "code,subject_id,age\n" + "".join(f"{a},{b},{c}\n" for a, b, c in cells)
    assert drafted(tmp_path, text)[0].codebook["primaryKey"] == "subject_id"
    assert drafted(tmp_path, text, key="code")[0].codebook["primaryKey"] == "code"
    unnamed = text.replace("subject_id", "y").replace("code", "x")
    assert drafted(tmp_path, unnamed)[0].codebook["primaryKey"] == "x"


@pytest.mark.parametrize(
    ("texts", "key", "says"),
    [
        (["site,number_,age\n1,1,5\n1,2,5\n2,1,5\n2,2,6\n"], None, "site and number_ together do"),
        (["a,b\n1,2\n1,2\n"], None, "--primary-key"),
        (["id,b\n1,2\n2,2\n", "pid,c\n1,2\n"], None, "no column in common"),
        (["id,b\n1,2\n2,3\n"], "nr", "not every file has a column nr"),
        (["id,b\n1,2\n,3\n"], "id", "is empty in some rows"),
        (["id\n1\n2\n"], None, "no column besides the key"),
        (["id,email\n1,x\n2,y\n"], None, "no column can be shared"),
    ],
)
def test_files_without_a_key_or_anything_to_share_are_refused_with_the_way_out(tmp_path, texts, key, says):
    with pytest.raises(DraftRefused, match=re.escape(says)):
        drafted(tmp_path, *texts, key=key)


def test_a_key_that_begins_anew_at_each_site_is_pointed_out(tmp_path):
    lines = [f"{site},{n},{30 + 3 * n + len(site)}" for site in ("north", "south") for n in range(25)]
    _, said = drafted(tmp_path, "site,subject,age\n" + "\n".join(lines) + "\n")
    assert "the same subject stands beside several values of site" in said


def test_rows_of_several_things_become_a_field_for_each_thing(tmp_path):
    lines = [
        f"p{n},{test},{unit},{value}"
        for n in range(30)
        for test, unit, value in (("ALT", "U/L", 20 + n), ("CREA", "mg/dL", 60 + 2 * n))
    ]
    made, _ = drafted(tmp_path, "pid,test,unit,result\n" + "\n".join(lines) + "\n")
    assert {name: item["reduce"] for name, item in fields(made).items()} == {
        "result ALT": {"how": "only", "where": "test == ALT"},
        "result CREA": {"how": "only", "where": "test == CREA"},
    }
    assert fields(made)["result ALT"]["constraints"] == {"minimum": 20, "maximum": 51}


def test_rows_of_several_things_at_several_visits_read_the_first_visit(tmp_path):
    lines = [
        f"p{n},{test},{visit},{50 + n + visit}" for n in range(30) for test in "AB" for visit in (1, 2, 3)
    ]
    made, _ = drafted(tmp_path, "pid,test,visit,result\n" + "\n".join(lines) + "\n")
    reduce = {"how": "first", "where": "test == A", "orderBy": "visit"}
    assert fields(made)["result A"]["reduce"] == reduce


def test_rows_without_order_come_down_to_one_value_by_kind_and_the_choices_are_explained(tmp_path):
    lines = [
        f"p{n},{'MF'[n % 2]},{1 + (n + k) % 5},{k % 2},{'abc'[k % 3]},{40 + n + k}"
        for n in range(30)
        for k in range(1 + n % 9)
    ]
    made, said = drafted(tmp_path, "pid,sex,grade,serious,kind,size_mm\n" + "\n".join(lines) + "\n")
    assert {name: item.get("reduce") for name, item in fields(made).items()} == {
        "rows": {"how": "count"},
        "sex": {"how": "first"},
        "grade": {"how": "any", "test": ">= 3"},
        "serious": {"how": "any", "test": "== 1"},
        "kind": {"how": "any", "test": "== a"},
        "size_mm": {"how": "max"},
    }
    for choice in ("only", "first", "min", "max", "any", "all", "count"):
        assert f'"{choice}"' in said


def test_a_few_patients_in_the_table_twice_are_pointed_out(tmp_path):
    text = rows(60, lambda n: 30 + n % 17, header="age") + "p7,55\n"
    made, said = drafted(tmp_path, text)
    assert "1 patient is in the table twice, first in line 62" in said
    assert fields(made)["age"]["reduce"] == {"how": "first"}


def test_headers_that_two_files_share_name_their_file_and_have_two_names(tmp_path):
    one, two = rows(20, lambda n: n % 2, header="flag"), rows(20, lambda n: 1 - n % 2, header="flag")
    made, _ = drafted(tmp_path, one, two)
    assert {(i["name"], i.get("source", i["name"]), i["file"]) for i in made.codebook["fields"]} == {
        ("flag", "flag", "a.csv"),
        ("flag b", "flag", "b.csv"),
    }


def test_two_hospitals_tables_are_not_taken_for_one_study(tmp_path):
    one = rows(20, lambda n: n % 2, header="flag")
    _, said = drafted(tmp_path, one, one.replace("\np", "\nq"))
    assert "no patient in common" in said
    assert "no patient in common" not in drafted(tmp_path, one, one)[1]


# -- nothing leaves before ------------------------------------------------------------------------------------


def test_a_draft_never_uploads_and_says_what_to_confirm(tmp_path, capsys, monkeypatch):
    def connect(url: str, token: str) -> httpx.Client:
        raise AssertionError("nothing may be sent")

    monkeypatch.setattr(commands, "connect", connect)
    file = tmp_path / "t.csv"
    file.write_text(rows(30, lambda n: 20 + n, lambda n: "ab"[n % 2], header="age,arm"))
    assert run("draft", str(file)) == 0
    book = json.loads(capsys.readouterr().out)
    partly = [confirmed(book) | {"local": book["local"]}, confirmed(book) | {"fields": book["fields"]}, book]
    for number, one in enumerate(partly):
        (tmp_path / "C.json").write_text(json.dumps(one))
        given = ["upload", "--url", "http://portal.test", "--token", "t", "--key", str(tmp_path / "key.pem")]
        assert run(*given, "--codebook", str(tmp_path / "C.json"), str(file)) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "not_confirmed" in captured.err
        assert number == 0 or "categories was read from the data" in captured.err


def test_a_file_that_cannot_be_read_gives_no_draft(tmp_path, capsys):
    (tmp_path / "t.csv").write_text('id,x\n1,"2\n')
    assert run("draft", str(tmp_path / "t.csv")) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "unclosed_quote" in captured.err


# -- whatever the table holds ---------------------------------------------------------------------------------

CLEAN = st.one_of(
    st.lists(st.integers(-(10**6), 10**6), min_size=30, max_size=30),
    st.lists(st.decimals(-999, 999, places=3), min_size=30, max_size=30),
    st.lists(st.sampled_from(["a", "b", "c d"]), min_size=30, max_size=30),
    st.lists(st.dates(date(1900, 1, 1), date(2100, 1, 1)), min_size=30, max_size=30),
    st.lists(st.sampled_from(["0", "1", "NA", ""]), min_size=30, max_size=30),
)
CELL = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(["NA", ".", "-", "1,5", "1.5", "1e300", "1e-300", "0", "007", "inf", "2020-02-30", "9999-12-31"]),
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=True).map(repr),
)  # fmt: skip


@given(st.lists(CLEAN, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_clean_table_passes_check_with_its_draft(tmp_path, columns):
    header = ",".join(f"x{n}" for n in range(len(columns)))
    text = rows(30, *(column.__getitem__ for column in columns), header=header)
    try:
        made, said = drafted(tmp_path, text)
    except DraftRefused as refused:
        assert "no column can be shared" in str(refused)
        return
    assert NOTHING_HELD not in said
    schema = parse_codebook(load_codebook(json.dumps(confirmed(made.codebook))))
    assert set(made.encoded.columns) == {item.name for item in schema.fields}


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), CELL, CELL), min_size=1, max_size=12), st.booleans()
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_table_holds_its_draft_parses_once_confirmed_or_is_refused(tmp_path, cells, repeated):
    path = tmp_path / "odd.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["pid", "x", "y"])
        writer.writerows(
            [key if repeated else f"{key}{n}", one, other] for n, (key, one, other) in enumerate(cells)
        )
    report = Report()
    table = read_table(path, report)
    if table is None:
        return
    try:
        made = draft([table], report, primary_key="pid", today=TODAY)
    except DraftRefused:
        return
    list(said_of(made))
    parse_codebook(load_codebook(json.dumps(confirmed(made.codebook))))
    with pytest.raises(CodebookRejected):
        parse_codebook(load_codebook(json.dumps(made.codebook)))
