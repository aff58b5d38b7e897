"""Codebooks: what is right is read exactly, and everything that is wrong is reported at once."""

import json
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analytics.query.language import parse_predicate
from analytics.query.model import digest
from analytics.query.schema import CodebookRejected, canonical_codebook, layout, load_codebook, parse_codebook
from tests.analytics.query.studies import CODEBOOK, a_codebook, with_field


def problems(codebook):
    with pytest.raises(CodebookRejected) as caught:
        parse_codebook(codebook)
    assert all(
        set(p) == {"where", "rule", "message", "remedy"} and all(p.values()) for p in caught.value.problems
    )
    return {(p["where"], p["rule"]) for p in caught.value.problems}


def field_of(codebook, name="bmi"):
    return parse_codebook(codebook).field(name)


def test_a_codebook_is_read_with_names_units_bounds_and_levels():
    schema = parse_codebook(CODEBOOK)
    bmi, region, flag = schema.field("bmi"), schema.field("region"), schema.field("death_flag")
    assert (bmi.kind, bmi.type, bmi.unit, bmi.title) == ("number", "number", "kg/m2", "Body mass index")
    assert (bmi.minimum, bmi.maximum, bmi.resolution) == (10, 60, Decimal("0.01"))
    assert (bmi.codes, bmi.bits) == (5001, 13)
    assert (region.kind, region.type, region.bits) == ("category", "category", 3)
    assert [(level.value, level.label) for level in region.levels][-1] == ("5", "Canada")
    assert [(level.value, level.label) for level in flag.levels] == [("0", "alive"), ("1", "dead")]
    assert (schema.primary_key, schema.capacity, schema.title) == ("patient", 1024, "A study")
    assert bmi.source == "bmi" and bmi.missing_values == ("",) and bmi.out_of_range == "error"


def test_the_policy_is_normalised_to_millionths():
    assert parse_codebook(CODEBOOK).policy == {
        "micro_epsilon": 10_000_000,
        "micro_epsilon_per_query": 1_000_000,
        "minimum_cohort": 11,
        "modes": ["dp", "exact"],
        "statistics": ["*"],
        "expires": "2030-01-01",
    }


def test_a_policy_has_defaults_that_protect():
    policy = parse_codebook(a_codebook(policy={"epsilon": "4", "expires": "2030-01-01"})).policy
    assert (policy["micro_epsilon_per_query"], policy["minimum_cohort"]) == (1_000_000, 11)
    assert (policy["modes"], policy["statistics"]) == (["dp"], ["*"])
    exact = parse_codebook(a_codebook(policy={"modes": ["exact"], "expires": "2030-01-01"})).policy
    assert exact["micro_epsilon"] == exact["micro_epsilon_per_query"] == 0


def test_statistics_of_a_policy_may_be_aliases():
    policy = {**CODEBOOK["policy"], "statistics": ["std", "average", "count"]}
    assert parse_codebook(a_codebook(policy=policy)).policy["statistics"] == ["count", "mean", "sd"]


def test_planes_are_valid_then_bits_and_presence_of_each_field():
    codebook = a_codebook(fields=[f for f in CODEBOOK["fields"] if f["name"] in ("region", "smoker")])
    schema = parse_codebook(codebook)
    assert schema.plane_names == schema.planes == [
        ("", "valid"),
        ("region", 0),
        ("region", 1),
        ("region", 2),
        ("region", "present"),
        ("smoker", 0),
        ("smoker", "present"),
    ]  # fmt: skip
    assert schema.layout_hash == digest(
        {
            "type": "fourfold/1/layout",
            "planes": [list(name) for name in schema.plane_names],
            "capacity": 1024,
        }
    )
    assert layout(schema)["capacity"] == 1024


def test_a_listed_primary_key_is_never_shared_and_may_name_its_raw_column():
    key = {"name": "patient", "type": "integer", "source": "MASK_ID", "constraints": {"required": True}}
    schema = parse_codebook(a_codebook(fields=[key, *CODEBOOK["fields"]]))
    assert schema.primary_key == "MASK_ID"
    assert [f.name for f in schema.fields] == [f["name"] for f in CODEBOOK["fields"]]
    assert parse_codebook(a_codebook(primaryKey="patient")).primary_key == "patient"


