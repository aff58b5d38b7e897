"""A provider's word after the upload: yes to one order among three parties, and who holds its dataset from now on.

What the portal shows is believed only as far as a pinned key signed it; what is signed here names the order's
hash, or the whole set of party keys. Public: all of it. No row is read and none is sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.privacy.accountant import delta_text
from analytics.query.approval import BadSignature, public_hex, sign, verify
from analytics.query.consent import (
    PASSIVE,
    Consent,
    ConsentRejected,
    PartySet,
    current_set,
    replaced,
    set_digest,
)
from analytics.query.model import digest
from analytics.query.order import Approval, Order, OrderRejected
from providers.keys import Deployment, PartyKeys
from providers.report import UploadRefused
from providers.upload import Portal


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An order among three as the portal signed it, and which of its datasets are this provider's."""

    order: Order
    approval: Approval
    datasets: tuple[str, ...]
    key: Ed25519PrivateKey = field(repr=False)

    def lines(self) -> Iterator[str]:
        """What a person must know before saying yes."""
        order, missing = self.order, self.order.missing
        yield f"query {order.query}, asked by {order.analyst}, approved by {self.approval.by}"
        if self.approval.reason:
            yield f"  reason: {self.approval.reason}"
        for line in order.program.splitlines():
            yield f"  program: {line}"
        for dataset in order.datasets:
            yield f"  dataset {dataset.id}{' (yours)' if dataset.id in self.datasets else ''}"
        delta = f", delta {delta_text(order.atto_delta)}" if order.atto_delta else ""
        cost = f"epsilon {order.micro_epsilon / 10**6:g}{delta}, at most {order.max_attempts} times"
        yield f"  mode {order.mode}, {cost if order.mode == 'dp' else 'no noise'}, minimum cohort {order.minimum_cohort}"
        yield f"  valid until {time.strftime('%Y-%m-%d %H:%M', time.gmtime(order.expires))} UTC"
        yield f"THREE PARTIES INSTEAD OF FOUR ({PASSIVE}): party {missing} is missing."
        yield "  With four, a party that cheats is caught. With three, one party that cheats could read chosen rows"
        yield "  of this dataset, and nobody would notice. Replacing the lost party avoids this."

    def sign(self, expires: int | None = None) -> list[dict[str, Any]]:
        """The consents to post: {"consent", "signature"} of each dataset that is this provider's."""
        assert self.order.missing is not None, "an order among four needs no consent"
        signed = []
        for dataset in self.datasets:
            body = Consent(
                dataset=dataset,
                order_hash=self.order.hash,
                n=self.order.n,
                missing=self.order.missing,
                expires=min(self.order.expires, expires or self.order.expires),
            ).public()
            signed.append({"consent": body, "signature": sign(body, self.key)})
        return signed


def asked(portal: Portal, query: str, key: Ed25519PrivateKey, deployment: Deployment) -> Asked:
    """Fetch the order of a query and check that the pinned portal signed it.

    Raises  UploadRefused if it did not, if it is no order among three, or no dataset of it is this key's.
    """
    body = portal.json("GET", f"api/consents/{query}/")
    try:
        for name in ("order", "approval"):
            verify(body[name], body[f"{name}_signature"], deployment.portal_sign)
        order, approval = Order.parse(body["order"]), Approval.parse(body["approval"])
    except BadSignature:
        raise UploadRefused(
            "the order is not signed by the portal's pinned key: nothing was signed"
        ) from None
    except (OrderRejected, KeyError, TypeError) as wrong:
        raise UploadRefused(f"the portal shows no order: {wrong}") from None
    if order.query != query or approval.order_hash != order.hash or order.missing is None:
        raise UploadRefused(
            "the portal shows another order than the one asked for, or one among four parties"
        )
    own = tuple(d.id for d in order.datasets if _is_ours(portal, d.id, d.manifest_hash, key))
    if not own:
        raise UploadRefused("no dataset of this order was signed with this key: choose another with --key")
    return Asked(order=order, approval=approval, datasets=own, key=key)


def give(portal: Portal, query: str, consents: Sequence[Mapping[str, Any]]) -> None:
    """Post signed consents."""
    for consent in consents:
        portal.json("POST", f"api/consents/{query}/", json=consent)


@dataclass(frozen=True, kw_only=True)
class NewSet:
    """A party set that is ready to be signed, and the one party of it that is new."""

    stated: PartySet
    old: PartyKeys
    new: PartyKeys

    def lines(self) -> Iterator[str]:
        """What a person must compare before signing."""
        yield f"dataset {self.stated.dataset}: party {self.new.party} is replaced (set {self.stated.epoch})"
        yield f"  until now: fingerprint {self.old.fingerprint}"
        yield f"  from now:  fingerprint {self.new.fingerprint}"
        yield "  Compare the new fingerprint with what that party's operator reads to you. Who holds its keys, and"
        yield "  one more party, can read your table. The other three hand it its share; no row is sent again."

    def sign(self, key: Ed25519PrivateKey) -> dict[str, Any]:
        """{"set", "signature"} to post."""
        body = self.stated.public()
        return {"set": body, "signature": sign(body, key)}


def new_set(portal: Portal, dataset: str, key: Ed25519PrivateKey, deployment: Deployment) -> NewSet:
    """The set that hands a dataset on from who holds it to the parties of a deployment.

    Raises  UploadRefused if the dataset is not this key's, nothing changed, or more than one party did.
    """
    known = portal.dataset(dataset)
    manifest = known.get("manifest") if known else None
    if not isinstance(manifest, Mapping):
        raise UploadRefused(f"the portal shows no dataset {dataset} of yours")
    try:
        if manifest.get("provider_key") != public_hex(key):
            raise UploadRefused("the dataset was signed with another key: choose it with --key")
        verify(dict(manifest), str((known or {}).get("signature")), public_hex(key))
        sets = (known or {}).get("party_sets") or []
        old, _ = current_set(manifest, sets)
        new = tuple(party.public() for party in deployment.parties)
        if list(new) == old:
            raise UploadRefused("these parties hold the dataset already: there is nothing to sign")
        number = replaced(old, new)
    except BadSignature:
        raise UploadRefused("the portal shows a manifest that this key did not sign") from None
    except ConsentRejected as wrong:
        raise UploadRefused(f"the party sets do not fit: {wrong}") from None
    stated = PartySet(
        dataset=dataset,
        manifest_hash=digest(dict(manifest)),
        epoch=len(sets) + 1,
        old=set_digest(old),
        new=new,
        created=int(time.time()),
    )
    return NewSet(stated=stated, old=PartyKeys(**old[number]), new=deployment.parties[number])


def _is_ours(portal: Portal, dataset: str, manifest_hash: str, key: Ed25519PrivateKey) -> bool:
    manifest = (portal.dataset(dataset) or {}).get("manifest")
    return (
        isinstance(manifest, dict)
        and manifest.get("provider_key") == public_hex(key)
        and digest(manifest) == manifest_hash
    )
