"""A new version of a table: each party checks by itself that it follows, and that its budget goes on."""

import sqlite3
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.query import approval
from tests.workers.test_ingest import take
from tests.workers.world import QUERY, World, codebook
from workers.errors import BudgetExhausted, LedgerError, ModeFixed, Refused, Superseded
from workers.ledger import Charge, Ledger, Version
from workers.mandate import examine

CAP = 10_000_000


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def served(world, dataset):
    """Put on the portal and told to all parties; what each made of it."""
    world.serve(dataset)
    return [take(world, dataset.id, party) for party in range(4)]


def first(world, book=None):
    dataset = world.prepare(book)
    assert served(world, dataset) == ["stored"] * 4
    return dataset


def asks(world, dataset, number, *, micro=1_000_000, party=0, mode="dp"):
    """An approved order on one version, examined by one party."""
    order = world.order(datasets=[dataset.id], number=number, micro_epsilon=micro, mode=mode)
    own = world.parties[party]
    return examine(
        world.envelope(order), query=QUERY, attempt=1, config=own.config, store=own.store, ledger=own.ledger
    )


def spends(world, dataset, number, *, party=0, **how):
    place = asks(world, dataset, number, party=party, **how).place
    ledger = world.parties[party].ledger
    ledger.spend(**place, session="s")
    ledger.close(**place, outcome="answered")


def test_every_party_takes_the_next_version_and_keeps_no_share_of_the_one_before(world):
    one = first(world)
    two = world.successor(one)
    assert served(world, two) == ["stored"] * 4
    for party in world.parties:
        assert party.store.list() == [two.id]
        assert party.ledger.newest(one.id).dataset == two.id
    assert [take(world, two.id, party) for party in range(4)] == ["known"] * 4
    three = world.successor(two)
    assert served(world, three) == ["stored"] * 4


def test_a_damaged_dataset_of_another_chain_stops_no_version(world):
    one, other = first(world), first(world, codebook(title="Another"))
    for party in world.parties:
        (party.store.folder_of(other.id) / "meta").write_bytes(b"damaged")
    assert served(world, world.successor(one)) == ["stored"] * 4


def test_what_was_spent_on_one_version_is_spent_on_the_next(world):
    one = first(world)
    spends(world, one, 1, micro=3_000_000)
    two = world.successor(one)
    served(world, two)
    ledger = world.parties[0].ledger
    assert (ledger.balance(one.id).spent, ledger.balance(two.id)) == (3_000_000, None)
    spends(world, two, 2, micro=3_000_000)
    spends(world, two, 3, micro=3_000_000)
    with pytest.raises(Refused) as refused:
        asks(world, two, 4, micro=1_000_001)
    assert refused.value.code == "budget_exhausted"
    assert ledger.balance(one.id).spent == 9_000_000 and ledger.verify()[0] == 6


def test_after_a_new_version_each_party_refuses_orders_on_the_old_one(world):
    one = first(world)
    two = world.successor(one)
    served(world, two)
    for party in range(4):
        with pytest.raises(Refused, match=two.id) as refused:
            asks(world, one, 1, party=party)
        assert refused.value.code == "superseded"
        assert world.parties[party].ledger.head()[0] == 0
        asks(world, two, 2, party=party)


def test_an_old_version_never_comes_back(world):
    one = first(world)
    two = world.successor(one)
    served(world, two)
    assert [take(world, one.id, party) for party in range(4)] == ["superseded"] * 4
    assert served(world, world.resigned(one, title="again")) == ["superseded"] * 4
    assert all(party.store.list() == [two.id] for party in world.parties)


def dearer(epsilon):
    return codebook(policy={"epsilon": epsilon})