@given(
    minimum=st.decimals(-100, 100, places=2),
    steps=st.integers(1, 5000),
    resolution=st.sampled_from(["0.01", "0.25", "1", "3", "0.0007"]),
    part=st.fractions(0, 1),
)
def test_a_code_is_the_nearest_lattice_point_with_halves_up(minimum, steps, resolution, part):
    step = Decimal(resolution)
    maximum = minimum + steps * step
    field = field_of(
        with_field(
            "bmi", constraints={"minimum": str(minimum), "maximum": str(maximum)}, resolution=resolution
        )
    )
    assert field.codes == steps + 1
    assert 2 ** (field.bits - 1) < field.codes <= 2**field.bits or field.codes <= 2 == 2**field.bits
    value = minimum + (maximum - minimum) * Decimal(part.numerator) / Decimal(part.denominator)
    code = field.code(value)
    distance = Fraction(value) - Fraction(field.value(code))
    assert -Fraction(step) / 2 <= distance < Fraction(step) / 2
    assert field.code(field.value(code)) == code


def test_half_a_step_rounds_up_exactly_where_floats_would_not():
    field = field_of(CODEBOOK)
    assert [field.code(Decimal(x)) for x in ("10.005", "10.0049999999", "10.015", "27.405")] == [
        1,
        0,
        2,
        1741,
    ]
    assert [str(field.value(code)) for code in (0, 1, 5000)] == ["10", "10.01", "60"]


@pytest.mark.parametrize(("codes", "bits"), [(2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)])
def test_bits_are_the_fewest_that_hold_the_codes(codes, bits):
    assert (
        field_of(with_field("bmi", constraints={"minimum": 0, "maximum": codes - 1}, resolution=1)).bits
        == bits
    )


def test_a_category_of_one_level_still_has_a_bit():
    assert field_of(with_field("smoker", categories=["yes"]), "smoker").bits == 1


def test_a_grid_is_read_with_or_without_the_bounds_and_covers_every_code():
    for listed in ([18.5, 25, 30], [10, 18.5, 25, 30, 60], ["18.50", "25", 30]):
        field = field_of(with_field("bmi", grid=listed))
        assert field.grid == (Decimal("18.5"), 25, 30)
        assert field.edges() == (0, 850, 1500, 2000, 2**13)


def test_without_a_grid_there_are_twelve_equal_cells_or_one_a_code():
    assert field_of(with_field("bmi", constraints={"minimum": 0, "maximum": 120}, resolution=1)).edges() == (
        0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 128,
    )  # fmt: skip
    assert field_of(with_field("bmi", constraints={"minimum": 1, "maximum": 3}, resolution=1)).edges() == (
        0,
        1,
        2,
        4,
    )


@given(st.integers(1, 5000), st.sets(st.integers(1, 5000), max_size=20))
@example(7, set())
def test_edges_ascend_from_the_first_code_to_beyond_the_last(last, inner):
    grid = sorted({code for code in inner if code < last})
    field = field_of(
        with_field("bmi", constraints={"minimum": 0, "maximum": last}, resolution=1, grid=grid or None)
    )
    edges = field.edges()
    assert edges[0] == 0 and edges[-1] == 2**field.bits >= field.codes
    assert all(low < high for low, high in pairwise(edges))
    assert list(edges[1:-1]) == grid or not grid and len(edges) - 1 == min(12, field.codes)


def test_a_fault_in_a_grid_says_what_to_write():
    with pytest.raises(CodebookRejected) as caught:
        parse_codebook(with_field("bmi", grid=["18.507", 25]))
    (problem,) = caught.value.problems
    assert "its step is 0.01" in problem["message"]
    assert problem["remedy"] == "write 18.51"


def test_resolution_defaults_to_one_or_to_a_thousandth_of_the_range():
    assert field_of(CODEBOOK, "time_since_diagnosis").resolution == 1
    assert field_of(with_field("bmi", resolution=None)).resolution == Decimal("0.01")
    assert (
        field_of(with_field("bmi", resolution=None, constraints={"minimum": 0, "maximum": 1})).codes == 1001
    )


def test_numbers_hash_the_same_however_json_was_read():
    text = json.dumps(with_field("bmi", resolution=0.01, constraints={"minimum": 10.5, "maximum": 60}))
    as_floats, as_decimals = json.loads(text), json.loads(text, parse_float=Decimal)
    as_texts = canonical_codebook(as_floats)
    hashes = {parse_codebook(obj).hash for obj in (as_floats, as_decimals, as_texts, load_codebook(text))}
    assert hashes == {digest(as_texts)}
    assert parse_codebook(CODEBOOK).hash not in hashes


