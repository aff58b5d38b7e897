"""A dummy twin of a dataset: made-up patients from the codebook alone, who answer a program in clear at once.

Runs at   the analyst's own machine.
Sees      codebook, policy and public facts; no patient is in it and nothing of one has ever been.
For       trying a program, its groups and its figures' form before a question is submitted.

Numbers are uniform over the declared range, levels equally frequent, unless facts register how many patients a level
has (`analytics.query.planned`): then it has so many. Columns are independent, but for what the codebook computes from
others. One value in fifty is missing. The same codebook always makes the same twin.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from analytics.query.columns import Field
from analytics.query.errors import ProgramRejected
from analytics.query.model import Plan, Release
from analytics.query.planned import Study
from analytics.query.resolve import Catalogue, DatasetFacts
from analytics.query.schema import Schema
from analytics.reference import Table, evaluate
from analytics.statistics import figures, noise

LABEL = "dummy twin: made up from the codebook, no patient"
MISSING = 0.02
ROWS = 1000  # where facts give no n
MOST_ROWS = 5000
TRIES = 8  # to draw values that derived fields can take, before one of them is missing

Raw: TypeAlias = Decimal | str | None  # of a raw column: a number, a text, or missing
Exact: TypeAlias = Fraction | int | None  # of a field: a number's value, a level's code, or missing


def rows(facts: DatasetFacts) -> int:
    """How many patients a twin has: as many as facts say, else 1,000; never more than capacity or 5,000."""
    study = Study.of(Catalogue([facts]))
    return min(study.n if study.told else ROWS, facts.capacity, MOST_ROWS)


def patients(facts: DatasetFacts, n: int | None = None) -> list[dict[str, Raw]]:
    """The raw rows of a twin, keyed by source column; those of `n` patients, else of `rows(facts)`."""
    n = rows(facts) if n is None else n
    fields = [field for field in facts.schema.fields if field.derive is None]
    columns = list(dict.fromkeys(field.source for field in fields))
    first = {column: next(f for f in fields if f.source == column) for column in columns}
    fixed = _registered(facts, n)
    made: list[dict[str, Raw]] = [{} for _ in range(n)]
    todo = list(range(n))
    for attempt in range(TRIES):
        u = noise.uniforms(_bits(facts, f"rows {attempt}"), (len(todo), len(columns), 2))
        for patient, own in zip(todo, u, strict=True):
            made[patient] = {
                column: fixed[column][patient] if column in fixed else _drawn(first[column], *own[k])
                for k, column in enumerate(columns)
            }
        todo = [patient for patient in todo if _refused(facts.schema, made[patient])]
    for patient in todo:
        while refused := _refused(facts.schema, made[patient]):
            for source in refused:
                made[patient][source] = None
    return made


def table(facts: DatasetFacts, raw: Sequence[Mapping[str, Raw]]) -> Table:
    """The rows as codes: column -> (codes, present), as a provider would encode them."""
    read = [values(facts.schema, row) for row in raw]
    found = {}
    for field in facts.schema.fields:
        codes = [_code(field, one[field.name]) for one in read]
        found[field.name] = (
            np.array([code or 0 for code in codes], dtype=np.int64),
            np.array([code is not None for code in codes], dtype=bool),
        )
    return found


def answer(plan: Plan, facts: Sequence[DatasetFacts]) -> dict[str, Any]:
    """What the twins of a plan's datasets answer, as the statements of a Result; in dp mode with noise of its scales.

    The noise is drawn here and now from the plan's hash: it protects nobody, for there is nobody.
    """
    by_id = {fact.id: fact for fact in facts}
    ordered = [by_id[dataset.id] for dataset in plan.datasets]
    totals = evaluate(plan, ordered, [table(fact, patients(fact)) for fact in ordered])
    integers = [
        _noised(release, own, f"{plan.hash} {place}")
        for place, (release, own) in enumerate(zip(plan.releases, totals, strict=True))
    ]
    return {
        "twin": LABEL,
        "mode": plan.mode,
        "patients": [rows(fact) for fact in ordered],
        "statements": figures(plan, ordered, integers),
    }


def raw_file(facts: DatasetFacts, n: int | None = None) -> str:
    """The twin as the CSV file that a provider could check and upload.

    Raises  ProgramRejected, no_raw_file, where the codebook joins files or makes one row of several.
    """
    fields = [field for field in facts.schema.fields if field.derive is None]
    joined = len({(field.file, field.sheet) for field in fields}) > 1 or any(field.sheet for field in fields)
    if joined or any(field.reduce or field.where for field in fields):
        raise ProgramRejected(
            "no_raw_file",
            "this codebook joins files or reduces several rows of a patient: the twin has codes only",
        )
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    first = {field.source: field for field in reversed(fields)}
    columns = list(dict.fromkeys(field.source for field in fields))
    lines.writerow([facts.schema.primary_key, *columns])
    for number, row in enumerate(patients(facts, n), 1):
        lines.writerow([f"twin-{number}", *(_written(first[column], row[column]) for column in columns)])
    return text.getvalue()


def values(schema: Schema, row: Mapping[str, Raw]) -> dict[str, Exact]:
    """Each field's exact value of one raw row, derived ones too: a number, a level's code, or None."""
    found: dict[str, Exact] = {}
    for field in schema.fields:
        number = _computed(schema, field, found) if field.derive else _read(field, row[field.source])
        if field.cut and isinstance(number, Fraction):
            level = field.interval(number)
            number = level if 0 <= level < field.codes else None
        found[field.name] = number
    return found


def _refused(schema: Schema, row: Mapping[str, Raw]) -> set[str]:
    """Source columns behind values that a field calls an error, as a provider's check would."""
    found = values(schema, row)
    refused: set[str] = set()
    for field in schema.fields:
        if field.out_of_range != "error":
            continue
        if field.derive is None:
            raw = row[field.source]
            bad = raw is not None and _code(field, found[field.name]) is None
        else:
            number = _computed(schema, field, found)
            bad = number is not None and _code(field, found[field.name]) is None
        if bad:
            refused |= _sources(schema, field)
    return {source for source in refused if row[source] is not None}


