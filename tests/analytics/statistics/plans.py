"""Plans as the compiler writes them, built by hand, and small random tables to ask."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np

from analytics.query.columns import Field, Level
from analytics.query.model import By, Operand, Plan, PlanColumn, PlanDataset, Release, Rules

SIMPLEX = {
    1: ((1, 1), (1, -1)),  # M + v, M - v
    2: ((1, -2, 1), (2, 0, -2), (1, 2, 1)),  # (M - v)^2, 2 (M - v)(M + v), (M + v)^2
}


def number(name, minimum="0", maximum="100", resolution="0.1", unit="u"):
    return Field(
        name=name,
        title=name,
        source=name,
        type="number",
        kind="number",
        unit=unit,
        minimum=Decimal(minimum),
        maximum=Decimal(maximum),
        resolution=Decimal(resolution),
    )


def category(name, *labels):
    levels = tuple(Level(str(i), label) for i, label in enumerate(labels))
    return Field(name=name, title=name, source=name, type="category", kind="category", levels=levels)


FIELDS = (
    number("x"),
    number("y", "-50", "50", "0.05"),
    category("arm", "placebo", "imatinib"),
    category("region", "North East", "North West", "South East", "South West"),
)


def facts(*fields, datasets=1):
    schema = SimpleNamespace(fields=fields or FIELDS, title="")
    return [SimpleNamespace(id=f"{i:032x}", schema=schema) for i in range(datasets)]


def simplex(degree, reach):
    """Rows over (1, v, v^2, ...) of the simplex of that degree with M = reach."""
    powers = [reach ** (degree - j) for j in range(degree + 1)]
    return tuple(tuple(k * p for k, p in zip(row, powers, strict=True)) for row in SIMPLEX[degree])


def by(column, size=None, groups=None):
    return By(column=column, groups=groups or tuple((i,) for i in range(size)))


def operand(field, dropped=0):
    return Operand(column=field.name, bits=field.bits - dropped, dropped=dropped)


def count(mode="dp", micro=10**6, by=(), cohort=("all",)):
    return _release(((),), ((1,),), 1, mode, micro, by=by, cohort=cohort)


def moments(field, degree=2, mode="dp", micro=10**6, by=(), dropped=0, cohort=None):
    x, m = operand(field, dropped), 2 ** (field.bits - dropped - 1)
    monomials = tuple((i,) for i in range(degree + 1))
    return _release(
        monomials,
        simplex(degree, m),
        (2 * m) ** degree,
        mode,
        micro,
        by=by,
        operands=(x,),
        cohort=cohort or ("present", field.name),
    )


def pair(a, b, mode="dp", micro=10**6, by=()):
    ma, mb = 2 ** (a.bits - 1), 2 ** (b.bits - 1)
    cohort = ("and", ("present", a.name), ("present", b.name))
    operands = (operand(a), operand(b))
    if mode == "exact":
        needed = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
        return _release(needed, (), 1, mode, micro, by=by, operands=operands, cohort=cohort)
    monomials = tuple((i, j) for i in range(3) for j in range(3))
    transform = tuple(
        tuple(p * q for p in row for q in line) for row in simplex(2, ma) for line in simplex(2, mb)
    )
    sensitivity = (2 * ma) ** 2 * (2 * mb) ** 2
    return _release(monomials, transform, sensitivity, mode, micro, by=by, operands=operands, cohort=cohort)


def _release(monomials, transform, sensitivity, mode, micro, *, by=(), operands=(), cohort=("all",)):
    if mode == "exact":
        size = len(monomials)
        transform = tuple(tuple(int(i == j) for j in range(size)) for i in range(size))
    return Release(
        cohort=cohort,
        by=tuple(by),
        operands=operands,
        monomials=monomials,
        transform=transform,
        sensitivity=sensitivity,
        micro_epsilon=0 if mode == "exact" else micro,
        scale=None if mode == "exact" else Fraction(sensitivity * 10**6, micro),
    )


def at(release, micro):
    """The same release at another epsilon."""
    return replace(release, micro_epsilon=micro, scale=Fraction(release.sensitivity * 10**6, micro))


def plan(text, release, mode="dp", minimum=11, datasets=1, capacity=4096, fields=FIELDS):
    return Plan(
        mode=mode,
        micro_epsilon=release.micro_epsilon,
        minimum_cohort=minimum,
        statements=(text,),
        uses=((0,),),
        datasets=tuple(
            PlanDataset(id=f"{i:032x}", version=1, manifest_hash="0" * 64, capacity=capacity)
            for i in range(datasets)
        ),
        columns=tuple(PlanColumn(name=f.name, bits=f.bits) for f in fields),
        releases=(release,),
        rules=(Rules(amounts=(None,) * len(release.operands)),) if mode == "exact" and minimum > 1 else (),
    )


def table(rng, n, fields=FIELDS, missing=0.1):
    """n random rows: column -> (codes, present)."""
    columns = {}
    for field in fields:
        present = rng.random(n) >= missing
        columns[field.name] = (np.where(present, rng.integers(0, field.codes, n), 0), present)
    return columns


def values(table, field):
    """The values that the codes of a numeric column stand for, of rows that have one."""
    codes, present = table[field.name]
    return float(field.minimum) + float(field.resolution) * codes[present]


def noised(rng, plan, integers):
    """Discrete Laplace noise on every integer, by the definition: one geometric less another."""
    rows = []
    for release, row in zip(plan.releases, integers, strict=True):
        p = -np.expm1(-1 / float(release.scale))
        rows.append(
            [x + int(a) - int(b) for x, (a, b) in zip(row, rng.geometric(p, (len(row), 2)), strict=True)]
        )
    return rows


CODEBOOK = {
    "primaryKey": "patient",
    "fields": [
        {
            "name": f.name,
            "type": "number",
            "unit": f.unit,
            "constraints": {"minimum": str(f.minimum), "maximum": str(f.maximum)},
            "resolution": str(f.resolution),
        }
        if f.kind == "number"
        else {
            "name": f.name,
            "type": "string",
            "categories": [{"value": level.value, "label": level.label} for level in f.levels],
        }
        for f in FIELDS
    ],
    "capacity": 1024,
    "policy": {
        "epsilon": "10",
        "epsilon_per_query": "5",
        "minimum_cohort": 11,
        "modes": ["dp", "exact"],
        "statistics": ["*"],
        "expires": "2035-01-01",
    },
}
