"""What happens to a dataset: announced, uploaded, checked by four parties, ready or rejected."""

import json
import time
from dataclasses import replace
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from analytics.privacy.filters import Allowance
from analytics.query.model import canonical, digest
from analytics.query.schema import canonical_codebook, parse_codebook
from portal.accounts.models import User
from portal.audit.actions import record
from portal.budgets.models import Account
from portal.dispatch import wake
from portal.keys import portal_public
from portal.notices import telling
from portal.notices.models import Kind
from portal.operations import health
from portal.registry import bundles, manifests, parties, versions
from portal.registry.facts import allowance
from portal.registry.models import PARTIES, Dataset, DatasetState, PartyState, Receipt
from portal.webhooks import actions as webhooks
from portal.webhooks.models import Event

MOST_RESTARTS = 3
UPLOADED = "dataset uploaded"  # in the audit trail


class DatasetConflict(Exception):
    """The dataset's state or owner does not allow this."""

    code = "dataset_conflict"

    def __init__(self, message: str, code: str = "dataset_conflict") -> None:
        super().__init__(message)
        self.code = code


def announce(*, by: User, manifest: Any, signature: str, codebook: Any) -> tuple[Dataset, bool]:
    """The dataset of a signed manifest and whether it is new; the same manifest again changes nothing.

    A freshly signed manifest of the same dataset starts an unfinished upload again, and one that the parties
    rejected up to three times. A later version follows the newest ready one and shares its account.
    Raises  CodebookRejected, ManifestRefused, VersionRefused, DatasetConflict.
    """
    schema = parse_codebook(codebook)
    manifests.check(
        manifest, signature, schema, party_set=parties.party_set(), portal=portal_public()["sign"]
    )
    if by.organisation is None:
        raise DatasetConflict("the account belongs to no organisation")
    fields: dict[str, Any] = {
        "title": manifest["title"],
        "capacity": manifest["capacity"],
        "version": manifest["version"],
        "chain": manifest.get("chain", manifest["dataset"]),
        "provider_key": manifest["provider_key"],
        "codebook": canonical(canonical_codebook(codebook)).decode(),
        "codebook_hash": schema.hash,
        "manifest": canonical(manifest).decode(),
        "manifest_hash": digest(manifest),
        "signature": signature,
    }
    with transaction.atomic():
        others = Dataset.objects.filter(provider_key=manifest["provider_key"])
        if others.exclude(provider=by.organisation).exists():
            raise DatasetConflict("this provider key belongs to another organisation", "key_taken")
        existing = Dataset.objects.select_for_update().filter(pk=manifest["dataset"]).first()
        if existing is not None:
            return existing, _again(existing, fields, by)
        before = versions.predecessor(manifest, by.organisation)
        _replace_unfinished(fields, by)
        try:
            with transaction.atomic():
                dataset = Dataset.objects.create(
                    pk=manifest["dataset"],
                    provider=by.organisation,
                    uploaded_by=by.username,
                    **fields,
                )
        except IntegrityError:
            raise DatasetConflict("the dataset was announced by somebody else at the same time") from None
        if before is None:
            Account.objects.create(dataset=dataset, **_totals(allowance(dataset)))
        more = versions.changes(before, dataset) if before else {}
        _note("dataset announced", dataset, by.username, **more)
    return dataset, True


def finish_upload(*, dataset: Dataset, by: User) -> None:
    """All bundles are here: the parties are told to open them. Again: nothing happens.

    Raises  DatasetConflict if chunks are missing or the dataset was rejected.
    """
    if dataset.state in (DatasetState.CHECKING, DatasetState.READY):
        return
    if dataset.state != DatasetState.UPLOADING:
        raise DatasetConflict(f"the dataset is {dataset.state}")
    missing = [
        f"party {n}: {present} of {of or '?'} chunks"
        for n, (present, of) in enumerate(bundles.counts(dataset))
        if not of or present != of
    ]
    if missing:
        raise DatasetConflict("chunks are missing: " + "; ".join(missing), "incomplete")
    with transaction.atomic():
        if Dataset.objects.filter(pk=dataset.pk, state=DatasetState.UPLOADING).update(
            state=DatasetState.CHECKING
        ):
            _note(UPLOADED, dataset, by.username)
            transaction.on_commit(wake)
    dataset.refresh_from_db()


def receive(*, dataset: Dataset, party: int, report: dict[str, Any], signature: str, code: str = "") -> bool:
    """A verified receipt, or a complaint if `code` says why; True if it is news.

    Four receipts make the dataset READY; one complaint rejects it and both sides are named in the audit.
    """
    with transaction.atomic():
        dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
        if report["manifest_hash"] != dataset.manifest_hash:
            raise DatasetConflict("the report is on another manifest of this dataset", "manifest_differs")
        if dataset.state == DatasetState.UPLOADING:
            raise DatasetConflict("the upload is not complete", "incomplete")
        _, new = Receipt.objects.get_or_create(
            dataset=dataset,
            manifest_hash=dataset.manifest_hash,
            party=party,
            defaults={
                "report": canonical(report).decode(),
                "signature": signature,
                "time": report["time"],
                "code": code,
            },
        )
        if not new:
            return False
        _note("complaint" if code else "receipt", dataset, f"party {party}", code=code)
        current = list(dataset.receipts.filter(manifest_hash=dataset.manifest_hash))
        if dataset.state == DatasetState.CHECKING:
            if any(r.code for r in current):
                Dataset.objects.filter(pk=dataset.pk).update(state=DatasetState.REJECTED)
                _note("dataset rejected", dataset, f"party {party}", code=code)
                telling.dataset_moved(dataset, Kind.DATASET_REJECTED)
            elif len(current) == PARTIES:
                _supersede(dataset)
                Dataset.objects.filter(pk=dataset.pk).update(
                    state=DatasetState.READY, ready_at=timezone.now()
                )
                _note("dataset ready", dataset, "parties")
                telling.dataset_moved(dataset, Kind.DATASET_READY)
                webhooks.announce_dataset(
                    Event.DATASET_READY,
                    dataset=dataset.pk,
                    organisation=dataset.provider_id,
                    state=DatasetState.READY,
                )
    return True


