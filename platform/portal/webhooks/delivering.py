"""Announcements leave: a thread of the dispatcher's process, so that no slow receiver keeps a query waiting.

Everything is decided from rows. A try is claimed before it is made, so that two processes never make the same one,
and a delivery whose process died is due again; a receiver may hear the same delivery twice and knows it by its id.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.db.models import F
from django.utils import timezone

from portal.webhooks import actions, sending
from portal.webhooks.models import Delivery, DeliveryState, Webhook
from portal.webhooks.sending import NotDelivered

log = logging.getLogger("portal.webhooks")

EVERY = 1.0  # seconds between looks
AT_ONCE = 8  # webhooks told at the same time, each one delivery
MOST_TRIES = 6
BACKOFF = timedelta(seconds=10)  # after the first try; four times as long after each next one
KEPT = timedelta(days=30)
TIDY_EVERY = 3600.0  # seconds


class Deliverer(threading.Thread):
    """Delivers until `stopped`."""

    def __init__(self, stopped: threading.Event) -> None:
        super().__init__(name="webhooks", daemon=True)
        self.stopped = stopped

    def run(self) -> None:
        tidied = float("-inf")
        failing = False
        busy = False
        while not self.stopped.wait(0 if busy else EVERY):
            busy = False
            try:
                busy = deliver_due() == AT_ONCE
                if time.monotonic() - tidied > TIDY_EVERY:
                    tidy()
                    tidied = time.monotonic()
                failing = False
            except (DatabaseError, InterfaceError) as wrong:
                if not failing:
                    log.warning("webhooks wait for the database: %s", type(wrong).__name__)
                failing = True
                close_old_connections()


def deliver_due(now: datetime | None = None, post: Callable[..., int] = sending.post) -> int:
    """Make one try for each of the webhooks with the oldest due deliveries; how many tries that were."""
    now = now or timezone.now()
    due = Delivery.objects.filter(state=DeliveryState.WAITING, due__lte=now, webhook__enabled=True)
    first: dict[object, Delivery] = {}
    for delivery in due.select_related("webhook").order_by("due", "created")[: 16 * AT_ONCE]:
        if len(first) < AT_ONCE:
            first.setdefault(delivery.webhook_id, delivery)
    claimed = [delivery for delivery in first.values() if _claim(delivery, now)]
    if not claimed:
        return 0
    with ThreadPoolExecutor(len(claimed)) as pool:
        # Without the database: these threads have no connection of their own.
        outcomes = list(pool.map(lambda delivery: _try(delivery, post), claimed))
    for delivery, outcome in zip(claimed, outcomes, strict=True):
        _settle(delivery, outcome)
    return len(claimed)


def backoff(tries: int) -> timedelta:
    """How long after its `tries`-th try a delivery waits for the next."""
    return timedelta(seconds=BACKOFF.total_seconds() * 4 ** (tries - 1))


def tidy(now: datetime | None = None) -> None:
    """Forget deliveries that ended a month ago."""
    Delivery.objects.filter(ended_at__lt=(now or timezone.now()) - KEPT).delete()


def _claim(delivery: Delivery, now: datetime) -> bool:
    mine = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.WAITING, tries=delivery.tries)
    delivery.tries += 1
    return bool(mine.update(tries=delivery.tries, due=now + backoff(delivery.tries)))


def _try(delivery: Delivery, post: Callable[..., int]) -> str:
    """ "status_2NN", or why it was not delivered."""
    webhook, body, timestamp = delivery.webhook, delivery.body.encode(), int(time.time())
    signed = actions.signature(actions.secret(webhook), timestamp, body)
    headers = {
        "Fourfold-Event": delivery.event,
        "Fourfold-Delivery": str(delivery.pk),
        "Fourfold-Signature": f"t={timestamp},v1={signed}",
    }
    try:
        return f"status_{post(webhook.url, body, headers)}"
    except NotDelivered as why:
        return why.code


def _settle(delivery: Delivery, outcome: str) -> None:
    webhook = Webhook.objects.filter(pk=delivery.webhook_id)
    rows = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.WAITING)
    if outcome.startswith("status_2"):
        rows.update(state=DeliveryState.DELIVERED, outcome=outcome, ended_at=timezone.now())
        webhook.update(failures=0)
        return
    log.info("webhook %s: %s not delivered, %s", delivery.webhook_id, delivery.event, outcome)
    if delivery.tries >= MOST_TRIES:
        rows.update(state=DeliveryState.FAILED, outcome=outcome, ended_at=timezone.now())
    else:
        rows.update(outcome=outcome)
    webhook.update(failures=F("failures") + 1)
    failing = webhook.filter(failures__gte=settings.FOURFOLD_WEBHOOK_FAILURES).first()
    if failing is not None:
        actions.disable(webhook=failing, by="webhooks")
