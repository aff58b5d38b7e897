"""Association of two nominal columns: the table, Pearson's chi-square without correction, Cramer's V.

Rows and columns without a patient are dropped from both, as in the textbook. In `exact` mode V's interval
inverts the non-central chi-square (Smithson, Confidence Intervals, 2003). Noise alone makes a noised table
look associated, so in `dp` mode p and interval come from simulated tables that carry the same noise:
p under independence (Gaboardi, Lim, Rogers, Vadhan, ICML 2016), the interval from tables between
independence and the observed direction, at the strengths that give the observed V in 95 % of cases. Where the
noise alone gives a V of 0.2 there is no V to show, since an interval would be half of all values and more; p stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import Release
from analytics.query.statistic import Asked, Assumptions, Expected, Statistic, Wanted, every
from analytics.statistics import noise
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z
from analytics.statistics.figure import EMPTY, NOISE, Figure, said, too_few
from analytics.statistics.noise import TAIL, Floats
from analytics.statistics.question import Question

STILL = "one of the columns has a single level in this cohort"
SIMULATED = 2000
MOST_SIMULATED_CELLS = 400_000  # bounds memory and time for wide tables
STEPS = 12
TINY = 1e-300
MOST_OF_NOISE = 0.2  # V that noise alone may make (docs/validity.md)
LIKE = 1 - 1e-9  # equal tables are equal whatever order a machine adds them up in
NORMAL_FROM = 5000.0  # a chi-square this large is normal to three digits


def association(question: Question, cells: Sequence[Cell]) -> Figure:
    """Cramer's V with its interval; the table, chi-square, df and p go with it."""
    exact, minimum = question.mode == "exact", question.minimum_cohort
    seen = [int(cell.n) for cell in cells]
    shown = [x if cell.ok and (exact or x >= minimum) else None for x, cell in zip(seen, cells, strict=True)]
    if not all(cell.ok for cell in cells):
        return Figure(suppressed=True, reason=too_few("exact", minimum), extra=_extra(question, shown))
    shape = (question.inner[0].size, question.inner[1].size)
    table = np.maximum(np.array(seen, dtype=np.float64), 0.0).reshape(shape)
    n = sum(seen)
    if n <= 0:
        return Figure(n=0, reason=EMPTY, extra=_extra(question, shown))
    chi2, v, df, most = (float(x) for x in measure(table))
    if df == 0:
        return Figure(n=n, reason=STILL, extra=_extra(question, shown))
    if exact:
        interval, p, deviation = _inverted(chi2, df, most), _upper(chi2, df), 0.0
    else:
        simulation = _Simulation.of(table, n, seen, cells[0].t)
        if simulation.of_noise() > MOST_OF_NOISE:
            extra = _extra(question, shown, chi2=chi2, df=int(df), p=simulation.p(chi2))
            return Figure(n=n, reason=NOISE, extra=extra)
        interval, p, deviation = simulation.interval(v), simulation.p(chi2), simulation.deviation()
    return Figure.estimate(
        v,
        interval,
        within=(0, 1),
        n=n,
        noise=deviation,
        extra=_extra(question, shown, chi2=chi2, df=int(df), p=p, v=v),
    )


def blank(question: Question) -> dict[str, Any]:
    """What goes with V where nothing may be said: the same keys, every number null."""
    return _extra(question, [None] * (question.inner[0].size * question.inner[1].size))


def measure(table: Floats) -> tuple[Any, Any, Any, Any]:
    """Chi-square, Cramer's V, degrees of freedom and largest possible chi-square of tables (r, c, ...)."""
    rows, columns = table.sum(1, keepdims=True), table.sum(0, keepdims=True)
    n = rows.sum(0)[0]
    expected = rows * columns / np.maximum(n, TINY)
    filled = expected > 0
    # Simulated tables lie along the last axis: numpy adds up along a short one an order slower.
    chi2 = ((table - expected) ** 2 / np.where(filled, expected, np.inf)).sum((0, 1))
    r = np.maximum((rows > 0).sum((0, 1)) - 1, 0)
    c = np.maximum((columns > 0).sum((0, 1)) - 1, 0)
    most = n * np.minimum(r, c)
    v = np.sqrt(np.where(most > 0, np.minimum(chi2 / np.maximum(most, TINY), 1.0), 0.0))
    return chi2, v, r * c, most


