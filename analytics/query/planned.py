"""What public facts say of a study before a patient is counted: how many, in which groups, how spread.

    "facts": {"n": 746,
              "registered": {"arm": {"imatinib": 376, "placebo": 370}},
              "planned": {"bmi": {"sd": 5}, "death_flag": {"dead": 0.1}}}

`registered` counts patients at levels, `planned` holds what the protocol expected: a standard deviation, or parts of
patients at levels. Both come from registry and protocol, never from the data. Facts are free in form: what cannot be
read this way is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from statistics import median_low
from typing import Any

from analytics.query.columns import Field
from analytics.query.levels import matching
from analytics.query.model import DATASET, By, Cohort
from analytics.query.problems import exact
from analytics.query.resolve import Catalogue


@dataclass(frozen=True, kw_only=True)
class Study:
    """The datasets of a plan together.

    n         patients; an upper bound where facts give none
    told      whether facts give n in every dataset; else it is the capacity
    shares    of columns that facts tell of: the part of patients at each code
    sds       standard deviations that were planned
    """

    n: int
    told: bool
    shares: Mapping[str, Sequence[float]] = field(default_factory=dict)
    sds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, catalogue: Catalogue) -> Study:
        """Of the datasets of a question; a column counts where every dataset tells of it."""
        datasets, pool = catalogue.datasets, catalogue.pool
        said = [_whole(dataset.schema.facts.get("n")) for dataset in datasets]
        known = [n for n in said if n]
        if len(known) < len(datasets):
            known = [dataset.capacity for dataset in datasets]
            told = False
        else:
            told = True
        n = sum(known)
        shares, sds = {DATASET: [size / n for size in known]}, {}
        for name, column in catalogue.fields.items():
            if name == DATASET:
                continue
            told_of = [(d.schema.facts, pool.own(place, name)) for place, d in enumerate(datasets)]
            parts = [_parts(facts, own) for facts, own in told_of]
            if all(parts):
                shares[name] = [0.0] * column.codes
                for place, (size, part) in enumerate(zip(known, parts, strict=True)):
                    for code, share in zip(pool.codes(place, name), part, strict=True):
                        shares[name][code] += size * share / n
            spread = [_sd(facts, own) for facts, own in told_of]
            if all(spread):
                sds[name] = max(sd for sd in spread if sd)
        return cls(n=n, told=told, shares=shares, sds=sds)

    def part(self, cohort: Cohort) -> float | None:
        """The part of patients in a cohort, its conditions taken as independent; None where facts do not tell."""
        kind, *rest = cohort
        if kind in ("all", "present"):
            return 1.0
        if kind == "in":
            shares = self.shares.get(rest[0])
            return None if shares is None else sum(shares[code] for code in rest[1] if code < len(shares))
        if kind not in ("and", "or", "not"):
            return None
        parts = [self.part(node) for node in rest]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        if kind == "and":
            return prod(known)
        return 1 - prod(1 - part for part in known) if kind == "or" else 1 - known[0]

    def groups(self, cohort: Cohort, by: Sequence[By]) -> tuple[list[float], bool]:
        """Planned patients in each group, row-major, and whether they are upper bounds: facts tell no part of the cohort.

        Groups of a column that facts do not tell of are taken as equally large.
        """
        part = self.part(cohort)
        whole = self.n * (1.0 if part is None else part)
        sides = [self._side(one) for one in by]
        return [whole * prod(cell) for cell in product(*sides)], part is None or not self.told

    def median(self, cohort: Cohort, by: Sequence[By], minimum: int) -> int:
        """Patients in a group of middle size among those of the minimum or more, if any; at least one."""
        sizes, _ = self.groups(cohort, by)
        return max(1, int(median_low([size for size in sizes if size >= minimum] or sizes)))

    def _side(self, by: By) -> list[float]:
        shares = self.shares.get(by.column)
        if shares is None or by.edges:
            return [1 / by.size] * by.size
        return [sum(shares[code] for code in codes) for codes in by.groups]


def _parts(facts: Mapping[str, Any], column: Field) -> list[float]:
    """The part of patients at each level: as registered, else as planned with the rest shared equally; or empty."""
    if column.kind != "category":
        return []
    counts = _levels(facts, "registered", column)
    if len(counts) == column.codes and sum(counts.values()) > 0:
        return [counts[code] / sum(counts.values()) for code in range(column.codes)]
    parts = _levels(facts, "planned", column)
    rest = 1 - sum(parts.values())
    others = column.codes - len(parts)
    if not parts or rest < -1e-9 or (not others and rest > 1e-9):
        return []
    return [parts.get(code, max(rest, 0.0) / max(others, 1)) for code in range(column.codes)]


def _levels(facts: Mapping[str, Any], key: str, column: Field) -> dict[int, float]:
    """Numbers not below zero that facts give for levels of a column, by code."""
    listed = facts.get(key)
    listed = listed.get(column.name) if isinstance(listed, Mapping) else None
    found: dict[int, float] = {}
    for text, value in listed.items() if isinstance(listed, Mapping) else ():
        codes, number = matching(column, str(text)), exact(value)
        if len(codes) == 1 and number is not None and number >= 0:
            found[codes[0]] = float(number)
    return found


def _sd(facts: Mapping[str, Any], column: Field) -> float | None:
    listed = facts.get("planned")
    listed = listed.get(column.name) if isinstance(listed, Mapping) else None
    number = exact(listed.get("sd")) if isinstance(listed, Mapping) and column.kind == "number" else None
    return float(number) if number is not None and number > 0 else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
