"""The language: what is written is what is understood, and hostile text is only ever refused."""

import json
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analytics.query.errors import ProgramRejected
from analytics.query.language import parse, parse_predicate, parse_test, to_json
from analytics.query.statistic import statistics
from analytics.query.tree import (
    KEYWORDS,
    Align,
    Among,
    And,
    Compare,
    Missing,
    Name,
    Not,
    Or,
    Program,
    Renamed,
    Statement,
    normal_form,
)
from tests.analytics.query.studies import SEED


def one(text):
    (statement,) = parse(text).statements
    return statement


def refused(text):
    with pytest.raises(ProgramRejected) as caught:
        parse(text)
    return caught.value


def test_the_first_program_anyone_asked_is_understood_verbatim():
    statements = parse(SEED).statements
    assert [s.statistic for s in statements] == ["mean", "mean", "sd", "correlate"]
    assert [s.columns[0].text for s in statements] == [
        "time_till_death",
        "time_since_diagnosis",
        "time_since_diagnosis",
        "region",
    ]
    assert [s.level and s.level.text for s in statements] == ["northeast"] * 3 + [None]
    assert statements[3].columns[1].text == "death flag"


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("average", "mean"),
        ("std", "sd"),
        ("variance", "var"),
        ("corr", "correlate"),
        ("SD", "sd"),
        ("Mean", "mean"),
    ],
)
def test_aliases_and_case_of_statistics_do_not_matter(alias, name):
    arguments = "a, b" if name == "correlate" else "a"
    assert one(f"{alias}({arguments})").statistic == name


@pytest.mark.parametrize(
    "text",
    [
        "count() where a > 1 and b == c by d epsilon 0.5",
        "COUNT() WHERE a>1 AND b=c BY d EPSILON .5",
        "  count ( )  where a > 1.  # a remark\n",
        "count() where (a > 1\n and b == c)\n\n",
        "\n\n;;count() where a > 1 and b = 'c' by \"d\" epsilon 0.500000;\r\n;",
        "count(\n)\twhere\u00a0a\u2003> +1 and b == c",
    ],
)
def test_spaces_lines_comments_case_and_quotes_are_free(text):
    statement = one(text)
    assert statement.statistic == "count"
    first = statement.where.parts[0] if isinstance(statement.where, And) else statement.where
    assert first.name.text == "a"
    assert first.value.number == 1


def test_a_newline_or_a_semicolon_ends_a_statement():
    assert len(parse("count()\ncount();count()\r\rcount()").statements) == 4


def test_both_kinds_of_quotes_and_doubled_quotes_inside():
    assert one("""mean("it's", 'a "b"')""").level.text == 'a "b"'
    assert one('mean("a ""b""")').columns[0].text == 'a "b"'


def test_and_binds_tighter_than_or_and_not_tightest():
    assert parse_predicate("a=1 or not b=2 and c=3") == Or(
        (compare("a", 1), And((Not(compare("b", 2)), compare("c", 3))))
    )
    assert parse_predicate("(a=1 or b=2) and c=3") == And(
        (Or((compare("a", 1), compare("b", 2))), compare("c", 3))
    )


def compare(name, value, operator="=="):
    return Compare(Name(name), operator, Name(str(value)))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a = -1.5", compare("a", -1.5)),
        ("a>-3", compare("a", -3, ">")),
        ("a != 'b c'", compare("a", "b c", "!=")),
        ('a in (1, x, "y z")', Among(Name("a"), (Name("1"), Name("x"), Name("y z")))),
        ("a not in (1)", Among(Name("a"), (Name("1"),), negated=True)),
        ("a is missing", Missing(Name("a"))),
        ("a IS NOT MISSING", Missing(Name("a"), negated=True)),
        ("tumor-size <= 10", compare("tumor-size", 10, "<=")),
        ("größe >= 1e3", compare("größe", "1e3", ">=")),
    ],
)
def test_every_comparison_is_read(text, tree):
    assert parse_predicate(text) == tree


@pytest.mark.parametrize(
    ("test", "whole"),
    [
        (">= 3", "grade >= 3"),
        ("in (3, 4)", "grade in (3, 4)"),
        ("not in (3)", "grade not in (3)"),
        ("is missing", "grade is missing"),
        ("== x and grade != y", "grade == x and grade != y"),
        ("other > 3", "other > 3"),
        ("not other > 3", "not other > 3"),
    ],
)
def test_a_test_may_leave_out_its_subject(test, whole):
    assert parse_test(test, "grade") == parse_predicate(whole)


