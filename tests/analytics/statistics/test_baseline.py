"""A baseline table: every cell is what pandas finds, tables are shared, and it prints as trials print it."""

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from analytics.privacy.accountant import MICRO
from analytics.query.describe import describe
from analytics.query.errors import ProgramRejected
from analytics.query.plan import compile
from analytics.render import answer
from analytics.statistics import figures
from analytics.statistics.baseline import share_interval
from tests.analytics.statistics import plans
from tests.analytics.statistics.asking import ask, facts, finite, skeleton
from tests.analytics.statistics.plans import FIELDS
from tests.analytics.statistics.test_histogram import any_integers

X, Y, ARM, REGION = FIELDS
PROGRAM = "table_one(x, region) by arm"


@pytest.fixture(scope="module")
def table():
    return plans.table(np.random.default_rng(7), 1500)


def frame_of(table):
    frame = pd.DataFrame({c: pd.Series(codes).where(present) for c, (codes, present) in table.items()})
    return frame.assign(x=frame["x"] / 10)


def row(group, characteristic, figure, level=None):
    (found,) = [
        r
        for r in group["characteristics"]
        if (r["characteristic"], r["level"]) == (characteristic, level) and r["figure"].startswith(figure)
    ]
    return found


def test_exact_rows_are_those_of_pandas(table):
    (statement,) = ask(PROGRAM, table)
    frame = frame_of(table)
    for code, group in enumerate(statement["groups"]):
        arm = frame[frame["arm"] == code]
        x, region = arm["x"].dropna(), arm["region"].dropna()
        mean, median = row(group, "x", "mean (SD)"), row(group, "x", "median")
        assert group["value"] == len(arm)
        assert row(group, "x", "n")["n"] == len(x)
        assert (mean["value"], mean["sd"]) == pytest.approx((x.mean(), x.std()))
        assert (mean["low"], mean["high"]) == pytest.approx(
            stats.t.interval(0.95, len(x) - 1, x.mean(), stats.sem(x))
        )
        for key, p in (("q1", 0.25), ("value", 0.5), ("q3", 0.75)):
            assert median[key] == pytest.approx(x.quantile(p), abs=100 / 12)
        assert row(group, "x", "missing")["n"] == arm["x"].isna().sum()
        assert row(group, "region", "missing")["n"] == arm["region"].isna().sum()
        for number, level in enumerate(REGION.levels):
            share, n = row(group, "region", "n (%)", level.label), int((region == number).sum())
            assert (share["n"], share["value"]) == (n, pytest.approx(100 * n / len(region)))
            low, high = proportion_confint(n, len(region), method="wilson")
            assert (share["low"], share["high"]) == pytest.approx((100 * low, 100 * high))


def test_noised_rows_are_near_the_exact_ones(table):
    (exact,), (noised,) = ask(PROGRAM, table), ask(PROGRAM, table, "dp", micro=4 * MICRO)
    for one, other in zip(exact["groups"], noised["groups"], strict=True):
        assert row(other, "x", "mean (SD)")["value"] == pytest.approx(
            row(one, "x", "mean (SD)")["value"], abs=1
        )
        assert row(other, "x", "median")["value"] == pytest.approx(row(one, "x", "median")["value"], abs=3)
        for level in REGION.levels:
            a, b = (row(group, "region", "n (%)", level.label) for group in (one, other))
            assert b["low"] < b["value"] < b["high"]
            assert b["value"] == pytest.approx(a["value"], abs=3)


def test_its_tables_are_those_of_mean_sd_median_and_histogram():
    alone = compile(PROGRAM, [facts()], MICRO, "dp")
    shared = compile(
        f"{PROGRAM}\nmean(x) by arm\nsd(x) by arm\nmedian(x) by arm\nhistogram(region) by arm\ncount() by arm",
        [facts()], MICRO, "dp",
    )  # fmt: skip
    assert len(alone.releases) == len(shared.releases) == 4
    assert sum(release.micro_epsilon for release in alone.releases) == MICRO
    ratios = [release.micro_epsilon / alone.releases[0].micro_epsilon for release in alone.releases]
    assert ratios == pytest.approx([1, 4, 4, 2], rel=1e-4)


