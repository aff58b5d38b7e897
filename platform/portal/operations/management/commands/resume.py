"""`manage.py resume`: end the pause that `drain` or an operator began."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.operations import pauses


class Command(BaseCommand):
    help = "End the dispatcher's pause: what waits is started."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--by", required=True, help="who resumes, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            pauses.end(by=options["by"])
        except pauses.PauseConflict as wrong:
            raise CommandError(str(wrong)) from None
        self.stdout.write("resumed")
