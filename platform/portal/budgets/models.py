"""Privacy counted like money: whole millionths of epsilon, append-only, reserved before spending.

An account's sums are what its lines add up to; the database keeps them below the total. With a delta (units of 10^-18)
plans are counted by zCDP as well (`analytics.privacy.filters`), and one of the two accountings must hold.
"""

from django.db import models
from django.db.models import F, Q

from analytics.privacy.filters import Allowance, Loss


def within(asked: Loss) -> Q:
    """Accounts that let `asked` pass, beside what they hold, by either accounting."""
    by_sum = Q(
        total__gte=F("spent") + F("reserved") + asked.micro_epsilon,
        delta_total__gte=2 * (F("delta_spent") + F("delta_reserved") + asked.atto_delta),
    )
    by_zcdp = Q(
        delta_total__gt=0, squares_total__gte=F("squares_spent") + F("squares_reserved") + asked.squares
    )
    return by_sum | by_zcdp


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
    delta_total = models.BigIntegerField(
        default=0, help_text="10^-18, from the signed policy; 0 without delta"
    )
    delta_spent = models.BigIntegerField(default=0)
    delta_reserved = models.BigIntegerField(default=0)
    squares_total = models.BigIntegerField(default=0, help_text="twice rho, in square micro-epsilon")
    squares_spent = models.BigIntegerField(default=0)
    squares_reserved = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(name="account_never_over_its_total", condition=within(Loss())),
            models.CheckConstraint(
                name="account_counts_up_from_nothing",
                condition=Q(spent__gte=0, reserved__gte=0, delta_spent__gte=0, delta_reserved__gte=0)
                & Q(squares_spent__gte=0, squares_reserved__gte=0),
            ),
        ]

    @property
    def held(self) -> Loss:
        """What is spent or reserved."""
        return Loss(
            micro_epsilon=self.spent + self.reserved,
            atto_delta=self.delta_spent + self.delta_reserved,
            squares=self.squares_spent + self.squares_reserved,
        )

    @property
    def allowance(self) -> Allowance:
        return Allowance(micro_epsilon=self.total, atto_delta=self.delta_total, squares=self.squares_total)

    @property
    def left(self) -> int:
        """The most micro-epsilon that one further table without delta may have."""
        return self.allowance.left(self.held)

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
    atto_delta = models.BigIntegerField(default=0)
    squares = models.BigIntegerField(default=0)
    time = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                name="line_each_step_once", fields=["account", "query", "attempt", "kind"]
            ),
            models.CheckConstraint(
                name="line_is_not_negative",
                condition=Q(micro_epsilon__gte=0, atto_delta__gte=0, squares__gte=0),
            ),
            models.CheckConstraint(name="line_attempts_count_from_one", condition=Q(attempt__gte=1)),
            models.CheckConstraint(name="line_kind_is_known", condition=Q(kind__in=Kind.values)),
        ]

    @property
    def loss(self) -> Loss:
        return Loss(micro_epsilon=self.micro_epsilon, atto_delta=self.atto_delta, squares=self.squares)

    def __str__(self) -> str:
        return f"{self.kind} {self.micro_epsilon}"
