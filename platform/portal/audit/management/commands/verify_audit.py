"""`manage.py verify_audit [FILE]`: whether the trail is the one that was sealed and that the parties signed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from portal.audit import chain
from portal.registry import parties


class Command(BaseCommand):
    help = (
        "Check the audit trail of this portal, or of a file that export_audit wrote; name the first bad line."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", nargs="?", type=Path, help="a file of export_audit; without it, the database"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        keys = {party.party: party.sign for party in parties.pinned()}
        path = options["file"]
        if path is None:
            wrong = chain.first_wrong(chain.lines(), chain.heads(), keys)
            open_events = chain.unsealed(timezone.now() - chain.PATIENCE)
            if wrong is None and open_events:
                wrong = f"{open_events} events older than a minute are not sealed: does the dispatcher run?"
        else:
            heads: list[chain.Head] = []
            wrong = chain.first_wrong(_read(path, heads), heads, keys)
        if wrong is not None:
            raise CommandError(f"the audit trail does not hold: {wrong}")
        self.stdout.write("the audit trail holds")


def _read(path: Path, heads: list[chain.Head]) -> Iterator[dict[str, Any]]:
    """The lines of a file; what parties signed is added to `heads` on the way."""
    try:
        with path.open() as file:
            for place, text in enumerate(file, 1):
                try:
                    row = json.loads(text)
                    if "signed" in row:
                        heads.append(chain.Head(**row["signed"]))
                    else:
                        number, event, sealed = row["number"], dict(row["event"]), str(row["hash"])
                        yield {"number": number, "event": event, "hash": sealed}
                except (ValueError, KeyError, TypeError):
                    raise CommandError(f"{path}, line {place}: not a line of an exported trail") from None
    except OSError as wrong:
        raise CommandError(f"{path} cannot be read: {wrong.strerror}") from None
