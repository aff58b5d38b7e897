"""Survival over time from a life table: the actuarial estimator on a public grid (Cutler and Ederer, 1958).

S is the product of 1 - d / (n - c (w - 1) / 2w) over the cells of time, where a cell has d events, c censored
and w codes: half of the censored are not at risk in a wide cell, and where each cell is a single code this is
Kaplan and Meier's estimator, with deaths before censorings. Between the ends of cells S is interpolated.
Intervals are Greenwood's on the log-log scale; in `dp` mode the variance that the noise gives to log S is added,
and S is made to descend. From the cell on at whose start too few are at risk, nothing is said.
The median is the smallest time at which S is one half or less; where S is one half for a while, its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions, Statistic, Wanted
from analytics.statistics import lifetable
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z
from analytics.statistics.figure import EMPTY, Figure, said
from analytics.statistics.followed import ASSUMING, Planned, curves, scale_of
from analytics.statistics.lifetable import FEW_AT_RISK, LifeTable, at_risk
from analytics.statistics.noise import Floats
from analytics.statistics.question import Question

NOT_REACHED = "survival stays above one half as far as it is known"
TINY = 1e-12
HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The survival of one group; arrays over the cells of time of which something may be said."""

    table: LifeTable
    shown: int
    counts: Floats = field(repr=False)

    @classmethod
    def of(cls, question: Question, cells: Sequence[Cell]) -> Curve:
        table = LifeTable.of(question, cells)
        (clear,) = table.clear()
        return cls(
            table=table,
            shown=0 if table.drowned() else int(clear.sum()),
            counts=table.counts[0, 0],
        )

    def log_of(self, counts: Floats) -> Floats:
        """log S at the ends of cells, from counts (..., cells, 2); noise may let it rise."""
        return log_survival(counts, self.table.widths, self.table.noised)[..., : self.shown]

    @cached_property
    def noises(self) -> Floats:
        """log S under further noise, one row for each."""
        return self.log_of(self.table.noised_again("survival")[:, 0, 0])

    @cached_property
    def survival(self) -> Floats:
        s = np.exp(self.log_of(self.counts))
        s[s < 10 * TINY] = 0.0
        return descending(s) if self.table.noised else s

    @cached_property
    def jumps(self) -> Floats:
        """Greenwood's term of each cell: d / m (m - d)."""
        d, m = np.maximum(self.counts[..., 0], 0.0), exposed(self.counts, self.table.widths)
        rest = m * (m - d)
        return np.where(d > 0, d / np.where(rest > 0, rest, np.nan), 0.0)[: self.shown]

    @cached_property
    def noise_of_log(self) -> Floats:
        """Standard deviation of log S from noise alone."""
        return lifetable.deviation(self.noises) if self.table.noised else np.zeros(self.shown)

    @cached_property
    def bounds(self) -> tuple[Floats, Floats]:
        """Pointwise intervals of S; nan where they need an event, or a survivor."""
        variance = np.cumsum(self.jumps) + self.noise_of_log**2
        if self.table.noised:
            variance = np.where(np.isnan(variance), self.noise_of_log**2, variance)
        with np.errstate(divide="ignore"):
            hazard = -np.log(self.survival)
        low, high = of_hazard(hazard, np.sqrt(variance), self.table.noised)
        return np.exp(-high), np.exp(-low)

    def at(self, code: int, ends: Floats) -> float | None:
        """What `ends` says of a code: interpolated between the ends of cells; None where it says nothing."""
        k = int(np.searchsorted(self.table.by.edges, code, side="right")) - 1
        if k >= self.shown or not np.isfinite(ends[k]):
            return None
        start = ends[k - 1] if k and np.isfinite(ends[k - 1]) else 1.0
        part = (code - self.table.by.edges[k] + 1) / self.table.widths[k]
        return float(start + (ends[k] - start) * part)

    def three(self, code: int) -> tuple[float | None, float | None, float | None]:
        """S at a code with its interval."""
        s, low, high = self.at(code, self.survival), *(self.at(code, ends) for ends in self.bounds)
        return s, *((None, None) if low is None or high is None else (low, high))

    def reaches_half(self, ends: Floats) -> float | None:
        """The time at which S, a lower or an upper bound first is one half or less; None if never."""
        start = 1.0
        for k, end in enumerate(ends[: self.shown]):
            if not np.isfinite(end):
                continue
            if end <= HALF + TINY:
                code = self.table.by.edges[k] - 1.0
                code += ceil(self.table.widths[k] * (start - HALF) / max(start - end, TINY) - 1e-9)
                if abs(end - HALF) <= TINY * 100:
                    code = (self.table.last(k) + self._falls_again(k)) / 2
                return _time(self.table.time, code)
            start = float(end)
        return None

    def _falls_again(self, cell: int) -> float:
        for k in range(cell + 1, self.shown):
            if self.counts[k, 0] > 0:
                return float(self.table.by.edges[k])
        return float(self.table.last(cell))


