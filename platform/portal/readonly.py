"""An admin that shows and never changes: for ledgers, events, results and manifests.

Superusers too: what is signed or counted is changed by actions, or not at all.
"""

# mypy: disable-error-code="type-arg"

from typing import Any

from django.contrib import admin

from portal.accounts.models import Role


class ReadOnlyAdmin(admin.ModelAdmin):
    """Those of `readers` and superusers look; nobody adds, changes or deletes."""

    actions: Any = None
    readers: frozenset[str] = frozenset({Role.OPERATOR})

    def has_module_permission(self, request: Any) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        user = request.user
        if not (user.is_active and user.is_staff):
            return False
        return user.is_superuser or getattr(user, "role", "") in self.readers

    def has_add_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return False
