"""`manage.py replace_party N FILE`: pin the keys of a new party in place of a lost one.

FILE holds the line that the new party's `python -m workers init` printed. From now on the old keys open nothing
here: its requests and reports are refused. Each dataset then waits for its provider's signature on the new set.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.absence.models import TakenOver
from portal.audit.actions import record
from portal.operations.models import PartyHealth
from portal.registry import parties
from portal.registry.models import PARTIES, PartyState

NAMES = ("party", "seal", "sign", "fingerprint")


class Command(BaseCommand):
    help = "Pin the keys of a new party in place of a lost one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("party", type=int, choices=range(PARTIES))
        parser.add_argument("file", type=Path, help="what the new party's init printed")

    def handle(self, *args: Any, party: int, file: Path, **options: Any) -> None:
        pinned = [vars(p) for p in parties.pinned()]
        new = self._read(file, party)
        known = {entry[kind] for entry in pinned for kind in ("seal", "sign")}
        if known & {new["seal"], new["sign"]}:
            raise CommandError("a new party has two new keys: these are pinned already")
        was = pinned[party]["fingerprint"]
        pinned[party] = new
        _replace(Path(settings.FOURFOLD_PARTIES_FILE), json.dumps(pinned, indent=1) + "\n")
        # What the old one said of itself does not speak for the new one.
        PartyState.objects.filter(party=party).delete()
        PartyHealth.objects.filter(party=party).delete()
        TakenOver.objects.filter(party=party).delete()
        detail = {"was": was, "now": new["fingerprint"]}
        record("party keys replaced", by="manage.py", subject=f"party {party}", detail=detail)
        self.stdout.write(f"party {party}: fingerprint was {was}, is {new['fingerprint']}")

    def _read(self, file: Path, party: int) -> dict[str, Any]:
        try:
            found = json.loads(file.read_text())
            new = {name: found[name] for name in NAMES}
            right = new["party"] == party and all(
                len(bytes.fromhex(new[name])) == size
                for name, size in (("seal", 32), ("sign", 32), ("fingerprint", 16))
            )
        except (OSError, ValueError, KeyError, TypeError):
            right = False
        if not right:
            raise CommandError(f"{file} does not hold the public keys of party {party} as init prints them")
        return new


def _replace(path: Path, text: str) -> None:
    """The file whole or as it was."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, path)
