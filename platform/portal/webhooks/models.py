"""Who is told of what, and every telling.

The secret that signs is not kept: it follows from the webhook's salt and the portal's SECRET_KEY, so that a copy of
the database signs nothing.
"""

import secrets
import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class Event(models.TextChoices):
    QUERY_APPROVED = "query.approved"
    QUERY_REFUSED = "query.refused"
    QUERY_RELEASED = "query.released"
    QUERY_ABORTED = "query.aborted"
    DATASET_READY = "dataset.ready"


def new_salt() -> str:
    return secrets.token_hex(32)


class Webhook(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=500)
    events = models.JSONField(help_text="what it is told of")
    salt = models.CharField(max_length=64, default=new_salt, editable=False)
    enabled = models.BooleanField(default=True)
    failures = models.PositiveIntegerField(default=0, help_text="tries that failed since the last success")
    created = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created", "id"]

    def __str__(self) -> str:
        return f"webhook {self.pk}"


class DeliveryState(models.TextChoices):
    WAITING = "WAITING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class Delivery(models.Model):
    """One event on its way to one webhook."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=20, choices=Event.choices)
    body = models.TextField(help_text="the JSON text that is sent")
    state = models.CharField(max_length=9, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    tries = models.PositiveSmallIntegerField(default=0)
    due = models.DateTimeField(default=timezone.now, help_text="of the next try")
    outcome = models.CharField(max_length=40, blank=True, default="", help_text="of the last try")
    created = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created", "id"]
        verbose_name_plural = "deliveries"
        indexes = [models.Index(fields=["due"], name="delivery_waiting", condition=Q(state="WAITING"))]
        constraints = [
            models.CheckConstraint(
                name="delivery_ended_has_when",
                condition=Q(state="WAITING", ended_at__isnull=True)
                | (~Q(state="WAITING") & Q(ended_at__isnull=False)),
            )
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook_id}"
