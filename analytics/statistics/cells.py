"""One cell of a release: its integers, and the totals that they say.

In `exact` mode the totals are the integers; in `dp` mode they are the inverse of the release's transform
over noised integers, so they too carry noise. Released combinations are sums of non-negative terms
(counts, simplex coordinates): that is all the drawing of true totals relies on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np

from analytics.query.model import Release
from analytics.statistics import noise
from analytics.statistics.noise import DRAWS, Floats

Exponents: TypeAlias = tuple[int, ...]
Matrix: TypeAlias = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Integers of one cell. `ok` is False where exact mode shows nothing, `withheld` where a rule of
    disclosure was broken; `capacity` is of all datasets.
    """

    release: Release
    integers: tuple[int, ...]
    capacity: int
    ok: bool = True
    withheld: bool = False

    @property
    def t(self) -> float:
        return 0.0 if self.release.scale is None else float(self.release.scale)

    @cached_property
    def totals(self) -> dict[Exponents, Fraction]:
        """Total of each monomial of the centred codes, as far as the released integers tell."""
        if self.release.scale is None:
            return dict(zip(self.release.monomials, map(Fraction, self.integers), strict=True))
        rows = inverse(self.release.transform)
        values = [sum((a * x for a, x in zip(row, self.integers, strict=True)), Fraction(0)) for row in rows]
        return dict(zip(self.release.monomials, values, strict=True))

    @property
    def n(self) -> Fraction:
        """The number of patients in the cell; noised in `dp` mode, then also negative or broken."""
        return self.totals[constant(self.release)]

    @cached_property
    def plausible(self) -> bool:
        """Whether a table of this capacity and a noise of this scale can give these integers."""
        if self.release.scale is None:
            return 0 <= self.n <= self.capacity and all(
                abs(total) <= self.n * self._size(exponents) for exponents, total in self.totals.items()
            )
        tail = 2 ** (max(0, -(-self.release.scale // 1) - 1).bit_length() + 7)
        most = self.capacity * self.release.sensitivity
        return all(-tail <= x <= most + tail for x in self.integers)

    @cached_property
    def deviation_of_n(self) -> float:
        """The standard deviation of the noise in n."""
        if self.release.scale is None:
            return 0.0
        row = inverse(self.release.transform)[self.release.monomials.index(constant(self.release))]
        return float(np.sqrt(noise.variance(self.t) * float(sum(a * a for a in row))))

    def behind(self, label: str, extra: int) -> tuple[Draws, Floats]:
        """True totals that may stand behind the integers, and `extra` uniforms for each of them."""
        bits = noise.generator(label, self.integers)
        u = noise.uniforms(bits, (len(self.integers) + extra, DRAWS))
        terms = np.array([noise.behind(x, self.t, v) for x, v in zip(self.integers, u, strict=False)])
        rows = inverse(self.release.transform)
        totals = {
            exponents: np.array([float(a / self._size(exponents)) for a in row]) @ terms
            for exponents, row in zip(self.release.monomials, rows, strict=True)
        }
        return Draws(totals=totals), u[len(self.integers) :]

    def _size(self, exponents: Exponents) -> int:
        """The largest absolute value of a monomial."""
        size = 1
        for operand, exponent in zip(self.release.operands, exponents, strict=False):
            size *= 2 ** ((operand.bits - 1) * exponent)
        return size


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Totals in units where every |v| <= 1, one entry a draw."""

    totals: dict[Exponents, Floats] = field(repr=False)

    def __getitem__(self, exponents: Exponents) -> Floats:
        return self.totals[exponents]


def constant(release: Release) -> Exponents:
    """The monomial 1, whose total is the number of patients."""
    return (0,) * len(release.monomials[0])


@lru_cache(maxsize=64)
def inverse(transform: tuple[tuple[int, ...], ...]) -> Matrix:
    """The exact inverse of a square integer matrix (Gauss-Jordan over fractions)."""
    size = len(transform)
    rows = [
        [Fraction(x) for x in row] + [Fraction(i == j) for j in range(size)]
        for i, row in enumerate(transform)
    ]
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        lead = rows[column][column]
        rows[column] = [x / lead for x in rows[column]]
        for i in range(size):
            if i != column and rows[i][column]:
                factor = rows[i][column]
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[column], strict=True)]
    return tuple(tuple(row[size:]) for row in rows)
