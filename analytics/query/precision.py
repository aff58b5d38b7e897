"""How wide a figure will be before anything is asked: noise, sampling, both; power, and the cheapest epsilon.

From the plan, public facts and what the analyst supposes (a standard deviation, an event rate, patients in a group);
nothing of a patient. Half-widths are of 95 % intervals. Noise and sampling are independent, so they join as the root
of the sum of squares: at most 3 % too wide, since Laplace's 95 % point lies at 2.12 standard deviations and the
normal one at 1.96. A figure wider than three times its sampling half-width is called not useful.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf, isfinite, log, prod, sqrt
from statistics import NormalDist
from typing import Any

from analytics.privacy.accountant import LARGEST_QUERY, epsilon_text, short_text
from analytics.query.columns import Field
from analytics.query.errors import ProgramRejected
from analytics.query.model import DATASET, By, Release
from analytics.query.planned import Study
from analytics.query.problems import exact
from analytics.query.resolve import DatasetFacts
from analytics.query.statistic import Assumptions, Statistic
from analytics.query.tree import Statement

LEVEL = 0.95
USEFUL = 3  # sampling half-widths
MOST_GROUPS = 100  # that are listed as suppressed
MOST_SEARCHED = 16  # statements of which the cheapest epsilon is looked for
_Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True)
class Supposed:
    """What an analyst says of one statement.

    n, sd, event_rate  of one group: patients, standard deviation in the column's unit, part of patients
    effect             a difference that should be seen, in the figure's unit
    width              the half-width that is wanted, in the figure's unit
    """

    n: int | None = None
    sd: float | None = None
    event_rate: float | None = None
    effect: float | None = None
    width: float | None = None


def supposed(given: Any, statements: int) -> dict[int, Supposed]:
    """What a request's `assumptions` say of each statement, counted from 1; "all" is of those that have no other.

    Raises  ProgramRejected, "assumptions", naming the statement and the key.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise _wrong('assumptions are {"all" or the number of a statement: {"sd": ..., "n": ...}}')
    known = {str(number) for number in range(1, statements + 1)}
    read: dict[str, dict[str, Any]] = {}
    for key, values in given.items():
        if str(key) not in known | {"all"}:
            raise _wrong(f'{str(key)[:40]} is neither "all" nor a statement from 1 to {statements}')
        if not isinstance(values, Mapping):
            raise _wrong(f'statement {key}: an object is needed, such as {{"sd": 10}}')
        read[str(key)] = {str(name): _value(key, str(name), value) for name, value in values.items()}
    common = read.get("all", {})
    return {number: Supposed(**common | read.get(str(number), {})) for number in range(1, statements + 1)}


def _value(statement: Any, name: str, value: Any) -> float | int:
    if name not in Supposed.__dataclass_fields__:
        raise _wrong(f"statement {statement}: {name[:40]} is none of n, sd, event_rate, effect, width")
    number = value if isinstance(value, float) else exact(value)
    if number is None or not 0 < number < 10**12:  # false for NaN too
        raise _wrong(f"statement {statement}: {name} is a number above 0")
    if name == "event_rate" and not number < 1:
        raise _wrong(f"statement {statement}: event_rate lies between 0 and 1")
    if name == "n" and number != int(number):
        raise _wrong(f"statement {statement}: n is a whole number of patients")
    return int(number) if name == "n" else float(number)


