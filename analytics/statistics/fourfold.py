"""The fourfold table: an event or none of it, in two arms, perhaps in several strata.

Tables are arrays (..., strata, 2, 2): reference arm first, the event first. Pooled estimates are Mantel and
Haenszel's (J. Natl. Cancer Inst. 22, 1959) with the variances of Robins, Breslow, Greenland (Biometrics 42, 1986)
for the odds ratio and of Greenland, Robins (Biometrics 41, 1985) for the others; the test is theirs without
continuity correction. What is undefined is NaN here; the statistics say why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt
from typing import TypeAlias

import numpy as np

from analytics.statistics import noise
from analytics.statistics.counts import Z, wilson
from analytics.statistics.noise import Floats

Parts: TypeAlias = tuple[Floats, Floats, Floats, Floats]
Interval: TypeAlias = tuple[float, float]
TINY = 1e-300


def parts(tables: Floats) -> Parts:
    """a, b of the compared arm and c, d of the reference: with the event, without."""
    return tables[..., 1, 0], tables[..., 1, 1], tables[..., 0, 0], tables[..., 0, 1]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A way to compare two risks.

    ratio    whether it is a ratio, with an interval on the log scale, or else a difference
    silent   whether one table (2, 2) tells nothing of it
    whole    whether one table (2, 2) has it without a correction
    value    of tables (..., 2, 2); interval: of one
    drawn    from draws of the odds in the compared and the reference arm
    pooled   numerator and denominator over the strata of tables (..., strata, 2, 2), and the variance of
             their quotient, of its logarithm if it is a ratio
    """

    ratio: bool
    method: str
    pooling: str
    silent: Callable[[Floats], bool]
    whole: Callable[[Floats], bool]
    value: Callable[[Floats], Floats]
    interval: Callable[[Floats], Interval]
    drawn: Callable[[Floats, Floats], Floats]
    pooled: Callable[[Floats], tuple[Floats, Floats, Floats]]


HALF = 0.5  # added to each count of a table that has a zero where it matters (Haldane, Ann. Hum. Genet. 20, 1956)


def newcombe(table: Floats) -> Interval:
    """Newcombe's interval of a risk difference, from Wilson's of both risks (Stat. Med. 17, 1998, method 10)."""
    a, b, c, d = (float(x) for x in parts(table))
    p, q = a / (a + b), c / (c + d)
    (p_low, p_high), (q_low, q_high) = wilson(a, a + b), wilson(c, c + d)
    low = sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    high = sqrt((p_high - p) ** 2 + (q - q_low) ** 2)
    return p - q - low, p - q + high


def katz(table: Floats) -> Interval:
    """Katz's interval of a risk ratio on the log scale (Biometrics 34, 1978)."""
    a, b, c, d = (float(x) for x in parts(table))
    half = Z * sqrt(max(0.0, 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)))
    return _around(a * (c + d) / (c * (a + b)), half)


def woolf(table: Floats) -> Interval:
    """Woolf's interval of an odds ratio on the log scale (Ann. Hum. Genet. 19, 1955)."""
    a, b, c, d = (float(x) for x in parts(table))
    return _around(a * d / (b * c), Z * sqrt(1 / a + 1 / b + 1 / c + 1 / d))


def _around(middle: float, half: float) -> Interval:
    return middle * float(np.exp(-half)), middle * float(np.exp(half))


def _risks(table: Floats) -> tuple[Floats, Floats]:
    a, b, c, d = parts(table)
    return a / (a + b), c / (c + d)


def _odds_ratio(table: Floats) -> Floats:
    a, b, c, d = parts(table)
    return a * d / (b * c)


def _sums(tables: Floats) -> tuple[Parts, Floats, Floats, Floats]:
    """The four counts, the sizes of the arms and the inverse of all; 0 for a stratum without patients."""
    a, b, c, d = parts(tables)
    one, zero = a + b, c + d
    n = one + zero
    return (a, b, c, d), one, zero, np.where(n > 0, 1 / np.where(n > 0, n, 1.0), 0.0)


def _over(top: Floats, below: Floats) -> Floats:
    return np.where(below > 0, top / np.where(below > 0, below, 1.0), np.nan)


def pooled_odds_ratio(tables: Floats) -> tuple[Floats, Floats, Floats]:
    """R and S of the Mantel-Haenszel odds ratio R / S, and the variance of its logarithm."""
    (a, b, c, d), _, _, each = _sums(tables)
    r, s, p, q = a * d * each, b * c * each, (a + d) * each, (b + c) * each
    top, below = r.sum(-1), s.sum(-1)
    variance = (
        _over((p * r).sum(-1), 2 * top**2)
        + _over((p * s + q * r).sum(-1), 2 * top * below)
        + _over((q * s).sum(-1), 2 * below**2)
    )
    return top, below, variance


def pooled_risk_ratio(tables: Floats) -> tuple[Floats, Floats, Floats]:
    """R and S of the Mantel-Haenszel risk ratio R / S, and the variance of its logarithm."""
    (a, _, c, _), one, zero, each = _sums(tables)
    top, below = (a * zero * each).sum(-1), (c * one * each).sum(-1)
    variance = ((one * zero * (a + c) * each - a * c) * each).sum(-1)
    return top, below, _over(variance, top * below)


def pooled_risk_difference(tables: Floats) -> tuple[Floats, Floats, Floats]:
    """Numerator and denominator of the Mantel-Haenszel risk difference, and the variance of their quotient."""
    (a, b, c, d), one, zero, each = _sums(tables)
    top, below = ((a * zero - c * one) * each).sum(-1), (one * zero * each).sum(-1)
    terms = _over(a * b * zero**3 + c * d * one**3, one * zero) * each**2
    return top, below, _over(np.nan_to_num(terms).sum(-1), below**2)