def log_survival(counts: Floats, widths: Floats, noised: bool) -> Floats:
    """log S at the ends of cells, from counts (..., cells, 2)."""
    left = 1 - counts[..., 0] / np.maximum(exposed(counts, widths), 1.0 if noised else TINY)
    return np.asarray(np.cumsum(np.log(np.maximum(left, TINY)), axis=-1))


def exposed(counts: Floats, widths: Floats) -> Floats:
    """Who is exposed to an event in a cell: at risk at its start, less the censored that leave before one."""
    return np.asarray(at_risk(counts) - counts[..., 1] * (widths - 1) / (2 * widths))


def descending(s: Floats) -> Floats:
    """The middle between the largest descending curve below and the smallest above, within [0, 1]."""
    below, above = np.minimum.accumulate(s), np.maximum.accumulate(s[::-1])[::-1]
    return np.asarray(np.clip((below + above) / 2, 0.0, 1.0))


def of_hazard(hazard: Floats, deviation: Floats, noised: bool) -> tuple[Floats, Floats]:
    """The interval of a cumulative hazard on the log scale; nan where there is none.

    In `dp` mode a hazard that noise and sampling may make of nothing has its interval on its own scale.
    """
    seen = np.isfinite(hazard) & (hazard > 0) & np.isfinite(deviation)
    factor = np.exp(Z * np.minimum(np.where(seen, deviation, 0.0) / np.where(seen, hazard, 1.0), 100.0))
    low, high = np.where(seen, hazard / factor, np.nan), np.where(seen, hazard * factor, np.nan)
    if noised:
        plain = np.isfinite(hazard) & (hazard < 2 * deviation)
        low = np.where(plain, np.maximum(hazard - Z * deviation, 0.0), low)
        high = np.where(plain, hazard + Z * deviation, high)
    return low, high


def _time(time: Field, code: float) -> float:
    minimum, _, step = time.lattice
    return float(minimum) + float(step) * code


def survival(question: Question, cells: Sequence[Cell]) -> Figure:
    """S at the first time asked for, else at the last that may be told; the curve and the median go with it."""
    return _figure(question, cells, lambda three: three)


def incidence(question: Question, cells: Sequence[Cell]) -> Figure:
    """1 - S: who has had the event by then."""
    return _figure(question, cells, _failed)


def _failed(three: Any) -> Any:
    s, low, high = three
    return tuple(None if x is None else 1 - x for x in (s, high, low))


def _figure(question: Question, cells: Sequence[Cell], turn: Any) -> Figure:
    curve = Curve.of(question, cells)
    n = curve.table.n
    if n <= 0:
        return Figure(n=0, reason=EMPTY, noise=None)
    extra = _extra(question, curve, turn)
    if not curve.shown:
        return Figure(n=n, reason=curve.table.unseen, extra=extra)
    code = _asked(question, curve)[0]
    s, low, high = curve.three(code)
    if s is None:
        return Figure(n=n, reason=f"{FEW_AT_RISK} at this time", extra=extra)
    spread = s * (curve.at(code, 1 + curve.noise_of_log) or 1.0) - s
    value, *interval = turn((s, low, high))
    return Figure.estimate(
        value,
        None if interval[0] is None else (interval[0], interval[1]),
        within=(0, 1),
        n=n,
        noise=spread if curve.table.noised else 0.0,
        reason=None if interval[0] is not None else "an interval needs an event and a survivor",
        extra=extra,
    )


