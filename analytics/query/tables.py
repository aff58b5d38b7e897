"""The size of a released table: its integers, its sensitivity, its noise, and the bits it can afford.

Totals of products must not wrap in the ring: capacity * sensitivity + 2**L < 2**63, L <= 61 digits of noise.
Where they would, the statement drops low bits of its columns for itself (free on planes), never beyond 1 % of
the declared range; a statement that would need more is refused. Public arithmetic on integers and fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from analytics.privacy import mechanisms, sensitivity
from analytics.privacy.accountant import short_text
from analytics.query.columns import Field
from analytics.query.errors import ProgramRejected
from analytics.query.model import By, Cohort, Operand, Release
from analytics.query.tree import Statement

COARSEST = 100  # a step is at most this part of the declared range
# A mean is asked with "moments": its interval needs the squares, and they cost it nothing (docs/decisions/0008).
NOISED: Mapping[str, Callable[..., sensitivity.Table]] = {
    "pair": sensitivity.sum_pair,
    "moments": sensitivity.moment_simplex,
    "joint": sensitivity.joint_simplex,
}
EXACT = {
    "pair": ((0,), (1,)),
    "moments": ((0,), (1,), (2,)),
    "joint": ((0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1)),
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """What is totalled: integers of `shape` of `numbers` in every cell of `by` over a cohort. Equal ones are one."""

    cohort: Cohort
    by: tuple[By, ...]
    numbers: tuple[Field, ...] = field(hash=False)
    shape: str
    at: tuple[int, int] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A statement in the codebook's words, and its tables with the weight of each.

    model  how many of the first partitions make groups, those by dataset not counted, and the parameters that are
           fitted in each group; None: nothing is fitted
    """

    statement: Statement
    tables: tuple[tuple[Table, int], ...]
    model: tuple[int, int] | None = None


def sized(asked: Table, micro_epsilon: int, capacity: int, mode: str) -> Release:
    """The release of a table; `capacity` is the rows of all datasets together.

    Raises  ProgramRejected: epsilon_too_small (the noise alone would not fit), overflow (1 % of the range is
            too fine for this capacity and epsilon).
    """
    operands = [Operand(column=field.name, bits=field.bits) for field in asked.numbers]
    while True:
        table = _table(asked.shape, operands, mode)
        scale = mechanisms.scale(table.sensitivity, micro_epsilon) if mode == "dp" else None
        if _fits(table, scale, capacity):
            break
        operands = _coarser(operands, asked, micro_epsilon)
    return Release(
        cohort=asked.cohort,
        by=asked.by,
        operands=tuple(operands),
        monomials=table.monomials,
        transform=table.transform,
        sensitivity=table.sensitivity,
        micro_epsilon=micro_epsilon,
        scale=scale,
    )


def released(asked: Table) -> int:
    """How many integers are released of a table in `dp` mode."""
    found = {"count": 1, "pair": 2, "moments": 3, "joint": 9}[asked.shape]
    for by in asked.by:
        found *= by.size
    return found


def _table(shape: str, operands: Sequence[Operand], mode: str) -> sensitivity.Table:
    reaches = [2 ** (operand.bits - 1) for operand in operands]
    if shape == "count":
        return sensitivity.count()
    if mode == "exact":
        return sensitivity.plain(EXACT[shape], reaches)
    return NOISED[shape](*reaches)


def _fits(table: sensitivity.Table, scale: Fraction | None, capacity: int) -> bool:
    if scale is None:
        return capacity * table.sensitivity < 2**63
    return mechanisms.fits(scale, capacity, table.sensitivity)


def _coarser(operands: Sequence[Operand], asked: Table, micro_epsilon: int) -> list[Operand]:
    """One low bit less in the widest column that may still lose one."""
    spare = [
        (operand.bits, -place)
        for place, (operand, field) in enumerate(zip(operands, asked.numbers, strict=True))
        if operand.bits > 1 and _step_after(operand, field) * COARSEST <= field.lattice[1] - field.lattice[0]
    ]
    if not operands:
        raise ProgramRejected(
            "epsilon_too_small",
            f"epsilon {short_text(micro_epsilon)} needs noise beyond the numbers the parties compute with",
            at=asked.at,
        )
    if not spare:
        names = " and ".join(field.name for field in asked.numbers)
        raise ProgramRejected(
            "overflow",
            f"sums of {names} fit only with steps above 1 % of the range: give the statement more epsilon"
            if micro_epsilon
            else f"sums of {names} fit only with steps above 1 % of the range",
            at=asked.at,
        )
    place = -max(spare)[1]
    return [
        Operand(column=o.column, bits=o.bits - 1, dropped=o.dropped + 1) if index == place else o
        for index, o in enumerate(operands)
    ]


def _step_after(operand: Operand, field: Field) -> Fraction:
    return field.lattice[2] * (1 << operand.dropped + 1)
