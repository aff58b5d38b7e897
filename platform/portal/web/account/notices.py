"""What a person was told, newest first; opening a notice or marking all of them is what makes them read."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from portal.accounts.models import Role
from portal.notices.models import Kind, Notice

SHOWN = 100
QUERY = {Role.ANALYST: "web:query", Role.OPERATOR: "web:approval"}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    if request.method == "POST":
        return _read(request, user)
    notices = list(Notice.objects.filter(user=user)[:SHOWN])
    context = {
        "notices": [(notice, bool(_address(notice, user))) for notice in notices],
        "any_unread": any(notice.read_at is None for notice in notices),
    }
    return render(request, "web/account/notices.html", context)


def _read(request: HttpRequest, user: Any) -> HttpResponse:
    """All of them, or the one that is opened."""
    mine = Notice.objects.filter(user=user)
    asked = request.POST.get("open", "")
    if request.POST.get("do") == "all":
        mine.filter(read_at=None).update(read_at=timezone.now())
    elif (
        asked.isascii() and asked.isdigit() and len(asked) <= 18 and (found := mine.filter(pk=asked).first())
    ):
        mine.filter(pk=found.pk, read_at=None).update(read_at=timezone.now())
        return redirect(_address(found, user) or "web:notices")
    return redirect("web:notices")


def _address(notice: Notice, user: Any) -> str:
    """The page of what it is about; empty where this person has none."""
    kind = Kind(notice.kind)
    if kind == Kind.ACCOUNT_CHANGED:
        return reverse("web:account")
    if kind == Kind.PARTY_SILENT:
        return reverse("web:operations") if user.role == Role.OPERATOR else ""
    name = "web:data-detail" if kind.value.startswith("dataset") else QUERY.get(user.role, "")
    try:
        return reverse(name, args=[notice.subject])
    except NoReverseMatch:
        return ""
