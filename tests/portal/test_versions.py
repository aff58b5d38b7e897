"""A new version of a table: it follows the newest one, inherits its account and mode, and answers in its place."""

import threading
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from analytics.query.approval import sign
from portal.audit.models import Event
from portal.budgets.actions import BudgetExhausted, give_back_unsettled, spend
from portal.budgets.models import Account
from portal.queries import actions, attempts
from portal.queries.models import Query
from portal.registry.actions import announce
from portal.registry.models import Dataset

from . import factories
from .test_datasets import put, receipt
from .test_dispatcher import alive

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(as_):
    return as_("provider")


@pytest.fixture
def key():
    return Ed25519PrivateKey.generate()


@pytest.fixture
def one(key):
    return factories.dataset(key=key)


def following(key, before, *, epsilon="10", most="5", **changes):
    """The announcement of the next version; `epsilon` is its policy's total, `most` that of a query."""
    places = {"version": before.version + 1, "previous": before.manifest_hash, "chain": before.chain}
    return factories.announcement(
        key, factories.codebook(epsilon=epsilon, epsilon_per_query=most), **{**places, **changes}
    )


def sent(provider, body):
    """The dataset of an announcement whose bundles are complete."""
    answer = provider.post("datasets/", body)
    assert answer.status_code == 201, answer.content
    dataset = answer.json()["id"]
    for party in range(4):
        put(provider, dataset, party, 0, b"sealed")
    assert provider.post(f"datasets/{dataset}/complete/").status_code == 200
    return Dataset.objects.get(pk=dataset)


def ready(provider, crew, body):
    dataset = sent(provider, body)
    for party in crew:
        assert party.post(receipt(party, dataset.pk)).status_code == 200
    dataset.refresh_from_db()
    assert dataset.state == "READY"
    return dataset


def account(dataset):
    found = Account.objects.get(pk=dataset.chain)
    return found.total, found.spent, found.reserved


def test_a_new_version_answers_in_the_place_of_the_old_one(provider, as_, crew, key, one):
    two = ready(provider, crew, following(key, one))
    three = ready(provider, crew, following(key, two))
    listed = {d["id"]: d for d in as_("analyst").get("datasets/").json()["results"]}
    shown = [
        tuple(listed[d.pk][k] for k in ("state", "chain", "version", "superseded_by"))
        for d in (one, two, three)
    ]
    assert shown == [
        ("SUPERSEDED", one.pk, 1, three.pk),
        ("SUPERSEDED", one.pk, 2, three.pk),
        ("READY", one.pk, 3, None),
    ]
    assert Account.objects.count() == 1


def test_the_list_is_filtered_by_chain_version_and_state(provider, as_, crew, key, one):
    two = ready(provider, crew, following(key, one))
    factories.dataset()
    for filters, wanted in (
        (f"chain={one.pk}", {one.pk, two.pk}),
        (f"chain={one.pk}&state=READY", {two.pk}),
        ("version=2", {two.pk}),
        (f"chain={two.pk}", set()),
    ):
        listed = as_("analyst").get(f"datasets/?{filters}").json()["results"]
        assert {d["id"] for d in listed} == wanted


def test_what_was_spent_and_reserved_stays_in_the_one_account(provider, as_, crew, key, one):
    factories.released(crew, one, epsilon="3")
    assert account(one) == (10_000_000, 3_000_000, 0)
    two = ready(provider, crew, following(key, one))
    budget = {"total": "10.000000", "spent": "3.000000", "reserved": "0.000000", "left": "7.000000"}
    for dataset in (one, two):
        line = as_("analyst").get(f"budget/?dataset={dataset.pk}").json()
        (shown,) = line
        assert {k: shown[k] for k in ("dataset", "chain", *budget)} == {
            "dataset": dataset.pk,
            "chain": one.pk,
            **budget,
        }
    (shown,) = as_("provider").get("budget/").json()
    assert {k: shown[k] for k in ("dataset", "chain", *budget)} == {
        "dataset": two.pk,
        "chain": one.pk,
        **budget,
    }
    factories.released(crew, two, epsilon="4")
    assert account(two) == (10_000_000, 7_000_000, 0)
    late = factories.query(two, program="mean(age)", epsilon="3.000001")
    answer = as_("operator").post(f"queries/{late.pk}/approve/")
    assert (answer.status_code, answer.json()["code"]) == (409, "budget_exhausted")


