"""The audit trail: who did what to which thing, when. Lines are added, never changed.

Events hold text and no foreign keys, so that they outlive accounts, queries and datasets.
"""

from django.db import models


class Event(models.Model):
    time = models.DateTimeField(auto_now_add=True, db_index=True)
    kind = models.CharField(max_length=40, db_index=True)
    by = models.CharField(max_length=150)
    subject = models.CharField(max_length=200, db_index=True)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}"


class Line(models.Model):
    """An event's place in the chain (`chain.py`); its event cannot go while the line is there."""

    number = models.PositiveBigIntegerField(primary_key=True)
    event = models.OneToOneField(Event, on_delete=models.PROTECT, related_name="line")
    digest = models.CharField(max_length=64, help_text="of the event")
    hash = models.CharField(max_length=64, help_text="of number, line before and digest")

    class Meta:
        ordering = ["number"]

    def __str__(self) -> str:
        return f"line {self.number}"


class Witnessed(models.Model):
    """A line that a party signed to have seen, in a heartbeat."""

    party = models.PositiveSmallIntegerField(db_index=True)
    number = models.PositiveBigIntegerField()
    hash = models.CharField(max_length=64)
    report = models.TextField(help_text="canonical JSON, as signed by the party")
    signature = models.CharField(max_length=128)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"party {self.party} saw line {self.number}"
