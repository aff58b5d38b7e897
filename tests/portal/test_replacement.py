"""A party is replaced: its keys at the portal, the provider's signed set, sealed chunks forwarded, and the receipt."""

import json
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from analytics.query.approval import sign
from analytics.query.consent import set_digest
from analytics.query.model import digest
from portal.absence.models import PartySet, ProvisionChunk
from portal.audit.models import Event
from portal.queries import dispatcher
from portal.registry import parties
from portal.registry.models import PartyState, Receipt

from . import factories
from .factories import Party
from .test_dispatcher import alive
from .test_versions import account, following, ready

pytestmark = pytest.mark.django_db
NEW = 2


@pytest.fixture
def key():
    return Ed25519PrivateKey.generate()


@pytest.fixture
def dataset(key, crew):
    alive()
    made = factories.dataset(key=key)
    for party in crew:
        Receipt.objects.create(
            dataset=made,
            party=party.number,
            manifest_hash=made.manifest_hash,
            report="{}",
            signature="old",
            time=1,
        )
    return made


def public(party, seal="e"):
    return {**party.public, "seal": seal * 64}


def replace_keys(crew, tmp_path, number=NEW, seal="e"):
    """The operator's command; `crew` has the new party from here on. Returns the old one."""
    old, crew[number] = crew[number], Party(number)
    line = tmp_path / f"party{number}.json"
    line.write_text(json.dumps(public(crew[number], seal)))
    call_command("replace_party", str(number), str(line))
    return old


@pytest.fixture
def old(crew, dataset, tmp_path):
    return replace_keys(crew, tmp_path)


def stated(dataset, /, **changes):
    manifest = json.loads(dataset.manifest)
    return {
        "type": "fourfold/1/party-set",
        "dataset": dataset.pk,
        "manifest_hash": digest(manifest),
        "epoch": 1,
        "old": set_digest(manifest["party_set"]),
        "new": parties.party_set(),
        "created": int(time.time()),
        **changes,
    }


def hand_on(as_, dataset, key, /, who="provider", **changes):
    body = stated(dataset, **changes)
    return as_(who).post(f"datasets/{dataset.pk}/party-sets/", {"set": body, "signature": sign(body, key)})


@pytest.fixture
def signed(as_, old, dataset, key):
    assert hand_on(as_, dataset, key).status_code == 201
    return PartySet.objects.get()


def provide(party, dataset, number=0, of=1, content=b"sealed", epoch=1):
    path = f"/api/parties/{party.number}/datasets/{dataset.pk}/provisions/{epoch}/{of}/{number}/"
    return Client().put(
        path,
        content,
        content_type="application/octet-stream",
        headers={"Authorization": party.authorization("PUT", path)},
    )


def receipt(party, dataset, kind="receipt", **fields):
    return party.signed(kind, dataset=dataset.pk, manifest_hash=dataset.manifest_hash, **fields)


class TestKeys:
    def test_the_command_pins_the_new_keys_and_says_both_fingerprints(self, old, crew, capsys, settings):
        assert [p["sign"] for p in parties.party_set()] == [p.public["sign"] for p in crew]
        event = Event.objects.get(kind="party keys replaced")
        assert event.detail == {"was": old.public["fingerprint"], "now": crew[NEW].public["fingerprint"]}
        assert not PartyState.objects.filter(party=NEW).exists()

    def test_the_old_key_opens_nothing_and_its_reports_count_for_nothing(self, old, crew, dataset):
        path = f"/api/parties/{NEW}/datasets/{dataset.pk}/"
        assert old.get(path).status_code == 401
        assert crew[NEW].get(path).status_code == 200
        beat = {"code_version": "1", "ledger": {"length": 0, "head": ""}, "busy": False}
        assert old.post(old.signed("heartbeat", **beat)).status_code == 400
        assert old.post(receipt(old, dataset)).status_code == 400
        assert crew[NEW].post(crew[NEW].signed("heartbeat", **beat)).status_code == 200

    @pytest.mark.parametrize(
        "content",
        ["", "[]", "{}", '{"party": 1}', '{"party": 2, "seal": "x", "sign": "y", "fingerprint": "z"}'],
    )
    def test_a_file_that_holds_no_keys_of_that_party_changes_nothing(self, crew, tmp_path, content):
        before, line = parties.party_set(), tmp_path / "line.json"
        line.write_text(content)
        with pytest.raises(CommandError):
            call_command("replace_party", str(NEW), str(line))
        assert parties.party_set() == before

    def test_keys_that_are_pinned_already_are_no_new_party_s(self, crew, tmp_path):
        line = tmp_path / "line.json"
        line.write_text(json.dumps({**crew[1].public, "party": NEW}))
        with pytest.raises(CommandError, match="two new keys"):
            call_command("replace_party", str(NEW), str(line))


