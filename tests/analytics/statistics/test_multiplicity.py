"""Adjusted p-values of a program against statsmodels, and in the statements of an answer."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from analytics import render
from analytics.query.plan import DatasetFacts, compile
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate
from analytics.statistics import figures
from analytics.statistics.multiplicity import adjust, benjamini_hochberg, counted, holm
from tests.analytics.statistics import plans

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40)
SCHEMA = parse_codebook(plans.CODEBOOK)


@given(P_VALUES)
def test_holm_is_that_of_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


@given(P_VALUES)
def test_benjamini_hochberg_is_that_of_statsmodels(p_values):
    assert benjamini_hochberg(p_values) == pytest.approx(
        multipletests(p_values, method="fdr_bh")[1], abs=1e-12
    )


@given(P_VALUES)
def test_an_adjusted_value_is_a_probability_and_never_below_the_raw_one(p_values):
    for raw, whole, share in zip(p_values, holm(p_values), benjamini_hochberg(p_values), strict=True):
        assert raw * (1 - 1e-12) <= share <= whole * (1 + 1e-12) <= 1 + 1e-12


def test_none_adjusts_nothing():
    assert holm([]) == benjamini_hochberg([]) == []


def test_a_withheld_p_value_is_no_test_and_a_group_without_one_stays_as_it_is():
    groups = [{"p": 0.03}, {"p": None}, {"value": 1.0}, {"p": 0.5}]
    statements = [{"groups": groups[:2]}, {"groups": groups[2:]}]
    adjust(statements)
    assert groups[0] == {"p": 0.03, "p_holm": 0.06, "p_bh": 0.06}
    assert groups[1] == {"p": None, "p_holm": None, "p_bh": None}
    assert groups[2] == {"value": 1.0}
    assert counted(statements) == 2


def test_comparisons_and_coefficients_are_tests_and_the_figure_of_the_group_is_the_first_of_them():
    comparisons = [{"p": 0.01, "strata": [{"p": 0.5}]}, {"p": 0.2}, {"p": None}]
    coefficients = [{"term": "intercept", "p": 1e-9}, {"term": "arm", "p": 0.02}]
    groups = [
        {"p": 0.01, "comparisons": comparisons},
        {"p": 0.02, "coefficients": coefficients},
        {"p": 0.4, "heterogeneity": {"p": 0.03}},
        {"p": None, "quantiles": [{"p": 0.5}]},
    ]
    statements = [{"groups": groups}]
    raw = [0.01, 0.2, 0.02, 0.4, 0.03]
    assert counted(statements) == len(raw)
    adjust(statements)
    tests = [comparisons[0], comparisons[1], coefficients[1], groups[2], groups[2]["heterogeneity"]]
    assert [test["p_holm"] for test in tests] == pytest.approx(multipletests(raw, method="holm")[1])
    assert [test["p_bh"] for test in tests] == pytest.approx(multipletests(raw, method="fdr_bh")[1])
    assert groups[0]["p_holm"] == comparisons[0]["p_holm"] and groups[1]["p_bh"] == coefficients[1]["p_bh"]
    assert coefficients[0]["p_holm"] is None and comparisons[2]["p_holm"] is None
    assert "p_holm" not in comparisons[0]["strata"][0] and "p_holm" not in groups[3]["quantiles"][0]


@pytest.mark.parametrize("mode", ["exact", "dp"])
def test_the_statements_of_an_answer_carry_adjusted_values_over_the_whole_program(mode):
    rng = np.random.default_rng(3)
    facts = [
        DatasetFacts(
            id="d" * 32, version=1, manifest_hash="a" * 64, capacity=4096, schema=SCHEMA,
            policy={"minimum_cohort": 11},
        )
    ]  # fmt: skip
    program = "correlate(arm, region)\nmean(x)\ncorrelate(arm, region) where x > 40\ncorrelate(region, arm) where x < 60"
    plan = compile(program, facts, 10 * 10**6, mode)
    integers = evaluate(plan, facts, [plans.table(rng, 2000)])
    if mode == "dp":
        integers = plans.noised(rng, plan, integers)
    answer = figures(plan, facts, integers)
    json.dumps(answer, allow_nan=False)
    groups = [g for s in answer for g in s["groups"] if "p" in g]
    raw = [g["p"] for g in groups]
    assert len(raw) == 3 and all(p is not None for p in raw)
    assert [g["p_holm"] for g in groups] == pytest.approx(multipletests(raw, method="holm")[1])
    assert [g["p_bh"] for g in groups] == pytest.approx(multipletests(raw, method="fdr_bh")[1])
    assert "p_holm" not in answer[1]["groups"][0]


def test_an_answer_in_the_terminal_says_the_adjusted_values_and_how_many_tests_came_before():
    group = {
        "by": {}, "value": 0.1, "low": 0.0, "high": 0.2, "n": 60, "noise_scale": {}, "reason": None,
        "table": {"rows": ["a"], "columns": ["c"], "counts": [[12]]}, "chi2": 1.5, "df": 1,
        "p": 0.02, "p_holm": 0.04, "p_bh": 0.03,
    }  # fmt: skip
    statement = {"text": "correlate(p, q)", "statistic": "correlate", "groups": [group]}
    body = {"mode": "exact", "statements": [statement], "tests_so_far": {"analyst": 3, "dataset": 8}}
    out = render.answer(body)
    assert "p 0.02, Holm 0.04, Benjamini-Hochberg 0.03" in out
    assert "the 1 of this answer" in out and "3 by you, 8 by everybody" in out
    assert "tests so far" not in render.answer(body | {"statements": []})
