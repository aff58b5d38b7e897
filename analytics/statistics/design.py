"""The design of a regression over cells: treatment coding of nominal covariates, an intercept, one more for each stratum.

Patients of a cell are alike in all nominal covariates, so a cell has one row of the design. The first level of the
codebook is the reference. Strata are parted by their intercept alone: coefficients are common to all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod, sqrt
from typing import Any

import numpy as np

from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions
from analytics.statistics import noise
from analytics.statistics.cells import Cell, Exponents, constant, inverse
from analytics.statistics.counts import Z
from analytics.statistics.difference import no_column_twice, p_of
from analytics.statistics.figure import Figure, said
from analytics.statistics.noise import Floats
from analytics.statistics.question import Question

MOST_DRAWN = 2**22  # noises of one statement: bounds memory and time
MOST_WORK = 10**8  # products of one pass over all cells and draws
MOST_TERMS = 32
SIMULATED = 2000
CLEAR = 4.5  # standard deviations of its noise that the patients at a level must be
WORK_OF_PREVIEW = 2 * 10**6
FEWEST_OF_PREVIEW = 500
TOLD = 0.9  # the part of simulated cohorts that must have a figure for a preview to promise anything of it
SINGULAR = "the covariates do not let their coefficients be told apart: leave one out, or join levels"


@dataclass(frozen=True, kw_only=True)
class Term:
    """One coefficient: the intercept, a level against the first of its column, or a numeric column."""

    column: str
    level: str | None = None
    against: str | None = None

    def named(self) -> dict[str, str]:
        """How it is called in an answer; a numeric column and the intercept have no level."""
        return {"term": self.column, "level": self.level or "", "against": self.against or ""}


@dataclass(frozen=True, kw_only=True)
class Design:
    """Rows of the design, one a cell of the first table; columns are the intercept, levels, then further strata.

    Shapes  rows (cells, nominal terms + strata - 1); kept: the strata that are used.
    """

    terms: tuple[Term, ...]
    rows: Floats = field(repr=False)
    kept: tuple[int, ...]


def terms(question: Question, nominal: Sequence[str], numeric: Sequence[str] = ()) -> tuple[Term, ...]:
    """The coefficients in the order in which the statement names their columns, the intercept first."""
    found = [Term(column="intercept")]
    for column in question.columns[1:]:
        if column in numeric:
            found.append(Term(column=column))
        elif column in nominal:
            first, *others = [str(level.label) for level in question.fields[column].levels]
            found += [Term(column=column, level=level, against=first) for level in others]
    return tuple(found)


def design(question: Question, nominal: Sequence[str], n: Sequence[float]) -> Design:
    """The rows of all cells; those of strata without patients, or too few of them, are 0.

    Shapes  n: patients of each cell, noised in `dp` mode.
    """
    sizes = [question.fields[column].codes for column in nominal]
    strata = prod(by.size for by in question.strata)
    by_stratum = np.asarray(n, dtype=np.float64).reshape(strata, -1).sum(1)
    fewest = max(1, question.minimum_cohort) if question.mode == "dp" else 1
    kept = [s for s in range(strata) if by_stratum[s] >= fewest]
    return Design(terms=terms(question, nominal), rows=coded(sizes, strata, kept), kept=tuple(kept))


def coded(sizes: Sequence[int], strata: int, kept: Sequence[int]) -> Floats:
    """A row for each cell: intercept, levels but the first of every category, strata kept but the first; else 0."""
    rows = []
    for s, *codes in product(range(strata), *map(range, sizes)):
        if s not in kept:
            rows.append([0.0] * (1 + sum(size - 1 for size in sizes) + max(len(kept) - 1, 0)))
            continue
        row = [1.0]
        for code, size in zip(codes, sizes, strict=True):
            row += [float(code == k) for k in range(1, size)]
        rows.append([*row, *(float(s == other) for other in kept[1:])])
    return np.array(rows)


def planned(assumed: Assumptions, inner: Sequence[int]) -> tuple[Floats, Floats]:
    """Planned patients of every cell, and the rows of the design. Shapes  (cells,), (cells, k).

    inner  sizes of the partitions by nominal covariates
    """
    strata = len(assumed.cells)
    n = np.array(assumed.cells).reshape(strata * prod(inner), -1).sum(1)
    return np.maximum(n, 1e-9), coded(inner, strata, range(strata))


def clear(noised: Floats, inner: Sequence[int], strata: int, deviation: float) -> Any:
    """Which of many noised tables have all levels standing out of the noise, as `weak` asks of one.

    Shapes  noised (cells, draws): patients; deviation: of the noise in each cell
    """
    counts = noised.reshape(strata, *inner, -1).sum(0)
    found = np.ones(noised.shape[1], dtype=bool)
    for place, size in enumerate(inner):
        margin = counts.sum(axis=tuple(axis for axis in range(len(inner)) if axis != place))
        found &= (margin >= max(1.0, CLEAR * deviation * sqrt(len(noised) / size))).all(0)
    return found


def draws_of_preview(cells: int, k: int) -> int:
    """How many simulations a preview can afford of k coefficients over so many cells."""
    return max(FEWEST_OF_PREVIEW, min(noise.EXPECTED, WORK_OF_PREVIEW // (cells * k * k)))


def need_levels(asked: Asked) -> None:
    """Refuse covariates that are named twice, categories of a single level, and more coefficients than MOST_TERMS."""
    no_column_twice(asked)
    coefficients = prod(by.size for by in asked.strata)
    for place, column in enumerate(asked.columns[1:], 1):
        if column.kind == "category" and column.codes < 2:
            raise asked.refuse("wrong_type", f"{column.name} has a single level and explains nothing", place)
        coefficients += column.codes - 1 if column.kind == "category" else 1
    if coefficients > MOST_TERMS:
        raise asked.refuse(
            "too_many_terms",
            f"this model has {coefficients} coefficients, at most {MOST_TERMS} are allowed: name fewer covariates,"
            " or categories of fewer levels",
        )


def weak(question: Question, nominal: Sequence[str], n: Sequence[float], deviation: float) -> str | None:
    """Why the levels do not let coefficients be told apart: one has no patient, or fewer than its noise makes.

    Shapes  n: of each cell; deviation: of the noise in each.
    """
    sizes = [question.fields[column].codes for column in nominal]
    counts = np.asarray(n, dtype=np.float64).reshape(-1, *sizes).sum(0)
    for place, column in enumerate(nominal):
        rest = tuple(axis for axis in range(len(sizes)) if axis != place)
        margin = counts.sum(axis=rest)
        limit = max(1.0, CLEAR * deviation * sqrt(len(n) / sizes[place]))
        for level, found in zip(question.fields[column].levels, margin, strict=True):
            if found < limit:
                few = "no patient" if deviation == 0 else "too few patients beside the noise"
                return (
                    f"{few} at the level {level.label} of {column}: leave it out with where, or join levels"
                )
    return None


def noises(label: str, tables: Sequence[Sequence[Cell]], k: int) -> list[dict[Exponents, Floats]]:
    """What the noise may be in the totals of every cell, in units where every |v| <= 1; of all tables together.

    Shapes  of each table: monomial -> (cells, draws). Symmetric: a total less its noise is what may stand behind it.
    k       coefficients: how many draws there are follows from the work that each of them is
    """
    sizes = [len(cells) * len(cells[0].integers) for cells in tables]
    most = min(MOST_DRAWN // sum(sizes), MOST_WORK // (len(tables[0]) * k * k))
    draws = max(250, min(SIMULATED, most))
    bits = noise.generator(label, [x for cells in tables for cell in cells for x in cell.integers])
    found = []
    for cells in tables:
        release, width = cells[0].release, len(cells[0].integers)
        made = noise.noise(cells[0].t, noise.uniforms(bits, (width, len(cells) * draws)))
        totals = np.array(scaled_inverse(release)) @ made
        found.append({e: totals[i].reshape(len(cells), draws) for i, e in enumerate(release.monomials)})
    return found


def totals(cells: Sequence[Cell]) -> dict[Exponents, Floats]:
    """The totals of every cell, in units where every |v| <= 1. Shapes  monomial -> (cells, 1)."""
    size = {e: _size(cells[0].release, e) for e in cells[0].release.monomials}
    return {e: np.array([[float(cell.totals[e] / size[e])] for cell in cells]) for e in size}


def scaled_inverse(release: Release) -> list[list[float]]:
    """What makes totals, in units where every |v| <= 1, of the released integers: a row for each monomial."""
    return [
        [float(a / _size(release, e)) for a in row]
        for e, row in zip(release.monomials, inverse(release.transform), strict=True)
    ]


def _size(release: Release, exponents: Exponents) -> int:
    return prod(
        2 ** ((operand.bits - 1) * exponent)
        for operand, exponent in zip(release.operands, exponents, strict=False)
    )


def patients(cells: Sequence[Cell]) -> list[float]:
    """n of every cell."""
    return [float(cell.totals[constant(cell.release)]) for cell in cells]


def coefficient(
    value: float, interval: tuple[float, float], se: float, p: float, noise_sd: float, n: int
) -> Figure:
    """One coefficient as a figure; a number that is not finite takes the others with it."""
    if not all(np.isfinite([value, *interval, se])):
        return Figure(reason=SINGULAR, extra={"se": None, "p": None})
    return Figure.estimate(value, interval, n=n, noise=noise_sd, extra={"se": said(se), "p": said(p)})


def drawn_coefficients(values: Floats, sampled: Floats, seen: Floats, n: int) -> list[Figure]:
    """Figures of draws. Shapes  values (k,); sampled, with sampling and noise, and seen, of noise alone: (draws, k)."""
    return [
        coefficient(
            float(values[i]),
            noise.interval(sampled[:, i]),
            float(np.diff(noise.interval(sampled[:, i]))[0] / (2 * Z)),
            p_of(sampled[:, i]),
            float(np.diff(noise.interval(seen[:, i]))[0] / (2 * Z)),
            n,
        )
        for i in range(len(values))
    ]


def answered(
    named: Sequence[Term], figures: Sequence[Figure] | None, why: Figure, extra: Mapping[str, Any]
) -> Figure:
    """The group: the first coefficient after the intercept as its figure, all of them in `coefficients`."""
    shown = figures or [Figure(reason=why.reason, extra={"se": None, "p": None}) for _ in named]
    listed = [{**term.named(), **one.one()} for term, one in zip(named, shown, strict=True)]
    first = shown[1]
    return Figure(
        value=first.value,
        low=first.low,
        high=first.high,
        n=first.n if figures else why.n,
        noise=first.noise,
        suppressed=why.suppressed,
        reason=first.reason,
        extra={"p": first.extra["p"], **extra, "coefficients": listed},
    )
