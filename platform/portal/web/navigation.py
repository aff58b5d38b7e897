"""The pages that each role finds at the top of every page, in order."""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from portal.accounts.models import Role


@dataclass(frozen=True)
class Link:
    """`name` is a route without arguments; pages under its address count as being there."""

    label: str
    name: str


LINKS: dict[str, tuple[Link, ...]] = {
    Role.PROVIDER: (Link("Your data", "web:data"), Link("Send data", "web:data-new")),
    Role.ANALYST: (
        Link("Datasets", "web:catalogue"),
        Link("New query", "web:query-new"),
        Link("Queries", "web:queries"),
    ),
    Role.OPERATOR: (
        Link("Approvals", "web:approvals"),
        Link("Operations", "web:operations"),
        Link("People", "web:people"),
    ),
    Role.AUDITOR: (
        Link("Audit trail", "web:audit"),
        Link("Approvals", "web:approvals"),
        Link("Operations", "web:operations"),
    ),
}


def links(user: Any, path: str) -> list[dict[str, Any]]:
    """Label, address, and whether the page at `path` belongs to it: the longest address that fits wins."""
    found = [(link.label, reverse(link.name)) for link in LINKS.get(getattr(user, "role", ""), ())]
    here = max((address for _, address in found if path.startswith(address)), key=len, default=None)
    return [{"label": label, "address": address, "here": address == here} for label, address in found]
