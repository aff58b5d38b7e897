"""Every check a party makes on an order: one order that passes it, one that does not, each party by itself."""

import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.query import approval
from analytics.query.order import OrderDataset
from tests.workers.world import QUERY, World, codebook
from workers.config import Floors
from workers.errors import Refused
from workers.ledger import Charge
from workers.mandate import examine


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A world whose store is written once; tests change orders and configurations, never the store."""
    world = World(tmp_path_factory.mktemp("world"))
    world.give(world.prepare())
    return world


@pytest.fixture
def world(shared):
    shared.count = getattr(shared, "count", 0) + 1
    return shared


def ask(world, envelope, *, party=0, query=QUERY, attempt=1, config=None, now=None):
    own = world.parties[party]
    return examine(
        envelope,
        query=query,
        attempt=attempt,
        config=config or own.config,
        store=own.store,
        ledger=own.ledger,
        now=now,
    )


def order(world, program="count()", **changes):
    world.count += 1
    return world.order(program, **{"number": world.count, "micro_epsilon": 1000, **changes})


def refusal(world, envelope, **how):
    """The code, after making sure that nothing was written."""
    ledger = world.parties[how.get("party", 0)].ledger
    before = ledger.head()
    with pytest.raises(Refused) as refused:
        ask(world, envelope, **how)
    assert ledger.head() == before
    return refused.value.code


@pytest.mark.parametrize("party", range(4))
def test_every_party_accepts_an_approved_order_and_reserves_its_debit(world, party):
    asked = order(world)
    mandate = ask(world, world.envelope(asked), party=party)
    assert mandate.plan.hash == asked.plan_hash and mandate.order == asked and mandate.attempt == 1
    record = world.parties[party].ledger.attempt(asked.nonce, 1)
    assert (record["state"], record["query"], record["order_hash"]) == ("OPEN", QUERY, asked.hash)
    assert world.parties[party].ledger.balance(asked.datasets[0].id).reserved >= 1000


@pytest.mark.parametrize("name", ["order", "order_signature", "approval", "approval_signature"])
def test_an_envelope_without_one_of_its_parts_is_refused(world, name):
    whole = world.envelope(order(world))
    assert refusal(world, {**whole, name: None}) == "bad_envelope"
    del whole[name]
    assert refusal(world, whole) == "bad_envelope"


@pytest.mark.parametrize("party", range(4))
def test_orders_signed_by_another_key_are_refused_by_each_party_alone(world, party):
    forged = world.envelope(order(world), key=Ed25519PrivateKey.generate())
    assert refusal(world, forged, party=party) == "order_signature"


@pytest.mark.parametrize("party", range(4))
def test_an_approval_signed_by_another_key_is_refused_by_each_party_alone(world, party):
    asked = order(world)
    forged = world.envelope(asked, key=Ed25519PrivateKey.generate())
    mixed = {**world.envelope(asked), "approval_signature": forged["approval_signature"]}
    assert refusal(world, mixed, party=party) == "approval_signature"


@pytest.mark.parametrize(
    "changes",
    [
        {"micro_epsilon": 2000},
        {"minimum_cohort": 1},
        {"max_attempts": 3},
        {"plan_hash": "0" * 64},
        {"program": "count() "},
        {"expires": 2**40},
    ],
)
def test_an_order_changed_after_it_was_signed_is_refused(world, changes):
    whole = world.envelope(order(world))
    assert refusal(world, {**whole, "order": {**whole["order"], **changes}}) == "order_signature"


@pytest.mark.parametrize("changes", [{"extra": 1}, {"nonce": "0"}, {"micro_epsilon": 1.5}, {"datasets": []}])
def test_an_order_with_a_wrong_name_or_value_is_refused_even_if_signed(world, changes):
    body = {**order(world).public(), **changes}
    whole = world.envelope(order(world))
    try:
        signature = approval.sign(body, world.portal_key)
    except TypeError:  # a float cannot be signed at all
        signature = "0" * 128
    assert refusal(world, {**whole, "order": body, "order_signature": signature}) in (
        "bad_order",
        "order_signature",
    )


@pytest.mark.parametrize("decision", ["refuse", "", None, True])
def test_a_decision_that_is_no_yes_is_refused(world, decision):
    assert refusal(world, world.envelope(order(world), decision=decision)) == "not_approved"


def test_an_approval_of_another_order_is_refused(world):
    other = order(world).hash
    assert refusal(world, world.envelope(order(world), order_hash=other)) == "approval_mismatch"


def test_a_task_that_names_another_query_is_refused(world):
    other = QUERY.replace("0", "f")
    assert refusal(world, world.envelope(order(world)), query=other) == "other_query"


@pytest.mark.parametrize("attempt", [0, 3, -1])
def test_an_attempt_beyond_those_the_order_allows_is_refused(world, attempt):
    assert refusal(world, world.envelope(order(world)), attempt=attempt) == "too_many_attempts"


def test_the_last_attempt_that_the_order_allows_is_accepted(world):
    assert ask(world, world.envelope(order(world)), attempt=2).attempt == 2


def test_clocks_may_differ_by_a_minute_and_no_more(world):
    now = int(time.time())
    when = {"not_before": now, "expires": now + 100}
    ask(world, world.envelope(order(world, **when)), now=now + 160)
    assert refusal(world, world.envelope(order(world, **when)), now=now + 161) == "order_expired"
    later = {"not_before": now + 1000, "expires": now + 2000}
    ask(world, world.envelope(order(world, **later)), now=now + 940)
    assert refusal(world, world.envelope(order(world, **later)), now=now + 939) == "not_yet_valid"
    ask(world, world.envelope(order(world), time=now + 60), now=now)
    assert refusal(world, world.envelope(order(world), time=now + 61), now=now) == "not_yet_valid"


@pytest.mark.parametrize("hours", [2, -1, 720, -720])
def test_a_party_whose_clock_is_far_off_refuses(world, hours):
    code = refusal(world, world.envelope(order(world)), now=int(time.time()) + 3600 * hours)
    assert code == ("order_expired" if hours > 0 else "not_yet_valid")


def test_a_dataset_that_is_not_stored_here_is_refused(world):
    asked = order(world)
    gone = (OrderDataset(id="f" * 32, version=1, manifest_hash="0" * 64),)
    assert refusal(world, world.envelope(replace(asked, datasets=gone))) == "unknown_dataset"


@pytest.mark.parametrize("party", range(4))
@pytest.mark.parametrize("changes", [{"manifest_hash": "0" * 64}, {"version": 2}])
def test_another_version_or_manifest_of_a_dataset_is_refused_by_each_party_alone(world, party, changes):
    asked = order(world)
    other = (replace(asked.datasets[0], **changes),)
    envelope = world.envelope(replace(asked, datasets=other))
    assert refusal(world, envelope, party=party) == "other_manifest"


def test_a_manifest_that_trusts_other_parties_than_this_one_is_refused(world):
    config = world.parties[0].config
    peers = (*config.peers[:2], replace(config.peers[2], seal="ab" * 32), config.peers[3])
    changed = replace(config, peers=peers)
    assert refusal(world, world.envelope(order(world)), config=changed) == "party_set"


def test_a_manifest_that_trusts_another_portal_is_refused_even_by_that_portals_order(world):
    """The pinned portal was exchanged in party.json: what providers signed still names the old one."""
    other = Ed25519PrivateKey.generate()
    changed = replace(world.parties[0].config, portal_sign=approval.public_hex(other))
    assert refusal(world, world.envelope(order(world), key=other), config=changed) == "portal_key"


def test_a_text_that_does_not_compile_here_is_refused(world):
    asked = replace(order(world), program="nonsense(")
    assert refusal(world, world.envelope(asked)) == "program_rejected"


@pytest.mark.parametrize("party", range(4))
def test_a_plan_that_is_not_the_one_approved_is_refused_by_each_party_alone(world, party):
    asked = replace(order(world), plan_hash="0" * 64)
    assert refusal(world, world.envelope(asked), party=party) == "plan_hash"
    other = replace(order(world), program='count() where arm = "a"')
    assert refusal(world, world.envelope(other), party=party) == "plan_hash"
    raised = replace(order(world), micro_epsilon=2000)
    assert refusal(world, world.envelope(raised), party=party) == "plan_hash"


@pytest.mark.parametrize("party", range(4))
def test_a_lowered_cohort_is_refused_by_each_party_alone(world, party):
    asked = replace(order(world), minimum_cohort=1)
    assert refusal(world, world.envelope(asked), party=party) == "terms_differ"


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A provider that allows little."""
    world = World(tmp_path_factory.mktemp("strict"), minimum_cohort=1)
    world.count = 0
    policy = {"modes": ["dp"], "epsilon_per_query": "1", "statistics": ["count"], "expires": "2100-01-01"}
    world.give(world.prepare(codebook(policy=policy)))
    return world


