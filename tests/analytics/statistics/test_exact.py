"""Exact mode against scipy, statsmodels and pandas on the values as the codebook rounds them."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from analytics.reference import evaluate
from analytics.statistics import figures
from tests.analytics.statistics import plans
from tests.analytics.statistics.plans import FIELDS

X, Y, ARM, REGION = FIELDS


@pytest.fixture(params=[1, 2, 3])
def table(request):
    return plans.table(np.random.default_rng(request.param), 40 * request.param**3)


def ask(text, release, *tables, minimum=1):
    plan = plans.plan(text, release, "exact", minimum, datasets=len(tables))
    facts = plans.facts(datasets=len(tables))
    return figures(plan, facts, evaluate(plan, facts, tables))[0]


def only(statement):
    (group,) = statement["groups"]
    return group


def near(value):
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def test_mean_and_its_interval_are_students(table):
    group = only(ask("mean(x)", plans.moments(X, mode="exact"), table))
    x = plans.values(table, X)
    assert group["value"] == near(x.mean())
    assert (group["low"], group["high"]) == near(
        stats.t.interval(0.95, len(x) - 1, loc=x.mean(), scale=stats.sem(x))
    )
    assert group["n"] == len(x)


def test_sd_and_var_have_one_degree_less_and_a_chi_square_interval(table):
    x = plans.values(table, X)
    n, variance = len(x), x.var(ddof=1)
    ends = [(n - 1) * variance / stats.chi2.ppf(p, n - 1) for p in (0.975, 0.025)]
    sd = only(ask("sd(x)", plans.moments(X, mode="exact"), table))
    var = only(ask("var(x)", plans.moments(X, mode="exact"), table))
    assert sd["value"] == near(pd.Series(x).std())
    assert [sd["low"], sd["high"]] == near(np.sqrt(ends))
    assert var["value"] == near(pd.Series(x).var())
    assert [var["low"], var["high"]] == near(ends)


def test_sum_and_count_describe_the_cohort_without_a_margin(table):
    total = only(ask("sum(x)", plans.moments(X, 1, mode="exact"), table))
    assert total["value"] == total["low"] == total["high"] == near(plans.values(table, X).sum())
    group = only(ask("count()", plans.count("exact"), table))
    assert (group["value"], group["low"], group["high"], group["n"]) == (len(table["x"][0]),) * 4
    assert isinstance(group["value"], int)


def test_proportion_has_wilsons_interval(table):
    by = plans.by("region", groups=((1,), (0, 2, 3)))
    text = 'proportion(region, "North West")'
    statement = ask(text, plans.count("exact", by=[by], cohort=("present", "region")), table)
    group, (codes, present) = only(statement), table["region"]
    hits = int((codes[present] == 1).sum())
    assert statement["level"] == "North West"
    assert group["value"] == near(hits / present.sum())
    assert (group["low"], group["high"]) == near(proportion_confint(hits, present.sum(), method="wilson"))


def test_correlation_is_pearsons_with_fishers_interval(table):
    group = only(ask("correlate(x, y)", plans.pair(X, Y, "exact"), table))
    both = table["x"][1] & table["y"][1]
    seen = stats.pearsonr(table["x"][0][both], table["y"][0][both])
    assert group["value"] == near(seen.statistic)
    assert (group["low"], group["high"]) == near(tuple(seen.confidence_interval(0.95)))
    assert group["n"] == both.sum()


def test_association_is_the_uncorrected_chi_square_and_cramers_v(table):
    release = plans.count(
        "exact", by=[plans.by("arm", 2), plans.by("region", 4)], cohort=both("arm", "region")
    )
    group = only(ask("correlate(arm, region)", release, table))
    counts = crossed(table, "arm", "region", 2, 4)
    seen = stats.chi2_contingency(counts, correction=False)
    assert group["table"]["counts"] == counts.tolist()
    assert group["table"]["rows"] == ["placebo", "imatinib"]
    assert (group["chi2"], group["df"], group["p"]) == near((seen.statistic, seen.dof, seen.pvalue))
    assert group["value"] == group["cramers_v"] == near(stats.contingency.association(counts))


def test_the_interval_of_v_inverts_the_non_central_chi_square(table):
    release = plans.count(
        "exact", by=[plans.by("arm", 2), plans.by("region", 4)], cohort=both("arm", "region")
    )
    group = only(ask("correlate(arm, region)", release, table))
    n = sum(map(sum, group["table"]["counts"]))
    for end, p in ((group["low"], 0.975), (group["high"], 0.025)):
        if end > 0:
            assert stats.ncx2.cdf(group["chi2"], 3, n * end**2) == pytest.approx(p, abs=1e-6)
        else:
            assert stats.chi2.cdf(group["chi2"], 3) <= p


def test_a_large_chi_square_has_a_narrow_interval_around_v():
    counts = np.array([[90_000, 10_000], [20_000, 80_000]])
    text, release = "correlate(arm, arm)", plans.count("exact", by=[plans.by("arm", 2)] * 2)
    plan = plans.plan(text, release, "exact", capacity=2**20)
    group = only(figures(plan, plans.facts(), [[x for n in counts.ravel() for x in (1, int(n))]])[0])
    v = stats.contingency.association(counts)
    assert group["value"] == near(v)
    assert v - 0.005 < group["low"] < v < group["high"] < v + 0.005


def test_rows_and_columns_without_a_patient_are_dropped_from_chi_square():
    table = plans.table(np.random.default_rng(8), 300, missing=0)
    table["region"] = (np.where(table["region"][0] == 2, 1, table["region"][0]), table["region"][1])
    release = plans.count("exact", by=[plans.by("arm", 2), plans.by("region", 4)])
    group = only(ask("correlate(arm, region)", release, table))
    kept = crossed(table, "arm", "region", 2, 4)[:, [0, 1, 3]]
    seen = stats.chi2_contingency(kept, correction=False)
    assert (group["chi2"], group["df"], group["p"]) == near((seen.statistic, seen.dof, seen.pvalue))
    assert [row[2] for row in group["table"]["counts"]] == [0, 0]


def test_groups_are_those_of_pandas_under_the_labels_of_the_codebook(table):
    release = plans.moments(
        X, mode="exact", by=[plans.by("arm", 2), plans.by("region", 4)], cohort=both("x", "arm", "region")
    )
    statement = ask("mean(x) by arm, region", release, table)
    frame = pd.DataFrame({c: pd.Series(codes).where(present) for c, (codes, present) in table.items()})
    means = frame.dropna(subset=["x", "arm", "region"]).groupby(["arm", "region"])["x"].mean() / 10
    assert [tuple(g["by"].values()) for g in statement["groups"]] == [
        (a.label, r.label) for a in ARM.levels for r in REGION.levels
    ]
    for (arm, region), mean in means.items():
        group = statement["groups"][int(arm) * 4 + int(region)]
        assert group["value"] == near(mean)


def test_an_association_within_groups_keeps_groups_and_tables_apart():
    table = plans.table(np.random.default_rng(5), 900, missing=0)
    sex = plans.category("sex", "f", "m")
    fields = (*FIELDS, sex)
    table["sex"] = (np.arange(900) % 2, np.ones(900, dtype=bool))
    release = plans.count("exact", by=[plans.by("sex", 2), plans.by("arm", 2), plans.by("region", 4)])
    plan = plans.plan("correlate(arm, region) by sex", release, "exact", 1, fields=fields)
    statement = figures(plan, plans.facts(*fields), evaluate(plan, [None], [table]))[0]
    for code, group in enumerate(statement["groups"]):
        rows = table["sex"][0] == code
        part = {c: (codes[rows], present[rows]) for c, (codes, present) in table.items()}
        assert group["by"] == {"sex": "fm"[code]}
        assert group["table"]["counts"] == crossed(part, "arm", "region", 2, 4).tolist()


def test_coarse_codes_stand_for_the_middle_of_what_they_cover(table):
    statement = ask("mean(x)", plans.moments(X, mode="exact", dropped=3), table)
    codes = table["x"][0][table["x"][1]]
    assert only(statement)["value"] == near((((codes >> 3) << 3) + 3.5).mean() / 10)
    assert statement["resolution"] == {"x": 0.8}


def test_two_datasets_are_pooled():
    rng = np.random.default_rng(2)
    a, b = plans.table(rng, 70), plans.table(rng, 90)
    group = only(ask("mean(x)", plans.moments(X, mode="exact"), a, b))
    assert group["value"] == near(np.concatenate([plans.values(a, X), plans.values(b, X)]).mean())


def test_a_small_cell_is_null_and_says_why():
    table = plans.table(np.random.default_rng(1), 10, missing=0)
    group = only(ask("mean(x)", plans.moments(X, mode="exact"), table, minimum=11))
    assert group["suppressed"]
    assert "fewer than the minimum cohort of 11" in group["reason"]
    assert [group[k] for k in ("value", "low", "high", "n")] == [None] * 4


def test_a_table_with_a_small_cell_shows_the_others_and_no_v():
    table = plans.table(np.random.default_rng(1), 400, missing=0)
    table["region"] = (np.where(np.arange(400) < 5, 3, np.minimum(table["region"][0], 2)), table["region"][1])
    release = plans.count("exact", by=[plans.by("arm", 2), plans.by("region", 4)])
    group = only(ask("correlate(arm, region)", release, table, minimum=11))
    assert group["suppressed"]
    assert (group["value"], group["chi2"], group["p"], group["cramers_v"]) == (None,) * 4
    counts = crossed(table, "arm", "region", 2, 4)
    assert group["table"]["counts"] == [
        [5 * round(n / 5) if n == 0 or n >= 11 else None for n in row] for row in counts
    ]


def test_an_empty_cohort_counts_zero_and_has_no_mean():
    table = plans.table(np.random.default_rng(1), 60)
    nobody = ("in", "arm", ())
    assert (
        only(ask("count() where arm in (placebo)", plans.count("exact", cohort=nobody), table))["value"] == 0
    )
    for text, release in (
        ("mean(x)", plans.moments(X, mode="exact", cohort=nobody)),
        ("sd(x)", plans.moments(X, mode="exact", cohort=nobody)),
        ("proportion(arm, placebo)", plans.count("exact", by=[plans.by("arm", 2)], cohort=nobody)),
    ):
        group = only(ask(text, release, table))
        assert (group["value"], group["n"], group["suppressed"]) == (None, 0, False)
        assert group["reason"] == "no patient in the cohort"


def test_a_column_without_variation_has_sd_zero_and_no_correlation():
    table = plans.table(np.random.default_rng(1), 60, missing=0)
    table["x"] = (np.full(60, 321), table["x"][1])
    sd = only(ask("sd(x)", plans.moments(X, mode="exact"), table))
    assert (sd["value"], sd["low"], sd["high"]) == (0.0, 0.0, 0.0)
    r = only(ask("correlate(x, y)", plans.pair(X, Y, "exact"), table))
    assert r["value"] is None
    assert "does not vary" in r["reason"]


def test_a_column_with_itself_correlates_at_one():
    table = plans.table(np.random.default_rng(1), 60, missing=0)
    group = only(ask("correlate(x, x)", plans.pair(X, X, "exact"), table))
    assert (group["value"], group["low"], group["high"]) == (1.0, 1.0, 1.0)


def test_one_patient_has_a_mean_and_no_interval():
    table = plans.table(np.random.default_rng(1), 1, missing=0)
    group = only(ask("mean(x)", plans.moments(X, mode="exact"), table))
    assert group["value"] == near(plans.values(table, X)[0])
    assert (group["low"], group["high"]) == (None, None)
    assert "one patient" in group["reason"]


def test_without_the_sum_of_squares_the_interval_of_a_mean_is_the_widest_possible(table):
    wide = only(ask("mean(x)", plans.moments(X, 1, mode="exact"), table))
    narrow = only(ask("mean(x)", plans.moments(X, 2, mode="exact"), table))
    assert wide["value"] == narrow["value"]
    assert wide["low"] <= narrow["low"] < narrow["high"] <= wide["high"]


def both(*columns):
    return ("and", *(("present", column) for column in columns))


def crossed(table, a, b, rows, columns):
    """The contingency table of two columns, by counting."""
    (x, p), (y, q) = table[a], table[b]
    return np.array([[int((p & q & (x == i) & (y == j)).sum()) for j in range(columns)] for i in range(rows)])


def test_the_standard_error_is_the_deviation_over_the_root_of_n(table):
    group = only(ask("se(x)", plans.moments(X, mode="exact"), table))
    sd = only(ask("sd(x)", plans.moments(X, mode="exact"), table))
    x = plans.values(table, X)
    assert group["value"] == near(stats.sem(x))
    assert (group["low"], group["high"]) == near((sd["low"] / len(x) ** 0.5, sd["high"] / len(x) ** 0.5))