def test_normal_form_forgets_case_spaces_underscores_and_hyphens():
    assert normal_form("Time_Since-Diagnosis") == normal_form("time since diagnosis") == "timesincediagnosis"
    assert normal_form("STRASSE") == normal_form("straße")


def test_epsilon_belongs_to_a_statement_or_to_the_program():
    program = parse("epsilon 1.5\ncount() epsilon 0.25\ncount()")
    assert program.micro_epsilon == 1_500_000
    assert [s.micro_epsilon for s in program.statements] == [250_000, None]


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("", "empty_program", None, None),
        (" \n# only a remark\n;", "empty_program", None, None),
        ("epsilon 1", "empty_program", None, None),
        ("count(", "syntax", 1, 6),
        ("count)", "syntax", 1, 6),
        ("count", "syntax", 1, 1),
        ("count() count()", "syntax", 1, 9),
        ("count()\n  cuont()", "unknown_statistic", 2, 3),
        ("mean()", "wrong_arguments", 1, 1),
        ("mean(a, b, c)", "wrong_arguments", 1, 1),
        ("count(a, b, c)", "wrong_arguments", 1, 1),
        ("correlate(a)", "wrong_arguments", 1, 1),
        ("correlate(a, b, c)", "wrong_arguments", 1, 1),
        ("proportion(a)", "wrong_arguments", 1, 1),
        ("count() where", "syntax", 1, 9),
        ("count() where a", "syntax", 1, 15),
        ("count() where a >", "syntax", 1, 17),
        ("count() where 1 < a < 3", "syntax", 1, 21),
        ("count() where a == missing", "syntax", 1, 20),
        ("count() where a in ()", "syntax", 1, 21),
        ("count() where a in 3", "syntax", 1, 20),
        ("count()\nwhere a > 1", "syntax", 2, 1),
        ("count() by a where b = 1", "syntax", 1, 14),
        ("count() by a,", "syntax", 1, 13),
        ("count() where death flag = 1", "syntax", 1, 21),
        ("count() where (a = 1; count()", "syntax", 1, 21),
        ("count() where a = 'b", "syntax", 1, 19),
        ("count() where a = 5mg", "syntax", 1, 19),
        ("count() where a = \u201cb\u201d", "syntax", 1, 19),
        ("count() where a \u2264 3", "syntax", 1, 17),
        ("count() where a == 1e99", "syntax", 1, 20),
        ("count() where a == \u0000", "syntax", 1, 20),
        ("count() epsilon", "syntax", 1, 9),
        ("count() epsilon 0", "epsilon_invalid", 1, 17),
        ("count() epsilon 0.000", "epsilon_invalid", 1, 17),
        ("count() epsilon -1", "epsilon_invalid", 1, 17),
        ("count() epsilon 0.0000001", "epsilon_invalid", 1, 17),
        ("count() epsilon 1e9", "epsilon_invalid", 1, 17),
        ("count() epsilon 1000000000", "epsilon_too_large", 1, 17),
        ("epsilon 1; epsilon 1; count()", "syntax", 1, 12),
        ("mean(x) where " + "(" * 101 + "a=1" + ")" * 101, "too_deep", 1, 115),
        ("x" * 65537, "too_long", None, None),
        ("é" * 40000, "too_long", None, None),
        ("count()" + ";count()" * 256, "too_long", None, None),
        ("mean(" + "x" * 257 + ")", "syntax", 1, 6),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text, code, line, column):
    error = refused(text)
    assert (error.code, error.line, error.column) == (code, line, column)
    assert len(str(error)) < 1000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cuont()", "did you mean count"),
        ("averge(x)", "did you mean average"),
        ("count()\nwhere a > 1", "ends with its line"),
        ("count() by a where b = 1", "the order is where, by, unstratified, epsilon"),
        ("count() where a == missing", "is missing"),
        ("count() where death flag = 1", "several words needs quotes"),
        ("count() where a = \u201cb\u201d", "straight quotes"),
        ("count() where a = 5mg", "in quotes"),
        ("count(", "never closed"),
    ],
)
def test_an_error_says_what_to_do(text, words):
    assert words in str(refused(text))


