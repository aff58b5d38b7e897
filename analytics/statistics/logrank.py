"""The log-rank test: whether arms differ in survival, within strata and over all of them.

On the cells of time as if they were single times: in each, events are compared with what arms of that size would
have had, with the hypergeometric variance (Mantel, 1966); U and V are summed over strata. In `dp` mode the
covariance that the noise gives to U is added to V, so that p keeps its level; a cell of time counts only where
enough are at risk in its stratum. Levels without patients are no arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions, Statistic, Wanted
from analytics.statistics import noise
from analytics.statistics.cells import Cell
from analytics.statistics.figure import EMPTY, Figure, said
from analytics.statistics.followed import ASSUMING, Planned, scale_of
from analytics.statistics.lifetable import FEW_AT_RISK, LifeTable, at_risk, either, names_event, table
from analytics.statistics.noise import Floats
from analytics.statistics.question import Question

ONE_ARM = "fewer than two arms have enough patients"
NO_EVENTS = "there are no events to compare"


def logrank(question: Question, cells: Sequence[Cell]) -> Figure:
    """Chi-square with df and p; what was observed and expected in each arm."""
    life = LifeTable.of(question, cells)
    if life.n <= 0:
        return Figure(n=0, reason=EMPTY)
    clear = life.clear()
    kept = life.counts.sum((0, 2, 3)) >= life.fewest(life.counts.size // life.counts.shape[1])
    if not clear.any():
        return Figure(n=life.n, reason=FEW_AT_RISK)
    if kept.sum() < 2:
        return Figure(n=life.n, reason=ONE_ARM)
    counts = life.counts[:, kept]
    observed, expected, variance = compare(counts, clear)
    if life.noised:
        noised = compare(life.noised_again("logrank")[:, :, kept], clear)
        variance = variance + np.cov((noised[0] - noised[1]).T)
    u = (observed - expected)[:-1]
    v = variance[:-1, :-1]
    # A ring of arms without events in common has no inverse; v is a covariance, so its size tells.
    if not np.isfinite(v).all() or np.linalg.matrix_rank(v, hermitian=True) < len(u):
        return Figure(n=life.n, reason=NO_EVENTS)
    from scipy.special import chdtrc

    chi2 = max(0.0, float(u @ np.linalg.solve(v, u)))
    extra = _extra(
        question,
        chi2=chi2,
        df=len(u),
        p=float(chdtrc(len(u), chi2)),
        arms=_arms(life, kept, observed, expected),
    )
    return Figure.estimate(chi2, None, within=(0, None), n=life.n, noise=None, extra=extra)


def compare(counts: Floats, clear: Any) -> tuple[Floats, Floats, Floats]:
    """Observed and expected events (..., arms) and the covariance (..., arms, arms) of their difference.

    counts (..., strata, arms, cells of time, 2); clear (..., strata, cells of time): where they count.
    """
    d, n = counts[..., 0], np.maximum(at_risk(counts), 0.0)
    events, all_at_risk = d.sum(-2), n.sum(-2)
    share = n / np.maximum(all_at_risk, 1e-12)[..., None, :]
    weight = np.where(clear, 1.0, 0.0)
    fall = np.maximum(events, 0.0) * np.maximum(all_at_risk - events, 0.0) / np.maximum(all_at_risk - 1, 1.0)
    fall = fall * weight
    expected = ((events * weight)[..., None, :] * share).sum((-3, -1))
    observed = (d * weight[..., None, :]).sum((-3, -1))
    between = np.einsum("...sk,...sak,...sbk->...ab", fall, share, share)
    own = (fall[..., None, :] * share).sum((-3, -1))
    return observed, expected, own[..., None] * np.eye(own.shape[-1]) - between


def _simulated(
    releases: Sequence[Release], assumed: Assumptions, whole: float = 0.0
) -> tuple[Floats, Floats, float, float]:
    """Peto's log hazard ratio of the second arm, noised and not; the noise's variance of U, and V.

    Arms that are not compared and covariates are added up: of many, noise tells more than planned patients do.
    """
    planned = Planned.of(assumed)
    arms = releases[0].by[-3].size
    true, noised, clear = planned.drawn(scale_of(releases), whole)
    ratios, scores = [], []
    information = 0.0
    for counts, seen in ((noised, clear), (true, np.ones_like(clear))):
        draws, strata, _, cells, _ = counts.shape
        pair = counts.reshape(draws, strata, -1, arms, cells, 2).sum(2)[:, :, :2]
        observed, expected, variance = compare(pair, seen)
        v = variance[..., 1, 1]
        scores.append(observed[..., 1] - expected[..., 1])
        ratios.append(np.where(v > 0, scores[-1] / np.where(v > 0, v, 1.0), np.nan))
        information = float(np.median(v))
    shown = seen_any(clear)
    off = (scores[0] - scores[1])[shown]
    return ratios[0][shown], ratios[1][shown], float(off.var()) if len(off) else 0.0, information


def seen_any(clear: Any) -> Any:
    """Which draws have a cell of time that counts."""
    return clear.any((1, 2))


def noise_of_ratio(
    releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions, whole: float = 0.0
) -> float | None:
    """Of the log hazard ratio that the test looks for, of the first two arms."""
    if releases[0].by[-3].size < 2:
        return None
    noised, true, _, _ = _simulated(releases, assumed, whole)
    off = np.abs(noised - true)
    off = off[np.isfinite(off)]
    return float(np.quantile(off, assumed.level)) if len(off) >= noise.FEWEST else None


def sampling_of_ratio(assumed: Assumptions) -> float | None:
    """Schoenfeld's: the inverse of events times the parts of the two arms, summed over strata."""
    if assumed.event_rate is None:
        return None
    planned = Planned.of(assumed)
    place = next(k for k, column in enumerate(assumed.columns) if k and column.role != "event")
    events = planned.counts[..., 0].sum(-1)
    events = events.reshape(len(events), -1, assumed.columns[place].codes).sum(1)[:, :2]
    if events.shape[1] < 2:
        return None
    information = float((events.prod(-1) / events.sum(-1)).sum())
    return assumed.z / sqrt(information) if information > 0 else None


