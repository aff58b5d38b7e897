"""`manage.py dispatch`: the dispatcher process of the portal."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from analytics import logs
from portal.dispatch import rest
from portal.queries import dispatcher
from portal.webhooks.delivering import Deliverer


class Command(BaseCommand):
    help = "Send approved queries to the parties, and webhooks what they are told, until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        logs.identify(role="dispatch")
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        deliverer = Deliverer(stopped)
        deliverer.start()
        try:
            dispatcher.run(stopped=stopped, sleep=lambda seconds: rest(seconds, stopped.wait))
        except dispatcher.AnotherDispatcher:
            raise CommandError("another dispatcher runs already") from None
        finally:
            stopped.set()
            deliverer.join(2.0)
