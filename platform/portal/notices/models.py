"""A notice: one thing that one person is told. Its words come from its kind, so no text depends on data."""

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Kind(models.TextChoices):
    QUERY_WAITS = "query waits", "A query waits for a decision"
    QUERY_WAITS_FOR_SECOND = "query waits for second", "A query waits for a second approval"
    QUERY_APPROVED = "query approved", "Your query was approved"
    QUERY_REFUSED = "query refused", "Your query was refused: read the comment, copy and amend it"
    QUERY_RELEASED = "query released", "The answer to your query is there"
    QUERY_ABORTED = "query aborted", "Your query was aborted"
    DATASET_ASKED = "dataset asked", "A query began on your dataset"
    DATASET_READY = "dataset ready", "All four parties hold your dataset: it is ready"
    DATASET_REJECTED = "dataset rejected", "A party rejected your dataset"
    PARTY_SILENT = "party silent", "A party is silent"
    ACCOUNT_CHANGED = "account changed", "An operator changed how your account is opened"


class Notice(models.Model):
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="notices")
    kind = models.CharField(max_length=24, choices=Kind.choices)
    subject = models.CharField(
        max_length=64, help_text="id of a query or dataset, number of a party, or a name"
    )
    time = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["user"], name="notice_unread", condition=Q(read_at__isnull=True)),
            models.Index(fields=["kind", "subject"], name="notice_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}"
