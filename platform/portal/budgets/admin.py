"""Accounts and ledger lines, to be read."""

import json

from django.contrib import admin

from analytics.privacy.accountant import delta_text
from portal.budgets.actions import accounting, decimal_text, means, rho_text
from portal.budgets.models import Account, Line
from portal.readonly import ReadOnlyAdmin


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    list_display = ["dataset", "total_epsilon", "spent_epsilon", "reserved_epsilon", "left_epsilon"]
    list_select_related = ["dataset"]
    fields = [
        "dataset",
        "total_epsilon",
        "spent_epsilon",
        "reserved_epsilon",
        "left_epsilon",
        "promise",
        "by_both",
    ]

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

    @admin.display(description="what it promises")
    def promise(self, account: Account) -> str:
        return means(account)

    @admin.display(description="accountings, with delta")
    def by_both(self, account: Account) -> str:
        told = accounting(account)
        return "epsilon alone" if told is None else json.dumps(told, indent=1)


@admin.register(Line)
class LineAdmin(ReadOnlyAdmin):
    list_display = ["time", "account", "query", "attempt", "kind", "epsilon", "delta"]
    list_filter = ["kind"]
    list_select_related = ["account"]
    search_fields = ["account__dataset__id", "query"]
    fields = ["time", "account", "query", "attempt", "kind", "epsilon", "delta", "rho"]

    @admin.display(description="epsilon")
    def epsilon(self, line: Line) -> str:
        return decimal_text(line.micro_epsilon)

    @admin.display(description="delta")
    def delta(self, line: Line) -> str:
        return delta_text(line.atto_delta)

    @admin.display(description="rho")
    def rho(self, line: Line) -> str:
        return rho_text(line.squares)