def _sources(schema: Schema, field: Field) -> set[str]:
    if field.derive is None:
        return {field.source}
    return {source for name in field.derive.fields for source in _sources(schema, schema.field(name))}


def _code(field: Field, value: Exact) -> int | None:
    """The code of a field's value; None if missing or out of range."""
    if value is None or field.kind == "category":
        return None if value is None else int(value)
    code = field.code(Fraction(value))
    if field.out_of_range == "clamp":
        return min(max(code, 0), field.codes - 1)
    return code if 0 <= code < field.codes else None


def _read(field: Field, raw: Raw) -> Exact:
    """A raw value as a field reads it: None where it is missing or no value of the field."""
    if raw is None or _text(field, raw) in field.missing_values:
        return None
    if field.reads_number:
        return Fraction(raw) if isinstance(raw, Decimal) else None
    text = field.recodes.get(str(raw), str(raw))
    return next((code for code, level in enumerate(field.levels) if level.value == text), None)


def _computed(schema: Schema, field: Field, found: Mapping[str, Exact]) -> Exact:
    """A derived field's value from the values of the fields that it names (docs/codebook.md)."""
    assert field.derive is not None
    parts = [found[name] for name in field.derive.fields]
    if field.derive.how == "any":
        yes = [
            part is not None and flag.levels[int(part)].value == flag.yes
            for part, flag in zip(parts, map(schema.field, field.derive.fields), strict=True)
        ]
        if not any(yes) and None in parts:
            return None
        return [level.value for level in field.levels].index("yes" if any(yes) else "no")
    if any(part is None for part in parts):
        return None
    numbers = [Fraction(part) for part in parts if part is not None]
    if field.derive.how == "scale":
        return numbers[0] * Fraction(field.derive.factor) + Fraction(field.derive.offset)
    if field.derive.how == "difference":
        return numbers[0] - numbers[1]
    return numbers[0] / numbers[1] if numbers[1] else None


def _drawn(field: Field, u: float, missing: float) -> Raw:
    """One raw value of the first field of its column."""
    if missing < MISSING and field.missing_values:
        return None
    if field.cut:
        low, high = list(pairwise(field.cut))[int(u * field.codes)]
        if low is not None:
            return low
        assert high is not None, "one end of an interval is an edge"
        return high - 1
    code = int(u * field.codes)
    return field.levels[code].value if field.kind == "category" else field.value(code)


def _registered(facts: DatasetFacts, n: int) -> dict[str, list[Raw]]:
    """Columns of which facts say how many patients each level has: so many of each, in an order of its own."""
    shares = Study.of(Catalogue([facts])).shares
    found: dict[str, list[Raw]] = {}
    for field in facts.schema.fields:
        if field.name not in shares or field.derive or field.cut or field.source in found:
            continue
        ends = np.rint(np.cumsum(shares[field.name]) * n).astype(int)
        codes = np.searchsorted(ends, np.arange(n), side="right")
        order = np.argsort(noise.uniforms(_bits(facts, f"level of {field.name}"), (n,)), kind="stable")
        found[field.source] = [field.levels[min(int(k), field.codes - 1)].value for k in codes[order]]
    return found


def _noised(release: Release, totals: Sequence[int], label: str) -> list[int]:
    if release.scale is None:
        return list(totals)
    bits = noise.generator(f"twin {label}", totals)
    drawn = noise.noise(float(release.scale), noise.uniforms(bits, (len(totals),)))
    return [total + int(z) for total, z in zip(totals, drawn, strict=True)]


def _text(field: Field, raw: Raw) -> str:
    text = str(raw) if not isinstance(raw, Decimal) else format(raw, "f")
    return text.replace(".", field.decimal_char) if field.decimal_char and field.reads_number else text


def _written(field: Field, raw: Raw) -> str:
    return field.missing_values[0] if raw is None else _text(field, raw)


def _bits(facts: DatasetFacts, label: str) -> np.random.PCG64:
    return noise.generator(f"twin {facts.id} {facts.schema.hash} {label}", [])