def _asked(question: Question, curve: Curve) -> list[int]:
    """The codes of the times asked for, else of the last time that may be told."""
    time = curve.table.time
    return [lifetable.place_of(time, value) for value in question.values] or [
        curve.table.last(max(curve.shown, 1) - 1)
    ]


def median(question: Question, cells: Sequence[Cell]) -> Figure:
    """The median time, with the times at which the pointwise interval reaches one half (Brookmeyer, Crowley)."""
    curve = Curve.of(question, cells)
    if curve.table.n <= 0:
        return Figure(n=0, reason=EMPTY)
    found, low, high = _median(curve)
    reason = None if found is not None else NOT_REACHED if curve.shown else curve.table.unseen
    ends = {"earliest": said(low), "latest": said(high)}
    interval = None if low is None or high is None else (low, high)
    if found is not None and interval is None:
        reason = "the interval has no end: its bound stays above one half"
    return Figure.estimate(found, interval, n=curve.table.n, noise=None, reason=reason, extra=ends)


def _median(curve: Curve) -> tuple[float | None, float | None, float | None]:
    found, low, high = (curve.reaches_half(ends) for ends in (curve.survival, *curve.bounds))
    if found is not None:
        low = found if low is None else min(low, found)
        high = None if high is None else max(high, found)
    return found, low, high


def _extra(question: Question, curve: Curve | None, turn: Any) -> dict[str, Any]:
    by = question.inner[-2]
    time = question.fields[by.column]
    rows = []
    for k in range(by.size):
        last = min(by.edges[k + 1], time.codes) - 1
        seen = curve is not None and k < curve.shown
        three = turn(curve.three(last)) if curve is not None and seen else (None, None, None)
        rows.append(
            {
                "start": said(_time(time, by.edges[k])),
                "time": said(_time(time, last)),
                **_counted(curve, k if seen else None),
                question.statistic.name: said(three[0]),
                "low": said(three[1]),
                "high": said(three[2]),
            }
        )
    at = []
    for value in question.values:
        three = turn(curve.three(lifetable.place_of(time, value))) if curve else (None, None, None)
        at.append(
            {
                "time": said(float(value)),
                question.statistic.name: said(three[0]),
                "low": said(three[1]),
                "high": said(three[2]),
            }
        )
    found = _median(curve) if curve else (None, None, None)
    names = ("median", "median_low", "median_high")
    return {"curve": rows, "at": at, **{name: said(x) for name, x in zip(names, found, strict=True)}}


def _counted(curve: Curve | None, cell: int | None) -> dict[str, int | None]:
    if curve is None or cell is None:
        return dict.fromkeys(("at_risk", "events", "censored"))
    n = at_risk(curve.counts)[cell]
    d, c = curve.counts[cell]
    return {name: max(0, round(x)) for name, x in (("at_risk", n), ("events", d), ("censored", c))}


def _blank(question: Question) -> dict[str, Any]:
    return _extra(question, None, lambda three: three)


def tables(asked: Asked) -> list[Wanted]:
    """The life table of the groups."""
    wanted = lifetable.table(asked, (), len(asked.columns) == 2)
    lifetable.times(asked)  # after the columns are known to be a time and its flag
    return wanted


def read(planned: Planned, counts: Floats, noised: bool, clear: Any) -> Floats:
    """S at the ends of cells of many curves (draws, cells); nan where nothing is told."""
    s = np.exp(log_survival(counts, planned.widths, noised))
    if noised:
        below = np.minimum.accumulate(s, axis=-1)
        above = np.maximum.accumulate(np.where(clear, s, -1.0)[..., ::-1], axis=-1)[..., ::-1]
        s = np.clip((below + above) / 2, 0.0, 1.0)
    return np.where(clear, s, np.nan)


