"""From a program and public facts to the plan that every party computes.

    plan = compile(program, datasets, micro_epsilon, mode)

Pure and deterministic: portal, parties and analyst reach the same bytes from the same text and codebooks.
A statement becomes released tables of disjoint cells; a table that several statements need is released and charged once. Names, levels and numbers are replaced by
those of the codebook, so that another spelling of the same question is the same plan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from analytics.privacy import pld
from analytics.privacy.accountant import (
    LARGEST_QUERY,
    DeltaRejected,
    EpsilonRejected,
    shares,
    short_text,
    weighted,
)
from analytics.query.cohort import among, both, compile_predicate, conjunction, present
from analytics.query.columns import Field
from analytics.query.describe import describe
from analytics.query.disclosure import rules
from analytics.query.errors import ProgramRejected
from analytics.query.language import parse
from analytics.query.levels import level_code, matching
from analytics.query.lexer import LONGEST_TEXT, MOST_TOKENS
from analytics.query.model import DATASET, By, Cohort, Plan, PlanColumn, PlanDataset, Release
from analytics.query.resolve import Catalogue, DatasetFacts
from analytics.query.statistic import Asked, Statistic, every, statistics
from analytics.query.tables import Resolved, Table, released, sized
from analytics.query.tree import Compare, Name, Predicate, Statement
from analytics.query.weights import marked, split

__all__ = ["DatasetFacts", "ProgramRejected", "compile", "describe"]

MODES = ("dp", "exact")
MOST_CELLS = 4096  # of one statement
MOST_VALUES = 16384  # released integers of a whole program

_WORDS = re.compile(r"[\w.-]+|[^\w\s]")  # no fewer than the tokens of a canonical text


def compile(
    program: str | Mapping[str, Any],
    datasets: Sequence[DatasetFacts],
    micro_epsilon: int,
    mode: str,
    atto_delta: int = 0,
) -> Plan:
    """The plan of a program over one dataset or several pooled ones.

    `micro_epsilon` is what the request allows to be charged to each dataset. The plan's own figure is what
    is charged: the program's total where it names one, the sum where every statement names its own, else all
    of it. Exact mode ignores every epsilon and charges 0.
    With `atto_delta` (units of 10^-18) the tables keep the proportions of their epsilons and have as much of it as
    (epsilon, delta) allows for all of them together: less noise for the same charge, from the thirteenth table on.
    Raises  ProgramRejected with code, place and suggestions; nothing else, whatever the text.
    """
    parsed = parse(program)
    ordered = _checked(datasets, mode)
    catalogue = Catalogue(ordered, parsed.align)
    found = [_resolved(statement, catalogue, mode) for statement in parsed.statements]
    total, charges = 0, [0] * len(found)
    if mode == "dp":
        total, charges = _charges(micro_epsilon, parsed.micro_epsilon, parsed.statements)
    capacity = sum(dataset.capacity for dataset in ordered)
    uses, tables, charged = _shared(found, charges)
    if total and marked(found):
        charged = split(total, found, uses, tables)
    if atto_delta:
        charged = _with_delta(charged, total, atto_delta, tables, mode)
    releases = tuple(
        sized(table, micro, capacity, mode) for table, micro in zip(tables, charged, strict=True)
    )
    values = sum(release.cells * release.values_per_cell(mode) for release in releases)
    if values > MOST_VALUES:
        raise ProgramRejected(
            "too_many_cells",
            f"the program releases {values} integers, at most {MOST_VALUES} are allowed: split it",
        )
    columns = _columns(releases, catalogue)
    names = [column.name for column in columns]
    minimum = max(int(dataset.policy["minimum_cohort"]) for dataset in ordered)
    return Plan(
        mode=mode,
        micro_epsilon=total,
        minimum_cohort=minimum,
        statements=tuple(_canonical(one.statement) for one in found),
        uses=uses,
        datasets=tuple(
            PlanDataset(
                id=d.id,
                version=d.version,
                manifest_hash=d.manifest_hash,
                capacity=d.capacity,
                sources=catalogue.pool.sources(place, names),
            )
            for place, d in enumerate(ordered)
        ),
        columns=columns,
        releases=releases,
        align=tuple(_parsable(align.text()) for align in catalogue.align),
        atto_delta=atto_delta,
        rules=rules(found, uses, tables, minimum) if mode == "exact" and minimum > 1 else (),
    )


def _with_delta(
    charged: Sequence[int], total: int, atto_delta: int, tables: Sequence[Table], mode: str
) -> list[int]:
    if mode != "dp":
        raise ProgramRejected("delta_in_exact_mode", "exact mode charges nothing: leave out delta")
    if not isinstance(atto_delta, int) or isinstance(atto_delta, bool) or atto_delta < 0:
        raise ProgramRejected("delta_invalid", "delta must be positive")
    try:
        return pld.charges(charged, total, atto_delta, sum(map(released, tables)))
    except DeltaRejected as wrong:
        raise ProgramRejected(wrong.code, str(wrong)) from None


def _shared(
    found: Sequence[Resolved], charges: Sequence[int]
) -> tuple[tuple[tuple[int, ...], ...], list[Table], list[int]]:
    """Which tables each statement reads, every table once, and what each is charged: the sum of its statements'."""
    places: dict[Table, int] = {}
    charged: list[int] = []
    uses = []
    for one, micro in zip(found, charges, strict=True):
        try:
            parts = weighted(micro, [weight for _, weight in one.tables])
        except EpsilonRejected as wrong:
            raise ProgramRejected(wrong.code, str(wrong), at=one.statement.at) from None
        own = []
        for (table, _), part in zip(one.tables, parts, strict=True):
            place = places.setdefault(table, len(places))
            if place == len(charged):
                charged.append(0)
            charged[place] += part
            own.append(place)
        uses.append(tuple(own))
    return tuple(uses), list(places), charged


