"""Accounts and ledger lines, to be read."""

from django.contrib import admin

from portal.budgets.actions import decimal_text
from portal.budgets.models import Account, Line
from portal.readonly import ReadOnlyAdmin


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    list_display = ["dataset", "total_epsilon", "spent_epsilon", "reserved_epsilon", "left_epsilon"]
    list_select_related = ["dataset"]
    fields = ["dataset", "total_epsilon", "spent_epsilon", "reserved_epsilon", "left_epsilon"]

    @admin.display(description="total")
    def total_epsilon(self, account: Account) -> str:
        return decimal_text(account.total)

    @admin.display(description="spent")
    def spent_epsilon(self, account: Account) -> str:
        return decimal_text(account.spent)

    @admin.display(description="reserved")
    def reserved_epsilon(self, account: Account) -> str:
        return decimal_text(account.reserved)

    @admin.display(description="left")
    def left_epsilon(self, account: Account) -> str:
        return decimal_text(account.left)


@admin.register(Line)
class LineAdmin(ReadOnlyAdmin):
    list_display = ["time", "account", "query", "attempt", "kind", "epsilon"]
    list_filter = ["kind"]
    list_select_related = ["account"]
    search_fields = ["account__dataset__id", "query"]
    fields = ["time", "account", "query", "attempt", "kind", "epsilon"]

    @admin.display(description="epsilon")
    def epsilon(self, line: Line) -> str:
        return decimal_text(line.micro_epsilon)
