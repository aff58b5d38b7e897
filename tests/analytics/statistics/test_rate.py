"""Incidence rates and their ratios, against scipy, and with noise."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analytics.query.errors import ProgramRejected
from analytics.query.plan import describe
from analytics.render import answer
from tests.analytics.statistics import trials
from tests.analytics.statistics.test_coverage import assert_rate
from tests.analytics.statistics.test_dp import skeleton
from tests.analytics.statistics.test_risk import near, only
from tests.analytics.statistics.trials import Asking, ask


@pytest.fixture(params=[1, 2, 3])
def table(request):
    return trials.table(np.random.default_rng(request.param), 80 * request.param**2)


def observed(table, *columns):
    """Events and months of each combination of codes."""
    used = ("death", "follow_up", *columns)
    whole = np.logical_and.reduce([table[name][1] for name in used])
    if not columns:
        return table["death"][0][whole].sum(), table["follow_up"][0][whole].sum() / 10
    shape = [trials.SIZES[name] for name in columns]
    events, time = np.zeros(shape), np.zeros(shape)
    at = tuple(table[name][0][whole] for name in columns)
    np.add.at(events, at, table["death"][0][whole])
    np.add.at(time, at, table["follow_up"][0][whole] / 10)
    return events, time


def test_a_rate_is_events_per_time_with_garwoods_interval(table):
    events, time = observed(table)
    for text in ("rate(follow_up)", "incidence_rate(death, follow_up)", "rate(death, follow_up, dead)"):
        group = only(ask(text, table))
        assert group["value"] == near(events / time)
        low, high = stats.chi2.ppf(0.025, 2 * events) / 2, stats.chi2.ppf(0.975, 2 * events + 2) / 2
        assert (group["low"], group["high"]) == near((low / time, high / time))
        assert (group["events"], group["person_time"]) == near((events, time))
        assert group["per"] == "months"


def test_a_rate_of_each_arm_stands_beside_its_ratio_to_the_first(table):
    events, time = observed(table, "dose")
    groups = ask("rate(death, follow_up, dose)", table)
    assert [group["by"] for group in groups] == [{"dose": name} for name in ("low", "middle", "high")]
    for k, group in enumerate(groups):
        assert group["value"] == near(events[k] / time[k])
        if k == 0:
            assert set(group["ratio"]) >= {"value", "low", "high", "p", "reason"}
            assert not any(value is not None for value in group["ratio"].values())
            continue
        seen = stats.binomtest(int(events[k]), int(events[k] + events[0]), time[k] / (time[k] + time[0]))
        ends = seen.proportion_ci(method="exact")
        odds = time[0] / time[k]
        assert group["ratio"]["value"] == near(events[k] / events[0] * odds)
        assert group["ratio"]["p"] == near(seen.pvalue)
        assert (group["ratio"]["low"], group["ratio"]["high"]) == near(
            (ends.low / (1 - ends.low) * odds, ends.high / (1 - ends.high) * odds)
        )


def test_a_ratio_over_strata_is_mantel_and_haenszels(table):
    group = only(ask("rate_ratio(death, follow_up, arm, site)", table))
    events, time = observed(table, "site", "arm")
    r = s = v = 0.0
    for (d0, d1), (t0, t1) in zip(events, time, strict=True):
        r += d1 * t0 / (t0 + t1)
        s += d0 * t1 / (t0 + t1)
        v += (d0 + d1) * t0 * t1 / (t0 + t1) ** 2
    assert group["value"] == near(r / s)
    assert group["p"] == near(stats.chi2.sf((r - s) ** 2 / v, 1))
    assert group["high"] == near(r / s * np.exp(1.959963984540054 * np.sqrt(v / (r * s))))
    crude = ask("irr(death, follow_up, arm) where site == Paris", table)
    assert group["strata"][1]["value"] == near(only(crude)["value"])
    assert [arm["events"] for arm in group["arms"]] == events.sum(0).tolist()


def test_the_interval_of_a_ratio_over_strata_is_that_of_many_trials():
    rng, asking = np.random.default_rng(2), Asking("irr(death, follow_up, arm, site)")
    logs, halves = [], []
    for _ in range(200):
        group = only(asking.of(cohort(rng, 240, 1.5), None)[0]["groups"])
        logs.append(np.log(group["value"]))
        halves.append(np.log(group["high"] / group["low"]) / 2 / 1.96)
    assert np.mean(halves) == pytest.approx(np.std(logs), rel=0.15)
    assert np.mean(logs) == pytest.approx(np.log(1.5), abs=0.06)


def test_events_and_times_come_of_one_table_charged_once():
    plan = Asking(
        "rate(follow_up) by arm\nrate_ratio(death, follow_up, arm)\nrate(death, follow_up, arm)", "dp"
    ).plan
    assert {release.sensitivity for release in plan.releases} == {512}
    assert plan.uses == ((0,), (0,), (0,))


def test_no_event_has_an_interval_and_no_ratio():
    rng = np.random.default_rng(1)
    arm = np.arange(60) % 2
    table = trials.table(rng, 60, death=arm, arm=arm, follow_up=np.full(60, 100))
    placebo, imatinib = ask("rate(death, follow_up, arm)", table)
    assert (placebo["value"], placebo["low"]) == (0, 0)
    assert placebo["high"] == near(-np.log(0.025) / 300)
    assert imatinib["ratio"]["value"] is None
    assert imatinib["ratio"]["reason"].startswith("the reference arm has no event")
    assert imatinib["ratio"]["p"] == near(stats.binomtest(30, 30, 0.5).pvalue)
    nobody = trials.table(rng, 60, death=arm, arm=arm, follow_up=np.zeros(60, dtype=int))
    assert only(ask("rate(follow_up)", nobody))["reason"] == "nobody was under observation for any time"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("rate(death)", "wrong_arguments"),
        ("rate(follow_up, arm)", "wrong_type"),
        ("rate(death, arm)", "wrong_type"),
        ("rate(response, follow_up)", "level_needed"),
        ("rate(death, follow_up, death)", "duplicate"),
        ("rate_ratio(death, follow_up)", "wrong_arguments"),
        ("rate_ratio(death, follow_up, arm, follow_up)", "wrong_type"),
        ("rate_ratio(follow_up, death, arm)", "wrong_type"),
    ],
)
def test_what_makes_no_rate_is_refused_by_name(text, code):
    with pytest.raises(ProgramRejected) as refused:
        Asking(text)
    assert refused.value.code == code


def cohort(rng, n, ratio):
    """Exponential times to death at 0.02 to 0.04 a month in each site, `ratio` times that on imatinib; 24 months at most."""
    arm, site = rng.integers(0, 2, n), rng.integers(0, 3, n)
    death = rng.exponential(1 / (np.array([0.02, 0.03, 0.04])[site] * np.where(arm, ratio, 1)))
    time = np.rint(np.minimum(death, 24) * 10).astype(int)
    return trials.table(rng, n, arm=arm, site=site, death=death <= 24, follow_up=time)


@pytest.mark.parametrize(
    ("text", "n", "times"), [("rate(follow_up) where site == Paris and arm == placebo", 600, 60),
                             ("irr(death, follow_up, arm) where site == Rome", 400, 60),
                             ("irr(death, follow_up, arm, site)", 500, 40)],
)  # fmt: skip
def test_intervals_hold_the_truth_with_noise(text, n, times):
    held, shown = runs(text, n, times, 10**6)
    assert shown >= 0.9 * times
    assert_rate(held, shown, low=0.92, high=0.995)


@pytest.mark.nightly
@pytest.mark.parametrize("micro", [500_000, 10**6, 2 * 10**6])
@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("rate(follow_up) where site == Paris and arm == placebo", 600),
        ("irr(death, follow_up, arm, site)", 400),
    ],
)
def test_intervals_hold_the_truth_with_noise_in_two_thousand_runs(text, n, micro):
    held, shown = runs(text, n, 2000, micro)
    assert shown >= 1000
    assert_rate(held, shown, low=0.92, high=0.995)


def runs(text, n, times, micro):
    rng, asking = np.random.default_rng(9), Asking(text, "dp", micro=micro, minimum=11)
    truth = 0.03 if text.startswith("rate(") else 1.5
    groups = [only(asking.of(cohort(rng, n, 1.5), rng)[0]["groups"]) for _ in range(times)]
    shown = [group for group in groups if group["value"] is not None]
    return sum(group["low"] <= truth <= group["high"] for group in shown), len(shown)


def test_a_test_of_equal_rates_rejects_as_rarely_as_it_says_under_noise():
    rng = np.random.default_rng(10)
    asking = Asking("irr(death, follow_up, arm)\nirr(death, follow_up, arm, site)", "dp", micro=10**6)
    said = [asking.of(cohort(rng, 150, 1.0), rng) for _ in range(50)]
    for k in (0, 1):
        p = np.array([statements[k]["groups"][0]["p"] for statements in said], dtype=float)
        assert (p <= 0.05).sum() <= stats.binom.ppf(1 - 1e-6, 50, 0.06)


def test_a_preview_says_the_noise_of_a_rate_as_it_will_be():
    asking = Asking("rate(follow_up)", "dp", micro=200_000)
    error = describe(asking.plan, asking.facts)["statements"][0]["expected_error"]
    n, rng = error["n"], np.random.default_rng(3)
    table = trials.table(rng, n, death=np.arange(n) % 5 == 0, follow_up=np.full(n, 256))
    drawn = [only(asking.of(table, rng)[0]["groups"])["value"] for _ in range(100)]
    assert error["half_width"] == pytest.approx(1.96 * np.log(drawn).std(), rel=0.35)
    text = answer({"mode": "dp", "statements": asking.of(table, rng)})
    assert "rate per months" in text


@pytest.mark.parametrize("mode", ["exact", "dp"])
@pytest.mark.parametrize("text", ["rate(follow_up)", "rate(death, follow_up, dose)", "irr(death, follow_up, arm)",
                                  "irr(death, follow_up, arm, site)"])  # fmt: skip
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_any_integers_give_a_figure_or_a_reason_under_the_same_keys(text, mode, data):
    asking = Asking(text, mode, minimum=data.draw(st.sampled_from([1, 11])))
    width = asking.plan.releases[0].values_per_cell(mode)
    size = asking.plan.releases[0].cells * width
    kind = data.draw(
        st.sampled_from(
            [st.integers(-50, 900), st.integers(0, 2**20), st.integers(-(2**63), 2**63 - 1), st.just(0)]
        )
    )
    integers = data.draw(st.lists(kind, min_size=size, max_size=size))
    if mode == "exact":
        integers[::width] = [data.draw(st.sampled_from([0, 1, 1, 1])) for _ in integers[::width]]
    (statement,) = asking.said([integers])
    (nothing,) = asking.said([[0] * size])
    assert skeleton(statement) == skeleton(nothing)
    json.dumps(statement, allow_nan=False)
    for group in statement["groups"]:
        assert group["value"] is not None or group["reason"]
        if group["low"] is not None and group["high"] is not None:
            assert group["low"] <= group["value"] <= group["high"]
