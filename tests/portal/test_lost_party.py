"""A party declared lost by operators, orders among three that wait for consent, and who is told and believed then."""

import json
import time
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils import timezone

from analytics.query.approval import sign, verify
from portal.absence import lost
from portal.absence.models import Consent, LostParty
from portal.accounts.actions import ensure_account
from portal.audit.models import Event
from portal.keys import portal_public
from portal.queries import attempts, dispatcher
from portal.queries.models import Query
from portal.registry.models import PartyState

from . import factories
from .test_admin import logged_in
from .test_dispatcher import alive

pytestmark = pytest.mark.django_db
LOST = 2


def silence(party=LOST):
    PartyState.objects.filter(party=party).update(last_seen=timezone.now() - timedelta(hours=1))


@pytest.fixture(autouse=True)
def awake():
    alive()
    silence()


def declare(party=LOST, name="operator"):
    return lost.declare(party=party, by=factories.account(name), reason="its disk burnt")


def second_operator():
    return ensure_account("operator2", "operator", "Platform", factories.PASSWORD)


@pytest.fixture
def key():
    return Ed25519PrivateKey.generate()


@pytest.fixture
def dataset(key):
    return factories.dataset(key=key)


def approve(query, as_, missing=LOST):
    return as_("operator").post(f"queries/{query.pk}/approve/", {"reason": "urgent", "missing": missing})


def consent(order, dataset, **changes):
    return {
        "type": "fourfold/1/consent",
        "dataset": dataset.pk,
        "order_hash": order["order_hash"],
        "n": 3,
        "missing": order["missing"],
        "expires": order["expires"],
        **changes,
    }


def give(as_, query, body, key, who="provider"):
    return as_(who).post(f"consents/{query.pk}/", {"consent": body, "signature": sign(body, key)})


@pytest.fixture
def waiting(as_, dataset):
    """A query approved among three, without a consent yet."""
    declare()
    query = factories.query(dataset)
    assert approve(query, as_).status_code == 200
    query.refresh_from_db()
    return query


class TestDeclaring:
    def test_one_operator_alone_declares_and_the_audit_says_that_it_was_alone(self, as_):
        answer = as_("operator").post(f"parties/{LOST}/lost/", {"reason": "its disk burnt"})
        assert answer.status_code == 200 and answer.json()["lost"] is True
        assert lost.current() == LOST == as_("analyst").get("parties/").json()["lost"]
        event = Event.objects.get(kind="party lost")
        assert event.detail["alone"] is True and event.subject == f"party {LOST}"
        assert Event.objects.get(kind="party declared lost").detail["reason"] == "its disk burnt"

    def test_where_there_are_two_operators_both_must_say_so(self, as_):
        other = second_operator()
        answer = as_("operator").post(f"parties/{LOST}/lost/", {"reason": "its disk burnt"})
        assert answer.json()["lost"] is False and lost.current() is None
        assert as_("operator").post(f"parties/{LOST}/lost/", {"reason": "again"}).json()["lost"] is False
        lost.declare(party=LOST, by=other, reason="yes")
        assert lost.current() == LOST
        row = LostParty.objects.get()
        assert (row.declared_by, row.confirmed_by) == ("operator", "operator2")

    def test_a_party_that_reports_is_not_lost(self, as_):
        answer = as_("operator").post("parties/1/lost/", {"reason": "I do not like it"})
        assert answer.status_code == 409 and lost.current() is None

    def test_silence_alone_declares_nothing(self, sender, dataset):
        for party in range(4):
            silence(party)
        dispatcher.tick(sender)
        assert lost.current() is None and not LostParty.objects.exists()

    def test_a_second_party_cannot_be_lost(self, as_):
        declare()
        silence(3)
        assert as_("operator").post("parties/3/lost/", {"reason": "too"}).status_code == 409

    @pytest.mark.parametrize("tail", ["lost", "returned"])
    def test_a_reason_is_needed_and_a_party_that_exists(self, as_, tail):
        assert as_("operator").post(f"parties/{LOST}/{tail}/", {"reason": " "}).status_code == 409
        assert as_("operator").post(f"parties/4/{tail}/", {"reason": "x"}).status_code == 404

    def test_it_is_revoked_with_a_reason_and_can_be_declared_anew(self, as_):
        declare()
        assert as_("operator").post(f"parties/{LOST}/returned/", {"reason": "found"}).json()["lost"] is False
        assert lost.current() is None
        assert as_("operator").post(f"parties/{LOST}/returned/", {"reason": "again"}).status_code == 409
        declare()
        assert lost.current() == LOST
        assert LostParty.objects.count() == 2

    def test_the_operator_s_page_declares_and_revokes_and_others_only_look(self):
        page, place = logged_in("operator"), "/admin/absence/lostparty/"
        assert "Declare lost" in page.get(place).content.decode()
        page.post(place + "declare/", {"party": str(LOST), "reason": "its disk burnt", "decision": "lost"})
        assert lost.current() == LOST
        assert "its disk burnt" in page.get(place).content.decode()
        root = logged_in("superuser")
        root.post(place + "declare/", {"party": str(LOST), "reason": "no", "decision": "returned"})
        assert lost.current() == LOST
        page.post(place + "declare/", {"party": str(LOST), "reason": "back", "decision": "returned"})
        assert lost.current() is None
        for word in ("", "9", "x", "-1", "²"):
            assert page.post(place + "declare/", {"party": word, "reason": "r"}).status_code == 302
        assert LostParty.objects.count() == 1


