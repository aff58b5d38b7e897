"""Datasets and parties, to be read."""

# mypy: disable-error-code="type-arg"

import json

from django.contrib import admin

from portal.operations import health
from portal.readonly import ReadOnlyAdmin
from portal.registry import parties
from portal.registry.models import Dataset, PartyState, Receipt


class ReceiptInline(admin.TabularInline):
    model = Receipt
    fields = ("party", "code", "time", "signature")
    readonly_fields = ("party", "code", "time", "signature")
    extra = 0
    can_delete = False


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    list_display = ["id", "title", "provider", "state", "chain", "version", "mode", "capacity", "created"]
    list_filter = ["state", "provider"]
    list_select_related = ["provider"]
    search_fields = ["id", "chain", "title"]
    fields = [
        "id",
        "title",
        "provider",
        "uploaded_by",
        "state",
        "mode",
        "chain",
        "version",
        "superseded_by",
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
    """How each party is, and why."""

    list_display = ["party", "condition", "reasons", "last_seen", "code_version", "ledger_length", "busy"]
    fields = ["party", "condition", "reasons", "last_seen", "said_at", "code_version", "busy"]
    fields += ["ledger_length", "ledger_head", "said"]

    @admin.display(description="state")
    def condition(self, state: PartyState) -> str:
        return self._of(state).state

    @admin.display(description="reasons")
    def reasons(self, state: PartyState) -> str:
        return "; ".join(self._of(state).reasons)

    @admin.display(description="as it said")
    def said(self, state: PartyState) -> str:
        return json.dumps(self._of(state).details(), indent=1)

    @staticmethod
    def _of(state: PartyState) -> health.Condition:
        return health.conditions([p.fingerprint for p in parties.pinned()])[state.party]
