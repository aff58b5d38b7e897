"""Datasets and parties, to be read."""

# mypy: disable-error-code="type-arg"

from django.contrib import admin

from portal.readonly import ReadOnlyAdmin
from portal.registry.models import Dataset, PartyState, Receipt


class ReceiptInline(admin.TabularInline):
    model = Receipt
    fields = ("party", "code", "time", "signature")
    readonly_fields = ("party", "code", "time", "signature")
    extra = 0
    can_delete = False


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    list_display = ["id", "title", "provider", "state", "mode", "capacity", "created"]
    list_filter = ["state", "provider"]
    list_select_related = ["provider"]
    search_fields = ["id", "title"]
    fields = [
        "id",
        "title",
        "provider",
        "uploaded_by",
        "state",
        "mode",
        "version",
        "capacity",
        "provider_key",
        "manifest",
        "manifest_hash",
        "signature",
        "codebook",
        "created",
        "ready_at",
    ]
    inlines = [ReceiptInline]


@admin.register(PartyState)
class PartyStateAdmin(ReadOnlyAdmin):
    list_display = ["party", "last_seen", "code_version", "ledger_length", "busy"]