def _has_events(table: Floats) -> bool:
    a, b, c, d = (x > 0 for x in parts(table))
    return bool(a and c and (b or d))


RISK_DIFFERENCE = Measure(
    ratio=False,
    method="Newcombe",
    pooling="Mantel-Haenszel, Greenland-Robins",
    silent=lambda table: False,
    whole=lambda table: True,
    value=lambda table: _risks(table)[0] - _risks(table)[1],
    interval=newcombe,
    drawn=lambda x, y: x / (1 + x) - y / (1 + y),
    pooled=pooled_risk_difference,
)
RISK_RATIO = Measure(
    ratio=True,
    method="Katz",
    pooling="Mantel-Haenszel, Greenland-Robins",
    silent=lambda table: not table[:, 0].any(),
    whole=_has_events,
    value=lambda table: _risks(table)[0] / _risks(table)[1],
    interval=katz,
    drawn=lambda x, y: (x / (1 + x)) / (y / (1 + y)),
    pooled=pooled_risk_ratio,
)
ODDS_RATIO = Measure(
    ratio=True,
    method="Woolf",
    pooling="Mantel-Haenszel, Robins-Breslow-Greenland",
    silent=lambda table: not table.any(0).all(),
    whole=lambda table: bool((table > 0).all()),
    value=_odds_ratio,
    interval=woolf,
    drawn=lambda x, y: x / y,
    pooled=pooled_odds_ratio,
)


def combined(measure: Measure, tables: Floats) -> tuple[float, Interval] | None:
    """The pooled figure of tables (strata, 2, 2) and its interval; None where it is 0, infinite or nothing."""
    top, below, variance = (float(x) for x in measure.pooled(tables))
    if not below > 0 or (measure.ratio and not top > 0) or not variance >= 0:
        return None
    half = Z * sqrt(variance)
    if measure.ratio:
        return top / below, _around(top / below, half)
    return top / below, (top / below - half, top / below + half)


def cochran_mantel_haenszel(tables: Floats) -> tuple[float, float]:
    """The sum over strata of observed less expected events in the compared arm, and its variance."""
    difference, variance = scores(tables)
    return float(difference.sum()), float(variance.sum())


def scores(tables: Floats) -> tuple[Floats, Floats]:
    """Observed less expected events in the compared arm of each stratum, and the hypergeometric variance."""
    (a, b, c, d), one, zero, each = _sums(tables)
    events, none = a + c, b + d
    n = one + zero
    variance = one * zero * events * none * each**2 / np.maximum(n - 1, 1.0)
    return a - one * events * each, np.where(n > 1, variance, 0.0)


def under_noise(tables: Floats, t: float, bits: np.random.PCG64, draws: int) -> float:
    """The p-value of no effect in any stratum, from noised tables (strata, 2, 2) of Laplace scale t.

    The score is normal with the hypergeometric variance, and the noise moves it; both are counted, the noise
    by draws over which the normal tail is averaged.
    """
    from scipy.special import ndtr

    held = np.maximum(tables, 0.0)
    (a, _, c, _), one, _, each = _sums(held)
    score = float((tables[..., 1, 0] - tables[..., 1, :].sum(-1) * tables[..., 0].sum(-1) * each).sum())
    p, q = (a + c) * each, one * each
    # How the score moves with each count, at the observed margins.
    gradient = np.stack(
        [np.stack([-q * (1 - p), q * p], axis=-1), np.stack([(1 - q) * (1 - p), -(1 - q) * p], axis=-1)],
        axis=-2,
    )
    noises = noise.noise(t, noise.uniforms(bits, (draws, *tables.shape)))
    moved = (noises * gradient).sum((-1, -2, -3))
    deviation = max(sqrt(float(scores(held)[1].sum())), 1e-9)
    far = abs(score)
    return float((ndtr((-far - moved) / deviation) + ndtr((-far + moved) / deviation)).mean())


def breslow_day(tables: Floats, odds_ratio: float) -> tuple[float, float, int]:
    """Breslow and Day's statistic of equal odds ratios, Tarone's (which corrects it), and the degrees of freedom.

    Statistical Methods in Cancer Research I (IARC, 1980); Tarone, Biometrika 72 (1985). Strata that say nothing of
    an odds ratio, with an empty margin, do not count.
    """
    told = tables[(tables.sum(-1) > 0).all(-1) & (tables.sum(-2) > 0).all(-1)]
    a, b, c, d = parts(told)
    one, events, n = a + b, a + c, a + b + c + d
    expected = _fitted(one, events, n, odds_ratio)
    with np.errstate(divide="ignore"):
        variance = 1 / (
            1 / expected + 1 / (one - expected) + 1 / (events - expected) + 1 / (n - one - events + expected)
        )
    if not len(told) or not (variance > 0).all():
        return inf, inf, 0
    chi2 = float(((a - expected) ** 2 / variance).sum())
    less = float((a - expected).sum()) ** 2 / float(variance.sum())
    return chi2, chi2 - less, len(told) - 1


def _fitted(one: Floats, events: Floats, n: Floats, ratio: float) -> Floats:
    """The count a of each stratum that gives this odds ratio at its margins: a root of a quadratic."""
    lead = 1 - ratio
    middle = n - one - events + ratio * (one + events)
    last = -ratio * one * events
    root = np.sqrt(np.maximum(middle**2 - 4 * lead * last, 0.0))
    # The stable form: it has no difference of nearly equal numbers, and holds for a ratio of 1.
    return np.asarray(-2 * last / np.maximum(middle + root, TINY))
