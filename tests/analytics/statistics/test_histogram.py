"""Histograms against numpy and pandas, their interval under noise, and what is refused."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analytics.query.errors import ProgramRejected
from analytics.query.plan import compile
from analytics.reference import evaluate
from analytics.render import answer
from analytics.statistics import figures
from tests.analytics.statistics import plans
from tests.analytics.statistics.asking import ask, facts, finite, skeleton
from tests.analytics.statistics.plans import FIELDS

X, Y, ARM, REGION = FIELDS


@pytest.fixture(scope="module")
def table():
    return plans.table(np.random.default_rng(3), 1200)


def test_the_bins_of_a_number_are_numpys_on_the_default_grid(table):
    ((group,),) = [s["groups"] for s in ask("histogram(x)", table)]
    edges = [0, *(round(k * 1000 / 12) / 10 for k in range(1, 12)), 100]
    counts, _ = np.histogram(plans.values(table, X), np.array(edges) - 1e-9)
    counts[-1] += (plans.values(table, X) >= 100 - 1e-9).sum()
    assert [(b["from"], b["to"]) for b in group["bins"]] == list(pairwise(edges))
    assert [b["n"] for b in group["bins"]] == counts.tolist()
    assert all(b["low"] == b["n"] == b["high"] for b in group["bins"])
    assert sum(b["share"] for b in group["bins"]) == pytest.approx(1)
    assert group["value"] == group["low"] == group["high"] == table["x"][1].sum()


def test_a_statement_may_name_its_own_edges(table):
    ((group,),) = [s["groups"] for s in ask("hist(x, 25, 50.5)", table)]
    x = plans.values(table, X)
    assert [b["n"] for b in group["bins"]] == [
        (x < 25).sum(),
        ((x >= 25) & (x < 50.49)).sum(),
        (x > 50.49).sum(),
    ]
    assert [(b["from"], b["to"]) for b in group["bins"]] == [(0, 25), (25, 50.5), (50.5, 100)]


def test_the_codebooks_grid_is_the_one_that_is_counted_on(table):
    codebook = {
        **plans.CODEBOOK,
        "fields": [{**f, "grid": [30, 60]} if f["name"] == "x" else f for f in plans.CODEBOOK["fields"]],
    }
    ((group,),) = [s["groups"] for s in ask("histogram(x)", table, codebook=codebook)]
    assert [(b["from"], b["to"]) for b in group["bins"]] == [(0, 30), (30, 60), (60, 100)]


def test_the_levels_of_a_category_are_pandas_value_counts_in_each_group(table):
    (statement,) = ask("distribution(region) by arm", table)
    frame = pd.DataFrame({c: pd.Series(codes).where(present) for c, (codes, present) in table.items()})
    for code, group in enumerate(statement["groups"]):
        counts = frame[frame["arm"] == code]["region"].value_counts().sort_index()
        assert [(b["level"], b["n"]) for b in group["bins"]] == list(
            zip([level.label for level in REGION.levels], counts.tolist(), strict=True)
        )


def test_a_level_and_edges_may_follow_the_column(table):
    one, other = ask('histogram(x, "North West", 50)\nhistogram(x, 50) where region == "North West"', table)
    assert one == other
    assert (
        sum(b["n"] for b in one["groups"][0]["bins"])
        == (table["x"][1] & table["region"][1] & (table["region"][0] == 1)).sum()
    )


def test_all_bins_are_one_table_of_sensitivity_one():
    plan = compile("histogram(x)\nmedian(x)\nquantile(x, 0.1)\nboxplot(x)", [facts()], 10**6, "dp")
    (release,) = plan.releases
    assert (release.sensitivity, release.cells, release.scale) == (1, 12, 1)
    assert plan.uses == ((0,),) * 4


def test_small_bins_are_not_shown_and_hide_the_total_in_exact_mode():
    table = plans.table(np.random.default_rng(5), 300, missing=0)
    table["x"] = (np.where(np.arange(300) < 4, 990, table["x"][0] % 500), table["x"][1])
    ((group,),) = [s["groups"] for s in ask("histogram(x, 50, 90)", table, minimum=11)]
    assert [b["n"] for b in group["bins"]] == [295, 0, None]
    assert group["suppressed"] and group["value"] is None
    ((noised,),) = [s["groups"] for s in ask("histogram(x, 50, 90)", table, "dp", seed=2)]
    assert [b["n"] is None for b in noised["bins"]] == [False, True, True]
    assert noised["value"] is not None


def test_intervals_of_bins_and_total_hold_the_true_counts():
    rng = np.random.default_rng(8)
    held = total = runs = 0
    for seed in range(150):
        table = plans.table(rng, 700, missing=0)
        ((group,),) = [s["groups"] for s in ask("histogram(x, 30, 60, 80)", table, "dp", seed=seed)]
        truth = np.histogram(table["x"][0], [0, 300, 600, 800, 1001])[0]
        held += sum(b["low"] <= n <= b["high"] for b, n in zip(group["bins"], truth, strict=True))
        total += group["low"] <= 700 <= group["high"]
        runs += 1
    assert stats.binom.ppf(1e-6, 4 * runs, 0.95) <= held
    assert stats.binom.ppf(1e-6, runs, 0.94) <= total <= stats.binom.ppf(1 - 1e-6, runs, 0.99)


@pytest.mark.parametrize(
    ("program", "code", "word"),
    [
        ("histogram(x, 50, 40)", "bad_edges", "ascend"),
        ("histogram(x, 0, 40)", "bad_edges", "0 to 100 u"),
        ("histogram(x, 40, 200)", "bad_edges", "200 is not inside"),
        ("histogram(x, 40.05)", "bad_edges", "write 40.1"),
        ("histogram(arm, 1)", "wrong_type", "ask without them"),
        ("histogram(x) by y", "by_number", "makes no groups"),
        ("histogram(x, y)", "unknown_level", "y is a column"),
        ("histogram()", "wrong_arguments", "one column, and numbers may follow"),
    ],
)
def test_edges_that_cannot_be_are_refused_with_what_to_write(program, code, word):
    with pytest.raises(ProgramRejected) as caught:
        compile(program, [facts()], 10**6, "dp")
    assert caught.value.code == code
    assert word in str(caught.value)


PROGRAM = "histogram(x)\nhistogram(region) by arm"


@pytest.mark.parametrize("mode", ["dp", "exact"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_integers_give_finite_counts_under_the_same_keys(mode, data):
    dataset = facts()
    plan = compile(PROGRAM, [dataset], 10**6, mode)
    integers = any_integers(data, plan)
    said = figures(plan, [dataset], integers)
    assert skeleton(said) == skeleton(figures(plan, [dataset], [[0] * len(row) for row in integers]))
    assert finite(said)
    for group in (group for statement in said for group in statement["groups"]):
        assert group["value"] is not None or group["reason"]


def any_integers(data, plan):
    kind = data.draw(
        st.sampled_from(
            [st.integers(-50, 5000), st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, 12])]
        )
    )
    rows = []
    for release in plan.releases:
        width = release.values_per_cell(plan.mode)
        size = release.cells * width
        row = data.draw(st.lists(kind, min_size=size, max_size=size))
        if plan.mode == "exact":
            row[::width] = data.draw(
                st.lists(st.sampled_from([0, 1, 1, 1, 2]), min_size=release.cells, max_size=release.cells)
            )
        rows.append(row)
    return rows


def test_a_histogram_is_printed_bin_by_bin(table):
    out = answer({"mode": "exact", "statements": ask("histogram(region)", table)})
    assert "level" in out and "95 % interval" in out
    assert "North West" in out


def test_the_reference_and_the_plan_agree_that_every_patient_is_in_one_bin(table):
    dataset = facts()
    plan = compile("histogram(x)", [dataset], 10**6, "dp")
    assert sum(evaluate(plan, [dataset], [table])[0]) == table["x"][1].sum()
