"""Hazard ratios: Cox's proportional hazards over categories, from the life table of their combinations.

The cells of time are taken as single times, with Efron's weights for the many ties that this makes (Efron, 1977),
and Wald intervals from the information. In `dp` mode the covariance that the noise gives to the score is
carried to the coefficients (I^-1 + I^-1 C I^-1), so interval and p cover sampling and noise. The first level that
has patients is the reference. Each stratum has its own baseline and its own numbers at risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from math import exp, sqrt
from typing import Any

import numpy as np

from analytics.query.statistic import Asked, Statistic, Wanted, coefficients
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z
from analytics.statistics.figure import EMPTY, NOISE, Figure, said
from analytics.statistics.followed import ASSUMING
from analytics.statistics.lifetable import FEW_AT_RISK, LifeTable, at_risk, deviation, names_event, table
from analytics.statistics.logrank import ONE_ARM, noise_of_ratio, power, sampling_of_ratio
from analytics.statistics.noise import Floats
from analytics.statistics.question import Question

SEPARATED = "a level without events, or with nothing but events, has no hazard ratio"
STEPS = 60
FAR = 12.0  # a log hazard ratio beyond this runs to infinity
MOST_TIES = 512  # ties that are weighted one by one; of more, that many groups
FEW_TIES = 8
DRAWS = 400
WHOLE = 9.0  # deviations of noise: of fewer patients a hazard ratio is drawn to 1 and its interval too wide
TOLD = ("coefficient", "standard_error", "hazard_ratio", "low", "high", "p")


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Risk sets: at risk and events (..., cells of time, combinations), the combinations' design, tied weights."""

    n: Floats = field(repr=False)
    d: Floats = field(repr=False)
    design: Floats = field(repr=False)

    @classmethod
    def of(cls, counts: Floats, clear: Any, design: Floats) -> Sets:
        """From counts (..., strata, combinations, cells of time, 2), where `clear` (strata, cells of time)."""
        strata, cells = np.nonzero(clear)
        n, d = np.maximum(at_risk(counts), 0.0).swapaxes(-1, -2), counts[..., 0].swapaxes(-1, -2)
        return cls(n=n[..., strata, cells, :], d=d[..., strata, cells, :], design=design)

    def score(self, beta: Floats) -> tuple[Floats, Floats]:
        """Score and information of the partial likelihood, exact up to MOST_TIES events a cell."""
        total = self.d.sum(-1)
        ties = np.clip(np.abs(np.rint(total)), 1, MOST_TIES).astype(int)
        which = np.repeat(np.arange(len(total)), ties)
        first = np.concatenate([[0], np.cumsum(ties)[:-1]])
        place = np.arange(len(which)) - first[which]
        gone = _gone(place, ties[which], np.abs(total)[which])
        risk = np.maximum(self.n[which] - gone[:, None] * np.maximum(self.d, 0.0)[which], 0.0)
        return self._moments(risk, (total / ties)[which], beta)

    def _moments(self, risk: Floats, weight: Floats, beta: Floats) -> tuple[Floats, Floats]:
        at = risk * np.exp(self.design @ beta)
        share = at / np.maximum(at.sum(-1, keepdims=True), 1e-12)
        mean = share @ self.design
        u = self.d.sum(0) @ self.design - weight @ mean
        second = np.einsum("b,bc,ci,cj->ij", weight, share, self.design, self.design, optimize=True)
        return u, second - np.einsum("b,bi,bj->ij", weight, mean, mean, optimize=True)

    def scores(self, beta: Floats) -> Floats:
        """The score of every draw (draws, coefficients), with tied weights in FEW_TIES groups."""
        hazards = np.exp(self.design @ beta)
        total = self.d.sum(-1)
        u = self.d.sum(-2) @ self.design
        for place in range(FEW_TIES):
            gone = _gone(np.array(place), np.array(FEW_TIES), np.maximum(np.abs(total), 1.0))
            at = np.maximum(self.n - gone[..., None] * np.maximum(self.d, 0.0), 0.0) * hazards
            mean = (at / np.maximum(at.sum(-1, keepdims=True), 1e-12)) @ self.design
            u = u - (total[..., None] / FEW_TIES * mean).sum(-2)
        return np.asarray(u)


def _gone(place: Any, groups: Any, ties: Floats) -> Floats:
    """Which part of the tied events counts as gone: l / d for each l, in groups of equal size."""
    middle = (place + 0.5) / groups - 0.5 / np.maximum(ties, 1.0)
    return np.asarray(np.clip(middle, 0.0, 1.0))


def cox(question: Question, cells: Sequence[Cell]) -> Figure:
    """The hazard ratio of the first coefficient; all of them go with it."""
    life = LifeTable.of(question, cells)
    if life.n <= 0:
        return Figure(n=0, reason=EMPTY)
    clear = life.clear()
    if not clear.any():
        return Figure(n=life.n, reason=FEW_AT_RISK)
    if life.drowned(WHOLE):
        return Figure(n=life.n, reason=NOISE)
    design = Design.of(question, life)
    if not design.places:
        return Figure(n=life.n, reason=ONE_ARM)
    sets = Sets.of(life.counts[:, design.kept], clear, design.matrix)
    fitted = _fit(sets)
    if fitted is None:
        return Figure(n=life.n, reason=NOISE if life.noised else SEPARATED)
    beta, covariance = fitted
    noise = 0.0
    if life.noised:
        again = Sets.of(life.noised_again("cox", DRAWS)[:, :, design.kept], clear, design.matrix)
        of_score = _covariance(again.scores(beta))
        of_noise = covariance @ of_score @ covariance
        noise = exp(beta[0]) * sqrt(of_noise[0, 0])
        covariance = covariance + of_noise
    deviations = np.sqrt(np.diag(covariance))
    extra = _extra(question, design, beta.tolist(), deviations.tolist())
    half = Z * deviations[0]
    return Figure.estimate(
        exp(beta[0]),
        (_exp(beta[0] - half), _exp(beta[0] + half)),
        within=(0, None),
        n=life.n,
        noise=noise,
        extra=extra,
    )