@pytest.mark.parametrize("number", [1e-7, 0.1, 1e15 + 0.5, Decimal("0.10"), Decimal("1E+3"), Decimal("-0.0")])
def test_canonical_numbers_are_plain_decimal_text(number):
    (text,) = canonical_codebook({"x": [number]})["x"]
    assert Decimal(text) == Decimal(repr(number) if isinstance(number, float) else number)
    assert "e" not in text.lower() and not text.endswith(".0")


@pytest.mark.parametrize(
    "obj",
    [
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": 1e300},
        {"x": Decimal("1e1000000")},
        json.loads("[" * 25 + "]" * 25),
    ],
)
def test_numbers_without_plain_text_and_bottomless_nesting_are_refused(obj):
    with pytest.raises(CodebookRejected):
        parse_codebook(obj if isinstance(obj, dict) else {"facts": obj})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "\ufeff",
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": Infinity}',
        "[" * 100_000,
        b"\xff\xfe{}",
        '"x"',
    ],
)
def test_text_that_is_no_json_object_is_refused(text):
    with pytest.raises(CodebookRejected):
        load_codebook(text)


def test_a_codebook_file_may_begin_with_a_byte_order_mark():
    assert load_codebook("\ufeff{}") == load_codebook(b"\xef\xbb\xbf{}") == {}