def _canonical(statement: Statement) -> str:
    """The text of a statement as the plan keeps it: in the codebook's words, without its epsilon."""
    return _parsable(replace(statement, micro_epsilon=None).text())


def _parsable(text: str) -> str:
    """A text that a plan keeps, which must be as bounded as one that was asked."""
    if len(text.encode()) > LONGEST_TEXT or len(_WORDS.findall(text)) > MOST_TOKENS:
        parse(text)  # raises: names of the codebook are longer than those asked with
    return text


def _checked(datasets: Sequence[DatasetFacts], mode: str) -> tuple[DatasetFacts, ...]:
    if mode not in MODES:
        raise ProgramRejected("mode", "mode is dp or exact")
    ordered = tuple(sorted(datasets, key=lambda dataset: dataset.id))
    if not ordered:
        raise ProgramRejected("no_dataset", "name at least one dataset")
    if len({dataset.id for dataset in ordered}) < len(ordered):
        raise ProgramRejected("duplicate", "a dataset is named twice")
    return ordered


def _charges(asked: int, named: int | None, statements: Sequence[Statement]) -> tuple[int, list[int]]:
    """What the plan charges, and each statement's part of it."""
    if not isinstance(asked, int) or isinstance(asked, bool) or asked <= 0:
        raise ProgramRejected("epsilon_invalid", "epsilon must be positive")
    if asked > LARGEST_QUERY:
        raise ProgramRejected("epsilon_too_large", f"epsilon is at most {short_text(LARGEST_QUERY)}")
    if named is not None and named > asked:
        raise ProgramRejected(
            "epsilon_exceeds_request",
            f"the program names epsilon {short_text(named)}, the request has {short_text(asked)}",
        )
    total = asked if named is None else named
    own = [statement.micro_epsilon for statement in statements]
    try:
        split = shares(total, own)
    except EpsilonRejected as wrong:
        raise ProgramRejected(wrong.code, str(wrong)) from None
    return (total if None in own else sum(split)), split


def _resolved(statement: Statement, catalogue: Catalogue, mode: str) -> Resolved:
    statement = _settled(statement, catalogue)
    columns = tuple(catalogue.column(name) for name in statement.columns)
    groups = tuple(catalogue.group(name) for name in statement.by)
    statistic = statistics()[statement.statistic].of(columns)
    if statistic.exact and mode == "dp":
        raise ProgramRejected(
            "exact_only",
            f"{statistic.name} is for exact mode: its law is that of counts without noise; ask odds_ratio",
            at=statement.at,
        )
    level = _own_level(statement, statistic, columns, catalogue)
    strata = _strata(statement, statistic, columns, groups, catalogue)
    wanted = statistic.tables(
        Asked(
            statement=statement,
            columns=columns,
            groups=groups,
            level=level,
            strata=strata,
            find=catalogue.column,
        )
    )
    condition = None if level is not None else _condition(statement, columns, catalogue)
    _groupable(statement, groups, [*strata, *(by for one in wanted for by in one.inner)])
    cohorts: list[Cohort] = []
    said: list[Predicate] = []
    if condition is not None:
        field, code = condition
        cohorts.append(among(field, {code}))
        said.append(Compare(Name(field.name), "==", Name(field.levels[code].label)))
    if statement.where is not None:
        cohort, predicate = compile_predicate(statement.where, catalogue)
        cohorts.append(cohort)
        said.append(predicate)
    tables = []
    for one in wanted:
        by = (*(_groups(field, catalogue) for field in groups), *strata, *one.inner)
        _bounded(statement, by)
        needed = columns if one.present is None else one.present
        there = [field for field in (*needed, *groups) if field is not catalogue.dataset]
        cohort = both(*(present(field) for field in there), *cohorts)
        tables.append(
            (Table(cohort=cohort, by=by, numbers=one.numbers, shape=one.shape, at=statement.at), one.weight)
        )
    canonical = replace(
        statement,
        columns=tuple(Name(field.name) for field in columns),
        level=None if level is None else Name(columns[0].levels[level].label),
        where=conjunction(said) if said else None,
        by=tuple(Name(field.name) for field in groups),
        unstratified=statement.unstratified and len(catalogue.dataset.levels) > 1,
    )
    fitted = statistic.parameters(columns)
    return Resolved(
        statement=canonical,
        tables=tuple(tables),
        model=(sum(field is not catalogue.dataset for field in groups), fitted) if fitted else None,
    )


