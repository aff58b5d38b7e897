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
