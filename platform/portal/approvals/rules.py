"""The rules of deciding: an operator, never on a query of their own; under the policies of the deployment also never on
one of their own organisation, and an approval by two.

A setting of the deployment, not of a dataset: who decides is the portal's matter, parties see one signed approval.
"""

from django.conf import settings

from portal.accounts.models import Role, User
from portal.approvals.models import FirstApproval
from portal.audit.actions import record
from portal.queries.models import Query, State
from portal.queries.states import IllegalMove


class NotAllowed(Exception):
    """This person may not do this to this query."""

    code = "not_allowed"


def must_decide(query: Query, by: User) -> None:
    """Raises  NotAllowed unless `by` may approve and refuse this query."""
    if by.role != Role.OPERATOR:
        raise NotAllowed("only an operator decides")
    if query.analyst_id == by.pk:
        raise NotAllowed("nobody decides on a query of their own")
    if (
        settings.FOURFOLD_APPROVERS_APART
        and by.organisation_id is not None
        and query.analyst.organisation_id == by.organisation_id
    ):
        raise NotAllowed("nobody decides on a query of their own organisation")


def first_approval(query: Query) -> FirstApproval | None:
    """The first yes that counts: who gave it must still be somebody who may decide."""
    first = FirstApproval.objects.select_related("by").filter(query=query).first()
    if first is None or query.state != State.SUBMITTED:
        return first
    return first if first.by.is_active and first.by.role == Role.OPERATOR else None


def second_of(query: Query, by: User, missing: int | None) -> FirstApproval | None:
    """The first yes that `by` completes. Called with the query's row locked, so that one of two racers is first.

    Raises  IllegalMove if the first was theirs too, or meant other parties.
    """
    first = first_approval(query)
    if first is None:
        return None
    if first.by_id == by.pk:
        raise IllegalMove("your approval is the first of two: another operator gives the second")
    if first.missing != missing:
        parties = "all four parties" if first.missing is None else f"the parties but {first.missing}"
        raise IllegalMove(f"the first approval was for {parties}: give the same, or refuse the query")
    return first


def keep_first(query: Query, by: User, reason: str, missing: int | None) -> None:
    """Write the first yes; one of somebody who may no longer decide makes way."""
    FirstApproval.objects.filter(query=query).delete()
    FirstApproval.objects.create(query=query, by=by, reason=reason, missing=missing)
    record("query approved once", by=by.username, subject=f"query {query.pk}", detail={"reason": reason})
