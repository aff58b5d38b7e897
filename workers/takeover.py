"""The debits that the others spent while this party was not there, entered into its own ledger.

Each comes as the order that the portal signed and the words of parties that their debit of it was spent; it counts
when two others signed so, for one of any two is honest. All versions of a table have one account: which chain an
older version belongs to, its provider signed in the manifest that comes with the debit. Then this party signs which debits it holds, and the
others let it take part again. Public: all of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from analytics.query import approval
from analytics.query.order import Order, OrderDataset, OrderRejected
from mpcnode.store import Store
from workers import chain, report
from workers.config import Config
from workers.errors import BundleRejected
from workers.ledger import Charge, Ledger
from workers.manifest import Manifest
from workers.portal_client import Portal

log = logging.getLogger(__name__)

ENOUGH = 2  # others that signed


def take_over(dataset_id: str, *, config: Config, store: Store, ledger: Ledger, portal: Portal) -> int:
    """Enter what this party missed of a dataset, and sign what it holds; how many debits were new here.

    Raises  PortalUnreachable, LedgerError, StoreError.
    """
    new, account = 0, chain.stored(dataset_id, store).chain
    for owed in portal.owed(dataset_id):
        order = _order(owed, config)
        charges = _charges(order, owed, store, ledger) if order is not None else []
        if order is None or account not in {charge.account for charge in charges}:
            continue
        new += ledger.take_over(
            nonce=order.nonce,
            attempt=owed["attempt"],
            query=order.query,
            order_hash=order.hash,
            mode=order.mode,
            charges=charges,
        )
    portal.report(report.taken_over(config.party, dataset_id, ledger.spent_on(account)))
    log.info("party %d: dataset %s, %d debits taken over", config.party, dataset_id, new)
    return new


def _order(owed: Mapping[str, Any], config: Config) -> Order | None:
    """The order of a debit that counts: signed by the portal, and called spent by two others."""
    try:
        approval.verify(owed["order"], owed["order_signature"], config.portal_sign)
        order, attempt = Order.parse(owed["order"]), owed["attempt"]
        if type(attempt) is not int or not 1 <= attempt <= order.max_attempts:
            return None
        signers = {
            party for entry in owed["reports"] if (party := _spent(entry, order, attempt, config)) is not None
        }
    except (approval.BadSignature, OrderRejected, KeyError, TypeError):
        return None
    return order if len(signers) >= ENOUGH else None


def _spent(entry: Mapping[str, Any], order: Order, attempt: int, config: Config) -> int | None:
    """The other party that signed that the attempt's debit is spent; None if this entry says no such thing.

    Who took part says it with its last word on the attempt, who was away when it takes over.
    """
    said = entry["report"]
    party, kind = said["party"], said["type"]
    if type(party) is not int or party == config.party:
        return None
    if kind == "fourfold/1/taken-over":
        spent = [order.hash, attempt] in said["debits"]
    else:
        ready = kind == "fourfold/1/result" or (kind == "fourfold/1/abort" and said["ready"] is True)
        about = (said["order_hash"], said["attempt"]) == (order.hash, attempt)
        spent = ready and about and party in order.parties
    if not spent:
        return None
    try:
        approval.verify(said, entry["signature"], config.peers[party].sign)
    except (approval.BadSignature, IndexError):
        return None  # such as a word of a party that was replaced since
    return int(party)


def _charges(order: Order, owed: Mapping[str, Any], store: Store, ledger: Ledger) -> list[Charge]:
    """The charge of each dataset of the order whose chain is known here; the others' come when they are."""
    charges = []
    for dataset in order.datasets:
        manifest = _manifest(dataset, owed, store)
        newest = chain.newest(manifest.chain, store, ledger) if manifest is not None else None
        if manifest is None or newest is None or newest.provider_key != manifest.provider_key:
            continue
        charges.append(
            Charge.of(
                order.loss,
                dataset=dataset.id,
                chain=newest.chain,
                cap=newest.cap,
                delta_cap=newest.delta_cap,
            )
        )
    return charges


def _manifest(dataset: OrderDataset, owed: Mapping[str, Any], store: Store) -> Manifest | None:
    """The very manifest that an order names, as stored here or as the portal shows it; None without one."""
    shown = owed.get("manifests")
    found = [store.meta(dataset.id)] if store.has(dataset.id) else []
    for entry in [*found, *(shown if isinstance(shown, list) else [])]:
        with suppress(BundleRejected, KeyError, TypeError):
            manifest = Manifest.parse(entry["manifest"], entry["signature"])
            if manifest.hash == dataset.manifest_hash:
                return manifest
    return None
