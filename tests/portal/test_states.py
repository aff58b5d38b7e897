"""The life of a query: its table, its races, its rows."""

import itertools

import pytest
from django.db import IntegrityError, transaction

from portal.audit.models import Event
from portal.queries import states
from portal.queries.models import Query, QueryEvent, State
from portal.queries.states import FINAL, MOVES, IllegalMove, MovedElsewhere, move

from . import factories

pytestmark = pytest.mark.django_db


def in_state(state):
    query = factories.query()
    dressed = (
        {"approved_at": query.created, "approved_by": "operator"}
        if state not in ("SUBMITTED", "REFUSED", "WITHDRAWN")
        else {}
    )
    if state == "RELEASED":
        dressed["released_at"] = query.created
    Query.objects.filter(pk=query.pk).update(state=state, **dressed)
    query.refresh_from_db()
    return query


def dressed(to):
    if to == State.APPROVED:
        from django.utils import timezone

        return {"approved_at": timezone.now(), "approved_by": "operator"}
    if to == State.RELEASED:
        from django.utils import timezone

        return {"released_at": timezone.now()}
    return {}


@pytest.mark.parametrize(("was", "to"), list(itertools.product(State, State)))
def test_a_query_moves_where_the_table_says_and_nowhere_else(was, to):
    query = in_state(was)
    before = QueryEvent.objects.count()
    if to in MOVES.get(was, ()):
        move(query, to, by="somebody", reason="because", **dressed(to))
        assert query.state == to
        event = QueryEvent.objects.last()
        assert (event.was, event.now, event.by, event.reason) == (was, to, "somebody", "because")
    else:
        with pytest.raises(IllegalMove):
            move(query, to, by="somebody", **dressed(to))
        query.refresh_from_db()
        assert query.state == was
        assert QueryEvent.objects.count() == before


def test_the_table_is_that_of_the_contract():
    assert {(a.value, b.value) for a, targets in MOVES.items() for b in targets} == {
        ("SUBMITTED", "APPROVED"),
        ("SUBMITTED", "REFUSED"),
        ("SUBMITTED", "WITHDRAWN"),
        ("APPROVED", "RUNNING"),
        ("APPROVED", "WITHDRAWN"),
        ("RUNNING", "RELEASED"),
        ("RUNNING", "ABORTED"),
    }
    assert {s.value for s in FINAL} == {"REFUSED", "WITHDRAWN", "RELEASED", "ABORTED"}


def test_of_two_racing_movers_the_second_is_told():
    query = factories.query()
    rival = Query.objects.get(pk=query.pk)
    move(rival, State.WITHDRAWN, by="analyst")
    with pytest.raises(MovedElsewhere):
        move(query, State.REFUSED, by="operator", reason="no")
    assert Query.objects.get(pk=query.pk).state == State.WITHDRAWN


def test_every_move_is_in_the_audit_trail():
    query = factories.query()
    move(query, State.REFUSED, by="operator", reason="too broad")
    event = Event.objects.first()
    assert (event.kind, event.by, event.subject) == ("query refused", "operator", f"query {query.pk}")


@pytest.mark.parametrize(
    "change",
    [
        {"state": "FORGOTTEN"},
        {"state": "RUNNING"},
        {"state": "RELEASED"},
        {"approved_by": "somebody"},
        {"micro_epsilon": 0},
        {"mode": "exact"},
    ],
)
def test_the_database_refuses_what_the_actions_never_do(change):
    query = factories.query()
    with pytest.raises(IntegrityError), transaction.atomic():
        Query.objects.filter(pk=query.pk).update(**change)


def test_a_failed_move_leaves_no_event(monkeypatch):
    query = factories.query()
    monkeypatch.setattr(states, "record", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        move(query, State.WITHDRAWN, by="analyst")
    query.refresh_from_db()
    assert query.state == State.SUBMITTED
    assert not query.events.filter(now=State.WITHDRAWN).exists()
