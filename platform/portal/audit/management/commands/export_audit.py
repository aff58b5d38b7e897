"""`manage.py export_audit FILE`: the audit trail as JSON lines, with the parties' signatures under it."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.audit import chain


class Command(BaseCommand):
    help = "Write the audit trail to FILE, a line an event, then the lines that parties signed to have seen."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if path.exists():
            raise CommandError(f"{path} is there already; name another file")
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        count = 0
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                for row in chain.lines():
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    count += 1
                for head in chain.heads():
                    file.write(json.dumps({"signed": asdict(head)}, ensure_ascii=False) + "\n")
            os.replace(draft, path)
        except OSError as wrong:
            draft.unlink(missing_ok=True)
            raise CommandError(f"{path} cannot be written: {wrong.strerror}") from None
        self.stdout.write(f"{count} lines in {path}")
