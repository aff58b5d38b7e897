"""Risk difference, risk ratio and odds ratio of an event between the arms of a study.

The event is a level of the first column, the arm the second; further columns are strata. Each arm is compared with
the first one. One table of disjoint cells, arm x (event, none) in every stratum: sensitivity 1.

In `exact` mode the intervals are Newcombe's, Katz's and Woolf's, with one half added to all four counts where a zero
leaves none; p is of the uncorrected chi-square. In `dp` mode true counts are drawn behind the noised ones and
Jeffreys' law of both risks is laid over each; p is of the score under noise. With strata the figures are Mantel and
Haenszel's (`fourfold`): the noise is drawn out of the counts, and the sampling law laid over each draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod, sqrt
from typing import Any

import numpy as np

from analytics.query.columns import Field
from analytics.query.model import By, Release
from analytics.query.statistic import Asked, Assumptions, Expected, Statistic, Wanted, coefficients, every
from analytics.query.tree import Name
from analytics.statistics import fourfold, noise
from analytics.statistics.cells import Cell
from analytics.statistics.contingency import measure as association
from analytics.statistics.figure import EMPTY, NOISE, Figure, said, too_few
from analytics.statistics.figures import withheld
from analytics.statistics.fourfold import HALF, ODDS_RATIO, RISK_DIFFERENCE, RISK_RATIO, Measure
from analytics.statistics.noise import Floats
from analytics.statistics.question import Question

NO_ARM = "an arm has no patient"
SILENT = "nobody is at this level, or everybody is, in both arms: a ratio says nothing"
UNPOOLED = "no stratum tells the two arms apart: the pooled figure is 0, infinite or undefined"
MOST_DRAWN = 400_000  # numbers of one figure, which bounds its time where strata are many
FEWEST_DRAWS = 256
UNDEFINED = 0.02  # the part of the draws that may have no figure: less than lies beyond an end of an interval


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One arm beside the first: the released tables (strata, 2, 2), the reference and the event first."""

    question: Question
    cells: Sequence[Cell]
    tables: Floats
    stratified: bool

    @property
    def t(self) -> float:
        return self.cells[0].t

    @property
    def draws(self) -> int:
        return max(FEWEST_DRAWS, min(noise.DRAWS, MOST_DRAWN // self.tables.size))

    def bits(self, label: str) -> np.random.PCG64:
        return noise.generator(label, [x for cell in self.cells for x in cell.integers])

    @property
    def clear(self) -> Floats:
        """The strata whose arms stand out of the noise."""
        arms = self.tables.sum(-1)
        floor = 2 * sqrt(2 * noise.variance(self.t))
        return np.asarray(self.tables[(arms > floor).all(-1)])


More = Callable[[Compared | None], dict[str, Any]]


def compare(
    question: Question, integers: Sequence[Sequence[int]], measure: Measure, more: More = lambda compared: {}
) -> list[dict[str, Any]]:
    """A group for each arm but the first in each group of the statement; `more` adds keys to it."""
    arms, _ = question.inner
    labels = question.labels(arms)
    strata = prod(by.size for by in question.strata)
    out = []
    for by, cells in question.cells(integers[0]):
        grid = np.arange(len(cells)).reshape(strata, arms.size, 2)
        for arm in range(1, arms.size):
            chosen = [cells[i] for i in grid[:, [0, arm]].ravel()]
            called = by | {arms.column: f"{labels[arm]} against {labels[0]}"}
            figure = withheld(question, chosen)
            compared = None
            if figure is None:
                tables = np.array([float(cell.n) for cell in chosen]).reshape(strata, 2, 2)
                compared = Compared(
                    question=question, cells=chosen, tables=tables, stratified=bool(question.strata)
                )
                figure = _figure(measure, compared)
            figure.extra.update(_beside(question, measure, compared, (labels[0], labels[arm])))
            figure.extra.update(more(compared))
            deviation = sqrt(sum(cell.deviation_of_n**2 for cell in chosen))
            out.append(figure.public(called, chosen[0].t, deviation))
    return out


def _figure(measure: Measure, compared: Compared) -> Figure:
    if compared.stratified:
        return _pooled(measure, compared)
    return _alone(measure, compared.tables[0], compared.t, compared.bits("risk"), compared.draws)


def _alone(measure: Measure, released: Floats, t: float, bits: np.random.PCG64, draws: int) -> Figure:
    """The figure of one table (2, 2)."""
    table = np.maximum(released, 0.0)
    n = round(float(table.sum()))
    if n == 0:
        return Figure(n=0, reason=EMPTY)
    if not table.sum(1).all():
        return Figure(n=n, reason=NOISE if t else NO_ARM)
    if not t and measure.silent(table):
        return Figure(n=n, reason=SILENT)
    used = table if measure.whole(table) else table + HALF
    value = float(measure.value(used))
    within = (0 if measure.ratio else -1, None if measure.ratio else 1)
    if not t:
        return Figure.estimate(value, measure.interval(used), within=within, n=n, noise=0.0)
    sampled, seen = _jeffreys(measure, released, t, bits, draws)
    return Figure.estimate(
        value, noise.interval(sampled), within=within, n=n, noise=_spread(measure, value, seen)
    )


def _jeffreys(
    measure: Measure, released: Floats, t: float, bits: np.random.PCG64, draws: int
) -> tuple[Floats, Floats]:
    """The measure of risks that may stand behind a noised table, and of the tables alone."""
    from scipy.special import gammaincinv

    u = noise.uniforms(bits, (2, 2, 2, draws))
    counts = np.array([[noise.behind(int(released[i, j]), t, u[0, i, j]) for j in (0, 1)] for i in (0, 1)])
    # The odds of a beta law are a quotient of two gamma ones: no risk rounds to 0 or 1.
    gamma = np.maximum(gammaincinv(counts + 0.5, u[1]), fourfold.TINY)
    sampled = measure.drawn(gamma[1, 0] / gamma[1, 1], gamma[0, 0] / gamma[0, 1])
    seen = counts + HALF
    return sampled, measure.drawn(seen[1, 0] / seen[1, 1], seen[0, 0] / seen[0, 1])


def _pooled(measure: Measure, compared: Compared) -> Figure:
    """The Mantel-Haenszel figure over the strata."""
    n = max(0, round(float(compared.tables.sum())))
    within = (0 if measure.ratio else -1, None if measure.ratio else 1)
    if not compared.t:
        if n == 0:
            return Figure(n=0, reason=EMPTY)
        found = fourfold.combined(measure, compared.tables)
        if found is None:
            return Figure(n=n, reason=UNPOOLED)
        return Figure.estimate(found[0], found[1], within=within, n=n, noise=0.0)
    tables = compared.clear
    found = fourfold.combined(measure, tables) if len(tables) else None
    drawn = None if found is None else _without_noise(measure, compared, tables)
    if found is None or drawn is None:
        return Figure(n=n, reason=NOISE)
    sampled, seen = drawn
    return Figure.estimate(
        found[0], noise.interval(sampled), within=within, n=n, noise=_spread(measure, found[0], seen)
    )


def _without_noise(measure: Measure, compared: Compared, tables: Floats) -> tuple[Floats, Floats] | None:
    """The pooled measure in draws with the noise taken out of the tables: with sampling, and alone.

    Counts may go below zero here: the sums are linear in each stratum's counts, so nothing leans to one side.
    """
    from scipy.special import ndtri

    bits, draws = compared.bits("pooled"), compared.draws
    behind = tables - noise.noise(compared.t, noise.uniforms(bits, (draws, *tables.shape)))
    z = ndtri(noise.uniforms(bits, (draws,)))
    top, below, _ = measure.pooled(behind)
    variance = measure.pooled(np.maximum(behind, 0.0))[2]
    defined = (below > 0) & (variance >= 0)
    if measure.ratio:
        defined &= top > 0
    if (~defined).mean() > UNDEFINED:
        return None
    top, below, deviation, z = top[defined], below[defined], np.sqrt(variance[defined]), z[defined]
    seen = top / below
    if measure.ratio:
        return seen * np.exp(np.clip(deviation * z, -500, 500)), seen
    return seen + deviation * z, seen


def _spread(measure: Measure, value: float, seen: Floats) -> float:
    """The standard deviation of the noise in the value; of a ratio, of its logarithm times the value."""
    return value * float(np.log(seen).std()) if measure.ratio else float(seen.std())


def _beside(
    question: Question, measure: Measure, compared: Compared | None, labels: tuple[str, str]
) -> dict[str, Any]:
    """What goes with the figure: both arms, the test, the correction, each stratum."""
    arms: list[dict[str, Any]] = [{"arm": label, "events": None, "n": None, "risk": None} for label in labels]
    test: dict[str, Any] = {"chi2": None, "df": None, "p": None}
    strata = _strata(question, measure, compared)
    added = None
    if compared is not None:
        shown = np.maximum(compared.tables, 0.0).sum(0)
        for arm, (events, none) in zip(arms, shown, strict=True):
            n = events + none
            arm |= {"events": round(events), "n": round(n), "risk": said(events / n) if n else None}
        test = _test(compared)
        if not compared.stratified:
            added = 0 if measure.whole(shown) else HALF
    method = measure.pooling if question.strata else measure.method
    if question.mode == "dp":
        method = f"{method.split(',')[0]}, noise drawn" if question.strata else "Jeffreys, noise drawn"
    return {"arms": arms, "method": method, "added": added, **test, "strata": strata}


def _test(compared: Compared) -> dict[str, Any]:
    """The test of no effect in any stratum."""
    if compared.t:
        tables = compared.clear if compared.stratified else compared.tables
        if not len(tables):
            return {"chi2": None, "df": None, "p": None}
        p = fourfold.under_noise(tables, compared.t, compared.bits("test"), compared.draws)
        return {"chi2": None, "df": None, "p": said(p)}
    from scipy.special import chdtrc

    if compared.stratified:
        score, variance = fourfold.cochran_mantel_haenszel(compared.tables)
        chi2 = score**2 / variance if variance > 0 else None
    else:
        found, _, df, _ = association(compared.tables[0])
        chi2 = float(found) if df else None
    if chi2 is None:
        return {"chi2": None, "df": None, "p": None}
    return {"chi2": said(chi2), "df": 1, "p": said(float(chdtrc(1, chi2)))}


def _strata(question: Question, measure: Measure, compared: Compared | None) -> list[dict[str, Any]]:
    """The figure of each stratum by itself."""
    if not question.strata:
        return []
    out = []
    bits = None if compared is None else compared.bits("strata")
    for place, called in enumerate(question.named_strata):
        figure = Figure()
        if compared is not None and bits is not None:
            released = compared.tables[place]
            if compared.t and released.sum() < question.minimum_cohort:
                figure = Figure(reason=too_few("dp", question.minimum_cohort))
            else:
                figure = _alone(measure, released, compared.t, bits, compared.draws)
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


def heterogeneity(compared: Compared | None) -> dict[str, Any]:
    """Whether the odds ratios of the strata may be one: Breslow-Day, or Cochran's Q with the noise counted."""
    nothing: dict[str, Any] = {
        "heterogeneity": {"test": None, "chi2": None, "df": None, "p": None},
        "tarone": None,
    }
    if compared is None:
        return nothing
    from scipy.special import chdtrc

    if compared.t:
        tables = compared.clear
        if len(tables) < 2:
            return nothing
        bits = compared.bits("heterogeneity")
        logs = np.array(
            [np.log(_jeffreys(ODDS_RATIO, x, compared.t, bits, compared.draws)[0]) for x in tables]
        )
        weights = 1 / logs.var(1)
        means = logs.mean(1)
        chi2 = float((weights * (means - (weights * means).sum() / weights.sum()) ** 2).sum())
        test = _tested("Cochran's Q, noise drawn", chi2, len(tables) - 1)
        return {"heterogeneity": test, "tarone": None}
    found = fourfold.combined(ODDS_RATIO, compared.tables)
    chi2, tarone, df = (0.0, 0.0, 0) if found is None else fourfold.breslow_day(compared.tables, found[0])
    if not df:
        return nothing
    corrected = {"chi2": said(tarone), "p": said(float(chdtrc(df, max(tarone, 0.0))))}
    return {"heterogeneity": _tested("Breslow-Day", chi2, df), "tarone": corrected}


def _tested(test: str, chi2: float, df: int) -> dict[str, Any]:
    from scipy.special import chdtrc

    return {"test": test, "chi2": said(chi2), "df": df, "p": said(float(chdtrc(df, chi2)))}


def event_by_arm(asked: Asked) -> list[Wanted]:
    """Arm x (event, none), in every stratum."""
    arm = asked.columns[1]
    for place, column in enumerate(asked.columns):
        if column.kind == "number":
            raise asked.refuse(
                "wrong_type",
                f"{column.name} is a number and makes no {'event' if not place else 'arms'}:"
                f" name a category, or cut the number in the codebook",
                place,
            )
        if column.name in {other.name for other in asked.columns[:place]}:
            raise asked.refuse("duplicate", f"{column.name} stands twice in this statement", place)
    if arm.codes < 2:
        raise asked.refuse("one_arm", f"{arm.name} has a single level: there is nothing to compare", 1)
    return [Wanted(inner=(every(arm), level_or_not(asked)))]


def level_or_not(asked: Asked) -> By:
    """The partition of the first column: the level that is asked about, all others."""
    level, event = asked.level, asked.columns[0]
    assert level is not None, "the compiler found the level"
    others = tuple(code for code in range(event.codes) if code != level)
    return By(column=event.name, groups=((level,), others))


def _strata_needed(asked: Asked) -> list[Wanted]:
    wanted = event_by_arm(asked)
    if not asked.strata:
        event, arm = asked.columns
        raise asked.refuse(
            "no_strata",
            "mantel_haenszel combines strata: name one or more columns after the arm,"
            f" or ask odds_ratio({Name(event.name)}, {Name(arm.name)})",
        )
    return wanted


def _expected(
    releases: Sequence[Release], fields: Sequence[Field], n: int, level: float, *, measure: Measure
) -> Expected:
    arms = releases[0].by[-2].size
    return Expected(
        half_width=_noise_of(measure, releases[0], [(n / arms, n / arms)], 0.5, level),
        unit="on the log scale" if measure.ratio else None,
        assuming=f"{n} patients in arms of equal size, a risk of one half, one stratum",
    )


def _noise(
    releases: Sequence[Release], fields: Sequence[Field], assumed: Assumptions, *, measure: Measure
) -> float | None:
    rate = 0.5 if assumed.event_rate is None else assumed.event_rate
    return _noise_of(measure, releases[0], _arms_of(assumed), rate, assumed.level)


def _arms_of(assumed: Assumptions) -> list[tuple[float, float]]:
    """Planned patients of the first two arms in each stratum."""
    return [(max(sum(row[:2]), 1.0), max(sum(row[2:4]), 1.0)) for row in assumed.cells]


def _noise_of(
    measure: Measure, release: Release, arms: Sequence[tuple[float, float]], rate: float, level: float
) -> float:
    """The error that the noise makes in simulated tables of these arms; of a ratio, in its logarithm.

    arms  patients of the reference and the compared arm, a pair for each stratum
    """
    assert release.scale is not None, "only noise is expected"
    strata = len(arms)
    noises, normals = noise.simulated(float(release.scale), 4 * strata, 4 * strata)
    n = noise.cohorts(np.array(arms).ravel(), normals[2 * strata :]).reshape(strata, 2, -1)
    apart = normals[: 2 * strata].reshape(strata, 2, -1)
    events = np.clip(np.rint(n * rate + np.sqrt(n * rate * (1 - rate)) * apart), 0, n)
    tables = np.moveaxis(np.stack([events, n - events], axis=2), -1, 0)  # (draws, strata, 2, 2)
    noised = tables + np.moveaxis(noises.reshape(strata, 2, 2, -1), -1, 0)
    if strata == 1:
        seen = [_value_of(measure, np.maximum(x[:, 0], 0.0)) for x in (tables, noised)]
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = [np.divide(*measure.pooled(x)[:2]) for x in (tables, noised)]
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.log(seen[1]) - np.log(seen[0]) if measure.ratio else seen[1] - seen[0]
    off = np.abs(off[np.isfinite(off)])
    return float(np.quantile(off, level)) if off.size else 1.0


def _value_of(measure: Measure, tables: Floats) -> Floats:
    """The measure of tables (draws, 2, 2), with one half added where a zero leaves none, and nan without an arm."""
    arms = np.asarray(tables.sum(2).min(1) > 0)
    whole = np.asarray(tables.min((1, 2)) > 0) if measure.ratio else arms
    used = np.where(whole[:, None, None], tables, tables + HALF)
    return np.asarray(np.where(arms, measure.value(used), np.nan))


def _sampling(assumed: Assumptions, *, measure: Measure) -> float | None:
    """Of the measure at one risk in both arms, of a ratio on the log scale; strata by their inverse variance."""
    p = assumed.event_rate
    if p is None or not assumed.cells:
        return None
    one = {RISK_DIFFERENCE: p * (1 - p), RISK_RATIO: (1 - p) / p, ODDS_RATIO: 1 / (p * (1 - p))}[measure]
    weights = [1 / (1 / reference + 1 / compared) for reference, compared in _arms_of(assumed)]
    return assumed.z * sqrt(one / sum(weights))


def _statistic(name: str, words: str, aliases: tuple[str, ...], measure: Measure, **more: Any) -> Statistic:
    return Statistic(
        name=name,
        words=words,
        aliases=aliases,
        **{
            "columns": (2, 6),
            "level": "own",
            "strata": 2,
            "tables": event_by_arm,
            "parameters": coefficients,
            "groups": partial(compare, measure=measure),
            "expected": partial(_expected, measure=measure),
            "noise": partial(_noise, measure=measure),
            "sampling": partial(_sampling, measure=measure),
            "ratio": measure.ratio,
            **more,
        },
    )


STATISTICS = (
    _statistic("risk_difference", "risk difference", ("rd",), RISK_DIFFERENCE),
    _statistic("risk_ratio", "risk ratio", ("rr", "relative_risk"), RISK_RATIO),
    _statistic("odds_ratio", "odds ratio", ("odds",), ODDS_RATIO),
    _statistic(
        "mantel_haenszel",
        "Mantel-Haenszel odds ratio",
        ("mh", "cmh", "cochran_mantel_haenszel"),
        ODDS_RATIO,
        tables=_strata_needed,
        groups=partial(compare, measure=ODDS_RATIO, more=heterogeneity),
    ),
)
