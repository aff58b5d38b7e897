"""The whole stack on one machine, until ctrl-C: `make up`."""

import logging
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand

from portal.stack.supervisor import DEMO_NOTICE, Stack
from portal.stack.surroundings import StackError, Surroundings, leave


class Command(BaseCommand):
    help = (
        "Start Valkey, the portal and four parties on this machine; VAR and PORT come from the environment."
    )
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        def say(line: str) -> None:
            # Whoever read our output may be gone; the stack goes on.
            try:
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
            except (BrokenPipeError, ValueError):
                pass

        # What set-up writes to the audit trail is read there; here it would only push the address off the screen.
        logging.getLogger("portal").setLevel(logging.WARNING)
        try:
            place = Surroundings.of(os.environ)
            say(DEMO_NOTICE)
            Stack(place, dict(os.environ), say).run()
        except StackError as problem:
            leave(str(problem))
