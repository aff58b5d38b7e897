"""The operator's pages: queries waiting, to approve or refuse; everything else is there to be read.

Deciding is the only thing that the admin does, and it does it through `actions`.
"""

# mypy: disable-error-code="type-arg"

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.http import require_POST

from portal.absence import lost
from portal.accounts import second_factor
from portal.accounts.models import Role
from portal.approvals import decisions
from portal.queries.models import Attempt, Mode, Query, QueryEvent, Report, Result, State, WaitingQuery
from portal.queries.showing import charge_text, entry
from portal.readonly import ReadOnlyAdmin

SHOWN = 50


@admin.register(WaitingQuery)
class WaitingQueryAdmin(ReadOnlyAdmin):
    """One page: program, plan in words, cost, budget before and after, expected error, and the decision."""

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(state=State.SUBMITTED).select_related("analyst")

    def get_urls(self) -> list[Any]:
        decide = path(
            "<uuid:pk>/decide/",
            self.admin_site.admin_view(require_POST(self.decide)),
            name="queries_waitingquery_decide",
        )
        return [decide, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        waiting = self.get_queryset(request).order_by("created", "pk")
        context = {
            **self.admin_site.each_context(request),
            "title": "Queries waiting",
            "opts": self.opts,
            "entries": [entry(query) for query in waiting[:SHOWN]],
            "count": waiting.count(),
            "may_decide": getattr(request.user, "role", "") == Role.OPERATOR,
            "lost": lost.current(),
            "needs_code": second_factor.asks(request),
        }
        return TemplateResponse(request, "web/queries_waiting.html", context)

    def decide(self, request: HttpRequest, pk: Any) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        query = get_object_or_404(Query, pk=pk)
        try:
            told = decisions.decide(request.POST.get("decision", ""), query, request)
            messages.success(request, told)
        except decisions.REFUSALS as wrong:
            messages.error(request, f"Nothing was changed: {wrong}.")
        return HttpResponseRedirect(reverse("admin:queries_waitingquery_changelist"))


class _Rows(admin.TabularInline):
    extra = 0
    can_delete = False
    show_change_link = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class EventRows(_Rows):
    model = QueryEvent
    fields = ("time", "was", "now", "by", "reason")


class AttemptRows(_Rows):
    model = Attempt
    fields = ("number", "state", "code", "started_at", "ended_at")


@admin.register(Query)
class QueryAdmin(ReadOnlyAdmin):
    list_display = ["id", "state", "code", "analyst", "mode", "epsilon", "created"]
    list_filter = ["state", "mode", "code"]
    list_select_related = ["analyst"]
    search_fields = ["id", "analyst__username"]
    fields = [
        "id",
        "state",
        "analyst",
        "title",
        "purpose",
        "program",
        "mode",
        "epsilon",
        "minimum_cohort",
        "plan_hash",
        "plan_in_words",
        "created",
        "approved_at",
        "approved_by",
        "released_at",
        "reason",
        "code",
        "stored_from",
    ]
    inlines = [EventRows, AttemptRows]

    @admin.display(description="epsilon")
    def epsilon(self, query: Query) -> str:
        return charge_text(query.loss)

    @admin.display(description="plan in words")
    def plan_in_words(self, query: Query) -> str:
        return json.dumps(query.description, indent=1)


@admin.register(QueryEvent)
class QueryEventAdmin(ReadOnlyAdmin):
    list_display = ["time", "query", "was", "now", "by", "reason"]
    list_filter = ["now"]
    fields = ["time", "query", "was", "now", "by", "reason"]


@admin.register(Report)
class ReportAdmin(ReadOnlyAdmin):
    """Parties' words; the integers of a result are shown only where the answer may be."""

    list_display = ["time", "attempt", "party", "kind"]
    list_filter = ["kind", "party"]
    fields = ["time", "attempt", "party", "kind", "body", "signature"]


@admin.register(Result)
class ResultAdmin(ReadOnlyAdmin):
    """Released answers; of exact ones an operator sees that they exist."""

    list_display = ["query", "time", "etag"]
    list_select_related = ["query"]
    fields = ["query", "time", "etag", "answer"]

    @admin.display(description="answer")
    def answer(self, result: Result) -> str:
        if result.query.mode == Mode.EXACT:
            return "An exact answer is for who asked."
        return result.body
