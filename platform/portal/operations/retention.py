"""Sealed bundles are deleted once they have served: four receipts are in and FOURFOLD_BUNDLE_DAYS have passed.

Nothing needs them then: every party has its part in its own store, and a lost party's part is made again from the
other three, not from bundles. What stays: manifest, codebook, receipts, audit trail. Whoever records ciphertexts
to open them in years finds fewer.
"""

import logging
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from portal.audit.actions import record
from portal.registry import bundles
from portal.registry.models import PARTIES, Dataset, DatasetState

log = logging.getLogger("portal.operations")
EVERY = 3600.0  # seconds between two looks of the dispatcher


def due(now: datetime | None = None, days: int | None = None) -> list[Dataset]:
    """The datasets whose bundles are still here and no longer needed."""
    days = settings.FOURFOLD_BUNDLE_DAYS if days is None else days
    before = (now or timezone.now()) - timedelta(days=days)
    there = Dataset.objects.filter(
        state__in=[DatasetState.READY, DatasetState.WITHDRAWN], chunks__isnull=False
    ).distinct()
    return [dataset for dataset in there.order_by("created", "pk") if _served(dataset, before)]


def delete(dataset: Dataset, *, by: str) -> int:
    """Delete the bundles of one dataset and write it into the audit trail; returns the bytes that they had.

    Raises  OSError if files are still there afterwards; nothing is written then, and it is due again.
    """
    bundles.forget(dataset.pk, dataset.manifest_hash)
    folder = Path(settings.FOURFOLD_BUNDLES) / dataset.pk / dataset.manifest_hash
    if folder.exists():
        raise OSError(f"{folder} could not be removed")
    with transaction.atomic():
        size = dataset.chunks.aggregate(size=Sum("size"))["size"] or 0
        chunks, _ = dataset.chunks.all().delete()
        record(
            "bundles deleted",
            by=by,
            subject=f"dataset {dataset.pk}",
            detail={"manifest_hash": dataset.manifest_hash, "chunks": chunks, "bytes": size},
        )
    return int(size)


def tidy() -> None:
    """Delete what is due; what goes wrong is logged and due again. For the dispatcher."""
    for dataset in due():
        try:
            delete(dataset, by="retention")
        except OSError as wrong:
            log.error("bundles of dataset %s are kept: %s", dataset.pk, wrong)


def _served(dataset: Dataset, before: datetime) -> bool:
    receipts = dataset.receipts.filter(manifest_hash=dataset.manifest_hash, code="")
    return receipts.count() == PARTIES and not receipts.filter(created__gt=before).exists()
