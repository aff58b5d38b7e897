"""Survival figures against lifelines, statsmodels and R, and under noise."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analytics import render
from analytics.execute import Table
from analytics.query.describe import describe
from analytics.query.plan import DatasetFacts, ProgramRejected, compile
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate
from analytics.statistics import figures
from mpcnode.ring import XOR, pack, words_for
from tests.analytics.statistics import plans
from tests.analytics.statistics.plans import CODEBOOK
from tests.analytics.statistics.test_dp import skeleton
from tests.analytics.test_execute import played
from tests.world import World


@pytest.fixture(scope="module")
def lifelines():
    """An oracle that wants an older pandas: continuous integration has it beside the environment."""
    return pytest.importorskip("lifelines", reason="lifelines does not install beside the pandas of today")


def codebook(last=24, grid=None, arms=("placebo", "imatinib"), first=1):
    time = {
        "name": "months",
        "type": "integer",
        "unit": "months",
        "role": "time",
        "event": "died",
        "constraints": {"minimum": first, "maximum": last},
    }
    if grid is not None:
        time["grid"] = list(grid)
    return parse_codebook(
        {
            **CODEBOOK,
            "capacity": 4096,
            "fields": [
                time,
                {
                    "name": "died",
                    "type": "string",
                    "role": "event",
                    "occurred": "1",
                    "categories": [{"value": "0", "label": "alive"}, {"value": "1", "label": "dead"}],
                },
                {"name": "arm", "type": "string", "categories": list(arms)},
                {"name": "site", "type": "string", "categories": ["north", "south", "west"]},
                {"name": "later", "type": "integer", "constraints": {"minimum": 0, "maximum": 9}},
            ],
        }
    )


def lattice(last=24, arms=("placebo", "imatinib"), first=1):
    """A codebook in which every cell of time up to `last` is one month."""
    return codebook(last + 2, range(first + 1, last + 2), arms, first)


def facts(schema, minimum=1, number=1):
    return [
        DatasetFacts(
            id=f"{number:032x}",
            version=1,
            manifest_hash="b" * 64,
            capacity=4096,
            schema=schema,
            policy={"minimum_cohort": minimum},
        )
    ]


def cohort(rng, n, last=24, arms=2, effect=0.0, scale=14.0):
    """Months to death or end of observation, with hazards exp(effect * arm)."""
    arm, site = rng.integers(0, arms, n), rng.integers(0, 3, n)
    died = np.ceil(rng.exponential(scale * np.exp(-effect * arm) * (1 + 0.2 * site)))
    ended = rng.integers(2, last + 6, n)
    months = np.minimum(np.minimum(died, ended), last).astype(int)
    return pd.DataFrame({"months": months, "died": (died <= months).astype(int), "arm": arm, "site": site})


def coded(frame, schema):
    every = np.ones(len(frame), dtype=bool)
    first = int(schema.field("months").minimum)
    later = np.zeros(len(frame), dtype=int)
    return {
        "months": (frame["months"].to_numpy() - first, every),
        **{name: (frame[name].to_numpy(), every) for name in ("died", "arm", "site")},
        "later": (later, every),
    }


def ask(text, frame, schema, mode="exact", micro=10**6, seed=None, minimum=1):
    about = facts(schema, minimum)
    plan = compile(text, about, micro, mode)
    integers = evaluate(plan, about, [coded(frame, schema)])
    if seed is not None:
        integers = plans.noised(np.random.default_rng(seed), plan, integers)
    return [statement["groups"] for statement in figures(plan, about, integers)]


@pytest.fixture(scope="module")
def frame():
    return cohort(np.random.default_rng(5), 400, effect=-0.5)


@pytest.mark.parametrize("seed", range(3))
def test_where_each_cell_is_one_time_survival_is_kaplan_meiers(lifelines, seed):
    frame = cohort(np.random.default_rng(seed), 150)
    (groups,) = ask("survival(months, 6, 12) by arm", frame, lattice())
    for arm, group in enumerate(groups):
        own = frame[frame["arm"] == arm]
        km = lifelines.KaplanMeierFitter().fit(own["months"], own["died"])
        for row in group["curve"]:
            if row["survival"] is not None:
                assert row["survival"] == pytest.approx(km.predict(row["time"]), abs=1e-9)
                if row["low"] is not None:
                    ends = km.confidence_interval_survival_function_
                    assert [row["low"], row["high"]] == pytest.approx(
                        ends[ends.index <= row["time"]].iloc[-1].tolist(), abs=1e-6
                    )
                assert row["at_risk"] == (own["months"] >= row["start"]).sum()
        assert [row["survival"] for row in group["at"]] == pytest.approx(
            km.predict([6, 12]).tolist(), abs=1e-9
        )
        assert group["value"] == group["at"][0]["survival"]


def test_survival_of_the_waltons_flies_is_that_of_lifelines(lifelines):
    waltons = pytest.importorskip("lifelines.datasets").load_waltons()
    frame = pd.DataFrame(
        {
            "months": waltons["T"].astype(int),
            "died": waltons["E"],
            "arm": (waltons["group"] == "control").astype(int),
            "site": 0,
        }
    )
    schema = lattice(80)
    curve, test, model = ask("km(months, 40) by arm\nlogrank(months, arm)\ncox(months, arm)", frame, schema)
    for arm, group in enumerate(curve):
        own = frame[frame["arm"] == arm]
        km = lifelines.KaplanMeierFitter().fit(own["months"], own["died"])
        assert group["value"] == pytest.approx(km.predict(40), abs=1e-9)
        assert group["median"] == km.median_survival_time_
    oracle = lifelines.statistics.multivariate_logrank_test(frame["months"], frame["arm"], frame["died"])
    assert test[0]["chi2"] == pytest.approx(oracle.test_statistic, rel=1e-6)
    cox = lifelines.CoxPHFitter().fit(
        frame[["months", "died", "arm"]], "months", "died", fit_options={"precision": 1e-12}
    )
    assert model[0]["coefficients"][0]["coefficient"] == pytest.approx(cox.params_["arm"], abs=1e-4)
    assert model[0]["coefficients"][0]["standard_error"] == pytest.approx(
        cox.standard_errors_["arm"], abs=1e-4
    )


def test_a_median_where_survival_stays_at_one_half_is_the_middle_as_in_r():
    frame = pd.DataFrame({"months": [1, 2, 3, 4], "died": 1, "arm": 0, "site": 0})
    (groups,) = ask("median_survival(months)", frame, lattice())
    assert groups[0]["value"] == 2.5


def test_a_median_that_is_not_reached_says_so(frame):
    alive = frame.assign(died=0)
    (groups,) = ask("median_survival(months)", alive, lattice())
    assert groups[0]["value"] is None and "one half" in groups[0]["reason"]


@pytest.mark.parametrize("tau", [5, 12, 20])
def test_restricted_mean_is_the_area_with_rs_standard_error(lifelines, frame, tau):
    (groups,) = ask(f"rmst(months, {tau})", frame, lattice())
    km = lifelines.KaplanMeierFitter().fit(frame["months"], frame["died"])
    assert groups[0]["value"] == pytest.approx(
        lifelines.utils.restricted_mean_survival_time(km, t=tau), abs=1e-9
    )
    variance = 0.0
    for time in range(1, tau):
        n, d = (frame["months"] >= time).sum(), ((frame["months"] == time) & (frame["died"] == 1)).sum()
        variance += sum(km.predict(float(t)) for t in range(time, tau)) ** 2 * d / (n * (n - d))
    half = (groups[0]["high"] - groups[0]["low"]) / 2
    assert half == pytest.approx(1.959963984540054 * math.sqrt(variance), rel=1e-6)


def test_cumulative_hazard_is_nelson_and_aalens(lifelines, frame):
    (groups,) = ask("nelson_aalen(months, 10)", frame, lattice())
    oracle = lifelines.NelsonAalenFitter(nelson_aalen_smoothing=False).fit(frame["months"], frame["died"])
    assert groups[0]["value"] == pytest.approx(oracle.predict(10), abs=1e-9)
    variance = 0.0
    for time in range(1, 11):
        n = (frame["months"] >= time).sum()
        variance += ((frame["months"] == time) & (frame["died"] == 1)).sum() / n**2
    factor = math.exp(1.959963984540054 * math.sqrt(variance) / groups[0]["value"])
    ends = [groups[0]["value"] / factor, groups[0]["value"] * factor]
    assert [groups[0]["low"], groups[0]["high"]] == pytest.approx(ends, rel=1e-6)


def test_incidence_is_what_survival_leaves(frame):
    survival, incidence = ask("survival(months, 9)\ncumulative_incidence(months, 9)", frame, lattice())
    assert incidence[0]["value"] == pytest.approx(1 - survival[0]["value"], abs=1e-9)
    assert incidence[0]["low"] == pytest.approx(1 - survival[0]["high"], abs=1e-9)


def test_wide_cells_are_near_the_curve_of_single_times(lifelines):
    frame = cohort(np.random.default_rng(8), 2000, last=120, scale=70.0)
    (wide,) = ask("survival(months)", frame, codebook(120))
    km = lifelines.KaplanMeierFitter().fit(frame["months"], frame["died"])
    for row in wide[0]["curve"]:
        assert row["survival"] == pytest.approx(km.predict(row["time"]), abs=0.01)


@pytest.mark.parametrize("grid", [range(2, 25), (4, 8, 12, 18)])
@pytest.mark.parametrize("arms", [2, 3])
def test_logrank_is_the_textbooks_on_the_cells_of_time(grid, arms):
    statsmodels = pytest.importorskip("statsmodels.duration.survfunc")
    frame = cohort(np.random.default_rng(arms), 300, arms=arms, effect=-0.3)
    schema = codebook(30, grid=grid, arms=("a", "b", "c")[:arms])
    plain, stratified = ask("logrank(months, arm)\nlogrank(months, died, arm, site)", frame, schema)
    cells = np.searchsorted(np.array(grid), frame["months"], side="right")
    for groups, strata in ((plain, None), (stratified, frame["site"])):
        chi2, p = statsmodels.survdiff(cells + 1, frame["died"], frame["arm"], strata=strata)
        assert groups[0]["chi2"] == pytest.approx(chi2, rel=1e-6)
        assert groups[0]["p"] == pytest.approx(p, rel=1e-6, abs=1e-12)
        assert groups[0]["df"] == arms - 1
        assert sum(arm["expected"] for arm in groups[0]["arms"]) == pytest.approx(frame["died"].sum())


@pytest.mark.parametrize("grid", [range(2, 25), (4, 8, 12, 18)])
def test_cox_is_efrons_on_the_cells_of_time(grid):
    phreg = pytest.importorskip("statsmodels.duration.hazard_regression").PHReg
    frame = cohort(np.random.default_rng(4), 500, arms=3, effect=-0.4)
    schema = codebook(30, grid=grid, arms=("a", "b", "c"))
    ((group,),) = ask("cox(months, arm, site)", frame, schema)
    cells = np.searchsorted(np.array(grid), frame["months"], side="right") + 1
    design = np.column_stack(
        [(frame[name] == level).to_numpy(float) for name in ("arm", "site") for level in (1, 2)]
    )
    oracle = phreg(cells, design, status=frame["died"], ties="efron").fit()
    rows = group["coefficients"]
    assert [row["covariate"] for row in rows] == ["arm", "arm", "site", "site"]
    assert [row["coefficient"] for row in rows] == pytest.approx(oracle.params.tolist(), abs=1e-4)
    assert [row["standard_error"] for row in rows] == pytest.approx(oracle.bse.tolist(), abs=1e-4)
    assert [row["p"] for row in rows] == pytest.approx(oracle.pvalues.tolist(), abs=1e-3)
    assert group["value"] == rows[0]["hazard_ratio"] and group["p"] == rows[0]["p"]
    assert [group["low"], group["high"]] == pytest.approx(np.exp(oracle.conf_int()[0]).tolist(), rel=1e-4)


def test_cox_with_more_ties_than_are_weighted_singly_is_efrons():
    phreg = pytest.importorskip("statsmodels.duration.hazard_regression").PHReg
    frame = cohort(np.random.default_rng(4), 4000, effect=-0.4)
    ((group,),) = ask("hr(months, arm)", frame, codebook(grid=(12,)))
    oracle = phreg(
        1 + (frame["months"] >= 12), frame[["arm"]].to_numpy(float), status=frame["died"], ties="efron"
    ).fit()
    assert group["coefficients"][0]["coefficient"] == pytest.approx(oracle.params[0], abs=1e-4)


def test_all_survival_statements_of_arms_read_one_table():
    about = facts(lattice())
    plan = compile(
        "survival(months, 12) by arm; median_survival(months) by arm; rmst(months, 12) by arm;"
        " nelson_aalen(months, died) by arm; logrank(months, arm); cox(months, arm)",
        about,
        10**6,
        "dp",
    )
    assert set(plan.uses) == {(0,)}
    assert plan.releases[0].sensitivity == 1
    assert plan.releases[0].micro_epsilon in range(10**6 - 6, 10**6 + 1)


def test_a_stratified_test_and_a_model_with_the_stratum_read_one_table():
    plan = compile("logrank(months, arm, site); cox(months, arm, site)", facts(lattice()), 10**6, "dp")
    assert set(plan.uses) == {(0,)}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("survival(arm)", "wrong_type"),
        ("survival(later)", "no_event"),
        ("survival(later, arm)", "no_occurred"),
        ("survival(months, later)", "wrong_type"),
        ("survival(months, 99)", "time_out_of_range"),
        ("rmst(months, 0)", "time_out_of_range"),
        ("rmst(months)", "wrong_arguments"),
        ("logrank(months, died)", "wrong_arguments"),
        ("logrank(months, later)", "wrong_type"),
        ("logrank(months, arm, arm)", "duplicate"),
        ("logrank(months, arm) by arm", "duplicate"),
        ("cox(months, died)", "wrong_arguments"),
        ("cox(months, arm, arm)", "duplicate"),
        ("survival(months) by died", "duplicate"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_code(text, code):
    with pytest.raises(ProgramRejected) as refused:
        compile(text, facts(lattice()), 10**6, "exact")
    assert refused.value.code == code


ALL = (
    "survival(months, 6, 12) by arm\ncumulative_incidence(months)\nmedian_survival(months) by arm\nrmst(months, 12) by arm\n"
    "nelson_aalen(months, 9) by arm\nlogrank(months, arm)\nlogrank(months, arm, site)\ncox(months, arm, site)"
)


def test_from_preview_to_the_printed_answer(frame):
    about = facts(codebook())
    plan = compile(ALL, about, 4 * 10**6, "dp")
    told = describe(plan, about)
    assert told["statements"][0]["expected_error"]["half_width"] > 0
    integers = plans.noised(np.random.default_rng(1), plan, evaluate(plan, about, [coded(frame, codebook())]))
    answer = {"mode": "dp", "statements": figures(plan, about, integers)}
    printed = render.answer(answer)
    assert "at risk" in printed and "hazard ratio" in printed and "chi-square" in printed
    json.dumps(answer, allow_nan=False)


kinds = st.sampled_from(
    [
        st.integers(-3, 6),
        st.integers(-50, 200),
        st.integers(-(2**63), 2**63 - 1),
        st.just(0),
        st.integers(0, 900),
    ]
)


@pytest.mark.parametrize("mode", ["dp", "exact"])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_integers_give_figures_or_reasons_under_the_same_keys(mode, data):
    about = facts(codebook(grid=(6, 12)), data.draw(st.sampled_from([1, 11])))
    plan = compile(ALL, about, 4 * 10**6, mode)
    tables, nothing = [], []
    for release in plan.releases:
        width = release.values_per_cell(mode)
        values = data.draw(
            st.lists(data.draw(kinds), min_size=release.cells * width, max_size=release.cells * width)
        )
        if mode == "exact":
            ok = data.draw(st.sampled_from([1, 1, 0]))
            values = [ok if k % width == 0 else x for k, x in enumerate(values)]
        tables.append(values)
        nothing.append([0] * len(values))
    found, blank = figures(plan, about, tables), figures(plan, about, nothing)
    json.dumps(found, allow_nan=False)
    for statement, other in zip(found, blank, strict=True):
        assert skeleton(statement) == skeleton(other)
        for group in statement["groups"]:
            if group["value"] is None:
                assert group["reason"] and group["low"] is group["high"] is None
            elif group["low"] is not None:
                assert group["low"] <= group["value"] <= group["high"]
            for row in group.get("curve", ()):
                s = row.get("survival", row.get("cumulative_incidence"))
                assert s is None or 0 <= s <= 1


def test_small_cells_of_exact_mode_withhold_the_curve(frame):
    (groups,) = ask("survival(months) by arm", frame, lattice(), minimum=11)
    assert groups[0]["suppressed"] and groups[0]["curve"][0]["survival"] is None


def test_noised_survival_descends_and_ends_where_too_few_are_at_risk():
    frame = cohort(np.random.default_rng(2), 200, scale=8.0)
    for seed in range(20):
        (groups,) = ask("survival(months)", frame, codebook(), "dp", 10**6, seed, 11)
        s = [row["survival"] for row in groups[0]["curve"] if row["survival"] is not None]
        assert s == sorted(s, reverse=True)
        assert all(row["at_risk"] >= 11 for row in groups[0]["curve"] if row["at_risk"] is not None)
        assert len(s) < 12 or groups[0]["curve"][-1]["at_risk"] >= 11


def test_pooled_trials_are_strata_of_the_test_and_of_the_model(lifelines):
    statsmodels = pytest.importorskip("statsmodels.duration.survfunc")
    phreg = pytest.importorskip("statsmodels.duration.hazard_regression").PHReg
    rng = np.random.default_rng(12)
    trials = [cohort(rng, 200, effect=-0.4), cohort(rng, 300, effect=0.5, scale=7.0)]
    schema = lattice()
    about = [*facts(schema, number=1), *facts(schema, number=2)]
    plan = compile("logrank(months, arm)\ncox(months, arm)\nsurvival(months, 12)", about, 10**6, "exact")
    integers = evaluate(plan, about, [coded(trial, schema) for trial in trials])
    test, model, curve = (statement["groups"][0] for statement in figures(plan, about, integers))
    pooled = pd.concat(trials)
    strata = np.repeat([1, 2], [200, 300])
    chi2, p = statsmodels.survdiff(pooled["months"], pooled["died"], pooled["arm"], strata=strata)
    assert [test["chi2"], test["p"]] == pytest.approx([chi2, p], rel=1e-6)
    oracle = phreg(
        pooled["months"].to_numpy(),
        pooled[["arm"]].to_numpy(float),
        status=pooled["died"].to_numpy(),
        strata=strata,
        ties="efron",
    ).fit()
    assert model["coefficients"][0]["coefficient"] == pytest.approx(oracle.params[0], abs=1e-4)
    assert model["coefficients"][0]["standard_error"] == pytest.approx(oracle.bse[0], abs=1e-4)
    km = lifelines.KaplanMeierFitter().fit(pooled["months"], pooled["died"])
    assert curve["value"] == pytest.approx(km.predict(12), abs=1e-9)


def test_a_life_table_on_shares_is_that_of_the_clear_rows(frame):
    world, about = World(6), facts(codebook())
    table, schema = coded(frame, codebook()), codebook()
    plan = compile("survival(months, 12) by arm\nlogrank(months, arm, site)", about, 10**6, "exact")
    padding = words_for(4096) * 64 - len(frame)
    planes = {"": [np.arange(len(frame) + padding) < len(frame)]}
    for field in schema.fields:
        codes, present = (np.pad(column, (0, padding)) for column in table[field.name])
        planes[field.name] = [codes >> k & 1 != 0 for k in range(field.bits)] + [present]
    shares = {name: world.share(pack(np.array(bits)), XOR) for name, bits in planes.items()}
    parties = [Table(4096, {name: s[p].components for name, s in shares.items()}) for p in range(world.n)]
    assert played(world, plan, [parties]) == evaluate(plan, about, [table])


def rates(n, micro, runs, seed):
    """How often intervals hold the truth, and how often the test rejects a true null: of these many runs each."""
    rng, schema = np.random.default_rng(seed), codebook(60, first=0)
    about = facts(schema, 11)
    plans_ = [
        compile(text, about, micro, "dp")
        for text in (
            "survival(months, 30)\nrmst(months, 30)\nnelson_aalen(months, 30)",
            "logrank(months, arm)\ncox(months, arm)",
        )
    ]
    s = math.exp(-31 / 60)
    truths = [s, sum(math.exp(-(t + 1) / 60) for t in range(30)), -math.log(s)]
    held, rejected = np.zeros(4), 0
    for _ in range(runs):
        died, ended = rng.exponential(60, n).astype(int), rng.uniform(21, 66, n).astype(int)
        months = np.minimum(np.minimum(died, ended), 60)
        drawn = pd.DataFrame({"months": months, "died": (died == months).astype(int)})
        drawn = drawn.assign(arm=rng.integers(0, 2, n), site=0)
        found = []
        for plan in plans_:
            integers = plans.noised(rng, plan, evaluate(plan, about, [coded(drawn, schema)]))
            found += [statement["groups"][0] for statement in figures(plan, about, integers)]
        held[:3] += [g["low"] <= truth <= g["high"] for g, truth in zip(found, truths, strict=False)]
        held[3] += found[4]["low"] <= 1 <= found[4]["high"]
        rejected += found[3]["p"] < 0.05
    return held, rejected


@pytest.mark.parametrize(
    ("n", "micro", "runs"),
    [
        (367, 10**6, 100),
        *(
            pytest.param(n, micro, 400, marks=pytest.mark.nightly)
            for n in (200, 773)
            for micro in (500_000, 2 * 10**6)
        ),
    ],
)
def test_under_noise_intervals_hold_the_truth_and_the_test_keeps_its_level(n, micro, runs):
    held, rejected = rates(n, micro, runs, seed=n + micro)
    assert (held >= stats.binom.ppf(1e-6, runs, 0.93)).all()
    assert rejected <= stats.binom.ppf(1 - 1e-6, runs, 0.07)
