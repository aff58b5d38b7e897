"""`manage.py delete_bundles`: delete sealed bundles that have served; the dispatcher does the same every hour."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.operations import retention


class Command(BaseCommand):
    help = "Delete sealed bundles of datasets whose four receipts are older than FOURFOLD_BUNDLE_DAYS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, help="instead of FOURFOLD_BUNDLE_DAYS")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be deleted, delete nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        if days is not None and days < 0:
            raise CommandError("--days: a whole number from 0 is needed")
        failed = 0
        for dataset in retention.due(days=days):
            if options["dry_run"]:
                self.stdout.write(f"{dataset.pk} is due")
                continue
            try:
                size = retention.delete(dataset, by="delete_bundles")
                self.stdout.write(f"{dataset.pk} deleted, {size} bytes")
            except OSError as wrong:
                failed += 1
                self.stderr.write(f"{dataset.pk} kept: {wrong}")
        if failed:
            raise CommandError(f"{failed} datasets could not be deleted; they are due again")
