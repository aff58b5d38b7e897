"""The audit trail with filters, and its export. For auditors: it is not for those whom it watches."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, time
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from portal.accounts.models import Role
from portal.audit.actions import record
from portal.audit.models import Event
from portal.audit.standing import standing
from portal.web.roles import roles

PAGE = 50
COLUMNS = ("time", "kind", "by", "subject", "detail")


class Filters(forms.Form):
    """Each narrows; empty ones do nothing. Days are of UTC, the last one is within."""

    by = forms.CharField(max_length=150, required=False, label="Person")
    kind = forms.CharField(max_length=40, required=False, label="What")
    subject = forms.CharField(max_length=200, required=False, label="Subject contains")
    since = forms.DateField(required=False, label="From day")
    until = forms.DateField(required=False, label="To day")

    def narrow(self, events: QuerySet[Event]) -> QuerySet[Event]:
        given = self.cleaned_data
        if given.get("by"):
            events = events.filter(by=given["by"])
        if given.get("kind"):
            events = events.filter(kind=given["kind"])
        if given.get("subject"):
            events = events.filter(subject__icontains=given["subject"])
        if given.get("since"):
            events = events.filter(time__gte=datetime.combine(given["since"], time.min, UTC))
        if given.get("until"):
            events = events.filter(time__lte=datetime.combine(given["until"], time.max, UTC))
        return events


@roles(Role.AUDITOR)
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Newest first, fifty a page; and how far the chain stands."""
    filters = Filters(request.GET)
    valid = filters.is_valid()
    events = filters.narrow(Event.objects.all()) if valid else Event.objects.none()
    shown = Paginator(events, PAGE).get_page(request.GET.get("page"))
    kept = request.GET.copy()
    kept.pop("page", None)
    context = {
        "filters": filters,
        "events": [(event, _told(event.detail)) for event in shown],
        "page": shown,
        "kinds": Event.objects.order_by("kind").values_list("kind", flat=True).distinct(),
        "kept": kept.urlencode(),
        "chain": standing(timezone.now()),
        "narrowed": any(filters.cleaned_data.values()),
    }
    return render(request, "web/operator/audit.html", context, status=200 if valid else 400)


@roles(Role.AUDITOR)
@require_safe
def export(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """All that the filters leave, oldest first, as CSV or JSON lines; that it was taken is an event too."""
    filters, form = Filters(request.GET), request.GET.get("format")
    if not filters.is_valid() or form not in ("csv", "jsonl"):
        words = "Choose csv or jsonl, and days such as 2026-11-24."
        return render(request, "web/problem.html", {"words": words}, status=400)
    events = filters.narrow(Event.objects.order_by("id"))
    last = Event.objects.order_by("-id").values_list("id", flat=True).first() or 0
    asked = {name: f"{value}" for name, value in filters.cleaned_data.items() if value}
    user: Any = request.user
    record("audit exported", by=user.get_username(), subject="audit trail", detail={"format": form, **asked})
    rows = events.filter(id__lte=last).iterator(chunk_size=500)
    lines, kind = (_csv(rows), "text/csv") if form == "csv" else (_jsonl(rows), "application/x-ndjson")
    answer = StreamingHttpResponse(lines, content_type=f"{kind}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="fourfold-audit.{form}"'
    answer["Cache-Control"] = "no-store"
    return answer


def cell(text: str) -> str:
    """A text that a spreadsheet shows and does not compute: what begins like a formula gets an apostrophe before it.

    Source: OWASP, CSV Injection.
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


class _Echo:
    """What csv writes into: each line is handed on at once."""

    def write(self, line: str) -> str:
        return line


def _csv(events: Any) -> Iterator[str]:
    writer = csv.writer(_Echo(), quoting=csv.QUOTE_ALL)
    yield writer.writerow(COLUMNS)
    for event in events:
        yield writer.writerow([cell(text) for text in _texts(event)])


def _jsonl(events: Any) -> Iterator[str]:
    for event in events:
        row = dict(zip(COLUMNS, _texts(event), strict=True)) | {"detail": event.detail}
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _texts(event: Event) -> tuple[str, ...]:
    detail = json.dumps(event.detail, ensure_ascii=False, sort_keys=True)
    return event.time.astimezone(UTC).isoformat(), event.kind, event.by, event.subject, detail


def _told(detail: Any) -> list[tuple[str, str]]:
    return [(name, f"{value}") for name, value in detail.items() if value not in ("", None)]
