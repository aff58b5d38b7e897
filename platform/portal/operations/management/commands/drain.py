"""`manage.py drain`: pause the dispatcher and wait until what runs has ended."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.operations import pauses

QUIET = 2.0  # seconds: a dispatcher that looked just before the pause may still have started one


class Command(BaseCommand):
    help = "Pause the dispatcher (nothing new starts) and wait until every running query has ended."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--by", required=True, help="who pauses, for the audit trail")
        parser.add_argument("--reason", default="", help="what users are told")
        parser.add_argument("--wait", type=float, default=1800.0, help="seconds to wait at most (1800)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            pauses.begin(by=options["by"], reason=options["reason"])
        except pauses.PauseConflict:
            self.stderr.write("the dispatcher is paused already: waiting for what runs")
        deadline = time.monotonic() + options["wait"]
        drained_since: float | None = None
        while True:
            left, now = pauses.unfinished(), time.monotonic()
            drained_since = None if left else drained_since or now
            if drained_since is not None and now - drained_since >= QUIET:
                self.stdout.write("drained: nothing runs, nothing new starts until `manage.py resume`")
                return
            if now >= deadline:
                raise CommandError(f"{left} queries still run; the dispatcher stays paused")
            time.sleep(0.2)
