"""The whole way once, unattended, with made-up patients: `make demo`."""

import os
from typing import Any

import httpx
from django.core.management.base import BaseCommand

from portal.stack.demo import Demo
from portal.stack.surroundings import StackError, Surroundings, leave


class Command(BaseCommand):
    help = (
        "Upload two made-up hospitals' tables, ask four questions, print the answers beside the truth, stop."
    )
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            code = Demo(Surroundings.of({**os.environ, "PORT": "0"}), os.environ).run()
        except (StackError, httpx.HTTPError) as problem:
            leave(f"the demonstration failed: {problem}")
        raise SystemExit(code)
