"""`manage.py portal_key`: the portal's public key as JSON; the key is made when missing."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from analytics.query.approval import KeyFileRefused
from portal.keys import ensure_portal_key, portal_public


class Command(BaseCommand):
    help = "Print the portal's public key and fingerprint; make the key if there is none."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            ensure_portal_key()
        except KeyFileRefused as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(json.dumps(portal_public()))