def _groups(field: Field, catalogue: Catalogue) -> By:
    """The partition by a column, or by the dataset."""
    return replace(every(field), column=DATASET) if field is catalogue.dataset else every(field)


def _strata(
    statement: Statement,
    statistic: Statistic,
    columns: Sequence[Field],
    groups: Sequence[Field],
    catalogue: Catalogue,
) -> tuple[By, ...]:
    """The partitions that an effect is computed in: by the dataset, where there are several, and by columns.

    Two datasets together may show an effect that neither shows (Simpson, J. R. Stat. Soc. B 13, 1951): only a
    statement that says so is unstratified.
    """
    if statistic.strata is None:
        if statement.unstratified:
            raise ProgramRejected(
                "no_strata", f"{statistic.name} has no strata: leave out unstratified", at=statement.at
            )
        return ()
    pooled = len(catalogue.dataset.levels) > 1 and catalogue.dataset not in groups
    strata = [_groups(catalogue.dataset, catalogue)] if pooled and not statement.unstratified else []
    for field, name in zip(columns[statistic.strata :], statement.columns[statistic.strata :], strict=True):
        if field.kind == "number":
            raise ProgramRejected(
                "wrong_type",
                f"{field.name} is a number and makes no strata: name a category, or cut the number in the codebook",
                at=name.at,
            )
    return (*strata, *(every(field) for field in columns[statistic.strata :]))


def _settled(statement: Statement, catalogue: Catalogue) -> Statement:
    """The statement with a last name that is no level of the first column, but a column, among the columns."""
    known = statistics()[statement.statistic]
    if known.level != "own" or statement.level is None or len(statement.columns) >= known.columns[1]:
        return statement
    first = catalogue.column(statement.columns[0])
    if matching(first, statement.level.text) or not catalogue.knows(statement.level):
        return statement
    return replace(statement, columns=(*statement.columns, statement.level), level=None)


def _own_level(
    statement: Statement, statistic: Statistic, columns: Sequence[Field], catalogue: Catalogue
) -> int | None:
    """The code of the level that the statistic is about, one of its first column."""
    if statistic.level not in ("must", "own") or (statement.level is None and columns[0].kind == "number"):
        return None
    if statement.level is None:
        said = [code for code, level in enumerate(columns[0].levels) if level.value == columns[0].yes]
        if not said:
            raise ProgramRejected(
                "level_needed",
                f"no level of {columns[0].name} says yes: name the one that counts, last in the parentheses",
                at=statement.columns[0].at,
                suggestions=[level.label for level in columns[0].levels[:8]],
            )
        return said[0]
    if columns[0].kind == "number":
        name = columns[0].name
        raise ProgramRejected(
            "wrong_type",
            f"{name} is a number and has no levels: ask count({Name(name)}) where {Name(name)} > ...",
            at=statement.columns[0].at,
        )
    return level_code(columns[0], statement.level)


def _condition(
    statement: Statement, columns: Sequence[Field], catalogue: Catalogue
) -> tuple[Field, int] | None:
    """The level that restricts the cohort: of the category itself before those of other columns."""
    if statement.level is None:
        return None
    if columns[0].kind == "category" and matching(columns[0], statement.level.text):
        return columns[0], level_code(columns[0], statement.level)
    return catalogue.level(statement.level)


def _groupable(statement: Statement, groups: Sequence[Field], inner: Sequence[By]) -> None:
    taken = {by.column for by in inner}
    for field, name in zip(groups, statement.by, strict=True):
        if field.kind == "number":
            raise ProgramRejected(
                "by_number",
                f"{field.name} is a number and makes no groups: ask once for each range,"
                f" such as where {Name(field.name)} < ...",
                at=name.at,
            )
        if field.name in taken:
            raise ProgramRejected("duplicate", f"{field.name} stands twice in this statement", at=name.at)
        taken.add(field.name)


def _bounded(statement: Statement, by: Sequence[By]) -> None:
    cells = 1
    for one in by:
        cells *= one.size
    if cells > MOST_CELLS:
        product = " x ".join(f"{one.column or 'dataset'} {one.size}" for one in by)
        raise ProgramRejected(
            "too_many_cells",
            f"this table has {cells} cells ({product}), at most {MOST_CELLS} are allowed: drop a column of by",
            at=statement.at,
        )


def _columns(releases: Sequence[Release], catalogue: Catalogue) -> tuple[PlanColumn, ...]:
    """The columns that the releases read, in the order of the first dataset's codebook."""
    read = set().union(*(release.columns for release in releases))
    fields = {name: catalogue.pool.column(name) for name in catalogue.names if name in read}
    return tuple(PlanColumn(name=name, bits=field.bits) for name, field in fields.items())