def _covariance(draws: Floats) -> Floats:
    """The correlation of draws (draws, coefficients), with the deviations of their central 95 %."""
    spread = deviation(draws)
    made = np.maximum(draws.std(0), 1e-12)
    return np.asarray(np.atleast_2d(np.cov(draws.T)) * np.outer(spread / made, spread / made))


def _fit(sets: Sets) -> tuple[Floats, Floats] | None:
    """Coefficients and their covariance by Newton's method; None where there is no maximum."""
    beta = np.zeros(sets.design.shape[1])
    for _ in range(STEPS):
        u, information = sets.score(beta)
        if not np.isfinite(information).all() or np.linalg.eigvalsh(information)[0] <= 1e-9:
            return None
        step = np.linalg.solve(information, u)
        beta = beta + step / max(1.0, float(np.abs(step).max()))
        if np.abs(beta).max() > FAR:
            return None
        if np.abs(step).max() < 1e-10:
            return beta, np.asarray(np.linalg.inv(information), dtype=np.float64)
    return None


@dataclass(frozen=True, kw_only=True)
class Design:
    """Indicators of levels against the first of each covariate that has patients.

    matrix      (combinations that are kept, coefficients); kept says which of all combinations these are
    places      covariate and level of each coefficient; references: the level that each covariate compares with
    """

    matrix: Floats = field(repr=False)
    kept: Any = field(repr=False)
    places: list[tuple[int, int]]
    references: dict[int, int]

    @classmethod
    def of(cls, question: Question, life: LifeTable) -> Design:
        """Levels that have too few patients are left out, with their combinations."""
        shape = [arm.size for arm in question.inner[:-2]]
        ranks = [len(shape) - 1, *range(len(shape) - 1)]  # the first that was asked is the innermost
        counts = life.counts.sum((0, 2, 3)).reshape(shape)
        levels = list(product(*(range(size) for size in shape)))
        kept = np.ones(len(levels), dtype=bool)
        places: list[tuple[int, int]] = []
        references = dict.fromkeys(ranks, 0)
        columns: list[list[float]] = []
        for covariate in ranks:
            size = shape[covariate]
            sums = counts.sum(tuple(axis for axis in range(len(shape)) if axis != covariate))
            seen = [int(level) for level in np.flatnonzero(sums >= life.fewest(life.counts.size // size))]
            kept &= np.array([combination[covariate] in seen for combination in levels])
            references[covariate] = seen[0] if seen else 0
            for level in seen[1:]:
                places.append((covariate, level))
                columns.append([float(combination[covariate] == level) for combination in levels])
        matrix = np.array(columns, dtype=np.float64).T.reshape(len(levels), len(places))[kept]
        return cls(matrix=matrix, kept=kept, places=places, references=references)


def _extra(
    question: Question,
    design: Design | None = None,
    beta: Sequence[float] = (),
    deviations: Sequence[float] = (),
) -> dict[str, Any]:
    """Every level but the reference of every covariate, with its figures or null."""
    found = (
        {} if design is None else dict(zip(design.places, zip(beta, deviations, strict=True), strict=True))
    )
    rows = []
    arms = dict(enumerate(question.inner[:-2]))
    for covariate, arm in sorted(arms.items(), key=lambda item: question.columns.index(item[1].column)):
        labels = question.labels(arm)
        reference = 0 if design is None else design.references[covariate]
        for level, label in enumerate(labels):
            if level != reference:
                told = _coefficient(*found.get((covariate, level), (None, None)))
                rows.append(
                    {"covariate": arm.column, "level": label, "reference": labels[reference]}
                    | {name: said(x) for name, x in zip(TOLD, told, strict=True)}
                )
    first = next((row["p"] for row in rows if design and row["p"] is not None), None)
    return {"p": first, "coefficients": rows}


def _coefficient(b: float | None, s: float | None) -> tuple[float | None, ...]:
    """What is told of a coefficient, in the order of TOLD."""
    from scipy.special import ndtr

    if b is None or s is None:
        return (None,) * len(TOLD)
    return b, s, _exp(b), _exp(b - Z * s), _exp(b + Z * s), 2 * float(ndtr(-abs(b) / s))


def _exp(x: float) -> float:
    return exp(min(x, 700.0))


def _tables(asked: Asked) -> list[Wanted]:
    event = names_event(asked.columns)
    if len(asked.columns) < 2 + event:
        raise asked.refuse(
            "wrong_arguments", "cox needs a covariate: name the column of the arm after the time"
        )
    arm, *others = asked.columns[1 + event :]
    return table(
        asked, (*others, arm), event
    )  # so it is the table of a log-rank test with the others as strata


COX = Statistic(
    name="cox",
    words="Cox model",
    aliases=("hazard_ratio", "hr", "coxph"),
    columns=(2, 8),
    tables=_tables,
    parameters=coefficients,
    family=cox,
    blank=_extra,
    noise=partial(noise_of_ratio, whole=WHOLE),
    assuming=f"{ASSUMING}; of the log hazard ratio of the second level",
    sampling=sampling_of_ratio,
    power=power,
    ratio=True,
)
# All its columns are covariates; strata are those of pooled data sets.
STATISTICS = (replace(COX, choose=lambda columns: replace(COX, strata=len(columns))),)
