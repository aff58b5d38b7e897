"""Restricted mean survival time: the area under the survival curve up to a time tau.

The mean of the smaller of the time and tau. The curve is the one of `survival`, interpolated within cells; the
variance is Greenwood's over the area that is left (as R's survfit prints it), and in `dp` mode that of the noise
is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Assumptions, Statistic
from analytics.statistics import lifetable
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z
from analytics.statistics.figure import EMPTY, Figure
from analytics.statistics.followed import ASSUMING, Planned, curves, scale_of
from analytics.statistics.lifetable import FEW_AT_RISK
from analytics.statistics.noise import Floats
from analytics.statistics.question import Question
from analytics.statistics.survival import Curve, greenwood, log_survival, read, tables


def rmst(question: Question, cells: Sequence[Cell]) -> Figure:
    """The mean time up to tau, which is the only value of the statement."""
    curve = Curve.of(question, cells)
    n = curve.table.n
    if n <= 0:
        return Figure(n=0, reason=EMPTY)
    minimum, _, exact_step = curve.table.time.lattice
    step, tau = float(exact_step), lifetable.place_of(curve.table.time, question.values[0])
    # Up to tau, S is needed of the codes before it.
    before = np.clip(tau - np.array(curve.table.by.edges[:-1], dtype=np.float64), 0, curve.table.widths)
    if not curve.shown:
        return Figure(n=n, reason=curve.table.unseen)
    if before[curve.shown :].any():
        return Figure(n=n, reason=f"{FEW_AT_RISK} up to this time")
    before, widths = before[: curve.shown], curve.table.widths[: curve.shown]
    value = float(minimum) + step * float(_areas(curve.survival, before, widths).sum(-1))
    noises = step * _areas(np.exp(curve.noises), before, widths).sum(-1)
    spread = float(lifetable.deviation(noises)) if curve.table.noised else 0.0
    variance = float((_left(curve.survival, before, widths) ** 2 * np.nan_to_num(curve.jumps)).sum())
    half = Z * sqrt(step**2 * variance + spread**2)
    top = float(minimum) + step * tau
    return Figure.estimate(
        value, (value - half, value + half), within=(float(minimum), top), n=n, noise=spread
    )


def _areas(s: Floats, before: Floats, widths: Floats) -> Floats:
    """The area of each cell in codes: `before` of its codes, S falling evenly over all `widths`."""
    start = np.concatenate([np.ones((*s.shape[:-1], 1)), s[..., :-1]], axis=-1)
    return np.asarray(before * start + (s - start) * before * (before + 1) / (2 * widths))


def _left(s: Floats, before: Floats, widths: Floats) -> Floats:
    """How the area changes with log S of each cell and all after it: what is left of it from there."""
    areas = _areas(s, before, widths)
    later = np.cumsum(areas[::-1])[::-1] - areas
    return np.asarray(later + s * before * (before + 1) / (2 * widths))


def _before(planned: Planned, assumed: Assumptions) -> Floats:
    tau = planned.place(assumed.values[0])[0]
    return np.asarray(np.clip(tau - np.array(planned.edges[:-1], dtype=np.float64), 0, planned.widths))


def _noise(releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions) -> float | None:
    planned = Planned.of(assumed)
    before = _before(planned, assumed)
    used = int((before > 0).sum())

    def value(counts: Floats, noised: bool, clear: Any) -> Floats:
        s = read(planned, counts, noised, clear)[..., :used]
        areas = _areas(s, before[:used], planned.widths[:used]).sum(-1)
        return np.asarray(areas * float(planned.time.lattice[2]))

    return curves(planned, scale_of(releases), value, assumed.level)


def _sampling(assumed: Assumptions) -> float | None:
    if assumed.event_rate is None:
        return None
    planned = Planned.of(assumed)
    s = np.exp(log_survival(planned.counts[0, 0], planned.widths, False))
    left = _left(s, _before(planned, assumed), planned.widths)
    return assumed.z * float(planned.time.lattice[2]) * sqrt(float((left**2 * greenwood(planned)).sum()))


STATISTICS = (
    Statistic(
        name="rmst",
        words="restricted mean survival time",
        aliases=("restricted_mean", "restricted_mean_survival_time"),
        columns=(1, 2),
        values=(1, 1),
        tables=tables,
        family=rmst,
        unit=lambda unit: unit or None,
        noise=_noise,
        assuming=ASSUMING,
        sampling=_sampling,
    ),
)