WRONG = [
    (a_codebook(primaryKey=None), "primaryKey", "required"),
    (a_codebook(primaryKey=[]), "primaryKey", "bad_key"),
    (a_codebook(primaryKey=["a", "b"]), "primaryKey", "bad_key"),
    (a_codebook(primaryKey=""), "primaryKey", "bad_key"),
    (a_codebook(primaryKey="a\nb"), "primaryKey", "bad_text"),
    (a_codebook(fields=None), "fields", "required"),
    (a_codebook(fields=[]), "fields", "not_a_list"),
    (a_codebook(fields={}), "fields", "not_a_list"),
    (a_codebook(fields=[{"name": "patient", "type": "string"}]), "fields", "required"),
    (a_codebook(fields=[3]), "fields[0]", "not_an_object"),
    (a_codebook(fields=[{}]), "fields[0]", "required"),
    (a_codebook(fields=[{"type": "number"}]), "fields[0].name", "required"),
    (a_codebook(fields=[{"name": 3, "type": "number"}]), "fields[0].name", "not_text"),
    (a_codebook(fields=[{"name": "x"}]), "fields.x.type", "required"),
    (a_codebook(fields=[{"name": "--", "type": "category", "categories": ["a"]}]), "fields.--.name", "bad_text"),
    (a_codebook(policy=None), "policy", "required"),
    (a_codebook(policy=[]), "policy", "not_an_object"),
    (a_codebook(capacity=0), "capacity", "not_whole"),
    (a_codebook(capacity=2**24 + 1), "capacity", "not_whole"),
    (a_codebook(capacity="4096"), "capacity", "not_whole"),
    (a_codebook(capacity=True), "capacity", "not_whole"),
    (a_codebook(facts=[]), "facts", "not_an_object"),
    (a_codebook(missingValues=[""]), "missingValues", "unknown_key"),
    (a_codebook(rows=3), "rows", "unknown_key"),
    (with_field("bmi", type="date"), "fields.bmi.type", "unknown_type"),
    (with_field("bmi", type=["number"]), "fields.bmi.type", "not_text"),
    (with_field("bmi", name=" bmi"), "fields. bmi.name", "bad_text"),
    (with_field("bmi", constraints=None), "fields.bmi.constraints.minimum", "required"),
    (with_field("bmi", constraints={"minimum": 0}), "fields.bmi.constraints.maximum", "required"),
    (with_field("bmi", constraints={"minimum": "a", "maximum": 1}), "fields.bmi.constraints.minimum", "not_a_number"),
    (with_field("bmi", constraints={"minimum": True, "maximum": 2}), "fields.bmi.constraints.minimum", "not_a_number"),
    (with_field("bmi", constraints={"minimum": 5, "maximum": 5}), "fields.bmi.constraints", "empty_range"),
    (with_field("bmi", constraints={"minimum": 0, "maximum": 1, "pattern": "x"}), "fields.bmi.constraints.pattern", "unknown_key"),
    (with_field("bmi", resolution=-1), "fields.bmi.resolution", "bad_resolution"),
    (with_field("bmi", resolution=0), "fields.bmi.resolution", "bad_resolution"),
    (with_field("bmi", resolution=51), "fields.bmi.resolution", "bad_resolution"),
    (with_field("bmi", resolution="0.00000001"), "fields.bmi.resolution", "too_fine"),
    (with_field("bmi", resolution="x"), "fields.bmi.resolution", "not_a_number"),
    (with_field("bmi", resolutoin=1), "fields.bmi.resolutoin", "unknown_key"),
    (with_field("bmi", categories=["a"]), "fields.bmi.categories", "unknown_key"),
    (with_field("bmi", occurred="a"), "fields.bmi.occurred", "unknown_key"),
    (with_field("bmi", derive={"how": "ratio"}), "fields.bmi.derive.how", "unknown_key"),
    (with_field("bmi", cut=[18.5, 25]), "fields.bmi.cut", "bad_cut"),
    (with_field("bmi", grid=[]), "fields.bmi.grid", "not_a_list"),
    (with_field("bmi", grid=25), "fields.bmi.grid", "not_a_list"),
    (with_field("bmi", grid=["a", 25]), "fields.bmi.grid", "bad_grid"),
    (with_field("bmi", grid=[25, 18.5]), "fields.bmi.grid", "bad_grid"),
    (with_field("bmi", grid=[25, 25]), "fields.bmi.grid", "bad_grid"),
    (with_field("bmi", grid=[9, 25]), "fields.bmi.grid", "bad_grid"),
    (with_field("bmi", grid=[25, 61]), "fields.bmi.grid", "bad_grid"),
    (with_field("bmi", grid=[10, 60]), "fields.bmi.grid", "bad_grid"),
    (with_field("bmi", grid=["18.505", 25]), "fields.bmi.grid", "bad_grid"),
    (with_field("region", grid=[1, 2]), "fields.region.grid", "unknown_key"),
    (with_field("bmi", sheet="a"), "fields.bmi.sheet", "sheet_without_file"),
    (with_field("bmi", decimalChar=";"), "fields.bmi.decimalChar", "unknown_choice"),
    (with_field("bmi", unit="days since 2020-02-31"), "fields.bmi.unit", "not_a_date"),
    (with_field("region", decimalChar=","), "fields.region.decimalChar", "unknown_key"),
    (with_field("bmi", local=["constraints"]), "fields.bmi.local", "not_confirmed"),
    (with_field("region", local=["categories"]), "fields.region.local", "not_confirmed"),
    (with_field("region", local=[]), "fields.region.local", "not_confirmed"),
    (a_codebook(local=["capacity"]), "local", "not_confirmed"),
    (with_field("bmi", outOfRange="drop"), "fields.bmi.outOfRange", "unknown_choice"),
    (with_field("region", outOfRange="clamp"), "fields.region.outOfRange", "unknown_choice"),
    (with_field("bmi", role="event"), "fields.bmi.role", "unknown_choice"),
    (with_field("bmi", event="nothing"), "fields.bmi.event", "unknown_event"),
    (with_field("bmi", event="time_till_death"), "fields.bmi.event", "unknown_event"),
    (with_field("bmi", missingValues="NA"), "fields.bmi.missingValues", "not_a_list"),
    (with_field("bmi", missingValues=[9]), "fields.bmi.missingValues", "not_a_list"),
    (with_field("bmi", recodes={"x": "many"}), "fields.bmi.recodes.x", "bad_recode"),
    (with_field("bmi", recodes=["x"]), "fields.bmi.recodes", "not_an_object"),
    (with_field("bmi", where="a >"), "fields.bmi.where", "bad_condition"),
    (with_field("bmi", where={"a": 1}), "fields.bmi.where", "bad_condition"),
    (with_field("bmi", where="("*200), "fields.bmi.where", "bad_condition"),
    (with_field("bmi", reduce="max"), "fields.bmi.reduce", "not_an_object"),
    (with_field("bmi", reduce={}), "fields.bmi.reduce.how", "required"),
    (with_field("bmi", reduce={"how": "mean"}), "fields.bmi.reduce.how", "unknown_choice"),
    (with_field("bmi", reduce={"how": "any", "test": "> 3"}), "fields.bmi.reduce.how", "bad_reduce"),
    (with_field("bmi", reduce={"how": "max", "test": "> 3"}), "fields.bmi.reduce.test", "bad_reduce"),
    (with_field("bmi", reduce={"how": "max", "orderBy": "day"}), "fields.bmi.reduce.orderBy", "bad_reduce"),
    (with_field("bmi", reduce={"how": "max", "limit": 3}), "fields.bmi.reduce.limit", "unknown_key"),
    (with_field("region", reduce={"how": "max"}), "fields.region.reduce.how", "bad_reduce"),
    (with_field("bmi", reduce={"how": "count", "default": 20}), "fields.bmi.reduce.default", "bad_reduce"),
    (with_field("bmi", reduce={"how": "max", "default": 1000}), "fields.bmi.reduce.default", "bad_default"),
    (with_field("bmi", reduce={"how": "max", "default": "none"}), "fields.bmi.reduce.default", "bad_default"),
    (with_field("region", reduce={"how": "first", "default": "Atlantis"}), "fields.region.reduce.default", "bad_default"),
    (with_field("smoker", reduce={"how": "any", "test": "> 3", "default": True}), "fields.smoker.reduce.default", "bad_default"),
    (with_field("smoker", reduce={"how": "any"}), "fields.smoker.reduce.test", "bad_reduce"),
    (with_field("region", reduce={"how": "any", "test": "> 3"}), "fields.region.categories", "yes_or_no"),
    (with_field("region", categories=None), "fields.region.categories", "required"),
    (with_field("region", categories=[]), "fields.region.categories", "not_a_list"),
    (with_field("region", categories={"a": 1}), "fields.region.categories", "not_a_list"),
    (with_field("region", categories=["a", "a"]), "fields.region.categories[1]", "duplicate_level"),
    (with_field("region", categories=[{"value": 1, "label": "2"}, 2]), "fields.region.categories[1]", "duplicate_level"),
    (with_field("region", categories=[{"value": None}]), "fields.region.categories[0]", "bad_level"),
    (with_field("region", categories=[1.5]), "fields.region.categories[0]", None),
    (with_field("region", categories=[{"value": "a", "labl": "b"}]), "fields.region.categories[0]", "unknown_key"),
    (with_field("region", categories=[" a"]), "fields.region.categories[0]", "bad_text"),
    (with_field("region", unit="kg"), "fields.region.unit", "unknown_key"),
    (with_field("region", recodes={"N": "North"}), "fields.region.recodes.N", "bad_recode"),
    (with_field("region", occurred="North"), "fields.region.occurred", "unknown_level"),
    (with_field("region", name="BMI"), "fields.BMI.name", "ambiguous_name"),
    (with_field("region", title="body-mass index"), "fields.region.name", "ambiguous_name"),
    (with_field("time_since_diagnosis", resolution="0.5"), "fields.time_since_diagnosis.type", "not_whole"),
]  # fmt: skip
POLICIES = [
    ({"epsilon": None}, "epsilon", "required"),
    ({"epsilon": "0"}, "epsilon", "epsilon_invalid"),
    ({"epsilon": "-1"}, "epsilon", "epsilon_invalid"),
    ({"epsilon": "0.0000001"}, "epsilon", "epsilon_invalid"),
    ({"epsilon": "2000"}, "epsilon", "epsilon_too_large"),
    ({"epsilon_per_query": "11"}, "epsilon_per_query", "exceeds_budget"),
    ({"minimum_cohort": 0}, "minimum_cohort", "not_whole"),
    ({"minimum_cohort": "11"}, "minimum_cohort", "not_whole"),
    ({"modes": []}, "modes", "not_a_list"),
    ({"modes": ["clear"]}, "modes", "unknown_choice"),
    ({"modes": "dp"}, "modes", "not_a_list"),
    ({"statistics": ["mode"]}, "statistics", "unknown_choice"),
    ({"statistics": [["count"]]}, "statistics", "unknown_choice"),
    ({"expires": None}, "expires", "required"),
    ({"expires": "next year"}, "expires", "not_a_date"),
    ({"expires": "2030-02-30"}, "expires", "not_a_date"),
    ({"delat": "1e-6"}, "delat", "unknown_key"),
]