class TestTheSet:
    def test_its_provider_signs_it_once_and_the_dataset_shows_it(self, as_, signed, dataset, key):
        again = as_("provider").post(
            f"datasets/{dataset.pk}/party-sets/",
            {"set": json.loads(signed.body), "signature": signed.signature},
        )
        assert again.json() == {"accepted": False}
        (shown,) = as_("provider").get(f"datasets/{dataset.pk}/").json()["party_sets"]
        assert shown == {"set": json.loads(signed.body), "signature": signed.signature}
        assert Event.objects.get(kind="party set signed").detail == {"party": NEW, "epoch": 1}

    def test_another_provider_finds_no_such_dataset(self, as_, old, dataset, key):
        assert hand_on(as_, dataset, key, who="provider2").status_code == 404

    @pytest.mark.parametrize(
        "changes",
        [{"epoch": 2}, {"old": "0" * 64}, {"manifest_hash": "0" * 64}, {"dataset": "f" * 32}, {"more": 1}],
    )
    def test_a_set_out_of_place_is_refused(self, as_, old, dataset, key, changes):
        answer = hand_on(as_, dataset, key, **changes)
        assert (answer.status_code, answer.json()["code"]) == (400, "party_set")
        assert not PartySet.objects.exists()

    def test_a_set_of_another_key_or_of_other_parties_is_refused(self, as_, old, dataset, key, crew):
        assert hand_on(as_, dataset, Ed25519PrivateKey.generate()).status_code == 400
        stranger = [*parties.party_set()]
        stranger[NEW] = {**stranger[NEW], "seal": "9" * 64}
        assert hand_on(as_, dataset, key, new=stranger).status_code == 400
        assert not PartySet.objects.exists()

    def test_nothing_is_signed_where_no_party_is_new(self, as_, dataset, key):
        assert hand_on(as_, dataset, key).status_code == 400

    def test_until_the_new_party_holds_its_share_no_question_is_approved(self, as_, signed, dataset, crew):
        query = factories.query(dataset)
        approve = f"queries/{query.pk}/approve/"
        assert as_("operator").post(approve, {}).status_code == 409
        for party in crew:
            if party.number != NEW:
                provide(party, dataset)
        assert as_("operator").post(approve, {}).status_code == 409
        crew[NEW].post(receipt(crew[NEW], dataset))
        assert as_("operator").post(approve, {}).status_code == 200

    def test_nor_before_the_provider_has_signed(self, as_, old, dataset):
        query = factories.query(dataset)
        assert as_("operator").post(f"queries/{query.pk}/approve/", {}).status_code == 409


