"""Whether exact plans may be shown: every rule on shares, with a table that keeps it and one that breaks it alone.

The truth is `reference.broken`, in numpy. What the parties open says one thing of a plan that breaks a rule, whatever
the rule, and what they send is the same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import reference
from analytics.execute import Table, execute, integers, released_words, tables
from analytics.query import cost, disclosure
from analytics.query.disclosure import Earlier
from analytics.query.plan import compile
from analytics.statistics import figures
from mpcnode.driver import run
from mpcnode.ring import XOR, pack, words_for
from tests.analytics.query.studies import a_codebook, some_facts
from tests.cheating.bench import Tap
from tests.world import World, opened

CODEBOOK = a_codebook(
    fields=[
        {"name": "arm", "type": "string", "categories": ["a", "b", "c"]},
        {"name": "site", "type": "string", "categories": ["n", "s"]},
        {"name": "died", "type": "string", "categories": ["no", "yes"], "role": "event", "occurred": "yes"},
        {"name": "visits", "type": "integer", "constraints": {"minimum": 0, "maximum": 63}},
        {"name": "cost", "type": "number", "constraints": {"minimum": 1, "maximum": 63}, "resolution": "2"},
        {"name": "flag", "type": "integer", "constraints": {"minimum": 0, "maximum": 1}},
        {"name": "change", "type": "integer", "constraints": {"minimum": -8, "maximum": 7}},
        {"name": "bmi", "type": "number", "constraints": {"minimum": 16, "maximum": "47.5"}, "resolution": "0.5"},
        {
            "name": "months", "type": "integer", "unit": "months", "role": "time", "event": "died",
            "constraints": {"minimum": 0, "maximum": 31}, "grid": [0, 8, 16, 24, 31],
        },
    ],
    capacity=320,
)  # fmt: skip
FACTS = some_facts(CODEBOOK)
FIELDS = {field.name: field for field in FACTS.schema.fields}


def people(n=120, **columns):
    """n patients in even groups; a column is given as codes, -1 is missing."""
    k = np.arange(n)
    codes = {
        "arm": k % 3,
        "site": k // 3 % 2,
        "died": k // 6 % 2,
        "visits": 3 + k % 7,
        "cost": k % 9,
        "flag": k // 2 % 2,
        "change": k % 15,
        "bmi": k % 40,
        "months": k % 32,
        **columns,
    }
    return {
        name: (np.where(np.asarray(own) < 0, 0, own), np.asarray(own) >= 0) for name, own in codes.items()
    }


def plan_of(program, facts=(FACTS,), minimum=11):
    return compile(
        program, [replace(f, policy={**f.policy, "minimum_cohort": minimum}) for f in facts], 10**6, "exact"
    )


def shared(world, clear, capacity):
    """Planes by column name and party."""
    rows, words = len(clear["arm"][0]), words_for(capacity)
    bits = {"": [np.arange(words * 64) < rows]}
    for field in FACTS.schema.fields:
        codes, present = (np.pad(column, (0, words * 64 - rows)) for column in clear[field.name])
        bits[field.name] = [codes >> k & 1 != 0 for k in range(field.bits)] + [present]
    return {name: world.share(pack(np.array(planes)), XOR) for name, planes in bits.items()}


def asked(program, *clear, earlier=(), seed=5, minimum=11, wire=None, n=4):
    """The opened integers of a program over some hospitals' patients, after comparing them with the oracle."""
    facts = [some_facts(CODEBOOK, id=f"{k + 1:032x}") for k in range(len(clear))]
    plan = plan_of(program, facts, minimum)
    world = World(seed, n, **({"wire": wire} if wire else {}))
    planes = [shared(world, table, 320) for table in clear]
    before = [
        Earlier.of(
            [cell for one in earlier for cell in disclosure.cells(plan_of(one, facts, minimum).own(place))],
            plan.own(place), fact,
        )
        for place, fact in enumerate(facts)
    ]  # fmt: skip

    def own(session):
        columns = {f.id: table for f, table in zip(facts, planes, strict=True)}
        read = tables(
            plan,
            lambda dataset, names: {name: columns[dataset][name][session.party].components for name in names},
            [Table(0, {}).views] * len(facts),
            before,
        )
        return run(session, execute(session, plan, read, earlier=before))

    world.connect()
    results = world.outcomes(own)
    for result in results:
        if isinstance(result, Exception):
            raise result
    got = integers(plan, opened(results))
    assert got == reference.evaluate(plan, facts, clear, before)
    if n == 4:
        estimate = cost.estimate(plan, earlier=before)
        assert estimate.rounds == world.sessions[0].rounds + 2
        sent = sum(s.words_sent for s in world.sessions) * 2 + 48 * world.sessions[0].rounds
        assert estimate.bytes_per_party == sent + 3 * (5 * cost.READY_BYTES + 8 * released_words(plan))
    return got


