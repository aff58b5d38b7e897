"""Linear regression by least squares, of a number on nominal and numeric covariates.

Everything that least squares needs are totals: patients and moments of the number in the joint cells of the nominal
covariates (no noised cross products of indicators: privacy.md's table), joint moments of the number with each numeric
covariate in the same cells, and of each pair of numeric covariates. In `exact` mode classical standard errors and
Student's t. In `dp` mode the noise is taken off again in many draws, each is solved, and the sampling law of least
squares with that draw's residual variance is laid over it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import inf, sqrt
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions, Statistic, Wanted, coefficients, every
from analytics.query.tree import Name
from analytics.statistics import noise
from analytics.statistics.axis import Axis
from analytics.statistics.cells import Cell, Exponents
from analytics.statistics.design import (
    SINGULAR,
    TOLD,
    Design,
    Term,
    answered,
    clear,
    coefficient,
    design,
    drawn_coefficients,
    draws_of_preview,
    need_levels,
    noises,
    patients,
    planned,
    scaled_inverse,
    terms,
    totals,
    weak,
)
from analytics.statistics.figure import EMPTY, NOISE, Figure, said
from analytics.statistics.figures import withheld
from analytics.statistics.noise import TAIL, Floats
from analytics.statistics.question import Question

MOST = 13  # columns: the number and twelve covariates
FEW = "there are no more patients than coefficients"
BLANK: dict[str, Any] = {"r_squared": None, "residual_sd": None, "df": None}
Totals = Mapping[Exponents, Floats]


@dataclass(frozen=True, kw_only=True)
class _Scaled:
    """A column about its mean, in half ranges: (x - mean) / half."""

    mean: float
    half: float

    def of(self, axis: Axis) -> tuple[float, float]:
        """Factor and offset that make it of v / M."""
        unit = float(axis.step * axis.reach)
        return unit / self.half, (float(axis.origin) - self.mean) / self.half


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """Totals of two scaled columns in every cell: n, a, b, a a, b b, a b. Shapes  (cells, draws)."""

    n: Floats = field(repr=False)
    a: Floats = field(repr=False)
    b: Floats = field(repr=False)
    aa: Floats = field(repr=False)
    bb: Floats = field(repr=False)
    ab: Floats = field(repr=False)

    @classmethod
    def of(cls, t: Totals, a: tuple[float, float], b: tuple[float, float]) -> _Moments:
        (c, d), (e, f) = a, b
        if (1,) in t:  # of one column alone
            n, x, xx = t[(0,)], t[(1,)], t[(2,)]
            y = yy = xy = np.zeros_like(n)
        else:
            n, x, y = t[(0, 0)], t[(1, 0)], t[(0, 1)]
            xx, yy, xy = t[(2, 0)], t[(0, 2)], t[(1, 1)]
        return cls(
            n=n,
            a=c * x + d * n,
            b=e * y + f * n,
            aa=c * c * xx + 2 * c * d * x + d * d * n,
            bb=e * e * yy + 2 * e * f * y + f * f * n,
            ab=c * e * xy + c * f * x + d * e * y + d * f * n,
        )


@dataclass(frozen=True, kw_only=True)
class _Model:
    """Where the coefficients of a statement are: columns of the matrix are the design's, then numeric covariates."""

    question: Question
    nominal: tuple[str, ...]
    numeric: tuple[str, ...]

    @classmethod
    def of(cls, question: Question) -> _Model:
        kind = {column: question.fields[column].kind for column in question.columns[1:]}
        return cls(
            question=question,
            nominal=tuple(column for column in kind if kind[column] == "category"),
            numeric=tuple(column for column in kind if kind[column] == "number"),
        )

    @property
    def terms(self) -> tuple[Term, ...]:
        return terms(self.question, self.nominal, self.numeric)

    @property
    def own(self) -> int:
        """How many of the tables have the cells of the nominal covariates; pairs of numeric ones come after."""
        return max(1, len(self.numeric))

    def scaled(self, parts: Sequence[Totals], used: Floats) -> list[_Scaled]:
        """The number and the numeric covariates about their means over the cells that are used."""
        found = []
        for place, column in enumerate((self.question.columns[0], *self.numeric)):
            release, operand = max(place - 1, 0), min(place, 1)
            t, axis = parts[release], self.question.axis(operand, release)
            power = (1,) if (1,) in t else ((1, 0), (0, 1))[operand]
            n, x = ((used @ t[e]).item() for e in ((0,) * len(power), power))
            minimum, maximum, _ = self.question.fields[column].lattice
            mean = float(axis.origin) + float(axis.step * axis.reach) * x / max(n, 1e-9)
            found.append(_Scaled(mean=mean, half=float(maximum - minimum) / 2))
        return found

    def cross(self, parts: Sequence[Totals], laid: Design, scaled: Sequence[_Scaled]) -> Floats:
        """All cross products of the matrix with the number as its last column. Shapes  (draws, k, k)."""
        rows = laid.rows
        used, k, q = rows.any(axis=1).astype(np.float64), rows.shape[1], len(self.numeric)
        axis = self.question.axis
        number = [scaled[0].of(axis(0, i)) for i in range(self.own)]
        own = [
            _Moments.of(t, number[i], scaled[i + 1].of(axis(1, i)) if q else (0.0, 0.0))
            for i, t in enumerate(parts[: self.own])
        ]
        n, y, yy = (np.mean([getattr(one, key) for one in own], axis=0) for key in ("n", "a", "aa"))
        made = np.zeros((n.shape[1], k + q + 1, k + q + 1))
        made[:, :k, :k] = (n.T @ (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)).reshape(
            -1, k, k
        )
        made[:, :k, -1] = made[:, -1, :k] = y.T @ rows
        made[:, -1, -1] = used @ yy
        for i in range(q):
            made[:, :k, k + i] = made[:, k + i, :k] = own[i].b.T @ rows
            made[:, k + i, k + i] = used @ own[i].bb
            made[:, k + i, -1] = made[:, -1, k + i] = used @ own[i].ab
        kept = list(laid.kept)
        for place, (i, j) in enumerate(combinations(range(q), 2), self.own):
            pair = _Moments.of(
                parts[place], scaled[i + 1].of(axis(0, place)), scaled[j + 1].of(axis(1, place))
            )
            made[:, k + i, k + j] = made[:, k + j, k + i] = pair.ab[kept].sum(axis=0)
        return made

    def units(self, laid: Design, scaled: Sequence[_Scaled]) -> tuple[Floats, Floats]:
        """The coefficients in the columns' units, in the order of `terms`: constant + matrix @ solution."""
        k, half = laid.rows.shape[1], scaled[0].half
        nominal = iter(range(1, k))
        matrix = np.zeros((len(self.terms), k + len(self.numeric)))
        matrix[0, 0] = half
        for row, term in enumerate(self.terms[1:], 1):
            if term.level is not None:
                matrix[row, next(nominal)] = half
        for i, column in enumerate(self.numeric):
            row = [term.column for term in self.terms].index(column)
            matrix[row, k + i] = half / scaled[i + 1].half
            matrix[0, k + i] = -half * scaled[i + 1].mean / scaled[i + 1].half
        constant = np.zeros(len(self.terms))
        constant[0] = scaled[0].mean
        return constant, matrix


