"""What a patient has who has no row in a file of many rows: missing, 0 of a count, or what `default` says."""

from __future__ import annotations

from typing import Any

import pytest

from analytics.query.schema import parse_codebook
from providers.codebook import encode
from providers.report import Report
from providers.table import read_table
from tests.providers.test_codebook import POLICY, codes, found, run

AGE = {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 127}}
# p1 has rows that count, p2 rows of which none counts, p3 a row that counts without a value, p4 no row at all.
PATIENTS = "id,age\np1,50\np2,51\np3,52\np4,53\n"
EVENTS = "id,grade,emergent\np1,2,Y\np1,4,Y\np2,5,\np3,,Y\n"
COUNTED = "emergent == Y"


def grade(how: str, **more: Any) -> dict[str, Any]:
    bounds = {"minimum": 0, "maximum": 7}
    reduce = {"how": how, "where": COUNTED} | more
    return {"name": "worst", "type": "integer", "source": "grade", "constraints": bounds, "reduce": reduce}


def flag(how: str, **more: Any) -> dict[str, Any]:
    reduce = {"how": how, "where": COUNTED, "test": ">= 3"} | more
    return {"name": "severe", "type": "string", "source": "grade", "reduce": reduce}


@pytest.mark.parametrize(
    ("how", "without", "with_default"),
    [
        ("max", [4, None, None, None], [4, 0, None, 0]),
        ("min", [2, None, None, None], [2, 0, None, 0]),
        ("first", [2, None, None, None], [2, 0, None, 0]),
    ],
)
def test_the_default_is_for_patients_without_a_row_and_never_for_a_row_without_a_value(
    tmp_path, how, without, with_default
):
    assert codes(run(tmp_path, [AGE, grade(how)], PATIENTS, EVENTS)[0], "worst") == without
    assert codes(run(tmp_path, [AGE, grade(how, default=0)], PATIENTS, EVENTS)[0], "worst") == with_default


@pytest.mark.parametrize(("how", "answer"), [("any", 1), ("all", 0)])
def test_any_and_all_are_no_without_rows_where_the_default_says_so(tmp_path, how, answer):
    encoded, _ = run(tmp_path, [AGE, flag(how)], PATIENTS, EVENTS)
    assert codes(encoded, "severe") == [answer, None, None, None]
    encoded, _ = run(tmp_path, [AGE, flag(how, default="no")], PATIENTS, EVENTS)
    assert codes(encoded, "severe") == [answer, 0, None, 0]


def test_a_category_has_its_level_and_a_cut_its_number_as_default(tmp_path):
    term = {
        "name": "term",
        "type": "string",
        "source": "grade",
        "categories": [{"value": "0", "label": "none"}, "2", "4", "5"],
        "reduce": {"how": "first", "default": "none"},
    }
    worst = {
        "name": "class",
        "type": "string",
        "source": "grade",
        "cut": [0, 1, 3, 6],
        "reduce": {"how": "max", "where": COUNTED, "default": 0},
    }
    encoded, report = run(tmp_path, [AGE, term, worst], PATIENTS, EVENTS)
    assert report.problems == []
    assert codes(encoded, "term") == [1, 3, None, 0]
    assert codes(encoded, "class") == [2, 0, None, 0]


def test_fields_derived_from_a_default_are_computed_from_it(tmp_path):
    doubled = {
        "name": "doubled",
        "type": "number",
        "constraints": {"minimum": 0, "maximum": 15},
        "resolution": 1,
        "derive": {"scale": ["worst", 2, 1]},
    }
    encoded, _ = run(tmp_path, [AGE, grade("max", default=0), doubled], PATIENTS, EVENTS)
    assert codes(encoded, "doubled") == [9, 1, None, 1]


def test_a_file_that_is_meant_to_lack_patients_is_not_warned_of_and_any_other_is(tmp_path):
    count = {
        "name": "events",
        "type": "integer",
        "source": "grade",
        "constraints": {"minimum": 0, "maximum": 7},
    }
    count |= {"reduce": {"how": "count"}}
    _, report = run(tmp_path, [AGE, grade("max", default=0), count], PATIENTS, EVENTS)
    assert found(report) == []
    _, report = run(tmp_path, [AGE, grade("max"), count], PATIENTS, EVENTS)
    assert found(report) == [("patients_without_rows", "b.csv", None, None)]


@pytest.mark.parametrize("named", ["b", "B", "b.csv", "somewhere/b"])
def test_a_file_without_an_ending_is_that_file_in_whatever_form_it_comes(tmp_path, named):
    item = {"name": "x", "type": "integer", "constraints": {"minimum": 0, "maximum": 7}, "file": named}
    encoded, report = run(tmp_path, [AGE, item], "id,age,x\n1,2,3\n", "id,x\n1,5\n")
    assert report.problems == []
    assert codes(encoded, "x") == [5]


def test_a_file_of_another_ending_or_of_two_forms_is_refused(tmp_path):
    item = {"name": "x", "type": "integer", "constraints": {"minimum": 0, "maximum": 7}}
    _, report = run(tmp_path, [AGE, item | {"file": "b.xpt"}], "id,age,x\n1,2,3\n", "id,x\n1,5\n")
    assert [p.rule for p in report.errors] == ["file_missing"]
    for name in ("t.csv", "t.txt"):
        (tmp_path / name).write_text("id,x\n1,2\n")
    report = Report()
    tables = [read_table(tmp_path / name, report) for name in ("t.csv", "t.txt")]
    encode(
        parse_codebook({"primaryKey": "id", "fields": [item | {"file": "t"}], "policy": POLICY}),
        tables,
        report,
    )
    assert [p.rule for p in report.errors] == ["ambiguous_file"]
    assert "t.csv or t.txt" in report.errors[0].remedy