def _supersede(dataset: Dataset) -> None:
    """The version before this one answers no more; its mode and its account go on.

    Lower totals count from here; what was spent or is reserved stays, so the account never falls below that.
    """
    if dataset.version == 1:
        return
    before = Dataset.objects.select_for_update().get(chain=dataset.chain, state=DatasetState.READY)
    Dataset.objects.filter(pk=before.pk).update(state=DatasetState.SUPERSEDED)
    Dataset.objects.filter(pk=dataset.pk).update(mode=before.mode)
    account = Account.objects.select_for_update().get(pk=dataset.chain)
    allowed, held = allowance(dataset), account.held
    if not allowed.covers(held):
        allowed = replace(
            allowed,
            micro_epsilon=held.micro_epsilon,  # nothing is left
            atto_delta=max(allowed.atto_delta, 2 * held.atto_delta),
        )
    Account.objects.filter(pk=account.pk).update(**_totals(allowed))
    _note("dataset superseded", before, "parties", superseded_by=dataset.pk)


def _totals(allowed: Allowance) -> dict[str, int]:
    """The columns of an account for what a policy allows."""
    return {
        "total": allowed.micro_epsilon,
        "delta_total": allowed.atto_delta,
        "squares_total": allowed.squares,
    }


def heartbeat(*, party: int, report: dict[str, Any]) -> None:
    """Remember what a party says of itself; an older word never replaces a newer one."""
    fields = {
        "last_seen": timezone.now(),
        "said_at": report["time"],
        "code_version": report["code_version"],
        "ledger_length": report["ledger"]["length"],
        "ledger_head": report["ledger"]["head"],
        "busy": report["busy"],
    }
    if abs(report["time"] - time.time()) > 24 * 3600:
        # A replayed heartbeat must not make a dead party look alive; an hour's skew is tolerated.
        return
    state, new = PartyState.objects.get_or_create(party=party, defaults=fields)
    if not new and report["time"] >= state.said_at:
        new = bool(PartyState.objects.filter(party=party, said_at__lte=report["time"]).update(**fields))
    if new:
        health.hear(party, report)


def _replace_unfinished(fields: dict[str, Any], by: User) -> None:
    """An upload of the same version that never came to its end makes way; one that parties look at does not.

    Raises  DatasetConflict.
    """
    others = Dataset.objects.select_for_update().filter(chain=fields["chain"], version=fields["version"])
    for other in others.exclude(state=DatasetState.REJECTED):
        if other.state != DatasetState.UPLOADING:
            raise DatasetConflict(
                f"version {other.version} of this chain is there already: dataset {other.pk} is {other.state}",
                "version_taken",
            )
        Dataset.objects.filter(pk=other.pk).update(state=DatasetState.REJECTED)
        other.chunks.all().delete()
        bundles.forget(other.pk, other.manifest_hash)
        _note("dataset rejected", other, by.username, code="replaced by another upload of this version")


def _again(existing: Dataset, fields: dict[str, Any], by: User) -> bool:
    """An announcement of a dataset that exists: whether the upload starts again."""
    if existing.manifest_hash == fields["manifest_hash"]:
        return False
    was, now = json.loads(existing.manifest), json.loads(fields["manifest"])
    if {k for k in now.keys() | was.keys() if now.get(k) != was.get(k)} - {"created", "title"}:
        raise DatasetConflict("another manifest of this dataset is registered", "manifest_differs")
    if existing.state in (DatasetState.CHECKING, DatasetState.READY):
        return False
    if existing.state == DatasetState.REJECTED and existing.restarts >= MOST_RESTARTS:
        raise DatasetConflict(f"the parties rejected this dataset {MOST_RESTARTS + 1} times", "rejected")
    if existing.state == DatasetState.WITHDRAWN:
        raise DatasetConflict("the dataset was withdrawn", "withdrawn")
    if existing.state == DatasetState.SUPERSEDED:
        return False
    versions.predecessor(now, existing.provider)
    if existing.state == DatasetState.REJECTED:
        _replace_unfinished(fields, by)
    bundles.forget(existing.pk, existing.manifest_hash)
    existing.chunks.all().delete()
    restarts = existing.restarts + (existing.state == DatasetState.REJECTED)
    Dataset.objects.filter(pk=existing.pk).update(
        state=DatasetState.UPLOADING, restarts=restarts, told_at=None, **fields
    )
    existing.refresh_from_db()
    _note("dataset announced again", existing, by.username)
    return True


def _note(kind: str, dataset: Dataset, by: str, **detail: Any) -> None:
    record(
        kind,
        by=by,
        subject=f"dataset {dataset.pk}",
        detail={"manifest_hash": dataset.manifest_hash, "version": dataset.version, **detail},
    )
