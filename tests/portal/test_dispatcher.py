"""The dispatcher with a sender that only records: what is sent, when, and what survives a crash."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from portal import dispatch
from portal.dispatch import BrokerDown
from portal.queries import actions, dispatcher
from portal.queries.models import Attempt, Query
from portal.registry.models import Dataset, PartyState, Receipt

from . import factories
from .conftest import Recorder

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def awake():
    alive()


def alive(age=0):
    PartyState.objects.all().delete()
    PartyState.objects.bulk_create(
        PartyState(
            party=n,
            last_seen=timezone.now() - timedelta(seconds=age),
            said_at=0,
            code_version="1",
            ledger_length=0,
            ledger_head="",
            busy=False,
        )
        for n in range(4)
    )


def later(query, **how):
    """Move the clock of a query's attempt back."""
    then = timezone.now() - timedelta(**how)
    Attempt.objects.filter(query=query).update(started_at=then, told_at=then)


def abort_all(query, crew, attempt=1, **fields):
    for party in crew:
        said = party.word("abort", query, attempt=attempt, **{"code": "timeout", "ready": False, **fields})
        assert party.post(said).status_code == 200


def test_an_approved_query_is_started_and_the_parties_told(sender):
    query = factories.approved()
    dispatcher.tick(sender)
    query.refresh_from_db()
    assert query.state == "RUNNING"
    assert sender.of("run") == [(str(query.pk), 1)]
    dispatcher.tick(sender)
    assert len(sender.of("run")) == 1


def test_a_message_carries_ids_and_nothing_else(monkeypatch, settings):
    sent = []

    class App:
        def __init__(self, party):
            self.party = party

        def send_task(self, name, **how):
            sent.append((self.party, name, how))

    monkeypatch.setattr(dispatch, "_app", lambda party, url: App(party))
    real = dispatch.CelerySender()
    real.run("q", 1)
    real.ingest("d", 2)
    assert [(p, name) for p, name, _ in sent] == [(n, "workers.run") for n in range(4)] + [
        (2, "workers.ingest")
    ]
    assert all(how["queue"] == "jobs" and how["ignore_result"] for _, _, how in sent)
    assert sent[0][2]["kwargs"] == {"query": "q", "attempt": 1}
    assert sent[4][2]["kwargs"] == {"dataset": "d"}


def test_each_party_has_its_own_prefix_and_json_only():
    apps = [dispatch._app(n, "redis://127.0.0.1:1/0") for n in range(4)]
    prefixes = [a.conf.broker_transport_options["global_keyprefix"] for a in apps]
    assert prefixes == ["p0:", "p1:", "p2:", "p3:"]
    assert all(a.conf.accept_content == ["json"] and a.conf.task_serializer == "json" for a in apps)


def test_a_dead_broker_is_an_error_with_a_name(settings):
    with pytest.raises(BrokerDown):
        dispatch.CelerySender().run("q", 1)
    with pytest.raises(BrokerDown):
        dispatch.CelerySender().cancel("q", 1)
    assert dispatch.broker_answers() is False


def test_queries_start_in_the_order_of_their_approval_one_at_a_time(sender, crew):
    first, second = factories.approved(), factories.approved()
    dispatcher.tick(sender)
    dispatcher.tick(sender)
    assert sender.of("run") == [(str(first.pk), 1)]
    for party in crew:
        party.post(party.result(first))
    dispatcher.tick(sender)
    assert sender.of("run") == [(str(first.pk), 1), (str(second.pk), 1)]


def test_as_many_run_at_once_as_the_setting_allows(sender, settings):
    settings.FOURFOLD_JOBS_IN_FLIGHT = 2
    queries = [factories.approved() for _ in range(3)]
    dispatcher.tick(sender)
    assert sender.of("run") == [(str(q.pk), 1) for q in queries[:2]]


def test_a_failed_attempt_is_followed_by_the_next_one_and_then_by_none(sender, crew):
    query = factories.approved()
    dispatcher.tick(sender)
    abort_all(query, crew)
    dispatcher.tick(sender)
    assert sender.of("run") == [(str(query.pk), 1), (str(query.pk), 2)]
    abort_all(query, crew, attempt=2)
    dispatcher.tick(sender)
    query.refresh_from_db()
    assert query.state == "ABORTED" and len(sender.of("run")) == 2


def test_the_next_attempt_waits_for_parties_that_are_away(sender, crew, settings):
    query = factories.approved()
    dispatcher.tick(sender)
    abort_all(query, crew)
    alive(age=settings.FOURFOLD_PARTY_FRESH + 5)
    dispatcher.tick(sender)
    assert len(sender.of("run")) == 1
    alive()
    dispatcher.tick(sender)
    assert len(sender.of("run")) == 2


def test_parties_that_are_away_are_not_waited_for_for_ever(sender, settings):
    query = factories.approved()
    alive(age=settings.FOURFOLD_PARTY_FRESH + 5)
    dispatcher.tick(sender)
    assert sender.of("run") == []
    Query.objects.filter(pk=query.pk).update(
        approved_at=timezone.now() - timedelta(seconds=settings.FOURFOLD_PARTY_WAIT + 1)
    )
    dispatcher.tick(sender)
    assert sender.of("run") == [(str(query.pk), 1)]