class TestApproving:
    def test_an_order_among_three_is_made_only_while_that_party_is_lost(self, as_, dataset):
        query = factories.query(dataset)
        assert approve(query, as_).status_code == 409
        declare()
        assert approve(query, as_, missing=1).status_code == 409
        answer = approve(query, as_)
        assert answer.status_code == 200
        assert (answer.json()["missing"], answer.json()["security"]) == (LOST, "three-party, passive")
        assert Query.objects.get(pk=query.pk).order.missing == LOST

    def test_an_ordinary_approval_is_among_four_also_while_a_party_is_lost(self, as_, dataset):
        declare()
        query = factories.query(dataset)
        body = as_("operator").post(f"queries/{query.pk}/approve/", {"reason": ""}).json()
        assert (body["missing"], body["security"]) == (None, "four-party, active")

    @pytest.mark.parametrize("missing", [4, -1, "x", 1.5])
    def test_a_party_that_does_not_exist_is_no_missing_one(self, as_, dataset, missing):
        declare()
        assert approve(factories.query(dataset), as_, missing=missing).status_code == 400

    def test_the_preview_says_what_would_run_now(self, as_, dataset):
        body = {"program": "count()", "datasets": [dataset.pk], "epsilon": "1"}
        assert as_("analyst").post("queries/preview/", body).json()["security"] == "four-party, active"
        declare()
        shown = as_("analyst").post("queries/preview/", body).json()
        assert (shown["missing"], shown["security"]) == (LOST, "three-party, passive")

    def test_the_page_of_decisions_offers_it_only_while_a_party_is_lost(self, dataset):
        query, page = factories.query(dataset), logged_in("operator")
        place = "/admin/queries/waitingquery/"
        assert "approve-three" not in page.get(place).content.decode()
        page.post(f"{place}{query.pk}/decide/", {"decision": "approve-three"})
        assert Query.objects.get(pk=query.pk).state == "SUBMITTED"
        declare()
        assert "three-party, passive" in page.get(place).content.decode()
        page.post(f"{place}{query.pk}/decide/", {"decision": "approve-three"})
        assert Query.objects.get(pk=query.pk).order.missing == LOST


