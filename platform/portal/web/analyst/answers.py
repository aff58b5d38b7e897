"""One query: how far it is, and once it is released its figures as tables, pictures, files and a report to print."""

import json
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from analytics.query.errors import QueryError
from portal.absence import lost
from portal.accounts.models import Role
from portal.api.permissions import may_read_answer, visible_queries
from portal.approvals.rules import NotAllowed
from portal.budgets.actions import decimal_text
from portal.queries import actions
from portal.queries.compiling import RequestRejected
from portal.queries.models import AttemptState, Query, ReportKind, State
from portal.queries.states import FINAL, IllegalMove
from portal.registry.models import DatasetState
from portal.registry.versions import Superseded
from portal.web.analyst import noise
from portal.web.analyst.tables import csv_text, tables
from portal.web.charts import charts
from portal.web.charts.style import themes
from portal.web.roles import roles

READERS = (Role.ANALYST, Role.OPERATOR, Role.AUDITOR)
STAGES = (
    (State.SUBMITTED, "waiting for approval"),
    (State.APPROVED, "approved, waiting for its turn"),
    (State.RUNNING, "the parties compute"),
    (State.RELEASED, "released"),
)
ENDED = {
    State.REFUSED: "refused by the operator",
    State.WITHDRAWN: "withdrawn",
    State.ABORTED: "aborted: nothing was released",
}


@roles(*READERS)
@require_safe
def query(request: HttpRequest, pk: Any) -> HttpResponse:
    found = _found(request, pk)
    return render(request, "web/analyst/query.html", _context(request, found))


@roles(*READERS)
@require_safe
def live(request: HttpRequest, pk: Any) -> HttpResponse:
    """The part of the page that changes while a query waits and runs; scripts ask for it again and again."""
    found = _found(request, pk)
    answer = render(request, "web/analyst/live.html", _progress(found) | {"query": found})
    answer["Cache-Control"] = "no-store"
    answer["X-State"] = found.state
    return answer


@roles(*READERS)
@require_safe
def report(request: HttpRequest, pk: Any) -> HttpResponse:
    """Everything that a paper needs of an answer, to be printed."""
    found = _found(request, pk)
    if found.state != State.RELEASED or not may_read_answer(request.user, found):  # type: ignore[arg-type]
        raise Http404
    return render(request, "web/analyst/report.html", _context(request, found))


@roles(*READERS)
@require_safe
def as_json(request: HttpRequest, pk: Any) -> HttpResponse:
    return _file(_answer(request, pk), pk, "application/json", "json")


@roles(*READERS)
@require_safe
def as_csv(request: HttpRequest, pk: Any) -> HttpResponse:
    return _file(csv_text(json.loads(_answer(request, pk))), pk, "text/csv; charset=utf-8", "csv")


@roles(Role.ANALYST)
@require_POST
def withdraw(request: HttpRequest, pk: Any) -> HttpResponse:
    return _moved(
        request, pk, actions.withdraw, "The query is withdrawn; what was reserved of the budget is back."
    )


@roles(Role.ANALYST)
@require_POST
def cancel(request: HttpRequest, pk: Any) -> HttpResponse:
    return _moved(request, pk, actions.cancel, "The query is cancelled: nothing of it will be released.")


@roles(Role.ANALYST)
@require_POST
def retry(request: HttpRequest, pk: Any) -> HttpResponse:
    """The same question again, as a new query that is approved and charged on its own."""
    user: Any = request.user
    earlier = _found(request, pk)
    try:
        again = actions.submit(
            analyst=user,
            program=earlier.program,
            datasets=[d.newest or d for d in earlier.datasets.all()],
            epsilon=_epsilon(earlier),
            mode=earlier.mode,
            confirm=["not_useful"],  # as it was confirmed before, or had no need to be
            title=earlier.title,
            purpose=earlier.purpose,
        )
    except (QueryError, RequestRejected, Superseded) as wrong:
        messages.error(request, f"It cannot be asked again as it is: {wrong}")
        return redirect("web:query", pk=pk)
    messages.success(request, "Asked again: a new query, with its own approval and cost.")
    return redirect("web:query", pk=again.pk)


def _epsilon(query: Query) -> Decimal | None:
    return Decimal(decimal_text(query.micro_epsilon)) if query.micro_epsilon else None


