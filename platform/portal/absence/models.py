"""Lost parties, providers' consents to orders among three, and what replaces a party. Signed objects are kept as signed."""

from django.db import models
from django.db.models import Q

from portal.registry.models import PARTIES


class LostParty(models.Model):
    """Operators' word that a party is gone. It counts once confirmed, until somebody revokes it."""

    party = models.PositiveSmallIntegerField()
    reason = models.TextField()
    declared_by = models.CharField(max_length=150)
    declared_at = models.DateTimeField(auto_now_add=True)
    confirmed_by = models.CharField(max_length=150, blank=True, default="")
    confirmed_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=150, blank=True, default="")
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_because = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-declared_at", "-pk"]
        verbose_name_plural = "lost parties"
        constraints = [
            models.CheckConstraint(name="lost_party_exists", condition=Q(party__lt=PARTIES)),
            models.UniqueConstraint(
                name="lost_party_once", fields=["party"], condition=Q(revoked_at__isnull=True)
            ),
            models.CheckConstraint(
                name="lost_confirmed_has_who_and_when",
                condition=Q(confirmed_at__isnull=True, confirmed_by="")
                | (Q(confirmed_at__isnull=False) & ~Q(confirmed_by="")),
            ),
            models.CheckConstraint(
                name="lost_revoked_has_who_and_when",
                condition=Q(revoked_at__isnull=True, revoked_by="")
                | (Q(revoked_at__isnull=False) & ~Q(revoked_by="")),
            ),
        ]

    def __str__(self) -> str:
        return f"party {self.party}"


class Consent(models.Model):
    """A provider's signed yes to one order among three, for one of its datasets."""

    query = models.ForeignKey("queries.Query", on_delete=models.PROTECT, related_name="consents")
    dataset = models.ForeignKey("registry.Dataset", on_delete=models.PROTECT, related_name="consents")
    body = models.TextField(help_text="canonical JSON, as signed by the provider")
    signature = models.CharField(max_length=128)
    expires = models.BigIntegerField(help_text="unix seconds")
    by = models.CharField(max_length=150)
    time = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["dataset_id"]
        constraints = [models.UniqueConstraint(name="consent_once", fields=["query", "dataset"])]


class TakenOver(models.Model):
    """A party's last signed word on which debits of a dataset it holds."""

    party = models.PositiveSmallIntegerField()
    dataset = models.ForeignKey("registry.Dataset", on_delete=models.PROTECT, related_name="taken_over")
    body = models.TextField(help_text="canonical JSON, as signed by the party")
    signature = models.CharField(max_length=128)
    said_at = models.BigIntegerField(help_text="the party's clock, unix seconds")

    class Meta:
        ordering = ["party"]
        constraints = [models.UniqueConstraint(name="taken_over_once", fields=["party", "dataset"])]


class PartySet(models.Model):
    """A provider's signed word on who holds its dataset from now on; `party` is the one that is new."""

    dataset = models.ForeignKey("registry.Dataset", on_delete=models.PROTECT, related_name="party_sets")
    epoch = models.PositiveIntegerField()
    party = models.PositiveSmallIntegerField()
    body = models.TextField(help_text="canonical JSON, as signed by the provider")
    signature = models.CharField(max_length=128)
    by = models.CharField(max_length=150)
    created = models.DateTimeField(auto_now_add=True)
    told_at = models.DateTimeField(null=True, blank=True, help_text="when parties were last told")
    told_of = models.PositiveSmallIntegerField(default=0, help_text="how many had provided then")
    ready_at = models.DateTimeField(null=True, blank=True, help_text="when the new party's receipt came")

    class Meta:
        ordering = ["epoch"]
        constraints = [models.UniqueConstraint(name="party_set_once", fields=["dataset", "epoch"])]

    def __str__(self) -> str:
        return f"set {self.epoch} of {self.dataset_id}"


class ProvisionChunk(models.Model):
    """One sealed chunk from one of the three others for the new party; the bytes lie in a file."""

    party_set = models.ForeignKey(PartySet, on_delete=models.CASCADE, related_name="provisions")
    sender = models.PositiveSmallIntegerField()
    number = models.PositiveIntegerField()
    of = models.PositiveIntegerField()
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="provision_chunk_once", fields=["party_set", "sender", "number"]),
            models.CheckConstraint(name="provision_chunk_within", condition=Q(number__lt=models.F("of"))),
        ]
