"""The operators' page of lost parties: declare, confirm, revoke; everything else is there to be read."""

# mypy: disable-error-code="type-arg"

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.http import require_POST

from portal.absence import lost
from portal.absence.models import Consent, LostParty
from portal.accounts.models import Role
from portal.readonly import ReadOnlyAdmin
from portal.registry import parties


@admin.register(LostParty)
class LostPartyAdmin(ReadOnlyAdmin):
    """One line a party with its state, and what was declared of it before."""

    def get_urls(self) -> list[Any]:
        declare = path(
            "declare/",
            self.admin_site.admin_view(require_POST(self.declare)),
            name="absence_lostparty_declare",
        )
        return [declare, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = list(LostParty.objects.all()[:50])
        open_rows = {row.party: row for row in rows if row.revoked_at is None}
        context = {
            **self.admin_site.each_context(request),
            "title": "Lost parties",
            "opts": self.opts,
            "entries": [{**one, "declared": open_rows.get(one["party"])} for one in parties.listing()],
            "past": rows,
            "may_decide": getattr(request.user, "role", "") == Role.OPERATOR,
        }
        return TemplateResponse(request, "web/lost_parties.html", context)

    def declare(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        by: Any = request.user
        word = request.POST.get("party", "")
        reason = request.POST.get("reason", "").replace("\x00", "")
        try:
            party = int(word) if word.isdecimal() and len(word) == 1 else -1
            if request.POST.get("decision") == "returned":
                lost.revoke(party=party, by=by, reason=reason)
                messages.success(request, f"Party {party} is no longer lost.")
            else:
                row = lost.declare(party=party, by=by, reason=reason)
                waits = "" if row.confirmed_at else "; another operator confirms it"
                messages.success(request, f"Party {party} is declared lost{waits}.")
        except (lost.LostRefused, lost.NotOperator) as wrong:
            messages.error(request, f"Nothing was changed: {wrong}.")
        return HttpResponseRedirect(reverse("admin:absence_lostparty_changelist"))


@admin.register(Consent)
class ConsentAdmin(ReadOnlyAdmin):
    list_display = ["time", "query", "dataset", "by"]
    fields = ["time", "query", "dataset", "by", "expires", "body", "signature"]
