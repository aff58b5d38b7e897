"""The demonstrations show what their page says, and what is shown is true."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from benchmarks.demonstrations import __main__ as demonstrations
from benchmarks.demonstrations import differencing, trial


def test_the_page_shows_what_the_trial_prints_today() -> None:
    pytest.importorskip("lifelines", reason="lifelines does not install beside the pandas of today")
    page = demonstrations.PAGE.read_text()
    assert demonstrations.figures("trial") in page, "run `python -m benchmarks.demonstrations trial --write`"


def test_every_demonstration_has_its_place_on_the_page() -> None:
    page = demonstrations.PAGE.read_text()
    for name in demonstrations.NAMES:
        assert hasattr(import_module(f"benchmarks.demonstrations.{name}"), "lines")
        assert demonstrations.begin(name) + "<!-- end" not in page, "its tables are missing"
        assert demonstrations.written(page, name, "x\n").count("<!-- end of figures -->") == len(
            demonstrations.NAMES
        )


def test_subtraction_recovers_a_patient_from_exact_answers_about_large_cohorts() -> None:
    table = differencing.patients(np.random.default_rng(2))
    row = differencing.singled_out(table)[0]
    one, other = differencing.questions(table, row, "sum(value)", "age >= 20")
    (n, mean), (fewer, rest) = (differencing.conventional(table, q) for q in (one, other))
    assert n - fewer == 1 and fewer > 700
    assert n * mean - fewer * rest == pytest.approx(table["value"][0][row] / 10, abs=1e-6)


def test_a_conventional_tool_refuses_a_small_cohort() -> None:
    table = differencing.patients(np.random.default_rng(2))
    row = differencing.singled_out(table)[0]
    _, other = differencing.questions(table, row, "count()", "age >= 20")
    with pytest.raises(PermissionError):
        differencing.conventional(table, other.replace("not ", ""))


def test_the_same_subtraction_guesses_a_flag_no_better_than_epsilon_allows() -> None:
    rng = np.random.default_rng(3)
    table = differencing.patients(rng)
    right, targets = 0, differencing.singled_out(table)[:300]
    for row in targets:
        one, other = (
            differencing.noised(table, q, 250_000, rng)[0]
            for q in differencing.questions(table, row, "count()", "response == yes")
        )
        right += (one - other > 0.5) == bool(table["response"][0][row])
    bound = np.exp(0.5) / (1 + np.exp(0.5))
    assert right / len(targets) < bound + 3.5 * np.sqrt(0.25 / len(targets))


def test_the_released_trial_costs_four_and_one_life_table_serves_three_statements() -> None:
    from analytics.query.plan import compile

    fact = trial.dataset()
    plan = compile(trial.PROGRAM, [fact], 4 * 10**6, "dp")
    assert sum(release.micro_epsilon for release in plan.releases) <= plan.micro_epsilon == 4 * 10**6
    assert plan.uses[1] == plan.uses[2] == plan.uses[3] and len(plan.uses[1]) == 1