@pytest.mark.parametrize(
    "obj",
    [
        [],
        7,
        None,
        {},
        {"statements": {}},
        {"statements": []},
        {"statements": ["count()"]},
        {"statements": [{"statistic": "count", "colums": []}]},
        {"statements": [{"statistic": 1.5}]},
        {"statements": [{"statistic": "count", "columns": "a"}]},
        {"statements": [{"statistic": "mean", "columns": [None]}]},
        {"statements": [{"statistic": "mean", "columns": [""]}]},
        {"statements": [{"statistic": "mean", "columns": ["a\nb"]}]},
        {"statements": [{"statistic": "mean", "columns": ["\ud800"]}]},
        {"statements": [{"statistic": "count", "where": {"a": 1}}]},
        {"statements": [{"statistic": "count", "where": "a >"}]},
        {"statements": [{"statistic": "count", "level": "x"}]},
        {"statements": [{"statistic": "correlate", "columns": ["a", "b"], "level": "x"}]},
        {"statements": [{"statistic": "count", "epsilon": 0}]},
        {"statements": [{"statistic": "count", "epsilon": True}]},
        {"statements": [{"statistic": "count", "epsilon": float("nan")}]},
        {"statements": [{"statistic": "count"}], "epsilon": "1e400"},
        {"statements": [{"statistic": "count"}] * 257},
        {"statements": [{"statistic": "count"}], "mode": "exact"},
        {"statements": [{"statistic": "count", "unstratified": "yes"}]},
        {"statements": [{"statistic": "count"}], "align": {}},
        {"statements": [{"statistic": "count"}], "align": [{"dataset": "a"}]},
        {"statements": [{"statistic": "count"}], "align": [{"dataset": "a", "columns": [{"column": "b"}]}]},
        {"statements": [{"statistic": "count"}], "align": [{"dataset": "a", "columns": ["b"]}]},
        {"statements": [{"statistic": "count"}], "align": [{"dataset": "a", "colums": []}]},
        "{",
        '{"statements": [' + '{"a":' * 100000 + "1" + "}" * 100000 + "]}",
        '{"statements": [' + "9" * 5000 + "]}",
        "{" * 70000,
    ],
)
def test_other_json_is_refused(obj):
    with pytest.raises(ProgramRejected):
        parse(obj)


def test_the_json_form_says_the_same_as_the_text():
    text = 'mean("a b", x) where c in (1, 2) or not d is missing by e, f epsilon 0.25'
    assert to_json(parse(text)) == {
        "statements": [
            {
                "statistic": "mean",
                "columns": ["a b"],
                "level": "x",
                "where": "c in (1, 2) or not d is missing",
                "by": ["e", "f"],
                "epsilon": "0.25",
            }
        ]
    }
    assert parse(to_json(parse(text))) == parse(text) == parse(json.dumps(to_json(parse(text))))
    assert parse({"statements": [{"statistic": "average", "columns": ["a"], "epsilon": 0.1}]}) == parse(
        "mean(a) epsilon 0.1"
    )


# Texts of any script, with quotes, keywords and numbers among them; no control characters or surrogates.
TEXTS = st.one_of(
    st.sampled_from(
        sorted(KEYWORDS) + ["a", "time_till_death", "-1", "1.50", '"', "''", "# no remark", "a-b", "-", "5mg"]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-1000, max_value=1000, places=3).map(str),
)
NAMES = TEXTS.map(Name)
LEAVES = st.one_of(
    st.builds(Compare, NAMES, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), NAMES),
    st.builds(Among, NAMES, st.lists(NAMES, min_size=1, max_size=3).map(tuple), st.booleans()),
    st.builds(Missing, NAMES, st.booleans()),
)
PREDICATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(tuple).map(And),
        st.lists(inner, min_size=2, max_size=3).map(tuple).map(Or),
    ),
    max_leaves=12,
)


def columns_of(statistic):
    """Names; where numbers may follow the columns, none that spells a number."""
    return NAMES.filter(lambda name: name.number is None) if statistic.values[1] else NAMES


@st.composite
def asked(draw):
    statistic = statistics()[draw(st.sampled_from(sorted(statistics())))]
    columns = draw(st.integers(statistic.columns[0], min(statistic.columns[1], 6)))
    values = draw(st.integers(statistic.values[0], min(statistic.values[1], 4)))
    level = statistic.level == "must" or (
        statistic.level in ("may", "own") and columns and draw(st.booleans())
    )
    # Beyond the fewest columns the last name is a level until the codebook is asked.
    level = level or (statistic.level == "own" and columns > statistic.columns[0])
    return Statement(
        statistic=statistic.name,
        columns=tuple(draw(columns_of(statistic)) for _ in range(columns)),
        level=draw(columns_of(statistic)) if level else None,
        values=tuple(Name(str(draw(st.integers(-99, 99)))) for _ in range(values)),
        where=draw(st.none() | PREDICATES),
        by=tuple(draw(st.lists(NAMES, max_size=2))),
        unstratified=draw(st.booleans()),
        primary=draw(st.booleans()),
    )