class TestProviding:
    def test_three_are_told_then_the_new_one_then_nobody(self, signed, dataset, crew, sender):
        dispatcher.tick(sender)
        assert sender.of("provision") == [(dataset.pk, p) for p in (0, 1, 3)]
        dispatcher.tick(sender)
        assert len(sender.of("provision")) == 3  # not at every look
        for number in (0, 1, 3):
            assert provide(crew[number], dataset).json() == {"accepted": True}
        dispatcher.tick(sender)
        assert sender.of("ingest") == [(dataset.pk, NEW)]
        crew[NEW].post(receipt(crew[NEW], dataset))
        dispatcher.tick(sender)
        assert len(sender.of("ingest")) == 1

    def test_who_has_not_provided_is_told_again(self, signed, dataset, crew, sender):
        dispatcher.tick(sender)
        provide(crew[0], dataset)
        PartySet.objects.update(told_at=timezone.now() - timezone.timedelta(hours=1))
        dispatcher.tick(sender)
        assert sender.of("provision")[3:] == [(dataset.pk, 1), (dataset.pk, 3)]

    def test_the_new_party_alone_fetches_what_was_provided(self, signed, dataset, crew):
        provide(crew[0], dataset, content=b"for the new one")
        for party in crew:
            path = f"/api/parties/{party.number}/datasets/{dataset.pk}/provided/1/0/0/"
            answer = party.get(path)
            if party.number == NEW:
                assert answer.content == b"for the new one"
            else:
                assert answer.status_code == 404

    def test_a_party_learns_of_sets_and_of_complete_provisions_with_its_dataset(self, signed, dataset, crew):
        provide(crew[0], dataset, of=2)
        provide(crew[1], dataset)
        body = crew[NEW].get(f"/api/parties/{NEW}/datasets/{dataset.pk}/").json()
        assert body["provided"] == {"1": 1}
        assert body["party_sets"][0]["set"]["new"] == parties.party_set()

    def test_chunks_out_of_bounds_or_of_the_new_party_itself_are_refused(self, signed, dataset, crew):
        assert provide(crew[NEW], dataset).status_code == 409
        assert provide(crew[0], dataset, content=b"").status_code == 409
        assert provide(crew[0], dataset, number=1, of=1).status_code == 409
        assert provide(crew[0], dataset, of=999_999).status_code == 409
        assert provide(crew[0], dataset, epoch=2).status_code == 404
        assert not ProvisionChunk.objects.exists()
        provide(crew[0], dataset, of=2)
        assert provide(crew[0], dataset, number=1, of=3).status_code == 409

    def test_a_sender_may_seal_again(self, signed, dataset, crew):
        for content in (b"one", b"two"):
            provide(crew[0], dataset, content=content)
        path = f"/api/parties/{NEW}/datasets/{dataset.pk}/provided/1/0/0/"
        assert crew[NEW].get(path).content == b"two"

    def test_the_receipt_of_the_new_party_replaces_the_old_one_and_sealed_copies_go(
        self, as_, signed, dataset, crew, settings
    ):
        for number in (0, 1, 3):
            provide(crew[number], dataset)
        said = receipt(crew[NEW], dataset)
        assert crew[NEW].post(said).json() == {"accepted": True}
        shown = as_("provider").get(f"datasets/{dataset.pk}/").json()["receipts"]
        assert [r["party"] for r in shown] == [0, 1, 2, 3]
        assert shown[NEW]["signature"] == said["signature"]
        assert not ProvisionChunk.objects.exists()
        assert not list((settings.FOURFOLD_BUNDLES / dataset.pk).rglob("set-1"))
        assert provide(crew[0], dataset).status_code == 404

    def test_a_complaint_is_written_down_and_the_dataset_waits_on(self, as_, signed, dataset, crew):
        crew[NEW].post(receipt(crew[NEW], dataset, "complaint", code="commitment"))
        dataset.refresh_from_db()
        assert dataset.state == "READY"
        event = Event.objects.filter(kind="complaint").last()
        assert event.detail["code"] == "commitment" and PartySet.objects.get().ready_at is None

    def test_an_order_carries_the_sets(self, as_, signed, dataset, crew, sender):
        crew[NEW].post(receipt(crew[NEW], dataset))
        alive()
        query = factories.query(dataset)
        as_("operator").post(f"queries/{query.pk}/approve/", {})
        dispatcher.tick(sender)
        envelope = crew[0].get(f"/api/parties/0/orders/{query.pk}/").json()
        assert envelope["party_sets"][dataset.pk][0]["set"]["new"] == parties.party_set()

    def test_the_new_party_is_told_of_debits_that_the_old_one_had_signed(self, crew, dataset, settings):
        query = factories.released(crew, dataset)
        path = f"/api/parties/{NEW}/datasets/{dataset.pk}/owed/"
        assert crew[NEW].get(path).json() == {"debits": []}
        word = crew[NEW].signed("taken-over", dataset=dataset.pk, debits=[[query.order.hash, 1]])
        assert crew[NEW].post(word).json() == {"accepted": True}
        # The file alone, without the command that forgets what the old one said.
        crew[NEW] = Party(NEW)
        settings.FOURFOLD_PARTIES_FILE.write_text(json.dumps([p.public for p in crew]))
        (debit,) = crew[NEW].get(path).json()["debits"]
        assert debit["order"]["query"] == str(query.pk)
        assert {r["report"]["party"] for r in debit["reports"]} == {0, 1, 3}

    def test_a_second_party_may_be_replaced_afterwards(self, as_, signed, dataset, crew, key, tmp_path):
        crew[NEW].post(receipt(crew[NEW], dataset))
        held = parties.party_set()
        replace_keys(crew, tmp_path, 0, seal="d")
        assert hand_on(as_, dataset, key, epoch=2, old=set_digest(held)).status_code == 201
        assert [row.party for row in PartySet.objects.all()] == [NEW, 0]


