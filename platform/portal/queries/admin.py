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

from analytics.privacy.accountant import delta_text
from analytics.privacy.filters import Loss
from portal.absence import lost
from portal.accounts.models import Role
from portal.budgets.actions import BudgetExhausted, affordable_attempts, decimal_text
from portal.budgets.models import Account
from portal.queries import actions
from portal.queries.models import Attempt, Mode, Query, QueryEvent, Report, Result, State, WaitingQuery
from portal.queries.states import IllegalMove
from portal.queries.withheld import must_be_reviewed, withheld_so_far
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
        }
        return TemplateResponse(request, "web/queries_waiting.html", context)

    def decide(self, request: HttpRequest, pk: Any) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        query = get_object_or_404(Query, pk=pk)
        by: Any = request.user
        reason = request.POST.get("reason", "").replace("\x00", "")
        try:
            if request.POST.get("decision") == "approve":
                actions.approve(query=query, by=by, reason=reason)
                messages.success(request, f"Query {pk} is approved.")
            elif request.POST.get("decision") == "approve-three":
                missing = lost.current()
                if missing is None:
                    raise IllegalMove("no party is declared lost")
                actions.approve(query=query, by=by, reason=reason, missing=missing)
                messages.success(request, f"Query {pk} is approved among three; providers must consent.")
            elif request.POST.get("decision") == "refuse":
                actions.refuse(query=query, by=by, reason=reason)
                messages.success(request, f"Query {pk} is refused.")
            else:
                messages.error(request, "Choose to approve or to refuse.")
        except (actions.NotAllowed, actions.ReasonNeeded, IllegalMove, BudgetExhausted) as wrong:
            messages.error(request, f"Nothing was changed: {wrong}.")
        return HttpResponseRedirect(reverse("admin:queries_waitingquery_changelist"))


def entry(query: Query) -> dict[str, Any]:
    """What the page says of one waiting query."""
    datasets = list(query.datasets.order_by("pk"))
    accounts = Account.objects.in_bulk([d.chain for d in datasets])
    attempts = affordable_attempts(accounts, query.loss, 2)
    reserved = query.loss.times(max(attempts, 1))
    return {
        "query": query,
        "epsilon": charge_text(query.loss),
        "cost": charge_text(reserved),
        "attempts": max(attempts, 1),
        "exact": query.mode == Mode.EXACT,
        "withheld": withheld_so_far(query.analyst, datasets),
        "review": must_be_reviewed(query),
        "affordable": attempts > 0,
        "budgets": [
            {
                "dataset": d,
                "total": decimal_text(account.total),
                "before": decimal_text(account.left),
                "after": decimal_text(account.allowance.left(account.held + reserved)),
            }
            for d, account in ((d, accounts[d.chain]) for d in datasets)
        ],
        **described(query.description),
    }


def charge_text(loss: Loss) -> str:
    """Epsilon, and delta where there is one."""
    return decimal_text(loss.micro_epsilon) + (
        f" and delta {delta_text(loss.atto_delta)}" if loss.atto_delta else ""
    )


def described(description: dict[str, Any]) -> dict[str, Any]:
    """A plan's description as rows: one table of statements, one list of everything else."""
    facts = {
        "Columns read": ", ".join(description["columns"]),
        "Minimum cohort": description["minimum_cohort"],
        "Numbers released": description["released"],
        "Rounds": description["rounds"],
        "Bytes per party": description["bytes_per_party"],
        **({"Seconds": seconds_text(description["seconds"])} if "seconds" in description else {}),
        **({"What it promises": description["means"]} if "means" in description else {}),
        "Plan": description["plan_hash"],
    }
    return {
        "statements": [
            {**s, "error": error_text(s["expected_error"]), "widths": widths_text(s.get("precision"))}
            for s in description["statements"]
        ],
        "tables": [
            {**t, "percent": None if t["share"] is None else round(100 * t["share"], 1)}
            for t in description.get("tables", [])
        ],
        "facts": list(facts.items()),
    }


def error_text(error: dict[str, Any] | None) -> str:
    """Expected error in one line, such as "+-0.07 kg/m2 (95 %, noise alone), assuming 100 patients"."""
    if error is None:
        return "none: exact"
    if error["half_width"] is None:
        return f"not known: many cohorts would have no figure, assuming {error['assuming']}"
    unit = f" {error['unit']}" if error["unit"] else ""
    return f"\u00b1{error['half_width']:.3g}{unit} ({error['level']:.0%}, noise alone), assuming {error['assuming']}"


def widths_text(precision: dict[str, Any] | None) -> str:
    """What is known of a figure's width in one line; of a query of an earlier release, nothing."""
    if precision is None:
        return ""
    total, n = precision["half_width"]["total"], precision["n"]
    told = (
        []
        if total is None
        else [f"\u00b1{total:.3g} in all at {'most ' if precision['at_most'] else ''}{n} patients"]
    )
    if precision["useful"] is False:
        told.append("not useful")
    if precision["suppressed"]:
        told.append(f"{len(precision['suppressed'])} groups below the minimum cohort")
    return "; ".join(told)


def seconds_text(seconds: dict[str, float]) -> str:
    return "; ".join(f"{value:.2g} at {network}" for network, value in seconds.items())


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
