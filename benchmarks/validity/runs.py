"""Many cohorts, many noises, one question: what the figures say against what is true.

Rows are drawn and totalled with numpy for all cohorts at once; the noise is the difference of two geometric variables
of the plan's scale (numpy's generator: this is a simulation, nothing here is released); every figure comes from the
product's own `figures`, run by run. Beside it stand the truth; the figure of the true totals, which tells the noise's
part of the error; and, in one run of four, the figure that `exact` mode would make of the noised totals, which is what
an analyst gets who takes noised numbers for exact ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
from scipy import stats

from analytics import statistics
from analytics.query.describe import describe
from analytics.query.model import By, Cohort, Plan, Release
from analytics.query.plan import compile
from analytics.statistics import figures
from analytics.statistics.cells import Cell
from benchmarks.validity.scenario import POPULATION, Columns, Reading, Scenario, facts

CHUNK = 500  # runs whose rows are in memory together
ALSO_EVERY = 4  # run in so many that is also read without noise and naively
FEWEST_SHOWN = 0.05  # a figure shown more rarely counts as refused
TYPE_ONE, TYPE_ONE_BOUND = 0.05, 0.07
COVERAGE = 0.93, 0.99
WIDEST = 1.25
PREVIEW_WITHIN = 0.05

Floats = np.ndarray[Any, np.dtype[np.float64]]


def set_draws(draws: int) -> None:
    """Let figures draw that often behind the integers, and simulate nulls half as often, in this process.

    An interval between quantiles of k draws holds about 1 / k less than it says: too few make coverage worse, never
    better. Of 20 k - 1 simulated nulls exactly 5 % of p-values are at or below 5 %, so fewer hide no false alarm.
    """
    fewer = {"DRAWS": draws, "SIMULATED": 20 * (draws // 40) - 1, "FEWEST": max(2, draws // 64)}
    for module in iter_modules(statistics.__path__):
        loaded = import_module(f"analytics.statistics.{module.name}")
        for name, number in fewer.items():
            if hasattr(loaded, name):
                setattr(loaded, name, min(number, getattr(loaded, name)))


def totals(release: Release, columns: Mapping[str, Any]) -> Any:
    """(runs, cells, monomials) exact totals over the rows (runs, n) of each cohort."""
    shape = next(iter(columns.values())).shape
    rows = _holds(release.cohort, columns, shape)
    cell = np.zeros(shape, dtype=np.int64)
    for by in release.by:
        place = _place(by, columns[by.column])
        rows = rows & (place >= 0)
        cell = cell * by.size + place
    at = (cell + np.arange(shape[0])[:, None] * release.cells)[rows]
    values = [
        ((columns[o.column] >> o.dropped) - 2 ** (o.bits - 1))[rows].astype(np.float64)
        for o in release.operands
    ]
    size = shape[0] * release.cells
    found = []
    for exponents in release.monomials:
        term = np.ones(len(at))
        for value, exponent in zip(values, exponents, strict=False):
            term = term * value**exponent
        found.append(np.bincount(at, weights=term, minlength=size))
    whole = np.stack(found, axis=-1)
    if np.abs(whole).max(initial=0) >= 2**52:
        raise OverflowError("these totals are not exact in doubles")
    return whole.astype(np.int64).reshape(shape[0], release.cells, -1)


def _place(by: By, codes: Any) -> Any:
    """The cell of each code in a partition, -1 where it has none."""
    if by.edges:
        place = np.searchsorted(by.edges, codes, side="right") - 1
        return np.where(place < by.size, place, -1)
    cells = np.full(1 + max(code for group in by.groups for code in group), -1)
    for k, group in enumerate(by.groups):
        cells[list(group)] = k
    return cells[np.minimum(codes, len(cells) - 1)]


def _holds(cohort: Cohort, columns: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
    kind, *rest = cohort
    if kind in ("all", "present"):
        return np.ones(shape, dtype=bool)
    if kind == "less":
        return columns[rest[0]] < rest[1]
    if kind == "in":
        return np.isin(columns[rest[0]], rest[1])
    if kind == "not":
        return ~_holds(rest[0], columns, shape)
    parts = [_holds(node, columns, shape) for node in rest]
    return np.logical_and.reduce(parts) if kind == "and" else np.logical_or.reduce(parts)


@dataclass(frozen=True)
class Runs:
    """What was read in each run; nan where there was no number."""

    dp: Floats  # (runs, 4): value, low, high, p
    naive: Floats  # the same of `exact` mode over noised totals
    exact: Floats  # the same of `exact` mode over the true totals
    truth: Floats

    @classmethod
    def joined(cls, parts: Sequence[Runs]) -> Runs:
        names = ("dp", "naive", "exact", "truth")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def population(scenario: Scenario, size: int = POPULATION) -> Columns:
    """The rows of the population, the same at every call."""
    return scenario.population(generator(scenario.name, "population"), size)


def generator(*label: Any) -> np.random.Generator:
    """Random numbers that belong to this label."""
    seed = hashlib.sha256(repr(label).encode()).digest()[:8]
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))


def truth(scenario: Scenario) -> float:
    """What is true of the population."""
    if callable(scenario.truth):
        return scenario.truth(population(scenario))
    if scenario.truth is not None:
        return scenario.truth
    rows = {name: codes[None] for name, codes in population(scenario).items() if not name.startswith("_")}
    fact = facts(scenario, POPULATION, 1, 2**18)
    plan = compile(scenario.program, [fact], 10**6, "exact")
    (statement,) = figures(plan, [fact], _clear(plan, [totals(r, rows) for r in plan.releases], 0))
    value = scenario.read(statement).value
    if value is None:
        raise ValueError(f"{scenario.name}: exact mode has no figure of the population")
    return float(value)


def _clear(plan: Plan, cells: Sequence[Any], run: int) -> list[list[Any]]:
    """Integers of `exact` mode over the true totals of a run."""
    return [[x for cell in table[run].tolist() for x in (1, *cell)] for table in cells]


def _naive(dp: Plan, exact: Plan, integers: Sequence[Sequence[int]], capacity: int) -> list[list[Any]]:
    """Integers of `exact` mode that say what the noised ones say, as if there were no noise."""
    tables = []
    for noised, plain, row in zip(dp.releases, exact.releases, integers, strict=True):
        width, table = len(noised.transform), []
        for i in range(0, len(row), width):
            if width == 1:
                table += [1, max(0, row[i])]
                continue
            said = Cell(release=noised, integers=tuple(row[i : i + width]), capacity=capacity).totals
            table += [1, *(said[exponents] for exponents in plain.monomials)]
        tables.append(table)
    return tables


def run(scenario: Scenario, n: int, epsilon: float, runs: int, part: int = 0) -> Runs:
    """`runs` cohorts of n patients with their noise, and what is said of each."""
    rows, fact, lenient = population(scenario), facts(scenario, n), facts(scenario, n, 1)
    size = len(next(iter(rows.values())))
    dp = compile(scenario.program, [fact], round(epsilon * 10**6), "dp")
    exact = compile(scenario.program, [lenient], 10**6, "exact")
    known = truth(scenario) if scenario.of == "population" else float("nan")
    rng = generator(scenario.name, n, epsilon, part)
    found = []
    for start in range(0, runs, CHUNK):
        number = min(CHUNK, runs - start)
        drawn = rng.integers(0, size, (number, n))
        cohorts = {name: codes[drawn] for name, codes in rows.items() if not name.startswith("_")}
        found.append(_chunk(scenario, dp, exact, (fact, lenient), cohorts, number, known, rng))
    return Runs.joined(found)


def _chunk(
    scenario: Scenario,
    dp: Plan,
    exact: Plan,
    known: tuple[Any, Any],
    cohorts: Columns,
    number: int,
    true: float,
    rng: np.random.Generator,
) -> Runs:
    released = []
    for release in dp.releases:
        clear = totals(release, cohorts) @ np.array(release.transform, dtype=np.int64).T
        assert release.scale is not None, "a plan in dp mode has noise"
        p = -np.expm1(-1 / float(release.scale))
        clear += rng.geometric(p, clear.shape) - rng.geometric(p, clear.shape)
        released.append(clear.reshape(number, -1))
    plain = [totals(release, cohorts) for release in exact.releases]
    lines, naives, exacts = [], [], []
    for k in range(number):
        integers = [table[k].tolist() for table in released]
        lines.append(_numbers(scenario, figures(dp, [known[0]], integers)))
        naive = unnoised = [float("nan")] * 4
        if k % ALSO_EVERY == 0:
            said = _naive(dp, exact, integers, known[0].capacity)
            naive = _numbers(scenario, figures(exact, [known[1]], said))
        if scenario.preview or scenario.of == "cohort" or k % ALSO_EVERY == 0:
            unnoised = _numbers(scenario, figures(exact, [known[1]], _clear(exact, plain, k)))
        naives.append(naive)
        exacts.append(unnoised)
    without = np.array(exacts)
    truths = without[:, 0] if scenario.of == "cohort" else np.full(number, true)
    return Runs(np.array(lines), np.array(naives), without, truths)


def _numbers(scenario: Scenario, statements: Sequence[Mapping[str, Any]]) -> list[float]:
    reading: Reading = scenario.read(statements[0])
    found = (reading.value, reading.low, reading.high, reading.p)
    return [float("nan") if x is None else float(x) for x in found]


@dataclass(frozen=True)
class Judged:
    """One line of the table: shares of runs, widths in the figure's unit, and what is wrong with it."""

    scenario: str
    n: int
    epsilon: float
    runs: int
    shown: float
    coverage: float
    width: float  # median
    ideal: float  # of sampling and noise
    false_alarms: float
    false_alarm_bound: float
    preview: float  # expected error over actual, nan if not judged
    naive_coverage: float
    naive_false_alarms: float

    @property
    def refused(self) -> bool:
        return self.shown < FEWEST_SHOWN

    def failures(self) -> Iterator[str]:
        """What the targets forbid."""
        if not self.refused and not np.isnan(self.coverage):
            if not COVERAGE[0] <= self.coverage <= COVERAGE[1]:
                yield f"coverage {100 * self.coverage:.1f} %"
            if self.width > WIDEST * self.ideal:
                yield f"width {self.width / self.ideal:.2f} times the ideal"
        if self.false_alarm_bound > TYPE_ONE_BOUND:
            yield f"type-I error {100 * self.false_alarms:.1f} %, up to {100 * self.false_alarm_bound:.1f} %"
        if not self.refused and abs(self.preview - 1) > PREVIEW_WITHIN:
            yield f"preview {self.preview:.2f} times the actual noise error"