def test_the_mode_of_a_chain_goes_on(provider, crew, key, one):
    body = following(key, one)
    factories.running(one, mode="exact", epsilon="1")
    two = ready(provider, crew, body)
    assert two.mode == "exact"
    three = ready(provider, crew, following(key, two))
    assert three.mode == "exact"


LIES = {
    "a skipped version": (lambda one: {"version": 3}, "version_skipped"),
    "another predecessor": (lambda one: {"previous": "a" * 64}, "previous_differs"),
    "another chain": (lambda one: {"chain": "b" * 32}, "no_predecessor"),
    "a raised budget": (lambda one: {"epsilon": "10.000001"}, "budget_raised"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_does_not_follow_is_refused(provider, key, one, lie):
    make, code = LIES[lie]
    answer = provider.post("datasets/", following(key, one, **make(one)))
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert Dataset.objects.count() == 1 and Account.objects.count() == 1


def test_a_version_signed_with_another_key_is_refused(provider, one):
    answer = provider.post("datasets/", following(Ed25519PrivateKey.generate(), one))
    assert answer.json()["code"] == "key_differs"


def test_nobody_follows_the_table_of_another_organisation(as_, one):
    answer = as_("provider2").post("datasets/", following(Ed25519PrivateKey.generate(), one))
    assert answer.json()["code"] == "no_predecessor"


@pytest.mark.parametrize("state", ["UPLOADING", "CHECKING", "REJECTED", "WITHDRAWN"])
def test_only_a_version_that_answers_is_followed(provider, key, state):
    one = factories.dataset(state, key=key)
    assert provider.post("datasets/", following(key, one)).json()["code"] == "no_predecessor"


def test_who_follows_a_superseded_version_is_told_the_newest(provider, crew, key, one):
    two = ready(provider, crew, following(key, one))
    answer = provider.post("datasets/", following(key, one, commitments=["d" * 64] * 4)).json()
    assert answer["code"] == "superseded" and two.pk in answer["detail"]


def test_the_same_new_version_again_changes_nothing(provider, crew, key, one):
    body = following(key, one)
    two = ready(provider, crew, body)
    assert provider.post("datasets/", body).status_code == 200
    again = {**body["manifest"], "created": 1_900_000_000, "title": "renamed"}
    renamed = {**body, "manifest": again, "signature": sign(again, key)}
    assert provider.post("datasets/", renamed).status_code == 200
    two.refresh_from_db()
    assert (two.state, two.title) == ("READY", "A trial")


def test_a_looser_policy_is_named_in_the_audit_trail(provider, crew, key):
    one = factories.dataset(key=key, book=factories.codebook(modes=["dp"], statistics=["count"]))
    two = ready(provider, crew, following(key, one, epsilon="9"))
    event = Event.objects.get(kind="dataset announced", subject=f"dataset {two.pk}")
    assert event.detail["follows"] == one.pk
    assert event.detail["looser"] == ["modes with exact", "statistics with *"]


def test_a_lower_total_counts_from_its_version_on_and_never_below_what_is_spent(provider, crew, key, one):
    factories.released(crew, one, epsilon="3")
    two = ready(provider, crew, following(key, one, epsilon="5"))
    assert account(two) == (5_000_000, 3_000_000, 0)
    three = ready(provider, crew, following(key, two, epsilon="1", most="1"))
    assert account(three) == (3_000_000, 3_000_000, 0)
    assert (
        provider.post("datasets/", following(key, three, epsilon="2", most="1")).json()["code"]
        == "budget_raised"
    )


def test_an_unfinished_upload_makes_way_for_another_of_the_same_version(provider, crew, key, one):
    wrong = following(key, one, commitments=["d" * 64] * 4)
    provider.post("datasets/", wrong)
    right = ready(provider, crew, following(key, one))
    old = Dataset.objects.get(pk=wrong["manifest"]["dataset"])
    assert (old.state, right.version) == ("REJECTED", 2)
    assert put(provider, old.pk, 0, 0, b"late").json()["code"] == "not_uploading"


def test_what_parties_look_at_does_not_make_way(provider, key, one):
    two = sent(provider, following(key, one))
    answer = provider.post("datasets/", following(key, one)).json()
    assert answer["code"] == "version_taken" and two.pk in answer["detail"]


def test_a_rejected_version_leaves_the_old_one_and_another_may_come(provider, crew, key, one):
    two = sent(provider, following(key, one))
    crew[2].post(receipt(crew[2], two.pk, "complaint", code="commitment"))
    one.refresh_from_db()
    assert one.state == "READY"
    assert ready(provider, crew, following(key, one)).version == 2


def test_of_racing_uploads_of_one_version_one_wins(unguarded, key):
    one = factories.dataset(key=key)
    bodies = [following(key, one) for _ in range(8)]
    by = factories.account("provider")
    start = threading.Barrier(len(bodies))

    def send(body):
        start.wait(60)
        try:
            announce(by=by, manifest=body["manifest"], signature=body["signature"], codebook=body["codebook"])
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    second = Dataset.objects.filter(chain=one.pk, version=2)
    assert second.exclude(state="REJECTED").count() == 1
    assert Account.objects.count() == 1


def test_the_database_itself_lets_one_version_answer(key, one):
    other = factories.dataset(key=key)
    for changes in ({"chain": one.pk, "version": 2}, {"chain": one.pk, "version": 1}, {"version": 2}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Dataset.objects.filter(pk=other.pk).update(**changes)


class TestAQuestionOnAnOldVersion:
    def test_is_refused_and_told_the_newest(self, provider, as_, crew, key, one):
        two = ready(provider, crew, following(key, one))
        asked = {"program": factories.PROGRAM, "datasets": [one.pk], "epsilon": "1", "mode": "dp"}
        for path in ("queries/", "queries/preview/"):
            answer = as_("analyst").post(path, asked)
            assert (answer.status_code, answer.json()["code"]) == (409, "superseded")
            assert two.pk in answer.json()["detail"] and "version 2" in answer.json()["detail"]
        assert not Query.objects.exists()

    def test_that_was_answered_before_gets_the_stored_answer_at_no_charge(
        self, provider, as_, crew, key, one
    ):
        earlier = factories.released(crew, one, epsilon="1")
        ready(provider, crew, following(key, one))
        asked = {"program": factories.PROGRAM, "datasets": [one.pk], "epsilon": "1", "mode": "dp"}
        assert as_("analyst2").post("queries/preview/", asked).json()["stored"] is True
        again = as_("analyst2").post("queries/", asked).json()
        assert again["state"] == "RELEASED"
        body = as_("analyst2").get(f"queries/{again['id']}/result/").json()
        assert (body["stored_from"], body["charged"]) == (str(earlier.pk), "0.000000")
        assert account(one) == (10_000_000, 1_000_000, 0)

    def test_on_the_new_one_is_another_question(self, provider, crew, key, one):
        first = factories.released(crew, one, epsilon="1")
        two = ready(provider, crew, following(key, one))
        second = factories.query(two, epsilon="1")
        assert second.plan_hash != first.plan_hash and second.state == "SUBMITTED"

    def test_that_waits_for_a_decision_is_refused_with_the_reason(self, provider, as_, crew, key, one):
        query = factories.query(one)
        two = ready(provider, crew, following(key, one))
        query.refresh_from_db()
        assert query.state == "REFUSED" and two.pk in query.reason
        assert as_("analyst").get(f"queries/{query.pk}/result/").json()["code"] == "refused"

    def test_that_waits_for_its_turn_is_aborted_and_costs_nothing(self, provider, as_, crew, key, one):
        query = factories.approved(one, epsilon="2")
        two = ready(provider, crew, following(key, one))
        query.refresh_from_db()
        assert (query.state, query.code) == ("ABORTED", "superseded") and two.pk in query.reason
        assert account(one) == (10_000_000, 0, 0)

    def test_that_runs_may_end_but_gets_no_second_attempt(self, provider, crew, key, one):
        ended, _ = factories.running(one, epsilon="1")
        failed, attempt = factories.running(one, epsilon="1", program="count()")
        ready(provider, crew, following(key, one))
        for party in crew:
            party.post(party.result(ended))
            party.post(party.word("abort", failed, code="timeout", ready=False))
        ended.refresh_from_db(), attempt.refresh_from_db(), failed.refresh_from_db()
        assert (ended.state, attempt.state, failed.state) == ("RELEASED", "FAILED", "RUNNING")
        for party in crew:
            beat = {"code_version": "1", "ledger": {"length": 0, "head": ""}, "busy": False}
            party.post(party.signed("heartbeat", **beat))
        assert attempts.begin_next(failed, timezone.now()) is None
        failed.refresh_from_db()
        assert (failed.state, failed.code) == ("ABORTED", "superseded")
        assert account(one) == (10_000_000, 1_000_000, 0)

    def test_gets_no_second_attempt_while_parties_look_at_the_next_version(self, provider, crew, key, one):
        query, _ = factories.running(one)
        for party in crew:
            party.post(party.word("abort", query, code="timeout", ready=False))
            beat = {"code_version": "1", "ledger": {"length": 0, "head": ""}, "busy": False}
            party.post(party.signed("heartbeat", **beat))
        two = sent(provider, following(key, one))
        assert attempts.begin_next(query, timezone.now()) is None
        crew[0].post(receipt(crew[0], two.pk, "complaint", code="commitment"))
        assert attempts.begin_next(query, timezone.now()).number == 2

    def test_is_not_approved_any_more(self, as_, one):
        query = factories.query(one)
        Dataset.objects.filter(pk=one.pk).update(state="SUPERSEDED")
        answer = as_("operator").post(f"queries/{query.pk}/approve/")
        assert answer.status_code == 409 and "superseded" in answer.json()["detail"]

    def test_waits_while_parties_look_at_the_next_version_and_holds_up_nobody_else(
        self, provider, crew, key, one
    ):
        alive()
        held = factories.approved(one)
        other = factories.approved(factories.dataset(provider="provider2"))
        assert attempts.waiting(timezone.now()) == held
        two = sent(provider, following(key, one))
        assert attempts.waiting(timezone.now()) == other
        crew[0].post(receipt(crew[0], two.pk, "complaint", code="commitment"))
        assert attempts.waiting(timezone.now()) == held


def test_whatever_versions_come_the_chain_never_costs_more_than_its_total(provider, crew, key, one):
    random = Random(11)
    newest, held = one, {}
    for step in range(40):
        match random.choice(["ask", "ask", "spend", "return", "version"]):
            case "ask":
                query = factories.query(
                    newest, epsilon=random.choice(["0.5", "1", "2"]), program=f"count() where age >= {step}"
                )
                try:
                    actions.approve(query=query, by=factories.account("operator"))
                except BudgetExhausted:
                    continue
                query.refresh_from_db()
                held[query.pk] = query
            case "spend" if held:
                query = held.pop(next(iter(held)))
                spend(query=query.pk, attempt=1)
                give_back_unsettled(query=query.pk)
                Query.objects.filter(pk=query.pk).update(state="REFUSED")
            case "return" if held:
                query = held.pop(next(iter(held)))
                give_back_unsettled(query=query.pk)
                Query.objects.filter(pk=query.pk).update(state="REFUSED")
            case "version":
                _, spent, _ = account(newest)
                newest = ready(provider, crew, following(key, newest))
                held = {}
                assert account(newest) == (10_000_000, spent, 0)
        total, spent, reserved = account(newest)
        assert spent + reserved <= total == 10_000_000
    assert newest.version > 3 and account(newest)[1] > 0


def test_tables_of_before_become_the_first_of_their_chains(unguarded):
    executor = MigrationExecutor(connection)
    leaves = executor.loader.graph.leaf_nodes()
    executor.migrate([("registry", "0001_initial")])
    try:
        old = executor.loader.project_state([("registry", "0001_initial")]).apps
        home = old.get_model("accounts", "Organisation").objects.create(name="Hospital")
        for number in range(2):
            old.get_model("registry", "Dataset").objects.create(
                id=f"{number:032x}", title="t", provider=home, capacity=64, manifest_hash=f"{number:064x}"
            )
    finally:
        MigrationExecutor(connection).migrate(leaves)
    found = {(d.pk, d.chain, d.version) for d in Dataset.objects.all()}
    assert found == {(f"{n:032x}", f"{n:032x}", 1) for n in range(2)}


@pytest.mark.parametrize(
    "filters",
    [
        "version=1e30",
        "version=-1",
        "version=nan",
        "chain=%00",
        "chain=x",
        "version=9" + "9" * 40,
    ],
)
def test_a_filter_that_fits_nothing_finds_nothing_or_is_refused(as_, one, filters):
    answer = as_("analyst").get(f"datasets/?{filters}")
    assert answer.status_code == 400 or answer.json()["count"] == 0
