"""The life of a query: one table and one function.

Of two racing movers one wins; every move leaves a row. `docs/states.md` draws this table.
"""

from typing import Any

from django.db import transaction

from portal.audit.actions import record
from portal.dispatch import wake
from portal.notices import telling
from portal.queries.models import Order, Query, QueryEvent, State
from portal.webhooks import actions as webhooks
from portal.webhooks.models import Event

MOVES: dict[State, frozenset[State]] = {
    State.SUBMITTED: frozenset({State.APPROVED, State.REFUSED, State.WITHDRAWN}),
    State.APPROVED: frozenset({State.RUNNING, State.WITHDRAWN}),
    State.RUNNING: frozenset({State.RELEASED, State.ABORTED}),
}
TOLD = {
    State.APPROVED: Event.QUERY_APPROVED,
    State.REFUSED: Event.QUERY_REFUSED,
    State.RELEASED: Event.QUERY_RELEASED,
    State.ABORTED: Event.QUERY_ABORTED,
}  # of these moves webhooks hear
FINAL = frozenset(State) - MOVES.keys()


class IllegalMove(Exception):
    """The query's state does not allow this."""

    code = "illegal_move"


class MovedElsewhere(IllegalMove):
    """Somebody else moved the query first."""

    code = "moved_elsewhere"


@transaction.atomic
def move(query: Query, to: State, *, by: str, reason: str = "", **changes: Any) -> None:
    """Take `query` to state `to` and write the event; `changes` are fields set in the same UPDATE.

    The query keeps the reason of its last move, for the people who see it.

    Raises  IllegalMove if the table does not have it; MovedElsewhere if the row is no longer where it was.
    """
    was = State(query.state)
    if to not in MOVES.get(was, frozenset()):
        raise IllegalMove(f"a query that is {was} cannot become {to}")
    if not Query.objects.filter(pk=query.pk, state=was).update(state=to, reason=reason, **changes):
        raise MovedElsewhere("the query was moved by somebody else at the same time")
    note(query, was=was, now=to, by=by, reason=reason)
    if to not in (State.SUBMITTED, State.RUNNING):
        # A query may start now: this one, or the next that waited for it.
        transaction.on_commit(wake)
    if to in TOLD:
        webhooks.announce_query(TOLD[to], query=query.pk, analyst=query.analyst_id, state=to)
    # A stored answer passes through the states at once: only its end is news.
    passing = to in (State.APPROVED, State.RUNNING) and not Order.objects.filter(query=query.pk).exists()
    telling.query_moved(query, was=was, to=to, passing=passing)
    query.refresh_from_db()


def note(query: Query, *, was: str, now: str, by: str, reason: str = "") -> None:
    """Write the event of a move, here and in the audit trail."""
    QueryEvent.objects.create(query=query, was=was, now=now, by=by, reason=reason)
    record(f"query {now.lower()}", by=by, subject=f"query {query.pk}", detail={"was": was, "reason": reason})
