"""Incidence rates, events per time under observation, and their ratio between arms.

One table: arm x (event, none), and in each cell the pair of a time; so events and time come of the same release, at the
pair's sensitivity 2M. (Two tables, one of counts and one of times, would have to share epsilon: twice the noise in the
time, for as much in the events.) In `exact` mode the rate has Garwood's interval (Biometrika 28, 1936), and a ratio the
conditional one: of all events, those in the arm are binomial with its part of the time. In `dp` mode events and times
are drawn behind the noised ones and Jeffreys' law of a Poisson rate is laid over each. With strata the ratio is
Mantel and Haenszel's for rates (Greenland, Robins, Biometrics 41, 1985).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, prod, sqrt
from typing import Any

import numpy as np

from analytics.privacy import mechanisms
from analytics.query.columns import Field
from analytics.query.model import By, Release
from analytics.query.statistic import Asked, Expected, Statistic, Wanted, coefficients, every
from analytics.query.tree import Name
from analytics.statistics import noise
from analytics.statistics.axis import Axis
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z
from analytics.statistics.figure import EMPTY, NOISE, Figure, said, too_few
from analytics.statistics.figures import withheld
from analytics.statistics.fourfold import HALF
from analytics.statistics.noise import TAIL, Floats
from analytics.statistics.question import Question

NO_TIME = "nobody was under observation for any time"
NO_EVENT = "the reference arm has no event: the ratio is infinite or undefined"
UNPOOLED = "no stratum tells the two arms apart: the pooled ratio is 0, infinite or undefined"
MOST_DRAWN = 400_000
FEWEST_DRAWS = 256
UNDEFINED = 0.01


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Released integers (..., event or none, of a cell), read as events and time under observation."""

    question: Question
    released: Floats
    axis: Axis

    @classmethod
    def of(cls, question: Question, cells: Sequence[Cell], shape: tuple[int, ...]) -> Observed:
        released = np.array([[float(x) for x in cell.integers] for cell in cells]).reshape(*shape, 2, 2)
        return cls(question=question, released=released, axis=question.axis(0))

    @property
    def t(self) -> float:
        scale = self.question.release.scale
        return 0.0 if scale is None else float(scale)

    @property
    def draws(self) -> int:
        return max(FEWEST_DRAWS, min(noise.DRAWS, MOST_DRAWN // self.released.size))

    def bits(self, label: str) -> np.random.PCG64:
        return noise.generator(label, [int(x) for x in self.released.ravel()])

    def read(self, released: Floats) -> tuple[Floats, Floats]:
        """Events (...) and time (...), in the column's unit, of integers (..., event or none, of a cell)."""
        if self.t:
            reach = self.axis.reach
            n = (released[..., 0] + released[..., 1]) / (2 * reach)
            s = (released[..., 0] - released[..., 1]) / 2
        else:
            n, s = released[..., 0], released[..., 1]
        time = n * float(self.axis.origin) + s * float(self.axis.step)
        return np.asarray(n[..., 0]), np.asarray(time.sum(-1))

    def behind(self, label: str) -> tuple[Floats, Floats, Floats]:
        """Events and times (draws, ...) that may stand behind the integers, and the generator's uniforms."""
        bits, shape = self.bits(label), self.released.shape
        u = noise.uniforms(bits, (*shape, self.draws))
        drawn = np.empty_like(u)
        for place in np.ndindex(*shape):
            drawn[place] = noise.behind(int(self.released[place]), self.t, u[place])
        events, time = self.read(np.moveaxis(drawn, -1, 0))
        return np.maximum(events, 0.0), time, noise.uniforms(bits, events.shape)


def rates(question: Question, integers: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """A group for each arm, or one where no arm is named, in each group of the statement."""
    arms = question.inner[0] if len(question.inner) == 2 else None
    labels = [None] if arms is None else question.labels(arms)
    out = []
    for by, cells in question.cells(integers[0]):
        for arm, label in enumerate(labels):
            own = cells[2 * arm : 2 * arm + 2]
            figure = withheld(question, own)
            observed = None
            if figure is None:
                observed = Observed.of(question, own, ())
                figure = _rate(observed, round(sum(cell.n for cell in own)))
            figure.extra.update(_told(question, observed))
            figure.extra["ratio"] = _against_first(question, cells, arm)
            called = by if arms is None or label is None else by | {arms.column: label}
            out.append(figure.public(called, own[0].t, _deviation(own)))
    return out


def rate_ratios(question: Question, integers: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """A group for each arm but the first in each group of the statement."""
    arms = question.inner[0]
    labels, strata = question.labels(arms), prod(by.size for by in question.strata)
    out = []
    for by, cells in question.cells(integers[0]):
        grid = np.arange(len(cells)).reshape(strata, arms.size, 2)
        for arm in range(1, arms.size):
            chosen = [cells[i] for i in grid[:, [0, arm]].ravel()]
            figure = withheld(question, chosen)
            observed = None
            p: float | None = None
            if figure is None:
                observed = Observed.of(question, chosen, (strata, 2))
                n = round(sum(cell.n for cell in chosen))
                figure, p = _ratio(observed, n) if question.strata else _alone(observed, 0, n)
            pair = [_told(question, observed, k) for k in (0, 1)]
            figure.extra.update(
                {
                    "arms": [
                        {"arm": name, **told}
                        for name, told in zip((labels[0], labels[arm]), pair, strict=True)
                    ],
                    "p": said(p),
                    "strata": _strata(question, observed),
                }
            )
            called = by | {arms.column: f"{labels[arm]} against {labels[0]}"}
            out.append(figure.public(called, chosen[0].t, _deviation(chosen)))
    return out


def _deviation(cells: Sequence[Cell]) -> float:
    return sqrt(sum(cell.deviation_of_n**2 for cell in cells))


def _told(question: Question, observed: Observed | None, arm: int | None = None) -> dict[str, Any]:
    """Events and time under observation of an arm, over all strata."""
    unit = question.fields[question.release.operands[0].column].unit or None
    if observed is None:
        return {"events": None, "person_time": None, "rate": None, "per": unit}
    events, time = observed.read(observed.released)
    if arm is not None:
        events, time = events[:, arm].sum(), time[:, arm].sum()
    d, total = max(float(events), 0.0), max(float(time), 0.0)
    told = said(d / total) if total > 0 else None
    return {"events": round(d), "person_time": said(total), "rate": told, "per": unit}


def _rate(observed: Observed, n: int) -> Figure:
    from scipy.special import gammaincinv

    n = max(n, 0)
    events, time = (float(x) for x in observed.read(observed.released))
    if not observed.t:
        if n == 0:
            return Figure(n=0, reason=EMPTY)
        if time <= 0:
            return Figure(n=n, reason=NO_TIME)
        low = float(gammaincinv(events, TAIL)) if events else 0.0
        high = float(gammaincinv(events + 1, 1 - TAIL))
        return Figure.estimate(events / time, (low / time, high / time), within=(0, None), n=n, noise=0.0)
    d, total, u = observed.behind("rate")
    real = total > 0
    if time <= 0 or (~real).mean() > UNDEFINED:
        return Figure(n=n, reason=NOISE)
    d, total, u = d[real], total[real], u[real]
    drawn = gammaincinv(d + HALF, u) / total
    value = max(events, 0.0) / time
    return Figure.estimate(
        value, noise.interval(drawn), within=(0, None), n=n, noise=float((d / total).std())
    )


def _against_first(question: Question, cells: Sequence[Cell], arm: int) -> dict[str, Any]:
    """The ratio of an arm's rate to that of the first."""
    figure: Figure | None = Figure()
    p = None
    if arm:
        chosen = [*cells[:2], *cells[2 * arm : 2 * arm + 2]]
        figure = withheld(question, chosen)
        if figure is None:
            figure, p = _alone(Observed.of(question, chosen, (1, 2)), 0, round(sum(c.n for c in chosen)))
    assert figure is not None
    return {
        "value": said(figure.value),
        "low": said(figure.low),
        "high": said(figure.high),
        "p": said(p),
        "reason": figure.reason,
    }


def _alone(observed: Observed, stratum: int, n: int) -> tuple[Figure, float | None]:
    """The ratio in one stratum, and p of equal rates."""
    own = Observed(
        question=observed.question, released=observed.released[stratum : stratum + 1], axis=observed.axis
    )
    n = max(n, 0)
    events, time = (x[0] for x in own.read(own.released))
    if own.t:
        return _alone_under_noise(own, events, time, n)
    if n == 0:
        return Figure(n=0, reason=EMPTY), None
    if not (time > 0).all():
        return Figure(n=n, reason=NO_TIME), None
    from scipy.special import betaincinv
    from scipy.stats import binomtest

    d0, d1 = (int(x) for x in events)
    part = float(time[1] / time.sum())
    p = float(binomtest(d1, d0 + d1, part).pvalue) if d0 + d1 else None
    if d0 == 0:
        return Figure(n=n, reason=NO_EVENT), p
    low = float(betaincinv(d1, d0 + 1, TAIL)) if d1 else 0.0
    high = float(betaincinv(d1 + 1, d0, 1 - TAIL))
    odds = time[0] / time[1]
    ends = (low / (1 - low) * odds, high / (1 - high) * odds if high < 1 else None)
    return Figure.estimate(d1 / d0 * odds, ends, within=(0, None), n=n, noise=0.0), p


def _alone_under_noise(own: Observed, events: Floats, time: Floats, n: int) -> tuple[Figure, float | None]:
    from scipy.special import gammaincinv

    d, total, u = (x[:, 0] for x in own.behind("rate ratio"))
    real = (total > 0).all(-1)
    if not (time > 0).all() or (~real).mean() > UNDEFINED:
        return Figure(n=n, reason=NOISE), None
    held = np.maximum(events, 0.0)
    held = held if (held > 0).all() else held + HALF
    value = float(held[1] / held[0] * time[0] / time[1])
    d, total, u = d[real], total[real], u[real]
    drawn = np.maximum(gammaincinv(d + HALF, u), 1e-300) / total
    seen = np.log((d[:, 1] + HALF) / (d[:, 0] + HALF) * total[:, 0] / total[:, 1])
    figure = Figure.estimate(
        value,
        noise.interval(drawn[:, 1] / drawn[:, 0]),
        within=(0, None),
        n=n,
        noise=value * float(seen.std()),
    )
    return figure, _under_noise(own, own.released)


def _pooled(events: Floats, time: Floats) -> tuple[Floats, Floats, Floats]:
    """R, S of the Mantel-Haenszel ratio R / S, and the variance of the score R - S; of (..., strata, 2)."""
    total = time.sum(-1)
    each = np.where(total > 0, 1 / np.where(total > 0, total, 1.0), 0.0)
    top = (events[..., 1] * time[..., 0] * each).sum(-1)
    below = (events[..., 0] * time[..., 1] * each).sum(-1)
    return top, below, (events.sum(-1) * time[..., 0] * time[..., 1] * each**2).sum(-1)


def _ratio(observed: Observed, n: int) -> tuple[Figure, float | None]:
    """The Mantel-Haenszel ratio over the strata, and p of equal rates in all."""
    from scipy.special import chdtrc, ndtri

    n = max(n, 0)
    if not observed.t:
        if n == 0:
            return Figure(n=0, reason=EMPTY), None
        r, s, v = (float(x) for x in _pooled(*observed.read(observed.released)))
        p = float(chdtrc(1, (r - s) ** 2 / v)) if v > 0 else None
        if not (r > 0 and s > 0):
            return Figure(n=n, reason=UNPOOLED), p
        half = Z * sqrt(v / (r * s))
        ends = (r / s * exp(-half), r / s * exp(half))
        return Figure.estimate(r / s, ends, within=(0, None), n=n, noise=0.0), p
    released = observed.released[_clear(observed)]
    if not len(released):
        return Figure(n=n, reason=NOISE), None
    r, s, _ = (float(x) for x in _pooled(*observed.read(released)))
    bits = observed.bits("pooled rates")
    noises = noise.noise(observed.t, noise.uniforms(bits, (observed.draws, *released.shape)))
    z = ndtri(noise.uniforms(bits, (observed.draws,)))
    events, time = observed.read(released - noises)
    top, below, _ = _pooled(events, time)
    held = _pooled(np.maximum(events, 0.0), np.maximum(time, 0.0))
    real = (top > 0) & (below > 0) & (held[0] > 0) & (held[1] > 0)
    p = _under_noise(observed, released)
    if not (r > 0 and s > 0) or (~real).mean() > UNDEFINED:
        return Figure(n=n, reason=NOISE), p
    seen = np.log(top[real] / below[real])
    drawn = seen + np.sqrt(held[2][real] / (held[0][real] * held[1][real])) * z[real]
    low, high = noise.interval(np.exp(np.clip(drawn, -500, 500)))
    return (
        Figure.estimate(r / s, (low, high), within=(0, None), n=n, noise=r / s * float(seen.std())),
        p,
    )


def _clear(observed: Observed) -> Floats:
    """Which strata have times in both arms that stand out of the noise."""
    _, time = observed.read(observed.released)
    reach, step = observed.axis.reach, float(observed.axis.step)
    # The time of an arm adds two noises A and two noises B, with weights near step and 0.
    weights = (
        float(observed.axis.origin) / (2 * reach) + step / 2,
        float(observed.axis.origin) / (2 * reach) - step / 2,
    )
    deviation = sqrt(2 * noise.variance(observed.t) * sum(w * w for w in weights))
    return np.asarray((time > 2 * deviation).all(-1))


def _under_noise(observed: Observed, released: Floats) -> float:
    """The p-value of equal rates: the score is normal and moved by the noise, over whose draws it is averaged."""
    from scipy.special import ndtr

    events, time = observed.read(released)
    r, s, _ = (float(x) for x in _pooled(events, time))
    variance = float(_pooled(np.maximum(events, 0.0), np.maximum(time, 0.0))[2])
    bits = observed.bits("rates under noise")
    noises = noise.noise(observed.t, noise.uniforms(bits, (observed.draws, *released.shape)))
    top, below, _ = _pooled(*observed.read(released + noises))
    moved = top - below - (r - s)
    deviation, far = max(sqrt(variance), 1e-9), abs(r - s)
    return float((ndtr((-far - moved) / deviation) + ndtr((-far + moved) / deviation)).mean())


def _strata(question: Question, observed: Observed | None) -> list[dict[str, Any]]:
    """The ratio in each stratum by itself."""
    if not question.strata:
        return []
    out = []
    for place, called in enumerate(question.named_strata):
        figure = Figure()
        if observed is not None:
            n = round(_patients(observed, place))
            if observed.t and n < question.minimum_cohort:
                figure = Figure(reason=too_few("dp", question.minimum_cohort))
            else:
                figure, _ = _alone(observed, place, n)
        out.append(
            {
                "stratum": called,
                "value": said(figure.value),
                "low": said(figure.low),
                "high": said(figure.high),
                "n": figure.n,
                "reason": figure.reason,
            }
        )
    return out


def _patients(observed: Observed, stratum: int) -> float:
    own = observed.released[stratum]
    return float(own.sum() / (2 * observed.axis.reach) if observed.t else own[..., 0].sum())


def _tables(asked: Asked) -> list[Wanted]:
    first = asked.columns[0]
    if first.kind == "number":
        time, arms = first, asked.columns[1:]
        if arms:
            raise asked.refuse(
                "wrong_type",
                f"the event comes first: {asked.statement.statistic}(event, {Name(time.name)}, ...)",
                0,
            )
        if time.event is None:
            raise asked.refuse(
                "no_event",
                f"the codebook names no event of {time.name}: ask {asked.statement.statistic}"
                f"(event, {Name(time.name)})",
                0,
            )
        event = asked.find(Name(time.event, asked.statement.at))
        code = next((k for k, level in enumerate(event.levels) if level.value == event.yes), None)
    else:
        event, code = first, asked.level
        if len(asked.columns) < 2:
            raise asked.refuse("wrong_arguments", "a rate needs a time: name it after the event", 0)
        time, arms = asked.columns[1], asked.columns[2:]
    if code is None:
        raise asked.refuse(
            "no_event", f"no level of {event.name} is the event: write occurred in the codebook", 0
        )
    _checked(asked, time)
    others = tuple(other for other in range(event.codes) if other != code)
    inner = (*(every(arm) for arm in arms[:1]), By(column=event.name, groups=((code,), others)))
    return [Wanted(inner=inner, numbers=(time,), shape="pair", present=(event, time, *arms))]


def _checked(asked: Asked, time: Field) -> None:
    """Refuse a time that is none, and arms or strata that are no categories or stand twice."""
    place = 0 if asked.columns[0].kind == "number" else 1
    if time.kind == "category":
        raise asked.refuse(
            "wrong_type", f"{time.name} is a category and no time: name a number after the event", place
        )
    if time.since is not None or time.lattice[0] < 0:
        raise asked.refuse(
            "wrong_type",
            f"{time.name} is a date or may be negative: a rate needs a time under observation, as by derive",
            place,
        )
    for place, column in enumerate(asked.columns):
        if place > 1 and column.kind == "number":
            raise asked.refuse(
                "wrong_type", f"{column.name} is a number and makes no arms: cut it in the codebook", place
            )
        if column.name in {other.name for other in asked.columns[:place]}:
            raise asked.refuse("duplicate", f"{column.name} stands twice in this statement", place)
    if len(asked.columns) > 2 and asked.columns[2].codes < 2:
        raise asked.refuse(
            "one_arm", f"{asked.columns[2].name} has a single level: there is nothing to compare", 2
        )


def _expected(
    releases: Sequence[Release], fields: Sequence[Field], n: int, level: float, *, ratio: bool
) -> Expected:
    """Of the logarithm, for a fifth of the patients with the event and a mean time in the middle of the range."""
    from scipy.special import ndtri

    (release,) = releases
    assert release.scale is not None, "only noise is expected"
    arms = release.by[-2].size if ratio else 1
    size, reach = n / arms, 2 ** (release.operands[0].bits - 1)
    one = mechanisms.variance(release.scale) / reach**2
    of_events = one / 2 / (size / 5) ** 2
    of_time = 2 * one / size**2
    both = one / 2 / (size / 5) / size  # an event's noise is in the time too
    half = float(ndtri((1 + level) / 2)) * sqrt((of_events + of_time - 2 * both) * (2 if ratio else 1))
    return Expected(
        half_width=half,
        unit="on the log scale",
        assuming=f"{n} patients{' in arms of equal size' if ratio else ''}, a fifth with the event, times from 0 with"
        " a mean in the middle of the range",
    )


STATISTICS = (
    Statistic(
        name="rate",
        words="incidence rate",
        aliases=("incidence_rate", "event_rate"),
        columns=(1, 3),
        level="own",
        tables=_tables,
        groups=rates,
        unit=lambda unit: f"per {unit}" if unit else None,
        expected=lambda releases, fields, n, level: _expected(releases, fields, n, level, ratio=False),
    ),
    Statistic(
        name="rate_ratio",
        words="incidence rate ratio",
        aliases=("irr", "incidence_rate_ratio"),
        columns=(3, 7),
        level="own",
        strata=3,
        tables=_tables,
        parameters=coefficients,
        groups=rate_ratios,
        expected=lambda releases, fields, n, level: _expected(releases, fields, n, level, ratio=True),
    ),
)
