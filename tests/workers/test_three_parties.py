"""An order among three parties: who must say yes, what each of the three refuses alone, and that it answers."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.query import approval
from mpcnode.errors import ProtocolAbort
from tests.workers.test_party import Four, codes
from tests.workers.world import QUERY, World, codebook
from workers import joint as joint_module
from workers.__main__ import main
from workers.errors import LedgerError, Refused
from workers.mandate import examine

EACH = pytest.mark.parametrize("missing", range(4))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("template"), minimum_cohort=1, three_party=True)
    world.give(world.prepare(codebook(policy={"minimum_cohort": 1})))
    return world


@pytest.fixture
def world(template, tmp_path):
    return template.copy(tmp_path)


@pytest.fixture
def four(world):
    return Four(world)


def envelope(world, order, **changes):
    return {**world.envelope(order), "consents": world.consents(order), **changes}


def ask(four, order, *, parties=None, **changes):
    four.world.portal.envelopes[QUERY] = envelope(four.world, order, **changes)
    return four.play(1, order.parties if parties is None else parties)


def refusal(world, order, *, party=0, now=None, config=None, **changes):
    own = world.parties[party]
    before = own.ledger.head()
    with pytest.raises(Refused) as refused:
        examine(
            envelope(world, order, **changes),
            query=QUERY,
            attempt=1,
            config=config or own.config,
            store=own.store,
            ledger=own.ledger,
            now=now,
        )
    assert own.ledger.head() == before
    return refused.value.code


@EACH
def test_three_parties_give_the_exact_answer_without_each_party(four, missing):
    order = four.world.order("average(age)\ncount() by arm", mode="exact", missing=missing)
    assert set(ask(four, order).values()) == {"answered"}
    said = four.world.portal.said("result")
    assert [r["party"] for r in sorted(said, key=lambda r: r["party"])] == list(order.parties)
    assert {r["missing"] for r in said} == {missing}
    assert len({r["result_hash"] for r in said}) == 1
    arms = four.world.portal.reports[-1]["integers"][1]
    true = np.bincount(codes(four.world)["arm"], minlength=3)
    assert arms[1::2] == true.tolist()


@EACH
def test_three_parties_noise_their_answer_and_each_pays_for_it(four, missing):
    order = four.world.order("count()", missing=missing)
    assert set(ask(four, order).values()) == {"answered"}
    said = four.world.portal.said("result")
    assert len({r["result_hash"] for r in said}) == 1
    paid = [(0, 0) if p == missing else (0, order.micro_epsilon) for p in range(4)]
    assert four.balances(order) == paid
    assert {r["missing"] for r in said} == {missing}


def test_the_three_need_no_word_and_no_list_of_the_missing_one(four):
    order = four.world.order("count()", missing=1)
    assert set(ask(four, order).values()) == {"answered"}
    assert not any(
        queue
        for network in four.world.networks.values()
        for (_, to), queue in network.queues.items()
        if to == 1
    )


def test_nothing_that_three_parties_computed_is_stored_and_nothing_kept_among_four_is_read(four, monkeypatch):
    def files():
        stores = [p.config.folder / "store" for p in four.parties]
        return {path: path.read_bytes() for store in stores for path in store.rglob("*") if path.is_file()}

    before = files()
    assert set(ask(four, four.world.order("average(age)", missing=2)).values()) == {"answered"}
    assert files() == before
    monkeypatch.setattr(type(four.parties[0].ledger), "missed_by", lambda *_: set())
    assert set(four.ask(four.world.order("average(age)", number=2)).values()) == {"answered"}
    kept = files()
    assert len(kept) > len(before)
    monkeypatch.setattr(joint_module.Kept, "tables", None)
    assert set(ask(four, four.world.order("average(age)", number=3, missing=1)).values()) == {"answered"}
    assert files() == kept


def test_an_order_among_four_reports_that_nobody_was_missing(four):
    four.ask(four.world.order("count()"))
    assert {r["missing"] for r in four.world.portal.said("result")} == {None}


@pytest.mark.parametrize("party", range(3))
@pytest.mark.parametrize("seen", [0, 1])
def test_a_party_that_was_told_of_another_missing_one_ends_the_session(four, party, seen):
    """The portal shows one party an order without 3, the others... the same text among four: nobody starts."""
    three, whole = four.world.order("count()", missing=3), four.world.order("count()", number=1)
    assert three.nonce == whole.nonce
    four = Four(four.world, timeouts=(1.0, 1.0))
    orders = {p: (three if (p == party) == bool(seen) else whole) for p in range(3)}
    outcomes = {}

    def one(number):
        order = orders[number]
        served = envelope(four.world, order) if order.missing is not None else four.world.envelope(order)
        mandate_of = replace(four.parties[number])
        object.__setattr__(mandate_of.portal, "order", lambda query: served)
        outcomes[number] = mandate_of.run(QUERY, 1)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "answered" not in outcomes.values()
    assert all(p.ledger.balance(three.datasets[0].id).spent == 0 for p in four.parties[:3])


@EACH
def test_the_missing_party_refuses_an_order_that_does_without_it(world, missing):
    assert refusal(world, world.order("count()", missing=missing), party=missing) == "not_taking_part"


@pytest.mark.parametrize("party", [0, 1, 3])
def test_each_party_refuses_three_parties_unless_its_own_settings_allow_them(world, party):
    own = replace(world.parties[party].config, three_party=False)
    order = world.order("count()", missing=2)
    assert refusal(world, order, party=party, config=own) == "three_party_off"


def test_three_parties_are_off_unless_a_party_is_told_otherwise(tmp_path):
    assert World(tmp_path).parties[0].config.three_party is False


@pytest.mark.parametrize("party", [0, 1, 3])
@pytest.mark.parametrize("consents", [None, [], {}, "yes", [{}], [None]])
def test_each_party_refuses_without_the_provider_s_consent(world, party, consents):
    order = world.order("count()", missing=2)
    assert refusal(world, order, party=party, consents=consents) == "consent_missing"


@pytest.mark.parametrize("party", [0, 1, 3])
def test_each_party_refuses_a_consent_that_another_key_signed(world, party):
    order = world.order("count()", missing=2)
    for key in (Ed25519PrivateKey.generate(), world.portal_key):
        code = refusal(world, order, party=party, consents=world.consents(order, key=key))
        assert code == "consent_signature"


@pytest.mark.parametrize(
    "changes",
    [{"missing": 3}, {"order_hash": "0" * 64}, {"missing": 0}],
    ids=["another missing party", "another order", "party 0"],
)
@pytest.mark.parametrize("party", [1, 3])
def test_a_consent_to_something_else_is_refused(world, party, changes):
    order = world.order("count()", missing=2)
    assert refusal(world, order, party=party, consents=world.consents(order, **changes)) == "consent_mismatch"


@pytest.mark.parametrize(
    "changes", [{"n": 4}, {"extra": 1}, {"expires": "never"}, {"missing": None}, {"n": True}]
)
def test_a_consent_of_another_form_is_refused_even_if_signed(world, changes):
    order = world.order("count()", missing=2)
    assert refusal(world, order, consents=world.consents(order, **changes)) == "consent_rejected"


def test_a_consent_is_void_after_its_time(world):
    order = world.order("count()", missing=2)
    consents = world.consents(order, expires=int(time.time()) - 1)
    assert refusal(world, order, consents=consents) == "consent_expired"


def test_a_consent_for_one_order_serves_no_other(world):
    first, second = (world.order("count()", missing=2, number=n) for n in (1, 2))
    assert refusal(world, second, consents=world.consents(first)) == "consent_mismatch"


def test_every_dataset_of_a_pooled_order_needs_its_own_consent(tmp_path):
    world = World(tmp_path, minimum_cohort=1, three_party=True)
    for title in ("one", "two"):
        book = codebook(title=title, policy={"minimum_cohort": 1})
        world.give(world.prepare(book))
    order = world.order("count()", missing=0)
    assert len(order.datasets) == 2
    both = world.consents(order)
    assert refusal(world, order, party=1, consents=both[:1]) == "consent_missing"
    moved = {**both[1]["consent"], "dataset": order.datasets[0].id}
    forged = [{"consent": moved, "signature": both[1]["signature"]}, both[1]]
    assert refusal(world, order, party=1, consents=forged) == "consent_signature"


def lie_once(monkeypatch, reason="mismatch"):
    """Party 1's session ends in the middle with this word."""
    real = joint_module.Joint._compute

    def compute(self, transport):
        if self.config.party == 1:
            raise ProtocolAbort(reason)
        return real(self, transport)

    monkeypatch.setattr(joint_module.Joint, "_compute", compute)