LIES = {
    "a predecessor that is another": (lambda w, one: w.successor(one, previous="a" * 64), "chain_previous"),
    "a version that skips one": (lambda w, one: w.successor(one, version=3), "chain_version"),
    "a chain that nobody knows": (lambda w, one: w.successor(one, chain="b" * 32), "chain_unknown"),
    "a larger budget": (lambda w, one: w.successor(one, dearer("10.000001")), "chain_budget"),
    "a version without a chain": (
        lambda w, one: w.resigned(w.prepare(dearer("9")), version=2),
        "bad_manifest",
    ),
    "no predecessor": (lambda w, one: w.successor(one, previous=None), "bad_manifest"),
    "a version of nothing": (lambda w, one: w.successor(one, version=0), "bad_manifest"),
    "a version that is true": (lambda w, one: w.successor(one, version=True), "bad_manifest"),
    "itself as its chain": (lambda w, one: w.successor(one, dataset=one.id), "bad_manifest"),
}


@pytest.mark.parametrize("lie", LIES)
def test_each_party_refuses_by_itself(world, lie):
    one = first(world)
    make, code = LIES[lie]
    assert served(world, make(world, one)) == [code] * 4
    for party in world.parties:
        assert party.store.list() == [one.id] and party.ledger.newest(one.id).version == 1
    assert served(world, world.successor(one)) == ["stored"] * 4


def test_a_version_signed_with_another_key_is_refused(world):
    one = first(world)
    world.provider_key = Ed25519PrivateKey.generate()
    thief = world.successor(one, provider_key=approval.public_hex(world.provider_key))
    assert served(world, thief) == ["chain_key"] * 4
    assert all(party.store.list() == [one.id] for party in world.parties)


def test_a_version_that_takes_the_id_of_another_chain_s_dataset_destroys_nothing(world):
    victim = first(world)
    other = first(world, codebook(title="Another"))
    thief = world.successor(other, dataset=victim.id)
    assert served(world, thief) == ["conflict"] * 4
    two = world.successor(other)
    served(world, two)
    assert served(world, world.successor(two, dataset=other.id)) == ["bad_manifest"] * 4
    three = world.successor(two)
    served(world, three)
    assert served(world, world.successor(three, dataset=two.id)) == ["conflict"] * 4
    assert all(set(party.store.list()) == {victim.id, three.id} for party in world.parties)


def test_a_version_may_be_replaced_until_somebody_asks_about_it(world):
    one = first(world)
    wrong, right = world.successor(one, rows=10), world.successor(one, rows=20)
    assert served(world, wrong) == ["stored"] * 4
    assert served(world, right) == ["stored"] * 4
    asks(world, right, 1)
    assert take(world, wrong.id) == "conflict"
    assert world.parties[0].store.list() == [right.id]
    assert take(world, wrong.id, 1) == "stored"


def test_a_lower_total_counts_at_once_and_never_grows_back(world):
    one = first(world)
    spends(world, one, 1, micro=3_000_000)
    two = world.successor(one, dearer("5"))
    served(world, two)
    ledger = world.parties[0].ledger
    assert ledger.balance(one.id).cap == 5_000_000
    with pytest.raises(Refused) as refused:
        asks(world, two, 2, micro=2_000_001)
    assert refused.value.code == "budget_exhausted"
    spends(world, two, 3, micro=2_000_000)
    assert served(world, world.successor(two, dearer("6"))) == ["chain_budget"] * 4
    assert served(world, world.successor(two, dearer("4"))) == ["stored"] * 4
    assert ledger.verify()[0] == 4


def test_the_mode_of_one_version_is_the_mode_of_the_next(world):
    one = first(world)
    spends(world, one, 1, mode="exact")
    two = world.successor(one)
    served(world, two)
    with pytest.raises(Refused) as refused:
        asks(world, two, 2)
    assert refused.value.code == "chain_mode"
    with pytest.raises(Refused) as refused:
        asks(world, two, 3, mode="exact")
    assert refused.value.code == "exact_version"


