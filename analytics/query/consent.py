"""A provider's yes to one order among three parties, and its word on who holds its dataset.

Three parties are passively secure only, so a provider says yes to each such order: the consent names the order's
hash, the missing party and a time after which it is void. A party set hands a dataset on to four parties of whom
one is new: the chain of sets begins at the signed manifest. Both are signed with the key of the dataset's
manifest, and every party checks them itself. Public: all of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics.query.approval import BadSignature, verify
from analytics.query.model import digest
from analytics.query.order import PARTIES, Order

CONSENT_TYPE = "fourfold/1/consent"
PARTY_SET_TYPE = "fourfold/1/party-set"
PASSIVE = "three-party, passive"
ACTIVE = "four-party, active"
MOST_SETS = 1000

_HEX32 = re.compile("[0-9a-f]{32}")
_HEX64 = re.compile("[0-9a-f]{64}")


class ConsentRejected(Exception):
    """A consent or a party set is malformed, not signed by the provider, or about something else."""

    code = "consent_rejected"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Yes to one order, for one dataset of it; `expires` is unix seconds."""

    dataset: str
    order_hash: str
    n: int
    missing: int
    expires: int

    def __post_init__(self) -> None:
        _must(_matches(_HEX32, self.dataset), "dataset: 32 hex digits are needed")
        _must(_matches(_HEX64, self.order_hash), "order_hash: 64 hex digits are needed")
        _must(_whole(self.n) and self.n == PARTIES - 1, "n: a consent is to three parties")
        _must(_whole(self.missing) and 0 <= self.missing < PARTIES, "missing: a party from 0 to 3")
        _must(_whole(self.expires) and 0 <= self.expires < 2**53, "expires: unix seconds")

    @classmethod
    def parse(cls, obj: Any) -> Consent:
        """The consent in a JSON object. Raises ConsentRejected."""
        return cls(**_exactly(obj, CONSENT_TYPE, set(cls.__dataclass_fields__)))

    def public(self) -> dict[str, Any]:
        """The JSON object that is signed."""
        return {"type": CONSENT_TYPE, **vars(self)}


def check_consents(given: Any, order: Order, keys: Mapping[str, str], now: int) -> None:
    """Return if the provider of every dataset of the order consents to exactly this order, and still does.

    given  [{"consent", "signature"}]; keys  {dataset: the provider key of its manifest}
    Raises  ConsentRejected: consent_missing, consent_signature, consent_mismatch, consent_expired.
    """
    found = {}
    for entry in given if isinstance(given, Sequence) else ():
        body = entry.get("consent") if isinstance(entry, Mapping) else None
        if isinstance(body, Mapping):
            found[body.get("dataset")] = entry
    for dataset in order.datasets:
        if dataset.id not in found:
            raise ConsentRejected(
                f"the provider of dataset {dataset.id} has not consented", "consent_missing"
            )
        check_consent(found[dataset.id], order, dataset.id, keys[dataset.id], now)


def check_consent(entry: Mapping[str, Any], order: Order, dataset: str, key: str, now: int) -> Consent:
    """One consent {"consent", "signature"} for one dataset of an order. Raises ConsentRejected."""
    body, signature = entry.get("consent"), entry.get("signature")
    try:
        verify(body, signature, key)  # type: ignore[arg-type]
    except BadSignature:
        raise ConsentRejected(
            f"the consent for dataset {dataset} is not signed by its provider", "consent_signature"
        ) from None
    consent = Consent.parse(body)
    said = (consent.dataset, consent.order_hash, consent.n, consent.missing)
    if said != (dataset, order.hash, order.n, order.missing):
        raise ConsentRejected(f"the consent for dataset {dataset} is to another order", "consent_mismatch")
    if now > consent.expires:
        raise ConsentRejected(f"the consent for dataset {dataset} has expired", "consent_expired")
    return consent