def test_an_attempt_without_an_end_times_out_and_is_cancelled(sender, settings):
    query = factories.approved()
    dispatcher.tick(sender)
    later(query, seconds=settings.FOURFOLD_ATTEMPT_TIMEOUT + 1)
    dispatcher.tick(sender)
    assert query.attempts.first().code == "timeout"
    assert (str(query.pk), 1) in sender.of("cancel")
    assert sender.of("run")[-1] == (str(query.pk), 2)


def test_a_party_that_stays_silent_after_the_others_aborted_is_not_waited_for_long(sender, crew, settings):
    query = factories.approved()
    dispatcher.tick(sender)
    for party in crew[:3]:
        party.post(party.word("abort", query, code="timeout", ready=False))
    dispatcher.tick(sender)
    assert len(sender.of("run")) == 1
    settings.FOURFOLD_SETTLE_SECONDS = 0
    dispatcher.tick(sender)
    assert sender.of("run")[-1] == (str(query.pk), 2)


def test_three_results_are_released_after_a_moment_of_grace(sender, crew, settings):
    query = factories.approved()
    dispatcher.tick(sender)
    for party in crew[:3]:
        party.post(party.result(query))
    dispatcher.tick(sender)
    query.refresh_from_db()
    assert query.state == "RUNNING"
    settings.FOURFOLD_RELEASE_GRACE = 0
    dispatcher.tick(sender)
    query.refresh_from_db()
    assert query.state == "RELEASED"


def test_parties_that_have_said_nothing_are_told_again(sender, crew, settings):
    query = factories.approved()
    dispatcher.tick(sender)
    later(query, seconds=settings.FOURFOLD_TELL_AGAIN + 1)
    dispatcher.tick(sender)
    assert sender.of("run") == [(str(query.pk), 1)] * 2
    for party in crew:
        party.post(party.word("started", query))
    later(query, seconds=settings.FOURFOLD_TELL_AGAIN + 1)
    dispatcher.tick(sender)
    assert len(sender.of("run")) == 2


def test_a_broker_that_is_down_loses_nothing(sender):
    query = factories.approved()
    sender.down = True
    with pytest.raises(BrokerDown):
        dispatcher.tick(sender)
    query.refresh_from_db()
    assert query.state == "RUNNING" and query.attempts.get().told_at is None
    sender.down = False
    dispatcher.tick(sender)
    assert sender.of("run") == [(str(query.pk), 1)]


def test_the_loop_waits_out_a_broker_that_is_down(sender, caplog):
    factories.approved()
    stopped, naps = threading.Event(), []

    def sleep(seconds):
        naps.append(seconds)
        sender.down = len(naps) < 3
        if len(naps) == 4:
            stopped.set()

    sender.down = True
    dispatcher.run(sender, stopped=stopped, sleep=sleep)
    assert len(sender.of("run")) == 1
    assert naps[0] == 1.0


def test_a_dispatcher_that_died_between_row_and_message_sends_it_after_its_restart(sender):
    from portal.queries import attempts

    query = factories.approved()
    attempts.begin(query)  # and here it was killed
    dispatcher.tick(sender)
    assert sender.of("run") == [(str(query.pk), 1)]
    assert query.attempts.count() == 1


def test_a_dispatcher_that_died_between_two_attempts_begins_the_second(sender, crew):
    query = factories.approved()
    dispatcher.tick(sender)
    abort_all(query, crew)
    fresh = Recorder()
    dispatcher.tick(fresh)
    assert fresh.of("run") == [(str(query.pk), 2)]


def test_stopping_tells_the_parties_and_leaves_the_rows(sender):
    query = factories.approved()
    dispatcher.tick(sender)
    stopped = threading.Event()
    stopped.set()
    dispatcher.run(sender, stopped=stopped, sleep=lambda s: None)
    assert sender.of("cancel") == [(str(query.pk), 1)]
    query.refresh_from_db()
    assert query.state == "RUNNING"


def test_there_is_one_dispatcher():
    outcomes = []

    def rival():
        try:
            with dispatcher.alone():
                outcomes.append("alone")
        except dispatcher.AnotherDispatcher:
            outcomes.append("another")
        finally:
            connection.close()

    with dispatcher.alone():
        thread = threading.Thread(target=rival)
        thread.start()
        thread.join(30)
    rival_after = threading.Thread(target=rival)
    rival_after.start()
    rival_after.join(30)
    assert outcomes == ["another", "alone"]


def test_an_order_that_expired_while_waiting_never_runs(sender, settings):
    settings.FOURFOLD_ORDER_LIFETIME = -60
    with pytest.raises(Exception, match="expires"):
        factories.approved()
    settings.FOURFOLD_ORDER_LIFETIME = 1
    query = factories.approved()
    from unittest import mock

    with mock.patch.object(timezone, "now", return_value=timezone.now() + timedelta(seconds=5)):
        alive()
        dispatcher.tick(sender)
    query.refresh_from_db()
    assert (query.state, query.code) == ("ABORTED", "order_expired")
    assert sender.of("run") == []


