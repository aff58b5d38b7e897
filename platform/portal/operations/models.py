"""What operations remember: pauses of the dispatcher, and what each party last said of its health."""

from django.db import models
from django.db.models import Q


class Pause(models.Model):
    """One time during which nothing new was sent to the parties."""

    since = models.DateTimeField(auto_now_add=True)
    by = models.CharField(max_length=150)
    reason = models.CharField(max_length=400, blank=True, default="")
    ended = models.BooleanField(default=False)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ["-since", "-id"]
        constraints = [
            models.UniqueConstraint(name="pause_one_at_a_time", fields=["ended"], condition=Q(ended=False)),
            models.CheckConstraint(
                name="pause_end_has_who_and_when",
                condition=Q(ended=False, ended_at__isnull=True, ended_by="")
                | (Q(ended=True, ended_at__isnull=False) & ~Q(ended_by="")),
            ),
        ]

    def __str__(self) -> str:
        return f"pause of {self.since:%Y-%m-%d %H:%M}"


class PartyHealth(models.Model):
    """A party's own signed words on its store, program and peers; and its longest ledger that was shown here.

    Public facts only: states, sizes, digests of constants, ledger heads. Never a value or a cohort.
    """

    party = models.PositiveSmallIntegerField(primary_key=True)
    said = models.JSONField(help_text="as signed; empty of a party that says nothing of its health")
    witnessed = models.JSONField(
        default=dict,
        help_text="{peer: [lines, head, unix seconds since when]}: peers' ledgers as it saw them",
    )
    longest = models.BigIntegerField(help_text="lines of the longest ledger it ever showed here")
    longest_head = models.CharField(max_length=64)
    set_back = models.BooleanField(
        default=False, help_text="it showed less since, or another of that length, and not yet that one again"
    )