@dataclass(frozen=True, kw_only=True)
class PartySet:
    """The parties that hold a dataset from `epoch` on (0 is the manifest's own set); one of them is new."""

    dataset: str
    manifest_hash: str
    epoch: int
    old: str
    new: tuple[Mapping[str, Any], ...]
    created: int

    def __post_init__(self) -> None:
        _must(_matches(_HEX32, self.dataset), "dataset: 32 hex digits are needed")
        _must(_matches(_HEX64, self.manifest_hash), "manifest_hash: 64 hex digits are needed")
        _must(_whole(self.epoch) and 1 <= self.epoch <= MOST_SETS, "epoch: a whole number from 1")
        _must(_matches(_HEX64, self.old), "old: the digest of the set before")
        _must(_whole(self.created) and 0 <= self.created < 2**53, "created: unix seconds")
        _must(isinstance(self.new, tuple) and len(self.new) == PARTIES, "new: four parties")
        for number, entry in enumerate(self.new):
            _must(
                isinstance(entry, Mapping) and set(entry) == {"party", "seal", "sign"},
                "new: party, seal, sign",
            )
            _must(_whole(entry["party"]) and entry["party"] == number, "new: parties 0 to 3 in order")
            _must(
                _matches(_HEX64, entry["seal"]) and _matches(_HEX64, entry["sign"]),
                "new: keys are 64 hex digits",
            )
        keys = [entry[kind] for entry in self.new for kind in ("seal", "sign")]
        _must(len(set(keys)) == len(keys), "new: two parties share a key")

    @classmethod
    def parse(cls, obj: Any) -> PartySet:
        """The party set in a JSON object. Raises ConsentRejected."""
        fields = _exactly(obj, PARTY_SET_TYPE, set(cls.__dataclass_fields__))
        _must(isinstance(fields["new"], list), "new: a list of four parties")
        return cls(**{**fields, "new": tuple(fields["new"])})

    def public(self) -> dict[str, Any]:
        """The JSON object that is signed."""
        return {"type": PARTY_SET_TYPE, **vars(self), "new": [dict(entry) for entry in self.new]}


def set_digest(parties: Sequence[Mapping[str, Any]]) -> str:
    """What a party set names the one before it by."""
    return digest([{name: entry[name] for name in ("party", "seal", "sign")} for entry in parties])


def replaced(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> int:
    """The one party whose keys differ; both its keys are new. Raises ConsentRejected otherwise."""
    changed = [n for n, (was, now) in enumerate(zip(old, new, strict=True)) if was != now]
    _must(len(changed) == 1, "one party at a time is replaced")
    number = changed[0]
    known = {entry[kind] for entry in old for kind in ("seal", "sign")}
    _must(not known & {new[number]["seal"], new[number]["sign"]}, "a new party has two new keys")
    return number


def current_set(manifest: Mapping[str, Any], sets: Any) -> tuple[list[Mapping[str, Any]], int | None]:
    """Who holds a dataset, after its signed party sets in order; and which party came last, None at epoch 0.

    sets  [{"set", "signature"}]: every one signed by the manifest's provider, on the one before it.
    Raises  ConsentRejected, code party_set.
    """
    parties: list[Mapping[str, Any]] = list(manifest["party_set"])
    last: int | None = None
    if sets is None:
        sets = []
    if not isinstance(sets, list) or len(sets) > MOST_SETS:
        raise ConsentRejected("party sets are a list", "party_set")
    for epoch, entry in enumerate(sets, start=1):
        try:
            verify(entry["set"], entry["signature"], manifest["provider_key"])
            stated = PartySet.parse(entry["set"])
            about = (stated.dataset, stated.manifest_hash, stated.epoch, stated.old)
            _must(
                about == (manifest["dataset"], digest(manifest), epoch, set_digest(parties)), "out of place"
            )
            last = replaced(parties, stated.new)
        except (BadSignature, ConsentRejected, KeyError, TypeError) as wrong:
            raise ConsentRejected(
                f"party set {epoch} of the dataset does not hold: {wrong}", "party_set"
            ) from None
        parties = list(stated.new)
    return parties, last


def _exactly(obj: Any, kind: str, names: set[str]) -> dict[str, Any]:
    if not isinstance(obj, Mapping) or obj.get("type") != kind:
        raise ConsentRejected(f'an object of type "{kind}" is needed')
    found = set(obj) - {"type"}
    if found != names:
        odd = ", ".join(sorted(map(str, found ^ names)))
        raise ConsentRejected(f"{kind}: missing or unknown keys: {odd}")
    return {name: obj[name] for name in names}


def _must(holds: bool, message: str) -> None:
    if not holds:
        raise ConsentRejected(message)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None
