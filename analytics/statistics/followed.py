"""What a preview expects of survival figures: cohorts as a protocol plans them, counted, noised and read.

Planned are patients with a constant hazard who are observed until a date that lies evenly between a third and the end
of the time's range; the hazard is the one with which the supposed part of them has the event (one half where nothing is
supposed). The noise's part of an error is simulated on such cohorts; sampling is Greenwood's (1926) on their life table,
of a comparison the information of the log-rank test, events times the parts of the arms (Schoenfeld, Biometrika 68,
1981), whose score over information is Peto's log hazard ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Assumptions
from analytics.statistics import noise
from analytics.statistics.lifetable import CLEAR, WHOLE, at_risk, place_of
from analytics.statistics.noise import Floats

HALF = 0.5
FROM = 1 / 3  # of the range: the first end of observation
STEPS = 4096
ASSUMING = (
    "half of whom have the event if nothing else is supposed, with a constant hazard, observed until between a third"
    " and the end of the range of time"
)


def event_rate(assumed: Assumptions) -> float:
    """The part of the patients who have the event."""
    return HALF if assumed.event_rate is None else assumed.event_rate


@lru_cache(maxsize=256)
def _hazard(rate: float) -> float:
    """The hazard in the whole range with which this part has the event."""
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        # P(event) = 1 - E exp(-hazard C) with C even in [FROM, 1].
        seen = 1 - (np.exp(-middle * FROM) - np.exp(-middle)) / (middle * (1 - FROM))
        low, high = (middle, high) if seen < rate else (low, middle)
    return (low + high) / 2


@lru_cache(maxsize=256)
def parts(edges: tuple[int, ...], codes: int, rate: float) -> Floats:
    """The planned part of the patients in each cell of time, with the event and censored: shape (cells, 2)."""
    hazard = _hazard(rate)
    at = (np.arange(STEPS) + HALF) / STEPS
    alive, observed = np.exp(-hazard * at), np.clip((1 - at) / (1 - FROM), 0, 1)
    leaving = np.stack([hazard * alive * observed, alive * (at >= FROM) / (1 - FROM)]) / STEPS
    ends = np.minimum(np.array(edges, dtype=np.float64), codes) / codes
    sums = np.concatenate([np.zeros((2, 1)), np.cumsum(leaving, axis=1)], axis=1)
    found = np.diff([np.interp(ends, np.arange(STEPS + 1) / STEPS, one) for one in sums], axis=1).T
    return np.asarray(found / found.sum())


def mean_time(time: Field, rate: float) -> float:
    """The planned mean time under observation, in the time's unit: the part with the event over the hazard."""
    minimum, _, step = time.lattice
    return float(minimum) + float(step) * (time.codes * rate / _hazard(rate) - HALF)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A planned life table: expected counts (strata, arms, cells of time, 2) of a statement's group."""

    counts: Floats = field(repr=False)
    edges: tuple[int, ...]
    time: Field

    @classmethod
    def of(cls, assumed: Assumptions) -> Planned:
        """As registered: arms and strata that facts tell nothing of are equally large."""
        time = assumed.columns[0]
        edges = time.edges()
        each = parts(edges, time.codes, event_rate(assumed))
        rows = np.array(assumed.cells).reshape(len(assumed.cells), -1, len(each) * 2).sum(-1)
        return cls(counts=rows[..., None, None] * each, edges=edges, time=time)

    @property
    def widths(self) -> Floats:
        return np.diff(np.minimum(np.array(self.edges, dtype=np.float64), self.time.codes))

    def place(self, value: float) -> tuple[int, int, float]:
        """Of a time: its code, its cell of the grid, and which part of that cell it ends."""
        code = place_of(self.time, repr(value))
        k = int(np.searchsorted(self.edges, code, side="right")) - 1
        return code, k, (code - self.edges[k] + 1) / self.widths[k]

    @property
    def last(self) -> int:
        """The last cell of time with at least a tenth at risk: where a curve is taken to end."""
        left = at_risk(self.counts.sum((0, 1)))
        return int(np.flatnonzero(left >= left[0] / 10)[-1])

    def drawn(self, scale: float, whole: float = WHOLE) -> tuple[Floats, Floats, Any]:
        """Random cohorts, the same noised, and where enough are at risk (draws, strata, cells of time) to be told."""
        size = self.counts.size
        noises, normals = noise.simulated(scale, size, size)
        shape = (-1, *self.counts.shape)
        true = noise.cohorts(self.counts.ravel(), normals).T.reshape(shape)
        noised = true + noises.T.reshape(shape)
        summed = np.arange(self.counts.shape[2], 0, -1) * 2 * self.counts.shape[1]
        one = noise.variance(scale)
        left = at_risk(noised.sum(2))
        clear = np.logical_and.accumulate(left >= CLEAR * np.sqrt(one * summed), axis=-1)
        drowned = noised.sum((1, 2, 3, 4)) < whole * sqrt(one * size)
        return true, noised, clear & ~drowned[:, None, None]


def curves(
    planned: Planned, scale: float, value: Callable[[Floats, bool, Any], Floats], level: float
) -> float | None:
    """The error within which `level` of noised figures of one group's curve lie; None if hardly any is shown."""
    true, noised, clear = planned.drawn(scale)
    everywhere = np.ones_like(clear[:, 0])
    off = np.abs(value(noised[:, 0, 0], True, clear[:, 0]) - value(true[:, 0, 0], False, everywhere))
    off = off[np.isfinite(off)]
    return float(np.quantile(off, level)) if len(off) >= noise.FEWEST else None


def scale_of(releases: Sequence[Release]) -> float:
    scale = releases[0].scale
    assert scale is not None, "only noise is expected"
    return float(scale)
