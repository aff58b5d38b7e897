"""Privacy counted like money: whole millionths of epsilon, append-only, reserved before spending.

An account's two sums are what its lines add up to; the database keeps them below the total.
"""

from django.db import models
from django.db.models import F, Q


class Account(models.Model):
    """The privacy account of a chain, kept at its first version. Everything that was ever asked of any version
    is in it: they are the same patients.
    """

    dataset = models.OneToOneField(
        "registry.Dataset", on_delete=models.PROTECT, primary_key=True, related_name="account"
    )
    total = models.BigIntegerField(help_text="micro-epsilon, from the signed policy")
    spent = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="account_never_over_its_total", condition=Q(total__gte=F("spent") + F("reserved"))
            ),
            models.CheckConstraint(
                name="account_counts_up_from_nothing", condition=Q(spent__gte=0) & Q(reserved__gte=0)
            ),
        ]

    @property
    def left(self) -> int:
        return self.total - self.spent - self.reserved

    def __str__(self) -> str:
        return f"budget of {self.dataset_id}"


class Kind(models.TextChoices):
    RESERVED = "RESERVED"
    SPENT = "SPENT"
    RETURNED = "RETURNED"


class Line(models.Model):
    """One line of an account: one attempt of one query was reserved, spent or returned."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="lines")
    query = models.UUIDField(db_index=True)
    attempt = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=8, choices=Kind.choices)
    micro_epsilon = models.BigIntegerField()
    time = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                name="line_each_step_once", fields=["account", "query", "attempt", "kind"]
            ),
            models.CheckConstraint(name="line_is_not_negative", condition=Q(micro_epsilon__gte=0)),
            models.CheckConstraint(name="line_attempts_count_from_one", condition=Q(attempt__gte=1)),
            models.CheckConstraint(name="line_kind_is_known", condition=Q(kind__in=Kind.values)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.micro_epsilon}"