def judge(scenario: Scenario, n: int, epsilon: float, runs: Runs) -> Judged:
    """The line of a cell."""
    if scenario.log:
        runs = _logarithms(runs)
    value, low, high, p = runs.dp.T
    tested = ~np.isnan(p)
    told = ~np.isnan(runs.truth)
    shown = ~np.isnan(value) & ~np.isnan(low) & ~np.isnan(high) & told if told.any() else tested
    alarms = int((p[tested] <= TYPE_ONE).sum())
    judged = scenario.null and tested.mean() >= FEWEST_SHOWN
    return Judged(
        scenario=scenario.name,
        n=n,
        epsilon=epsilon,
        runs=len(value),
        shown=float(shown.mean()),
        coverage=_share(((low <= runs.truth) & (runs.truth <= high))[shown]) if told.any() else float("nan"),
        width=float(np.median((high - low)[shown])) if shown.any() and told.any() else float("nan"),
        ideal=_ideal(runs),
        false_alarms=alarms / tested.sum() if judged else float("nan"),
        false_alarm_bound=upper(alarms, int(tested.sum())) if judged else float("nan"),
        preview=_preview(scenario, n, epsilon, runs),
        naive_coverage=_covered(runs.naive, runs.truth),
        naive_false_alarms=_share((runs.naive[:, 3] <= TYPE_ONE)[~np.isnan(runs.naive[:, 3])])
        if scenario.null
        else float("nan"),
    )