def linear(question: Question, integers: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The groups of the answer: the first coefficient as the figure, all of them in `coefficients`."""
    model = _Model.of(question)
    tables = [question.cells(row, place) for place, row in enumerate(integers)]
    groups = []
    for parts in zip(*tables, strict=True):
        by, cells = parts[0]
        own = [table for _, table in parts]
        none = next((why for table in own if (why := withheld(question, table))), None)
        figure = answered(model.terms, None, none, BLANK) if none else _fitted(model, own)
        groups.append(figure.public(by, cells[0].t, sum(cell.deviation_of_n**2 for cell in cells) ** 0.5))
    return groups


def _fitted(model: _Model, tables: Sequence[Sequence[Cell]]) -> Figure:
    question = model.question
    n = np.asarray(np.mean([patients(cells) for cells in tables[: model.own]], axis=0))
    laid = design(question, model.nominal, n.tolist())
    if not laid.kept:
        return answered(
            model.terms, None, Figure(n=0, reason=EMPTY if question.mode == "exact" else NOISE), BLANK
        )
    why = weak(question, model.nominal, n.tolist(), tables[0][0].deviation_of_n)
    if why is not None:
        return answered(model.terms, None, Figure(n=round(n.sum()), reason=why), BLANK)
    parts = [totals(cells) for cells in tables]
    used: Floats = np.asarray(laid.rows.any(axis=1), dtype=np.float64)
    scaled = model.scaled(parts, used)
    (cross,) = model.cross(parts, laid, scaled)
    count = float(used @ n)
    df = count - (len(cross) - 1)
    if df < 1:
        return answered(model.terms, None, Figure(n=round(count), reason=FEW), BLANK)
    if not _definite(cross[None, :-1, :-1])[0]:
        return answered(
            model.terms,
            None,
            Figure(n=round(count), reason=SINGULAR if question.mode == "exact" else NOISE),
            BLANK,
        )
    beta, rest = _solved(cross[None])
    constant, matrix = model.units(laid, scaled)
    values = constant + matrix @ beta[0]
    rest = np.maximum(rest, 0.0)
    first = cross[0, 0]
    whole = cross[-1, -1] - cross[0, -1] ** 2 / first
    extra = {
        "r_squared": said(min(max(1 - rest[0] / whole, 0.0), 1.0) if whole > 0 else None),
        "residual_sd": said(scaled[0].half * float(rest[0] / df) ** 0.5),
        "df": said(df),
    }
    if question.mode == "exact":
        figures = _student(values, matrix, cross, rest[0], df, round(count))
    else:
        found = _draws(model, tables, parts, laid, scaled)
        if found is None:
            return answered(model.terms, None, Figure(n=round(count), reason=NOISE), BLANK)
        sampled, seen = (constant + draws @ matrix.T for draws in found)
        figures = drawn_coefficients(values, sampled, seen, round(count))
    return answered(model.terms, figures, Figure(), extra)


def _student(values: Floats, matrix: Floats, cross: Floats, rest: float, df: float, n: int) -> list[Figure]:
    from scipy.special import stdtr, stdtrit

    variances = rest / df * np.einsum("ij,jk,ik->i", matrix, np.linalg.inv(cross[:-1, :-1]), matrix)
    errors, quantile = np.sqrt(np.maximum(variances, 0.0)), float(stdtrit(df, 1 - TAIL))
    return [
        coefficient(
            value,
            (value - quantile * error, value + quantile * error),
            error,
            2 * float(stdtr(df, -abs(value / error))) if error > 0 else float("nan"),
            0.0,
            n,
        )
        for value, error in zip(values.tolist(), errors.tolist(), strict=True)
    ]


def _draws(
    model: _Model,
    tables: Sequence[Sequence[Cell]],
    parts: Sequence[Totals],
    laid: Design,
    scaled: Sequence[_Scaled],
) -> tuple[Floats, Floats] | None:
    """Solutions with sampling and noise, and with noise alone; None where too few draws have one."""
    from scipy.special import gammaincinv, ndtri

    off = noises("linear", tables, laid.rows.shape[1] + len(model.numeric))
    draws = next(iter(off[0].values())).shape[1]
    behind = [{e: t[e] - o[e] for e in o} for t, o in zip(parts, off, strict=True)]
    cross = model.cross(behind, laid, scaled)
    k = cross.shape[1] - 1
    used: Floats = np.asarray(laid.rows.any(axis=1), dtype=np.float64)
    power = (0,) if (0,) in behind[0] else (0, 0)
    n = used @ np.mean([part[power] for part in behind[: model.own]], axis=0)
    real = _definite(cross[:, :-1, :-1]) & (n > k)
    if real.sum() < max(noise.FEWEST, draws // 2):
        return None
    cross, n = cross[real], n[real]
    beta, rest = _solved(cross)
    varied = rest > 0
    if varied.sum() < max(noise.FEWEST, draws // 4):
        return None
    u = noise.uniforms(
        noise.generator("linear sampling", [x for cells in tables for cell in cells for x in cell.integers]),
        (k + 1, len(rest)),
    )[:, varied]
    beta, rest, n, cross = beta[varied], rest[varied], n[varied], cross[varied]
    sigma = np.sqrt(rest / np.maximum(2 * gammaincinv((n - k) / 2, u[0]), 1e-300))
    # A = L L': L'^-1 z has variance A^-1
    lower = np.linalg.cholesky(cross[:, :-1, :-1])
    deviation = np.linalg.solve(np.swapaxes(lower, 1, 2), ndtri(u[1:]).T[:, :, None])[:, :, 0]
    return np.asarray(beta + sigma[:, None] * deviation), beta


def _solved(cross: Floats) -> tuple[Floats, Floats]:
    """Solutions and sums of squares of the residuals."""
    beta: Floats = np.asarray(
        np.linalg.solve(cross[:, :-1, :-1], cross[:, :-1, -1:])[:, :, 0], dtype=np.float64
    )
    return beta, cross[:, -1, -1] - (beta * cross[:, :-1, -1]).sum(axis=1)


def _definite(a: Floats) -> Any:
    """Which matrices are positive definite by more than rounding, with every column in its own scale."""
    diagonal = np.einsum("dii->di", a)
    positive = (diagonal > 0).all(axis=1)
    root = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    return positive & (np.linalg.eigvalsh(a / (root[:, :, None] * root[:, None, :]))[:, 0] > 1e-9)


def _tables(asked: Asked) -> list[Wanted]:
    number, *covariates = asked.columns
    need_levels(asked)
    if number.kind == "category":
        raise asked.refuse(
            "wrong_type",
            f"{number.name} is a category: name the number that is explained first; of an event ask"
            f" logistic({Name(number.name)}, ...)",
            0,
        )
    nominal = tuple(every(field) for field in covariates if field.kind == "category")
    numeric = [field for field in covariates if field.kind == "number"]
    if not numeric:
        return [Wanted(inner=nominal, numbers=(number,), shape="moments")]
    own = [Wanted(inner=nominal, numbers=(number, field), shape="joint") for field in numeric]
    return own + [Wanted(numbers=pair, shape="joint") for pair in combinations(numeric, 2)]


def _noise(releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions) -> float:
    """What the noise does to the first coefficient where none has an effect: in simulated cohorts with nominal
    covariates alone, else to first order in the noise."""
    release, number = releases[0], assumed.columns[0]
    assert release.scale is not None, "only noise is expected"
    half = _half_range(release, 0, number)
    n, rows = planned(assumed, _inner(assumed))
    numeric = [field for field in assumed.columns[1:] if field.kind == "number"]
    if not numeric:
        spread = 1 / 3 if assumed.sd is None else assumed.sd / half
        made = _simulated(release, n, rows, spread)
        deviation = sqrt(3 * noise.variance(float(release.scale))) / 4 / 4.0 ** (release.operands[0].bits - 1)
        off = made.off[made.real & clear(made.counted, _inner(assumed), len(assumed.cells), deviation)]
        told = len(off) > TOLD * len(made.off)
        return half * (float(np.quantile(off, assumed.level)) if told else inf)
    own, v = len(numeric), noise.variance(float(release.scale))
    # The noise of a total, in units where every |v| <= 1.
    of_total = {
        e: v * sum(a * a for a in row)
        for e, row in zip(release.monomials, scaled_inverse(release), strict=True)
    }
    if assumed.columns[1].kind == "number":
        spread = float(assumed.sds[1] or _range(numeric[0]) / 6) / _half_range(release, 1, numeric[0])
        deviation = sqrt(len(n) * of_total[(1, 1)]) / (n.sum() * spread**2)
        return float(assumed.z * deviation * half / _half_range(release, 1, numeric[0]))
    inverted = np.linalg.pinv((rows * n[:, None]).T @ rows)
    covariance = inverted @ (rows.T @ rows) @ inverted * of_total[(1, 0)] / own
    return float(assumed.z * half * sqrt(covariance[1, 1]))


@dataclass(frozen=True, kw_only=True)
class _Simulated:
    """Errors of the first coefficient in half ranges, whether it has one, and noised patients of each cell.

    Shapes  off, real (draws,); counted (cells, draws)
    """

    off: Floats
    real: Any
    counted: Floats


def _simulated(release: Release, n: Floats, rows: Floats, spread: float) -> _Simulated:
    """What the noise does in cohorts of a number about the middle of its range, without an effect."""
    reach = 2 ** (release.operands[0].bits - 1)
    draws = draws_of_preview(*rows.shape)
    noises, normals = noise.simulated(float(release.scale or 0) / reach**2, 3 * len(n), 2 * len(n))
    b0, b1, b2 = np.moveaxis(noises[:, :draws].reshape(len(n), 3, -1), 1, 0)
    own = noise.cohorts(n, normals[len(n) :, :draws])
    of_y = np.sqrt(own) * spread * normals[: len(n), :draws]
    counted, summed = own + (b0 + b1 + b2) / 4, of_y + (b2 - b0) / 4
    (seen, real), (true, _) = _first(rows, counted, summed), _first(rows, own, of_y)
    return _Simulated(off=np.abs(seen - true), real=real, counted=counted)


def _first(rows: Floats, counted: Floats, summed: Floats) -> tuple[Floats, Any]:
    """The first coefficient after the intercept of every draw, and whether there is one."""
    k = rows.shape[1]
    cross = (counted.T @ (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)).reshape(-1, k, k)
    real = _definite(cross)
    cross[~real] = np.eye(k)
    solved: Floats = np.asarray(np.linalg.solve(cross, (summed.T @ rows)[:, :, None]), dtype=np.float64)
    return solved[:, 1, 0], real


def _sampling(assumed: Assumptions) -> float | None:
    """Of the first coefficient, by least squares with the supposed deviation as that of the residuals; numeric covariates
    as independent of the others, with the deviation that facts tell or a sixth of their range."""
    if assumed.sd is None or not assumed.cells:
        return None
    first = assumed.columns[1]
    if first.kind == "number":
        return assumed.z * assumed.sd / sqrt(assumed.n) / float(assumed.sds[1] or _range(first) / 6)
    n, rows = planned(assumed, _inner(assumed))
    return assumed.z * assumed.sd * sqrt(float(np.linalg.pinv((rows * n[:, None]).T @ rows)[1, 1]))


def _inner(assumed: Assumptions) -> list[int]:
    """Sizes of the partitions by nominal covariates."""
    return [column.codes for column in assumed.columns[1:] if column.kind == "category"]


def _range(column: Field) -> float:
    low, high, _ = column.lattice
    return float(high - low)


def _half_range(release: Release, operand: int, column: Field) -> float:
    """M in the unit of the column."""
    one = release.operands[operand]
    return float(column.lattice[2] * 2 ** (one.dropped + one.bits - 1))


STATISTICS = (
    Statistic(
        name="linear",
        words="linear regression",
        aliases=("regression", "ols", "lm", "linear_regression"),
        columns=(2, MOST),
        strata=MOST,
        tables=_tables,
        parameters=coefficients,
        groups=linear,
        unit=lambda unit: unit or None,
        noise=_noise,
        sampling=_sampling,
        assuming="the first coefficient where none has an effect, standard deviations of a sixth of the ranges",
    ),
)
