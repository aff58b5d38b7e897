"""Accounts in the admin: superusers manage them, operators do not see them."""

# mypy: disable-error-code="type-arg"

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from portal.accounts.models import Organisation, User

admin.site.register(Organisation)


@admin.register(User)
class AccountAdmin(UserAdmin):
    list_display = ["username", "role", "organisation", "is_active", "is_staff"]
    list_filter = ["role", "organisation", "is_active"]
    fieldsets = [*(UserAdmin.fieldsets or ()), ("Fourfold", {"fields": ["role", "organisation"]})]
    add_fieldsets = [*UserAdmin.add_fieldsets, ("Fourfold", {"fields": ["role", "organisation"]})]
