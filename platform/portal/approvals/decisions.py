"""A decision that was sent from a page: one of three words, done through `queries.actions`."""

from typing import Any

from portal.absence import lost
from portal.accounts import second_factor
from portal.approvals.rules import NotAllowed
from portal.budgets.actions import BudgetExhausted
from portal.queries import actions
from portal.queries.models import Query, State
from portal.queries.states import IllegalMove


class NoDecision(Exception):
    """The form held no decision."""


REFUSALS = (
    NotAllowed,
    actions.ReasonNeeded,
    IllegalMove,
    BudgetExhausted,
    NoDecision,
    second_factor.CodeNeeded,
    second_factor.CodeWrong,
)


def decide(decision: str, query: Query, request: Any) -> str:
    """What was done, in a sentence. `decision`: approve, approve-three or refuse.

    Raises  one of REFUSALS, whose text says why nothing was changed. An approval takes a fresh code of who is enrolled.
    """
    by, reason = request.user, request.POST.get("reason", "").replace("\x00", "")
    if decision == "refuse":
        actions.refuse(query=query, by=by, reason=reason)
        return f"Query {query.pk} is refused."
    if decision not in ("approve", "approve-three"):
        raise NoDecision("choose to approve or to refuse")
    second_factor.must_be_fresh(request, request.POST.get("code", ""))
    missing = lost.current() if decision == "approve-three" else None
    if decision == "approve-three" and missing is None:
        raise IllegalMove("no party is declared lost")
    actions.approve(query=query, by=by, reason=reason, missing=missing)
    query.refresh_from_db()
    if query.state == State.SUBMITTED:
        return f"Your approval of query {query.pk} is kept; another operator gives the second."
    if missing is not None:
        return f"Query {query.pk} is approved among three; providers must consent."
    return f"Query {query.pk} is approved."
