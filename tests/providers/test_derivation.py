"""Derived fields and cuts: exact until the last step, missing where something is missing, every rule refused once."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.query.errors import CodebookRejected
from analytics.query.schema import parse_codebook
from tests.providers.test_codebook import POLICY, codes, found, run

NUMBER = {"type": "number", "constraints": {"minimum": 0, "maximum": 1000}, "resolution": 1}
A, B = NUMBER | {"name": "a"}, NUMBER | {"name": "b"}
FLAG = {"type": "string", "categories": ["yes", "no"]}


def derived(how: str, *names: Any, **more: Any) -> dict[str, Any]:
    bounds = {"minimum": -1000, "maximum": 1000}
    return {"name": "d", "type": "number", "constraints": bounds, "resolution": "0.1"} | {
        "derive": {how: list(names)}, **more
    }  # fmt: skip


def values(encoded, name: str = "d", minimum: int = -1000) -> list[float | None]:
    return [None if code is None else (10 * minimum + code) / 10 for code in codes(encoded, name)]


TEXT = "id,a,b\n1,10.4,4\n2,7,\n3,,7\n4,9,0\n5,0,0\n"


def test_difference_ratio_and_scale_use_exact_values_and_are_missing_where_something_is(tmp_path):
    encoded, report = run(tmp_path, [A, B, derived("difference", "a", "b")], TEXT)
    assert report.problems == []
    assert values(encoded) == [6.4, None, None, 9, 0]
    encoded, report = run(tmp_path, [A, derived("scale", "a", "2.5", "-1")], TEXT)
    assert report.problems == []
    assert values(encoded) == [25, 16.5, None, 21.5, -1]
    encoded, report = run(tmp_path, [A, B, derived("ratio", "a", "b")], TEXT)
    assert values(encoded) == [2.6, None, None, None, None]
    assert [(p.rule, p.severity) for p in report.problems] == [("ratio_by_zero", "warning")]
    assert "2 patients" in report.problems[0].message


@given(st.decimals(0, 999, places=3), st.decimals(1, 999, places=3))
def test_a_ratio_is_rounded_once_and_from_the_exact_quotient(tmp_path_factory, x, y):
    field = derived("ratio", "a", "b", outOfRange="clamp")
    encoded, _ = run(tmp_path_factory.mktemp("d"), [A, B, field], f"id,a,b\n1,{x},{y}\n")
    exact = floor((Fraction(x) / Fraction(y) + 1000) * 10 + Fraction(1, 2))
    assert codes(encoded, "d") == [min(exact, 20_000)]


def test_a_field_derived_from_a_derived_field_is_still_exact(tmp_path):
    ratio = derived("ratio", "a", "b") | {"name": "r"}
    again = derived("scale", "r", 3)
    encoded, report = run(tmp_path, [A, B, ratio, again], "id,a,b\n1,1,3\n2,2,3\n")
    assert report.problems == []
    assert values(encoded) == [1, 2]


def test_dates_give_days_between_them(tmp_path):
    day = {"type": "integer", "unit": "days since 2020-01-01", "constraints": {"minimum": 0, "maximum": 1023}}
    gap = derived("difference", "end", "start") | {"type": "integer", "resolution": 1, "unit": "days"}
    fields = [day | {"name": "start"}, day | {"name": "end"}, gap]
    encoded, report = run(tmp_path, fields, "id,start,end\n1,2020-02-01,2020-03-01\n2,2020-02-01,\n")
    assert report.errors == []
    assert codes(encoded, "d") == [1029, None]


def test_any_is_yes_where_one_says_yes_and_missing_where_one_is_not_known(tmp_path):
    one = FLAG | {"name": "x"}
    two = {"name": "y", "type": "string", "categories": ["0", "1"], "occurred": "1"}
    made = {"name": "d", "type": "string", "derive": {"any": ["x", "y"]}}
    text = "id,x,y\n1,yes,0\n2,no,1\n3,no,0\n4,,1\n5,no,\n6,,\n"
    encoded, report = run(tmp_path, [one, two, made], text)
    assert report.errors == []
    assert codes(encoded, "d") == [1, 1, 0, 1, None, None]


@pytest.mark.parametrize(
    ("rule", "expected", "problems"),
    [("missing", [4, None], ["out_of_range_missing"]), ("clamp", [4, 1000], ["clamped"]), ("error", None, ["out_of_range"])],
)  # fmt: skip
def test_an_operand_counts_as_its_own_range_leaves_it(tmp_path, rule, expected, problems):
    field = derived("scale", "a", 1, resolution=1)
    encoded, report = run(tmp_path, [A | {"outOfRange": rule}, field], "id,a\n1,4\n2,9999\n")
    assert [p.rule for p in report.problems] == problems
    if expected is None:
        assert "d" not in encoded.columns
    else:
        assert codes(encoded, "d") == [None if x is None else x + 1000 for x in expected]


def test_a_derived_value_outside_its_range_is_an_error_or_as_declared(tmp_path):
    narrow = derived("scale", "a", 1) | {"constraints": {"minimum": 0, "maximum": 5}}
    _, report = run(tmp_path, [A, narrow], TEXT)
    assert [(p.rule, p.severity) for p in report.problems] == [("out_of_range", "error")]
    assert "3 values" in report.problems[0].message
    encoded, report = run(tmp_path, [A, narrow | {"outOfRange": "clamp"}], TEXT)
    assert codes(encoded, "d") == [50, 50, None, 50, 0]


def test_a_counted_and_a_reduced_value_can_be_derived_from(tmp_path):
    count = {"name": "n", "type": "integer", "source": "a", "reduce": {"how": "count"}}
    most = A | {"reduce": {"how": "max"}}
    fields = [count | {"constraints": {"minimum": 0, "maximum": 15}}, most, derived("ratio", "a", "n")]
    encoded, report = run(tmp_path, fields, "id,a\n1,3\n1,4\n2,5\n")
    assert report.problems == []
    assert values(encoded) == [2, 5]


AGE_GROUP = {"name": "g", "type": "string", "source": "age", "cut": [20, "25.5", 30]}


def test_a_cut_makes_levels_of_its_edges_lower_edge_included(tmp_path):
    schema = parse_codebook({"primaryKey": "id", "fields": [AGE_GROUP], "policy": POLICY})
    assert [level.label for level in schema.fields[0].levels] == ["[20, 25.5)", "[25.5, 30)"]
    encoded, report = run(tmp_path, [AGE_GROUP], "id,age\n1,20\n2,25.499\n3,25.5\n4,29.99\n5,\n")
    assert report.problems == []
    assert codes(encoded, "g") == [0, 0, 1, 1, None]


@pytest.mark.parametrize("text", ["19.99", "30", "-5"])
def test_what_lies_in_no_interval_is_an_error_with_its_line_or_missing(tmp_path, text):
    _, report = run(tmp_path, [AGE_GROUP], f"id,age\n1,20\n2,{text}\n")
    assert found(report) == [("out_of_range", "a.csv", 3, "age")]
    encoded, report = run(tmp_path, [AGE_GROUP | {"outOfRange": "missing"}], f"id,age\n1,20\n2,{text}\n")
    assert codes(encoded, "g") == [0, None]
    assert report.errors == []


def test_open_ends_and_names_of_ones_own(tmp_path):
    open_ends = AGE_GROUP | {"cut": [None, 65, None]}
    schema = parse_codebook({"primaryKey": "id", "fields": [open_ends], "policy": POLICY})
    assert [level.value for level in schema.fields[0].levels] == ["< 65", ">= 65"]
    named = open_ends | {"categories": ["younger", {"value": "o", "label": "older"}]}
    encoded, report = run(tmp_path, [named], "id,age\n1,-3\n2,64.999\n3,65\n4,1e9\n")
    assert report.problems == []
    assert codes(encoded, "g") == [0, 0, 1, 1]


def test_a_cut_comes_after_reduce_and_after_derive(tmp_path):
    worst = AGE_GROUP | {"source": "grade", "cut": [0, 3, 6], "reduce": {"how": "max"}}
    encoded, report = run(tmp_path, [worst], "id,grade\n1,2\n1,3\n2,1\n")
    assert report.problems == []
    assert codes(encoded, "g") == [1, 0]
    rows = AGE_GROUP | {"source": "grade", "cut": [0, 1, None], "categories": ["no", "yes"]}
    rows["reduce"] = {"how": "count", "where": "grade >= 3"}
    encoded, report = run(tmp_path, [rows], "id,grade\n1,2\n1,3\n2,1\n")
    assert report.problems == []
    assert codes(encoded, "g") == [1, 0]
    ratio = {"name": "g", "type": "string", "derive": {"ratio": ["a", "b"]}, "cut": [0, "0.5", 2]}
    encoded, report = run(tmp_path, [A, B, ratio], "id,a,b\n1,1,2\n2,1,3\n3,2,\n")
    assert report.problems == []
    assert codes(encoded, "g") == [1, 0, None]


@given(
    st.lists(st.decimals(-50, 50, places=2), min_size=2, max_size=6, unique=True),
    st.decimals(-60, 60, places=3),
)
def test_an_interval_is_the_one_whose_edges_enclose_the_value(edges, value):
    edges.sort()
    field = parse_codebook(
        {"primaryKey": "id", "fields": [AGE_GROUP | {"cut": [str(e) for e in edges]}], "policy": POLICY}
    ).fields[0]
    inside = [k for k, (low, high) in enumerate(pairwise(edges)) if low <= value < high]
    found = field.interval(Decimal(value))
    assert [found] == inside if inside else found in (-1, len(field.levels))


WRONG = [
    ([A, derived("difference", "a")], "d.derive.difference", "bad_derive"),
    ([A, derived("ratio", "a", "a", "a")], "d.derive.ratio", "bad_derive"),
    ([A, derived("scale", "a")], "d.derive.scale", "bad_derive"),
    ([A, derived("scale", "a", 0)], "d.derive.scale", "bad_derive"),
    ([A, derived("scale", "a", "b")], "d.derive.scale", "bad_derive"),
    ([A, derived("ratio", "a", 3)], "d.derive.ratio", "bad_derive"),
    ([A, B, derived("sum", "a", "b")], "d.derive.sum", "unknown_key"),
    ([A, derived("scale", "a", 2, derive={})], "d.derive", "bad_derive"),
    ([A, derived("scale", "a", 2, derive="a - b")], "d.derive", "not_an_object"),
    ([A, derived("scale", "a", 2, derive={"scale": ["a", 2], "ratio": ["a", "a"]})], "d.derive", "bad_derive"),
    ([A, derived("any", "a")], "d.derive.any", "bad_derive"),
    ([A, FLAG | {"name": "d", "derive": {"scale": ["a", 2]}}], "d.derive.scale", "bad_derive"),
    ([A, derived("difference", "a", "c")], "d.derive.difference", "unknown_field"),
    ([A, derived("difference", "a", "d")], "d.derive.difference", "unknown_field"),
    ([derived("scale", "a", 2), A], "d.derive.scale", "unknown_field"),
    ([A | {"unit": "kg"}, B, derived("difference", "a", "b")], "d.derive.difference", "units_differ"),
    ([FLAG | {"name": "a"}, derived("scale", "a", 2)], "d.derive.scale", "not_a_number"),
    ([A, {"name": "d", "type": "string", "derive": {"any": ["a"]}}], "d.derive.any", "not_a_flag"),
    ([FLAG | {"name": "a", "categories": ["0", "1"]}, {"name": "d", "type": "string", "derive": {"any": ["a"]}}],
     "d.derive.any", "not_a_flag"),
    *(([A, derived("scale", "a", 2, **{key: value})], f"d.{key}", "unknown_key") for key, value in (
        ("source", "x"), ("file", "x.csv"), ("where", "x == 1"), ("recodes", {"1": 2}), ("missingValues", ["9"]),
        ("reduce", {"how": "max"}), ("decimalChar", ","))),
    *(([AGE_GROUP | {"cut": cut}], "g.cut", "bad_cut") for cut in (
        [1], [2, 1], [1, 1], [None, None], [1, None, 2], ["a", "b"], [None], [True, 2])),
    ([AGE_GROUP | {"cut": []}], "g.cut", "not_a_list"),
    ([AGE_GROUP | {"type": "number", "constraints": {"minimum": 0, "maximum": 9}}], "g.cut", "bad_cut"),
    ([AGE_GROUP | {"categories": ["a"]}], "g.categories", "cut_levels"),
    ([AGE_GROUP | {"outOfRange": "clamp"}], "g.outOfRange", "unknown_choice"),
    ([AGE_GROUP | {"recodes": {"x": "many"}}], "g.recodes.x", "bad_recode"),
    ([AGE_GROUP | {"reduce": {"how": "any", "test": "> 3"}}], "g.cut", "bad_cut"),
    ([FLAG | {"name": "a"}, {"name": "g", "type": "string", "derive": {"any": ["a"]}, "cut": [1, 2]}],
     "g.derive.any", "bad_derive"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "where", "rule"), WRONG)
def test_each_rule_of_derive_and_cut_refuses_with_its_place(fields, where, rule):
    with pytest.raises(CodebookRejected) as caught:
        parse_codebook({"primaryKey": "id", "fields": fields, "policy": POLICY})
    assert (f"fields.{where}", rule) in [(p["where"], p["rule"]) for p in caught.value.problems]
    assert all(p["remedy"] for p in caught.value.problems)