def test_what_a_providers_policy_allows_is_accepted_to_the_last_millionth(strict):
    ask(strict, strict.envelope(order(strict, micro_epsilon=1_000_000)))


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"micro_epsilon": 1_000_001}, "epsilon_per_query"),
        ({"mode": "exact"}, "mode_not_allowed"),
        ({"program": "mean(age)"}, "statistic_not_allowed"),
    ],
)
def test_what_a_providers_policy_does_not_allow_is_refused(strict, how, code):
    assert refusal(strict, strict.envelope(order(strict, **how))) == code


def test_a_policy_that_has_expired_is_refused_on_the_next_day(strict):
    begins = 4102444800  # 2100-01-01, the last day, in UTC
    late = {"not_before": begins, "expires": begins + 10**6}
    ask(strict, strict.envelope(order(strict, **late)), now=begins + 86399)
    assert refusal(strict, strict.envelope(order(strict, **late)), now=begins + 86400) == "expired"


def test_exact_answers_need_this_partys_own_yes(world, tmp_path):
    exact = World(tmp_path)
    exact.count = 0
    exact.give(exact.prepare())
    envelope = exact.envelope(order(exact, mode="exact"))
    off = replace(exact.parties[0].config, exact=False)
    assert refusal(exact, envelope, config=off) == "exact_off"
    mandate = ask(exact, envelope)
    balance = exact.parties[0].ledger.balance(mandate.order.datasets[0].id)
    assert (balance.reserved, balance.spent) == (0, 0)