@pytest.mark.parametrize(("codebook", "where", "rule"), WRONG)
def test_each_rule_refuses_with_its_place(codebook, where, rule):
    if rule is None:  # a decimal becomes text before it is looked at
        assert parse_codebook(codebook).field("region").levels[0].value == "1.5"
    else:
        assert (where, rule) in problems(codebook)


@pytest.mark.parametrize(("changes", "key", "rule"), POLICIES)
def test_each_rule_of_a_policy_refuses(changes, key, rule):
    policy = {**CODEBOOK["policy"], **changes}
    assert (f"policy.{key}", rule) in problems(a_codebook(policy=policy))


def test_every_problem_is_reported_at_once():
    codebook = with_field("bmi", cut=1, resolution=0, colour="red")
    codebook["fields"][0]["where"] = "a >"
    codebook["policy"]["epsilon"] = "x"
    codebook["primarykey"] = "y"
    assert problems(codebook) == {
        ("fields.bmi.cut", "not_a_list"),
        ("fields.bmi.resolution", "bad_resolution"),
        ("fields.bmi.colour", "unknown_key"),
        ("fields.time_till_death.where", "bad_condition"),
        ("policy.epsilon", "epsilon_invalid"),
        ("primarykey", "unknown_key"),
    }


def test_an_unknown_key_names_the_one_that_was_meant():
    with pytest.raises(CodebookRejected) as caught:
        parse_codebook(with_field("bmi", outofrange="clamp"))
    assert caught.value.problems[0]["remedy"] == "write outOfRange"