RENAMED = st.builds(Renamed, NAMES, NAMES, st.lists(st.tuples(NAMES, NAMES), max_size=3).map(tuple))
ALIGNED = st.builds(Align, NAMES, st.lists(RENAMED, min_size=1, max_size=3).map(tuple))
PROGRAMS = st.builds(
    lambda found, align, micro: Program(statements=tuple(found), align=tuple(align), micro_epsilon=micro),
    st.lists(asked(), min_size=1, max_size=4),
    st.lists(ALIGNED, max_size=2),
    st.none() | st.integers(1, 20_000_000),
)


@settings(max_examples=300, deadline=None)
@given(program=PROGRAMS)
def test_text_and_json_of_a_program_parse_to_the_same_program(program):
    assert parse(program.text()) == program
    assert parse(program.text()).text() == program.text()
    assert parse(to_json(program)) == program
    assert parse(json.dumps(to_json(program))) == program


PIECES = st.lists(
    st.sampled_from(
        [
            "count",
            "mean",
            "correlate",
            "where",
            "by",
            "epsilon",
            "and",
            "or",
            "not",
            "in",
            "is",
            "missing",
            "(",
            ")",
            "(",
            ")",
            ",",
            ";",
            "\n",
            "==",
            "<",
            "a",
            "b",
            "1",
            "-2.5",
            "'x'",
            '"',
            "#",
            "{",
            "}",
        ]
    )
    | st.text(max_size=4),
    max_size=60,
).map(" ".join)


@settings(max_examples=400, deadline=None)
@given(
    text=st.one_of(st.text(max_size=300), PIECES, st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
)
@example("\ud800")
@example("count() where a == '\ud800'")
@example("\u202e\x00\x1b[2J")
def test_any_text_is_a_program_or_is_refused(text):
    try:
        program = parse(text)
    except ProgramRejected as error:
        assert error.code
        assert json.dumps(error.public())
    else:
        assert parse(program.text()) == program


HOSTILE = {
    "deep parentheses": "count() where " + "(" * 10_000 + "a=1" + ")" * 10_000,
    "open parentheses": "(" * 60_000,
    "deep not": "count() where " + "not " * 10_000 + "a=1",
    "a deep mixture": "count() where " + "not (" * 10_000,
    "a megabyte": "a" * 2**20,
    "a megabyte of statements": "count();" * 2**17,
    "64 KiB of statements": "count();" * 8_000,
    "a long list": "count() where a in (" + "1," * 30_000 + "1)",
    "a long conjunction": "count() where a=1" + " and a=1" * 8_000,
    "quotes": '"' * 65_536,
    "doubled quotes": "count() where a = " + '""' * 32_000 + "'",
    "an open quote": "'" + "a" * 65_000,
    "hyphens": "a-" * 32_000,
    "digits": "9" * 65_000,
    "a long exponent": "count() where a = 1e" + "9" * 60_000,
    "lines": "\n" * 65_000,
    "remarks": "#\n" * 32_000,
    "directions": "\u202e" * 20_000,
    "spaces": "\u3000" * 21_000,
    "a long unknown name": "x" * 60_000 + "()",
    "unknown statistic": "x" * 250 + "()",
    "JSON depth": '{"statements":' + "[" * 60_000,
    "JSON names": json.dumps({"statements": [{"statistic": "count", "x" * 60_000: 1}]}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_refused_in_bounded_memory(kind):
    tracemalloc.start()
    try:
        with pytest.raises(ProgramRejected) as caught:
            parse(HOSTILE[kind])
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 2000


def test_a_hundred_deep_is_allowed_and_one_more_is_not():
    deep = "count() where " + "not " * 99 + "a == 1"
    assert parse(parse(deep).text()) == parse(deep)
    assert refused(deep.replace("where ", "where not ")).code == "too_deep"
    nested = "count() where " + "(" * 100 + "a == 1" + ")" * 100
    assert one(nested).where == compare("a", 1)


def test_a_program_near_64_kib_is_read():
    text = "# " + "x" * 60_000 + "\n" + SEED
    assert parse(text) == parse(SEED)


@pytest.mark.parametrize(
    "value", [None, 3, b"a > 1", ["a > 1"], "", "  ", "a > 1\nb > 2", "a > 1; b > 2", "count()"]
)
def test_a_predicate_is_one_condition_in_text(value):
    with pytest.raises(ProgramRejected):
        parse_predicate(value)
