"""Who may do what, and what each person sees.

A route names the roles that may call it; what they may see of it is a queryset, so that an object that is
not yours is the same 404 as one that is not there.
"""

from typing import Any

from django.db.models import QuerySet
from rest_framework.permissions import BasePermission

from portal.accounts.models import Role, User
from portal.api.authentication import PartyUser
from portal.queries.models import Mode, Query, QueryDataset
from portal.registry.models import Dataset, DatasetState

EVERY_ROLE = frozenset(Role.values)


class ByRole(BasePermission):
    """The view's `roles` maps a method to the roles that may call it."""

    message = "Your role does not allow this."

    def has_permission(self, request: Any, view: Any) -> bool:
        method = "GET" if request.method == "HEAD" else request.method
        user = request.user
        return bool(user.is_authenticated) and getattr(user, "role", "") in view.roles.get(
            method, frozenset()
        )


class IsThatParty(BasePermission):
    """The party in the address, and no other."""

    message = "Only the party itself may ask this."

    def has_permission(self, request: Any, view: Any) -> bool:
        return isinstance(request.user, PartyUser) and request.user.party == view.kwargs.get("party")


def visible_datasets(user: Any) -> QuerySet[Dataset]:
    """Analysts: what answers, and its older versions; providers: their organisation's; operators, auditors: all."""
    every = Dataset.objects.all()
    if user.role in (Role.OPERATOR, Role.AUDITOR):
        return every
    if user.role == Role.ANALYST:
        return every.filter(state__in=[DatasetState.READY, DatasetState.SUPERSEDED])
    if user.role == Role.PROVIDER:
        return every.filter(provider=user.organisation_id)
    return every.none()


def visible_queries(user: Any) -> QuerySet[Query]:
    """Analysts: their own; providers: those that touch their datasets; operators, auditors: all."""
    every = Query.objects.all()
    if user.role in (Role.OPERATOR, Role.AUDITOR):
        return every
    if user.role == Role.ANALYST:
        return every.filter(analyst=user.pk)
    if user.role == Role.PROVIDER:
        touching = QueryDataset.objects.filter(dataset__provider=user.organisation_id)
        return every.filter(pk__in=touching.values("query"))
    return every.none()


def may_read_answer(user: User, query: Query) -> bool:
    """Who asked, and auditors; operators unless the answer is exact; providers see that a query ran, not more."""
    if user.role == Role.ANALYST:
        return query.analyst_id == user.pk
    if user.role == Role.OPERATOR:
        return query.mode == Mode.DP
    return user.role == Role.AUDITOR
