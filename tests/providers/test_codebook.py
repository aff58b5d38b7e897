"""From raw texts to codes: every rule accepts once and refuses once, with its place and no value."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.query.schema import parse_codebook
from providers.codebook import Encoded, encode
from providers.planes import to_planes
from providers.report import PLACES_SHOWN, Report
from providers.suspicion import suspect_values
from providers.table import Table, read_table

POLICY = {"epsilon": "10", "epsilon_per_query": "1", "expires": "2030-01-01"}
BMI = {
    "name": "bmi",
    "type": "number",
    "constraints": {"minimum": 10, "maximum": 60},
    "resolution": "0.1",
    "missingValues": ["", "NA"],
}
AGE = {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 127}}
SEX = {"name": "sex", "type": "string", "categories": [{"value": "f", "label": "female"}, "m"]}


def run(
    tmp_path: Path, fields: list[dict[str, Any]], *texts: str, capacity: int = 64
) -> tuple[Encoded, Report]:
    """Encode a study whose files are a.csv, b.csv and so on."""
    schema = parse_codebook({"primaryKey": "id", "fields": fields, "policy": POLICY, "capacity": capacity})
    report = Report()
    tables: list[Table] = []
    for name, text in zip("abc", texts, strict=False):
        (tmp_path / f"{name}.csv").write_text(text)
        table = read_table(tmp_path / f"{name}.csv", report)
        assert table is not None
        tables.append(table)
    encoded = encode(schema, tables, report)
    suspect_values(schema, encoded, report)
    return encoded, report


def codes(encoded: Encoded, name: str) -> list[int | None]:
    """Codes of a field, None where it is missing."""
    column = encoded.columns[name]
    return [
        int(code) if present else None for code, present in zip(column.codes, column.present, strict=True)
    ]


def found(report: Report) -> list[tuple[str, str | None, int | None, str | None]]:
    return [(p.rule, p.file, p.line, p.column) for p in report.problems]


def test_numbers_and_levels_become_codes_and_missing_stays_missing(tmp_path):
    text = "id,bmi,age,sex\n1,10,0,f\n2,27.44,50.0,m\n3, 60 ,127,f\n4,NA,3,m\n5,,4,m\n"
    encoded, report = run(tmp_path, [BMI, AGE, SEX], text)
    assert report.problems == []
    assert codes(encoded, "bmi") == [0, 174, 500, None, None]
    assert codes(encoded, "age") == [0, 50, 127, 3, 4]
    assert codes(encoded, "sex") == [0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("nan", "not_finite"),
        ("1e309", "number_too_large"),
        ("27,5", "decimal_comma"),
        ("2020-01-31", "date_as_number"),
        ("heavy", "not_a_number"),
        ("9.94", "out_of_range"),
        ("60.05", "out_of_range"),
        ("1e300", "out_of_range"),
    ],
)
def test_a_wrong_number_is_named_by_file_line_column_rule_and_remedy_but_never_shown(tmp_path, text, rule):
    _, report = run(tmp_path, [BMI], f'id,bmi\n1,20\n2,"{text}"\n3,NA\n')
    assert found(report) == [(rule, "a.csv", 3, "bmi")]
    assert report.problems[0].remedy
    assert text not in str(report.problems[0])


def test_rounding_comes_before_the_range(tmp_path):
    encoded, report = run(tmp_path, [BMI], "id,bmi\n1,9.95\n2,60.0499\n")
    assert report.problems == []
    assert codes(encoded, "bmi") == [0, 500]


def test_a_broken_integer_is_refused_and_an_unknown_level_too(tmp_path):
    _, report = run(tmp_path, [AGE, SEX], "id,age,sex\n1,30,f\n2,30.5,x\n3,31,\n4,32,F\n")
    assert found(report) == [
        ("not_an_integer", "a.csv", 3, "age"),
        ("unknown_level", "a.csv", 3, "sex"),
        ("unknown_level", "a.csv", 5, "sex"),
    ]


def test_out_of_range_may_be_clamped_or_missing_and_both_are_counted(tmp_path):
    text = "id,bmi,weight\n1,3,3\n2,99,99\n3,30,30\n"
    clamp = BMI | {"outOfRange": "clamp"}
    drop = BMI | {"name": "weight", "outOfRange": "missing"}
    encoded, report = run(tmp_path, [clamp, drop], text)
    assert codes(encoded, "bmi") == [0, 500, 200]
    assert codes(encoded, "weight") == [None, None, 200]
    assert [p.rule for p in report.warnings] == ["clamped", "out_of_range_missing"]
    assert all("2 values" in p.message for p in report.warnings)
    assert report.errors == []


def test_an_unknown_level_may_count_as_missing_where_the_codebook_says_so(tmp_path):
    encoded, report = run(tmp_path, [SEX | {"outOfRange": "missing"}], "id,sex\n1,f\n2,9\n3,m\n")
    assert codes(encoded, "sex") == [0, None, 1]
    assert [(p.rule, p.line, p.severity) for p in report.problems] == [
        ("unknown_level_missing", 3, "warning")
    ]


def test_missing_values_come_before_recodes_and_recodes_before_everything_else(tmp_path):
    field = BMI | {"missingValues": ["", "99"], "recodes": {"thin": "10", "99": "20", "7": 60}}
    encoded, report = run(tmp_path, [field], "id,bmi\n1,thin\n2,99\n3,7\n")
    assert report.problems == []
    assert codes(encoded, "bmi") == [0, None, 500]


def test_several_raw_texts_may_become_one_level(tmp_path):
    field = SEX | {"recodes": {"w": "f", "female": "f", "M": "m"}}
    encoded, report = run(tmp_path, [field], "id,sex\n1,w\n2,female\n3,M\n4,f\n")
    assert report.problems == []
    assert codes(encoded, "sex") == [0, 0, 1, 0]


def test_whole_levels_match_what_other_programs_write(tmp_path):
    field = {"name": "arm", "type": "string", "categories": ["1", "2"]}
    encoded, report = run(tmp_path, [field], "id,arm\n1,1\n2,2.0\n3,1.00\n")
    assert codes(encoded, "arm") == [0, 1, 0]
    _, report = run(tmp_path, [field], "id,arm\n1,1\n2,01\n3,1.5\n")
    assert [p.line for p in report.errors] == [3, 4]


def test_where_leaves_out_rows_by_raw_columns_of_the_same_file(tmp_path):
    field = AGE | {"where": "dead == 1 and (arm in (a, B) or arm is missing)"}
    text = "id,age,dead,arm\n1,10,1,a\n2,11,0,a\n3,12,1,b\n4,13,1,\n5,14,99,a\n6,15,NA,a\n7,x,0,a\n8,16,1,c\n"
    encoded, report = run(tmp_path, [field], text)
    assert report.problems == [], "a wrong text in a row that is left out is no problem"
    assert codes(encoded, "age") == [10, None, 12, 13, None, None, None, None]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("x == 1", ["b"]),
        ('x == "-1"', ["a"]),
        ("x != 1", ["a", "c", "d"]),
        ("x < 2", ["a", "b"]),
        ("x >= 2", ["c", "d"]),
        ("not x >= 2", ["a", "b", "e"]),
        ("x not in (2, 3)", ["a", "b"]),
        ("x is missing", ["e"]),
        ("x is not missing", ["a", "b", "c", "d"]),
        ('y == "RFS by CRF"', ["a", "b"]),
        ("Y is not missing and y != other", ["a", "b"]),
    ],
)
def test_a_predicate_compares_numbers_as_numbers_and_texts_in_normal_form(tmp_path, where, kept):
    text = "id,x,y,age\na,-1,RFS by CRF,1\nb,1.0,rfs_by-crf,1\nc,2,other,1\nd,3,other,1\ne,,other,1\n"
    encoded, report = run(tmp_path, [AGE | {"where": where}], text)
    assert report.errors == []
    assert [key for key, code in zip("abcde", codes(encoded, "age"), strict=True) if code is not None] == kept


def test_a_predicate_that_cannot_be_decided_is_refused_with_its_line(tmp_path):
    text = "id,age,grade\n1,10,3\n2,11,NA\n3,12,bad\n"
    _, report = run(tmp_path, [AGE | {"where": "grade >= 3"}], text)
    assert found(report)[:2] == [
        ("where_not_a_number", "a.csv", 3, "grade"),
        ("where_not_a_number", "a.csv", 4, "grade"),
    ]
    encoded, report = run(tmp_path, [AGE | {"where": "grade >= 3", "missingValues": ["", "NA", "bad"]}], text)
    assert codes(encoded, "age") == [10, None, None]
    assert report.errors == []


def test_what_another_field_calls_missing_is_missing_for_a_predicate_too(tmp_path):
    grade = {"name": "grade", "type": "integer", "constraints": {"minimum": 0, "maximum": 7}}
    fields = [AGE | {"where": "grade is missing"}, grade | {"missingValues": ["NA"]}]
    encoded, _ = run(tmp_path, fields, "id,age,grade\n1,10,3\n2,11,NA\n")
    assert codes(encoded, "age") == [None, 11]


def test_a_predicate_on_an_unknown_column_is_refused(tmp_path):
    _, report = run(tmp_path, [AGE | {"where": "nowhere == 1"}], "id,age\n1,10\n")
    assert found(report)[0] == ("where_column_missing", "a.csv", 1, "nowhere")


VISITS = (
    "id,visit,age,day\n1,2,30,2020-02-01\n1,1,20,2020-03-01\n2,1,,2020-01-01\n2,3,50,2020-01-02\n3,1,40,\n"
)


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        ({"how": "min"}, [20, 50, 40]),
        ({"how": "max"}, [30, 50, 40]),
        ({"how": "first"}, [30, 50, 40]),
        ({"how": "first", "orderBy": "visit"}, [20, 50, 40]),
        ({"how": "first", "orderBy": "day"}, [30, 50, 40]),
        ({"how": "count"}, [2, 1, 1]),
        ({"how": "only", "where": "visit == 1"}, [20, None, 40]),
        ({"how": "max", "where": "visit > 1"}, [30, 50, None]),
        ({"how": "count", "where": "visit > 1"}, [1, 1, 0]),
    ],
)
def test_many_rows_become_one_value(tmp_path, reduce, expected):
    encoded, report = run(tmp_path, [AGE | {"reduce": reduce}], VISITS)
    assert report.errors == []
    assert codes(encoded, "age") == expected


@pytest.mark.parametrize(
    ("how", "test", "expected"),
    [
        ("any", ">= 40", [0, 1, 1]),
        ("all", ">= 30", [0, 1, 1]),
        ("any", "in (20, 50)", [1, 1, 0]),
        ("any", "age >= 30 and visit == 2", [1, 0, 0]),
    ],
)
def test_any_and_all_answer_no_or_yes(tmp_path, how, test, expected):
    field = {"name": "age", "type": "string", "reduce": {"how": how, "test": test}}
    encoded, report = run(tmp_path, [field], VISITS + "4,1,,\n")
    assert report.errors == []
    assert codes(encoded, "age") == [*expected, None], "no value at all is missing, not no"


def test_a_test_reads_its_own_column_after_recodes(tmp_path):
    field = {"name": "ill", "source": "grade", "type": "string", "categories": ["yes", "no"]}
    field |= {"recodes": {"high": "yes"}, "reduce": {"how": "any", "test": '== "yes"'}}
    encoded, report = run(tmp_path, [field], "id,grade\n1,high\n2,low\n2,high\n3,low\n")
    assert report.errors == []
    assert codes(encoded, "ill") == [0, 0, 1]


def test_a_test_that_meets_no_number_is_refused(tmp_path):
    field = {"name": "ill", "source": "grade", "type": "string", "reduce": {"how": "any", "test": ">= 3"}}
    _, report = run(tmp_path, [field], "id,grade\n1,3\n1,bad\n")
    assert found(report)[0] == ("where_not_a_number", "a.csv", 3, "grade")


def test_only_fails_when_several_rows_are_left(tmp_path):
    _, report = run(tmp_path, [AGE | {"reduce": {"how": "only"}}], VISITS)
    assert found(report) == [("several_rows", "a.csv", 3, "age")]
    assert "2 rows too many, of 2 patients" in report.problems[0].message


def test_many_rows_without_reduce_are_refused_for_every_field_and_the_remedy_says_how(tmp_path):
    _, report = run(tmp_path, [AGE, BMI], "id,age,bmi\n1,20,20\n2,30,30\n1,20,20\n")
    assert found(report) == [("several_rows", "a.csv", 4, "age"), ("several_rows", "a.csv", 4, "bmi")]
    for how in ("only", "first", "orderBy", "min", "max", "any", "all", "count"):
        assert f'"{how}"' in report.problems[0].remedy


@pytest.mark.parametrize(("column", "rule"), [("nowhere", "order_column_missing"), ("day", "order_unclear")])
def test_an_order_that_would_be_a_guess_is_refused(tmp_path, column, rule):
    text = "id,day,age\n1,3.1.2020,20\n1,12.1.2019,30\n"
    _, report = run(tmp_path, [AGE | {"reduce": {"how": "first", "orderBy": column}}], text)
    assert [p.rule for p in report.errors] == [rule]


def test_files_are_joined_on_the_key_and_a_patient_absent_from_one_is_missing_there(tmp_path):
    fields = [AGE, SEX, {**AGE, "name": "events", "file": "b.csv", "reduce": {"how": "count"}}]
    first = "id,age\n1,10\n2,20\n3,30\n"
    second = "sex,id\nf,3\nm,4\n"
    fields[1] |= {"reduce": {"how": "only"}}
    encoded, report = run(tmp_path, fields, first, second)
    assert report.errors == []
    assert encoded.patients == 4
    assert codes(encoded, "age") == [10, 20, 30, None]
    assert codes(encoded, "sex") == [None, None, 0, 1]
    assert codes(encoded, "events") == [0, 0, 1, 1]
    assert [(p.rule, p.file) for p in report.warnings] == [
        ("patients_without_rows", "a.csv"),
        ("patients_without_rows", "b.csv"),
    ]


def test_a_header_of_two_files_needs_the_file_and_the_file_settles_it(tmp_path):
    first, second = "id,age\n1,10\n", "id,age\n1,20\n"
    _, report = run(tmp_path, [AGE], first, second)
    assert ("ambiguous_column", None, None, "age") in found(report)
    encoded, report = run(tmp_path, [AGE | {"file": "b.csv"}], first, second)
    assert codes(encoded, "age") == [20]
    assert found(report) == [("unused_file", "a.csv", None, None)]


def test_a_file_that_is_named_and_not_given_is_refused(tmp_path):
    _, report = run(tmp_path, [AGE | {"file": "z.csv"}, BMI], "id,age,bmi\n1,10,20\n")
    assert found(report) == [("file_missing", None, None, "age")]


def test_a_missing_column_is_refused_with_the_nearest_header(tmp_path):
    _, report = run(tmp_path, [AGE | {"source": "AGE_YRS"}, BMI], "id,AGE_YR,bmi\n1,10,20\n")
    assert found(report) == [("column_missing", "a.csv", 1, "AGE_YRS")]
    assert "AGE_YR" in report.problems[0].remedy


def test_a_file_without_the_key_and_rows_without_a_key_are_refused(tmp_path):
    _, report = run(tmp_path, [AGE], "patient,age\n1,10\n")
    assert found(report) == [("key_column_missing", "a.csv", 1, "id")]
    _, report = run(tmp_path, [AGE], "id,age\n1,10\n,20\n  ,30\n")
    assert found(report) == [("key_missing", "a.csv", 3, "id"), ("key_missing", "a.csv", 4, "id")]


def test_keys_are_compared_without_surrounding_space(tmp_path):
    encoded, report = run(tmp_path, [AGE, SEX], "id,age\n1,10\n", "id,sex\n 1 ,f\n")
    assert encoded.patients == 1
    assert report.problems == []


@pytest.mark.parametrize(("patients", "rules"), [(64, []), (65, ["capacity_exceeded"])])
def test_the_capacity_holds_as_many_patients_as_it_says(tmp_path, patients, rules):
    text = "id,age\n" + "".join(f"{n},1\n" for n in range(patients))
    _, report = run(tmp_path, [AGE], text)
    assert [p.rule for p in report.errors] == rules


def test_a_thousand_wrong_cells_are_a_few_places_and_a_count(tmp_path):
    text = "id,age\n" + "".join(f"{n},secret{n}\n" for n in range(1000))
    _, report = run(tmp_path, [AGE], text, capacity=1000)
    assert len(report.problems) == PLACES_SHOWN + 1
    assert f"{1000 - PLACES_SHOWN} further lines" in report.problems[-1].message
    assert not any("secret" in str(problem) for problem in report.problems)


def test_suspicious_columns_are_warned_of_and_good_ones_are_not(tmp_path):
    ages = [*range(20, 60), 99, 99]
    text = "id,age,bmi\n" + "".join(f"{n},{age},NA\n" for n, age in enumerate(ages))
    _, report = run(tmp_path, [AGE, BMI], text)
    assert [(p.rule, p.column) for p in report.problems] == [("sentinel", "age"), ("all_missing", "bmi")]
    _, report = run(tmp_path, [AGE], "id,age\n" + "".join(f"{n},{n}\n" for n in range(40)))
    assert report.problems == []


def test_a_time_without_its_event_is_warned_of(tmp_path):
    time = AGE | {"name": "t", "role": "time", "event": "e"}
    event = {"name": "e", "type": "string", "categories": ["0", "1"], "role": "event", "occurred": "1"}
    fields = [time, event | {"missingValues": [""]}]
    _, report = run(tmp_path, fields, "id,t,e\n1,5,1\n2,6,\n3,,\n")
    assert [p.rule for p in report.problems] == ["event_missing"]
    assert "1 of 3 patients" in report.problems[0].message


def test_two_files_of_one_name_are_refused(tmp_path):
    schema = parse_codebook({"primaryKey": "id", "fields": [AGE], "policy": POLICY})
    report = Report()
    (tmp_path / "a.csv").write_text("id,age\n1,2\n")
    table = read_table(tmp_path / "a.csv", report)
    encode(schema, [table, table], report)
    assert "same_file_name" in [p.rule for p in report.errors]


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from([BMI, AGE, SEX, AGE | {"where": "other < 3"}, AGE | {"reduce": {"how": "min"}}]),
    before=st.text("0123456789.,-/eE xyz", max_size=6),
)
def test_no_report_ever_shows_a_cell(tmp_path_factory, kind, before):
    cell = f"{before}canary"
    text = f'id,{kind["name"]},other\n1,"{cell}","{cell}"\n2,"{cell}2",1\n'
    _, report = run(tmp_path_factory.mktemp("canary"), [kind], text)
    assert report.errors
    assert not any("canary" in str(problem.public()) for problem in report.problems)


# -- against a loop over rows in plain Python ----------------------------------------------------------------

NUMBERS = st.one_of(
    st.sampled_from(["", "NA", "10", "60", "59.96", "9.951", "60.04", "1e1", "+33.25", "0042.0500"]),
    st.decimals("9.96", "60.04", places=3).map(str),
)
ROWS = st.lists(st.tuples(st.sampled_from("pqrst"), NUMBERS, st.integers(0, 3)), min_size=1, max_size=25)
HOWS = st.sampled_from(["min", "max", "first", "count", "any", "all"])


def oracle(rows: list[tuple[str, str, int]], how: str, low: int) -> dict[str, int | None]:
    """The same codes, slowly: fractions, one row after the other."""
    values: dict[str, list[Fraction]] = {key: [] for key, _, _ in rows}
    for key, text, visit in rows:
        if visit >= low and text not in ("", "NA"):
            values[key].append(Fraction(Decimal(text)))
    answer: dict[str, int | None] = {}
    for key, present in values.items():
        if how == "count":
            answer[key] = len(present)
        elif not present:
            answer[key] = None
        elif how in ("any", "all"):
            tests = [value >= 30 for value in present]
            answer[key] = int(any(tests) if how == "any" else all(tests))
        else:
            chosen = {"min": min, "max": max, "first": lambda values: values[0]}[how](present)
            answer[key] = floor((chosen - 10) / Fraction(1, 10) + Fraction(1, 2))
    return answer


@settings(deadline=None, max_examples=120)
@given(rows=ROWS, how=HOWS, low=st.integers(0, 2))
def test_reductions_agree_with_a_loop_over_rows(tmp_path_factory, rows, how, low):
    reduce: dict[str, Any] = {"how": how, "where": f"visit >= {low}"}
    field = BMI | {"reduce": reduce}
    if how in ("any", "all"):
        reduce["test"] = ">= 30"
        field = {"name": "bmi", "type": "string", "missingValues": ["", "NA"], "reduce": reduce}
    elif how == "count":
        field |= {"type": "integer", "constraints": {"minimum": 0, "maximum": 31}, "resolution": 1}
    text = "id,bmi,visit\n" + "".join(f"{key},{value},{visit}\n" for key, value, visit in rows)
    encoded, report = run(tmp_path_factory.mktemp("rows"), [field], text)
    assert report.errors == []
    expected = oracle(rows, how, low)
    order = list(dict.fromkeys(key for key, _, _ in rows))
    assert dict(zip(order, codes(encoded, "bmi"), strict=True)) == expected


@settings(deadline=None, max_examples=60)
@given(values=st.lists(NUMBERS, min_size=1, max_size=70), capacity=st.sampled_from([70, 100, 128, 200]))
def test_planes_hold_the_codes_and_nothing_else(tmp_path_factory, values, capacity):
    schema = parse_codebook({"primaryKey": "id", "fields": [BMI], "policy": POLICY, "capacity": capacity})
    text = "id,bmi\n" + "".join(f"{n},{value}\n" for n, value in enumerate(values))
    encoded, _ = run(tmp_path_factory.mktemp("planes"), [BMI], text, capacity=capacity)
    planes = to_planes(encoded, schema.plane_names, capacity)
    assert planes.shape == (11, -(-capacity // 64))
    bits = [[int(planes[p, r // 64]) >> (r % 64) & 1 for r in range(64 * planes.shape[1])] for p in range(11)]
    for row in range(64 * planes.shape[1]):
        code = codes(encoded, "bmi")[row] if row < len(values) else None
        assert bits[0][row] == (row < len(values))
        assert bits[10][row] == (code is not None)
        assert sum(bits[1 + bit][row] << bit for bit in range(9)) == (code or 0)


def test_planes_refuse_more_patients_than_fit(tmp_path):
    encoded, _ = run(tmp_path, [AGE], "id,age\n1,1\n2,2\n")
    assert np.count_nonzero(to_planes(encoded, [("", "valid")], 2)) == 1
    with pytest.raises(ValueError, match="capacity"):
        to_planes(encoded, [("", "valid")], 1)


def test_doubled_patients_and_unreadable_values_hide_no_other_problem(tmp_path):
    _, report = run(tmp_path, [AGE], "id,age\n1,20\n1,bad\n2,500\n3,worse\n")
    assert found(report) == [
        ("several_rows", "a.csv", 3, "age"),
        ("not_a_number", "a.csv", 3, "age"),
        ("not_a_number", "a.csv", 5, "age"),
        ("out_of_range", "a.csv", 4, "age"),
    ]
    _, report = run(tmp_path, [AGE], "id,age\n1,bad\n2,500\n")
    assert found(report) == [("not_a_number", "a.csv", 2, "age"), ("out_of_range", "a.csv", 3, "age")]