def test_another_column_order_or_one_more_category_is_a_version_like_any_other(world):
    one = first(world)
    book = codebook()
    book["fields"][2]["categories"].append({"value": "d"})
    two = world.successor(one, {**book, "fields": [book["fields"][n] for n in (0, 2, 1)]})
    assert served(world, two) == ["stored"] * 4
    old = world.order(datasets=[one.id])
    assert old.plan_hash != world.order(datasets=[two.id]).plan_hash
    asks(world, two, 1)


def test_a_table_stored_before_there_were_versions_is_the_first_of_its_chain(world):
    one = world.prepare()
    world.give(one)
    spends(world, one, 1, micro=4_000_000)
    assert world.parties[0].ledger.newest(one.id) is None
    assert served(world, world.successor(one, dearer("11"))) == ["chain_budget"] * 4
    world.serve(world.resigned(one, title="anew"))
    assert take(world, one.id) == "conflict"
    two = world.successor(one)
    assert served(world, two) == ["stored"] * 4
    with pytest.raises(Refused):
        asks(world, two, 2, micro=4_000_000) and asks(world, two, 3, micro=4_000_000)
    assert world.parties[0].ledger.balance(one.id).spent == 4_000_000


def test_a_ledger_file_of_before_is_opened_verified_and_gains_versions(tmp_path, world):
    one = world.prepare()
    world.give(one)
    spends(world, one, 1)
    own = world.parties[0]
    with sqlite3.connect(own.config.database) as db:
        db.executescript(
            "DROP TRIGGER versions_never_go; DROP TRIGGER versions_stay_once_used; DROP TABLE versions;"
        )
    head = own.ledger.head()
    own.ledger = Ledger(own.config.database)
    assert own.ledger.verify() == head
    spends(world, one, 2)
    assert served(world, world.successor(one))[0] == "stored"


def test_a_party_killed_before_it_wrote_the_version_down_does_so_at_the_next_try(world, monkeypatch):
    one = first(world)
    two = world.successor(one)
    world.serve(two)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "follow", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            take(world, two.id)
    own = world.parties[0]
    assert own.ledger.newest(one.id).dataset == one.id and set(own.store.list()) == {one.id, two.id}
    with pytest.raises(Refused) as refused:
        asks(world, two, 1)
    assert refused.value.code == "superseded"  # two is not the newest that this party took: one is
    assert take(world, two.id) == "known"
    assert own.store.list() == [two.id]
    asks(world, two, 2)


