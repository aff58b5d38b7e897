"""The query language: from text or JSON to a program, and back.

    average("time_till_death", "northeast")
    count(age) where sex == female and (stage in (3, 4) or stage is missing) by arm epsilon 0.25
    align "Trial B" (gender = sex (m = male, f = female), age_years = age)

The grammar is LALR(1); nothing is looked up in a codebook here. Predicates
of codebooks (`where`, `test`) are this grammar's predicates. Text is hostile until parsed: `lexer` bounds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedToken
from lark.exceptions import VisitError

from analytics.privacy.accountant import EpsilonRejected, micro_epsilon, short_text
from analytics.query.errors import ProgramRejected, nearest
from analytics.query.lexer import LONGEST_TEXT, tokens
from analytics.query.statistic import Statistic, forms, spellings, statistics
from analytics.query.tree import (
    Align,
    Among,
    And,
    Compare,
    Missing,
    Name,
    Not,
    Or,
    Predicate,
    Program,
    Renamed,
    Statement,
    normal_form,
)

MOST_STATEMENTS = 256
MOST_ALIGNED = 64  # datasets

GRAMMAR = r"""
program: line (SEP line)*
?line: statement | align | total
total: EPSILON NUMBER
statement: NAME LPAR [names] RPAR [WHERE predicate] [BY names] [UNSTRATIFIED] [EPSILON NUMBER] [PRIMARY]
align: ALIGN name LPAR renamed (COMMA renamed)* RPAR
renamed: name OP name [LPAR level (COMMA level)* RPAR]
level: name OP name
names: name (COMMA name)*
name: NAME | TEXT | NUMBER
?predicate: conjunction | conjunction (OR conjunction)+ -> either
?conjunction: negation | negation (AND negation)+ -> both
?negation: NOT negation -> negated | LPAR predicate RPAR -> group | comparison
?comparison: name OP name -> compare
    | name IN LPAR names RPAR -> among
    | name NOT IN LPAR names RPAR -> not_among
    | name IS MISSING -> missing
    | name IS NOT MISSING -> not_missing