def _logarithms(runs: Runs) -> Runs:
    """The same with value and interval, and the truth, as logarithms."""
    with np.errstate(divide="ignore"):
        parts = [
            np.concatenate([np.log(x[:, :3]), x[:, 3:]], axis=1) for x in (runs.dp, runs.naive, runs.exact)
        ]
        return Runs(*parts, np.log(runs.truth))


def _ideal(runs: Runs) -> float:
    """Width of the textbook interval without noise, and of the central 95 % of what noise does: independent errors."""
    _, low, high, _ = runs.exact.T
    sampling = (high - low)[~np.isnan(low) & ~np.isnan(high)]
    made = (runs.dp[:, 0] - runs.exact[:, 0])[~np.isnan(runs.dp[:, 0] - runs.exact[:, 0])]
    if not len(sampling) or not len(made):
        return float("nan")
    return float(np.hypot(np.median(sampling), np.diff(np.quantile(made, [0.025, 0.975]))[0]))


def upper(alarms: int, runs: int, level: float = 0.99) -> float:
    """The upper end of Clopper and Pearson's interval of a rate."""
    return 1.0 if alarms >= runs else float(stats.beta.ppf(level, alarms + 1, runs - alarms))


def _share(held: Any) -> float:
    return float(held.mean()) if held.size else float("nan")


def _covered(readings: Floats, true: Floats) -> float:
    low, high = readings[:, 1], readings[:, 2]
    shown = ~np.isnan(low) & ~np.isnan(high) & ~np.isnan(true)
    return _share(((low <= true) & (true <= high))[shown])


def _preview(scenario: Scenario, n: int, epsilon: float, runs: Runs) -> float:
    """The expected error of the preview over the error that the noise made: 95 % of errors are within each."""
    if not scenario.preview:
        return float("nan")
    fact = facts(scenario, n)
    plan = compile(scenario.program, [fact], round(epsilon * 10**6), "dp")
    supposed = {"all": {"n": n, **scenario.supposed}}
    precision = describe(plan, [fact], assumptions=supposed)["statements"][0]["precision"]
    expected = precision["half_width"]["noise"]
    made = np.abs(runs.dp[:, 0] - runs.exact[:, 0])
    made = made[~np.isnan(made)]
    if expected is None or not len(made):
        return float("nan")
    return float(expected / max(np.quantile(made, precision["level"]), 1e-12))
