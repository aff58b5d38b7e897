"""Logistic regression by maximum likelihood, of an event on nominal covariates.

The likelihood needs counts alone: those with and without the event in the joint cells of the covariates. They are
released once, with sensitivity 1; the rest is arithmetic on them, in the clear: a fixed number of Newton steps (iterated
weighted least squares, McCullagh & Nelder, Generalized Linear Models, 1989). In `exact` mode with Wald's intervals.
In `dp` mode the noise is taken off again in many draws, each is fitted, and the law of the estimate with that draw's
information is laid over it. Noised counts stay as they are, also below zero: the score is linear in them, so noise
that is right on average leaves it right on average, which counts held at zero would not.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, sqrt
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions, Statistic, Wanted, coefficients, every
from analytics.query.tree import Name
from analytics.statistics import noise
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z
from analytics.statistics.design import (
    SINGULAR,
    TOLD,
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
    terms,
    weak,
)
from analytics.statistics.figure import EMPTY, NOISE, Figure, said
from analytics.statistics.figures import withheld
from analytics.statistics.noise import Floats
from analytics.statistics.question import Question

MOST = 13  # columns: the event and twelve covariates
STEPS = 30
STEPS_OF_A_DRAW = 6  # from the estimate itself
LONGEST = 2.0  # step of a coefficient
FARTHEST = 12.0  # a log odds ratio beyond this is one without an end
ONE_SIDED = "all patients with this level, or none of them, have the event: there is no finite odds ratio"
ALL_OR_NONE = "all patients of the cohort have the event, or none"


def logistic(question: Question, integers: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The groups of the answer: the first log odds ratio as the figure, all of them in `coefficients`."""
    nominal = question.columns[1:]
    named, event = terms(question, nominal), question.fields[question.columns[0]]
    extra = {"event": str(event.levels[occurred(event)].label)}
    groups = []
    for by, cells in question.cells(integers[0]):
        none = withheld(question, cells)
        figures, why = ([], none) if none else _fitted(question, nominal, cells, occurred(event))
        told = answered(named, figures or None, why, extra)
        for one in told.extra["coefficients"]:
            one["odds_ratio"] = {key: _ratio(one[key]) for key in ("value", "low", "high")}
        groups.append(told.public(by, cells[0].t, sum(cell.deviation_of_n**2 for cell in cells) ** 0.5))
    return groups


def occurred(event: Field) -> int:
    """The code of the level that is the event: what the codebook says occurred, says yes, else the second."""
    return next((code for code, level in enumerate(event.levels) if level.value == event.yes), 1)


def _ratio(log: float | None) -> float | None:
    return None if log is None or abs(log) > 700 else said(exp(log))


def _fitted(
    question: Question, nominal: Sequence[str], cells: Sequence[Cell], event: int
) -> tuple[list[Figure], Figure]:
    """A figure for each coefficient, or none and why."""
    exact = question.mode == "exact"
    counts = np.array(patients(cells)).reshape(-1, 2)
    hits, n = counts[:, event], counts.sum(axis=1)
    laid = design(question, nominal, n.tolist())
    if not laid.kept:
        return [], Figure(n=0, reason=EMPTY if exact else NOISE)
    used = laid.rows.any(axis=1)
    count = round(float(n[used].sum()))
    why = weak(question, nominal, n.tolist(), cells[0].deviation_of_n * 2**0.5)
    if why is not None:
        return [], Figure(n=count, reason=why)
    if not 0 < hits[used].sum() < n[used].sum():
        return [], Figure(n=count, reason=ALL_OR_NONE if exact else NOISE)
    rows, hits, n = laid.rows[used], hits[used], n[used]
    start = np.zeros((1, rows.shape[1]))
    start[0, 0] = np.log(hits.sum() / (n.sum() - hits.sum()))
    beta, information = fit(rows, hits[:, None], n[:, None], start, STEPS)
    k = len(terms(question, nominal))
    if np.abs(beta).max() > FARTHEST:
        return [], Figure(n=count, reason=ONE_SIDED if exact else NOISE)
    if not _definite(information)[0]:
        return [], Figure(n=count, reason=SINGULAR if exact else NOISE)
    if exact:
        return _wald(beta[0, :k], np.linalg.inv(information[0])[:k, :k], count), Figure()
    found = _draws(cells, event, used, rows, hits, n, beta)
    if found is None:
        return [], Figure(n=count, reason=NOISE)
    sampled, seen = found
    return drawn_coefficients(beta[0, :k], sampled[:, :k], seen[:, :k], count), Figure()


def fit(rows: Floats, hits: Floats, n: Floats, start: Floats, steps: int) -> tuple[Floats, Floats]:
    """Newton's steps to the maximum of the likelihood, and the information there.

    Shapes  rows (cells, k); hits, n (cells, draws); start (draws, k). Result (draws, k), (draws, k, k).
    """
    k = rows.shape[1]
    outer = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)
    beta = np.broadcast_to(start, (hits.shape[1], k)).copy()
    ridge = 1e-9 * np.eye(k)
    for step in range(steps + 1):
        p = 1 / (1 + np.exp(-np.clip(beta @ rows.T, -30, 30)))
        information = ((n.T * p * (1 - p)) @ outer).reshape(-1, k, k)
        if step == steps:
            break
        score = (hits.T - n.T * p) @ rows
        moved = np.linalg.solve(information + ridge, score[:, :, None])[:, :, 0]
        far = np.abs(moved).max(axis=1, keepdims=True)
        beta = np.clip(beta + moved * np.minimum(1.0, LONGEST / np.maximum(far, LONGEST)), -30, 30)
    return beta, information


