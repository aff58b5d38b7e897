"""The first yes of two. The second is the approval itself, in the query's own row and its order."""

from django.db import models
from django.utils import timezone


class FirstApproval(models.Model):
    """Who said yes first, when, why, and to which parties; one of a query, so that of two racing ones one is first."""

    query = models.OneToOneField(
        "queries.Query", on_delete=models.PROTECT, primary_key=True, related_name="first_approval"
    )
    by = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="first_approvals")
    reason = models.TextField(blank=True, default="")
    missing = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="the party that the order does without"
    )
    time = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"first approval of {self.query_id}"