def power(releases: Sequence[Release], assumed: Assumptions, effect: float) -> tuple[float, str] | None:
    """Schoenfeld's power for a hazard ratio, with the variance that the noise gives to the score."""
    half = sampling_of_ratio(assumed)
    if half is None:
        return None
    v = (assumed.z / half) ** 2
    more = 0.0 if releases[0].scale is None else _simulated(releases, assumed)[2]
    z = abs(log(effect)) * v / sqrt(v + more)
    law = NormalDist()
    return law.cdf(z - assumed.z) + law.cdf(-z - assumed.z), "a hazard ratio other than 1"


def _arms(life: LifeTable, kept: Any, observed: Floats, expected: Floats) -> list[list[Any]]:
    rows: list[list[Any]] = [[None, None, None] for _ in kept]
    sizes = life.counts.sum((0, 2, 3))
    for place, o, e in zip(np.flatnonzero(kept), observed, expected, strict=True):
        rows[place] = [max(0, round(float(sizes[place]))), float(o), float(e)]
    return rows


def _extra(
    question: Question,
    chi2: float | None = None,
    df: int | None = None,
    p: float | None = None,
    arms: Sequence[Sequence[Any]] = (),
) -> dict[str, Any]:
    labels = question.labels(question.inner[0])
    rows = arms or [[None, None, None]] * len(labels)
    return {
        "arms": [
            {"arm": label, "n": n, "observed": said(o), "expected": said(e)}
            for label, (n, o, e) in zip(labels, rows, strict=True)
        ],
        "chi2": said(chi2),
        "df": df,
        "p": said(p),
    }


def _tables(asked: Asked) -> list[Wanted]:
    event = names_event(asked.columns)
    if len(asked.columns) < 2 + event:
        raise asked.refuse(
            "wrong_arguments", "logrank compares arms: name the column of the arm after the time"
        )
    return table(asked, asked.columns[1 + event : 2 + event], event)


STATISTICS = (
    either(
        Statistic(
            name="logrank",
            words="log-rank test",
            aliases=("log_rank", "logrank_test"),
            columns=(2, 8),
            tables=_tables,
            family=logrank,
            blank=_extra,
            noise=noise_of_ratio,
            assuming=f"{ASSUMING}; of the log hazard ratio",
            sampling=sampling_of_ratio,
            power=power,
            ratio=True,
        ),
        groups=1,
    ),
)