def test_of_versions_that_arrive_together_one_stays(world):
    one = first(world)
    many = [world.successor(one, rows=rows) for rows in range(10, 18)]
    for dataset in many:
        world.serve(dataset)
    outcomes = []
    threads = [threading.Thread(target=lambda d=d: outcomes.append(take(world, d.id))) for d in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    own = world.parties[0]
    assert len(outcomes) == len(many) and set(outcomes) <= {"stored", "conflict"} and "stored" in outcomes
    assert own.store.list() == [own.ledger.newest(one.id).dataset]


def version(number, dataset, cap=CAP):
    return Version(
        chain="c" * 32, version=number, dataset=dataset, manifest_hash=dataset * 2,
        previous="" if number == 1 else "p" * 64, provider_key="k" * 64, cap=cap,
    )  # fmt: skip


def test_only_one_of_two_followers_of_the_same_version_gets_in(tmp_path):
    ledger = Ledger(tmp_path / "party.sqlite3")
    one, two, other = version(1, "c" * 32), version(2, "d" * 32), version(2, "e" * 32)
    assert ledger.follow(one, after=None) and not ledger.follow(one, after=None)
    assert ledger.follow(two, after=one) and not ledger.follow(other, after=one)
    assert not ledger.follow(version(3, "c" * 32), after=two)
    assert ledger.newest("c" * 32) == two
    with pytest.raises(LedgerError, match="never forgotten"), ledger._transaction() as db:
        db.execute("DELETE FROM versions")


def test_an_order_on_a_later_version_that_was_never_followed_is_refused(tmp_path):
    ledger = Ledger(tmp_path / "party.sqlite3")
    charge = Charge(dataset="d" * 32, chain="c" * 32, micro_epsilon=1, cap=CAP)
    how = {"nonce": "0" * 32, "attempt": 1, "query": "q", "order_hash": "o", "mode": "dp"}
    with pytest.raises(LedgerError, match="not known here"):
        ledger.reserve(**how, charges=[charge])
    assert ledger.balance("c" * 32) is None and ledger.head()[0] == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("version"), st.integers(1, 12)),
        st.tuples(
            st.just("ask"), st.integers(0, 3), st.integers(1, 5), st.sampled_from(["spend", "return", "hold"])
        ),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_whatever_versions_come_what_is_held_never_exceeds_the_newest_total_and_old_ones_answer_nothing(
    tmp_path_factory, steps
):
    """The model: one number for the chain. Totals that grow are for `chain.check`; here they shrink or stay."""
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "party.sqlite3")
    taken, held, spent = [version(1, f"{1:032x}", cap=12)], 0, 0
    taken[0] = Version(**{**vars(taken[0]), "chain": taken[0].dataset})
    chain = taken[0].chain
    assert ledger.follow(taken[0], after=None)
    for number, step in enumerate(steps):
        newest = taken[-1]
        if step[0] == "version":
            following = Version(**{
                **vars(newest), "version": newest.version + 1, "dataset": f"{newest.version + 1:032x}",
                "previous": newest.manifest_hash, "cap": min(step[1], newest.cap), "used": False,
            })  # fmt: skip
            assert ledger.follow(following, after=ledger.newest(chain))
            taken.append(following)
            continue
        _, back, micro, end = step
        asked = taken[max(0, len(taken) - 1 - back)]
        place = {"nonce": f"{number:032x}", "attempt": 1}
        charge = Charge(dataset=asked.dataset, chain=chain, micro_epsilon=micro, cap=asked.cap)
        try:
            ledger.reserve(**place, query="q", order_hash="o", mode="dp", charges=[charge])
        except Superseded as refused:
            assert asked is not newest and refused.newest == newest.dataset
            continue
        except BudgetExhausted:
            assert asked is newest and held + micro > newest.cap
            continue
        assert asked is newest and held + micro <= newest.cap
        held += micro
        if end == "spend":
            ledger.spend(**place, session="s")
            spent += micro
        if end == "return":
            ledger.close(**place, outcome="timeout")
            held -= micro
    balance = ledger.balance(chain)
    assert (held, spent) == (0, 0) if balance is None else (held, spent) == (
        balance.reserved + balance.spent, balance.spent)  # fmt: skip
    ledger.verify()


def test_two_versions_of_one_chain_in_one_order_are_refused(tmp_path):
    ledger = Ledger(tmp_path / "party.sqlite3")
    ledger.follow(version(1, "c" * 32), after=None)
    charges = [Charge(dataset=d, chain="c" * 32, micro_epsilon=1, cap=CAP) for d in ("c" * 32, "d" * 32)]
    how = {"nonce": "0" * 32, "attempt": 1, "query": "q", "order_hash": "o", "mode": "dp"}
    with pytest.raises(Superseded):
        ledger.reserve(**how, charges=charges)
    with pytest.raises(LedgerError):
        ledger.reserve(**how, charges=[charges[0]] * 2)
    assert ledger.balance("c" * 32) is None
    ledger.reserve(**how, charges=charges[:1])
    ledger.spend(nonce="0" * 32, attempt=1, session="s")
    exact = Charge(dataset="c" * 32, chain="c" * 32, micro_epsilon=0, cap=CAP)
    with pytest.raises(ModeFixed):
        ledger.reserve(**{**how, "nonce": "1" * 32, "mode": "exact"}, charges=[exact])