%declare NAME TEXT NUMBER OP LPAR RPAR COMMA SEP WHERE BY EPSILON PRIMARY AND OR NOT IN IS MISSING
%declare ALIGN UNSTRATIFIED
"""

_STATEMENT = {"statistic", "columns", "level", "values", "where", "by", "unstratified", "epsilon", "primary"}
_SPELLED = {
    "NAME": "a name",
    "TEXT": "a name in quotes",
    "NUMBER": "a number",
    "OP": "a comparison",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": ",",
    "SEP": "the end of the line",
    "$END": "the end",
}


class _Builder(Transformer[Token, Program]):
    """Turns what the grammar recognised into the tree, bottom up, while it is parsed."""

    def name(self, found: list[Token]) -> Name:
        return Name(str(found[0]), _at(found[0]))

    def names(self, found: list[Any]) -> tuple[Name, ...]:
        return tuple(part for part in found if isinstance(part, Name))

    def compare(self, found: list[Any]) -> Predicate:
        return Compare(found[0], str(found[1]), found[2])

    def among(self, found: list[Any]) -> Predicate:
        return Among(found[0], found[-2])

    def not_among(self, found: list[Any]) -> Predicate:
        return Among(found[0], found[-2], negated=True)

    def missing(self, found: list[Any]) -> Predicate:
        return Missing(found[0])

    def not_missing(self, found: list[Any]) -> Predicate:
        return Missing(found[0], negated=True)

    def group(self, found: list[Any]) -> Any:
        return found[1]

    def negated(self, found: list[Any]) -> Predicate:
        return Not(found[1])

    def both(self, found: list[Any]) -> Predicate:
        return And(tuple(found[::2]))

    def either(self, found: list[Any]) -> Predicate:
        return Or(tuple(found[::2]))

    def total(self, found: list[Token]) -> tuple[Token, int]:
        return found[0], _micro(found[1])

    def level(self, found: list[Any]) -> tuple[Name, Name]:
        return _equated(found)

    def renamed(self, found: list[Any]) -> Renamed:
        levels = tuple(part for part in found[3:] if isinstance(part, tuple))
        return Renamed(*_equated(found[:3]), levels)

    def align(self, found: list[Any]) -> Align:
        return Align(found[1], tuple(part for part in found if isinstance(part, Renamed)))

    def statement(self, found: list[Any]) -> Statement:
        head, _, arguments, _, _, where, _, by, unstratified, _, epsilon, primary = found
        return _statement(
            str(head),
            arguments or (),
            where=where,
            by=by or (),
            unstratified=unstratified is not None,
            micro=None if epsilon is None else _micro(epsilon),
            primary=primary is not None,
            at=_at(head),
        )

    def program(self, found: list[Any]) -> Program:
        totals = [part for part in found if isinstance(part, tuple)]
        if len(totals) > 1:
            raise ProgramRejected("syntax", "a program names its total epsilon once", at=_at(totals[1][0]))
        return _program(
            [part for part in found if isinstance(part, Statement)],
            [part for part in found if isinstance(part, Align)],
            totals[0][1] if totals else None,
        )


_PARSER = Lark(
    GRAMMAR, parser="lalr", lexer="basic", start=["program", "predicate", "align"], maybe_placeholders=True,
    keep_all_tokens=True, transformer=_Builder(),
)  # fmt: skip


def parse(program: str | Mapping[str, Any]) -> Program:
    """The program in a text, in a JSON object or in the JSON text of one.

    Raises  ProgramRejected (and nothing else, whatever the input): syntax, too_long, too_deep,
            unknown_statistic, wrong_arguments, epsilon_invalid, epsilon_too_large, empty_program, json.
    """
    if isinstance(program, str):
        if not program[: LONGEST_TEXT + 1].lstrip().startswith("{"):
            found: Program = _parsed(program, "program")
            return found
        if len(program) > LONGEST_TEXT:
            raise ProgramRejected("too_long", f"a program has at most {LONGEST_TEXT // 1024} KiB of text")
        try:
            program = json.loads(program, parse_float=str)
        except (ValueError, RecursionError):
            raise ProgramRejected("json", "this begins like JSON and is none") from None
    if not isinstance(program, Mapping):
        raise ProgramRejected("json", 'a program is text or {"statements": [...]}')
    return _from_json(program)


def parse_predicate(text: str) -> Predicate:
    """The predicate in a text, as after `where`. Raises ProgramRejected and nothing else."""
    found: Predicate = _parsed(text, "predicate")
    return found


def parse_align(text: str) -> Align:
    """What aligns one dataset, as a plan keeps it. Raises ProgramRejected and nothing else."""
    found: Align = _parsed(text, "align")
    return found


def parse_test(text: str, column: str) -> Predicate:
    """The predicate in a text that may leave out its subject: ">= 3", "in (a, b)", or a whole one.

    `column` is the subject where the text begins with a comparison.
    """
    if not isinstance(text, str):
        raise ProgramRejected("syntax", "a test is text")
    found = tokens(text)
    headless = bool(found) and (
        found[0].type in ("OP", "IN", "IS") or [t.type for t in found[:2]] == ["NOT", "IN"]
    )
    return parse_predicate(f"{Name(column)} {text}" if headless else text)


def to_json(program: Program) -> dict[str, Any]:
    """The JSON form of a program; conditions stay text, absent parts are null or empty."""
    statements = [
        {
            "statistic": s.statistic,
            "columns": [name.text for name in s.columns],
            "level": None if s.level is None else s.level.text,
            **({"values": [name.text for name in s.values]} if s.values else {}),
            "where": None if s.where is None else str(s.where),
            "by": [name.text for name in s.by],
            **({"unstratified": True} if s.unstratified else {}),
            "epsilon": None if s.micro_epsilon is None else short_text(s.micro_epsilon),
            **({"primary": True} if s.primary else {}),
        }
        for s in program.statements
    ]
    aligned = [
        {
            "dataset": one.dataset.text,
            "columns": [
                {
                    "column": part.column.text,
                    "as": part.name.text,
                    "levels": [{"level": own.text, "as": level.text} for own, level in part.levels],
                }
                for part in one.columns
            ],
        }
        for one in program.align
    ]
    total = program.micro_epsilon
    return {
        "statements": statements,
        **({"align": aligned} if aligned else {}),
        **({} if total is None else {"epsilon": short_text(total)}),
    }


def _parsed(text: Any, start: str) -> Any:
    if not isinstance(text, str):
        raise ProgramRejected("syntax", f"a {start} is text")
    found = tokens(text)
    if not found:
        raise ProgramRejected("empty_program", f"the {start} is empty")
    parser: Any = _PARSER.parse_interactive(start=start)
    token = found[0]
    try:
        for token in found:
            parser.feed_token(token)
        return parser.feed_eof(token)
    except UnexpectedToken as wrong:
        raise _unexpected(wrong.token, parser.accepts(), token) from None
    except VisitError as wrong:
        refused = wrong.orig_exc
        if isinstance(refused, ProgramRejected) and refused.line is None:
            refused.line, refused.column = token.line, token.column
        raise refused from None


def _unexpected(token: Token, accepts: set[str], last: Token) -> ProgramRejected:
    expected = sorted(_SPELLED.get(kind, kind.lower()) for kind in accepts)
    ended = token.type == "$END"
    shown = "the end of the line" if token.type == "SEP" else str(token)[:40]
    found = "the text ends here" if ended else f"{shown} is unexpected here"
    return ProgramRejected(
        "syntax",
        f"{found}: expected {' or '.join(expected)}{_hint(token.type, accepts)}",
        at=_at(last if ended else token),
    )


def _hint(kind: str, accepts: set[str]) -> str:
    if kind == "SEP" or (kind in ("WHERE", "BY", "AND", "OR") and accepts == {"NAME", "EPSILON", "ALIGN"}):
        return "; a statement ends with its line, except inside parentheses"
    if kind in ("WHERE", "BY", "UNSTRATIFIED", "EPSILON", "PRIMARY"):
        return (
            "; the order is where, by, unstratified, epsilon, primary, each once;"
            " a name that is also a keyword needs quotes"
        )
    if kind in ("MISSING", "IN", "IS", "AND", "OR", "NOT", "ALIGN"):
        return "; a name that is also a keyword needs quotes, a missing value is found with: is missing"
    if kind in ("NAME", "NUMBER"):
        return "; a name of several words needs quotes"
    return ""


def _statement(
    head: str,
    arguments: Sequence[Name],
    *,
    level: Name | None = None,
    values: Sequence[Name] | None = None,
    where: Predicate | None,
    by: Sequence[Name],
    unstratified: bool,
    micro: int | None,
    primary: bool = False,
    at: tuple[int, int] | None,
) -> Statement:
    """A statement with its statistic known and its arguments counted: columns, then a level, then numbers."""
    statistic = _statistic(head, at)
    if values is None:
        arguments, values = _numbers(statistic, arguments)
    fewest, most = statistic.columns
    if level is None and statistic.level != "no" and len(arguments) > _without_level(statistic):
        arguments, level = arguments[:-1], arguments[-1]
    if (
        not fewest <= len(arguments) <= most
        or not statistic.values[0] <= len(values) <= statistic.values[1]
        or (level is None and statistic.level == "must")
        or (level is not None and (statistic.level == "no" or not arguments))
    ):
        raise ProgramRejected("wrong_arguments", statistic.takes(), at=at)
    return Statement(
        statistic=statistic.name,
        columns=tuple(arguments),
        level=level,
        values=tuple(values),
        where=where,
        by=tuple(by),
        unstratified=unstratified,
        micro_epsilon=micro,
        primary=primary,
        at=at,
    )


def _without_level(statistic: Statistic) -> int:
    """How many arguments are columns before the last is a level."""
    # Strata may be as many as there are: the last name is a level until the codebook knows it for a column.
    return statistic.columns[0 if statistic.level == "own" else 1]


def _numbers(statistic: Statistic, arguments: Sequence[Name]) -> tuple[Sequence[Name], Sequence[Name]]:
    """Columns and level, and the numbers at the end, where a statistic takes some."""
    end = len(arguments)
    while statistic.values[1] and end > statistic.columns[0] and arguments[end - 1].number is not None:
        end -= 1
    return arguments[:end], arguments[end:]


def _statistic(head: str, at: tuple[int, int] | None) -> Statistic:
    name = forms().get(normal_form(head))
    if name is None:
        raise ProgramRejected(
            "unknown_statistic",
            f"there is no statistic {head[:60]}; there are {', '.join(statistics())}",
            at=at,
            suggestions=nearest(head, forms().values(), normal_form),
        )
    return statistics()[spellings()[name]]


def _equated(found: Sequence[Any]) -> tuple[Name, Name]:
    """The two names on either side of an equals sign."""
    own, sign, name = found
    if sign != "==":
        raise ProgramRejected("syntax", f"align says {own} = ..., not {sign}", at=_at(sign))
    return own, name


def _program(statements: Sequence[Statement], align: Sequence[Align], micro: int | None) -> Program:
    if not statements:
        raise ProgramRejected("empty_program", "the program asks nothing: write one statement a line")
    if len(statements) > MOST_STATEMENTS:
        raise ProgramRejected("too_long", f"a program has at most {MOST_STATEMENTS} statements")
    if len(align) > MOST_ALIGNED:
        raise ProgramRejected("too_long", f"a program aligns at most {MOST_ALIGNED} datasets")
    return Program(statements=tuple(statements), align=tuple(align), micro_epsilon=micro)


def _from_json(obj: Mapping[str, Any]) -> Program:
    _known_keys(obj, {"statements", "align", "epsilon"}, "the program")
    entries = obj.get("statements")
    if not isinstance(entries, list) or len(entries) > MOST_STATEMENTS:
        raise ProgramRejected("json", f"statements: a list of at most {MOST_STATEMENTS} is needed")
    room = LONGEST_TEXT
    statements = []
    for number, entry in enumerate(entries, 1):
        where = f"statement {number}"
        if not isinstance(entry, Mapping):
            raise ProgramRejected("json", f"{where}: an object is needed")
        _known_keys(entry, _STATEMENT, where)
        for flag in ("unstratified", "primary"):
            if not isinstance(entry.get(flag, False), bool):
                raise ProgramRejected("json", f"{where}: {flag} is true or false")
        condition = entry.get("where")
        if condition is not None and not isinstance(condition, str):
            raise ProgramRejected("json", f"{where}: where is text, as in the language")
        room -= len(condition or "") + 1
        if room < 0:
            raise ProgramRejected("too_long", f"a program has at most {LONGEST_TEXT // 1024} KiB of text")
        level = entry.get("level")
        statements.append(
            _statement(
                _named(entry.get("statistic"), f"{where}: statistic").text,
                _listed(entry.get("columns"), f"{where}: columns"),
                level=None if level is None else _named(level, f"{where}: level"),
                values=_listed(entry.get("values"), f"{where}: values"),
                where=None if condition is None else parse_predicate(condition),
                by=_listed(entry.get("by"), f"{where}: by"),
                unstratified=entry.get("unstratified", False),
                micro=None if entry.get("epsilon") is None else _micro(entry["epsilon"]),
                primary=entry.get("primary", False),
                at=None,
            )
        )
    total = None if obj.get("epsilon") is None else _micro(obj["epsilon"])
    return _program(statements, _aligned(obj.get("align")), total)


def _aligned(entries: Any) -> list[Align]:
    """What a program's "align" says of its datasets."""
    found = []
    for number, entry in enumerate(_objects(entries, MOST_ALIGNED, "align"), 1):
        where = f"align {number}"
        _known_keys(entry, {"dataset", "columns"}, where)
        columns = []
        for part in _objects(entry.get("columns"), 1000, f"{where}: columns"):
            _known_keys(part, {"column", "as", "levels"}, f"{where}: columns")
            levels = _objects(part.get("levels"), 1000, f"{where}: levels")
            for level in levels:
                _known_keys(level, {"level", "as"}, f"{where}: levels")
            columns.append(
                Renamed(
                    _named(part.get("column"), f"{where}: column"),
                    _named(part.get("as"), f"{where}: as"),
                    tuple(
                        (_named(x.get("level"), f"{where}: level"), _named(x.get("as"), f"{where}: as"))
                        for x in levels
                    ),
                )
            )
        if not columns:
            raise ProgramRejected("json", f"{where}: columns: at least one is needed")
        found.append(Align(_named(entry.get("dataset"), f"{where}: dataset"), tuple(columns)))
    return found


def _objects(value: Any, most: int, where: str) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > most or not all(isinstance(x, Mapping) for x in value):
        raise ProgramRejected("json", f"{where}: a list of at most {most} objects is needed")
    return value


def _known_keys(obj: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in obj:
        if key not in known:
            shown = str(key)[:100]
            raise ProgramRejected(
                "json", f"{where}: unknown key {shown}", suggestions=nearest(shown, sorted(known))
            )


def _listed(value: Any, where: str) -> tuple[Name, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > 1000:
        raise ProgramRejected("json", f"{where}: a list of names is needed")
    return tuple(_named(item, where) for item in value)


def _named(value: Any, where: str) -> Name:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        value = str(value)
    if not isinstance(value, str):
        raise ProgramRejected("json", f"{where}: text is needed")
    return Name(value)


def _micro(value: Any) -> int:
    at = _at(value) if isinstance(value, Token) else None
    try:
        return micro_epsilon(str(value) if isinstance(value, Token) else value)
    except EpsilonRejected as wrong:
        raise ProgramRejected(wrong.code, str(wrong), at=at) from None


def _at(token: Token) -> tuple[int, int] | None:
    return None if token.line is None or token.column is None else (token.line, token.column)
