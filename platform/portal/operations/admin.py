"""The maintenance page: whether the dispatcher is paused, what still runs, and the switch."""

# mypy: disable-error-code="type-arg"

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.http import require_POST

from portal.accounts.models import Role
from portal.operations import pauses, switching
from portal.operations.models import Pause
from portal.readonly import ReadOnlyAdmin

SHOWN = 20


@admin.register(Pause)
class PauseAdmin(ReadOnlyAdmin):
    """Pausing and resuming are the only things done here, through `pauses`."""

    fields = ["since", "by", "reason", "ended_at", "ended_by"]

    def get_urls(self) -> list[Any]:
        switch = path(
            "switch/",
            self.admin_site.admin_view(require_POST(self.switch)),
            name="operations_pause_switch",
        )
        return [switch, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Maintenance",
            "opts": self.opts,
            "pause": pauses.current(),
            "unfinished": pauses.unfinished(),
            "pauses": self.get_queryset(request)[:SHOWN],
            "may_switch": _may_switch(request),
        }
        return TemplateResponse(request, "web/maintenance.html", context)

    def switch(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request) or not _may_switch(request):
            raise PermissionDenied
        switching.switch(request, by=request.user.get_username())
        return HttpResponseRedirect(reverse("admin:operations_pause_changelist"))


def _may_switch(request: HttpRequest) -> bool:
    return getattr(request.user, "role", "") == Role.OPERATOR
