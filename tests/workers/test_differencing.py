"""Exact answers whose difference would show a few patients: nothing of the later one is shown, and every party sees it."""

import numpy as np
import pytest

from tests.workers.test_party import Four, codes
from tests.workers.test_versions import first, served
from tests.workers.world import World, codebook
from workers.errors import Refused
from workers.mandate import examine


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("template"))
    world.give(world.prepare(codebook()))
    return world


@pytest.fixture
def world(template, tmp_path):
    return template.copy(tmp_path)


@pytest.fixture
def four(world):
    return Four(world)


@pytest.fixture(scope="module")
def ages(template):
    """Years of the patients, whose arm is 0 (a), 1 or 2."""
    found = codes(template)
    return found["age"] + 18, found["arm"]


def asked(four, program, number):
    """The integers of an exact answer."""
    order = four.world.order(program, mode="exact", number=number)
    four.world.networks.clear()
    assert four.ask(order) == dict.fromkeys(range(4), "answered")
    return four.world.portal.reports[-1]["integers"]


def shown(rows):
    """A count as exact mode opens it."""
    return 5 * round(int(rows.sum()) / 5)


def two_cuts(ages, differing):
    """Two ages between which there are so many patients."""
    years = np.unique(ages[0])
    for low in years:
        for high in years[years > low]:
            between = int(((ages[0] >= low) & (ages[0] < high)).sum())
            if differing(between) and min((ages[0] >= high).sum(), (ages[0] < low).sum()) >= 11:
                return int(low), int(high)
    raise AssertionError("the table has no such ages")


def test_a_cohort_that_differs_by_a_few_patients_from_an_earlier_one_shows_nothing(four, ages):
    low, high = two_cuts(ages, lambda n: 0 < n < 11)
    assert asked(four, f"count() where age >= {low}", 1) == [[1, shown(ages[0] >= low)]]
    assert asked(four, f"count() where age >= {high}", 2) == [[2, 0]]
    assert asked(four, f"sum(age) where age >= {high}", 3) == [[2, 0, 0]]


def test_a_cohort_that_differs_by_enough_is_answered_and_so_is_the_same_one_again(four, ages):
    low, high = two_cuts(ages, lambda n: n >= 11)
    first = asked(four, f"count() where age >= {low}", 1)
    assert asked(four, f"count() where age >= {high}", 2) == [[1, shown(ages[0] >= high)]]
    assert asked(four, f"count() where age >= {low}", 3) == first


def test_the_groups_of_two_questions_are_compared_one_by_one(four, ages):
    years, arm = ages
    low = next(
        y for y in np.unique(years)
        if ((years >= 18) & (years < y)).sum() >= 11 and 0 < ((years < y) & (arm == 0)).sum() < 11
    )  # fmt: skip
    assert asked(four, "count() by arm", 1)[0][0] == 1
    assert set(asked(four, f"count() where age >= {low} by arm", 2)[0][::2]) == {2}


def test_two_statements_of_one_program_that_lie_too_near_show_nothing_of_either(four, ages):
    low, high = two_cuts(ages, lambda n: 0 < n < 11)
    program = f"count() where age >= {low}; count() where age >= {high}"
    assert asked(four, program, 1) == [[2, 0], [2, 0]]


def test_what_was_withheld_is_not_compared_with(four, ages):
    low, high = two_cuts(ages, lambda n: 0 < n < 11)
    asked(four, f"count() where age >= {low}; count() where age >= {high}", 1)
    assert asked(four, f"count() where age >= {high}", 2) == [[1, shown(ages[0] >= high)]]


def forgets(world, *numbers):
    """Parties whose ledger says that the debits of all answers were taken back."""
    for number in numbers:
        with world.parties[number].ledger._transaction() as db:
            db.execute("UPDATE debits SET state = 'RETURNED'")


def test_two_parties_that_remember_are_enough(four, world, ages):
    low, high = two_cuts(ages, lambda n: 0 < n < 11)
    asked(four, f"count() where age >= {low}", 1)
    forgets(world, 0, 2)
    assert asked(four, f"count() where age >= {high}", 2) == [[2, 0]]


def test_a_party_that_was_not_there_learns_from_the_others_what_was_answered(four, world, ages):
    low, high = two_cuts(ages, lambda n: 0 < n < 11)
    asked(four, f"count() where age >= {low}", 1)
    with world.parties[3].ledger._transaction() as db:
        db.execute("DELETE FROM cells")
    assert asked(four, f"count() where age >= {high}", 2) == [[2, 0]]


def test_who_alone_remembers_an_answer_ends_the_attempt_before_round_zero(four, world, ages):
    """What the others forgot could be subtracted; what it names itself is compared with nothing, it may be made up."""
    low, high = two_cuts(ages, lambda n: 0 < n < 11)
    asked(four, f"count() where age >= {low}", 1)
    forgets(world, 0, 1, 3)
    four.world.networks.clear()
    before = len(world.portal.said("result"))
    outcomes = four.ask(world.order(f"count() where age >= {high}", mode="exact", number=2))
    assert outcomes[2] == "disagreement" and "answered" not in outcomes.values()
    assert len(world.portal.said("result")) == before


def test_with_no_smallest_cohort_nothing_is_compared(tmp_path, ages):
    world = World(tmp_path, minimum_cohort=1)
    world.give(world.prepare(codebook(policy={"minimum_cohort": 1})))
    four = Four(world)
    low, high = two_cuts(ages, lambda n: 0 < n < 11)
    assert [asked(four, f"count() where age >= {y}", k)[0][0] for k, y in enumerate((low, high), 1)] == [1, 1]


def test_the_same_question_after_one_patient_withdrew_is_refused_by_every_party(tmp_path):
    world = World(tmp_path)
    one = first(world)
    four = Four(world)
    assert asked(four, "count() by arm", 1)[0][0] == 1
    two = world.successor(one, rows=299)
    assert served(world, two) == ["stored"] * 4
    order = world.order("count() by arm", datasets=[two.id], mode="exact", number=2)
    for own in world.parties:
        with pytest.raises(Refused) as refused:
            examine(
                world.envelope(order), query=order.query, attempt=1,
                config=own.config, store=own.store, ledger=own.ledger,
            )  # fmt: skip
        assert refused.value.code == "exact_version"


def test_the_columns_of_an_earlier_answer_are_read_though_the_new_plan_does_not_name_them(four, ages):
    years, _ = ages
    last = max(y for y in np.unique(years) if (years >= y).sum() >= 11)
    assert asked(four, f"count() where age < {last} by arm", 1)[0][0] == 1
    assert asked(four, "count()", 2) == [[1, 5 * round(len(years) / 5)]]


def test_a_total_that_an_earlier_table_adds_up_to_without_a_few_patients_is_withheld(four, ages):
    years, _ = ages
    last = min(y for y in np.unique(years) if 0 < (years >= y).sum() < 11)
    assert asked(four, f"count() where age < {last} by arm", 1)[0][0] == 1
    assert asked(four, "count()", 2) == [[2, 0]]


def test_a_party_counts_what_was_withheld_by_chain(four, world, ages):
    low, high = two_cuts(ages, lambda n: 0 < n < 11)
    own = world.parties[0].ledger
    assert asked(four, f"count() where age >= {low}", 1)[0][0] == 1 and own.withheld() == {}
    asked(four, f"count() where age >= {high}", 2)
    (dataset,) = world.datasets
    assert own.withheld() == {dataset: 1}
    asked(four, "proportion(arm, a) where arm = a", 3)
    assert own.withheld() == {dataset: 2}