def _wald(beta: Floats, variance: Floats, n: int) -> list[Figure]:
    from scipy.special import ndtr

    errors = np.sqrt(np.diag(variance))
    return [
        coefficient(b, (b - Z * e, b + Z * e), e, 2 * float(ndtr(-abs(b / e))), 0.0, n)
        for b, e in zip(beta.tolist(), errors.tolist(), strict=True)
    ]


def _draws(
    cells: Sequence[Cell], event: int, used: Any, rows: Floats, hits: Floats, n: Floats, beta: Floats
) -> tuple[Floats, Floats] | None:
    """Estimates with sampling and noise, and with noise alone; None where too few draws have one."""
    from scipy.special import ndtri

    (off,) = noises("logistic", [cells], rows.shape[1])
    made = off[()].reshape(len(cells) // 2, 2, -1)[used]
    drawn_hits, drawn_n = hits[:, None] - made[:, event], n[:, None] - made.sum(axis=1)
    seen, information = fit(rows, drawn_hits, drawn_n, beta, STEPS_OF_A_DRAW)
    real = _definite(information) & (np.abs(seen).max(axis=1) < FARTHEST)
    # Draws without an end are those that would make the interval long: where they are many there is none.
    if real.mean() < 0.9:
        return None
    seen, information = seen[real], information[real]
    bits = noise.generator("logistic sampling", [x for cell in cells for x in cell.integers])
    z = ndtri(noise.uniforms(bits, seen.shape))
    lower = np.linalg.cholesky(information)  # I = L L': L'^-1 z has variance I^-1
    return seen + np.linalg.solve(np.swapaxes(lower, 1, 2), z[:, :, None])[:, :, 0], seen


def _definite(information: Floats) -> Any:
    """Which matrices are positive definite by more than rounding."""
    return np.linalg.eigvalsh(information)[:, 0] > 1e-6


def _counts(asked: Asked) -> list[Wanted]:
    event, *covariates = asked.columns
    need_levels(asked)
    if event.kind == "number":
        raise asked.refuse(
            "wrong_type", f"{event.name} is a number: name the event first; of a number ask linear", 0
        )
    if event.codes != 2:
        raise asked.refuse(
            "wrong_type",
            f"{event.name} has {event.codes} levels and an event has two: make a category of"
            " two levels in the codebook",
            0,
        )
    for place, column in enumerate(covariates, 1):
        if column.kind == "number":
            raise asked.refuse(
                "wrong_type",
                f"{column.name} is a number: logistic is for categories; cut {Name(column.name)} in the codebook",
                place,
            )
    return [Wanted(inner=(*(every(column) for column in covariates), every(event)))]


def _noise(releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions) -> float | None:
    """The error that the noise makes in the first coefficient, in simulated cohorts without an effect."""
    release, rate = releases[0], 0.5 if assumed.event_rate is None else assumed.event_rate
    assert release.scale is not None, "only noise is expected"
    inner = _inner(release, assumed)
    n, rows = planned(assumed, inner)
    draws = draws_of_preview(*rows.shape)
    noises, normals = noise.simulated(float(release.scale), 2 * len(n), 2 * len(n))
    noises, normals = noises[:, :draws].reshape(len(n), 2, -1), normals[:, :draws]
    size, normals = noise.cohorts(n, normals[len(n) :]), normals[: len(n)]
    hits = np.clip(size * rate + np.sqrt(size * rate * (1 - rate)) * normals, 0.0, size)
    start = np.zeros((1, rows.shape[1]))
    start[0, 0] = np.log(rate / (1 - rate))
    without, _ = fit(rows, hits, size, start, STEPS_OF_A_DRAW)
    noised, information = fit(rows, hits + noises[:, 0], size + noises.sum(1), start, STEPS_OF_A_DRAW)
    real = _definite(information) & (np.abs(noised).max(1) < FARTHEST) & (np.abs(without).max(1) < FARTHEST)
    deviation = sqrt(2 * noise.variance(float(release.scale)))
    real &= clear(size + noises.sum(1), inner, len(assumed.cells), deviation)
    off = np.abs(noised - without)[real, 1]
    return float(np.quantile(off, assumed.level)) if real.mean() > TOLD else inf


def _inner(release: Release, assumed: Assumptions) -> list[int]:
    """Sizes of the partitions by the covariates."""
    return [by.size for by in release.by[-len(assumed.columns) : -1]]


def _sampling(assumed: Assumptions) -> float | None:
    """Of the first coefficient, from the information at one event rate in all cells (McCullagh & Nelder, 1989)."""
    p = assumed.event_rate
    if p is None or not assumed.cells:
        return None
    n, rows = planned(assumed, [column.codes for column in assumed.columns[1:]])
    information = (rows * (n * p * (1 - p))[:, None]).T @ rows
    return assumed.z * sqrt(float(np.linalg.pinv(information)[1, 1]))


STATISTICS = (
    Statistic(
        name="logistic",
        words="logistic regression",
        aliases=("logit", "logistic_regression"),
        columns=(2, MOST),
        strata=MOST,
        tables=_counts,
        parameters=coefficients,
        groups=logistic,
        noise=_noise,
        sampling=_sampling,
        assuming="the first coefficient where none has an effect, an event rate of one half",
    ),
)
