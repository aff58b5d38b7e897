"""Which tables of a plan are in earlier ones, as which sums, and how precise those are."""

from fractions import Fraction

import numpy as np
import pytest

from analytics.query import released
from analytics.query.model import By
from analytics.query.plan import DatasetFacts, compile
from analytics.query.released import find, read
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate
from analytics.statistics import figures
from tests.analytics.statistics import plans

SCHEMA = parse_codebook(plans.CODEBOOK)


def facts(version=1):
    return [
        DatasetFacts(
            id="d" * 32, version=version, manifest_hash=str(version) * 64, capacity=4096, schema=SCHEMA,
            policy={"minimum_cohort": 11},
        )
    ]  # fmt: skip


def plan(program, micro=10**6, mode="dp", **how):
    return compile(program, facts(**how), micro, mode)


def look(program, *earlier, micro=10**6):
    """The cells that each table of the program adds up, or None."""
    found = find(plan(program, micro), list(earlier), SCHEMA.fields)
    return [None if source is None else source.cells for source in found]


def test_the_same_table_is_at_hand_however_it_is_called():
    assert look("count() by arm", plan("count() by arm")) == [((0,), (1,))]
    assert look("sd(x) by arm", plan("mean(x) by arm")) == [((0,), (1,))]


def test_another_cohort_column_shape_or_condition_is_not():
    old = plan("count() by arm\nmean(x)", 2 * 10**6)
    for program in (
        "count()",  # who has no arm is in it
        "count(x)",  # one number of the mean is no count of its own
        "mean(y)",
        "count() where x > 40 by arm",
        "mean(x) by arm",
        "count() by region",
    ):
        assert look(program, old) == [None], program


def test_a_coarser_table_is_the_sum_of_the_cells():
    assert look("count(arm)", plan("count() by arm", 2 * 10**6)) == [((0, 1),)]
    assert look("correlate(region, arm)", plan("correlate(arm, region)")) == [
        tuple((region + 4 * arm,) for region in range(4) for arm in range(2))
    ]


def test_a_condition_on_a_partitioning_column_leaves_its_cells():
    old = plan("count() by region", 2 * 10**6)
    assert look('count() where region == "North West"', old) == [((1,),)]
    assert look('count() where region in ("North East", "South East")', old) == [((0, 2),)]
    assert look('count() where region != "North West"', old) == [
        None
    ]  # compiled as a complement, not as a list


def test_a_partition_that_leaves_codes_out_is_no_whole():
    given = plans.count(cohort=("present", "region"), by=[By(column="region", groups=((0,), (1,)))])
    wanted = plans.count(cohort=("present", "region"))
    codes = {"region": 4}
    assert released._adding(wanted, given, codes) is None
    assert released._adding(
        wanted, plans.count(cohort=("present", "region"), by=[plans.by("region", 4)]), codes
    )


def test_edges_that_are_some_of_the_finer_ones_add_its_cells():
    fine, coarse = By(column="x", edges=(0, 10, 20, 30)), By(column="x", edges=(0, 20, 30))
    assert released._placed(fine, coarse) == [0, 0, 1]
    assert released._placed(coarse, fine) is None
    assert released._placed(fine, By(column="x", edges=(10, 30))) is None


def test_only_what_is_as_precise_as_asked_for_is_at_hand():
    old = plan("count() by arm", 10**6)
    assert look("count() by arm", old, micro=10**6) == [((0,), (1,))]
    assert look("count() by arm", old, micro=10**6 + 1) == [None]
    # A sum of two noises has twice the variance: as much as one at epsilon / sqrt(2).
    assert look("count(arm)", old, micro=707_106) == [((0, 1),)]
    assert look("count(arm)", old, micro=707_107) == [None]


def test_the_most_precise_of_several_is_taken():
    found = find(
        plan("count() by arm"), [plan("count() by arm"), plan("count() by arm", 3 * 10**6)], SCHEMA.fields
    )
    assert [source.plan for source in found] == [1]


def test_another_version_or_mode_is_another_table():
    assert look("count() by arm", plan("count() by arm", version=2)) == [None]
    exact = plan("count() by arm", mode="exact")
    assert find(exact, [exact], SCHEMA.fields) == [None]


def test_what_is_read_are_sums_of_the_signed_integers_with_noise_of_their_variance():
    old = plan("count() by region\nmean(x) by arm", 4 * 10**6)
    new = plan("count(region)\nsd(x) by arm", 10**6)
    signed = [[100, 90, 80, 70], [5, 6, 7, 8, 9, 10]]
    places = find(new, [old], SCHEMA.fields)
    again, tables = read(new, places, [old], [signed])
    assert tables == [[340], signed[1]]
    assert again.releases[0].scale == 2 * old.releases[0].scale
    assert again.releases[1].scale == old.releases[1].scale
    assert again.statements == new.statements
    with pytest.raises(ValueError, match="integers"):
        read(new, places, [old], [[[1], signed[1]]])


def test_a_root_that_is_not_whole_is_rounded_up():
    assert released._wider(Fraction(1), 2) ** 2 > 2
    assert released._wider(Fraction(1), 2) < Fraction(1414214 + 1, 10**6)
    assert released._wider(Fraction(7, 3), 9) == 7


def test_intervals_of_summed_cells_hold_the_true_count_as_often_as_they_say():
    rng = np.random.default_rng(7)
    old, new = plan("count() by region", 10**6), plan("count(region)", 5 * 10**5)
    truth = evaluate(old, facts(), [plans.table(rng, 900)])
    places = find(new, [old], SCHEMA.fields)
    held, runs = 0, 400
    for _ in range(runs):
        again, tables = read(new, places, [old], [plans.noised(rng, old, truth)])
        (group,) = figures(again, facts(), tables)[0]["groups"]
        held += group["low"] <= sum(truth[0]) <= group["high"]
    assert 0.92 <= held / runs <= 0.995