def test_it_is_described_before_it_is_asked():
    said = describe(compile(PROGRAM, [facts()], MICRO, "dp"), [facts()])["statements"][0]
    assert said["words"] == "baseline table of x (u) and region, for each arm"
    assert [one["sensitivity"] for one in said["tables"]] == [1, 4 * 2**18, 1, 1]
    assert said["expected_error"]["half_width"] > 0


def test_it_prints_characteristics_as_rows_and_arms_as_columns(table):
    lines = answer({"mode": "exact", "statements": ask(PROGRAM, table)}).splitlines()
    cells = [re.split("  +", line.strip()) for line in lines[1:]]
    assert cells[0] == ["characteristic", "level", "figure", "placebo", "imatinib"]
    assert cells[1][0] == "n"
    assert re.fullmatch(r"[\d.]+ \([\d.]+\)", cells[3][2]) and cells[3][1] == "mean (SD), u"
    assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", cells[4][2])
    assert [line[1] for line in cells if line[0] == "region"][1:5] == [level.label for level in REGION.levels]
    assert all(re.fullmatch(r"\d+ \([\d.]+\)", line[3]) for line in cells if "n (%)" in line)


def test_rare_levels_and_few_missing_are_not_shown():
    table = plans.table(np.random.default_rng(2), 600, missing=0)
    table["region"] = (np.where(np.arange(600) < 4, 3, table["region"][0] % 3), table["region"][1])
    for mode in ("dp", "exact"):
        (statement,) = ask("baseline(region)", table, mode, micro=4 * MICRO, minimum=11)
        (group,) = statement["groups"]
        rare = row(group, "region", "n (%)", "South West")
        assert rare["n"] is rare["value"] is None
        why = rare["reason"] if mode == "dp" else group["reason"]
        assert {"dp": "minimum cohort of 11", "exact": "withheld for review"}[mode] in why
    assert row(group, "region", "missing")["n"] is None, (
        "with it, the level could be told from the arm's size"
    )


def test_an_arm_that_is_too_small_has_no_rows():
    table = plans.table(np.random.default_rng(2), 400, missing=0)
    table["arm"] = ((np.arange(400) < 5).astype(int), table["arm"][1])
    (statement,) = ask(PROGRAM, table, "dp", micro=4 * MICRO)
    _, small = statement["groups"]
    assert small["suppressed"] and small["value"] is None
    assert all(r["n"] is r["value"] is r["sd"] is None for r in small["characteristics"])


@pytest.mark.parametrize("p", [0.05, 0.3, 0.7])
@pytest.mark.parametrize("epsilon", [0.5, 1.0])
def test_the_interval_of_a_percentage_holds_it_under_noise(p, epsilon):
    rng, runs, held = np.random.default_rng(int(100 * p)), 1500, 0
    rest = (1 - p) / 3
    decay = -np.expm1(-epsilon)
    for _ in range(runs):
        counts = rng.multinomial(400, [p, rest, rest, rest])
        a, b = rng.geometric(decay, (2, 4))
        noised = counts + a - b
        low, high = share_interval(int(noised[0]), int(noised.sum()), 4, 1 / epsilon)
        held += low <= p <= high
    assert stats.binom.ppf(1e-6, runs, 0.94) <= held <= stats.binom.ppf(1 - 1e-6, runs, 0.975)


def test_a_number_makes_no_columns_of_the_table():
    with pytest.raises(ProgramRejected) as caught:
        compile("table_one(x) by y", [facts()], MICRO, "dp")
    assert caught.value.code == "by_number"


