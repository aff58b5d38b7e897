"""Queries that wait for a decision, and one page for each with everything that the decision needs."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from portal.absence import lost
from portal.accounts import second_factor
from portal.accounts.models import Role
from portal.api.permissions import visible_queries
from portal.approvals import decisions, rules
from portal.queries.models import Query, State
from portal.queries.showing import charge_text, entry, related
from portal.web.roles import roles

SHOWN = 100
DECIDED = 20


@roles(Role.OPERATOR, Role.AUDITOR)
@require_safe
def inbox(request: HttpRequest) -> HttpResponse:
    """What waits, oldest first, and what was decided last."""
    waiting = _listed(request).filter(state=State.SUBMITTED).order_by("created", "pk")
    decided = _listed(request).exclude(state=State.SUBMITTED).order_by("-created", "pk")
    count = waiting.count()
    context = {
        "waiting": [_line(query) for query in waiting[:SHOWN]],
        "count": count,
        "more": max(0, count - SHOWN),
        "decided": [_line(query) for query in decided[:DECIDED]],
        "two": settings.FOURFOLD_TWO_APPROVALS,
    }
    return render(request, "web/operator/approvals.html", context)


@roles(Role.OPERATOR, Role.AUDITOR)
@require_http_methods(["GET", "HEAD", "POST"])
def one(request: HttpRequest, pk: Any) -> HttpResponse:
    """Everything on one page; a decision leads back to what waits, one that failed stays with its words."""
    query = get_object_or_404(visible_queries(request.user).select_related("analyst__organisation"), pk=pk)
    wrong = ""
    if request.method == "POST":
        try:
            told = decisions.decide(request.POST.get("decision", ""), query, request)
        except decisions.REFUSALS as refused:
            wrong = f"{refused}"
        else:
            messages.success(request, told)
            return redirect("web:approvals")
        query.refresh_from_db()
    context = {
        **entry(query),
        "related": related(query),
        "waits": query.state == State.SUBMITTED,
        "may_not": _may_not(query, request.user),
        "two": settings.FOURFOLD_TWO_APPROVALS,
        "lost": lost.current(),
        "needs_code": second_factor.asks(request),
        "events": query.events.all(),
        "wrong": wrong[:1].upper() + wrong[1:],
        "reason": request.POST.get("reason", ""),
    }
    return render(request, "web/operator/approval.html", context, status=409 if wrong else 200)


def _listed(request: HttpRequest) -> QuerySet[Query]:
    return (
        visible_queries(request.user)
        .select_related("analyst__organisation", "first_approval__by")
        .prefetch_related("datasets")
        .defer("plan", "description")
    )


def _line(query: Query) -> dict[str, Any]:
    first = getattr(query, "first_approval", None)
    return {"query": query, "epsilon": charge_text(query), "first": first}


def _may_not(query: Query, user: Any) -> str:
    """Why this person gets no form, or nothing."""
    try:
        rules.must_decide(query, user)
    except rules.NotAllowed as refused:
        return f"{refused}"
    first = rules.first_approval(query)
    if settings.FOURFOLD_TWO_APPROVALS and first is not None and first.by_id == user.pk:
        return "your approval is the first of two: another operator gives the second"
    return ""