@pytest.mark.parametrize("number", [1, 2], ids=["the same order", "another order on the dataset"])
def test_a_party_that_saw_a_mismatch_refuses_three_parties_until_its_operator_clears_it(
    four, monkeypatch, capsys, number
):
    world = four.world
    lie_once(monkeypatch)
    four.ask(world.order("count()", number=1))
    monkeypatch.undo()
    order = world.order("count()", number=number, missing=2)
    again = {"number": 9, "missing": 2}
    assert refusal(world, order, party=1) == "mismatch_seen"
    # It is kept on disk, not in a process.
    folder = str(world.parties[1].config.folder)
    assert main(["clear-mismatch", folder]) == 0
    dataset = order.datasets[0].id
    assert dataset in capsys.readouterr().out
    assert main(["clear-mismatch", folder, "--dataset", dataset]) == 1  # no reason, no clearing
    assert refusal(world, world.order("count()", **again), party=1) == "mismatch_seen"
    assert main(["clear-mismatch", folder, "--dataset", dataset, "--reason", "a broken cable"]) == 0
    assert set(ask(four, world.order("count()", **again)).values()) == {"answered"}


def test_four_parties_go_on_after_a_mismatch(four, monkeypatch):
    lie_once(monkeypatch)
    four.ask(four.world.order("count()", number=1))
    monkeypatch.undo()
    assert set(four.ask(four.world.order("count()", number=2)).values()) == {"answered"}