class TestVersions:
    def test_a_version_after_the_replacement_names_the_parties_of_today_and_answers(
        self, as_, signed, dataset, key, crew
    ):
        crew[NEW].post(receipt(crew[NEW], dataset))
        factories.released(crew, dataset, epsilon="3")
        two = ready(as_("provider"), crew, following(key, dataset))
        assert json.loads(two.manifest)["party_set"] == parties.party_set() and not two.party_sets.exists()
        assert account(two) == (10_000_000, 3_000_000, 0)
        query = factories.query(two)
        assert as_("operator").post(f"queries/{query.pk}/approve/", {}).status_code == 200

    def test_no_version_comes_before_the_new_party_holds_the_one_before(self, as_, old, dataset, key, crew):
        body = following(key, dataset)
        for step in ("not signed", "signed"):
            if step == "signed":
                assert hand_on(as_, dataset, key).status_code == 201
            refused = as_("provider").post("datasets/", body)
            assert (refused.status_code, refused.json()["code"]) == (409, "not_held")
            assert "sign-parties" in refused.json()["detail"]
        crew[NEW].post(receipt(crew[NEW], dataset))
        assert as_("provider").post("datasets/", body).status_code == 201

    def test_a_version_changes_hands_as_a_table_does(self, as_, dataset, key, crew, tmp_path):
        two = ready(as_("provider"), crew, following(key, dataset))
        replace_keys(crew, tmp_path)
        assert hand_on(as_, dataset, key).status_code == 409  # it answers no more
        assert hand_on(as_, two, key).status_code == 201
        assert crew[NEW].post(receipt(crew[NEW], two)).status_code == 200
        assert PartySet.objects.get().ready_at is not None

    def test_debits_of_every_version_are_owed_together_with_the_manifests_that_name_their_chain(
        self, as_, dataset, key, crew, tmp_path
    ):
        first = factories.released(crew, dataset)
        two = ready(as_("provider"), crew, following(key, dataset))
        second = factories.released(crew, two)
        factories.released(crew, factories.dataset())  # another table's
        replace_keys(crew, tmp_path)
        path = f"/api/parties/{NEW}/datasets/{two.pk}/owed/"
        debits = crew[NEW].get(path).json()["debits"]
        assert [d["order"]["query"] for d in debits] == [str(first.pk), str(second.pk)]
        for debit, named in zip(debits, (dataset, two), strict=True):
            (shown,) = debit["manifests"]
            assert digest(shown["manifest"]) == named.manifest_hash
            assert shown["signature"] == named.signature

    def test_a_word_on_one_version_counts_for_the_next(self, as_, dataset, key, crew, tmp_path, sender):
        query = factories.released(crew, dataset)
        replace_keys(crew, tmp_path)
        hand_on(as_, dataset, key)
        crew[NEW].post(crew[NEW].signed("taken-over", dataset=dataset.pk, debits=[[query.order.hash, 1]]))
        crew[NEW].post(receipt(crew[NEW], dataset))
        two = ready(as_("provider"), crew, following(key, dataset))
        path = f"/api/parties/{NEW}/datasets/{two.pk}/owed/"
        assert crew[NEW].get(path).json() == {"debits": []}
        after = factories.query(two, program="count() where age >= 10")
        as_("operator").post(f"queries/{after.pk}/approve/", {})
        alive()
        dispatcher.tick(sender)
        (word,) = crew[0].get(f"/api/parties/0/orders/{after.pk}/").json()["taken_over"]
        assert word["report"]["debits"] == [[query.order.hash, 1]]