@pytest.mark.parametrize("mode", ["dp", "exact"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_integers_give_a_table_with_the_same_rows(mode, data):
    dataset = facts()
    plan = compile("table_one(x, region, y) by arm", [dataset], MICRO, mode)
    integers = any_integers(data, plan)
    said = figures(plan, [dataset], integers)
    nothing = figures(plan, [dataset], [[0] * len(line) for line in integers])
    assert skeleton(said) == skeleton(nothing)
    assert finite(said)
    assert answer({"mode": mode, "statements": said})
    for group in said[0]["groups"]:
        for one in group["characteristics"]:
            if one["value"] is not None and one["low"] is not None:
                assert one["low"] <= one["value"] <= one["high"]
            assert mode == "exact" or one["sd"] != 0, "an SD of nothing is no figure of a noised cohort"


def test_a_mean_without_a_standard_deviation_stands_alone():
    """The noise has taken the spread's variance below zero: nothing is said of it, and the mean is right all the same."""
    facts_ = facts(minimum=11)
    plan = compile("table_one(x)", [facts_], 8 * 10**6, "dp")
    _, moments, grid = plan.releases
    reach, n = 2 ** (moments.operands[0].bits - 1), 200
    off = 2 * reach  # beside n M^2 it is nothing
    still = [n * reach**2 - off, 2 * n * reach**2 + 2 * off, n * reach**2 - off]
    (statement,) = figures(plan, [facts_], [[n], still, [n // grid.cells] * grid.cells])
    one = row(statement["groups"][0], "x", "mean (SD)")
    assert one["value"] == pytest.approx(51.2, abs=0.2) and one["low"] < one["value"] < one["high"]
    assert one["sd"] is None and one["reason"]
    assert re.search(r"mean \(SD\), u +51\.\d+ \(-\)", answer({"mode": "dp", "statements": [statement]}))


GIST = Path(__file__).resolve().parents[4] / "shared/data/gist/syn_a_ident.csv"


@pytest.mark.background
@pytest.mark.skipif(
    not GIST.is_file(), reason="the background folder with the GIST files is not beside the project"
)
def test_the_baseline_of_a_trials_shape_is_that_of_pandas():
    rows = pd.read_csv(GIST)
    bmi = pd.to_numeric(rows["BMI"], errors="coerce").where(lambda x: x > 0)
    field = plans.number("bmi", "10", "60", "0.01", "kg/m2")
    arm, region = rows["TRTN"].to_numpy() - 1, pd.Categorical(rows["REGION_C"])
    codes = [0 if np.isnan(x) else field.code(Fraction(x)) for x in bmi]
    every = np.ones(len(rows), dtype=bool)
    table = {
        "bmi": (np.array(codes), bmi.notna().to_numpy()),
        "arm": (arm, every),
        "region": (region.codes.astype(int), every),
    }
    codebook = {
        **plans.CODEBOOK,
        "fields": [
            {"name": "bmi", "type": "number", "unit": "kg/m2", "constraints": {"minimum": 10, "maximum": 60},
             "resolution": "0.01", "grid": ["18.5", 20, "22.5", 25, "27.5", 30, "32.5", 35, 40]},
            {"name": "arm", "type": "string", "categories": ["imatinib", "placebo"]},
            {"name": "region", "type": "string", "categories": list(region.categories)},
        ],
    }  # fmt: skip
    (exact,) = ask("table_one(bmi, region) by arm", table, codebook=codebook, minimum=1)
    (noised,) = ask("table_one(bmi, region) by arm", table, "dp", codebook=codebook, micro=4 * MICRO)
    for code, (one, other) in enumerate(zip(exact["groups"], noised["groups"], strict=True)):
        x = bmi[arm == code].dropna()
        mean, median = row(one, "bmi", "mean (SD)"), row(one, "bmi", "median")
        assert (row(one, "bmi", "n")["n"], one["value"]) == (len(x), (arm == code).sum())
        assert (mean["value"], mean["sd"]) == pytest.approx((x.mean(), x.std()), abs=0.01)
        for key, p in (("q1", 0.25), ("value", 0.5), ("q3", 0.75)):
            assert median[key] == pytest.approx(x.quantile(p), abs=0.5), "a fifth of a cell of 2.5"
        near = row(other, "bmi", "mean (SD)"), row(other, "bmi", "median")
        assert near[0]["low"] <= x.mean() <= near[0]["high"]
        assert near[1]["low"] <= x.median() <= near[1]["high"]