def test_a_draft_names_what_a_person_has_to_confirm():
    with pytest.raises(CodebookRejected, match="confirm each level and bound: constraints, missingValues"):
        parse_codebook(with_field("bmi", local=["constraints", "missingValues"]))


def test_settings_of_a_long_table_are_read():
    field = field_of(
        with_field(
            "smoker",
            categories=None,
            source="AEVGRD1C",
            file="ae.csv",
            missingValues=["", "NA"],
            where="AEHOSP == 1",
            reduce={"how": "any", "where": "VIS1N > 3", "test": ">= 3"},
        ),
        "smoker",
    )
    assert (field.source, field.file, field.missing_values) == ("AEVGRD1C", "ae.csv", ("", "NA"))
    assert [level.value for level in field.levels] == ["no", "yes"]
    assert field.where == parse_predicate("AEHOSP == 1")
    assert field.reduce.how == "any"
    assert field.reduce.test == parse_predicate("AEVGRD1C >= 3")
    assert field.reduce.where == parse_predicate("VIS1N > 3")
    first = field_of(with_field("bmi", reduce={"how": "first", "orderBy": "day"})).reduce
    assert (first.how, first.order_by) == ("first", "day")


def test_recodes_are_many_to_one_and_end_at_values_of_the_column():
    region = field_of(with_field("region", recodes={"CA": "Canada", "CAN": 5, "": "West"}), "region")
    assert region.recodes == {"CA": "5", "CAN": "5", "": "West"}
    assert field_of(with_field("bmi", recodes={"none": 10.50})).recodes == {"none": "10.5"}


def test_a_time_names_its_flag_and_a_flag_the_level_that_counts():
    codebook = with_field("death_flag", role="event", occurred="dead")
    codebook["fields"][0].update(role="time", event="death_flag")
    schema = parse_codebook(codebook)
    assert schema.field("death_flag").occurred == "1"
    assert schema.field("time_till_death").event == "death_flag"
    assert {w["rule"] for w in schema.warnings} == {"unused_codes"}
    codebook["fields"][0].update(event=None)
    assert "no_event" in {w["rule"] for w in parse_codebook(codebook).warnings}


@pytest.mark.parametrize(("maximum", "warned"), [(127, False), (102, False), (101, True), (64, True)])
def test_unused_codes_beyond_a_quarter_are_warned_of(maximum, warned):
    schema = parse_codebook(
        with_field("time_since_diagnosis", constraints={"minimum": 0, "maximum": maximum}, resolution=1)
    )
    named = {w["where"] for w in schema.warnings if w["rule"] == "unused_codes"}
    assert ("fields.time_since_diagnosis.resolution" in named) == warned


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
KEYS = st.sampled_from(
    [
        "name",
        "title",
        "type",
        "constraints",
        "minimum",
        "maximum",
        "categories",
        "value",
        "label",
        "fields",
        "policy",
    ]
    + [
        "primaryKey",
        "capacity",
        "resolution",
        "where",
        "reduce",
        "how",
        "test",
        "recodes",
        "epsilon",
        "modes",
        "facts",
    ]
) | st.text(max_size=4)
JSON = st.recursive(
    SCALARS | st.sampled_from(["number", "string", "integer", "category", "any", "a == 1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)


@given(obj=JSON, place=st.sampled_from(["", *CODEBOOK, "one field"]))
def test_any_json_is_a_codebook_or_is_rejected(obj, place):
    codebook = (
        obj
        if place == ""
        else a_codebook(fields=[obj])
        if place == "one field"
        else a_codebook(**{place: obj})
    )
    try:
        schema = parse_codebook(codebook)
    except CodebookRejected as error:
        assert error.problems
    else:
        assert schema.hash == digest(canonical_codebook(codebook))
