"""A party is replaced: the provider signs the new set, three parties provide, the new one checks and signs a receipt.

The portal forwards: party sets to every party, sealed chunks from the three to the new one. It opens none of them.
"""

import hashlib
import json
import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from analytics.query.consent import ConsentRejected, PartySet, current_set
from analytics.query.model import canonical
from portal.absence.models import PartySet as PartySetRow
from portal.absence.models import ProvisionChunk
from portal.accounts.models import User
from portal.audit.actions import record
from portal.dispatch import Sender
from portal.registry import bundles, parties
from portal.registry.actions import DatasetConflict
from portal.registry.models import PARTIES, Dataset, DatasetState, Receipt

OTHERS = PARTIES - 1


def signed_sets(dataset: Dataset) -> list[dict[str, Any]]:
    """The party sets of a dataset in order, as its provider signed them."""
    return [{"set": json.loads(row.body), "signature": row.signature} for row in dataset.party_sets.all()]


def held_here(dataset: Dataset) -> bool:
    """Whether the parties that are pinned now hold the dataset, each of them all of its share."""
    current, _ = current_set(json.loads(dataset.manifest), signed_sets(dataset))
    return current == parties.party_set() and outstanding(dataset) is None


def outstanding(dataset: Dataset) -> PartySetRow | None:
    """The last party set, while its new party has not signed a receipt."""
    last = dataset.party_sets.last()
    return last if last is not None and last.ready_at is None else None


def hand_on(*, dataset: Dataset, by: User, body: Any, signature: str) -> tuple[PartySetRow, bool]:
    """Keep a party set that the dataset's provider signed, and whether it is new.

    Raises  ConsentRejected if it does not follow from the sets before or names other parties than are pinned;
            DatasetConflict unless the dataset is READY.
    """
    with transaction.atomic():
        dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
        before = signed_sets(dataset)
        last = dataset.party_sets.last()
        if last is not None and before[-1]["set"] == body:
            return last, False
        if dataset.state != DatasetState.READY:
            raise DatasetConflict(f"the dataset is {dataset.state}: only a READY one changes hands")
        current, newcomer = current_set(
            json.loads(dataset.manifest), [*before, {"set": body, "signature": signature}]
        )
        if current != parties.party_set():
            raise ConsentRejected("these are not the parties of this portal (GET /api/parties/ lists them)")
        assert newcomer is not None, "a set that holds brings somebody in"
        stated = PartySet.parse(body)
        row = PartySetRow.objects.create(
            dataset=dataset,
            epoch=stated.epoch,
            party=newcomer,
            body=canonical(body).decode(),
            signature=signature,
            by=by.username,
        )
        _note("party set signed", row, by.username)
    return row, True


def store(row: PartySetRow, *, sender: int, number: int, of: int, content: bytes) -> bool:
    """Keep one sealed chunk for the new party; True if it is new. A sender that seals again replaces its chunk.

    Raises  bundles.ChunkRefused.
    """
    if row.ready_at is not None or sender == row.party:
        raise bundles.ChunkRefused("nothing is provided here", "not_provisioning")
    if not (0 <= number < of <= 2 * bundles.MOST_CHUNKS) or not content:
        raise bundles.ChunkRefused("chunk numbers run from 0 to chunks - 1, and a chunk is not empty")
    if row.provisions.filter(sender=sender).exclude(of=of).exists():
        raise bundles.ChunkRefused("another chunk says another number of chunks", "chunk_differs")
    sha256 = hashlib.sha256(content).hexdigest()
    bundles.write(_path(row, sender, number, sha256), content)
    fields = {"of": of, "size": len(content), "sha256": sha256}
    try:
        _, new = ProvisionChunk.objects.update_or_create(
            party_set=row, sender=sender, number=number, defaults=fields
        )
    except IntegrityError:  # the same sender at the same time: one of the two is kept
        new = False
    return new


def read(chunk: ProvisionChunk) -> bytes:
    """The sealed bytes of a chunk."""
    return _path(chunk.party_set, chunk.sender, chunk.number, chunk.sha256).read_bytes()


def provided(row: PartySetRow) -> dict[int, int]:
    """{sender: chunks} of the senders that have provided everything."""
    found = Counter(row.provisions.values_list("sender", "of"))
    return {sender: of for (sender, of), present in found.items() if present == of}


def tell(sender: Sender) -> None:
    """Tell those who have still to provide, or the new party once all have; again every so often.

    Raises  BrokerDown.
    """
    before = timezone.now() - timedelta(seconds=settings.FOURFOLD_TELL_AGAIN)
    for row in PartySetRow.objects.filter(ready_at__isnull=True).select_related("dataset"):
        complete = provided(row)
        step = len(complete)
        if row.told_at is not None and row.told_at > before and row.told_of == step:
            continue
        if step == OTHERS:
            sender.ingest(row.dataset_id, row.party)
        else:
            for party in (p for p in range(PARTIES) if p != row.party and p not in complete):
                sender.provision(row.dataset_id, party)
        PartySetRow.objects.filter(pk=row.pk).update(told_at=timezone.now(), told_of=step)


def receive(row: PartySetRow, *, report: dict[str, Any], signature: str, code: str) -> bool:
    """The new party's receipt: the dataset can be asked again. A complaint is written down, and it is told again."""
    if report["manifest_hash"] != row.dataset.manifest_hash:
        raise DatasetConflict("the report is on another manifest of this dataset", "manifest_differs")
    with transaction.atomic():
        if code:
            _note("complaint", row, f"party {row.party}", code=code)
            return True
        if not PartySetRow.objects.filter(pk=row.pk, ready_at__isnull=True).update(ready_at=timezone.now()):
            return False
        Receipt.objects.update_or_create(
            dataset=row.dataset,
            manifest_hash=row.dataset.manifest_hash,
            party=row.party,
            defaults={
                "report": canonical(report).decode(),
                "signature": signature,
                "time": report["time"],
                "code": "",
            },
        )
        row.provisions.all().delete()
        _note("party replaced", row, f"party {row.party}")
    shutil.rmtree(_folder(row), ignore_errors=True)  # sealed copies are of no further use
    return True


def _folder(row: PartySetRow) -> Path:
    return Path(settings.FOURFOLD_BUNDLES) / row.dataset_id / f"set-{row.epoch}"


def _path(row: PartySetRow, sender: int, number: int, sha256: str) -> Path:
    return _folder(row) / str(sender) / f"{number}-{sha256[:16]}"


def _note(kind: str, row: PartySetRow, by: str, **detail: Any) -> None:
    record(
        kind,
        by=by,
        subject=f"dataset {row.dataset_id}",
        detail={"party": row.party, "epoch": row.epoch, **detail},
    )
