"""The oracle itself, held to loops over rows and to pandas."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.reference import evaluate, holds
from tests.analytics.statistics import plans
from tests.analytics.statistics.plans import FIELDS

X, Y, ARM, REGION = FIELDS
SMALL = {
    "a": (np.array([0, 1, 2, 3, 0]), np.array([True, True, True, True, False])),
    "b": (np.array([1, 1, 0, 0, 1]), np.array([True, False, True, True, True])),
}
LEAVES = st.one_of(
    st.just(("all",)),
    st.sampled_from(["a", "b"]).map(lambda c: ("present", c)),
    st.tuples(st.just("less"), st.sampled_from(["a", "b"]), st.integers(0, 4)),
    st.tuples(st.just("in"), st.sampled_from(["a", "b"]), st.lists(st.integers(0, 3), max_size=3).map(tuple)),
)
COHORTS = st.recursive(
    LEAVES,
    lambda nodes: st.one_of(
        nodes.map(lambda n: ("not", n)),
        st.lists(nodes, min_size=1, max_size=3).map(lambda ns: ("and", *ns)),
        st.lists(nodes, min_size=1, max_size=3).map(lambda ns: ("or", *ns)),
    ),
    max_leaves=8,
)


def row_holds(cohort, row):
    kind, *rest = cohort
    return {
        "all": lambda: True,
        "present": lambda: row[rest[0]][1],
        "less": lambda: row[rest[0]][0] < rest[1],
        "in": lambda: row[rest[0]][0] in rest[1],
        "and": lambda: all(row_holds(node, row) for node in rest),
        "or": lambda: any(row_holds(node, row) for node in rest),
        "not": lambda: not row_holds(rest[0], row),
    }[kind]()


@settings(max_examples=200, deadline=None)
@given(cohort=COHORTS)
def test_a_cohort_means_the_same_row_by_row(cohort):
    rows = [{c: (codes[i], present[i]) for c, (codes, present) in SMALL.items()} for i in range(5)]
    assert holds(cohort, SMALL).tolist() == [bool(row_holds(cohort, row)) for row in rows]


def test_an_unknown_node_is_an_error_not_a_cohort():
    with pytest.raises(ValueError):
        holds(("maybe", "a"), SMALL)


def test_totals_are_those_of_a_loop_over_patients():
    table = plans.table(np.random.default_rng(2), 150)
    release = plans.pair(X, Y, "exact", by=[plans.by("arm", 2)])
    (row,) = evaluate(plans.plan("correlate(x, y) by arm", release, "exact", 1), plans.facts(), [table])
    expected = []
    for arm in (0, 1):
        sums = [0] * len(release.monomials)
        for i in range(150):
            x, y, a = (table[c][0][i] for c in ("x", "y", "arm"))
            if table["x"][1][i] and table["y"][1][i] and a == arm:
                for k, (p, q) in enumerate(release.monomials):
                    sums[k] += (int(x) - 512) ** p * (int(y) - 1024) ** q
        expected += [1, *sums]
    assert row == expected
    assert all(type(x) is int for x in row)


def test_in_dp_mode_the_transform_is_applied_and_a_patient_adds_the_sensitivity():
    table = plans.table(np.random.default_rng(2), 90, missing=0)
    for text, release, mass in (
        ("mean(x)", plans.moments(X, 1), 2 * 512),
        ("sd(x)", plans.moments(X, 2), 4 * 512**2),
        ("correlate(x, y)", plans.pair(X, Y), 16 * 512**2 * 1024**2),
    ):
        (row,) = evaluate(plans.plan(text, release), plans.facts(), [table])
        assert min(row) >= 0
        assert sum(row) == 90 * mass == 90 * release.sensitivity


def test_cells_are_row_major_with_the_last_by_running_fastest():
    table = plans.table(np.random.default_rng(3), 300, missing=0)
    release = plans.count(by=[plans.by("arm", 2), plans.by("region", groups=((1,), (0, 2, 3)))])
    (row,) = evaluate(plans.plan("count()", release), plans.facts(), [table])
    arm, region = table["arm"][0], table["region"][0]
    assert row == [
        int(((arm == a) & ((region == 1) == is_one)).sum())
        for a, is_one in itertools.product((0, 1), (True, False))
    ]


def test_counts_agree_with_a_pandas_crosstab():
    table = plans.table(np.random.default_rng(4), 500)
    release = plans.count(
        by=[plans.by("arm", 2), plans.by("region", 4)],
        cohort=("and", ("present", "arm"), ("present", "region")),
    )
    (row,) = evaluate(plans.plan("correlate(arm, region)", release), plans.facts(), [table])
    arm, region = (pd.Series(codes).where(present) for codes, present in (table["arm"], table["region"]))
    assert row == pd.crosstab(arm, region).to_numpy().ravel().tolist()


def test_a_coarse_operand_loses_its_low_bits_before_it_is_centred():
    table = {"x": (np.array([0, 7, 8, 1000]), np.ones(4, dtype=bool))}
    release = plans.moments(X, 1, "exact", dropped=3)
    (row,) = evaluate(plans.plan("mean(x)", release, "exact", 1), plans.facts(), [table])
    assert row == [1, 4, sum(c - 64 for c in (0, 0, 1, 125))]


@pytest.mark.parametrize(
    ("sizes", "ok"), [((0, 0), 1), ((11, 0), 1), ((11, 12), 1), ((10, 0), 0), ((14, 1), 0), ((5, 6), 0)]
)
def test_in_exact_mode_every_datasets_own_count_is_zero_or_large_enough(sizes, ok):
    tables = [{"x": (600 + np.arange(n) % 2, np.ones(n, dtype=bool))} for n in sizes]
    release = plans.moments(X, 1, "exact")
    plan = plans.plan("mean(x)", release, "exact", 11, datasets=2)
    (row,) = evaluate(plan, plans.facts(datasets=2), tables)
    assert row == ([1, sum(sizes), 88 * sum(sizes) + sum(n // 2 for n in sizes)] if ok else [0, 0, 0])


def test_products_of_wide_columns_do_not_wrap():
    wide = plans.number("w", "0", str(2**20 - 1), "1")
    table = {"w": (np.array([2**20 - 1] * 3), np.ones(3, dtype=bool))}
    release = plans.pair(wide, wide, "dp")
    (row,) = evaluate(plans.plan("correlate(w, w)", release, fields=(wide,)), plans.facts(wide), [table])
    assert sum(row) == 3 * 16 * 2**76


def test_tables_that_do_not_match_the_plan_are_an_error():
    plan = plans.plan("count()", plans.count(), datasets=2)
    with pytest.raises(ValueError):
        evaluate(plan, plans.facts(datasets=2), [SMALL])
