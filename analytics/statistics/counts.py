"""Counts and proportions.

A count describes the cohort itself: its interval holds the true count, and is the count alone in `exact`
mode. A proportion speaks of the patients the cohort stands for: Wilson's interval in `exact` mode (Wilson,
JASA 22, 1927); in `dp` mode Jeffreys intervals over the true counts that may stand behind the noised ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import sqrt

from analytics.privacy import mechanisms
from analytics.query.columns import Field
from analytics.query.model import By, Release
from analytics.query.statistic import Asked, Assumptions, Expected, Statistic, Wanted
from analytics.statistics import noise
from analytics.statistics.cells import Cell
from analytics.statistics.figure import EMPTY, Figure
from analytics.statistics.question import Question

Z = 1.959963984540054  # the 97.5 % point of the normal distribution


def count(question: Question, cells: Sequence[Cell]) -> Figure:
    """The number of patients, with the exact quantiles of the noise around it."""
    (cell,) = cells
    n, q = int(cell.n), noise.reach(cell.t)
    return Figure.estimate(
        n,
        (n - q, n + q),
        within=(0, cell.capacity),
        n=min(max(n, 0), cell.capacity),
        noise=cell.deviation_of_n,
    )


def proportion(question: Question, cells: Sequence[Cell]) -> Figure:
    """The share of patients at one level among those who have any: cells are (level, others)."""
    level, others = (max(int(cell.n), 0) for cell in cells)
    n = level + others
    if n == 0:
        return Figure(n=0, reason=EMPTY)
    value = Fraction(level, n)
    if question.mode == "exact":
        return Figure.estimate(value, wilson(level, n), within=(0, 1), n=n, noise=0.0)
    draws, spread = _jeffreys([int(cell.n) for cell in cells], cells[0].t)
    return Figure.estimate(value, noise.interval(draws), within=(0, 1), n=n, noise=spread)


def wilson(level: float, n: float) -> tuple[float, float]:
    """Wilson's interval of the share level / n."""
    p = level / n
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return middle - half, middle + half


def _jeffreys(released: Sequence[int], t: float) -> tuple[noise.Floats, float]:
    from scipy.special import betaincinv  # seconds to load: only who draws figures waits for it

    u = noise.uniforms(noise.generator("proportion", released), (3, noise.DRAWS))
    level, others = noise.behind(released[0], t, u[0]), noise.behind(released[1], t, u[1])
    n = level + others
    seen = level[n > 0] / n[n > 0]
    spread = float(seen.std()) if seen.size else 0.0
    return betaincinv(level + 0.5, others + 0.5, u[2]), spread


def _level_or_not(asked: Asked) -> list[Wanted]:
    level, field = asked.level, asked.columns[0]
    assert level is not None, "the compiler found the level"
    others = tuple(other for other in range(field.codes) if other != level)
    return [Wanted(inner=(By(column=field.name, groups=((level,), others)),))]


def _expected_count(releases: Sequence[Release], fields: Sequence[Field], n: int, level: float) -> Expected:
    scale = releases[0].scale
    assert scale is not None, "only noise is expected"
    return Expected(half_width=float(mechanisms.reach(scale, level)), unit="patients", assuming="nothing")


def expected_share(releases: Sequence[Release], fields: Sequence[Field], n: int, level: float) -> Expected:
    scale = releases[0].scale
    assert scale is not None, "only noise is expected"
    half = mechanisms.half_width(scale, (0.5 / n, 0.5 / n), level)
    return Expected(
        half_width=half, unit=None, assuming=f"{n} patients in the group, a proportion of one half"
    )


def _share_noise(releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions) -> float | None:
    scale, p, n = releases[0].scale, assumed.event_rate, assumed.n
    if scale is None or p is None:
        return None
    # Of level / (level + others), to first order in the two noises.
    return mechanisms.half_width(scale, ((1 - p) / n, p / n), assumed.level)


def sampling_of_share(assumed: Assumptions) -> float | None:
    p = assumed.event_rate
    return None if p is None else assumed.z * sqrt(p * (1 - p) / assumed.n)


STATISTICS = (
    Statistic(
        name="count",
        words="number of patients",
        columns=(0, 1),
        level="may",
        tables=lambda asked: [Wanted()],
        family=count,
        expected=_expected_count,
        # Poisson: how another cohort like it would differ
        sampling=lambda assumed: assumed.z * sqrt(assumed.n),
        of_cohort=True,
    ),
    Statistic(
        name="proportion",
        words="proportion",
        level="must",
        tables=_level_or_not,
        family=proportion,
        expected=expected_share,
        noise=_share_noise,
        sampling=sampling_of_share,
    ),
)
