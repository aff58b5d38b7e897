"""A dataset as the portal knows it: what is public, and bundles it cannot open.

UPLOADING -> CHECKING -> READY | REJECTED; READY -> SUPERSEDED | WITHDRAWN; an UPLOADING that another upload of
the same version replaces is REJECTED. All versions of a table are one chain, named by the id of the first. The
number of patients is not here: the capacity is public, n is nobody's but the provider's.
"""

from django.db import models
from django.db.models import Q

PARTIES = 4


class DatasetState(models.TextChoices):
    UPLOADING = "UPLOADING"
    CHECKING = "CHECKING"
    READY = "READY"
    REJECTED = "REJECTED"
    SUPERSEDED = "SUPERSEDED"
    WITHDRAWN = "WITHDRAWN"


class Dataset(models.Model):
    id = models.CharField(primary_key=True, max_length=32, editable=False)
    title = models.CharField(max_length=200)
    provider = models.ForeignKey("accounts.Organisation", on_delete=models.PROTECT, related_name="datasets")
    uploaded_by = models.CharField(max_length=150)
    state = models.CharField(
        max_length=10, choices=DatasetState.choices, default=DatasetState.UPLOADING, db_index=True
    )
    chain = models.CharField(
        max_length=32, db_index=True, editable=False, help_text="id of the chain's first version"
    )
    version = models.PositiveIntegerField(default=1)
    capacity = models.PositiveIntegerField()
    provider_key = models.CharField(max_length=64, db_index=True)
    codebook = models.TextField(help_text="canonical JSON")
    codebook_hash = models.CharField(max_length=64)
    manifest = models.TextField(help_text="canonical JSON, as signed by the provider")
    manifest_hash = models.CharField(max_length=64, unique=True)
    signature = models.CharField(max_length=128)
    mode = models.CharField(
        max_length=5, blank=True, default="", help_text="fixed by the first order that runs: dp or exact"
    )
    restarts = models.PositiveSmallIntegerField(default=0, help_text="sealed again after a rejection")
    told_at = models.DateTimeField(null=True, blank=True, help_text="when the parties were last told")
    created = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created", "id"]
        constraints = [
            models.CheckConstraint(name="dataset_mode_is_known", condition=Q(mode__in=["", "dp", "exact"])),
            models.CheckConstraint(
                name="dataset_ready_has_when",
                condition=Q(state__in=["READY", "SUPERSEDED", "WITHDRAWN"]) | Q(ready_at__isnull=True),
            ),
            models.CheckConstraint(
                name="dataset_first_version_names_its_chain",
                condition=Q(version=1, chain=models.F("id")) | (Q(version__gt=1) & ~Q(chain=models.F("id"))),
            ),
            models.UniqueConstraint(
                name="dataset_version_once", fields=["chain", "version"], condition=~Q(state="REJECTED")
            ),
            models.UniqueConstraint(
                name="dataset_one_version_answers", fields=["chain"], condition=Q(state="READY")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.id[:8]})"

    @property
    def newest(self) -> "Dataset | None":
        """The version of this dataset's chain that answers; None while none does."""
        return Dataset.objects.filter(chain=self.chain, state=DatasetState.READY).first()

    @property
    def superseded_by(self) -> str | None:
        """The id to ask about instead."""
        newest = self.newest if self.state == DatasetState.SUPERSEDED else None
        return newest.pk if newest else None


class Chunk(models.Model):
    """One sealed chunk of one party's bundle; the bytes lie in a file (`bundles.py`)."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="chunks")
    party = models.PositiveSmallIntegerField()
    number = models.PositiveIntegerField()
    of = models.PositiveIntegerField()
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="chunk_once", fields=["dataset", "party", "number"]),
            models.CheckConstraint(name="chunk_within_bundle", condition=Q(number__lt=models.F("of"))),
            models.CheckConstraint(name="chunk_party_exists", condition=Q(party__lt=PARTIES)),
        ]


class Receipt(models.Model):
    """A party's signed word on its bundle: stored and equal to the other holders', or a complaint."""

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="receipts")
    party = models.PositiveSmallIntegerField()
    manifest_hash = models.CharField(max_length=64)
    code = models.CharField(max_length=40, blank=True, default="", help_text="empty: a receipt")
    report = models.TextField(help_text="canonical JSON, as signed by the party")
    signature = models.CharField(max_length=128)
    time = models.BigIntegerField(help_text="the party's clock, unix seconds")
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["party"]
        constraints = [
            models.UniqueConstraint(name="receipt_once", fields=["dataset", "manifest_hash", "party"])
        ]


class PartyState(models.Model):
    """What a party last said of itself in a signed heartbeat."""

    party = models.PositiveSmallIntegerField(primary_key=True)
    last_seen = models.DateTimeField()
    said_at = models.BigIntegerField(help_text="the party's clock, unix seconds")
    code_version = models.CharField(max_length=64)
    ledger_length = models.BigIntegerField()
    ledger_head = models.CharField(max_length=64)
    busy = models.BooleanField()