def test_a_withdrawn_query_is_not_started(sender, as_):
    query = factories.approved()
    as_("analyst").post(f"queries/{query.pk}/withdraw/")
    dispatcher.tick(sender)
    assert sender.of("run") == []


def test_parties_are_told_of_an_uploaded_dataset_until_they_answer(sender, settings):
    dataset = factories.dataset("CHECKING")
    dispatcher.tick(sender)
    dispatcher.tick(sender)
    assert sender.of("ingest") == [(dataset.pk, n) for n in range(4)]
    Receipt.objects.create(
        dataset=dataset, party=1, manifest_hash=dataset.manifest_hash, report="{}", signature="", time=0
    )
    Dataset.objects.filter(pk=dataset.pk).update(
        told_at=timezone.now() - timedelta(seconds=settings.FOURFOLD_TELL_AGAIN + 1)
    )
    sender.sent.clear()
    dispatcher.tick(sender)
    assert sender.of("ingest") == [(dataset.pk, n) for n in (0, 2, 3)]


def test_a_quiet_tick_asks_the_database_little(sender, django_assert_max_num_queries):
    factories.dataset()
    with django_assert_max_num_queries(5):
        dispatcher.tick(sender)


def test_an_answer_that_cannot_be_made_ends_its_query_and_no_other(sender, crew, monkeypatch):
    from portal.queries import release

    broken, sound = factories.approved(), factories.approved()
    dispatcher.tick(sender)
    monkeypatch.setattr(release, "figures", lambda *a: 1 / 0)
    for party in crew:
        assert party.post(party.result(broken)).status_code == 200
    broken.refresh_from_db()
    assert (broken.state, broken.code) == ("ABORTED", "release_failed")
    monkeypatch.undo()
    dispatcher.tick(sender)
    assert sender.of("run")[-1] == (str(sound.pk), 1)


def test_a_query_that_cannot_be_tended_keeps_no_other_waiting(sender, crew, monkeypatch, settings):
    from portal.queries import attempts

    settings.FOURFOLD_JOBS_IN_FLIGHT = 2
    stuck, sound = factories.approved(), factories.approved()
    dispatcher.tick(sender)
    real = attempts.tend
    monkeypatch.setattr(
        attempts,
        "tend",
        lambda attempt, now=None: 1 / 0 if attempt.query_id == stuck.pk else real(attempt, now),
    )
    for party in crew:
        party.post(party.word("abort", sound, code="timeout", ready=False))
    dispatcher.tick(sender)
    assert sender.of("run")[-1] == (str(sound.pk), 2)


@pytest.mark.parametrize(
    ("code", "says"), [("rollback", "older than its peers saw"), ("version", "different code")]
)
def test_what_operators_must_act_on_is_said_in_the_reason(sender, crew, code, says):
    query = factories.approved()
    for attempt in (1, 2):
        dispatcher.tick(sender)
        query.refresh_from_db()
        abort_all(query, crew, attempt=attempt, code=code)
    dispatcher.tick(sender)
    query.refresh_from_db()
    assert (query.state, query.code) == ("ABORTED", code)
    assert says in query.reason and query.reason.startswith("attempt 2 ended with")


class TestWaking:
    """Against a real Redis: the dispatcher rests on a list that whoever moves a query pushes to."""

    @pytest.fixture(autouse=True)
    def broker(self, settings, redis_url):
        settings.REDIS_URL = redis_url
        dispatch._redis(redis_url).delete(dispatch.WAKE)

    def rested(self, seconds=20.0):
        """Whether a rest of so long ended because somebody called `wake`."""
        began = time.monotonic()
        dispatch.rest(seconds, lambda _: pytest.fail("the broker is there"))
        return time.monotonic() - began < seconds / 2

    def test_a_dispatcher_that_rests_is_woken(self):
        timer = threading.Timer(0.2, dispatch.wake)
        timer.start()
        assert self.rested()
        timer.join()

    def test_a_call_that_came_before_the_rest_is_heard_and_many_are_heard_once(self):
        for _ in range(5):
            dispatch.wake()
        assert self.rested()
        assert not self.rested(seconds=0.3)

    def test_what_nobody_hears_is_forgotten(self, redis_url):
        dispatch.wake()
        assert 0 < dispatch._redis(redis_url).ttl(dispatch.WAKE) <= dispatch.WAKE_SECONDS

    def test_an_approval_wakes_it_when_it_is_committed(self, django_capture_on_commit_callbacks):
        query = factories.query()
        with django_capture_on_commit_callbacks() as told:
            actions.approve(query=query, by=factories.account("operator"))
        assert told == [dispatch.wake]

    def test_an_end_wakes_it_for_the_next_query(self, django_capture_on_commit_callbacks, crew):
        query, _ = factories.running()
        with django_capture_on_commit_callbacks() as told:
            for party in crew:
                party.post(party.result(query))
        assert told == [dispatch.wake]


def test_without_a_broker_it_rests_all_the_same_and_nobody_fails_to_wake_it():
    slept = []
    dispatch.rest(0.3, slept.append)
    dispatch.wake()
    assert slept == [0.3]
