"""Accounts in the admin: superusers manage them, operators do not see them."""

# mypy: disable-error-code="type-arg"

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django_otp.plugins.otp_totp.models import TOTPDevice

from portal.accounts.models import Organisation, User
from portal.audit.actions import record

admin.site.register(Organisation)
# The key of a second factor is shown to its owner alone.
admin.site.unregister(TOTPDevice)


@admin.register(User)
class AccountAdmin(UserAdmin):
    list_display = ["username", "role", "organisation", "is_active", "is_staff"]
    list_filter = ["role", "organisation", "is_active"]
    fieldsets = [*(UserAdmin.fieldsets or ()), ("Fourfold", {"fields": ["role", "organisation"]})]
    add_fieldsets = [*UserAdmin.add_fieldsets, ("Fourfold", {"fields": ["role", "organisation"]})]

    def save_model(self, request: Any, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        record(
            "account",
            by=request.user.get_username(),
            subject=f"account {obj.get_username()}",
            detail={"role": obj.role, "active": obj.is_active, "superuser": obj.is_superuser},
        )
