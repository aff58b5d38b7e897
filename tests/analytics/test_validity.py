"""The measurement of validity measures: right totals, right truths, and a wrong interval is noticed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from analytics import reference
from analytics.query.plan import compile
from benchmarks.validity import __main__ as validity
from benchmarks.validity import runs
from benchmarks.validity.scenario import Scenario, facts, found, scenarios

SCENARIOS = scenarios()
PROPORTION = SCENARIOS["proportion of a half"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_totals_of_many_cohorts_are_those_of_the_reference(name: str) -> None:
    scenario = SCENARIOS[name]
    rows = scenario.population(np.random.default_rng(1), 1200)
    cohorts = {column: codes.reshape(4, 300) for column, codes in rows.items() if column[0] != "_"}
    fact = facts(scenario, 300)
    plan = compile(scenario.program, [fact], 10**6, "dp")
    every = np.ones(300, dtype=bool)
    for k in range(4):
        table = {column: (codes[k], every) for column, codes in cohorts.items()}
        said = [
            (runs.totals(release, cohorts)[k] @ np.array(release.transform).T).reshape(-1).tolist()
            for release in plan.releases
        ]
        assert said == reference.evaluate(plan, [fact], [table])


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_population_has_the_size_and_the_codes_that_are_asked_for(name: str) -> None:
    scenario = SCENARIOS[name]
    fields = {field.name: field for field in facts(scenario, 60).schema.fields}
    for column, codes in runs.population(scenario, 1200).items():
        assert codes.shape == (1200,)
        if column[0] != "_":
            assert codes.min() >= 0 and codes.max() < fields[column].codes


def test_what_is_true_of_a_population_is_what_numpy_says() -> None:
    values = runs.population(SCENARIOS["mean"])["value"] / 10
    assert runs.truth(SCENARIOS["mean"]) == pytest.approx(values.mean())
    values = runs.population(SCENARIOS["standard deviation"])["value"] / 10
    assert runs.truth(SCENARIOS["standard deviation"]) == pytest.approx(values.std(ddof=1))
    assert runs.truth(PROPORTION) == 0.5
    both = runs.population(SCENARIOS["r = 0.6"])
    r = np.corrcoef(both["value"], both["other"])[0, 1]
    assert runs.truth(SCENARIOS["r = 0.6"]) == pytest.approx(r)


def test_a_run_is_the_same_whenever_it_is_run() -> None:
    one, other = (runs.run(PROPORTION, 60, 1.0, 8) for _ in range(2))
    np.testing.assert_array_equal(one.dp, other.dp)
    assert not np.array_equal(one.dp, runs.run(PROPORTION, 60, 1.0, 8, part=1).dp)


def failures(scenario: Scenario, n: int, epsilon: float, number: int) -> set[str]:
    line = runs.judge(scenario, n, epsilon, runs.run(scenario, n, epsilon, number))
    return {failure.split(" ")[0] for failure in line.failures()}


def test_a_right_interval_passes() -> None:
    assert "coverage" not in failures(SCENARIOS["count of a half"], 60, 2.0, 1500)


def test_noise_that_the_figures_do_not_know_of_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = runs.compile

    def quiet(*asked: object) -> object:
        """A plan that says half of the noise that the totals get."""
        plan = honest(*asked)  # type: ignore[arg-type]
        return replace(plan, releases=tuple(replace(r, scale=r.scale and 2 * r.scale) for r in plan.releases))

    drawn = runs.figures

    def unaware(plan: object, *rest: object) -> object:
        releases = tuple(replace(r, scale=r.scale and r.scale / 2) for r in plan.releases)  # type: ignore[attr-defined]
        return drawn(replace(plan, releases=releases), *rest)  # type: ignore[type-var, arg-type]

    monkeypatch.setattr(runs, "compile", quiet)
    monkeypatch.setattr(runs, "figures", unaware)
    assert "coverage" in failures(SCENARIOS["count of a half"], 60, 1.0, 600)


@pytest.mark.parametrize("name", ["standard deviation", "variance", "r = 0"])
def test_a_preview_of_few_patients_expects_what_the_noise_does_to_them(name: str) -> None:
    line = runs.judge(SCENARIOS[name], 60, 1.0, runs.run(SCENARIOS[name], 60, 1.0, 600))
    assert line.preview == pytest.approx(1, abs=0.2)


def test_a_test_that_finds_too_much_is_noticed() -> None:
    null = SCENARIOS["2 x 2, nothing there"]
    p = np.linspace(0.0005, 1, 2000)
    numbers = np.stack([np.zeros(2000), np.zeros(2000), np.ones(2000), p], axis=1)
    fair = runs.Runs(numbers, numbers, numbers, np.zeros(2000))
    assert not [f for f in runs.judge(null, 60, 1.0, fair).failures() if f.startswith("type-I")]
    eager = numbers.copy()
    eager[:, 3] = p**1.5
    wrong = runs.Runs(eager, numbers, numbers, np.zeros(2000))
    assert [f for f in runs.judge(null, 60, 1.0, wrong).failures() if f.startswith("type-I")]


def test_the_upper_end_of_a_rate_is_clopper_and_pearsons() -> None:
    from statsmodels.stats.proportion import proportion_confint

    assert runs.upper(50, 1000) == pytest.approx(proportion_confint(50, 1000, 0.02, "beta")[1])
    assert runs.upper(7, 7) == 1.0


def test_fewer_draws_are_set_in_every_module_of_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    from analytics.statistics import cells, contingency, noise

    for module, name in (
        (cells, "DRAWS"),
        (noise, "DRAWS"),
        (noise, "FEWEST"),
        (contingency, "SIMULATED"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back afterwards
    runs.set_draws(1024)
    assert (cells.DRAWS, noise.DRAWS, noise.FEWEST, contingency.SIMULATED) == (1024, 1024, 16, 499)


def lines(page: str) -> Iterator[tuple[str, list[str]]]:
    """Scenario and cells of every line of the page's tables."""
    name = ""
    for text in page.splitlines():
        if titled := re.match(r"\*\*(.+)\*\*: `", text):
            name = titled[1]
        elif text.startswith("|") and name and re.match(r"\| \d", text):
            yield name, [cell.strip() for cell in text.strip("|").split("|")]


def test_a_section_of_the_page_has_ten_thousand_runs_of_every_scenario_and_no_line_outside_the_targets() -> (
    None
):
    page = validity.PAGE.read_text()
    told: dict[str, list[list[str]]] = {}
    for name, cells in lines(page):
        told.setdefault(name, []).append(cells)
    for module in found():
        if validity.begin(module) not in page:
            continue
        assert f"{validity.begin(module)}### {module.title}\n\n10000 runs a cell" in page
        for scenario in module.scenarios:
            own = told.pop(scenario.name)
            cells = [(n, epsilon) for n in scenario.sizes for epsilon in scenario.epsilons]
            assert [(int(line[0]), float(line[1])) for line in own] == cells, scenario.name
            assert not any(line[-1] for line in own), f"{scenario.name}: outside the targets"
    assert not told, "run `make validity ARGS=--write`"


def test_a_scale_is_exact() -> None:
    """The noise of a scenario is the plan's, whose scale is a fraction."""
    plan = compile(PROPORTION.program, [facts(PROPORTION, 60)], 500_000, "dp")
    assert plan.releases[0].scale == Fraction(2)
