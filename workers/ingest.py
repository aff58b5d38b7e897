"""From "there is a dataset for you" to a signed receipt, or a signed complaint and nothing kept.

Repeating it is harmless: a dataset that is stored already gets its receipt again. A manifest that its provider
signed anew for the same dataset replaces the old one only while nobody asked about it; a new version follows the
newest one of its chain (`workers.chain`).
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from analytics.query.model import digest
from mpcnode.errors import StoreError
from mpcnode.store import Store
from workers import bundle, chain, provision, report, takeover
from workers.config import Config
from workers.errors import BundleRejected
from workers.keys import Keys
from workers.ledger import Ledger
from workers.portal_client import Portal

log = logging.getLogger(__name__)

UNKNOWN = "0" * 64


def ingest(
    dataset_id: str, *, config: Config, keys: Keys, store: Store, ledger: Ledger, portal: Portal
) -> str:
    """Fetch, check and store this party's part of a dataset; report a receipt or a complaint.

    Returns  "stored", "known" or the complaint's code.
    Raises   PortalUnreachable; nothing is stored then, and the portal tells the party again.
    """
    served = portal.dataset(dataset_id)
    manifest_hash = _hash(served.get("manifest"))
    try:
        outcome = _take(served, dataset_id, manifest_hash, config, keys, store, ledger, portal)
    except BundleRejected as wrong:
        log.warning("party %d: dataset %s rejected, %s: %s", config.party, dataset_id, wrong.code, wrong)
        outcome, complaint = wrong.code, wrong.code
    except StoreError as wrong:
        log.error("party %d: dataset %s not stored: %s", config.party, dataset_id, wrong)
        outcome, complaint = wrong.code, wrong.code
    else:
        portal.report(report.receipt(config.party, dataset_id, manifest_hash))
        log.info("party %d: dataset %s %s", config.party, dataset_id, outcome)
        return outcome
    portal.report(report.complaint(config.party, dataset_id, manifest_hash, complaint))
    return outcome


def _take(
    served: dict[str, Any],
    dataset_id: str,
    manifest_hash: str,
    config: Config,
    keys: Keys,
    store: Store,
    ledger: Ledger,
    portal: Portal,
) -> str:
    stored = chain.stored(dataset_id, store) if store.has(dataset_id) else None
    if stored is not None and stored.hash == manifest_hash:
        handed = provision.newcomer(stored, served.get("party_sets"))[0] == config.party
        with _alone(config):
            there = store.has(dataset_id)  # still: another version may have replaced it
            if there:
                chain.follow(stored, store, ledger, handed=handed)
        if there:
            if handed:
                takeover.take_over(dataset_id, config=config, store=store, ledger=ledger, portal=portal)
            return "known"
    checked = bundle.check_served(served, dataset_id, config)
    manifest = checked.manifest
    if stored is not None and (stored.chain, stored.version) != (manifest.chain, manifest.version):
        raise BundleRejected("conflict", "another chain's dataset, or another version, has this id")
    last, epoch = provision.newcomer(manifest, served.get("party_sets"))
    handed = last == config.party
    chain.check(manifest, chain.newest(manifest.chain, store, ledger), handed=handed)
    if (keys.seal_hex, keys.sign_hex) != (config.me.seal, config.me.sign):
        raise BundleRejected("party_set", "party.json names other keys for this party than it has")
    if handed:
        opened = provision.receive(
            checked, served.get("party_sets"), _provided(served, checked, epoch, portal), config, keys
        )
    else:
        chunks = (portal.chunk(dataset_id, number) for number in range(checked.chunks))
        opened = bundle.open_bundle(checked, chunks, config, keys)
    with _alone(config):
        # Again: another version may have arrived while the bundle was opened.
        chain.check(manifest, chain.newest(manifest.chain, store, ledger), handed=handed)
        store.destroy(dataset_id)  # under another manifest, which `check` lets go
        store.put(dataset_id, opened.meta(), checked.layout, opened.components)
        try:
            chain.follow(manifest, store, ledger, handed=handed)
        except BundleRejected:
            store.destroy(dataset_id)
            raise
    if (
        handed
    ):  # what the party that this one replaces had spent is spent, before a receipt says that it is here
        takeover.take_over(dataset_id, config=config, store=store, ledger=ledger, portal=portal)
    return "stored"


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    """One dataset at a time is stored and followed: who erases older versions must not meet one half in.

    The kernel drops the lock of a killed process.
    """
    descriptor = os.open(config.folder / "ingest.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _provided(
    served: dict[str, Any], checked: bundle.Served, epoch: int, portal: Portal
) -> dict[int, Iterator[bytes]]:
    """The sealed chunks of each of the three others, as many as the portal says and an honest sender needs."""

    def chunks(sender: int, count: int) -> Iterator[bytes]:
        for number in range(count):
            yield portal.provided(checked.manifest.dataset, epoch, sender, number)

    said = served.get("provided")
    most = provision.longest(checked)
    return {
        int(sender): chunks(int(sender), count)
        for sender, count in (said if isinstance(said, dict) else {}).items()
        if sender in ("0", "1", "2", "3") and type(count) is int and 0 < count <= most
    }


def _hash(manifest: Any) -> str:
    try:
        return digest(manifest) if isinstance(manifest, dict) else UNKNOWN
    except (TypeError, ValueError, RecursionError):
        return UNKNOWN
