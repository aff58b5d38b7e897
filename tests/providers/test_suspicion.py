"""What looks wrong and may be right: each suspicion rises once and stays silent once, and tells counts alone."""

from __future__ import annotations

import numpy as np
import pytest

from analytics.query.schema import parse_codebook
from providers.codebook import encode
from providers.report import Report
from providers.suspicion import suspect_values
from providers.table import read_table
from tests.providers.test_codebook import POLICY, run

FLAG = [{"value": "0", "label": "no"}, {"value": "1", "label": "yes"}]


def number(name: str, low: int = -100, high: int = 2000, **more):
    return {
        "name": name,
        "type": "number",
        "constraints": {"minimum": low, "maximum": high},
        "resolution": "0.1",
    } | more


def flag(name: str, **more):
    return {"name": name, "type": "string", "categories": FLAG} | more


def warned(tmp_path, fields, rows) -> Report:
    """The warnings of a table with one row of cells a patient; an empty cell is missing."""
    names = ",".join(item.get("source", item["name"]) for item in fields)
    lines = [",".join([f"p{n}", *map(str, row)]) for n, row in enumerate(rows)]
    _, report = run(tmp_path, fields, "\n".join([f"id,{names}", *lines]) + "\n", capacity=4096)
    assert report.errors == []
    return report


def rules(report: Report) -> list[str]:
    return [problem.rule for problem in report.warnings if problem.rule != "sentinel"]


@pytest.mark.parametrize(
    ("field", "values", "found"),
    [
        (number("bmi"), [22, 31, 0, 27], ["zero_value"]),
        (number("bmi"), [22, 31, 27], []),
        (number("bmi_change"), [0, 1, 0], []),
        (number("bmi"), [22, 31, 270], ["implausible"]),
        (number("height"), [171, 1.8, 165], ["mixed_units"]),
        (number("height"), [1.7, 1.8, 1.6], []),
        (number("height", unit="cm"), [1.7, 1.8, 1.6], ["other_unit"]),
        (number("height"), [171, 181, 165], []),
        (number("temp"), [36.6, 98.4, 37], ["mixed_units"]),
        (number("temperature"), [36.6, 38.4, 37], []),
        (number("weight"), [61, 70, 900], ["implausible"]),
        (number("lvef_pct"), [55, 60, 0.5, 0.6], ["fractions"]),
        (number("saturation", unit="%"), [0.9, 0.95, 0.8], ["fractions"]),
        (number("lvef_pct"), [55, 60, 40, 0], []),
        (number("days_to_death"), [5, -3, 8], ["negative_time"]),
        (number("follow", role="time"), [5, -3, 8], ["negative_time"]),
        (number("change"), [5, -3, 8], []),
    ],
)
def test_a_number_that_nobody_has_is_counted(tmp_path, field, values, found):
    report = warned(tmp_path, [field], [[value] for value in values])
    assert [rule for rule in rules(report) if rule not in ("no_event",)] == found


def test_a_death_that_did_not_happen_has_no_date_and_no_cause(tmp_path):
    date = {"name": "death_date", "type": "integer", "unit": "days since 2020-01-01"}
    date["constraints"] = {"minimum": 0, "maximum": 1023}
    cause = {"name": "DTHRSN", "type": "string", "categories": ["heart", "other"]}
    fields = [flag("dead"), date, cause]
    fine = [[1, "2021-01-01", "heart"], [0, "", ""], ["", "2021-01-01", "other"]]
    assert rules(warned(tmp_path, fields, fine)) == []
    report = warned(tmp_path, fields, [*fine, [0, "2021-03-01", ""], [0, "", "other"], [0, "", "heart"]])
    assert rules(report) == ["death_contradicted", "death_contradicted"]
    assert [problem.message.split()[0] for problem in report.warnings] == ["1", "2"]


def test_a_time_to_death_or_censoring_is_there_for_the_living_too(tmp_path):
    assert rules(warned(tmp_path, [flag("dead"), number("time_till_death")], [[0, 5], [1, 3]])) == []