def test_no_epsilon_floor_applies_to_exact_answers_but_the_cohort_floor_does(tmp_path):
    world = World(tmp_path)
    world.count = 0
    world.give(world.prepare())
    config = world.parties[0].config
    narrow = replace(config, floors=Floors(minimum_cohort=11, micro_epsilon_per_query=1))
    ask(world, world.envelope(order(world, mode="exact")), config=narrow)
    high = replace(config, floors=Floors(minimum_cohort=12))
    assert refusal(world, world.envelope(order(world, mode="exact")), config=high) == "floor_cohort"


def test_a_cohort_below_this_partys_floor_is_refused(world):
    config = world.parties[0].config
    ask(world, world.envelope(order(world)), config=replace(config, floors=Floors(minimum_cohort=11)))
    high = replace(config, floors=Floors(minimum_cohort=12))
    assert refusal(world, world.envelope(order(world)), config=high) == "floor_cohort"


def test_an_epsilon_above_this_partys_floor_is_refused(world):
    config = world.parties[0].config
    ask(
        world,
        world.envelope(order(world)),
        config=replace(config, floors=Floors(micro_epsilon_per_query=1000)),
    )
    low = replace(config, floors=Floors(micro_epsilon_per_query=999))
    assert refusal(world, world.envelope(order(world)), config=low) == "floor_epsilon"


def test_the_same_attempt_is_never_accepted_twice(world):
    envelope = world.envelope(order(world))
    ask(world, envelope)
    for _ in range(4):
        assert refusal(world, envelope) == "attempt_seen"
    assert refusal(world, envelope, attempt=2) == "attempt_seen"


def test_a_budget_that_does_not_suffice_is_refused_and_nothing_is_reserved(world):
    own = world.parties[3]
    asked = order(world, micro_epsilon=1_000_000)
    dataset = asked.datasets[0].id
    own.ledger.reserve(
        nonce="e" * 32, attempt=1, query="q", order_hash="o", mode="dp",
        charges=[Charge(dataset=dataset, micro_epsilon=9_500_000, cap=10_000_000)],
    )  # fmt: skip
    assert refusal(world, world.envelope(asked), party=3) == "budget_exhausted"
    own.ledger.close(nonce="e" * 32, attempt=1, outcome="test")
    ask(world, world.envelope(asked), party=3)


def test_a_chain_that_answered_in_one_mode_refuses_the_other(tmp_path):
    world = World(tmp_path)
    world.count = 0
    world.give(world.prepare())
    first = ask(world, world.envelope(order(world)))
    world.parties[0].ledger.spend(**first.place, session="s")
    assert refusal(world, world.envelope(order(world, mode="exact"))) == "chain_mode"
    ask(world, world.envelope(order(world)))
