"""A party is gone for good: a new one gets its share from the three others, its debits too, and answers go on."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.query import approval
from mpcnode.errors import StoreError
from tests.workers.test_party import Four, codes
from tests.workers.world import QUERY, World, codebook
from workers import provision, takeover
from workers.__main__ import main
from workers.errors import BundleRejected
from workers.ingest import ingest
from workers.portal_client import Portal
from workers.provision import provide, shared_with
from workers.takeover import take_over

EACH = pytest.mark.parametrize("lost", range(4))


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, minimum_cohort=1)
    dataset = world.prepare(codebook(policy={"minimum_cohort": 1}))
    world.give(dataset)
    world.serve(dataset)
    return world


def portal_of(world, party):
    own = world.parties[party]
    return Portal(own.config, own.keys, transport=world.portal.transport, sleep=lambda _: None, patience=0)


def provide_all(world, lost, parties=None):
    (dataset,) = world.datasets
    return [
        provide(dataset, config=own.config, keys=own.keys, store=own.store, portal=portal_of(world, p))
        for p, own in enumerate(world.parties)
        if p != lost and (parties is None or p in parties)
    ]


def take(world, party):
    (dataset,) = world.datasets
    own = world.parties[party]
    return ingest(
        dataset,
        config=own.config,
        keys=own.keys,
        store=own.store,
        ledger=own.ledger,
        portal=portal_of(world, party),
    )


def asked(world, number=1, mode="exact", **changes):
    return world.order("count() by arm", mode=mode, number=number, **changes)


def answer(world, order):
    """What four parties release, with what the portal knows of sets and debits."""
    world.portal.reports.clear()
    said = world.taken if hasattr(world, "taken") else []
    world.portal.envelopes[QUERY] = {
        **world.envelope(order),
        "party_sets": world.portal.sets,
        "taken_over": said,
    }
    outcomes = Four(world).play()
    results = [body for body in world.portal.reports if body["report"]["type"] == "fourfold/1/result"]
    spent = [{"report": body["report"], "signature": body["signature"]} for body in results]
    if results:
        for dataset in order.datasets:
            envelope = world.portal.envelopes[QUERY]
            world.portal.owed.setdefault(dataset.id, []).append(
                {k: envelope[k] for k in ("order", "order_signature")} | {"attempt": 1, "reports": spent}
            )
    return outcomes, [body["integers"] for body in results]


def keep_words(world):
    """What parties said on debits travels with the next orders."""
    world.taken = getattr(world, "taken", []) + [
        {"report": body["report"], "signature": body["signature"]}
        for body in world.portal.reports
        if body["report"]["type"] == "fourfold/1/taken-over"
    ]
    for debits in world.portal.owed.values():
        for debit in debits:
            debit["reports"] = debit["reports"] + world.taken


def replaced(world, lost):
    """Everything that the drill does between the loss and the first answer after it."""
    (dataset,) = world.datasets
    world.portal.bundles[dataset, lost] = []  # deleted once they had served
    old = world.replace(lost)
    world.sign_set(dataset)
    assert provide_all(world, lost) == ["provided"] * 3
    assert take(world, lost) == "stored"
    keep_words(world)
    return old


@EACH
def test_after_any_party_is_replaced_the_same_plan_has_the_same_answer_among_four(world, lost):
    outcomes, before = answer(world, asked(world))
    assert set(outcomes.values()) == {"answered"} and len(before) == 4
    old = replaced(world, lost)
    shutil.rmtree(world.folder / f"lost{lost}")
    assert world.portal.said("receipt", lost)[-1]["manifest_hash"]
    outcomes, after = answer(world, asked(world, number=2))
    assert set(outcomes.values()) == {"answered"} and len(after) == 4
    assert after == before
    assert before[0][0][1::2] == np.bincount(codes(world)["arm"], minlength=3).tolist()
    assert old.keys.sign_hex != world.parties[lost].keys.sign_hex


@EACH
def test_the_new_party_holds_what_the_old_one_held_and_owes_what_it_had_spent(world, lost):
    (dataset,) = world.datasets
    outcomes, _ = answer(world, asked(world, mode="dp"))
    assert set(outcomes.values()) == {"answered"}
    names = ["", "age", "arm"]
    was = world.parties[lost].store.columns(dataset, names)
    balance = world.parties[lost].ledger.balance(dataset)
    replaced(world, lost)
    now = world.parties[lost].store.columns(dataset, names)
    for name in names:
        np.testing.assert_array_equal(now[name], was[name])
    own = world.parties[lost].ledger
    assert own.balance(dataset) == balance and balance.spent == 1_000_000
    assert own.verify()[0] == 2  # reserved, spent
    outcomes, _ = answer(world, asked(world, number=2, mode="dp"))
    assert set(outcomes.values()) == {"answered"}


def test_one_party_after_another_may_be_replaced(world):
    _, before = answer(world, asked(world))
    replaced(world, 1)
    _, between = answer(world, asked(world, number=2))
    replaced(world, 3)
    outcomes, after = answer(world, asked(world, number=3))
    assert before == between == after and set(outcomes.values()) == {"answered"}
    # Of those who signed the first answer one is left: the others attest it by what they took over.
    replaced(world, 0)
    outcomes, last = answer(world, asked(world, number=4))
    assert last == before and set(outcomes.values()) == {"answered"}


@EACH
def test_the_old_party_s_key_opens_no_session_any_more(world, lost):
    answer(world, asked(world))
    old = replaced(world, lost)
    four = Four(world, timeouts=(2.0, 2.0))
    thief = replace(four.parties[lost], keys=old.keys, ledger=world.parties[lost].ledger)
    four.parties[lost] = thief
    order = asked(world, number=2)
    envelope = {**world.envelope(order), "party_sets": world.portal.sets, "taken_over": world.taken}
    for party in four.parties:
        object.__setattr__(party.portal, "order", lambda query: envelope)
        object.__setattr__(party.portal, "report", lambda report, **beside: None)
    outcomes = four.play()
    assert "answered" not in outcomes.values()
    assert "mismatch" in outcomes.values()
    assert all(p.ledger.attempt(order.nonce, 1)["opened"] == 0 for p in four.parties)


def test_until_the_provider_signs_the_set_every_party_refuses(world):
    answer(world, asked(world))
    world.replace(2)
    outcomes, _ = answer(world, asked(world, number=2))
    assert [outcomes[p] for p in (0, 1, 3)] == ["party_set"] * 3


def test_until_the_new_party_has_said_which_debits_it_holds_the_others_refuse(world):
    answer(world, asked(world))
    replaced(world, 2)
    world.taken = []
    outcomes, _ = answer(world, asked(world, number=2))
    assert {outcomes[p] for p in (0, 1, 3)} == {"ledger_behind"}


@pytest.mark.parametrize("how", ["portal", "other keys", "two new", "another dataset", "no set"])
def test_no_party_provides_unless_the_provider_named_the_pinned_parties(world, how):
    (dataset,) = world.datasets
    world.replace(2)
    if how == "portal":
        world.sign_set(dataset, key=world.portal_key)
    elif how == "other keys":
        thief = {"party": 2, "seal": "1" * 64, "sign": "2" * 64}
        world.sign_set(dataset, new=[*world.peers[:2], thief, world.peers[3]])
    elif how == "two new":
        world.replace(1)
        world.sign_set(dataset)
    elif how == "another dataset":
        world.sign_set(dataset, dataset="f" * 32)
    for party in (0, 3):
        with pytest.raises(BundleRejected) as refused:
            provide_all(world, 2, [party])
        assert refused.value.code == "party_set"
    assert world.portal.provisions == {}


def test_where_nobody_is_new_nothing_is_provided(world):
    assert provide_all(world, None) == ["unneeded"] * 4
    assert world.portal.provisions == {}


def test_the_new_party_alone_can_open_what_is_provided_for_it(world):
    (dataset,) = world.datasets
    world.replace(2)
    world.sign_set(dataset)
    provide_all(world, 2)
    before = {c: world.parties[0].store.component_digests(dataset, [""], c) for c in (1, 2, 3)}
    assert all(before.values())
    for reader in (0, 1, 3):
        own = world.parties[reader]
        served = bundle_served(world, reader)
        chunks = {s: world.portal.provisions[dataset, s].values() for s in (0, 1, 3)}
        with pytest.raises(BundleRejected):
            provision.receive(served, world.portal.sets[dataset], chunks, own.config, own.keys)


def bundle_served(world, party):
    from workers.bundle import check_served

    (dataset,) = world.datasets
    with portal_of(world, party) as portal:
        return check_served(portal.dataset(dataset), dataset, world.parties[party].config)


def lying(world, monkeypatch, liars):
    """These parties provide other components than they hold, properly signed and sealed."""
    real = provision._signed

    def signed(manifest, meta, epoch, to, config, keys, store):
        if config.party not in liars:
            return real(manifest, meta, epoch, to, config, keys, store)

        class Other:
            def columns(self, dataset, names):
                return {name: planes ^ np.uint64(1) for name, planes in store.columns(dataset, names).items()}

        return real(manifest, meta, epoch, to, config, keys, Other())

    monkeypatch.setattr(provision, "_signed", signed)


@pytest.mark.parametrize("liar", [0, 1, 3])
def test_one_party_that_provides_false_components_is_named_and_stops_nothing(
    world, monkeypatch, caplog, liar
):
    _, before = answer(world, asked(world))
    lying(world, monkeypatch, {liar})
    replaced(world, 2)
    assert f"what party {liar} provided is not used" in caplog.text
    _, after = answer(world, asked(world, number=2))
    assert before == after


@pytest.mark.parametrize("sender", [0, 1, 3])
def test_one_provision_that_was_changed_or_lost_on_the_way_stops_nothing(world, sender):
    (dataset,) = world.datasets
    world.replace(2)
    world.sign_set(dataset)
    provide_all(world, 2)
    chunks = world.portal.provisions[dataset, sender]
    chunks[0] = chunks[0][:-1] + bytes([chunks[0][-1] ^ 1])
    assert take(world, 2) == "stored"
    world.parties[2].store.destroy(dataset)
    del world.portal.provisions[dataset, sender]
    assert take(world, 2) == "stored"


def test_two_that_provide_false_components_make_a_complaint_and_nothing_is_stored(world, monkeypatch):
    (dataset,) = world.datasets
    lying(world, monkeypatch, {0, 1})
    world.replace(2)
    world.sign_set(dataset)
    provide_all(world, 2)
    assert take(world, 2) == "commitment"
    assert world.parties[2].store.list() == []
    assert world.portal.said("complaint", 2)[-1]["code"] == "commitment"


def test_what_one_party_provides_does_not_pass_for_another_s(world):
    (dataset,) = world.datasets
    world.replace(2)
    world.sign_set(dataset)
    provide_all(world, 2)
    provisions = world.portal.provisions
    provisions[dataset, 0], provisions[dataset, 1] = provisions[dataset, 1], provisions[dataset, 0]
    assert take(world, 2) == "cannot_open"
    assert world.parties[2].store.list() == []


def test_a_component_is_provided_by_two_and_nobody_provides_what_the_new_one_must_not_hold():
    for lost in range(4):
        senders = [p for p in range(4) if p != lost]
        given = [c for p in senders for c in shared_with(p, lost)]
        assert sorted(given) == sorted([c for c in range(4) if c != lost] * 2)


def test_a_new_party_that_died_before_it_took_over_does_so_when_it_is_told_again(world, monkeypatch):
    answer(world, asked(world, mode="dp"))
    (dataset,) = world.datasets
    world.replace(2)
    world.sign_set(dataset)
    provide_all(world, 2)
    with monkeypatch.context() as patched:
        patched.setattr(takeover, "take_over", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            take(world, 2)
    assert not world.portal.said("receipt", 2) and world.parties[2].ledger.balance(dataset) is None
    assert take(world, 2) == "known"
    assert world.parties[2].ledger.balance(dataset).spent == 1_000_000
    assert len(world.portal.said("receipt", 2)) == 1


# Debits


@pytest.fixture
def behind(world):
    """A world in which party 2 was away for one answered order; and that order."""
    world = World(world.folder / "three", minimum_cohort=1, three_party=True)
    dataset = world.prepare(codebook(policy={"minimum_cohort": 1}))
    world.give(dataset)
    world.serve(dataset)
    order = world.order("count()", missing=2)
    envelope = {**world.envelope(order), "consents": world.consents(order)}
    world.portal.envelopes[QUERY] = envelope
    assert set(Four(world).play(parties=order.parties).values()) == {"answered"}
    reports = [{k: body[k] for k in ("report", "signature")} for body in world.portal.reports]
    results = [r for r in reports if r["report"]["type"] == "fourfold/1/result"]
    results.sort(key=lambda r: r["report"]["party"])
    owed = {k: envelope[k] for k in ("order", "order_signature")} | {"attempt": 1, "reports": results}
    world.portal.owed[dataset.id] = [owed]
    return world, order, owed


def caught_up(world, party=2):
    own = world.parties[party]
    (dataset,) = world.datasets
    return take_over(
        dataset, config=own.config, store=own.store, ledger=own.ledger, portal=portal_of(world, party)
    )


def spent(world, party=2):
    (dataset,) = world.datasets
    balance = world.parties[party].ledger.balance(dataset)
    return 0 if balance is None else balance.spent


def test_a_party_that_comes_back_enters_what_it_missed_once_and_takes_part_again(behind):
    world, order, _ = behind
    world.portal.reports.clear()
    assert (caught_up(world), caught_up(world)) == (1, 0)
    assert spent(world) == order.micro_epsilon
    assert world.parties[2].ledger.verify()[0] == 2
    keep_words(world)
    assert world.taken[-1]["report"]["debits"] == [[order.hash, 1]]
    outcomes, _ = answer(world, world.order("count()", number=2))
    assert set(outcomes.values()) == {"answered"}
    assert spent(world) == 2 * order.micro_epsilon


def test_the_command_of_its_operator_does_the_same(behind, monkeypatch, capsys):
    world, order, _ = behind
    monkeypatch.setattr("workers.__main__.Portal", lambda config, keys: portal_of(world, config.party))
    world.write_party_json(2, "http://portal.test")
    assert main(["take-over", str(world.parties[2].config.folder)]) == 0
    assert "1 debit taken over" in capsys.readouterr().out
    assert spent(world) == order.micro_epsilon


def taken_over_by(world, party, order, key=None):
    body = {"type": "fourfold/1/taken-over", "party": party, "time": 1, "debits": [[order.hash, 1]]}
    return [{"report": body, "signature": approval.sign(body, key or world.parties[party].keys.sign)}]


def test_a_debit_counts_when_two_others_signed_it_and_not_with_less(behind):
    world, order, owed = behind
    forged = json.loads(json.dumps(owed["reports"][0]))
    forged["report"]["party"] = 3
    too_few = [
        owed["reports"][:1],
        [owed["reports"][0]] * 3,
        [owed["reports"][0], forged],
        [owed["reports"][0], {"report": {}}],
        [owed["reports"][0], *taken_over_by(world, 2, order)],
        [owed["reports"][0], *taken_over_by(world, 3, order, key=world.portal_key)],
        [],
    ]
    for reports in too_few:
        world.portal.owed = {d: [{**owed, "reports": reports}] for d in world.datasets}
        assert caught_up(world) == 0 and spent(world) == 0
    two = [owed["reports"][0], *taken_over_by(world, 3, order)]
    world.portal.owed = {d: [{**owed, "reports": two}] for d in world.datasets}
    assert caught_up(world) == 1 and spent(world) == order.micro_epsilon


@pytest.mark.parametrize("change", ["attempt", "order", "key", "own"])
def test_debits_that_the_portal_invents_are_not_entered(behind, change):
    world, _, owed = behind
    if change == "attempt":
        owed = {**owed, "attempt": 2}
    elif change == "order":
        owed = {**owed, "order": {**owed["order"], "micro_epsilon": 3_000_000}}
    elif change == "key":
        order = world.order("count()", number=5, missing=2)
        signed = world.envelope(order, key=Ed25519PrivateKey.generate())
        owed = {**owed, "order": signed["order"], "order_signature": signed["order_signature"]}
    else:
        order = world.order("count()", number=6, missing=2)
        signed = world.envelope(order)
        owed = {**owed, "order": signed["order"], "order_signature": signed["order_signature"]}
    world.portal.owed = {d: [owed] for d in world.datasets}
    assert caught_up(world) == 0 and spent(world) == 0


def test_what_a_party_took_part_in_keeps_its_own_word(behind):
    world, _, _ = behind
    assert caught_up(world, party=0) == 0
    assert spent(world, 0) == 1_000_000


# Versions of a table


def followed(world, book=None):
    """(first version, second): the second at every party, its debits and those of the first listed together."""
    (one,) = world.datasets.values()
    two = world.successor(one, book)
    world.serve(two)
    del world.datasets[one.id]
    assert [take(world, party) for party in range(4)] == ["stored"] * 4
    shown = [{"manifest": dict(one.manifest), "signature": one.signature}]
    before = world.portal.owed.pop(one.id, [])
    world.portal.owed[two.id] = [{**debit, "manifests": shown} for debit in before]
    return one, two


@EACH
def test_a_new_party_takes_a_later_version_and_the_debits_of_all(world, lost):
    answer(world, asked(world, mode="dp"))
    one, two = followed(world)
    outcomes, _ = answer(world, asked(world, number=2, mode="dp"))
    assert set(outcomes.values()) == {"answered"}
    was = world.parties[lost].ledger.balance(one.id)
    replaced(world, lost)
    own = world.parties[lost]
    assert own.store.list() == [two.id]
    assert own.ledger.newest(one.id).dataset == two.id
    assert own.ledger.balance(one.id) == was and was.spent == 2_000_000
    assert own.ledger.balance(two.id) is None and own.ledger.verify()[0] == 4
    outcomes, _ = answer(world, asked(world, number=3, mode="dp"))
    assert set(outcomes.values()) == {"answered"}
    assert {p.ledger.balance(one.id).spent for p in world.parties} == {3_000_000}


def test_a_version_after_a_replacement_names_the_parties_of_today_and_all_four_take_it(world):
    answer(world, asked(world, mode="dp"))
    replaced(world, 2)
    one, two = followed(world)
    assert two.manifest["party_set"] == world.peers != one.manifest["party_set"]
    assert two.id not in world.portal.sets
    outcomes, _ = answer(world, asked(world, number=2, mode="dp"))
    assert set(outcomes.values()) == {"answered"}
    assert {p.ledger.balance(one.id).spent for p in world.parties} == {2_000_000}


def test_a_second_party_is_replaced_on_a_later_version(world):
    replaced(world, 2)
    followed(world)
    _, before = answer(world, asked(world))
    replaced(world, 0)
    outcomes, after = answer(world, asked(world, number=2))
    assert set(outcomes.values()) == {"answered"} and before == after


def test_without_the_provider_s_word_a_new_party_begins_no_chain_in_the_middle(world):
    (one,) = world.datasets.values()
    world.replace(2)
    two = world.successor(one)
    world.serve(two)
    del world.datasets[one.id]
    assert [take(world, party) for party in range(4)] == ["stored", "stored", "chain_unknown", "stored"]
    assert world.parties[2].store.list() == []


def test_nobody_hands_on_a_version_that_answers_no_more(world):
    one, _ = followed(world)
    world.replace(2)
    world.datasets = {one.id: one}
    world.sign_set(one.id)
    for party in (0, 1, 3):
        with pytest.raises(StoreError):
            provide_all(world, 2, [party])
    assert take(world, 2) != "stored" and world.parties[2].store.list() == []


def test_a_new_version_hides_no_debit_that_a_party_missed(behind):
    world, order, _ = behind
    one, two = followed(world)
    outcomes, _ = answer(world, world.order("count()", number=2))
    assert [outcomes[p] for p in (0, 1, 3)] == ["ledger_behind"] * 3
    world.portal.reports.clear()
    assert (caught_up(world), caught_up(world)) == (1, 0)
    ledger = world.parties[2].ledger
    assert ledger.balance(one.id).spent == order.micro_epsilon and ledger.balance(two.id) is None
    keep_words(world)
    assert world.taken[-1]["report"]["debits"] == [[order.hash, 1]]
    outcomes, _ = answer(world, world.order("count()", number=3))
    assert set(outcomes.values()) == {"answered"}
    assert {p.ledger.balance(one.id).spent for p in world.parties} == {2 * order.micro_epsilon}


@pytest.mark.parametrize("shown", ["nothing", "another", "forged", "no list"])
def test_a_debit_of_an_older_version_counts_with_the_manifest_that_its_provider_signed(behind, shown):
    world, _, _ = behind
    one, two = followed(world)
    (debit,) = world.portal.owed[two.id]
    manifests = {
        "nothing": [],
        "another": [{"manifest": dict(two.manifest), "signature": two.signature}, None],
        "forged": [{"manifest": {**one.manifest, "chain": two.id}, "signature": one.signature}],
        "no list": 1,
    }[shown]
    world.portal.owed[two.id] = [{**debit, "manifests": manifests}]
    assert caught_up(world) == 0 and world.parties[2].ledger.balance(one.id) is None


def test_what_no_longer_fits_a_lower_total_is_entered_up_to_it(behind):
    world, order, _ = behind
    one, _ = followed(
        world, codebook(policy={"minimum_cohort": 1, "epsilon": "0.5", "epsilon_per_query": "0.5"})
    )
    assert caught_up(world) == 1
    balance = world.parties[2].ledger.balance(one.id)
    assert balance.spent == balance.cap == 500_000 < order.micro_epsilon


def test_a_mismatch_on_one_version_counts_on_the_next(behind):
    world, _, _ = behind
    one, _ = followed(world)
    world.parties[0].ledger.note_mismatch("0" * 64, [one.id])
    order = world.order("count()", number=2, missing=2)
    world.portal.envelopes[QUERY] = {**world.envelope(order), "consents": world.consents(order)}
    assert Four(world).play(parties=order.parties)[0] == "mismatch_seen"
    world.parties[0].ledger.clear_mismatch(one.id, "a broken cable")
    order = world.order("count()", number=3, missing=2)
    world.portal.envelopes[QUERY] = {**world.envelope(order), "consents": world.consents(order)}
    assert set(Four(world).play(parties=order.parties).values()) == {"answered"}
