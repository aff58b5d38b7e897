"""What is allowed and yet looks wrong: warnings for a person, who knows the study.

Fields one by one here; what no patient can have in `plausible`, what cannot both be right in `contradiction`.
Nothing here stops an upload. Public: the codebook's own properties. Everything that depends on values is
said on the provider's screen only, and without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from analytics.query.schema import Field, Schema
from providers.codebook import Encoded
from providers.contradiction import contradictions
from providers.missing_codes import SENTINELS
from providers.plausible import implausible
from providers.report import Report
from providers.values import EXACT

MOST_NAMED = 5
NONE = np.array([], dtype=np.float64)


def suspect_values(schema: Schema, encoded: Encoded, report: Report) -> None:
    """Warn of empty fields, of values that look like codes for "not known", of times without their event."""
    for item in schema.fields:
        column = encoded.columns.get(item.name)
        if column is None:
            continue
        if not column.present.any():
            report.warning(
                "all_missing",
                f"no patient has a value of {item.name}",
                'check "where", "missingValues" and the key of the file',
                column=item.source,
            )
        elif item.kind == "number" and _sentinel(item, column.codes[column.present]):
            report.warning(
                "sentinel",
                f'the extreme value of {item.name} stands apart and looks like a code for "not known"',
                'list it in "missingValues" if it is one',
                column=item.source,
            )
        if item.role == "time" and item.event in encoded.columns:
            without = int((column.present & ~encoded.columns[item.event].present).sum())
            if without:
                report.warning(
                    "event_missing",
                    f"{without} of {encoded.patients} patients have {item.name} but no {item.event}: no survival time",
                    "check the event's column, or recode what means no event",
                    column=item.source,
                )
    sources = schema.facts.get("sources")
    if isinstance(sources, Mapping) and (
        empty := [str(name) for name, said in sources.items() if said == ""]
    ):
        report.warning(
            "no_source",
            f"facts.sources is empty for {', '.join(empty[:MOST_NAMED])}{' and more' * (len(empty) > MOST_NAMED)}",
            "cite the protocol's section or the clinical convention that the bounds and levels come from",
        )
    numbers = {item.name: numbers_of(item, encoded) for item in schema.fields if item.name in encoded.columns}
    for item in schema.fields:
        present = numbers.get(item.name, NONE)
        for rule, message, remedy in implausible(item, present[~np.isnan(present)]):
            report.warning(rule, message, remedy, column=item.source)
    for rule, message, remedy, source in contradictions(schema.fields, encoded.columns, numbers):
        report.warning(rule, message, remedy, column=source or None)


def numbers_of(item: Field, encoded: Encoded) -> NDArray[np.float64]:
    """The values of a number, (patients,), NaN where missing; all NaN for a category. Near enough to compare."""
    column = encoded.columns[item.name]
    if item.kind != "number":
        return np.full(len(column.codes), np.nan)
    minimum, _, resolution = (float(part) for part in item.lattice)
    return np.where(column.present, minimum + resolution * column.codes, np.nan)


def _sentinel(item: Field, codes: np.ndarray) -> bool:
    """Whether the largest or smallest value is 99 and the like, and far from all others."""
    assert item.minimum is not None and item.resolution is not None
    distinct = np.unique(codes)
    if len(distinct) < 5:
        return False
    spread = distinct[-2] - distinct[1] + 1
    for end, neighbour in ((distinct[-1], distinct[-2]), (distinct[0], distinct[1])):
        value = EXACT.add(item.minimum, EXACT.multiply(item.resolution, Decimal(int(end))))
        if value in SENTINELS and abs(int(end) - int(neighbour)) > spread:
            return True
    return False
