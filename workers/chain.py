"""May this manifest follow what this party knows of its chain? Decided by each party for itself.

A provider that edits its table signs a new version: the same patients, so the same budget. A party takes a
version only if it continues the newest one it took itself, whatever the portal says:

    chain_unknown    the first version of a chain comes first; to a new party, the one that the others hand it
    chain_key        the provider key that signed the chain's first version signs every later one
    superseded       an older version never comes back
    conflict         another manifest with this number was asked about already
    chain_version    the number is the next one: none is skipped
    chain_previous   the manifest names the hash of the one it follows
    chain_budget     the chain's totals of epsilon and delta never grow

A version that nobody asked about yet may be replaced by another of the same number: the parties may have
rejected it. From its receipt on a party answers on the newest version alone, so the shares of older ones go.
Public: all of it.
"""

from __future__ import annotations

from contextlib import suppress

from analytics.privacy.accountant import delta_text
from mpcnode.errors import StoreError
from mpcnode.store import Store
from workers.errors import BundleRejected
from workers.ledger import Ledger, Version
from workers.manifest import Manifest


def stored(dataset: str, store: Store) -> Manifest:
    """The manifest of a dataset that is stored here."""
    meta = store.meta(dataset)
    return Manifest.parse(meta["manifest"], meta["signature"])


def newest(chain: str, store: Store, ledger: Ledger) -> Version | None:
    """The newest version of a chain that this party took; None if it took none.

    A table that was stored before parties kept versions is the first of its chain, and is written down now.
    """
    if ledger.newest(chain) is None and store.has(chain):
        first = stored(chain, store)
        ledger.follow(_version(first, used=ledger.balance(chain) is not None), after=None)
    return ledger.newest(chain)


def check(manifest: Manifest, known: Version | None, *, handed: bool = False) -> None:
    """Return if `manifest` may follow `known`, the newest version of its chain here, or replace it.

    handed  this party is new and gets its share from the others, who have erased every older version
    Raises  BundleRejected with the code of the first rule that is broken.
    """
    if known is None:
        first = manifest.version == 1 or handed
        _must(first, "chain_unknown", "the chain's first version is not known here")
        return
    _must(
        manifest.provider_key == known.provider_key,
        "chain_key",
        "another key signed the chain's first version",
    )
    _must(manifest.version >= known.version, "superseded",
          f"version {known.version} of this chain is known here: an older one never comes back")  # fmt: skip
    if manifest.version == known.version:
        _must(not known.used, "conflict", "another manifest of this version was asked about already")
        _must(manifest.previous == known.previous, "chain_previous", "the manifest follows another one")
    else:
        _must(manifest.version == known.version + 1, "chain_version",
              f"version {manifest.version} does not follow version {known.version}")  # fmt: skip
        _must(manifest.previous == known.manifest_hash, "chain_previous", "the manifest follows another one")
    _must(manifest.cap <= known.cap, "chain_budget",
          f"the chain's total is {known.cap} micro-epsilon: a new version brings no more")  # fmt: skip
    _must(manifest.delta_cap <= known.delta_cap, "chain_budget",
          f"the chain's delta is {delta_text(known.delta_cap)}: a new version brings no more")  # fmt: skip


def follow(manifest: Manifest, store: Store, ledger: Ledger, *, handed: bool = False) -> None:
    """Make a stored version the newest of its chain, and erase the shares of the others. Repeatable.

    Raises  BundleRejected as `check`, or conflict if another version arrived in this moment.
    """
    known = newest(manifest.chain, store, ledger)
    if known is None or known.manifest_hash != manifest.hash:
        check(manifest, known, handed=handed)
        if not ledger.follow(_version(manifest), after=known):
            raise BundleRejected("conflict", "another version of this chain arrived at the same time")
    for dataset in store.list() if manifest.version > 1 else []:
        with suppress(StoreError, BundleRejected):  # a damaged dataset of somebody else stops no version
            if dataset != manifest.dataset and stored(dataset, store).chain == manifest.chain:
                store.destroy(dataset)


def _version(manifest: Manifest, *, used: bool = False) -> Version:
    return Version(
        chain=manifest.chain,
        version=manifest.version,
        dataset=manifest.dataset,
        manifest_hash=manifest.hash,
        previous=manifest.previous,
        provider_key=manifest.provider_key,
        cap=manifest.cap,
        delta_cap=manifest.delta_cap,
        used=used,
    )


def _must(holds: bool, code: str, message: str) -> None:
    if not holds:
        raise BundleRejected(code, message)
