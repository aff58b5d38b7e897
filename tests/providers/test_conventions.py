"""How one hospital writes a number or a day: decimal commas, sheets, days since a day; declared or certain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from providers import __main__ as commands
from tests.providers import formats
from tests.providers.test_codebook import AGE, BMI, POLICY, codes, found, run

DAY = {"name": "day", "type": "integer", "unit": "days since 2020-01-01"}
DAY["constraints"] = {"minimum": 0, "maximum": 1023}


def test_a_declared_decimal_comma_is_read_in_any_file(tmp_path):
    field = BMI | {"decimalChar": ",", "recodes": {"dünn": "17.5"}}
    encoded, report = run(tmp_path, [field], 'id,bmi\n1,"27,4"\n2,"10"\n3,dünn\n4,",5e2"\n')
    assert report.problems == []
    assert codes(encoded, "bmi") == [174, 0, 75, 400]


def test_a_file_with_semicolons_has_decimal_commas_where_that_is_certain_and_says_so(tmp_path):
    encoded, report = run(tmp_path, [BMI], "id;bmi\n1;27,4\n2;10\n")
    assert found(report) == [("decimal_comma_read", "a.csv", None, "bmi")]
    assert report.errors == []
    assert codes(encoded, "bmi") == [174, 0]
    _, report = run(tmp_path, [BMI | {"decimalChar": ","}], "id;bmi\n1;27,4\n2;10\n")
    assert report.problems == []


@pytest.mark.parametrize(
    ("field", "text", "rule"),
    [
        (BMI, 'id,bmi\n1,20\n2,"27,4"\n', "decimal_comma"),
        (BMI, "id;bmi\n1;20\n2;27,123\n", "decimal_comma"),
        (BMI | {"decimalChar": "."}, "id;bmi\n1;20\n2;27,4\n", "decimal_comma"),
        (BMI | {"decimalChar": ","}, "id;bmi\n1;20\n2;27.4\n", "decimal_point"),
        (DAY, "id,day\n1,5\n2,31.01.2020\n", "date_as_number"),
        (DAY, "id,day\n1,5\n2,2020-02-31\n", "date_as_number"),
        (DAY, "id,day\n1,5\n2,2019-12-31\n", "out_of_range"),
        (AGE, "id,age\n1,5\n2,2020-01-31\n", "date_as_number"),
    ],
)
def test_what_is_neither_declared_nor_certain_is_refused_with_its_line(tmp_path, field, text, rule):
    _, report = run(tmp_path, [field], text)
    assert [(p.rule, p.line) for p in report.problems] == [(rule, 3)]
    assert report.problems[0].remedy


def test_conditions_and_orders_read_decimal_commas_too(tmp_path):
    where = BMI | {"decimalChar": ",", "where": "visit > 1.5"}
    first = BMI | {"name": "b2", "source": "bmi", "decimalChar": ","}
    first["reduce"] = {"how": "first", "orderBy": "visit"}
    where["reduce"] = {"how": "min"}
    text = 'id;visit;bmi\n1;"1,6";20,5\n1;"1,5";30\n1;"1,4";40\n'
    encoded, report = run(tmp_path, [where, first], text)
    assert report.problems == []
    assert codes(encoded, "bmi") == [105]
    assert codes(encoded, "b2") == [300]


def test_a_day_is_counted_from_the_day_that_the_unit_names(tmp_path):
    encoded, report = run(tmp_path, [DAY], "id,day\n1,2020-01-01\n2,2021-01-01T08:30:00\n3,17\n4,\n")
    assert report.problems == []
    assert codes(encoded, "day") == [0, 366, 17, None]


def test_a_day_as_sas_writes_it_is_that_day_and_a_number_of_sas_counts_from_1960(tmp_path):
    since = DAY | {"unit": "days since 1960-01-01", "constraints": {"minimum": 14610, "maximum": 30993}}
    text = "id,day\n1,01JAN2000\n2,31-dec-2001\n3,14611\n4,2000-01-03\n"
    encoded, report = run(tmp_path, [since], text)
    assert report.problems == []
    assert codes(encoded, "day") == [0, 730, 1, 2]
    for wrong in ("31JAN01", "31FEB2001", "31-JAN2001", "31MAI2001"):
        _, report = run(tmp_path, [since], f"id,day\n1,14611\n2,{wrong}\n")
        assert [(p.rule, p.line) for p in report.problems] == [("date_as_number", 3)]


def test_two_sheets_of_a_workbook_are_two_tables_of_one_study(tmp_path, capsys):
    book = formats.workbook({
        "people": [["id", "age"], ["p1", 50], ["p2", 61]],
        "labs": [["id", "crea"], ["p2", 1.1], ["p1", 0.9]],
    })  # fmt: skip
    (tmp_path / "trial.xlsx").write_bytes(book)
    crea: dict[str, Any] = {"name": "crea", "type": "number", "constraints": {"minimum": 0, "maximum": "3.1"}}
    fields = [
        AGE | {"file": "trial.xlsx"},
        crea | {"file": "trial.xlsx", "sheet": "labs", "resolution": "0.1"},
    ]
    codebook = {"primaryKey": "id", "fields": fields, "policy": POLICY, "capacity": 64}
    assert _check(tmp_path, codebook, "trial.xlsx") == 0
    out = capsys.readouterr().out
    assert "crea: 2 present" in out
    assert "0 errors, 0 warnings" in out
    codebook["fields"] = [crea | {"file": "trial.xlsx", "sheet": "lab", "resolution": "0.1"}]
    assert _check(tmp_path, codebook, "trial.xlsx") == 1
    assert "trial.xlsx[lab]" in capsys.readouterr().out


def _check(folder: Path, codebook: dict[str, Any], *files: str) -> int:
    (folder / "C.json").write_text(json.dumps(codebook))
    return commands.main(["check", "--codebook", str(folder / "C.json"), *(str(folder / f) for f in files)])
