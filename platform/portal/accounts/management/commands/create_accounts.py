"""`manage.py create_accounts NAME:ROLE:ORGANISATION ...`: accounts with fresh passwords and lasting tokens.

Prints one JSON object {"tokens": {name: token}, "passwords": {name: password}} to stdout, this once.
"""

import json
import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.accounts.actions import ensure_account, ensure_token
from portal.accounts.models import Role


class Command(BaseCommand):
    help = "Create accounts, or give existing ones a new password and token."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("accounts", nargs="+", metavar="NAME:ROLE:ORGANISATION")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = []
        for text in options["accounts"]:
            name, role, organisation = (text.split(":", 2) + ["", ""])[:3]
            if not name or role not in Role.values or not organisation:
                raise CommandError(
                    f"{text}: write NAME:ROLE:ORGANISATION, role one of {', '.join(Role.values)}"
                )
            wanted.append((name, role, organisation))
        made: dict[str, dict[str, str]] = {"tokens": {}, "passwords": {}}
        for name, role, organisation in wanted:
            password = secrets.token_urlsafe(18)
            ensure_account(name, role, organisation, password)
            made["passwords"][name] = password
            made["tokens"][name] = ensure_token(name)
        self.stdout.write(json.dumps(made))
