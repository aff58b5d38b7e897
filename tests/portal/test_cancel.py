"""Cancelling a query while it runs: it ends at once, parties are told, and only what may have been opened is paid."""

import pytest

from portal.audit.models import Event
from portal.queries import actions, attempts, dispatcher
from portal.queries.states import IllegalMove

from . import factories
from .test_dispatcher import abort_all, alive

pytestmark = pytest.mark.django_db


@pytest.fixture
def running(sender):
    """A query with an attempt at the parties."""
    alive()
    query = factories.approved()
    dispatcher.tick(sender)
    query.refresh_from_db()
    return query


def cancel(query, sender, by="analyst", reason=""):
    actions.cancel(query=query, by=factories.account(by), reason=reason, sender=sender)
    query.refresh_from_db()


def budget(query):
    account = query.datasets.get().account
    return account.reserved, account.spent


@pytest.mark.parametrize("by", ["analyst", "operator"])
def test_a_running_query_ends_aborted_at_once_and_the_parties_are_told(running, sender, by):
    cancel(running, sender, by, "wrong cohort")
    assert (running.state, running.code, running.reason) == ("ABORTED", "cancelled", "wrong cohort")
    assert sender.of("cancel") == [(str(running.pk), 1)]
    event = running.events.last()
    assert (event.was, event.now, event.by, event.reason) == ("RUNNING", "ABORTED", by, "wrong cohort")


def test_over_the_api_it_is_the_asker_s_or_an_operator_s_to_do(running, as_):
    address = f"queries/{running.pk}/cancel/"
    assert as_("analyst2").post(address).status_code == 404
    assert as_("auditor").post(address).status_code == 403
    answer = as_("analyst").post(address, {"reason": "a typing error"})
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["code"]) == ("ABORTED", "cancelled")
    again = as_("operator").post(address)
    assert (again.status_code, again.json()["code"]) == (409, "illegal_move")
    gone = as_("analyst").get(f"queries/{running.pk}/result/")
    assert (gone.status_code, gone.json()["abort_code"]) == (409, "cancelled")


@pytest.mark.parametrize("make", [factories.query, factories.approved])
def test_what_does_not_run_yet_is_not_cancelled(make, sender):
    query = make()
    with pytest.raises(IllegalMove, match="withdrawn"):
        cancel(query, sender)
    assert sender.of("cancel") == []


def test_no_attempt_follows_and_all_budget_returns_when_no_party_was_ready(running, sender, crew):
    cancel(running, sender)
    assert budget(running) == (1_000_000, 0)  # the attempt under way; the second returned at once
    abort_all(running, crew, code="cancelled")
    assert budget(running) == (0, 0)
    for _ in range(3):
        dispatcher.tick(sender)
    attempt = running.attempts.get()
    assert (attempt.state, attempt.code) == ("FAILED", "cancelled")
    assert sender.of("run") == [(str(running.pk), 1)]


def test_a_party_that_was_ready_makes_it_spent(running, sender, crew):
    cancel(running, sender)
    for party in crew:
        party.post(party.word("abort", running, code="cancelled", ready=party.number == 2))
    assert budget(running) == (0, 1_000_000)


def test_results_signed_too_late_are_paid_and_never_released(running, sender, crew, as_):
    cancel(running, sender)
    for party in crew:
        assert party.post(party.result(running)).status_code == 200
    running.refresh_from_db()
    assert running.state == "ABORTED" and budget(running) == (0, 1_000_000)
    assert as_("analyst").get(f"queries/{running.pk}/result/").status_code == 409


def test_a_party_that_started_and_stays_silent_may_have_been_ready(running, sender, crew, settings):
    crew[0].post(crew[0].word("started", running))
    cancel(running, sender)
    for party in crew[1:]:
        party.post(party.word("abort", running, code="cancelled", ready=False))
    dispatcher.tick(sender)
    assert budget(running) == (1_000_000, 0)  # it is waited for
    settings.FOURFOLD_SETTLE_SECONDS = 0
    dispatcher.tick(sender)
    assert budget(running) == (0, 1_000_000)


def test_parties_that_never_started_cost_nothing(running, sender, settings):
    cancel(running, sender)
    settings.FOURFOLD_SETTLE_SECONDS = 0
    dispatcher.tick(sender)
    assert budget(running) == (0, 0)


def test_the_dispatcher_tells_the_parties_again_until_they_have_spoken(running, sender, crew):
    sender.down = True
    actions.cancel(query=running, by=factories.account("analyst"), sender=sender)
    sender.down = False
    dispatcher.tick(sender)
    dispatcher.tick(sender)
    assert sender.of("cancel") == [(str(running.pk), 1)] * 2
    abort_all(running, crew, code="cancelled")
    dispatcher.tick(sender)
    assert len(sender.of("cancel")) == 2


def test_between_two_attempts_nothing_is_left_to_wait_for(running, sender, crew):
    abort_all(running, crew, code="timeout")
    before = factories.Query.objects.get(pk=running.pk)
    cancel(running, sender)
    assert running.state == "ABORTED" and budget(running) == (0, 0)
    assert attempts.begin_next(before, before.attempts.last().ended_at) is None
    dispatcher.tick(sender)
    assert sender.of("run") == [(str(running.pk), 1)]


def test_a_dispatcher_that_still_saw_it_running_releases_nothing(running, sender, crew):
    for party in crew[:3]:
        party.post(party.result(running))
    before = running.attempts.select_related("query").get()
    cancel(running, sender)
    with pytest.raises(IllegalMove):
        attempts.release.release(before, list(before.reports.all()))
    assert budget(running) == (1_000_000, 0)
    crew[3].post(crew[3].word("abort", running, code="cancelled", ready=True))
    assert budget(running) == (0, 1_000_000)


def test_the_parties_get_no_order_of_a_cancelled_query(running, sender, crew):
    path = f"/api/parties/0/orders/{running.pk}/"
    assert crew[0].get(path).status_code == 200
    cancel(running, sender)
    assert crew[0].get(path).status_code == 404


def test_another_query_may_begin_while_the_parties_stop(running, sender):
    following = factories.approved()
    cancel(running, sender)
    dispatcher.tick(sender)
    assert (str(following.pk), 1) in sender.of("run")


def test_the_audit_trail_has_it(running, sender):
    cancel(running, sender, "operator", "the machine is needed")
    event = Event.objects.filter(kind="query aborted").last()
    assert (event.by, event.detail["reason"]) == ("operator", "the machine is needed")
