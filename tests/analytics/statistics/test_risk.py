"""Effects of an arm on an event, against scipy and statsmodels, and with noise."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.datasets import china_smoking
from statsmodels.stats.contingency_tables import StratifiedTable, Table2x2
from statsmodels.stats.proportion import confint_proportions_2indep

from analytics.query.errors import ProgramRejected
from analytics.query.language import parse
from analytics.query.plan import describe
from analytics.render import answer
from tests.analytics.statistics import trials
from tests.analytics.statistics.test_coverage import assert_rate
from tests.analytics.statistics.test_dp import skeleton
from tests.analytics.statistics.trials import Asking, ask
from tests.providers.gist import FOLDER as GIST

MEASURES = {
    "risk_difference": ("diff", "newcomb"),
    "risk_ratio": ("ratio", "log"),
    "odds_ratio": ("odds-ratio", "logit"),
}
ASKED = [
    "risk_difference(death, arm)",
    "risk_ratio(response, dose, complete)",
    "odds_ratio(death, arm) by smoker",
    "risk_difference(death, arm, site)",
    "risk_ratio(death, dose, site, smoker)",
    "odds_ratio(smoker, arm, site, no)",
    "mantel_haenszel(death, arm, site)",
]  # fmt: skip


def near(value):
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def only(groups):
    (group,) = groups
    return group


@pytest.fixture(params=[1, 2, 3])
def table(request):
    return trials.table(np.random.default_rng(request.param), 90 * request.param**2)


@pytest.mark.parametrize("name", MEASURES)
def test_one_table_has_the_interval_of_statsmodels_and_the_uncorrected_chi_square(name, table):
    compare, method = MEASURES[name]
    group = only(ask(f"{name}(death, arm)", table))
    (d, c), (b, a) = trials.counts(table, "arm", "death")
    ends = confint_proportions_2indep(a, a + b, c, c + d, method=method, compare=compare)
    truth = {
        "risk_difference": a / (a + b) - c / (c + d),
        "risk_ratio": (a / (a + b)) / (c / (c + d)),
        "odds_ratio": a * d / (b * c),
    }
    seen = stats.chi2_contingency([[a, b], [c, d]], correction=False)
    assert group["value"] == near(truth[name])
    assert (group["low"], group["high"]) == near(ends)
    assert (group["chi2"], group["df"], group["p"]) == near((seen.statistic, 1, seen.pvalue))
    assert group["by"] == {"arm": "imatinib against placebo"}
    assert group["n"] == a + b + c + d
    assert [(x["arm"], x["events"], x["n"]) for x in group["arms"]] == [
        ("placebo", c, c + d),
        ("imatinib", a, a + b),
    ]


def test_each_further_arm_is_compared_with_the_first(table):
    groups = ask("odds_ratio(response, dose, complete) by smoker", table)
    found = trials.counts(table, "smoker", "dose", "response")
    assert [tuple(group["by"].values()) for group in groups] == [
        (smoker, f"{dose} against low") for smoker in ("yes", "no") for dose in ("middle", "high")
    ]
    for group, (s, k) in zip(groups, [(0, 1), (0, 2), (1, 1), (1, 2)], strict=True):
        a, c = found[s, k, 2], found[s, 0, 2]
        b, d = found[s, k, :2].sum(), found[s, 0, :2].sum()
        assert group["value"] == near(Table2x2(np.array([[a, b], [c, d]])).oddsratio)


def stratified(table, *strata):
    """Tables (strata, 2, 2) with the compared arm and the event first."""
    found = trials.counts(table, *strata, "arm", "death")
    return found.reshape(-1, 2, 2)[:, ::-1, ::-1]


def test_mantel_haenszel_is_statsmodels(table):
    group = only(ask("mh(death, arm, site, smoker)", table))
    oracle = StratifiedTable(list(stratified(table, "site", "smoker")))
    tested = oracle.test_null_odds(correction=False)
    assert group["value"] == near(oracle.oddsratio_pooled)
    assert (group["low"], group["high"]) == near(oracle.oddsratio_pooled_confint())
    assert (group["chi2"], group["p"]) == near((tested.statistic, tested.pvalue))
    equal, tarone = oracle.test_equal_odds(), oracle.test_equal_odds(adjust=True)
    told = group["heterogeneity"]
    assert (told["chi2"], told["df"], told["p"]) == near((equal.statistic, 5, equal.pvalue))
    assert (group["tarone"]["chi2"], group["tarone"]["p"]) == near((tarone.statistic, tarone.pvalue))
    assert only(ask("odds_ratio(death, arm, site, smoker)", table))["value"] == group["value"]


def test_smoking_and_lung_cancer_in_eight_cities_of_china():
    # Liu, Cancer Epidemiol. Biomarkers Prev. 1 (1992), as statsmodels ships it; cities by place here.
    data = china_smoking.load_pandas().data
    frame = data[
        ["smoking_yes_cancer_yes", "smoking_yes_cancer_no", "smoking_no_cancer_yes", "smoking_no_cancer_no"]
    ]
    tables = frame.to_numpy().reshape(-1, 2, 2)
    oracle = StratifiedTable(list(tables.astype(float)))
    # Arm x death: the exposed are the second arm, the dead the event, which is released first.
    program = Asking("mh(death, arm, city)")
    integers = [x for (yes, no) in tables for pair in (no, yes) for n in pair for x in (1, int(n))]
    group = only(program.said([integers])[0]["groups"])
    assert group["value"] == near(oracle.oddsratio_pooled) == pytest.approx(2.174, abs=5e-4)
    assert (group["low"], group["high"]) == near(oracle.oddsratio_pooled_confint())
    assert (group["low"], group["high"]) == pytest.approx((1.984, 2.383), abs=5e-4)
    assert group["heterogeneity"]["chi2"] == pytest.approx(5.200, abs=5e-4)
    assert group["heterogeneity"]["p"] == pytest.approx(0.636, abs=5e-4)


@pytest.mark.background
@pytest.mark.skipif(
    not GIST.is_dir(), reason="the background folder with the GIST files is not beside the project"
)
def test_deaths_by_arm_within_performance_status_of_a_real_trial_are_those_of_statsmodels():
    rows = pd.read_csv(GIST / "syn_a_ident.csv", usecols=["DTH_C", "TRTN", "PERFST_C"])
    rows = rows[rows["TRTN"].isin([1, 2]) & rows["PERFST_C"].isin([1, 2, 3])]
    table = trials.table(
        np.random.default_rng(0),
        len(rows),
        arm=rows["TRTN"].to_numpy(dtype=int) - 1,
        death=(rows["DTH_C"] == 1).to_numpy(dtype=int),
        site=rows["PERFST_C"].to_numpy(dtype=int) - 1,
    )
    assert len(rows) > 500
    group = only(ask("mh(death, arm, site)", table))
    oracle = StratifiedTable([t.astype(float) for t in stratified(table, "site") if t.sum(1).all()])
    assert group["value"] == near(oracle.oddsratio_pooled)
    assert group["p"] == near(oracle.test_null_odds(correction=False).pvalue)


def test_a_pooled_risk_ratio_is_statsmodels_and_its_variance_that_of_many_trials():
    rng = np.random.default_rng(8)
    program = Asking("risk_ratio(death, arm, site)\nrisk_difference(death, arm, site)")
    logs, differences, half_log, half = [], [], [], []
    for _ in range(250):
        site, arm = rng.integers(0, 3, 240), rng.integers(0, 2, 240)
        risk = np.array([0.15, 0.3, 0.4])[site] * np.where(arm, 1.5, 1)
        table = trials.table(rng, 240, site=site, arm=arm, death=rng.random(240) < risk)
        ratio, difference = (statement["groups"][0] for statement in program.of(table))
        assert ratio["value"] == near(StratifiedTable(list(stratified(table, "site"))).riskratio_pooled)
        logs.append(math.log(ratio["value"]))
        differences.append(difference["value"])
        half_log.append(math.log(ratio["high"] / ratio["low"]) / 2 / 1.96)
        half.append((difference["high"] - difference["low"]) / 2 / 1.96)
    assert np.mean(half_log) == pytest.approx(np.std(logs), rel=0.15)
    assert np.mean(half) == pytest.approx(np.std(differences), rel=0.15)


def test_a_pooled_risk_difference_weighs_strata_by_the_harmonic_mean_of_their_arms(table):
    group = only(ask("rd(death, arm, site)", table))
    top = below = 0.0
    for (a, b), (c, d) in stratified(table, "site"):
        weight = (a + b) * (c + d) / (a + b + c + d)
        top += weight * (a / (a + b) - c / (c + d))
        below += weight
    assert group["value"] == near(top / below)
    assert [stratum["stratum"] for stratum in group["strata"]] == [
        {"site": name} for name in ("Berlin", "Paris", "Rome")
    ]
    for stratum, ((a, b), (c, d)) in zip(group["strata"], stratified(table, "site"), strict=True):
        assert stratum["value"] == near(a / (a + b) - c / (c + d))


def test_a_confounded_effect_goes_away_within_strata():
    # Paris treats the sick ones with the new drug: dead more often in either arm there, and no effect anywhere.
    rng = np.random.default_rng(3)
    site = rng.integers(0, 2, 4000)
    arm = rng.random(4000) < np.where(site, 0.8, 0.2)
    table = trials.table(rng, 2000, **{
        name: codes[:2000] for name, codes in
        {"site": site, "arm": arm.astype(int), "death": (rng.random(4000) < np.where(site, 0.6, 0.2)).astype(int)}.items()
    })  # fmt: skip
    crude, pooled = only(ask("odds(death, arm)", table)), only(ask("odds(death, arm, site)", table))
    assert crude["low"] > 1.5
    assert pooled["low"] < 1 < pooled["high"]


def test_the_event_is_the_level_named_last_or_the_one_that_the_codebook_names():
    facts = [trials.facts()]

    def canonical(text):
        return trials.compile(text, facts, 10**6, "dp").statements[0]

    assert canonical("rr(death, arm)") == "risk_ratio(death, arm, dead)"
    assert canonical("rr(smoker, arm, site)") == "risk_ratio(smoker, arm, site, yes)"
    assert canonical("rr(death, arm, site, alive)") == "risk_ratio(death, arm, site, alive)"
    assert (
        canonical("rr(response, arm, Site, dose, complete)")
        == "risk_ratio(response, arm, site, dose, complete)"
    )
    assert canonical('relative_risk("death", arm, "1")') == "risk_ratio(death, arm, dead)"
    for text in ("rr(death, arm)", "rr(smoker, arm, site)"):
        once = canonical(text)
        assert canonical(once) == once
    asked = parse("risk_ratio(death, arm, site, alive)").statements[0]
    assert ([name.text for name in asked.columns], asked.level.text) == (["death", "arm", "site"], "alive")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("rr(response, arm)", "level_needed"),
        ("rr(response, arm, everything)", "unknown_level"),
        ("rr(follow_up, arm)", "wrong_type"),
        ("rr(death, follow_up)", "wrong_type"),
        ("rr(death, arm, follow_up)", "wrong_type"),
        ("rr(death, death)", "duplicate"),
        ("rr(death, arm, arm)", "duplicate"),
        ("rr(death, arm) by arm", "duplicate"),
        ("rr(death)", "wrong_arguments"),
        ("mh(death, arm)", "no_strata"),
    ],
)
def test_what_makes_no_effect_is_refused_by_name(text, code):
    with pytest.raises(ProgramRejected) as refused:
        Asking(text)
    assert refused.value.code == code


def test_three_measures_of_one_effect_share_one_table():
    plan = Asking("rd(death, arm)\nrr(death, arm)\nodds(death, arm)", "dp").plan
    assert len(plan.releases) == 1
    assert plan.releases[0].sensitivity == 1
    assert plan.uses == ((0,), (0,), (0,))


def zeroed(*cells):
    """Rows with these numbers of (placebo alive, placebo dead, imatinib alive, imatinib dead)."""
    arm = np.repeat([0, 0, 1, 1], cells)
    death = np.repeat([0, 1, 0, 1], cells)
    return trials.table(np.random.default_rng(1), sum(cells), arm=arm, death=death)


def test_a_zero_gets_one_half_and_says_so():
    table = zeroed(20, 0, 15, 5)
    odds, ratio, difference = (only(ask(f"{name}(death, arm)", table)) for name in ("odds", "rr", "rd"))
    assert odds["value"] == near(5.5 * 20.5 / (15.5 * 0.5))
    assert ratio["value"] == near((5.5 / 21) / (0.5 / 21))
    assert difference["value"] == near(0.25)
    assert (odds["added"], ratio["added"], difference["added"]) == (0.5, 0.5, 0)


def test_where_nobody_has_the_event_a_ratio_has_a_reason_and_a_difference_is_zero():
    table = zeroed(20, 0, 20, 0)
    for name in ("odds", "rr"):
        group = only(ask(f"{name}(death, arm)", table))
        assert group["value"] is None
        assert "says nothing" in group["reason"]
    difference = only(ask("rd(death, arm)", table))
    assert difference["value"] == 0
    assert difference["low"] < 0 < difference["high"]


def test_an_arm_without_patients_and_an_empty_cohort_have_reasons():
    assert only(ask("rd(death, arm)", zeroed(20, 5, 0, 0)))["reason"] == "an arm has no patient"
    assert only(ask("rd(death, arm)", zeroed(0, 0, 0, 0)))["reason"] == "no patient in the cohort"
    assert only(ask("mh(death, arm, site)", zeroed(9, 0, 9, 0)))["reason"].startswith("no stratum tells")


def test_a_stratum_with_one_arm_alone_says_nothing_and_does_no_harm():
    rng = np.random.default_rng(4)
    whole = trials.table(rng, 300, missing=0)
    arm = np.where(whole["site"][0] == 2, 0, whole["arm"][0])
    table = whole | {"arm": (arm, whole["arm"][1])}
    two = {name: (codes[whole["site"][0] < 2], p[whole["site"][0] < 2]) for name, (codes, p) in table.items()}
    assert only(ask("mh(death, arm, site)", table))["value"] == near(
        only(ask("mh(death, arm, site)", two))["value"]
    )
    assert only(ask("rd(death, arm, site)", table))["strata"][2]["reason"] == "an arm has no patient"


def test_a_small_cell_suppresses_the_comparison_in_exact_mode():
    group = only(ask("rr(death, arm)", zeroed(30, 5, 30, 20), minimum=11))
    assert group["suppressed"]
    assert [group[key] for key in ("value", "low", "high", "n", "p")] == [None] * 5
    assert group["arms"][0] == {"arm": "placebo", "events": None, "n": None, "risk": None}


@pytest.mark.parametrize("mode", ["exact", "dp"])
@pytest.mark.parametrize("text", ASKED)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_any_integers_give_a_figure_or_a_reason_under_the_same_keys(text, mode, data):
    asking = Asking(text, mode, minimum=data.draw(st.sampled_from([1, 11])))
    sizes = [r.cells * r.values_per_cell(mode) for r in asking.plan.releases]
    kind = data.draw(
        st.sampled_from(
            [st.integers(-50, 900), st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, 2, 5])]
        )
    )
    integers = [data.draw(st.lists(kind, min_size=size, max_size=size)) for size in sizes]
    if mode == "exact":
        for row in integers:
            row[::2] = [data.draw(st.sampled_from([0, 1, 1, 1])) for _ in row[::2]]
    (statement,) = asking.said(integers)
    (nothing,) = asking.said([[0] * size for size in sizes])
    assert skeleton(statement) == skeleton(nothing)
    json.dumps(statement, allow_nan=False)
    for group in statement["groups"]:
        assert group["value"] is not None or group["reason"]
        if group["low"] is not None:
            assert group["low"] <= group["value"] <= group["high"]
        assert group["p"] is None or 0 <= group["p"] <= 1 + 1e-12


def cohort(rng, risks, sizes):
    """A cohort of sites of these sizes with these risks of (placebo, imatinib)."""
    site = np.repeat(np.arange(len(sizes)), sizes)
    arm = rng.integers(0, 2, len(site))
    death = rng.random(len(site)) < np.array(risks)[site, arm]
    return trials.table(rng, len(site), site=site, arm=arm, death=death)


def runs(text, risks, sizes, truth, times, micro=10**6):
    rng, asking = np.random.default_rng(17), Asking(text, "dp", micro=micro, minimum=11)
    held = shown = rejected = 0
    for _ in range(times):
        group = only(asking.of(cohort(rng, risks, sizes), rng)[0]["groups"])
        rejected += group["p"] is not None and group["p"] <= 0.05
        if group["value"] is not None:
            shown += 1
            held += group["low"] <= truth <= group["high"]
    return held, shown, rejected


EFFECTS = [
    ("rd(death, arm)", [(0.1, 0.1)], [60], 0.0),
    ("rr(death, arm)", [(0.2, 0.4)], [200], 2.0),
    ("odds(death, arm)", [(0.2, 0.5)], [200], 4.0),
    ("rd(death, arm, site)", [(0.1, 0.2), (0.3, 0.4), (0.5, 0.6)], [60, 60, 60], 0.1),
    ("rr(death, arm, site)", [(0.2, 0.3), (0.3, 0.45), (0.4, 0.6)], [80, 80, 80], 1.5),
    ("mh(death, arm, site)", [(0.2, 1 / 3), (1 / 3, 0.5), (0.5, 2 / 3)], [120, 120, 120], 2.0),
]


@pytest.mark.parametrize(("text", "risks", "sizes", "truth"), EFFECTS)
def test_intervals_hold_the_truth_with_noise(text, risks, sizes, truth):
    held, shown, _ = runs(text, risks, sizes, truth, 40)
    assert shown >= 36
    assert_rate(held, shown, low=0.92, high=0.995)


@pytest.mark.nightly
@pytest.mark.parametrize("micro", [500_000, 10**6, 2 * 10**6])
@pytest.mark.parametrize(("text", "risks", "sizes", "truth"), EFFECTS)
def test_intervals_hold_the_truth_with_noise_in_two_thousand_runs(text, risks, sizes, truth, micro):
    held, shown, _ = runs(text, risks, sizes, truth, 2000, micro)
    assert shown >= 1000
    assert_rate(held, shown, low=0.92, high=0.995)


@pytest.mark.parametrize(
    ("text", "risks", "sizes"),
    [("rd(death, arm)", [(0.3, 0.3)], [60]), ("mh(death, arm, site)", [(0.1, 0.1), (0.4, 0.4), (0.6, 0.6)], [60] * 3)],
)  # fmt: skip
def test_a_test_of_no_effect_rejects_as_rarely_as_it_says(text, risks, sizes):
    _, _, rejected = runs(text, risks, sizes, 0.0, 60, micro=500_000)
    assert rejected <= stats.binom.ppf(1 - 1e-6, 60, 0.06)


def test_a_strong_effect_is_found_under_noise():
    _, _, rejected = runs("odds(death, arm)", [(0.2, 0.5)], [400], 4.0, 20)
    assert rejected >= 18


def test_a_preview_says_the_noise_of_an_effect_as_it_will_be():
    asking = Asking("rd(death, arm)\nrr(death, arm) where site == Rome", "dp", micro=2 * 10**6)
    rng = np.random.default_rng(5)
    said = [one["expected_error"] for one in describe(asking.plan, asking.facts)["statements"]]
    n = said[0]["n"]
    table = zeroed(n // 4, n // 4, n // 4, n // 4) | {"site": (np.full(n, 2), np.ones(n, dtype=bool))}
    drawn = [[s["groups"][0]["value"] for s in asking.of(table, rng)] for _ in range(80)]
    differences, ratios = np.array(drawn).T
    assert said[0]["half_width"] == pytest.approx(1.96 * differences.std(), rel=0.35)
    assert said[1]["half_width"] == pytest.approx(1.96 * np.log(ratios).std(), rel=0.35)
    assert said[1]["unit"] == "on the log scale"


def test_an_effect_is_asked_previewed_and_read():
    asking = Asking("risk_ratio(death, arm, site)", "dp")
    rng = np.random.default_rng(6)
    (told,) = describe(asking.plan, asking.facts)["statements"]
    assert told["words"] == "risk ratio of death and arm and site that is dead"
    assert (told["cells"], told["released"], told["sensitivity"]) == (12, 12, 1)
    statements = asking.of(cohort(rng, [(0.2, 0.4)] * 3, [200] * 3), rng)
    text = answer({"mode": "dp", "statements": statements})
    assert "imatinib against placebo" in text
