"""A pause: what runs ends, nothing new starts, everybody can see it, and an upgrade can wait for it."""

import threading
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from portal.audit.models import Event
from portal.operations import pauses
from portal.operations.models import Pause
from portal.queries import dispatcher
from portal.queries.models import Query
from portal.registry.models import Dataset

from . import factories
from .test_admin import logged_in
from .test_dispatcher import alive

pytestmark = pytest.mark.django_db
PAGE = "/admin/operations/pause/"


@pytest.fixture(autouse=True)
def awake():
    alive()


def test_what_is_approved_waits_while_paused_and_starts_afterwards(sender):
    query = factories.approved()
    pauses.begin(by="operator", reason="upgrade")
    dispatcher.tick(sender)
    query.refresh_from_db()
    assert query.state == "APPROVED" and sender.sent == []
    pauses.end(by="operator")
    dispatcher.tick(sender)
    query.refresh_from_db()
    assert query.state == "RUNNING" and sender.of("run") == [(str(query.pk), 1)]


def test_what_runs_ends_while_paused(sender, crew, settings):
    settings.FOURFOLD_RELEASE_GRACE = 0
    query = factories.approved()
    dispatcher.tick(sender)
    pauses.begin(by="operator")
    assert pauses.unfinished() == 1
    query.refresh_from_db()
    for party in crew:
        assert party.post(party.result(query)).status_code == 200
    dispatcher.tick(sender)
    query.refresh_from_db()
    assert query.state == "RELEASED" and pauses.unfinished() == 0


def test_a_second_attempt_of_what_runs_is_made_while_paused(sender, crew):
    """It would hold the drain no longer than its time-out, and the query would be lost without it."""
    query = factories.approved()
    dispatcher.tick(sender)
    pauses.begin(by="operator")
    query.refresh_from_db()
    for party in crew:
        party.post(party.word("abort", query, code="timeout", ready=False))
    dispatcher.tick(sender)
    assert query.attempts.count() == 2 and sender.of("run")[-1] == (str(query.pk), 2)


def test_an_uploaded_dataset_is_checked_after_the_pause(sender):
    dataset = factories.dataset(state="CHECKING")
    pauses.begin(by="operator")
    dispatcher.tick(sender)
    assert sender.sent == []
    pauses.end(by="operator")
    dispatcher.tick(sender)
    assert sender.of("ingest") == [(dataset.pk, party) for party in range(4)]
    assert Dataset.objects.get().told_at is not None


def test_parties_that_were_stopped_for_the_pause_get_their_time_to_come_back(sender, settings):
    query = factories.approved()
    pauses.begin(by="operator")
    long_ago = timezone.now() - timedelta(seconds=10 * settings.FOURFOLD_PARTY_WAIT)
    Query.objects.update(approved_at=long_ago)
    pauses.end(by="operator")
    alive(age=3600)
    dispatcher.tick(sender)
    assert sender.sent == []
    Pause.objects.update(ended_at=long_ago)
    dispatcher.tick(sender)
    assert sender.of("run") == [(str(query.pk), 1)]


def test_there_is_one_pause_at_a_time_and_the_database_says_so_too():
    pauses.begin(by="operator")
    with pytest.raises(pauses.PauseConflict, match="paused already"):
        pauses.begin(by="operator2")
    with pytest.raises(IntegrityError), transaction.atomic():
        Pause.objects.create(by="sql")
    pauses.end(by="operator2")
    with pytest.raises(pauses.PauseConflict, match="not paused"):
        pauses.end(by="operator")
    pauses.begin(by="operator")
    assert Pause.objects.count() == 2


def test_who_paused_and_resumed_is_in_the_audit_trail():
    pauses.begin(by="ann", reason="new\x00 disks")
    pauses.end(by="bob")
    assert [(e.kind, e.by, e.detail) for e in Event.objects.order_by("id")] == [
        ("paused", "ann", {"reason": "new disks"}),
        ("resumed", "bob", {}),
    ]


def test_everybody_sees_that_the_dispatcher_is_paused_and_why():
    assert Client().get("/api/parties/").json()["paused"] is None
    pauses.begin(by="operator", reason="upgrade to 0.2")
    assert Client().get("/api/parties/").json()["paused"]["reason"] == "upgrade to 0.2"


def test_an_operator_pauses_and_resumes_on_the_maintenance_page():
    operator = logged_in("operator")
    page = operator.post(f"{PAGE}switch/", {"to": "paused", "reason": "<b>upgrade</b>"}, follow=True)
    words = page.content.decode()
    assert "Drained: nothing runs" in words and "&lt;b&gt;upgrade&lt;/b&gt;" in words and pauses.current()
    again = operator.post(f"{PAGE}switch/", {"to": "paused"}, follow=True).content.decode()
    assert "Nothing was changed: the dispatcher is paused already" in again
    words = operator.post(f"{PAGE}switch/", {"to": "running"}, follow=True).content.decode()
    assert "Resumed" in words and pauses.current() is None
    assert "Choose" in operator.post(f"{PAGE}switch/", {"to": "x"}, follow=True).content.decode()


def test_the_page_says_what_still_runs(sender):
    query = factories.approved()
    dispatcher.tick(sender)
    pauses.begin(by="operator")
    words = logged_in("operator").get(PAGE).content.decode()
    assert "1 query still runs: wait" in words, query


@pytest.mark.parametrize("name", ["analyst", "provider", "auditor"])
def test_nobody_but_operators_reaches_the_switch(name):
    client = logged_in(name)
    assert client.get(PAGE).status_code == 302
    assert client.post(f"{PAGE}switch/", {"to": "paused"}).status_code == 302
    assert pauses.current() is None


def test_a_superuser_who_is_no_operator_looks_and_switches_nothing():
    client = logged_in("superuser")
    assert 'name="to"' not in client.get(PAGE).content.decode()
    assert client.post(f"{PAGE}switch/", {"to": "paused"}).status_code == 403 and pauses.current() is None


def test_drain_pauses_and_ends_once_nothing_runs(capsys):
    call_command("drain", by="ann", reason="upgrade")
    assert "drained" in capsys.readouterr().out and pauses.current().by == "ann"
    call_command("resume", by="ann")
    assert pauses.current() is None
    with pytest.raises(CommandError, match="not paused"):
        call_command("resume", by="ann")


def test_drain_that_waited_in_vain_says_so_and_stays_paused(sender):
    factories.approved()
    dispatcher.tick(sender)
    with pytest.raises(CommandError, match="1 queries still run; the dispatcher stays paused"):
        call_command("drain", by="ann", wait=0.3)
    assert pauses.current()


@pytest.mark.usefixtures("unguarded")
def test_of_two_operators_who_pause_at_once_one_wins():
    outcomes = []

    def pause(name):
        try:
            pauses.begin(by=name)
            outcomes.append("paused")
        except pauses.PauseConflict:
            outcomes.append("conflict")
        finally:
            connection.close()

    threads = [threading.Thread(target=pause, args=(f"operator{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict"] * 3 + ["paused"]
