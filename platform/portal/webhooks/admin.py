"""Webhooks and what became of their deliveries, to be read by operators; their one act is to disable."""

# mypy: disable-error-code="type-arg"

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet

from portal.readonly import ReadOnlyAdmin
from portal.webhooks.actions import disable
from portal.webhooks.models import Delivery, Webhook


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin):
    list_display = ["id", "owner", "url", "enabled", "failures", "created"]
    list_filter = ["enabled"]
    list_select_related = ["owner"]
    search_fields = ["owner__username", "url"]
    fields = ["id", "owner", "url", "events", "enabled", "failures", "created"]
    actions = ["disable_chosen"]

    @admin.action(description="Disable: told nothing until the owner enables it")
    def disable_chosen(self, request: Any, chosen: QuerySet[Webhook]) -> None:
        for webhook in chosen:
            disable(webhook=webhook, by=request.user.get_username())


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ["created", "webhook", "event", "state", "tries", "outcome"]
    list_filter = ["state", "event"]
    fields = ["id", "webhook", "event", "body", "state", "tries", "due", "outcome", "created", "ended_at"]