def _wrong(message: str) -> ProgramRejected:
    return ProgramRejected("assumptions", message)


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A statement of a plan with its statistic, its releases and what is known of one of its groups."""

    statement: Statement
    statistic: Statistic
    columns: Sequence[Field]
    releases: Sequence[Release]
    fields: Mapping[str, Field]
    study: Study
    minimum: int
    supposed: Supposed

    @property
    def by(self) -> tuple[By, ...]:
        """The partitions of the statement's own groups."""
        return self.releases[0].by[: len(self.statement.by)]

    @property
    def operands(self) -> list[Field]:
        """The columns of the first release's numbers, or those of the statement where it has none."""
        numbers = [self.fields[operand.column] for operand in self.releases[0].operands]
        return numbers or list(self.columns)

    @property
    def planned(self) -> int:
        """Patients in a group of middle size, from facts."""
        return self.study.median(self.releases[0].cohort, self.by, self.minimum)

    def assumptions(self) -> Assumptions:
        """Of a group of middle size: what the analyst supposes, else what facts say."""
        first = self.columns[0] if self.columns else None
        rate = self.supposed.event_rate
        if (
            rate is None
            and first is not None
            and self.statement.level is not None
            and self.statistic.level in ("must", "own")
        ):
            shares = self.study.shares.get(first.name)
            codes = [k for k, level in enumerate(first.levels) if level.label == self.statement.level.text]
            rate = shares[codes[0]] if shares is not None and codes and 0 < shares[codes[0]] < 1 else None
        if rate is None and first is not None and first.event is not None:
            flag = self.fields.get(first.event)
            shares = self.study.shares.get(first.event)
            if flag is not None and shares is not None:
                happened = [k for k, level in enumerate(flag.levels) if level.value == flag.yes]
                rate = shares[happened[0]] if happened and 0 < shares[happened[0]] < 1 else None
        sd = self.supposed.sd
        if sd is None and first is not None:
            sd = self.study.sds.get(first.name)
        n = self.supposed.n or self.planned
        return Assumptions(
            n=n,
            level=LEVEL,
            sd=sd,
            event_rate=rate,
            columns=tuple(self.columns),
            sds=tuple(self.study.sds.get(column.name) for column in self.columns),
            values=tuple(float(number) for v in self.statement.values if (number := v.number) is not None),
            cells=self._cells(n),
        )

    def _cells(self, n: int) -> tuple[tuple[float, ...], ...]:
        """How n patients of a group are planned to lie in the cells of the first table, a row for each stratum."""
        release, groups = self.releases[0], len(self.statement.by)
        strata = 0 if self.statistic.strata is None else max(0, len(self.columns) - self.statistic.strata)
        strata += any(by.column == DATASET for by in release.by[groups:])
        rows = prod(by.size for by in release.by[groups : groups + strata])
        parts, _ = self.study.groups(("all",), release.by[groups:])
        whole = sum(parts) or 1.0
        cells = [n * part / whole for part in parts]
        width = len(cells) // rows
        return tuple(tuple(cells[i : i + width]) for i in range(0, len(cells), width))

    def noise(self, assumed: Assumptions) -> float | None:
        """Half-width of the noise alone; 0 in exact mode, None where the statistic does not say."""
        if self.releases[0].scale is None:
            return 0.0
        if self.statistic.noise is not None:
            found = self.statistic.noise(self.releases, self.operands, assumed)
            if found is not None:
                return found
        if self.statistic.expected is None:
            return None
        return self.statistic.expected(self.releases, self.operands, assumed.n, LEVEL).half_width


def precision(asking: Asking) -> dict[str, Any]:
    """The widths of a statement's figures, whether they are useful, what is suppressed, and the power asked for."""
    assumed = asking.assumptions()
    own = asking.supposed.n is not None
    groups, bound = asking.study.groups(asking.releases[0].cohort, asking.by)
    noise, sampling = asking.noise(assumed), _sampling(asking.statistic, assumed)
    total = _total(asking.statistic, noise, sampling)
    sure = own or not bound
    useful, reason = _useful(noise, sampling, total, sure=sure)
    lines = _lines(asking, assumed, sure=sure)
    wrong = [line for line in lines if line["useful"] is False]
    if wrong:
        useful, reason = False, f"{wrong[0]['figure']}: {wrong[0]['reason']}"
    return {
        "n": assumed.n,
        "n_from": "analyst" if own else "facts" if asking.study.told else "capacity",
        "at_most": bound and not own,
        "sd": assumed.sd,
        "event_rate": assumed.event_rate,
        "half_width": {"noise": _said(noise), "sampling": _said(sampling), "total": _said(total)},
        "level": LEVEL,
        "useful": useful,
        "reason": reason,
        "power": _power(asking, assumed, noise, sampling),
        "lines": lines,
        "suppressed": _suppressed(asking, groups, assumed.n if own else None),
    }


def cheapest(asking: Asking, text: str, facts: Sequence[DatasetFacts]) -> dict[str, Any] | None:
    """The least epsilon with which this statement, asked alone, is as narrow as the analyst wants; None if not asked.

    By bisection over whole millionths, each compiled again: coarser steps of a column count too.
    """
    # Here and not above: that module imports this one's caller.
    from analytics.query.plan import compile

    wanted = asking.supposed.width
    if wanted is None or asking.releases[0].scale is None:
        return None
    assumed = asking.assumptions()
    sampling = _sampling(asking.statistic, assumed)

    def width(micro: int) -> float:
        try:
            plan = compile(text, facts, micro, "dp")
        except ProgramRejected:  # too little for the numbers that parties compute with
            return inf
        again = replace(asking, releases=[plan.releases[place] for place in plan.uses[0]])
        noise = again.noise(assumed)
        total = _total(asking.statistic, noise, sampling)
        return inf if noise is None else noise if total is None else total

    of = "noise" if sampling is None or asking.statistic.of_cohort else "noise and sampling"
    told = {"half_width": wanted, "of": of, "epsilon": None, "reason": None}
    if of != "noise" and sampling is not None and sampling >= wanted:
        return told | {
            "reason": f"sampling alone has a half-width of {sampling:.3g}: more patients are needed"
        }
    if width(LARGEST_QUERY) > wanted:
        return told | {"reason": f"not even epsilon {short_text(LARGEST_QUERY)} reaches it"}
    low, high = 0, LARGEST_QUERY
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if width(middle) > wanted else (low, middle)
    most = min(int(fact.policy["micro_epsilon_per_query"]) for fact in facts)
    over = f"the provider allows {short_text(most)} per query" if high > most else None
    return told | {"epsilon": epsilon_text(high), "reason": over}


