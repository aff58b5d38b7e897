"""What noised integers become: rules that depend on released numbers alone."""

import json

import numpy as np
import pytest

from analytics.reference import evaluate
from analytics.statistics import figures
from tests.analytics.statistics import plans
from tests.analytics.statistics.plans import FIELDS

X, Y, ARM, REGION = FIELDS
ASKED = {
    "count()": plans.count(),
    "count() by region": plans.count(by=[plans.by("region", 4)], cohort=("present", "region")),
    'proportion(region, "North East")': plans.count(by=[plans.by("region", groups=((0,), (1, 2, 3)))]),
    "mean(x)": plans.moments(X),
    "sum(x)": plans.moments(X, 1),
    "var(x) by arm": plans.moments(X, by=[plans.by("arm", 2)]),
    "sd(x)": plans.moments(X),
    "se(x) by arm": plans.moments(X, by=[plans.by("arm", 2)]),
    "correlate(x, y)": plans.pair(X, Y),
    "correlate(arm, region)": plans.count(by=[plans.by("arm", 2), plans.by("region", 4)]),
}


def ask(text, table, seed=0, minimum=11):
    release = ASKED[text]
    plan = plans.plan(text, release, minimum=minimum)
    integers = evaluate(plan, plans.facts(), [table])
    return figures(plan, plans.facts(), plans.noised(np.random.default_rng(seed), plan, integers))[0]


def say(text, *integers, minimum=11, release=None):
    plan = plans.plan(text, release or ASKED[text], minimum=minimum)
    return figures(plan, plans.facts(), [list(integers)])[0]


@pytest.fixture
def table():
    return plans.table(np.random.default_rng(4), 800)


@pytest.mark.parametrize("text", ASKED)
def test_every_figure_has_a_value_inside_its_interval_and_tells_its_noise(text, table):
    for group in ask(text, table)["groups"]:
        assert group["low"] <= group["value"] <= group["high"]
        assert group["low"] < group["high"]
        assert group["level"] == 0.95
        assert group["n"] > 11
        assert all(group["noise_scale"][key] > 0 for key in ("released", "value", "n"))
        assert (group["suppressed"], group["reason"]) == (False, None)


@pytest.mark.parametrize("text", ASKED)
def test_the_same_integers_give_the_same_bytes(text, table):
    assert json.dumps(ask(text, table)) == json.dumps(ask(text, table))


@pytest.mark.parametrize("text", ASKED)
def test_more_noise_makes_a_longer_interval(text, table):
    release = ASKED[text]
    lengths = []
    for micro in (100_000, 1_000_000, 10_000_000):
        plan = plans.plan(text, plans.at(release, micro))
        groups = figures(plan, plans.facts(), evaluate(plan, plans.facts(), [table]))[0]["groups"]
        lengths.append(np.mean([g["high"] - g["low"] for g in groups]))
    assert lengths[0] > lengths[1] > 0.97 * lengths[2]  # once sampling rules, the draws wobble a little


@pytest.mark.parametrize(("released", "shown"), [(10, None), (11, 11), (12, 12), (0, None), (-5, None)])
def test_a_count_is_shown_from_the_minimum_cohort_on_by_its_noised_value(released, shown):
    (group,) = say("count()", released)["groups"]
    assert group["value"] == group["n"] == shown
    assert group["suppressed"] is (shown is None)
    if shown is None:
        assert group["low"] is group["high"] is None
        assert group["reason"] == (
            "noised cohort below the minimum cohort of 11; set by the provider's policy; ask for a wider cohort"
        )


@pytest.mark.parametrize("n", [10, 11, 12])
def test_a_mean_is_shown_from_the_minimum_cohort_on_by_its_noised_n(n):
    m = 2**9  # everyone in the middle of the scale: all mass in the middle of the simplex
    (group,) = say("mean(x)", n * m * m, 2 * n * m * m, n * m * m)["groups"]
    assert group["suppressed"] is (n < 11)
    assert group["n"] == (None if n < 11 else n)


def test_the_small_cells_of_a_table_are_null_beside_the_noised_total():
    (group,) = say("correlate(arm, region)", 50, 60, 10, 11, 40, 50, 12, -2)["groups"]
    assert group["table"]["counts"] == [[50, 60, None, 11], [40, 50, 12, None]]
    assert group["n"] == 231
    assert not group["suppressed"]


@pytest.mark.parametrize(("released", "low", "high"), [(30, 27, 33), (2, 0, 5), (4100, 4096, 4096)])
def test_an_interval_of_a_count_stays_between_nobody_and_capacity(released, low, high):
    (group,) = say("count()", released, minimum=1)["groups"]
    assert (group["low"], group["high"]) == (low, high)


