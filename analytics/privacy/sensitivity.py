"""Which integers are released of a cell, and how much one patient can move them.

A patient is in at most one cell of a table and either adds a point of a simplex (non-negative terms whose sum
is the sensitivity, whatever the patient's values) or adds nothing. With v the centred code of a column and
-M <= v < M, M = 2**(bits - 1), every table below is an exact integer matrix applied to totals of monomials
1, v, v**2, so it costs no gate beyond those totals. Splitting epsilon over N, S and Q instead doubles the error.

    count     N                                             1
    sum       A = sum (M + v),  B = sum (M - v)             2 M for the pair
    moments   B0 = sum (M-v)**2, B1 = sum 2(M-v)(M+v), B2 = sum (M+v)**2    4 M**2 for the three
    joint     the nine products of two moment bases         16 Mx**2 My**2 for the nine
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

Exponents: TypeAlias = tuple[int, ...]
Matrix: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """What is released of one cell: transform @ totals of the monomials, and its L1 sensitivity."""

    monomials: tuple[Exponents, ...]
    transform: Matrix
    sensitivity: int


def count() -> Table:
    """The number of patients."""
    return Table(monomials=((),), transform=((1,),), sensitivity=1)


def sum_pair(reach: int) -> Table:
    """A and B of a column with |v| <= reach: N = (A + B) / 2M, S = (A - B) / 2."""
    return Table(monomials=((0,), (1,)), transform=((reach, 1), (reach, -1)), sensitivity=2 * reach)


def moment_simplex(reach: int) -> Table:
    """B0, B1, B2 of a column: N = (B0 + B1 + B2) / 4M^2, S = (B2 - B0) / 4M, Q = (B0 - B1 + B2) / 4."""
    return Table(monomials=((0,), (1,), (2,)), transform=_moments(reach), sensitivity=4 * reach**2)


def joint_simplex(x: int, y: int) -> Table:
    """The nine products of the moment bases of two columns, row-major: x's base outside."""
    return Table(
        monomials=tuple((i, j) for i in range(3) for j in range(3)),
        transform=tuple(
            tuple(a * b for a in row for b in column) for row in _moments(x) for column in _moments(y)
        ),
        sensitivity=16 * x**2 * y**2,
    )


def plain(monomials: Sequence[Exponents], reaches: Sequence[int]) -> Table:
    """The totals themselves, as `exact` mode releases them; sensitivity is the largest single term."""
    size = len(monomials)
    largest = 1
    for exponents in monomials:
        term = 1
        for reach, exponent in zip(reaches, exponents, strict=False):
            term *= reach**exponent
        largest = max(largest, term)
    identity = tuple(tuple(int(i == j) for j in range(size)) for i in range(size))
    return Table(monomials=tuple(monomials), transform=identity, sensitivity=largest)


def _moments(reach: int) -> Matrix:
    square = reach**2
    return ((square, -2 * reach, 1), (2 * square, 0, -2), (square, 2 * reach, 1))