def at_time(planned: Planned, assumed: Assumptions, ends: Floats, start: float) -> Floats:
    """What curves say at the first time of a statement, or at the last planned to be told."""
    k, part = (planned.last, 1.0) if not assumed.values else planned.place(assumed.values[0])[1:]
    before = ends[..., k - 1] if k else np.full(ends.shape[:-1], start)
    return np.asarray(before + (ends[..., k] - before) * part)


def _noise(releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions) -> float | None:
    planned = Planned.of(assumed)

    def value(counts: Floats, noised: bool, clear: Any) -> Floats:
        return at_time(planned, assumed, read(planned, counts, noised, clear), 1.0)

    return curves(planned, scale_of(releases), value, assumed.level)


def greenwood(planned: Planned) -> Floats:
    """Greenwood's term of each cell of a planned life table."""
    counts = planned.counts[0, 0]
    d, m = counts[:, 0], exposed(counts, planned.widths)
    return np.asarray(d / np.maximum(m * (m - d), TINY))


def _sampling(assumed: Assumptions) -> float | None:
    if assumed.event_rate is None:
        return None
    planned = Planned.of(assumed)
    s = np.exp(log_survival(planned.counts[0, 0], planned.widths, False))
    spread = s * np.sqrt(np.cumsum(greenwood(planned)))
    return assumed.z * float(at_time(planned, assumed, spread, 0.0))


def _median_noise(releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions) -> float | None:
    planned = Planned.of(assumed)
    first, widths = np.array(planned.edges[:-1], dtype=np.float64), planned.widths

    def value(counts: Floats, noised: bool, clear: Any) -> Floats:
        s = read(planned, counts, noised, clear)
        reached = np.where(np.isnan(s), False, s <= HALF + TINY)
        k = reached.argmax(-1)
        rows = np.arange(len(s))
        end, start = s[rows, k], np.where(k > 0, s[rows, k - 1], 1.0)
        code = first[k] - 1 + np.ceil(widths[k] * (start - HALF) / np.maximum(start - end, TINY) - 1e-9)
        return np.where(reached.any(-1), code * float(planned.time.lattice[2]), np.nan)

    return curves(planned, scale_of(releases), value, assumed.level)


def _median_sampling(assumed: Assumptions) -> float | None:
    """The deviation of S at the median over the density there (delta method)."""
    if assumed.event_rate is None:
        return None
    planned = Planned.of(assumed)
    counts = planned.counts[0, 0]
    s = np.exp(log_survival(counts, planned.widths, False))
    if s[-1] > HALF:
        return None
    k = int(np.argmax(s <= HALF))
    density = ((s[k - 1] if k else 1.0) - s[k]) / planned.widths[k]
    spread = HALF * np.sqrt(np.cumsum(greenwood(planned))[k])
    return assumed.z * float(spread / density) * float(planned.time.lattice[2])


STATISTICS = (
    Statistic(
        name="survival",
        words="survival over time",
        aliases=("kaplan_meier", "km", "survival_curve"),
        columns=(1, 2),
        values=(0, 12),
        tables=tables,
        family=survival,
        blank=_blank,
        noise=_noise,
        assuming=ASSUMING,
        sampling=_sampling,
    ),
    Statistic(
        name="cumulative_incidence",
        words="cumulative incidence over time",
        aliases=("failure",),
        columns=(1, 2),
        values=(0, 12),
        tables=tables,
        family=incidence,
        blank=_blank,
        noise=_noise,
        assuming=ASSUMING,
        sampling=_sampling,
    ),
    Statistic(
        name="median_survival",
        words="median survival time",
        aliases=("median_time",),
        columns=(1, 2),
        tables=tables,
        family=median,
        blank=lambda question: {"earliest": None, "latest": None},
        noise=_median_noise,
        assuming=ASSUMING,
        sampling=_median_sampling,
        unit=lambda unit: unit or None,
    ),
)