def test_integers_that_no_table_and_noise_can_give_are_unavailable_not_suppressed():
    far = 2**62
    for text, integers in (("count()", [far]), ("mean(x)", [far, far, far]), ("correlate(x, y)", [-far] * 9)):
        (group,) = say(text, *integers)["groups"]
        assert group["value"] is None
        assert not group["suppressed"]
        assert group["reason"] == "unavailable: the noise outweighs the cohort"


def test_a_mean_beyond_the_bounds_is_held_at_the_bound():
    m = 2**9
    b = [-(m * m), -(m * m), 50 * 4 * m * m]
    (group,) = say("mean(x)", *b)["groups"]
    assert group["value"] == group["high"] == 100.0
    assert 90 < group["low"] < 100


def test_a_negative_noised_variance_is_held_at_zero():
    m = 2**9
    n = 60
    (group,) = say("sd(x)", n * m * m + 1, 2 * n * m * m + 4 * m * m, n * m * m + 1)["groups"]
    assert group["value"] == group["low"] == 0.0
    assert 0 < group["high"] < 50


def test_there_is_no_v_where_noise_alone_looks_like_one_but_p_stays():
    text = "correlate(arm, region)"
    seen = [20, 3, 9, 2, 2, 14, 1, 9]
    (loud,) = say(text, *seen, release=plans.at(ASKED[text], 300_000))["groups"]
    (quiet,) = say(text, *seen, release=plans.at(ASKED[text], 2_000_000))["groups"]
    assert loud["value"] is loud["low"] is loud["cramers_v"] is None
    assert loud["reason"] and not loud["suppressed"]
    assert loud["p"] > quiet["p"] and loud["chi2"] == quiet["chi2"] > 0
    assert 0 < quiet["low"] < quiet["cramers_v"] < quiet["high"] < 1


def test_p_is_large_for_noise_and_small_for_a_true_association():
    noise_only = [80, 20, 83, 18, 79, 22, 81, 19]
    (group,) = say("correlate(arm, region)", *[noise_only[i] for i in (0, 2, 4, 6, 1, 3, 5, 7)])["groups"]
    assert group["p"] > 0.05
    assert group["low"] == 0.0
    (group,) = say("correlate(arm, region)", 150, 20, 50, 80, 20, 150, 60, 70)["groups"]
    assert group["p"] < 0.01
    assert group["low"] > 0.2


def test_suppressed_and_shown_groups_have_equal_keys():
    for text, release in ASKED.items():
        width = release.values_per_cell("dp")
        small = say(text, *([0] * release.cells * width))
        far = say(text, *([2**62] * release.cells * width))
        some = ask(text, plans.table(np.random.default_rng(4), 800))
        for one, other, third in zip(small["groups"], far["groups"], some["groups"], strict=True):
            assert list(one) == list(other) == list(third)
            assert one["by"] == other["by"] == third["by"]


def test_empty_constant_and_all_missing_columns_change_no_key():
    rng = np.random.default_rng(6)
    ordinary, empty, constant, missing = (plans.table(rng, n) for n in (500, 0, 500, 500))
    constant["x"] = (np.full(500, 1000), np.ones(500, dtype=bool))
    missing["x"] = (np.zeros(500, dtype=int), np.zeros(500, dtype=bool))
    for text in ASKED:
        shapes = {
            json.dumps(skeleton(ask(text, table, seed)))
            for seed in range(3)
            for table in (ordinary, empty, constant, missing)
        }
        assert len(shapes) == 1


def test_a_statement_says_text_columns_unit_and_epsilon(table):
    statement = ask('proportion(region, "North East")', table)
    assert statement["columns"] == ["region"]
    assert statement["level"] == "North East"
    assert statement["epsilon"] == "1.000000"
    assert ask("mean(x)", table)["unit"] == "u"
    assert ask("var(x) by arm", table)["unit"] == "u squared"
    assert ask("count()", table)["unit"] is None
    assert "resolution" not in ask("mean(x)", table)


def test_a_condition_is_told_in_its_canonical_text():
    statement = say("count() where arm == imatinib", 40, release=plans.count())
    assert statement["where"] == "arm == imatinib"
    assert say("count()", 40)["where"] is None


def test_integers_of_another_shape_are_an_error():
    plan = plans.plan("count() by region", ASKED["count() by region"])
    for integers in ([], [[1, 2, 3]], [[1, 2, 3, 4, 5]], [[1] * 4, [1]]):
        with pytest.raises(ValueError):
            figures(plan, plans.facts(), integers)


def skeleton(value):
    """Keys and lengths: what may not depend on a patient."""
    if isinstance(value, dict):
        return {
            key: value[key] if key in ("by", "rows", "columns") else skeleton(value[key]) for key in value
        }
    if isinstance(value, list):
        return [skeleton(item) for item in value]
    return None