class TestConsenting:
    def test_the_provider_finds_the_order_as_the_portal_signed_it(self, as_, waiting, dataset):
        (found,) = as_("provider").get("consents/").json()
        assert found["query"] == str(waiting.pk) and found["datasets"] == [dataset.pk]
        verify(found["order"], found["order_signature"], portal_public()["sign"])
        assert found["order"]["program"] == waiting.program and found["order"]["missing"] == LOST
        assert as_("provider2").get("consents/").json() == []
        assert as_("provider2").get(f"consents/{waiting.pk}/").status_code == 404

    def test_it_waits_for_consent_and_then_goes_to_the_three(self, as_, waiting, dataset, key, sender):
        dispatcher.tick(sender)
        assert sender.of("run") == []
        order = as_("provider").get(f"consents/{waiting.pk}/").json()
        assert give(as_, waiting, consent(order, dataset), key).status_code == 200
        assert as_("provider").get("consents/").json() == []
        dispatcher.tick(sender)
        assert sender.of("run") == [(str(waiting.pk), 1, LOST)]

    def test_an_order_that_waits_for_consent_holds_up_no_other(self, as_, waiting, sender):
        other = factories.query(factories.dataset())
        assert approve(other, as_, missing=None).status_code == 200
        PartyState.objects.update(last_seen=timezone.now())
        dispatcher.tick(sender)
        assert [run[0] for run in sender.of("run")] == [str(other.pk)]

    def test_every_provider_of_a_pooled_order_must_consent(self, as_, dataset, key, sender):
        declare()
        other = factories.dataset(provider="provider2", key=(theirs := Ed25519PrivateKey.generate()))
        query = factories.query(dataset, other)
        approve(query, as_)
        order = as_("provider").get(f"consents/{query.pk}/").json()
        give(as_, query, consent(order, dataset), key)
        dispatcher.tick(sender)
        assert sender.of("run") == []
        assert give(as_, query, consent(order, dataset), theirs, "provider2").status_code == 400
        assert give(as_, query, consent(order, other), key).status_code == 400
        assert give(as_, query, consent(order, other), theirs, "provider2").status_code == 200
        dispatcher.tick(sender)
        assert len(sender.of("run")) == 1

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"missing": 1}, "consent_mismatch"),
            ({"order_hash": "0" * 64}, "consent_mismatch"),
            ({"n": 4}, "consent_rejected"),
            ({"expires": 1}, "consent_expired"),
            ({"more": 1}, "consent_rejected"),
        ],
    )
    def test_a_consent_to_something_else_is_refused_at_the_door(
        self, as_, waiting, dataset, key, changes, code
    ):
        order = as_("provider").get(f"consents/{waiting.pk}/").json()
        answer = give(as_, waiting, consent(order, dataset, **changes), key)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert not Consent.objects.exists()

    def test_a_consent_of_another_key_is_refused_at_the_door(self, as_, waiting, dataset):
        order = as_("provider").get(f"consents/{waiting.pk}/").json()
        answer = give(as_, waiting, consent(order, dataset), Ed25519PrivateKey.generate())
        assert (answer.status_code, answer.json()["code"]) == (400, "consent_signature")

    def test_a_consent_that_expired_starts_nothing(self, as_, waiting, dataset, key, sender):
        order = as_("provider").get(f"consents/{waiting.pk}/").json()
        give(as_, waiting, consent(order, dataset), key)
        Consent.objects.update(expires=int(time.time()) - 5)
        dispatcher.tick(sender)
        assert sender.of("run") == []
        assert [w["query"] for w in as_("provider").get("consents/").json()] == [str(waiting.pk)]

    def test_an_order_that_nobody_consents_to_ends_when_it_expires(self, waiting, sender):
        late = timezone.now() + timedelta(seconds=waiting.order.expires - time.time() + 60)
        found = attempts.waiting(late)
        assert found is not None and found.pk == waiting.pk
        assert attempts.waiting(timezone.now()) is None


@pytest.fixture
def running(as_, waiting, dataset, key, sender):
    order = as_("provider").get(f"consents/{waiting.pk}/").json()
    give(as_, waiting, consent(order, dataset), key)
    dispatcher.tick(sender)
    waiting.refresh_from_db()
    assert waiting.state == "RUNNING"
    return waiting


class TestRunning:
    def test_each_of_the_three_gets_the_consents_with_the_order(self, running, crew, dataset):
        envelope = crew[0].get(f"/api/parties/0/orders/{running.pk}/").json()
        assert [c["consent"]["dataset"] for c in envelope["consents"]] == [dataset.pk]
        assert envelope["order"]["missing"] == LOST

    def test_three_of_three_equal_signatures_release_it_and_it_says_how_it_was_made(self, running, crew, as_):
        three = [p for p in crew if p.number != LOST]
        for party in three[:2]:
            assert party.post(party.result(running, missing=LOST)).status_code == 200
        assert Query.objects.get(pk=running.pk).state == "RUNNING"
        three[2].post(three[2].result(running, missing=LOST))
        body = as_("analyst").get(f"queries/{running.pk}/result/").json()
        assert (body["missing"], body["security"]) == (LOST, "three-party, passive")
        assert [s["party"] for s in body["signatures"]] == [0, 1, 3]

    def test_two_equal_signatures_release_nothing(self, running, crew):
        three = [p for p in crew if p.number != LOST]
        for party in three[:2]:
            party.post(party.result(running, missing=LOST))
        three[2].post(three[2].result(running, missing=LOST, integers=factories.zeros(running, 41)))
        query = Query.objects.get(pk=running.pk)
        assert (query.state, query.code) == ("ABORTED", "no_agreement")

    def test_the_word_of_the_missing_party_counts_for_nothing(self, running, crew):
        assert crew[LOST].post(crew[LOST].result(running, missing=LOST)).status_code == 409
        assert crew[LOST].post(crew[LOST].word("refusal", running, code="not_taking_part")).status_code == 409

    @pytest.mark.parametrize("missing", [None, 0])
    def test_a_result_of_other_parties_is_refused(self, running, crew, missing):
        assert crew[0].post(crew[0].result(running, missing=missing)).status_code == 409

    def test_the_three_last_words_settle_an_attempt_at_once(self, running, crew):
        for party in crew:
            if party.number != LOST:
                party.post(party.word("abort", running, code="timeout", ready=False))
        assert [a.state for a in running.attempts.all()] == ["FAILED"]

    def test_no_order_among_three_begins_once_the_party_is_no_longer_lost(
        self, as_, waiting, dataset, key, sender
    ):
        order = as_("provider").get(f"consents/{waiting.pk}/").json()
        give(as_, waiting, consent(order, dataset), key)
        as_("operator").post(f"parties/{LOST}/returned/", {"reason": "found"})
        dispatcher.tick(sender)
        waiting.refresh_from_db()
        assert (waiting.state, waiting.code, sender.of("run")) == ("ABORTED", "party_returned", [])


