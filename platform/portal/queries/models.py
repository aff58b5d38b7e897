"""A query, its attempts, what the parties reported, and its answer.

States and moves are in `states.py`; what is done, in `actions.py`, `attempts.py` and `release.py`.
"""

import json
import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from analytics.privacy.filters import Loss, squares
from portal.registry.models import PARTIES


class State(models.TextChoices):
    SUBMITTED = "SUBMITTED"
    APPROVED = "APPROVED"
    REFUSED = "REFUSED"
    WITHDRAWN = "WITHDRAWN"
    RUNNING = "RUNNING"
    RELEASED = "RELEASED"
    ABORTED = "ABORTED"


class Mode(models.TextChoices):
    DP = "dp"
    EXACT = "exact"


class Query(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    analyst = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="queries")
    program = models.TextField()
    datasets = models.ManyToManyField("registry.Dataset", through="QueryDataset", related_name="queries")
    mode = models.CharField(max_length=5, choices=Mode.choices)
    micro_epsilon = models.BigIntegerField(help_text="of one attempt, for each dataset; 0 in exact mode")
    atto_delta = models.BigIntegerField(default=0, help_text="10^-18, likewise; 0 for epsilon alone")
    minimum_cohort = models.PositiveIntegerField()
    plan = models.JSONField(help_text="what parties compute, canonical")
    plan_hash = models.CharField(max_length=64, db_index=True)
    description = models.JSONField(help_text="the plan in words, cost, expected error")
    state = models.CharField(max_length=9, choices=State.choices, default=State.SUBMITTED, db_index=True)
    created = models.DateTimeField(default=timezone.now, db_index=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    approved_by = models.CharField(max_length=150, blank=True, default="")
    released_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True, default="", help_text="why it was refused, withdrawn or aborted")
    code = models.CharField(max_length=40, blank=True, default="", help_text="public code of an abort")
    stored_from = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, help_text="whose stored answer this is"
    )

    tests = models.PositiveIntegerField(default=0, help_text="p-values in the released answer")
    title = models.CharField(max_length=200, blank=True, default="")
    purpose = models.TextField(max_length=4096, blank=True, default="", help_text="what the answer is for")

    class Meta:
        ordering = ["-created", "id"]
        verbose_name_plural = "queries"
        constraints = [
            models.CheckConstraint(name="query_state_is_known", condition=Q(state__in=State.values)),
            models.CheckConstraint(
                name="query_approval_has_who_and_when",
                condition=Q(approved_at__isnull=True, approved_by="")
                | (Q(approved_at__isnull=False) & ~Q(approved_by="")),
            ),
            models.CheckConstraint(
                name="query_runs_only_when_approved",
                condition=Q(state__in=["SUBMITTED", "REFUSED", "WITHDRAWN"]) | Q(approved_at__isnull=False),
            ),
            models.CheckConstraint(
                name="query_released_has_when",
                condition=Q(state="RELEASED", released_at__isnull=False)
                | (~Q(state="RELEASED") & Q(released_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="query_epsilon_fits_its_mode",
                condition=Q(mode="dp", micro_epsilon__gt=0) | Q(mode="exact", micro_epsilon=0),
            ),
            models.CheckConstraint(
                name="query_delta_fits_its_mode",
                condition=Q(mode="dp", atto_delta__gte=0) | Q(mode="exact", atto_delta=0),
            ),
        ]

    @property
    def loss(self) -> Loss:
        """What an attempt is charged to each dataset."""
        charges = (table["micro_epsilon"] for table in self.plan["releases"])
        return Loss(micro_epsilon=self.micro_epsilon, atto_delta=self.atto_delta, squares=squares(charges))

    def __str__(self) -> str:
        return f"query {self.pk}"


class Draft(models.Model):
    """A question that its analyst has not submitted: text as it was typed, right or wrong. Nobody else sees it."""

    analyst = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="drafts")
    title = models.CharField(max_length=200, blank=True, default="")
    purpose = models.TextField(max_length=4096, blank=True, default="")
    program = models.TextField(blank=True, default="")
    datasets = models.JSONField(default=list, help_text="ids")
    epsilon = models.CharField(max_length=32, blank=True, default="")
    mode = models.CharField(max_length=5, choices=Mode.choices, default=Mode.DP)
    changed = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-changed", "-id"]

    def __str__(self) -> str:
        return f"draft {self.pk}"


class WaitingQuery(Query):
    """A query as the operator's page of decisions shows it."""

    class Meta:
        proxy = True
        ordering = ["created", "id"]
        verbose_name = "query waiting"
        verbose_name_plural = "queries waiting"


class QueryDataset(models.Model):
    query = models.ForeignKey(Query, on_delete=models.PROTECT, related_name="parts")
    dataset = models.ForeignKey("registry.Dataset", on_delete=models.PROTECT, related_name="parts")

    class Meta:
        ordering = ["dataset_id"]
        constraints = [
            models.UniqueConstraint(name="query_names_a_dataset_once", fields=["query", "dataset"])
        ]


class Order(models.Model):
    """What every party receives, signed by the portal; and the operator's decision on exactly that."""

    query = models.OneToOneField(Query, on_delete=models.PROTECT, primary_key=True, related_name="order")
    body = models.TextField(help_text="canonical JSON")
    hash = models.CharField(max_length=64, unique=True)
    signature = models.CharField(max_length=128)
    approval = models.TextField(help_text="canonical JSON")
    approval_signature = models.CharField(max_length=128)
    max_attempts = models.PositiveSmallIntegerField()
    expires = models.BigIntegerField(help_text="unix seconds")

    @property
    def missing(self) -> int | None:
        """The party that the order does without: three compute, passively. None: four."""
        found: int | None = json.loads(self.body).get("missing")
        return found

    @property
    def parties(self) -> tuple[int, ...]:
        """Who computes."""
        return tuple(p for p in range(PARTIES) if p != self.missing)


class AttemptState(models.TextChoices):
    RUNNING = "RUNNING"
    RELEASED = "RELEASED"
    FAILED = "FAILED"


class Attempt(models.Model):
    query = models.ForeignKey(Query, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=8, choices=AttemptState.choices, default=AttemptState.RUNNING)
    code = models.CharField(max_length=40, blank=True, default="")
    started_at = models.DateTimeField(default=timezone.now)
    told_at = models.DateTimeField(null=True, blank=True, help_text="when the parties were last told")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(name="attempt_once", fields=["query", "number"]),
            models.UniqueConstraint(
                name="attempt_one_at_a_time", fields=["query"], condition=Q(state="RUNNING")
            ),
            models.CheckConstraint(
                name="attempt_ended_has_when",
                condition=Q(state="RUNNING", ended_at__isnull=True)
                | (~Q(state="RUNNING") & Q(ended_at__isnull=False)),
            ),
        ]


