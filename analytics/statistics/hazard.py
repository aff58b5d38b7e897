"""Cumulative hazard over time: Nelson's and Aalen's estimator on the life table.

H is the sum of d / m over times, where m are exposed (`survival`). A cell of w codes is w times of equal hazard:
w (1 - (1 - d / m)^(1/w)), which is d / m where w is 1 and -log(1 - d / m) where w is large. The variance is the sum
of d / m (m - d (w - 1) / w), so d / m^2 where w is 1; the interval is laid on the log scale, as R does with ctype 1.
In `dp` mode the variance of the noise is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Assumptions, Statistic
from analytics.statistics import lifetable
from analytics.statistics.cells import Cell
from analytics.statistics.figure import EMPTY, Figure, said
from analytics.statistics.followed import ASSUMING, Planned, curves, scale_of
from analytics.statistics.lifetable import FEW_AT_RISK, LifeTable, at_risk
from analytics.statistics.noise import Floats
from analytics.statistics.question import Question
from analytics.statistics.survival import at_time, exposed, of_hazard, tables

EULER = 0.5772156649015329


def cumulative_hazard(question: Question, cells: Sequence[Cell]) -> Figure:
    """H at the time asked for, else at the last that may be told; the curve goes with it."""
    table = LifeTable.of(question, cells)
    if table.n <= 0:
        return Figure(n=0, reason=EMPTY)
    shown = 0 if table.drowned() else int(table.clear()[0].sum())
    if not shown:
        return Figure(n=table.n, reason=table.unseen)
    counts = table.counts[0, 0]
    terms = _hazards(table, counts, shown)
    hazard = np.cumsum(terms)
    deviation = np.zeros(shown)
    if table.noised:
        # It ascends, as a hazard does: the middle between the two ascending curves around it.
        below, above = np.minimum.accumulate(hazard[::-1])[::-1], np.maximum.accumulate(hazard)
        hazard = np.maximum((below + above) / 2, 0.0)
        again = table.noised_again("cumulative_hazard")[:, 0, 0]
        deviation = lifetable.deviation(np.cumsum(_hazards(table, again, shown), axis=-1))
    d, m = np.maximum(counts[:shown, 0], 0.0), np.maximum(exposed(counts, table.widths)[:shown], 1.0)
    spent = d * (1 - 1 / table.widths[:shown])
    variance = np.cumsum(d / (m * np.maximum(m - spent, 1.0)))
    low, high = of_hazard(hazard, np.sqrt(variance + deviation**2), table.noised)
    if question.values:
        code = lifetable.place_of(table.time, question.values[0])
    else:
        code = table.last(shown - 1)
    ends = [_at(table, code, shown, x) for x in (hazard, low, high, deviation)]
    extra = _extra(question, table, shown, (hazard, low, high))
    if ends[0] is None:
        return Figure(n=table.n, reason=f"{FEW_AT_RISK} at this time", extra=extra)
    interval = None if ends[1] is None or ends[2] is None else (ends[1], ends[2])
    return Figure.estimate(
        ends[0],
        interval,
        within=(0, None),
        n=table.n,
        noise=ends[3],
        reason=None if interval else "an interval needs an event",
        extra=extra,
    )


def _hazards(table: LifeTable, counts: Floats, shown: int) -> Floats:
    return of_cells(counts, table.widths)[..., :shown]


def of_cells(counts: Floats, w: Floats) -> Floats:
    """The hazard of each cell of w codes, from counts (..., cells, 2); noise may make it negative."""
    d, m = counts[..., 0], np.maximum(exposed(counts, w), 1.0)
    # Where all die in a cell, H grows by the harmonic sum of m and not without end.
    left = np.maximum(1 - d / m, np.where(w > 1, np.exp(-EULER) / m, 0.0))
    return np.asarray(w * (1 - left ** (1 / w)))


def _noise(releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions) -> float | None:
    planned = Planned.of(assumed)

    def value(counts: Floats, noised: bool, clear: Any) -> Floats:
        ends = np.cumsum(of_cells(counts, planned.widths), axis=-1)
        if noised:
            below = np.where(clear, ends, np.inf)[..., ::-1]
            below = np.minimum.accumulate(below, axis=-1)[..., ::-1]
            ends = np.maximum((below + np.maximum.accumulate(ends, axis=-1)) / 2, 0.0)
        return at_time(planned, assumed, np.where(clear, ends, np.nan), 0.0)

    return curves(planned, scale_of(releases), value, assumed.level)


def _sampling(assumed: Assumptions) -> float | None:
    if assumed.event_rate is None:
        return None
    planned = Planned.of(assumed)
    counts, w = planned.counts[0, 0], planned.widths
    d, m = counts[:, 0], np.maximum(exposed(counts, w), 1e-9)
    variance = np.cumsum(d / (m * np.maximum(m - d * (1 - 1 / w), 1e-9)))
    return assumed.z * float(at_time(planned, assumed, np.sqrt(variance), 0.0))


def _at(table: LifeTable, code: int, shown: int, ends: Floats) -> float | None:
    k = int(np.searchsorted(table.by.edges, code, side="right")) - 1
    if k >= shown or not np.isfinite(ends[k]):
        return None
    start = ends[k - 1] if k and np.isfinite(ends[k - 1]) else 0.0
    return float(start + (ends[k] - start) * (code - table.by.edges[k] + 1) / table.widths[k])


def _extra(
    question: Question, table: LifeTable | None = None, shown: int = 0, curves: Sequence[Floats] = ()
) -> dict[str, Any]:
    by = question.inner[-2]
    time = question.fields[by.column]
    rows = []
    for k in range(by.size):
        seen = table is not None and k < shown
        three = [said(float(curve[k])) for curve in curves] if seen else [None] * 3
        risk = max(0, round(float(at_risk(table.counts[0, 0])[k]))) if table is not None and seen else None
        rows.append(
            {
                "time": said(float(time.value(min(by.edges[k + 1], time.codes) - 1))),
                "at_risk": risk,
                "cumulative_hazard": three[0],
                "low": three[1],
                "high": three[2],
            }
        )
    return {"curve": rows}


STATISTICS = (
    Statistic(
        name="cumulative_hazard",
        words="cumulative hazard over time",
        aliases=("nelson_aalen", "na"),
        columns=(1, 2),
        values=(0, 1),
        tables=tables,
        family=cumulative_hazard,
        blank=_extra,
        noise=_noise,
        assuming=ASSUMING,
        sampling=_sampling,
    ),
)
