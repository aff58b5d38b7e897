"""A derived field from the exact values of the fields that it names: patient by patient, nothing rounded.

A difference, ratio or scaled value is missing where one of its fields is, and a ratio also where its divisor
is zero. `any` is yes where a flag says yes, else missing where a flag is missing, else no.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from analytics.query.schema import Field, Schema
from providers.ranging import Column, Exact, code_in, ranged
from providers.report import Report
from providers.trace import Trace


def operands(schema: Schema) -> frozenset[str]:
    """The names of the fields that others are derived from."""
    return frozenset(name for item in schema.fields if item.derive for name in item.derive.fields)


def derived(
    item: Field, schema: Schema, columns: Mapping[str, Column], report: Report, *, keep: bool, trace: Trace
) -> Column | None:
    """The field's column; None where a field it names could not be read, which the report says already."""
    assert item.derive is not None
    if any(name not in columns for name in item.derive.fields):
        return None
    if item.derive.how == "any":
        return _any(item, schema, columns)
    values = _values(item, columns, report)
    present = np.array([value is not None for value in values], dtype=bool)
    codes = np.array([0 if value is None else code_in(item, value) for value in values], dtype=np.int64)
    return ranged(
        item,
        codes,
        present,
        values if keep else None,
        report,
        place=lambda outside: {"column": item.name},
        complain=None,
        trace=trace,
    )


def _values(item: Field, columns: Mapping[str, Column], report: Report) -> Exact:
    assert item.derive is not None
    how, factor, offset = item.derive.how, Fraction(item.derive.factor), Fraction(item.derive.offset)
    parts = [_exact(columns[name]) for name in item.derive.fields]
    if how == "scale":
        return [None if x is None else x * factor + offset for x in parts[0]]
    pairs = list(zip(*parts, strict=True))
    if how == "difference":
        return [None if x is None or y is None else x - y for x, y in pairs]
    zeros = sum(x is not None and y == 0 for x, y in pairs)
    if zeros:
        report.warning(
            "ratio_by_zero",
            f"{item.name} is missing for {zeros} patients whose {item.derive.fields[1]} is 0",
            'list 0 in the "missingValues" of that field if it means not known',
            column=item.name,
        )
    return [None if x is None or not y else x / y for x, y in pairs]


def _exact(column: Column) -> list[Fraction | None]:
    assert column.exact is not None, "a field that others are derived from keeps its exact values"
    return [None if value is None else Fraction(value) for value in column.exact]


def _any(item: Field, schema: Schema, columns: Mapping[str, Column]) -> Column:
    assert item.derive is not None
    size = len(next(iter(columns.values())).present)
    said, known = np.zeros(size, dtype=bool), np.ones(size, dtype=bool)
    for name in item.derive.fields:
        flag, column = schema.field(name), columns[name]
        yes = [level.value for level in flag.levels].index(str(flag.yes))
        said |= column.present & (column.codes == yes)
        known &= column.present
    values = [level.value for level in item.levels]
    present = said | known
    codes = np.where(present, np.where(said, values.index("yes"), values.index("no")), 0)
    return Column(codes.astype(np.int64), present)