class ReportKind(models.TextChoices):
    STARTED = "started"
    REFUSAL = "refusal"
    ABORT = "abort"
    RESULT = "result"


class Report(models.Model):
    """A party's signed word on one attempt. Lines are added, never changed."""

    attempt = models.ForeignKey(Attempt, on_delete=models.PROTECT, related_name="reports")
    party = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=8, choices=ReportKind.choices)
    body = models.TextField(help_text="canonical JSON, as signed by the party")
    signature = models.CharField(max_length=128)
    integers = models.TextField(blank=True, default="", help_text="of a result: canonical JSON")
    time = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                name="report_one_last_word",
                fields=["attempt", "party"],
                condition=~Q(kind="started"),
            ),
            models.UniqueConstraint(
                name="report_one_start", fields=["attempt", "party"], condition=Q(kind="started")
            ),
        ]


class Result(models.Model):
    """The released answer: the bytes that every GET returns. Lines are added, never changed."""

    query = models.OneToOneField(Query, on_delete=models.PROTECT, primary_key=True, related_name="result")
    body = models.TextField(help_text="the JSON text that is served")
    etag = models.CharField(max_length=64)
    time = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"answer of {self.query_id}"


class QueryEvent(models.Model):
    """One move of a query. Lines are added, never changed."""

    query = models.ForeignKey(Query, on_delete=models.PROTECT, related_name="events")
    was = models.CharField(max_length=9, blank=True)
    now = models.CharField(max_length=9)
    by = models.CharField(max_length=150)
    reason = models.TextField(blank=True)
    time = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.was or 'new'} to {self.now}"
