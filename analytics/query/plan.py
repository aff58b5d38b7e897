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

from analytics.privacy.accountant import LARGEST_QUERY, EpsilonRejected, shares, short_text, weighted
from analytics.query.cohort import among, both, columns_of, compile_predicate, conjunction, present
from analytics.query.columns import Field
from analytics.query.describe import describe
from analytics.query.errors import ProgramRejected
from analytics.query.language import parse
from analytics.query.lexer import LONGEST_TEXT, MOST_TOKENS
from analytics.query.model import By, Cohort, Plan, PlanColumn, PlanDataset, Release
from analytics.query.resolve import Catalogue, DatasetFacts, matching
from analytics.query.statistic import Asked, Statistic, every, statistics
from analytics.query.tables import Resolved, Table, sized
from analytics.query.tree import Compare, Name, Predicate, Statement

__all__ = ["DatasetFacts", "ProgramRejected", "compile", "describe"]

MODES = ("dp", "exact")
MOST_CELLS = 4096  # of one statement
MOST_VALUES = 16384  # released integers of a whole program

_WORDS = re.compile(r"[\w.-]+|[^\w\s]")  # no fewer than the tokens of a canonical text


def compile(
    program: str | Mapping[str, Any], datasets: Sequence[DatasetFacts], micro_epsilon: int, mode: str
) -> Plan:
    """The plan of a program over one dataset or several pooled ones.

    `micro_epsilon` is what the request allows to be charged to each dataset. The plan's own figure is what
    is charged: the program's total where it names one, the sum where every statement names its own, else all
    of it. Exact mode ignores every epsilon and charges 0.
    Raises  ProgramRejected with code, place and suggestions; nothing else, whatever the text.
    """
    parsed = parse(program)
    ordered = _checked(datasets, mode)
    catalogue = Catalogue(ordered)
    found = [_resolved(statement, catalogue) for statement in parsed.statements]
    total, charges = 0, [0] * len(found)
    if mode == "dp":
        total, charges = _charges(micro_epsilon, parsed.micro_epsilon, parsed.statements)
    capacity = sum(dataset.capacity for dataset in ordered)
    uses, tables, charged = _shared(found, charges)
    releases = tuple(
        sized(table, micro, capacity, mode) for table, micro in zip(tables, charged, strict=True)
    )
    values = sum(release.cells * release.values_per_cell(mode) for release in releases)
    if values > MOST_VALUES:
        raise ProgramRejected(
            "too_many_cells",
            f"the program releases {values} integers, at most {MOST_VALUES} are allowed: split it",
        )
    return Plan(
        mode=mode,
        micro_epsilon=total,
        minimum_cohort=max(int(dataset.policy["minimum_cohort"]) for dataset in ordered),
        statements=tuple(_canonical(one.statement) for one in found),
        uses=uses,
        datasets=tuple(
            PlanDataset(id=d.id, version=d.version, manifest_hash=d.manifest_hash, capacity=d.capacity)
            for d in ordered
        ),
        columns=_columns(releases, ordered[0]),
        releases=releases,
    )


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
    text = replace(statement, micro_epsilon=None).text()
    if len(text.encode()) > LONGEST_TEXT or len(_WORDS.findall(text)) > MOST_TOKENS:
        parse(text)  # names of the codebook may be longer than those asked with: what is kept must parse
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


def _resolved(statement: Statement, catalogue: Catalogue) -> Resolved:
    columns = tuple(catalogue.column(name) for name in statement.columns)
    groups = tuple(catalogue.column(name) for name in statement.by)
    statistic = statistics()[statement.statistic].of(columns)
    level = _own_level(statement, statistic, columns, catalogue)
    strata = _strata(statement, statistic, columns)
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
        by = (*(every(field) for field in groups), *strata, *one.inner)
        _bounded(statement, by)
        needed = columns if one.present is None else one.present
        cohort = both(*(present(field) for field in (*needed, *groups)), *cohorts)
        tables.append(
            (Table(cohort=cohort, by=by, numbers=one.numbers, shape=one.shape, at=statement.at), one.weight)
        )
    canonical = replace(
        statement,
        columns=tuple(Name(field.name) for field in columns),
        level=None if level is None else Name(columns[0].levels[level].label),
        where=conjunction(said) if said else None,
        by=tuple(Name(field.name) for field in groups),
    )
    return Resolved(statement=canonical, tables=tuple(tables))


def _strata(statement: Statement, statistic: Statistic, columns: Sequence[Field]) -> tuple[By, ...]:
    """The partitions by the columns that make strata."""
    if statistic.strata is None:
        return ()
    for field, name in zip(columns[statistic.strata :], statement.columns[statistic.strata :], strict=True):
        if field.kind == "number":
            raise ProgramRejected(
                "wrong_type",
                f"{field.name} is a number and makes no strata: name a category, or cut the number in the codebook",
                at=name.at,
            )
    return tuple(every(field) for field in columns[statistic.strata :])


def _own_level(
    statement: Statement, statistic: Statistic, columns: Sequence[Field], catalogue: Catalogue
) -> int | None:
    """The code of the level that the statistic is about, one of its first column."""
    if statement.level is None or statistic.level != "must":
        return None
    if columns[0].kind == "number":
        name = columns[0].name
        raise ProgramRejected(
            "wrong_type",
            f"{name} is a number and has no levels: ask count({Name(name)}) where {Name(name)} > ...",
            at=statement.columns[0].at,
        )
    return catalogue.code(columns[0], statement.level)


def _condition(
    statement: Statement, columns: Sequence[Field], catalogue: Catalogue
) -> tuple[Field, int] | None:
    """The level that restricts the cohort: of the category itself before those of other columns."""
    if statement.level is None:
        return None
    if columns[0].kind == "category" and matching(columns[0], statement.level.text):
        return columns[0], catalogue.code(columns[0], statement.level)
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
        product = " x ".join(f"{one.column} {one.size}" for one in by)
        raise ProgramRejected(
            "too_many_cells",
            f"this table has {cells} cells ({product}), at most {MOST_CELLS} are allowed: drop a column of by",
            at=statement.at,
        )


def _columns(releases: Sequence[Release], dataset: DatasetFacts) -> tuple[PlanColumn, ...]:
    """The columns that the releases read, in the order of the first dataset's codebook."""
    read: set[str] = set()
    for release in releases:
        read |= columns_of(release.cohort)
        read |= {by.column for by in release.by} | {operand.column for operand in release.operands}
    return tuple(PlanColumn(name=f.name, bits=f.bits) for f in dataset.schema.fields if f.name in read)
