"""Two hospitals' datasets in one order: each party reads each under its own names, and every ledger is charged."""

import numpy as np
import pytest

from analytics.query.schema import parse_codebook
from tests.workers.test_party import Four, ended
from tests.workers.test_versions import served
from tests.workers.world import QUERY, ROWS, World, codebook
from workers.errors import Refused
from workers.mandate import examine

FEWER = 200
ALIGN = 'align "Second study" (years = age, group = arm (t = a, u = b, v = c))\n'
PROGRAM = ALIGN + "mean(age) by dataset, arm; count() by arm"


def second(**policy):
    """The same columns under other names, levels the other way round, in another order of planes."""
    book = codebook(title="Second study", capacity=320, policy={"minimum_cohort": 1, **policy})
    key, age, arm = book["fields"]
    arm = {**arm, "name": "group", "categories": [{"value": "v"}, {"value": "u"}, {"value": "t"}]}
    return {**book, "fields": [key, arm, {**age, "name": "years"}]}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("template"), minimum_cohort=1)
    given = [world.prepare(codebook(title="First study", policy={"minimum_cohort": 1}))]
    book = second()
    names = [("", "valid"), ("group", 0), ("group", 1), ("group", "present")]
    names += [*(("years", bit) for bit in range(6)), ("years", "present")]
    given.append(world.prepare(book, world.planes(names, 320, FEWER)))
    for dataset in given:
        world.give(dataset)
    return world


@pytest.fixture
def four(template, tmp_path):
    return Four(template.copy(tmp_path))


def rows(world, dataset, names, count):
    """The true codes of a dataset, {column: codes of the rows}."""
    parties = [p.store.columns(dataset.id, names) for p in world.parties]
    found = []
    for name in names:
        first = parties[3][name]  # components 0, 1, 2
        whole = first[0] ^ first[1] ^ first[2] ^ parties[0][name][2]
        bits = np.unpackbits(whole.astype("<u8").view(np.uint8), axis=1, bitorder="little")[:, :count]
        found.append(sum(bits[k].astype(int) << k for k in range(len(bits) - 1)))
    return found


def truth(world):
    """Age and arm of both datasets, in the question's codes, in the order of the plan."""
    found = {}
    for dataset in world.datasets.values():
        if dataset.codebook["title"] == "First study":
            found[dataset.id] = rows(world, dataset, ["age", "arm"], ROWS)
        else:
            age, group = rows(world, dataset, ["years", "group"], FEWER)
            found[dataset.id] = age, 2 - group  # 3 is no level: it becomes -1
    return [found[id] for id in sorted(found)]


def expected(world):
    """The integers of PROGRAM in exact mode."""
    tables = truth(world)
    means, counts = [], []
    for age, arm in tables:
        for level in range(3):
            v = age[arm == level] - 32
            means += [1, len(v), int(v.sum()), int((v**2).sum())]
    for level in range(3):
        counts += [1, sum(int((arm == level).sum()) for _, arm in tables)]
    return [means, counts]


def asked(four, program=PROGRAM, **how):
    order = four.world.order(program, **how)
    four.world.portal.reports.clear()
    outcomes = four.ask(order)
    answers = [body["integers"] for body in four.world.portal.reports if "integers" in body]
    return order, outcomes, answers


def balances(four):
    return {
        (dataset, balance.reserved, balance.spent)
        for party in four.parties
        for dataset in four.world.datasets
        if (balance := party.ledger.balance(dataset))
    }


def test_four_parties_answer_for_two_hospitals_that_call_their_columns_differently(four):
    _, outcomes, answers = asked(four, mode="exact")
    assert outcomes == dict.fromkeys(range(4), "answered")
    assert answers == [expected(four.world)] * 4


def test_ring_columns_are_kept_and_read_under_each_hospitals_own_names(four):
    asked(four, mode="exact")
    kept = [sorted(p.name for p in party.config.store.rglob("*.view")) for party in four.parties]
    assert kept[0] and kept == [kept[0]] * 4
    _, outcomes, answers = asked(four, mode="exact", number=2)
    assert set(outcomes.values()) == {"answered"} and answers == [expected(four.world)] * 4
    assert [sorted(p.name for p in party.config.store.rglob("*.view")) for party in four.parties] == kept
    one = next(d for d in four.world.datasets.values() if d.codebook["title"] == "Second study")
    _, outcomes, _ = asked(four, "sd(years)", datasets=[one.id], mode="exact", number=3)
    assert set(outcomes.values()) == {"answered"}