def _found(request: HttpRequest, pk: Any) -> Query:
    return get_object_or_404(visible_queries(request.user).select_related("analyst", "order"), pk=pk)


def _moved(request: HttpRequest, pk: Any, move: Any, done: str) -> HttpResponse:
    try:
        move(query=_found(request, pk), by=request.user, reason=request.POST.get("reason", ""))
    except (IllegalMove, NotAllowed) as wrong:
        messages.error(request, f"Not done: {wrong}")
    else:
        messages.success(request, done)
    return redirect("web:query", pk=pk)


def _answer(request: HttpRequest, pk: Any) -> str:
    found = _found(request, pk)
    if found.state != State.RELEASED or not may_read_answer(request.user, found):  # type: ignore[arg-type]
        raise Http404
    return str(found.result.body)


def _file(text: str, pk: Any, kind: str, ending: str) -> HttpResponse:
    answer = HttpResponse(text, content_type=kind)
    answer["Content-Disposition"] = f'attachment; filename="answer-{str(pk)[:8]}.{ending}"'
    return answer


def _context(request: HttpRequest, found: Query) -> dict[str, Any]:
    user: Any = request.user
    datasets = list(found.datasets.select_related("provider").order_by("title", "pk"))
    mine = found.analyst_id == user.pk
    context: dict[str, Any] = _progress(found) | {
        "query": found,
        "name": found.title or f"Query {str(found.pk)[:8]}",
        "datasets": datasets,
        "old": [d for d in datasets if d.state == DatasetState.SUPERSEDED],
        "epsilon": decimal_text(found.micro_epsilon),
        "mine": mine,
        "may_withdraw": mine and found.state in (State.SUBMITTED, State.APPROVED),
        "may_cancel": mine and found.state == State.RUNNING,
        "may_retry": mine and found.state == State.ABORTED,
        "readable": may_read_answer(user, found),
    }
    if found.state != State.RELEASED or not context["readable"]:
        return context
    body = json.loads(found.result.body)
    shown: list[dict[str, Any]] = []
    pictures: dict[str, Any] = {}
    for number, statement in enumerate(body["statements"], 1):
        own = charts(statement)
        names = [f"chart-{number}-{k}" for k in range(1, len(own) + 1)]
        pictures |= {name: chart.public() for name, chart in zip(names, own, strict=True)}
        told = found.description["statements"]
        shown.append(
            {
                "number": number,
                "statement": statement,
                "words": told[number - 1]["words"] if number <= len(told) else "",
                "tables": tables(statement, body["mode"]),
                "charts": [{"id": n, "chart": c} for n, c in zip(names, own, strict=True)],
                "noise": noise.words(statement, body["mode"]),
            }
        )
    return context | {
        "result": body,
        "answers": shown,
        "pictures": {"themes": themes(), "charts": pictures},
        "minimum": found.minimum_cohort,
        "tests": sum(g.get("p") is not None for s in body["statements"] for g in s["groups"]),
    }


def _progress(found: Query) -> dict[str, Any]:
    """How far a query is. Parties report that they began and what they found, no single rounds: so time is shown."""
    now = timezone.now()
    attempts = list(found.attempts.prefetch_related("reports"))
    attempt = attempts[-1] if attempts else None
    running = attempt if attempt is not None and attempt.state == AttemptState.RUNNING else None
    reports = list(running.reports.all()) if running else []
    seconds = found.description.get("seconds") or {}
    order = getattr(found, "order", None)
    of = len(order.parties) if order is not None else 4
    names = [str(state) for state, _ in STAGES]
    place = names.index(found.state) if found.state in names else None
    return {
        "stages": [
            {
                "words": words,
                "done": place is not None and k < place,
                "here": place == k,
            }
            for k, (_, words) in enumerate(STAGES)
        ],
        "ended": ENDED.get(State(found.state), ""),
        "final": found.state in FINAL,
        "events": list(found.events.all()),
        "attempt": attempt,
        "began": sum(r.kind == ReportKind.STARTED for r in reports),
        "finished": sum(r.kind == ReportKind.RESULT for r in reports),
        "of": of,
        "elapsed": (now - running.started_at).total_seconds() if running else None,
        "expected": max(seconds.values()) if seconds else None,
        "least": min(seconds.values()) if seconds else None,
        "rounds": found.description.get("rounds"),
        "lost": lost.current(),
    }