def broken(program, clear, earlier=()):
    plan = plan_of(program)
    before = Earlier.of([cell for one in earlier for cell in disclosure.cells(plan_of(one))], plan, FACTS)
    return reference.broken(plan, clear, before)


def shows_nothing(got):
    return all(set(one[::width]) == {2} and set(one) <= {0, 2} for one in got for width in [_width(one)])


def _width(one):
    return next((k for k in range(1, len(one)) if one[k] == 2), len(one))


def visits(*largest, n=60):
    """Some patients with large numbers of visits, the others with one or two."""
    codes = 1 + np.arange(n) % 2
    codes[: len(largest)] = largest
    return codes


NOBODY_DIED_IN_A = np.where(np.arange(120) % 3 == 0, 0, np.arange(120) // 6 % 2)
FEW = np.where(np.arange(120) < 100, np.arange(120) // 10 % 2, np.where(np.arange(120) < 107, 2, 0))
# rule, program, patients who keep it, patients who break it and no other
RULES = {
    "a zeroed cell is what is left of another statement": (
        "complement",
        "count(); count() by arm",
        people(),
        people(arm=FEW),
    ),
    "a zeroed cell is what is left of a margin of another table": (
        "complement",
        "count() by site; crosstab(arm, site)",
        people(),
        people(n=60, arm=np.where(np.arange(60) < 4, 2, np.arange(60) // 6 % 2)),
    ),
    "a zeroed interval is what is left of a wider one": (
        "complement",
        "histogram(bmi, 26); histogram(bmi, 21, 26)",
        people(),
        people(bmi=np.where(np.arange(120) < 7, 2, 12 + np.arange(120) % 25)),
    ),
    "a total without some cells": (
        "complement",
        "count(); count() by arm",
        people(arm=np.where(np.arange(120) < 12, -1, np.arange(120) % 3)),
        people(arm=np.where(np.arange(120) < 3, -1, np.arange(120) % 3)),
    ),
    "a margin without some cells": (
        "complement",
        "count() by arm; crosstab(arm, died)",
        people(died=np.where(np.arange(120) < 36, -1, np.arange(120) // 6 % 2)),
        people(died=np.where(np.arange(120) == 0, -1, np.arange(120) // 6 % 2)),
    ),
    "nobody of a group has the level": (
        "class",
        "proportion(died, yes) by arm",
        people(),
        people(died=NOBODY_DIED_IN_A),
    ),
    "everybody of a group has the level": (
        "class",
        "crosstab(arm, died)",
        people(),
        people(died=1 - NOBODY_DIED_IN_A),
    ),
    "everybody has the level": ("class", "count() by died", people(), people(died=np.ones(120, dtype=int))),
    "a flag has a mean of one": ("class", "mean(flag)", people(), people(flag=np.ones(120, dtype=int))),
    "a flag has a mean of zero in a group": (
        "class",
        "mean(flag) by site",
        people(),
        people(flag=np.where(np.arange(120) // 3 % 2 == 0, 0, np.arange(120) // 2 % 2)),
    ),
    "all values of a distribution in one interval": (
        "class",
        "histogram(bmi, 20, 30)",
        people(),
        people(bmi=np.full(120, 3)),
    ),
    "nobody of an arm died in a curve": (
        "class",
        "survival(months) by arm",
        people(n=320, died=np.arange(320) // 6 % 2),
        people(n=320, died=np.where(np.arange(320) % 3 == 0, 0, np.arange(320) // 6 % 2)),
    ),
    "a correlation of eleven": ("freedom", "correlate(change, bmi)", people(n=12), people(n=11)),
    "a regression of few": ("freedom", "linear(change, bmi, visits)", people(n=13), people(n=12)),
    "two amounts are a sum": (
        "dominance",
        "sum(visits)",
        people(n=60, visits=visits(60, 60)),
        people(n=12, visits=[63, 63, *[1] * 10]),
    ),
    "two amounts are a mean of a group": (
        "dominance",
        "mean(visits) by site",
        people(n=60, visits=visits(*[30] * 7)),
        people(
            n=66, visits=[63, 63, *[1] * 9, *[0] * 22, *[k % 40 for k in range(33)]], site=np.arange(66) // 33
        ),
    ),
    "amounts that do not begin at nothing": (
        "dominance",
        "sum(cost)",
        people(n=60),
        people(n=11, cost=[31, 31, *[0] * 9]),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_plan_shows_what_keeps_a_rule(name):
    _, program, keeps, _ = RULES[name]
    assert broken(program, keeps) == set()
    assert {one[0] for one in asked(program, keeps)} == {1}


@pytest.mark.parametrize("name", RULES)
def test_a_plan_shows_nothing_of_what_breaks_one_rule_alone(name):
    rule, program, _, breaks = RULES[name]
    assert broken(program, breaks) == {rule}
    assert shows_nothing(asked(program, breaks))


def test_the_last_of_eleven_visits_decides_whether_two_patients_are_a_sum():
    """x1 + x2 <= 9 R: at the edge, and one beyond it."""
    at, beyond = people(n=16, visits=[45, 45, 10, *[0] * 13]), people(n=16, visits=[45, 46, 10, *[0] * 13])
    assert broken("sum(visits)", at) == set() and asked("sum(visits)", at)[0][0] == 1
    assert broken("sum(visits)", beyond) == {"dominance"} and asked("sum(visits)", beyond) == [[2, 0, 0]]


@given(largest=st.integers(0, 10**6), second=st.integers(0, 10**6), rest=st.integers(0, 10**6))
def test_the_p_ratio_rule_holds_wherever_dominance_does(largest, second, rest):
    largest, second = max(largest, second), min(largest, second)
    if 10 * (largest + second) <= 9 * (largest + second + rest):
        assert 10 * rest >= largest


def test_bounds_that_rule_dominance_out_cost_nothing():
    plan = plan_of("mean(bmi)")
    assert plan.rules[0].amounts == (None,)
    assert cost.estimate(plan).rounds < cost.estimate(plan_of("mean(visits)")).rounds
    assert plan_of("mean(change)").rules[0].amounts == (None,)  # may be negative: parts of no sum


@pytest.mark.parametrize("minimum", [2, 9, 10, 11, 20])
def test_the_smallest_cohort_of_the_policy_zeroes_a_cell(minimum):
    assert asked("count()", people(n=minimum), minimum=minimum) == [[1, 5 * round(minimum / 5)]]
    assert asked("count()", people(n=minimum - 1), minimum=minimum) == [[0, 0]]


def test_a_small_cell_is_zeroed_and_the_others_are_shown():
    few = people(arm=FEW)
    a, b, _ = (int((k == FEW).sum()) for k in range(3))
    assert broken("count() by arm", few) == set()
    assert asked("count() by arm", few) == [[1, 5 * round(a / 5), 1, 5 * round(b / 5), 0, 0]]
    (statement,) = figures(plan_of("mean(bmi) by arm"), [FACTS], asked("mean(bmi) by arm", few))
    first, second, small = statement["groups"]
    assert not first["suppressed"] and first["n"] == a and not second["suppressed"] and second["n"] == b
    assert small["suppressed"] and small["value"] is small["n"] is None
    assert "fewer than the minimum cohort of 11" in small["reason"]


ZEROED = {
    "all have the level": ("class", "count() by died", people(n=5, died=np.ones(5, dtype=int))),
    "all in one interval": ("class", "histogram(bmi, 20, 30)", people(n=6, bmi=np.full(6, 3))),
    "one value": ("class", "mean(bmi)", people(n=7, bmi=np.full(7, 3))),
    "two amounts": ("dominance", "sum(visits)", people(n=10, visits=[63, 63, *[1] * 8])),
    "a small model": ("freedom", "correlate(change, bmi)", people(n=10)),
}


@pytest.mark.parametrize("name", ZEROED)
def test_a_zeroed_cell_breaks_no_rule_of_what_is_seen_though_with_more_patients_it_would(name):
    rule, program, clear = ZEROED[name]
    assert broken(program, clear) == set()
    got = asked(program, clear)
    assert {number for one in got for number in one} <= {0, 1} and any(one[0] == 0 or 0 in one for one in got)
    wider = {c: (np.tile(codes, 2), np.tile(present, 2)) for c, (codes, present) in clear.items()}
    if rule == "dominance":
        wider = people(n=11, visits=[63, 63, *[1] * 9])
    if rule == "freedom":
        wider = people(n=11)
    if rule == "class":
        wider = {c: (np.tile(codes, 3), np.tile(present, 3)) for c, (codes, present) in clear.items()}
    assert rule in broken(program, wider)
    assert shows_nothing(asked(program, wider))


def test_everybody_else_of_a_group_in_a_zeroed_cell_leaves_the_others_shown():
    died = np.where(np.arange(120) % 3 == 0, np.arange(120) < 9, np.arange(120) // 6 % 2)
    got = asked("crosstab(arm, died)", people(died=died.astype(int)))
    assert got[0][::2] == [1, 0, 1, 1, 1, 1]


def test_a_zeroed_cell_that_an_earlier_answer_leaves_is_withheld_in_either_order():
    few = people(arm=FEW)
    assert asked("count() by arm", few)[0][::2] == [1, 1, 0]
    assert asked("count()", few)[0][0] == 1
    assert broken("count()", few, ["count() by arm"]) == {"complement"}
    assert shows_nothing(asked("count()", few, earlier=["count() by arm"]))
    assert shows_nothing(asked("count() by arm", few, earlier=["count()"]))


def test_a_zeroed_cell_may_be_asked_about_again():
    few = people(arm=FEW)
    assert asked("mean(bmi) by arm", few, earlier=["count() by arm"])[0][::4] == [1, 1, 0]
    assert asked("count() by arm; mean(bmi) by arm", few)[0][::2] == [1, 1, 0]


def test_a_zeroed_cell_of_one_hospital_is_zeroed_for_all_and_alone_where_tables_are_apart():
    one, other = people(n=113), people(arm=FEW)
    assert asked("count() by arm", one, other)[0][::2] == [1, 1, 0]
    assert asked("count() by dataset, arm", one, other)[0][::2] == [1, 1, 1, 1, 1, 0]


def test_with_a_smallest_cohort_of_one_nothing_is_checked_and_nothing_rounded():
    assert asked("count(); sum(visits)", people(n=3, visits=[63, 0, 0]), minimum=1)[0] == [1, 3]


@pytest.mark.parametrize("n", [11, 12, 13, 14, 15, 317, 318])
def test_counts_are_opened_as_multiples_of_five(n):
    assert asked("count()", people(n=n)) == [[1, 5 * round(n / 5)]]


def test_totals_of_numbers_and_their_patients_are_not_rounded():
    clear = people(n=113)
    (got,) = asked("mean(bmi)", clear)
    assert got[1] == 113
    plan = plan_of("mean(bmi)")
    (statement,) = figures(plan, [FACTS], [got])
    assert statement["groups"][0]["value"] == pytest.approx((16 + clear["bmi"][0] / 2).mean(), rel=1e-12)


def test_pooled_counts_are_rounded_once_and_every_hospital_keeps_every_rule():
    one, other = people(n=113), people(n=64)
    assert asked("count() by arm", one, other)[0][::2] == [1, 1, 1]
    assert asked("count()", one, other) == [[1, 175]]
    assert asked("count() by dataset", one, other) == [[1, 115, 1, 65]]
    assert asked("count()", one, people(n=7)) == [[0, 0]]
    assert shows_nothing(asked("count() by arm", one, people(n=64, arm=np.zeros(64, dtype=int))))
    assert shows_nothing(asked("sum(visits)", one, people(n=12, visits=[63, 63, *[1] * 10])))


def test_a_total_that_an_earlier_answer_told_without_some_patients_is_withheld():
    few = people(arm=np.where(np.arange(120) < 3, -1, np.arange(120) % 3))
    assert broken("count()", few, ["count() by arm"]) == {"complement"}
    assert shows_nothing(asked("count()", few, earlier=["count() by arm"]))
    assert shows_nothing(asked("count() by arm", few, earlier=["count()"]))
    enough = people(arm=np.where(np.arange(120) < 33, -1, np.arange(120) % 3))
    assert asked("count()", enough, earlier=["count() by arm"]) == [[1, 120]]


PROGRAMS = (
    "count() by arm",
    "crosstab(arm, site)",
    "crosstab(arm, died) by site",
    "proportion(died, yes) by arm",
    "mean(visits) by arm; count(visits)",
    "sum(cost)",
    "survival(months) by site",
    "histogram(bmi, 20, 30) by arm",
    "linear(change, bmi, arm)",
    "logistic(died, arm, site)",
    "rate(died, months)",
    "table_one(bmi, arm)",
    "difference(visits, site)",
)


@pytest.mark.parametrize("n", [4, 3])
@given(
    program=st.sampled_from(PROGRAMS),
    rows=st.integers(0, 320),
    hollow=st.sampled_from([0.0, 0.0, 0.2]),
    skew=st.sampled_from([1, 1, 4]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=15, deadline=None)
def test_whatever_the_patients_the_parties_decide_as_numpy_does(n, program, rows, hollow, skew, seed):
    rng = np.random.default_rng(seed)
    sizes = {name: FIELDS[name].codes for name in FIELDS}
    drawn = {name: (rng.random(rows) ** skew * size).astype(int) for name, size in sizes.items()}
    missing = {name: rng.random(rows) < (hollow if name in ("arm", "visits") else 0) for name in sizes}
    clear = people(rows, **{name: np.where(missing[name], -1, drawn[name]) for name in sizes})
    asked(program, clear, seed=seed, n=n)


def tapped(frames, party, transport):
    return Tap(transport, frames)


@pytest.mark.parametrize(
    "program", ["mean(visits) by site; count()", "survival(months) by arm", "table_one(bmi, arm)"]
)
def test_what_is_sent_is_the_same_for_what_is_shown_and_what_is_withheld(program):
    same, k = np.full(320, 3), np.arange(320)
    broken_all = people(n=320, visits=same, bmi=same, died=np.where(k % 3 == 0, 0, k // 6 % 2))
    neighbours = [people(n=320), people(n=319), broken_all, people(n=12), people(n=0)]
    seen, shown = [], set()
    for clear in neighbours:
        frames = {}
        shown.add(asked(program, clear, wire=partial(tapped, frames))[0][0])
        seen.append({link: [len(frame) for frame in sent] for link, sent in frames.items()})
    assert 2 in shown and shown & {0, 1} and len(seen[0]) == 12
    assert all(one == seen[0] for one in seen)


def test_no_statistic_shows_the_smallest_or_the_largest_value():
    """Not in the language, not among the figures; and no table holds more of a number than sums of its powers."""
    from analytics.query.statistic import spellings, statistics
    from tests.analytics import asking

    assert not {"min", "max", "minimum", "maximum", "range", "smallest", "largest"} & set(spellings())
    said = {word for one in statistics().values() for word in one.words.lower().split()}
    assert not {"minimum", "maximum", "smallest", "largest"} & said
    for plan in asking.questions("exact").values():
        for release in plan.releases:
            assert all(sum(exponents) <= 2 for exponents in release.monomials)


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_kept_of_an_answer_is_read_as_it_was_told(program):
    told = disclosure.cells(plan_of(program))
    assert disclosure.read(disclosure.text_of(told)) == told
