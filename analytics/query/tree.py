"""A program as a tree: statements, predicates, and their one canonical text.

The tree is what the text says and nothing more: names are as written, no codebook is involved. `parse` of
`Program.text()` gives the equal tree again. Positions ride along for error messages and never count in a
comparison. Public throughout.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

from analytics.privacy.accountant import short_text
from analytics.query.errors import ProgramRejected

DEEPEST = 100  # nested predicates and parentheses
LONGEST_NAME = 256  # characters

KEYWORDS = frozenset(
    {
        *("where", "by", "epsilon", "and", "or", "not", "in", "is", "missing"),
        *("primary", "align", "unstratified"),
    }
)
OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
BARE = re.compile(r"[^\W\d](?:\w|-(?=\w))*")
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
LONGEST_NUMBER = 60  # characters
MOST_DIGITS = 20  # on either side of the point


@dataclass(frozen=True)
class Name:
    """A name, level or number as written, without its quotes. `at` is (line, column) or None."""

    text: str
    at: tuple[int, int] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.text) <= LONGEST_NAME:
            raise ProgramRejected("syntax", f"a name or value has 1 to {LONGEST_NAME} characters", at=self.at)
        printable = self.text.isprintable()  # quick, but also false for harmless separators
        if not printable and any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in self.text):
            raise ProgramRejected("syntax", "a name or value holds no control characters", at=self.at)

    @property
    def form(self) -> str:
        return normal_form(self.text)

    @property
    def number(self) -> Decimal | None:
        """The decimal number that the text spells, or None."""
        return as_number(self.text)

    def __str__(self) -> str:
        text = self.text
        if (BARE.fullmatch(text) and text.casefold() not in KEYWORDS) or as_number(text) is not None:
            return text
        return '"' + text.replace('"', '""') + '"'


@dataclass(frozen=True)
class Compare:
    """name operator value: false where the name is missing."""

    name: Name
    operator: str
    value: Name

    @property
    def depth(self) -> int:
        return 1

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.value}"


@dataclass(frozen=True)
class Among:
    """name [not] in (values): false where the name is missing, also with `not`."""

    name: Name
    values: tuple[Name, ...]
    negated: bool = False

    @property
    def depth(self) -> int:
        return 1

    def __str__(self) -> str:
        return f"{self.name} {'not ' * self.negated}in ({', '.join(map(str, self.values))})"


@dataclass(frozen=True)
class Missing:
    """name is [not] missing."""

    name: Name
    negated: bool = False

    @property
    def depth(self) -> int:
        return 1

    def __str__(self) -> str:
        return f"{self.name} is {'not ' * self.negated}missing"


@dataclass(frozen=True)
class Not:
    part: Predicate
    depth: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", _deeper(self.part))

    def __str__(self) -> str:
        return f"not {_inside(self.part, And, Or)}"


@dataclass(frozen=True)
class And:
    parts: tuple[Predicate, ...]
    depth: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", _deeper(*self.parts))

    def __str__(self) -> str:
        return " and ".join(_inside(part, And, Or) for part in self.parts)


@dataclass(frozen=True)
class Or:
    parts: tuple[Predicate, ...]
    depth: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", _deeper(*self.parts))

    def __str__(self) -> str:
        return " or ".join(_inside(part, Or) for part in self.parts)


Leaf: TypeAlias = Compare | Among | Missing
Predicate: TypeAlias = Compare | Among | Missing | Not | And | Or


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One line of a program. `statistic` is a canonical name; `values` are the numbers after its columns.

    primary  whether it is of the study's primary endpoint; the others are then exploratory
    """

    statistic: str
    columns: tuple[Name, ...] = ()
    level: Name | None = None
    values: tuple[Name, ...] = ()
    where: Predicate | None = None
    by: tuple[Name, ...] = ()
    unstratified: bool = False
    micro_epsilon: int | None = None
    primary: bool = False
    at: tuple[int, int] | None = field(default=None, compare=False, repr=False)

    def text(self) -> str:
        """The canonical text, one line."""
        arguments = [*self.columns, *([self.level] if self.level else []), *self.values]
        text = f"{self.statistic}({', '.join(map(str, arguments))})"
        if self.where is not None:
            text += f" where {self.where}"
        if self.by:
            text += f" by {', '.join(map(str, self.by))}"
        if self.unstratified:
            text += " unstratified"
        if self.micro_epsilon is not None:
            text += f" epsilon {short_text(self.micro_epsilon)}"
        if self.primary:
            text += " primary"
        return text


@dataclass(frozen=True)
class Renamed:
    """A column of one dataset under the question's name; `levels` are pairs of its own level and the question's."""

    column: Name
    name: Name
    levels: tuple[tuple[Name, Name], ...] = ()

    def __str__(self) -> str:
        said = f"{self.column} = {self.name}"
        if self.levels:
            said += f" ({', '.join(f'{own} = {level}' for own, level in self.levels)})"
        return said


@dataclass(frozen=True)
class Align:
    """What one dataset, named by id or title, calls the columns and levels of the question."""

    dataset: Name
    columns: tuple[Renamed, ...]

    def text(self) -> str:
        """The canonical text, one line."""
        return f"align {self.dataset} ({', '.join(map(str, self.columns))})"


@dataclass(frozen=True, kw_only=True)
class Program:
    """Statements in order, how datasets are aligned, and the program's own total epsilon if it names one."""

    statements: tuple[Statement, ...]
    align: tuple[Align, ...] = ()
    micro_epsilon: int | None = None

    def text(self) -> str:
        """The canonical text: one statement a line, after the total and what is aligned."""
        total = [] if self.micro_epsilon is None else [f"epsilon {short_text(self.micro_epsilon)}"]
        align, statements = ([part.text() for part in parts] for parts in (self.align, self.statements))
        return "\n".join([*total, *align, *statements])


@lru_cache(maxsize=1 << 15)
def normal_form(text: str) -> str:
    """What two spellings of one name share: casefolded, without spaces, underscores and hyphens."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in folded if not (c.isspace() or c == "_" or unicodedata.category(c) == "Pd"))


@lru_cache(maxsize=1 << 13)
def as_number(text: str) -> Decimal | None:
    """The number a text spells (ASCII digits, at most 20 on either side of the point), or None."""
    if len(text) > LONGEST_NUMBER or not NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MOST_DIGITS or value.adjusted() >= MOST_DIGITS:
        return None
    return value


def decimal_text(value: Decimal) -> str:
    """A decimal in plain digits, without trailing zeros: the same text for the same number."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "+0") else text


def names_in(predicate: Predicate | None) -> list[Name]:
    """Every column name of a predicate, in order of appearance."""
    found: list[Name] = []
    each_leaf(predicate, lambda leaf: found.append(leaf.name))
    return found


def each_leaf(predicate: Predicate | None, visit: Callable[[Leaf], None]) -> None:
    """Call `visit` on every comparison of a predicate, from left to right."""
    if predicate is None:
        return
    if isinstance(predicate, Not):
        each_leaf(predicate.part, visit)
    elif isinstance(predicate, (And, Or)):
        for part in predicate.parts:
            each_leaf(part, visit)
    else:
        visit(predicate)


def _deeper(*parts: Predicate) -> int:
    depth = 1 + max(part.depth for part in parts)
    if depth > DEEPEST:
        raise ProgramRejected("too_deep", f"a condition is nested at most {DEEPEST} deep; split it")
    return depth


def _inside(part: Predicate, *kinds: type) -> str:
    return f"({part})" if isinstance(part, kinds) else str(part)
