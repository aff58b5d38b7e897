"""What is tried: a question about cohorts from a known population, and what is true of it.

A module of `benchmarks/validity/scenarios` holds `SCENARIOS` and is found by its presence. Cohorts of n are drawn with
replacement from a finite population on the codebook's lattice, so that what is true of the population is known exactly:
it is the answer of `exact` mode over all its rows, unless the scenario says it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from analytics.query.plan import DatasetFacts
from analytics.query.schema import parse_codebook

Codes: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Columns: TypeAlias = Mapping[str, Codes]  # of rows that have every value
Statement: TypeAlias = Mapping[str, Any]  # of a Result

POPULATION = 120_000  # divisible by the sizes of small tables
SIZES = (60, 200, 367, 773)
EPSILONS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Reading:
    """The numbers of a statement that are judged; null where there is none."""

    value: float | None
    low: float | None
    high: float | None
    p: float | None = None


def first_group(statement: Statement) -> Reading:
    """Value, interval and p of the first group."""
    return of_group(statement["groups"][0])


def of_group(group: Mapping[str, Any]) -> Reading:
    """Value, interval and p under the keys that every group has."""
    return Reading(group["value"], group["low"], group["high"], group.get("p"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenario:
    """One statement, asked of many cohorts.

    name        of a line of the table
    program     one statement of the language over the columns of STUDY and `fields`
    population  codes of every column that the statement reads, of as many rows as are asked for; a column whose name
                begins with "_" is for `truth` alone
    of          what the interval speaks of: the "population", or the "cohort" itself
    truth       what is true of the population, or how it follows from its columns, where it is not the answer of
                `exact` mode over all of it; nan where there is a test and no interval
    read        where the numbers stand in a statement of a Result
    null        nothing is there to be found: a p-value at or below 5 % is a false alarm
    log         widths are those of the logarithms: of a ratio
    preview     the population is as the preview assumes, so that its expected error is judged
    supposed    what an analyst supposes of it in the preview, beside n
    """

    name: str
    program: str
    population: Callable[[np.random.Generator, int], Columns]
    of: str = "population"
    truth: float | Callable[[Columns], float] | None = None
    read: Callable[[Statement], Reading] = first_group
    null: bool = False
    log: bool = False
    preview: bool = False
    supposed: Mapping[str, float] = field(default_factory=dict)
    fields: tuple[Mapping[str, Any], ...] = ()
    sizes: tuple[int, ...] = SIZES
    epsilons: tuple[float, ...] = EPSILONS


def number(name: str, minimum: str, maximum: str, resolution: str = "1", **more: Any) -> dict[str, Any]:
    """A numeric field of a codebook."""
    bounds = {"minimum": minimum, "maximum": maximum}
    return {
        "name": name,
        "type": "number",
        "unit": "u",
        "constraints": bounds,
        "resolution": resolution,
    } | more


def category(name: str, *levels: str) -> dict[str, Any]:
    """A category of a codebook."""
    return {"name": name, "type": "category", "categories": list(levels)}


# Numbers fill their bits, so that the middle of the codes is the middle of the range.
STUDY = (
    number("value", "0", "102.3", "0.1"),
    number("other", "-51.2", "51.1", "0.1"),
    number("age", "20", "83"),
    category("arm", "placebo", "treatment"),
    category("response", "no", "yes"),
    category("sex", "female", "male"),
    category("stage", "I", "II", "III"),
    category("region", "north", "east", "south", "west"),
)


@lru_cache(maxsize=256)
def facts(scenario: Scenario, n: int, minimum_cohort: int = 11, capacity: int = 1024) -> DatasetFacts:
    """A dataset of about n patients, as the portal knows it."""
    schema = parse_codebook(
        {
            "primaryKey": ["patient"],
            "title": "A study to be right about",
            "fields": [*STUDY, *scenario.fields],
            "policy": {
                "epsilon": "100",
                "epsilon_per_query": "5",
                "minimum_cohort": minimum_cohort,
                "modes": ["dp", "exact"],
                "statistics": ["*"],
                "expires": "2040-01-01",
            },
            "capacity": capacity,
            "facts": {"n": n},
        }
    )
    return DatasetFacts(
        id="ab" * 16,
        version=1,
        manifest_hash="cd" * 32,
        capacity=capacity,
        schema=schema,
        policy=dict(schema.policy),
    )


@dataclass(frozen=True)
class Found:
    """The scenarios of one module, and what its docstring says."""

    name: str
    title: str
    scenarios: tuple[Scenario, ...] = field(repr=False)


@lru_cache(maxsize=1)
def found() -> tuple[Found, ...]:
    """Every module of scenarios in the order of their names."""
    folder = Path(__file__).parent / "scenarios"
    names = [path.stem for path in sorted(folder.glob("*.py"))]
    modules = [import_module(f"benchmarks.validity.scenarios.{name}") for name in names]
    return tuple(
        Found(name, str(module.__doc__).split("\n")[0].rstrip("."), tuple(module.SCENARIOS))
        for name, module in zip(names, modules, strict=True)
    )


def scenarios() -> dict[str, Scenario]:
    """Every scenario by its name. Raises ValueError if two have one name."""
    named: dict[str, Scenario] = {}
    for scenario in (one for module in found() for one in module.scenarios):
        if scenario.name in named:
            raise ValueError(f"two scenarios are called {scenario.name}")
        named[scenario.name] = scenario
    return named


def bell(rng: np.random.Generator, size: int, codes: int, *, spread: float = 6.0) -> Codes:
    """Codes of a bell-shaped number in the middle of its range; `spread` standard deviations make the range."""
    return rounded((codes - 1) / 2 + codes / spread * rng.standard_normal(size), codes)


def rounded(codes: Any, number_of_codes: int) -> Codes:
    """The nearest codes."""
    return np.clip(np.rint(codes), 0, number_of_codes - 1).astype(np.int64)