def test_an_ordinary_abort_is_no_mismatch(four, monkeypatch):
    lie_once(monkeypatch, "timeout")
    four.ask(four.world.order("count()", number=1))
    monkeypatch.undo()
    assert set(ask(four, four.world.order("count()", number=2, missing=3)).values()) == {"answered"}


def test_clearing_says_why(world):
    with pytest.raises(LedgerError):
        world.parties[0].ledger.clear_mismatch("0" * 32, "  ")


# The party comes back


def taken_over(world, party, debits, key=None):
    body = {"type": "fourfold/1/taken-over", "party": party, "time": 1, "dataset": "0" * 32, "debits": debits}
    return [{"report": body, "signature": approval.sign(body, key or world.parties[party].keys.sign)}]


@EACH
def test_a_party_that_missed_a_debit_takes_no_part_until_it_holds_it(four, missing):
    world = four.world
    without = world.order("count()", missing=missing)
    ask(four, without)
    order = world.order("count()", number=2)
    for party in without.parties:
        assert refusal(world, order, party=party) == "ledger_behind"
    held = taken_over(world, missing, [[without.hash, 1]])
    forged = taken_over(world, missing, [[without.hash, 1]], key=world.portal_key)
    other = taken_over(world, missing, [["0" * 64, 1]])
    for nothing in (forged, other, [{}], [None], None):
        assert refusal(world, order, party=without.parties[0], taken_over=nothing) == "ledger_behind"
    four.world.portal.envelopes[QUERY] = {**world.envelope(order), "taken_over": held}
    assert set(four.play().values()) == {"answered"}


def test_a_debit_that_was_not_spent_is_not_missed(four, monkeypatch):
    world = four.world
    lie_once(monkeypatch, "timeout")
    ask(four, world.order("count()", missing=3))
    monkeypatch.undo()
    assert set(four.ask(world.order("count()", number=2)).values()) == {"answered"}


def test_what_was_missed_of_one_dataset_holds_up_no_other(tmp_path):
    world = World(tmp_path, minimum_cohort=1, three_party=True)
    first, second = (
        world.give(world.prepare(codebook(title=title, policy={"minimum_cohort": 1}))) for title in "ab"
    )
    four = Four(world)
    ask(four, world.order("count()", datasets=[first], missing=3))
    assert refusal(world, world.order("count()", datasets=[first], number=2)) == "ledger_behind"
    assert set(four.ask(world.order("count()", datasets=[second], number=3)).values()) == {"answered"}


def test_a_party_with_another_key_has_missed_every_debit(four):
    world = four.world
    spent = world.order("count()")
    four.ask(spent)
    ledger = four.parties[0].ledger
    dataset = spent.datasets[0].id
    signs = {p: world.parties[p].config.me.sign for p in range(4)}
    assert ledger.missed_by(2, [dataset]) == set()
    ledger.meet({**signs, 2: "0" * 64})
    assert ledger.missed_by(2, [dataset]) == {(spent.hash, 1)}
    assert 2 not in ledger.peers() and {1, 3} <= set(ledger.peers())
    assert ledger.missed_by(1, [dataset]) == set()