class TestTakingOver:
    @pytest.fixture
    def answered(self, running, crew):
        for party in crew:
            if party.number != LOST:
                party.post(party.result(running, missing=LOST))
        running.refresh_from_db()
        assert running.state == "RELEASED"
        return running

    def test_the_party_that_was_missing_finds_what_the_others_spent(self, answered, crew, dataset):
        path = f"/api/parties/{LOST}/datasets/{dataset.pk}/owed/"
        (debit,) = crew[LOST].get(path).json()["debits"]
        verify(debit["order"], debit["order_signature"], portal_public()["sign"])
        assert debit["attempt"] == 1
        for entry in debit["reports"]:
            verify(entry["report"], entry["signature"], crew[entry["report"]["party"]].public["sign"])
        assert {e["report"]["party"] for e in debit["reports"]} == {0, 1, 3}

    def test_an_attempt_that_one_party_alone_calls_spent_is_not_owed(self, running, crew, dataset):
        crew[0].post(crew[0].word("abort", running, code="timeout", ready=True))
        for number in (1, 3):
            crew[number].post(crew[number].word("abort", running, code="timeout", ready=False))
        assert crew[LOST].get(f"/api/parties/{LOST}/datasets/{dataset.pk}/owed/").json()["debits"] == []

    def test_its_word_travels_with_later_orders_and_an_older_one_never_replaces_it(
        self, answered, crew, dataset, as_, sender
    ):
        debits = [[answered.order.hash, 1]]
        now = int(time.time())
        for when, said, news in ((now, debits, True), (now - 10, [], False), (now, [], False)):
            word = crew[LOST].signed("taken-over", dataset=dataset.pk, debits=said, time=when)
            assert crew[LOST].post(word).json() == {"accepted": news}
        for party in crew:  # what one holds or took part in, it is not told of again
            assert party.get(f"/api/parties/{party.number}/datasets/{dataset.pk}/owed/").json() == {
                "debits": []
            }
        lost.revoke(party=LOST, by=factories.account("operator"), reason="found")
        PartyState.objects.update(last_seen=timezone.now())
        after = factories.query(dataset, program="count() where age >= 10")
        approve(after, as_, missing=None)
        dispatcher.tick(sender)
        envelope = crew[0].get(f"/api/parties/0/orders/{after.pk}/").json()
        (word,) = envelope["taken_over"]
        assert word["report"]["debits"] == debits
        verify(word["report"], word["signature"], crew[LOST].public["sign"])

    @pytest.mark.parametrize(
        "debits", [None, "x", [[1, 2]], [["0" * 64]], [["0" * 64, 0]], [["0" * 64, True]]]
    )
    def test_a_word_of_another_form_is_refused(self, crew, dataset, debits):
        word = crew[0].signed("taken-over", dataset=dataset.pk, debits=debits)
        assert crew[0].post(word).status_code == 400

    def test_a_long_word_is_taken(self, crew, dataset):
        word = crew[0].signed("taken-over", dataset=dataset.pk, debits=[["0" * 64, 1]] * 2000)
        assert len(json.dumps(word)) > 100_000 and crew[0].post(word).status_code == 200