def not_useful(described: Mapping[str, Any]) -> list[str]:
    """Why a described plan should be confirmed: one line for each statement that facts already call not useful."""
    return [
        f"statement {number}, {statement['text']}: {statement['precision']['reason']}"
        for number, statement in enumerate(described["statements"], 1)
        if statement["precision"]["useful"] is False and statement["precision"]["n_from"] == "facts"
    ]


def _sampling(statistic: Statistic, assumed: Assumptions) -> float | None:
    return None if statistic.sampling is None else statistic.sampling(assumed)


def _total(statistic: Statistic, noise: float | None, sampling: float | None) -> float | None:
    """The half-width of the interval: of a figure of the cohort itself, the noise's; else of both, if both are known."""
    if noise is None or statistic.of_cohort:
        return noise
    if sampling is None:
        return None
    return sqrt(noise**2 + sampling**2)


def _useful(
    noise: float | None, sampling: float | None, total: float | None, *, sure: bool
) -> tuple[bool | None, str | None]:
    if noise is None:
        return None, "how wide this figure will be is not known beforehand"
    if sampling is None or total is None:
        return None, "suppose an sd or an event_rate to know how wide it will be"
    if not isfinite(total):
        return False, (
            "many cohorts of this size would have no figure beside this noise: give it more epsilon, or ask for less or"
            " for larger groups"
        )
    if total > USEFUL * sampling:
        return False, (
            f"a half-width of {total:.3g} is {total / sampling:.3g} times that of sampling alone, {sampling:.3g}:"
            " give it more epsilon, or ask for less or for larger groups"
        )
    # Fewer patients than the bound make the noise wider against sampling, never narrower.
    return (True, None) if sure else (None, "how many patients there are is not known: suppose an n")


def _lines(asking: Asking, assumed: Assumptions, *, sure: bool) -> list[dict[str, Any]]:
    """What is expected of each figure of a statement that gives many; of others nothing."""
    if asking.statistic.lines is None:
        return []
    found = []
    for line in asking.statistic.lines(asking.releases, assumed):
        noise = line.noise if asking.releases[0].scale is not None else 0.0
        total = None if noise is None or line.sampling is None else sqrt(noise**2 + line.sampling**2)
        useful, reason = _useful(noise, line.sampling, total, sure=sure)
        half = {"noise": _said(noise), "sampling": _said(line.sampling), "total": _said(total)}
        found.append({"figure": line.figure, "half_width": half, "useful": useful, "reason": reason})
    return found


def _power(
    asking: Asking, assumed: Assumptions, noise: float | None, sampling: float | None
) -> dict[str, Any] | None:
    """How often an effect is seen at 5 %, two-sided: by the statistic's own test, or by a normal one with noise and
    sampling in its variance."""
    effect = asking.supposed.effect
    if effect is None:
        return None
    if asking.statistic.power is not None:
        found = asking.statistic.power(asking.releases, assumed, effect)
        return None if found is None else {"effect": effect, "of": found[1], "power": round(found[0], 4)}
    if noise is None or sampling is None:
        return None
    groups = any(by.size > 1 for by in asking.by) and asking.statistic.strata is None
    error = sqrt(noise**2 + sampling**2) / _Z * (sqrt(2) if groups else 1)
    if error <= 0 or not isfinite(error):
        return None
    z = (log(effect) if asking.statistic.ratio else effect) / error
    of = "a difference of two groups" if groups else "a difference from a fixed value"
    if asking.statistic.strata is not None:
        of = "a ratio other than 1" if asking.statistic.ratio else "an effect other than 0"
    return {
        "effect": effect,
        "of": of,
        "power": round(_NORMAL.cdf(z - _Z) + _NORMAL.cdf(-z - _Z), 4),
    }


def _suppressed(asking: Asking, groups: Sequence[float], n: int | None) -> list[dict[str, Any]]:
    """Groups that are planned below the minimum cohort, as far as facts or the analyst say how large they are."""
    if n is None and not asking.study.told:
        return []
    found = []
    for codes, planned in zip(product(*(by.groups for by in asking.by)), groups, strict=True):
        size = planned if n is None else n
        if size < asking.minimum:
            names = {
                asking.fields[by.column].name: " or ".join(
                    asking.fields[by.column].levels[code].label for code in group
                )
                for by, group in zip(asking.by, codes, strict=True)
            }
            found.append({"by": names, "n": int(size)})
    return found[:MOST_GROUPS]


def _said(half: float | None) -> float | None:
    return half if half is not None and isfinite(half) else None
