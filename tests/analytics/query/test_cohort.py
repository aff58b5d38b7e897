"""Cohorts: a predicate over codes selects exactly the rows that its words say, missing values included."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.query.cohort import EVERYONE, both, compile_predicate
from analytics.query.errors import ProgramRejected
from analytics.query.language import parse_predicate
from analytics.query.levels import level_code
from analytics.query.model import columns_of
from analytics.query.resolve import Catalogue
from analytics.query.tree import Among, And, Compare, Missing, Name, Not, Or
from tests.analytics.query.studies import selects, some_facts

FACTS = some_facts()
SCHEMA = FACTS.schema
CATALOGUE = Catalogue([FACTS])
NUMBERS = ["time_till_death", "time_since_diagnosis", "bmi"]
CATEGORIES = ["region", "death_flag", "smoker", "relapse"]


def cohort(text):
    return compile_predicate(parse_predicate(text), CATALOGUE)[0]


def chosen(text, column, codes):
    return [code for code in codes if selects(cohort(text), {column: code})]


def means(predicate, row):
    """The oracle: the same predicate on values, as a person reads it."""
    if isinstance(predicate, Not):
        return not means(predicate.part, row)
    if isinstance(predicate, (And, Or)):
        return (all if isinstance(predicate, And) else any)(means(part, row) for part in predicate.parts)
    value = row[predicate.name.text]
    if isinstance(predicate, Missing):
        return (value is None) != predicate.negated
    if value is None:
        return False
    same = [v.number == value if isinstance(value, Decimal) else v.text == value for v in values(predicate)]
    if isinstance(predicate, Among):
        return any(same) != predicate.negated
    if predicate.operator in ("==", "!="):
        return same[0] == (predicate.operator == "==")
    number = predicate.value.number
    return {
        "<": value < number,
        "<=": value <= number,
        ">": value > number,
        ">=": value >= number,
    }[predicate.operator]


def values(leaf):
    return leaf.values if isinstance(leaf, Among) else (leaf.value,)


def a_number(name):
    field = SCHEMA.field(name)
    on = st.integers(-3, field.codes + 3).map(field.value)
    off = st.decimals(-80, 120, places=4)
    return st.one_of(on, off).map(lambda d: Name(format(d, "f")))


def a_label(name):
    return st.sampled_from([level.label for level in SCHEMA.field(name).levels]).map(Name)


@st.composite
def leaves(draw):
    name = draw(st.sampled_from(NUMBERS + CATEGORIES))
    value = a_number(name) if name in NUMBERS else a_label(name)
    operators = ["==", "!="] + (["<", "<=", ">", ">="] if name in NUMBERS else [])
    return draw(
        st.one_of(
            st.builds(Compare, st.just(Name(name)), st.sampled_from(operators), value),
            st.builds(
                Among, st.just(Name(name)), st.lists(value, min_size=1, max_size=3).map(tuple), st.booleans()
            ),
            st.builds(Missing, st.just(Name(name)), st.booleans()),
        )
    )


PREDICATES = st.recursive(
    leaves(),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(tuple).map(And),
        st.lists(inner, min_size=2, max_size=3).map(tuple).map(Or),
    ),
    max_leaves=8,
)
ROWS = st.fixed_dictionaries({f.name: st.none() | st.integers(0, f.codes - 1) for f in SCHEMA.fields})


def clear(row):
    found = {}
    for name, code in row.items():
        field = SCHEMA.field(name)
        is_number = field.kind == "number"
        found[name] = None if code is None else field.value(code) if is_number else field.levels[code].label
    return found


@settings(max_examples=150, deadline=None)
@given(predicate=PREDICATES, rows=st.lists(ROWS, min_size=1, max_size=4))
def test_a_cohort_holds_exactly_the_rows_that_the_words_mean(predicate, rows):
    compiled, said = compile_predicate(predicate, CATALOGUE)
    for row in rows:
        assert selects(compiled, row) == means(predicate, clear(row)) == means(said, clear(row))
    assert columns_of(compiled) <= set(row)
    # Asked again in the plan's own words it is the same cohort and the same words.
    assert compile_predicate(parse_predicate(str(said)), CATALOGUE) == (compiled, said)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("bmi < 10.02", 0, 1),
        ("bmi <= 10.02", 0, 2),
        ("bmi < 10.0200001", 0, 2),
        ("bmi <= 10.0199999", 0, 1),
        ("bmi > 59.985", 4999, 5000),
        ("bmi >= 59.99", 4999, 5000),
        ("bmi > 59.99", 5000, 5000),
        ("bmi >= 59.995", 5000, 5000),
        ("bmi == 10.03", 3, 3),
        ("bmi < 1e3", 0, 5000),
        ("bmi > -1", 0, 5000),
        ("bmi >= 10", 0, 5000),
        ("bmi <= 60", 0, 5000),
        ("bmi != 10.031", 0, 5000),
        ("time_since_diagnosis < -27.5", 0, 0),
        ("time_since_diagnosis >= -28", 0, 127),
        ("time_since_diagnosis == -28.0", 0, 0),
        ("time_since_diagnosis > 98", 127, 127),
    ],
)
def test_numbers_between_outside_and_on_the_lattice_are_compared_exactly(text, least, most):
    column = text.split()[0]
    last = SCHEMA.field(column).codes - 1
    near = {c + d for c in (0, least, most, last) for d in (-2, -1, 0, 1, 2)} | set(range(0, last, 97))
    codes = sorted(near & set(range(last + 1)))
    assert chosen(text, column, codes) == [code for code in codes if least <= code <= most]
    assert not selects(cohort(text), {column: None})


@pytest.mark.parametrize(
    "text",
    [
        "bmi == 10.031",
        "bmi > 60",
        "bmi >= 60.001",
        "bmi < 10",
        "bmi <= 9.99999",
        "bmi == 60.01",
        "bmi in (1, 2)",
        "bmi == -10",
    ],
)
def test_what_no_code_satisfies_selects_nobody(text):
    assert chosen(text, "bmi", [None, 0, 1, 2, 3, 4, *range(5, 5001, 97), 4999, 5000]) == []


@pytest.mark.parametrize(
    "text",
    ["bmi != 20", "bmi not in (20, 21)", "bmi < 20", "bmi >= 20", "smoker != yes", "smoker not in (yes)"],
)
def test_a_comparison_with_a_missing_value_is_false_and_its_negation_true(text):
    row = {"bmi": None, "smoker": None}
    assert not selects(cohort(text), row)
    assert selects(cohort(f"not {text}"), row)


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("region == northeast", [3]),
        ("region == 'NORTH EAST'", [3]),
        ("region == 5", [4]),
        ("region == canada", [4]),
        ("region == 5.0", [4]),
        ("death_flag == 1", [1]),
        ("death_flag == dead", [1]),
        ("'Death flag' != alive", [1]),
        ("Region in (west, SOUTH, west)", [0, 2]),
        ("region not in (west, south)", [1, 3, 4]),
        ("region is missing", [None]),
        ("region is not missing", [0, 1, 2, 3, 4]),
    ],
)
def test_levels_match_by_code_or_label_in_normal_form(text, codes):
    column = "death_flag" if "eath" in text else "region"
    assert chosen(text, column, [None, *range(SCHEMA.field(column).codes)]) == codes


@pytest.mark.parametrize(
    ("text", "code", "suggestion"),
    [
        ("bmii > 3", "unknown_column", "bmi"),
        ("'body mas index' > 3", "unknown_column", "Body mass index"),
        ("region == northeest", "unknown_level", "Northeast"),
        ("death_flag == deat", "unknown_level", "dead"),
        ("region > 3", "wrong_type", None),
        ("bmi == thin", "wrong_type", None),
        ("bmi in (20, thin)", "wrong_type", None),
        ("region == west and not (bmi is missing or foo is missing)", "unknown_column", None),
    ],
)
def test_what_the_codebook_lacks_is_refused_with_the_nearest_names(text, code, suggestion):
    with pytest.raises(ProgramRejected) as caught:
        cohort(text)
    assert caught.value.code == code
    assert caught.value.line == 1
    assert caught.value.suggestions[:1] == ([suggestion] if suggestion else [])


def test_levels_that_look_alike_need_their_exact_text():
    codebook_levels = ["-1", "1", "A B", "a-b"]
    facts = some_facts(
        {
            "primaryKey": "p",
            "fields": [{"name": "x", "type": "string", "categories": codebook_levels}],
            "policy": {"epsilon": "1", "expires": "2030-01-01"},
        }
    )
    for code, text in enumerate(codebook_levels):
        assert level_code(facts.schema.field("x"), Name(text)) == code
    assert level_code(facts.schema.field("x"), Name("+1.0")) == 1
    with pytest.raises(ProgramRejected) as caught:
        level_code(facts.schema.field("x"), Name("ab"))
    assert (caught.value.code, caught.value.suggestions) == ("ambiguous_level", ["A B", "a-b"])


def test_intersections_are_flat_and_hold_each_part_once():
    a, b, c = ("present", "a"), ("present", "b"), ("or", ("present", "a"), ("present", "b"))
    assert both() == EVERYONE == both(EVERYONE, EVERYONE)
    assert both(a, EVERYONE) == a
    assert both(a, ("and", b, a), c, b) == ("and", a, b, c)
