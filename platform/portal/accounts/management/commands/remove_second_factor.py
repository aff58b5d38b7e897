"""`manage.py remove_second_factor NAME --by WHO`: for who lost telephone and recovery codes and whom no page can help."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.accounts import second_factor
from portal.accounts.models import User


class Command(BaseCommand):
    help = "Switch the second factor of an account off; its sessions end, and the audit trail says by whom."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="user name")
        parser.add_argument("--by", required=True, help="who does it, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            raise CommandError(f"there is no account {options['name']!r}")
        try:
            second_factor.remove(user, by=options["by"])
        except second_factor.NotEnrolled:
            raise CommandError(f"account {user.username} has no second factor") from None
        self.stdout.write(f"account {user.username} has no second factor any more")
