"""The audit trail, to be read."""

from django.contrib import admin

from portal.audit.models import Event
from portal.readonly import ReadOnlyAdmin


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    # The trail is not for those whom it watches: auditors read it over REST, here superusers alone.
    readers = frozenset()
    list_display = ["time", "kind", "subject", "by"]
    list_filter = ["kind"]
    search_fields = ["subject", "by"]
    fields = ["time", "kind", "by", "subject", "detail"]