def test_every_ledger_is_charged_for_every_dataset(four):
    order, outcomes, _ = asked(four, micro_epsilon=3_000_000)
    assert set(outcomes.values()) == {"answered"}
    assert balances(four) == {(dataset.id, 0, 3_000_000) for dataset in order.datasets}
    assert len(order.datasets) == 2


def test_where_one_budget_is_exhausted_none_is_charged(four):
    ids = sorted(four.world.datasets)
    for number in (1, 2, 3):
        asked(four, "count()", datasets=ids[:1], micro_epsilon=3_000_000, number=number)
    _, outcomes, answers = asked(four, micro_epsilon=3_000_000, number=4)
    assert ended(outcomes, "budget_exhausted") and not answers
    assert balances(four) == {(ids[0], 0, 9_000_000)}


def test_the_strictest_policy_is_held_by_every_party(tmp_path):
    world = World(tmp_path, minimum_cohort=1)
    world.give(world.prepare(codebook(policy={"minimum_cohort": 1})))
    world.give(world.prepare(codebook(policy={"minimum_cohort": 40, "epsilon_per_query": "0.5"})))
    order = world.order(micro_epsilon=500_000)
    assert order.minimum_cohort == 40
    for party in world.parties:
        how = {
            "query": QUERY,
            "attempt": 1,
            "config": party.config,
            "store": party.store,
            "ledger": party.ledger,
        }
        for wrong, code in (
            (world.order(micro_epsilon=500_001), "epsilon_per_query"),
            (world.order(micro_epsilon=500_000, minimum_cohort=1), "terms_differ"),
        ):
            with pytest.raises(Refused) as refused:
                examine(world.envelope(wrong), **how)
            assert refused.value.code == code
        examine(world.envelope(order), **how)


def test_two_versions_of_one_table_are_never_pooled(tmp_path):
    world = World(tmp_path)
    one = world.prepare()
    served(world, one)
    two = world.successor(one)
    served(world, two)
    order = world.order("count()", datasets=[one.id, two.id])
    for party in world.parties:
        how = {"config": party.config, "store": party.store, "ledger": party.ledger}
        with pytest.raises(Refused, match=two.id) as refused:
            examine(world.envelope(order), query=QUERY, attempt=1, **how)
        assert refused.value.code == "superseded"
        assert party.ledger.head()[0] == 0


@pytest.fixture
def guarded(tmp_path):
    """Both hospitals, where no cell below eleven patients is shown."""
    world = World(tmp_path)
    world.give(world.prepare(codebook(title="First study")))
    book = second(minimum_cohort=11)
    world.give(world.prepare(book, world.planes(parse_codebook(book).plane_names, 320, FEWER)))
    return Four(world)


@pytest.mark.parametrize("pooled_first", [True, False])
def test_exact_answers_that_lie_too_near_are_seen_in_each_hospitals_own_words(guarded, pooled_first):
    world = guarded.world
    (one,) = (d for d in world.datasets.values() if d.codebook["title"] == "Second study")
    years = rows(world, one, ["years"], FEWER)[0] + 18
    low, high = next(
        (low, high)
        for low in np.unique(years)
        for high in np.unique(years)
        if 0 < ((years >= low) & (years < high)).sum() < 11 and (years >= high).sum() >= 11
    )
    alone = (f"count() where years >= {low}", {"datasets": [one.id]})
    together = (f"{ALIGN}count() where age >= {high} by dataset", {})
    first, then = (together, alone) if pooled_first else (alone, together)
    _, _, answers = asked(guarded, first[0], mode="exact", **first[1])
    assert 2 not in answers[0][0]
    guarded.world.networks.clear()
    _, outcomes, answers = asked(guarded, then[0], mode="exact", number=2, **then[1])
    assert set(outcomes.values()) == {"answered"}
    assert set(answers[0][0][::2]) == {2}
