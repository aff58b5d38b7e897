"""What a statistic is: how it is asked, which tables it needs of the parties, how figures come of them.

A statistic is one object in one module of `analytics.statistics`, found there by its presence: the language, the
compiler, the preview and the figures look it up and know no statistic by name (docs/adding-a-statistic.md).
Public throughout: a statistic sees the codebook and released integers, never a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from analytics.query.columns import Field
from analytics.query.errors import ProgramRejected
from analytics.query.model import By, Release
from analytics.query.tree import Name, Statement, normal_form

if TYPE_CHECKING:
    from analytics.statistics.cells import Cell
    from analytics.statistics.figure import Figure
    from analytics.statistics.question import Question


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A statement with its names found in the codebook. `level` is a code of the first column, if one was named.

    strata  partitions that every table gets between its groups and its `inner`
    find    the column of a name that the codebook itself names, as the event of a time
    """

    statement: Statement
    columns: tuple[Field, ...]
    groups: tuple[Field, ...]
    level: int | None = None
    strata: tuple[By, ...] = ()
    find: Callable[[Name], Field] = field(repr=False)

    def refuse(self, code: str, message: str, column: int | None = None) -> ProgramRejected:
        """The refusal of this statement, at one of its columns or as a whole; to be raised."""
        at = self.statement.at if column is None else self.statement.columns[column].at
        return ProgramRejected(code, message, at=at)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One table of the parties: in every group and stratum, for every cell of `inner`, integers of `shape`.

    shape    "count", "pair", "moments" or "joint" (analytics.privacy.sensitivity), of `numbers`
    present  columns whose values must not be missing: the statement's own, unless said otherwise
    weight   its part of the statement's epsilon
    """

    inner: tuple[By, ...] = ()
    numbers: tuple[Field, ...] = ()
    shape: str = "count"
    present: tuple[Field, ...] | None = None
    weight: int = 1


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the noise alone does to a figure: half-width of an interval at `level`, in `unit`."""

    half_width: float
    unit: str | None
    assuming: str


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What is supposed of one group before it is counted, by the analyst or by public facts; None is not known.

    n           patients; at least 1
    level       of the interval
    sd          standard deviation of the first column, in its unit
    event_rate  part of the patients at the level that the statistic is about
    columns     of the statement, with the standard deviations that facts tell of them, and the numbers after them
    cells       planned patients in the cells that the statistic made of its first table, a row for each stratum
    """

    n: int
    level: float
    sd: float | None = None
    event_rate: float | None = None
    columns: tuple[Field, ...] = ()
    sds: tuple[float | None, ...] = ()
    values: tuple[float, ...] = ()
    cells: tuple[tuple[float, ...], ...] = ()

    @property
    def z(self) -> float:
        """The point of the normal distribution that goes with the level."""
        return NormalDist().inv_cdf(0.5 + self.level / 2)


Tables = Callable[[Asked], Sequence[Wanted]]
Family = Callable[["Question", Sequence["Cell"]], "Figure"]
Groups = Callable[["Question", Sequence[Sequence[int]]], list[dict[str, Any]]]
Expecting = Callable[[Sequence[Release], Sequence[Field], int, float], Expected]
Sampling = Callable[[Assumptions], float | None]
Noise = Callable[[Sequence[Release], Sequence[Field], Assumptions], float | None]
Power = Callable[[Sequence[Release], Assumptions, float], "tuple[float, str] | None"]
Lines = Callable[[Sequence[Release], Assumptions], Sequence["Line"]]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One of the figures of a statement that gives many: what it is, and half-widths of noise and of sampling."""

    figure: str
    noise: float | None
    sampling: float | None


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One statistic.

    columns  fewest and most columns; values: fewest and most numbers after them, as quantiles or times
    level    whether a level may or must follow the columns: "no", "may" (also one of another column, as a
             condition), "must" (of the first column) or "own" (of the first column, the last of what is named;
             left out, it is the level that the codebook says is the event, or that says yes)
    strata   how many columns come before those that make strata, of which the figure is a combination; None: there
             are none
    tables   what it needs; raises ProgramRejected for columns that it is not for
    family   one figure for each group, from the cells of its one table; or
    groups   all groups of the answer, from the integers of all its tables
    blank    what stands beside a figure that may not be given: the same keys, every number null
    partial  whether a table of which some cells are suppressed still has a figure
    exact    whether it is for exact mode alone
    unit     the unit of the value, from the unit of the first column
    expected the noise's part of the error, from the tables' releases and the columns of the first one's numbers (of the
             statement where it has none), a planned n and a level
    noise    the same half-width where assumptions tell it better than `expected` does; None: they do not; infinite:
             too many cohorts would have no figure
    assuming what `noise` assumes where nothing is supposed, of a statistic without `expected`
    sampling half-width of an interval of the sampling alone, from assumptions; None where they do not tell
    power    how often the statistic's own test finds an effect at 5 %, and of what the effect is; None: a normal test of
             the figure. `ratio`: the figure is a ratio, so that half-widths and the effect are those of its logarithm
    lines    of a statistic that gives many figures: what is expected of each
    parameters how many numbers a model over these columns has; 0 where nothing is fitted
    of_cohort whether the figure describes the cohort itself: then its interval is of noise alone, and sampling only
             says whether the noise matters
    choose   stands for another statistic by the kind of its columns; then nothing but how it is asked counts
    """

    name: str
    words: str
    aliases: tuple[str, ...] = ()
    columns: tuple[int, int] = (1, 1)
    values: tuple[int, int] = (0, 0)
    level: str = "no"
    strata: int | None = None
    tables: Tables = lambda asked: ()
    family: Family | None = None
    groups: Groups | None = None
    blank: Callable[[Question], dict[str, Any]] = lambda question: {}
    partial: bool = False
    exact: bool = False
    unit: Callable[[str], str | None] = lambda unit: None
    expected: Expecting | None = None
    noise: Noise | None = None
    assuming: str | None = None
    sampling: Sampling | None = None
    power: Power | None = None
    ratio: bool = False
    lines: Lines | None = None
    parameters: Callable[[Sequence[Field]], int] = lambda columns: 0
    of_cohort: bool = False
    choose: Callable[[Sequence[Field]], Statistic] | None = field(default=None, repr=False)

    def of(self, columns: Sequence[Field]) -> Statistic:
        """The statistic that these columns make of it."""
        return self.choose(columns) if self.choose else self

    def takes(self) -> str:
        """How it is asked, for an error message."""
        fewest, most = self.columns
        said = {(0, 1): "no column or one", (1, 1): "one column", (2, 2): "two columns"}.get(self.columns)
        said = said or (f"{fewest} columns or more" if most > 50 else f"{fewest} to {most} columns")
        if self.values[1]:
            said += ", and numbers may follow" if not self.values[0] else " and numbers"
        level = {
            "no": "",
            "may": ", and a level may follow the column",
            "must": " and one of its levels",
            "own": ", and a level of the first may follow",
        }
        return f"{self.name} takes {said}{level[self.level]}"


def coefficients(columns: Sequence[Field]) -> int:
    """Of a model of the first column: an intercept, one for each number, for each category one less than its levels."""
    return 1 + sum(field.codes - 1 if field.kind == "category" else 1 for field in columns[1:])


def every(category: Field) -> By:
    """The partition by each level of a category."""
    return By(column=category.name, groups=tuple((code,) for code in range(category.codes)))


def need_numbers(asked: Asked) -> None:
    """Refuse a category where a number is needed."""
    for place, column in enumerate(asked.columns):
        if column.kind == "category":
            raise asked.refuse(
                "wrong_type",
                f"{column.name} is a category and has no {asked.statement.statistic}:"
                f" ask count() by {Name(column.name)}, or proportion of a level",
                place,
            )


@lru_cache(maxsize=1)
def statistics() -> Mapping[str, Statistic]:
    """Every statistic by its name, in the order of modules and of each module's `STATISTICS`."""
    # Here and not above: those modules import this one.
    package = import_module("analytics.statistics")
    found: dict[str, Statistic] = {}
    for module in sorted(module.name for module in iter_modules(package.__path__)):
        for statistic in getattr(import_module(f"analytics.statistics.{module}"), "STATISTICS", ()):
            found[statistic.name] = statistic
    return found


@lru_cache(maxsize=1)
def spellings() -> Mapping[str, str]:
    """Every name and alias, and the name it stands for."""
    known = statistics()
    return {**{name: name for name in known}, **{a: s.name for s in known.values() for a in s.aliases}}


@lru_cache(maxsize=1)
def forms() -> Mapping[str, str]:
    """Normal form of every name and alias, and its spelling."""
    return {normal_form(name): name for name in spellings()}