@dataclass(frozen=True, kw_only=True)
class _Simulation:
    """Noised tables of n patients, from independence (strength 0) along the direction that was observed.

    The table at strength w has probabilities independent + w * direction; all strengths share one set of
    multinomial deviations (in their normal approximation) and of noises, so nothing jumps between them.
    """

    n: int
    independent: Floats = field(repr=False)
    direction: Floats = field(repr=False)
    deviations: Floats = field(repr=False)
    noises: Floats = field(repr=False)

    @classmethod
    def of(cls, table: Floats, n: int, released: Sequence[int], t: float) -> _Simulation:
        from scipy.special import ndtri

        shares = table / table.sum()
        independent = shares.sum(1, keepdims=True) * shares.sum(0, keepdims=True)
        shape = (max(200, min(SIMULATED, MOST_SIMULATED_CELLS // table.size)), *table.shape)
        bits = noise.generator("correlate", released)
        return cls(
            n=n,
            independent=independent,
            direction=shares - independent,
            deviations=_simulated_last(ndtri(noise.uniforms(bits, shape))),
            noises=_simulated_last(noise.noise(t, noise.uniforms(bits, shape))),
        )

    def p(self, chi2: float) -> float:
        """How often a noised table without association looks at least as associated."""
        null = measure(self._tables(self.independent))[0]
        return float((1 + (null >= chi2 * LIKE).sum()) / (1 + len(null)))

    def of_noise(self) -> float:
        """V of a table without association and without chance but for the noise (root of the mean square)."""
        table = self.n * self.independent[..., None]
        return float(np.sqrt((measure(np.maximum(table + self.noises, 0.0))[1] ** 2).mean()))

    def deviation(self) -> float:
        """The standard deviation of V from noise alone, at the observed table."""
        table = self.n * (self.independent + self.direction)[..., None]
        return float(measure(np.maximum(table + self.noises, 0.0))[1].std())

    def interval(self, v: float) -> tuple[float, float]:
        """Strengths, as V, at which the observed V is in neither tail."""
        if not np.abs(self.direction).max() > 1e-12:
            return 0.0, 1.0
        low = self._first(lambda w: (self._v(w) >= v * LIKE).mean() >= TAIL)
        high = self._first(lambda w: (self._v(w) * LIKE <= v).mean() < TAIL)
        return (v if low is None else low), (1.0 if high is None else high)

    def _first(self, holds: Callable[[float], bool]) -> float | None:
        """V at the first strength from which `holds` is true, by bisection; None if it never is."""
        down = self.direction < 0
        start, end = 0.0, float((self.independent[down] / -self.direction[down]).min())
        if holds(start):
            return 0.0
        if not holds(end):
            return None
        for _ in range(STEPS):
            middle = (start + end) / 2
            start, end = (start, middle) if holds(middle) else (middle, end)
        return float(measure(self._shares(end))[1])

    def _shares(self, w: float) -> Floats:
        return np.asarray(np.maximum(self.independent + w * self.direction, 0.0))

    def _v(self, w: float) -> Floats:
        return np.asarray(measure(self._tables(self._shares(w)))[1])

    def _tables(self, shares: Floats) -> Floats:
        root = np.sqrt(shares)[..., None]
        apart = self.deviations - root * (self.deviations * root).sum((0, 1))
        counts = np.maximum(np.rint(self.n * shares[..., None] + sqrt(self.n) * root * apart), 0.0)
        return np.asarray(np.maximum(counts + self.noises, 0.0))


def _simulated_last(tables: Floats) -> Floats:
    """Tables (simulated, r, c) as (r, c, simulated)."""
    return np.ascontiguousarray(np.moveaxis(tables, 0, -1))


def _upper(chi2: float, df: float) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(df, chi2))


def _inverted(chi2: float, df: float, most: float) -> tuple[float, float]:
    """V at the two non-centralities under which the observed chi-square is a tail quantile."""
    low, high = _noncentrality(chi2, df, 1 - TAIL, Z), _noncentrality(chi2, df, TAIL, -Z)
    return sqrt(low / most), sqrt(high / most)


def _noncentrality(chi2: float, df: float, p: float, z: float) -> float:
    from scipy.special import chndtr

    if chi2 > NORMAL_FROM:  # (chi2 - df - x) / sqrt(2 df + 4 x) = z, solved for x
        middle = chi2 - df + 2 * z * z
        return max(0.0, middle - z * sqrt(max(0.0, 4 * (chi2 - df) + 2 * df + 4 * z * z)))
    if chndtr(chi2, df, 0.0) <= p:
        return 0.0
    low, high = 0.0, chi2 + 10 * sqrt(chi2) + 50
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chndtr(chi2, df, middle) > p else (low, middle)
    return (low + high) / 2


def _extra(
    question: Question,
    counts: Sequence[int | None],
    *,
    chi2: float | None = None,
    df: int | None = None,
    p: float | None = None,
    v: float | None = None,
) -> dict[str, Any]:
    rows, columns = (question.labels(by) for by in question.inner)
    lines = [list(counts[i : i + len(columns)]) for i in range(0, len(counts), len(columns))]
    return {
        "table": {"rows": rows, "columns": columns, "counts": lines},
        "chi2": said(chi2),
        "df": df,
        "p": said(p),
        "cramers_v": said(v),
    }


def _table(asked: Asked) -> list[Wanted]:
    x, y = asked.columns
    if x.name == y.name:
        raise asked.refuse("duplicate", f"{x.name} is correlated with itself", 1)
    return [Wanted(inner=(every(x), every(y)))]


def _expected(releases: Sequence[Release], fields: Sequence[Field], n: int, level: float) -> Expected:
    rows, columns = (by.size for by in releases[0].by[-2:])
    half = _noise_of(releases[0], np.full((rows, columns), n / (rows * columns)), level)
    return Expected(
        half_width=half,
        unit=None,
        assuming=f"{n} patients in the group, all cells of one size, no association",
    )


def _noise(releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions) -> float | None:
    return _noise_of(releases[0], _planned(releases, assumed), assumed.level)


def _planned(releases: Sequence[Release], assumed: Assumptions) -> Floats:
    """Planned patients in the table of the last two partitions."""
    cells: Floats = np.array(assumed.cells, dtype=np.float64).sum(0)
    return cells.reshape(releases[0].by[-2].size, releases[0].by[-1].size)


def _noise_of(release: Release, planned: Floats, level: float) -> float:
    """The error that the noise makes in V, in simulated tables without association."""
    assert release.scale is not None, "only noise is expected"
    clear, noised = _simulated(release, planned, planned / planned.sum())
    return float(np.quantile(np.abs(measure(noised)[1] - measure(clear)[1]), level))


def _simulated(release: Release, planned: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """Tables of as many patients at these shares, without noise and with it. Shapes  (rows, columns, draws)."""
    scale = 0.0 if release.scale is None else float(release.scale)
    noises, normals = noise.simulated(scale, planned.size, planned.size)
    simulation = _Simulation(
        n=round(planned.sum()),
        independent=shares,
        direction=np.zeros_like(shares),
        deviations=normals.reshape(*planned.shape, -1),
        noises=np.zeros((*planned.shape, 1)),
    )
    clear = simulation._tables(shares)
    return clear, np.maximum(clear + noises.reshape(*planned.shape, -1), 0.0)


def _sampling(assumed: Assumptions) -> float | None:
    """Of V away from 0 and 1: that of a phi coefficient, 1 / root n (Bishop, Fienberg, Holland, 1975)."""
    return assumed.z / sqrt(assumed.n)


def power(releases: Sequence[Release], assumed: Assumptions, effect: float) -> tuple[float, str] | None:
    """How often the test with the noise in its null finds a V of `effect`, in simulation: between the planned margins,
    along the diagonal. None for a table of three columns, or where no table with these margins has this V."""
    if len(assumed.columns) != 2 or assumed.n < 2:
        return None
    planned = _planned(releases, assumed)
    shares = planned / planned.sum()
    independent = shares.sum(1, keepdims=True) * shares.sum(0, keepdims=True)
    rows, columns = np.indices(shares.shape)
    along = np.where(rows * (shares.shape[1] - 1) == columns * (shares.shape[0] - 1), 1.0, 0.0)
    direction = along - along.mean(0) - along.mean(1, keepdims=True) + along.mean()
    if not np.abs(direction).max() > 0 or not independent.min() > 0:
        return None
    made = np.sqrt((direction**2 / independent).sum() / (min(shares.shape) - 1))
    apart = independent + effect / float(made) * direction
    if apart.min() < 0:
        return None
    null = measure(_simulated(releases[0], planned, independent)[1])[0]
    seen = measure(_simulated(releases[0], planned, apart)[1])[0]
    return float((seen > np.quantile(null, 0.95)).mean()), "a Cramer's V of this size, along the diagonal"


ASSOCIATION = Statistic(
    name="correlate",
    words="contingency table, chi-square and Cramer's V",
    columns=(2, 2),
    tables=_table,
    family=association,
    blank=blank,
    partial=True,
    expected=_expected,
    noise=_noise,
    sampling=_sampling,
    power=power,
)
