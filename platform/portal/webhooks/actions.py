"""Webhooks are registered, removed and enabled by their owner; moves of queries and datasets are announced to them.

An announcement is a row, written in the transaction of the move: what did not happen is told to nobody.
"""

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Iterable, Sequence

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from portal.accounts.models import Role, User
from portal.audit.actions import record
from portal.webhooks import addresses
from portal.webhooks.models import Delivery, DeliveryState, Event, Webhook

MOST = 10  # webhooks of one account
FOR_ROLE = {
    Role.ANALYST: (Event.QUERY_APPROVED, Event.QUERY_REFUSED, Event.QUERY_RELEASED, Event.QUERY_ABORTED),
    Role.PROVIDER: (Event.DATASET_READY,),
}
DISABLED = "disabled"


class WebhookRefused(Exception):
    """The webhook cannot be had like this."""

    code = "webhook_refused"


@transaction.atomic
def register(*, owner: User, url: str, events: Sequence[str]) -> Webhook:
    """A new webhook of `owner`; no events are all that the owner's role may hear.

    Raises  WebhookRefused, AddressRefused.
    """
    addresses.parse(url)
    may = [str(event) for event in FOR_ROLE.get(Role(owner.role), ())]
    wrong = sorted(set(events) - set(may))
    if wrong:
        raise WebhookRefused(f"{wrong[0]} is not told to a {owner.role}: choose from {', '.join(may)}")
    User.objects.select_for_update().get(pk=owner.pk)
    if owner.webhooks.count() >= MOST:
        raise WebhookRefused(f"an account has at most {MOST} webhooks: remove one")
    chosen = [event for event in may if event in events] or may
    webhook = Webhook.objects.create(owner=owner, url=url, events=chosen)
    record("webhook", by=owner.username, subject=f"webhook {webhook.pk}", detail={"events": chosen})
    return webhook


@transaction.atomic
def remove(*, webhook: Webhook, by: User) -> None:
    """It is told nothing more, and its deliveries are forgotten."""
    record("webhook removed", by=by.username, subject=f"webhook {webhook.pk}")
    webhook.delete()


def enable(*, webhook: Webhook, by: User) -> None:
    """Told again from now on, after failures had disabled it."""
    if not webhook.enabled:
        record("webhook enabled", by=by.username, subject=f"webhook {webhook.pk}")
    Webhook.objects.filter(pk=webhook.pk).update(enabled=True, failures=0)
    webhook.refresh_from_db()


@transaction.atomic
def disable(*, webhook: Webhook, by: str) -> None:
    """Told nothing until its owner enables it; what waits has failed."""
    if not Webhook.objects.filter(pk=webhook.pk, enabled=True).update(enabled=False):
        return
    webhook.deliveries.filter(state=DeliveryState.WAITING).update(
        state=DeliveryState.FAILED, outcome=DISABLED, ended_at=timezone.now()
    )
    record("webhook disabled", by=by, subject=f"webhook {webhook.pk}", detail={"failures": webhook.failures})


def announce_query(event: str, *, query: uuid.UUID, analyst: int, state: str) -> None:
    """Tell who asked."""
    hooks = Webhook.objects.filter(owner=analyst, owner__role=Role.ANALYST)
    _announce(event, hooks, {"query": str(query), "state": state})


def announce_dataset(event: str, *, dataset: str, organisation: int, state: str) -> None:
    """Tell the people of the dataset's organisation."""
    hooks = Webhook.objects.filter(owner__organisation=organisation, owner__role=Role.PROVIDER)
    _announce(event, hooks, {"dataset": dataset, "state": state})


def secret(webhook: Webhook) -> str:
    """What signs the deliveries of a webhook; shown to its owner when it is made."""
    derived = salted_hmac("fourfold webhook", webhook.salt, secret=settings.SECRET_KEY, algorithm="sha256")
    return "whsec_" + base64.urlsafe_b64encode(derived.digest()).decode().rstrip("=")


def signature(key: str, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256 of timestamp.body, hex."""
    return hmac.new(key.encode(), str(timestamp).encode() + b"." + body, hashlib.sha256).hexdigest()


def _announce(event: str, hooks: Iterable[Webhook], subject: dict[str, str]) -> None:
    now = timezone.now()
    rows = []
    for hook in hooks.filter(enabled=True, owner__is_active=True):  # type: ignore[attr-defined]
        if event in hook.events:
            delivery = Delivery(webhook=hook, event=event)
            said = {"delivery": str(delivery.pk), "event": event, "time": now.isoformat(), **subject}
            delivery.body = json.dumps(said)
            rows.append(delivery)
    Delivery.objects.bulk_create(rows)