def test_a_flag_and_the_level_of_its_name_say_the_same(tmp_path):
    region = {"name": "region", "type": "string", "categories": ["West", "South"]}
    assert rules(warned(tmp_path, [flag("WEST"), region], [[1, "West"], [0, "South"], ["", "West"]])) == []
    report = warned(tmp_path, [flag("WEST"), region], [[1, "West"], [1, "South"], [0, "West"]])
    assert rules(report) == ["flag_contradicted"]
    assert "for 2 patients" in report.warnings[0].message


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize(("slips", "found"), [(0, []), (2, ["nearly_alike"]), (40, [])])
def test_two_flags_that_agree_but_for_a_few_are_pointed_out(tmp_path, turned, slips, found):
    rows = [[n % 2, (n + turned + (n < slips)) % 2] for n in range(100)]
    assert rules(warned(tmp_path, [flag("a"), flag("b")], rows)) == found


def test_a_missing_flag_disagrees_with_nothing(tmp_path):
    rows = [[n % 2, n % 2] for n in range(100)] + [[1, ""], ["", 1]] * 3
    assert rules(warned(tmp_path, [flag("a"), flag("b")], rows)) == []


def test_two_rare_flags_do_not_agree_because_both_are_mostly_no(tmp_path):
    rows = [[int(n == 3), int(n == 5)] for n in range(200)]
    assert rules(warned(tmp_path, [flag("a"), flag("b")], rows)) == []


def test_two_columns_of_the_same_levels_are_compared_by_level_and_not_by_place(tmp_path):
    one = {"name": "a", "type": "string", "categories": ["1", "2", "3"]}
    other = {"name": "b", "type": "string", "categories": ["3", "2", "1"]}
    rows = [[1 + n % 3, 1 + n % 3] for n in range(90)]
    assert rules(warned(tmp_path, [one, other], rows)) == []
    rows[4][1] = 1
    report = warned(tmp_path, [one, other], rows)
    assert rules(report) == ["nearly_alike"]
    assert "all but 1 of 90" in report.warnings[0].message


def test_an_event_is_not_later_than_the_end_of_follow_up(tmp_path):
    fields = [number("futime", unit="days"), number("time_to_event", unit="days")]
    assert rules(warned(tmp_path, fields, [[10, 5], [20, 20], ["", 9]])) == []
    assert rules(warned(tmp_path, fields, [[10, 5], [20, 21], ["", 9]])) == ["beyond_follow_up"]
    months = [fields[0], fields[1] | {"unit": "months"}]
    assert rules(warned(tmp_path, months, [[10, 5], [20, 21]])) == []


def test_a_patient_under_two_keys_is_pointed_out_where_chance_is_unlikely(tmp_path):
    rng = np.random.default_rng(7)
    fields = [number(name) for name in "abcd"] + [flag(name) for name in "ef"]
    rows = [[*np.round(rng.normal(50, 20, 4), 1), *rng.integers(0, 2, 2)] for _ in range(100)]
    assert rules(warned(tmp_path, fields, rows)) == []
    assert rules(warned(tmp_path, fields, [*rows, rows[5]])) == ["alike_patients"]
    flags = [flag(name) for name in "abcdef"]
    assert "alike_patients" not in rules(warned(tmp_path, flags, [[n % 2] * 6 for n in range(50)]))


@pytest.mark.parametrize(("source", "found"), [("protocol 4.1", []), ("", ["no_source"])])
def test_an_empty_source_of_bounds_is_pointed_out(tmp_path, source, found):
    (tmp_path / "a.csv").write_text("id,bmi\n1,27\n2,31\n")
    book = {
        "primaryKey": "id",
        "fields": [number("bmi")],
        "policy": POLICY,
        "facts": {"sources": {"bmi": source}},
    }
    schema, report = parse_codebook(book), Report()
    table = read_table(tmp_path / "a.csv", report)
    assert table is not None
    suspect_values(schema, encode(schema, [table], report), report)
    assert rules(report) == found


def test_no_suspicion_shows_a_value(tmp_path):
    report = warned(tmp_path, [number("bmi")], [[22], [31], [271.5]])
    assert "271" not in str(report.problems)
