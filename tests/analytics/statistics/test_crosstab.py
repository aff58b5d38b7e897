"""Contingency tables and Fisher's test, against scipy and pandas."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analytics.query.errors import ProgramRejected
from analytics.query.plan import describe
from analytics.render import answer
from tests.analytics.statistics import trials
from tests.analytics.statistics.test_dp import skeleton
from tests.analytics.statistics.test_risk import near, only, zeroed
from tests.analytics.statistics.trials import Asking, ask


@pytest.fixture(params=[1, 2])
def table(request):
    return trials.table(np.random.default_rng(request.param), 150 * request.param)


def test_two_columns_have_counts_margins_chi_square_and_v(table):
    group = only(ask("crosstab(response, dose)", table))
    counts = trials.counts(table, "response", "dose")
    seen = stats.chi2_contingency(counts, correction=False)
    assert group["table"]["counts"] == counts.tolist()
    assert group["margins"] == {
        "row_sums": counts.sum(1).tolist(),
        "column_sums": counts.sum(0).tolist(),
        "all": int(counts.sum()),
    }
    assert group["value"] == group["low"] == group["high"] == counts.sum()
    assert (group["chi2"], group["df"], group["p"]) == near((seen.statistic, seen.dof, seen.pvalue))
    assert group["cramers_v"] == near(stats.contingency.association(counts))
    assert group["layers"] == []
    assert group["yates"] == {"chi2": None, "p": None}


def test_a_table_of_two_by_two_has_yatess_correction_beside(table):
    group = only(ask("contingency(death, arm)", table))
    counts = trials.counts(table, "death", "arm")
    for correction, told in ((False, group), (True, group["yates"])):
        seen = stats.chi2_contingency(counts, correction=correction)
        assert (told["chi2"], told["p"]) == near((seen.statistic, seen.pvalue))


def test_three_columns_have_a_layer_for_each_level_of_the_third_as_pandas_counts_them(table):
    group = only(ask("table(response, dose, site)", table))
    counts = trials.counts(table, "response", "dose", "site")
    frame = pd.DataFrame({c: pd.Series(codes).where(present) for c, (codes, present) in table.items()})
    frame = frame.dropna(subset=["response", "dose", "site"])
    crossed = pd.crosstab(frame["response"], frame["dose"], margins=True)
    assert group["table"]["counts"] == crossed.iloc[:-1, :-1].to_numpy().tolist()
    assert group["margins"]["row_sums"] == crossed.iloc[:-1, -1].tolist()
    assert group["margins"]["all"] == len(frame)
    for k, (layer, name) in enumerate(zip(group["layers"], ("Berlin", "Paris", "Rome"), strict=True)):
        assert layer["level"] == name
        assert layer["counts"] == counts[:, :, k].tolist()
        assert layer["margins"]["column_sums"] == counts[:, :, k].sum(0).tolist()
    assert group["chi2"] is None


def test_a_small_cell_of_exact_mode_takes_the_margins_with_it():
    group = only(ask("crosstab(arm, death)", zeroed(40, 3, 30, 20), minimum=11))
    assert group["suppressed"]
    assert group["table"]["counts"] == [[40, None], [30, 20]]
    assert group["margins"] == {"row_sums": [None, None], "column_sums": [None, None], "all": None}
    assert group["chi2"] is None and group["yates"]["p"] is None


def test_small_noised_cells_are_null_and_margins_add_what_was_released():
    asking = Asking("crosstab(arm, death)", "dp", minimum=11)
    group = only(asking.said([[40, 3, 30, -2]])[0]["groups"])
    assert group["table"]["counts"] == [[40, None], [30, None]]
    assert group["margins"] == {"row_sums": [43, 28], "column_sums": [70, None], "all": 71}
    assert group["low"] < group["value"] == 71 < group["high"]
    assert group["p"] is not None


def test_a_table_is_charged_once_whatever_its_size():
    plan = Asking("crosstab(response, dose, site) by arm", "dp").plan
    assert [(r.cells, r.sensitivity) for r in plan.releases] == [(54, 1)]


def test_a_table_is_previewed_and_read(table):
    asking = Asking("crosstab(arm, death, site)", "dp")
    (told,) = describe(asking.plan, asking.facts)["statements"]
    assert told["expected_error"]["unit"] == "patients in each cell"
    text = answer({"mode": "dp", "statements": asking.of(table, np.random.default_rng(1))})
    assert "Berlin" in text and "all" in text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("crosstab(arm, follow_up)", "wrong_type"),
        ("crosstab(arm, arm)", "duplicate"),
        ("crosstab(arm, death) by arm", "duplicate"),
        ("crosstab(arm)", "wrong_arguments"),
        ("fisher(arm, dose)", "wrong_type"),
        ("fisher(arm, follow_up)", "wrong_type"),
        ("fisher(arm, arm)", "duplicate"),
    ],
)
def test_what_makes_no_table_is_refused_by_name(text, code):
    with pytest.raises(ProgramRejected) as refused:
        Asking(text)
    assert refused.value.code == code


def test_fishers_test_is_scipys_with_the_sample_odds_ratio(table):
    group = only(ask("fisher(arm, death)", table))
    counts = trials.counts(table, "arm", "death")
    seen = stats.fisher_exact(counts)
    assert (group["value"], group["p"]) == near((seen.statistic, seen.pvalue))
    assert group["low"] < group["value"] < group["high"]
    assert group["table"]["counts"] == counts.tolist()


def test_fishers_test_keeps_its_p_where_a_zero_leaves_no_odds_ratio():
    group = only(ask("fisher(arm, death)", zeroed(10, 0, 4, 6)))
    assert group["value"] is None and "zero" in group["reason"]
    assert group["p"] == near(stats.fisher_exact([[10, 0], [4, 6]]).pvalue)


def test_fishers_test_is_refused_with_noise_before_anything_is_charged():
    with pytest.raises(ProgramRejected) as refused:
        Asking("fisher(arm, death)", "dp")
    assert refused.value.code == "exact_only"
    assert "odds_ratio" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("crosstab(arm, death)", "exact"),
        ("crosstab(arm, death)", "dp"),
        ("crosstab(arm, dose, site)", "exact"),
        ("crosstab(arm, dose, site)", "dp"),
        ("fisher(arm, death)", "exact"),
    ],
)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_integers_give_a_figure_or_a_reason_under_the_same_keys(text, mode, data):
    asking = Asking(text, mode, minimum=data.draw(st.sampled_from([1, 11])))
    size = asking.plan.releases[0].cells * asking.plan.releases[0].values_per_cell(mode)
    kind = data.draw(
        st.sampled_from([st.integers(-50, 900), st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, 2])])
    )
    integers = data.draw(st.lists(kind, min_size=size, max_size=size))
    if mode == "exact":
        integers[::2] = [data.draw(st.sampled_from([0, 1, 1, 1])) for _ in integers[::2]]
    (statement,) = asking.said([integers])
    (nothing,) = asking.said([[0] * size])
    assert skeleton(statement) == skeleton(nothing)
    json.dumps(statement, allow_nan=False)
    for group in statement["groups"]:
        assert group["value"] is not None or group["reason"]
