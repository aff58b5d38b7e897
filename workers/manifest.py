"""A provider's signed manifest as a party reads it: every name known, every value in its range.

The manifest is the provider's word on its table: who may hold it, what may be asked, at which price. A party
believes it only with the provider's signature, and only if it names this party's pinned world: the same four
parties' keys and the same portal. A first version has no `chain` and no predecessor; a later one names the
chain (the id of its first version) and the hash of the manifest it follows. Public: all of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from analytics.privacy.accountant import ATTO, LARGEST_DELTA, SMALLEST_DELTA
from analytics.query import approval
from analytics.query.consent import ConsentRejected, current_set
from analytics.query.model import digest
from workers.config import PARTIES, Config
from workers.errors import BundleRejected

KIND = "fourfold/1/manifest"
MODES = ("dp", "exact")
LARGEST_CAPACITY = 2**24
MOST_VERSIONS = 10**6
_HEX32 = re.compile("[0-9a-f]{32}")
_HEX64 = re.compile("[0-9a-f]{64}")
_NAMES = {"type", "dataset", "version", "previous", "title", "provider_key", "codebook_hash", "capacity",
          "patient_unit", "max_rows_per_patient", "layout_hash", "party_set", "portal", "policy", "commitments",
          "created"}  # fmt: skip
_DELTA = "atto_delta"  # of a policy that allows plans with delta
_POLICY = {"micro_epsilon", "micro_epsilon_per_query", "minimum_cohort", "modes", "statistics", "expires"}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest whose shape and signature hold; `public` is the signed object itself."""

    public: Mapping[str, Any]
    signature: str

    @classmethod
    def parse(cls, obj: Any, signature: Any) -> Manifest:
        """Raises  BundleRejected: bad_manifest if a name or value is wrong, bad_signature."""
        first = isinstance(obj, dict) and obj.get("version") == 1
        names = _NAMES if first else _NAMES | {"chain"}
        _must(isinstance(obj, dict) and set(obj) == names and obj["type"] == KIND, "names or type")
        _must(_matches(_HEX32, obj["dataset"]), "dataset")
        _must(_whole(obj["version"]) and 1 <= obj["version"] <= MOST_VERSIONS, "version")
        if first:
            _must(obj["previous"] is None, "previous")
        else:
            _must(_matches(_HEX64, obj["previous"]), "previous")
            _must(_matches(_HEX32, obj["chain"]) and obj["chain"] != obj["dataset"], "chain")
        _must(isinstance(obj["title"], str) and len(obj["title"]) <= 1000, "title")
        for name in ("provider_key", "codebook_hash", "layout_hash"):
            _must(_matches(_HEX64, obj[name]), name)
        _must(_whole(obj["capacity"]) and 1 <= obj["capacity"] <= LARGEST_CAPACITY, "capacity")
        _must(obj["patient_unit"] == "patient" and obj["max_rows_per_patient"] == 1, "patient_unit")
        _must(_whole(obj["created"]) and obj["created"] >= 0, "created")
        _must(isinstance(obj["portal"], dict) and set(obj["portal"]) == {"sign"}, "portal")
        _must(_matches(_HEX64, obj["portal"]["sign"]), "portal")
        _must(isinstance(obj["commitments"], list) and len(obj["commitments"]) == PARTIES, "commitments")
        _must(all(_matches(_HEX64, c) for c in obj["commitments"]), "commitments")
        _must(isinstance(obj["party_set"], list) and len(obj["party_set"]) == PARTIES, "party_set")
        for number, entry in enumerate(obj["party_set"]):
            _must(isinstance(entry, dict) and set(entry) == {"party", "seal", "sign"}, "party_set")
            _must(_whole(entry["party"]) and entry["party"] == number, "party_set")
        _check_policy(obj["policy"], obj["capacity"])
        try:
            approval.verify(obj, signature, obj["provider_key"])
        except approval.BadSignature:
            raise BundleRejected("bad_signature", "the manifest is not signed by its provider") from None
        return cls(public=obj, signature=signature)

    @property
    def dataset(self) -> str:
        return str(self.public["dataset"])

    @property
    def version(self) -> int:
        return int(self.public["version"])

    @property
    def chain(self) -> str:
        """The id of the chain's first version; a first version's own id."""
        return str(self.public.get("chain", self.dataset))

    @property
    def previous(self) -> str:
        """The hash of the manifest that this one follows; empty for a first version."""
        return str(self.public["previous"] or "")

    @property
    def provider_key(self) -> str:
        return str(self.public["provider_key"])

    @property
    def cap(self) -> int:
        """Micro-epsilon that all versions of the chain together may cost under this policy."""
        return int(self.public["policy"]["micro_epsilon"])

    @property
    def delta_cap(self) -> int:
        """Units of 10^-18 of delta, likewise; 0 where the policy has none."""
        return int(self.public["policy"].get(_DELTA, 0))

    @property
    def capacity(self) -> int:
        return int(self.public["capacity"])

    @property
    def policy(self) -> dict[str, Any]:
        return dict(self.public["policy"])

    @property
    def portal_sign(self) -> str:
        return str(self.public["portal"]["sign"])

    @property
    def hash(self) -> str:
        return digest(self.public)

    def check_world(self, config: Config, party_sets: Any = None) -> None:
        """The manifest, after the party sets that its provider signed since, trusts whom this party trusts.

        Raises  BundleRejected: party_set if a party's key is not the pinned one, portal_key.
        """
        pinned = [{"party": p.party, "seal": p.seal, "sign": p.sign} for p in config.peers]
        try:
            named, _ = current_set(self.public, party_sets)
        except ConsentRejected as wrong:
            raise BundleRejected("party_set", str(wrong)) from None
        if named != pinned:
            raise BundleRejected("party_set", "the manifest names other keys than this party has pinned")
        if self.portal_sign != config.portal_sign:
            raise BundleRejected("portal_key", "the manifest names another portal than this party has pinned")


def _check_policy(policy: Any, capacity: int) -> None:
    _must(isinstance(policy, dict) and set(policy) - {_DELTA} == _POLICY, "policy")
    if _DELTA in policy:
        delta = policy[_DELTA]
        _must(_whole(delta) and SMALLEST_DELTA <= delta <= LARGEST_DELTA, f"policy.{_DELTA}")
        _must(delta * capacity < ATTO, f"policy.{_DELTA}")
    for name in ("micro_epsilon", "micro_epsilon_per_query"):
        _must(_whole(policy[name]) and 0 <= policy[name] < 2**53, f"policy.{name}")
    _must(_whole(policy["minimum_cohort"]) and policy["minimum_cohort"] >= 1, "policy.minimum_cohort")
    modes, statistics = policy["modes"], policy["statistics"]
    _must(isinstance(modes, list) and bool(modes) and all(m in MODES for m in modes), "policy.modes")
    _must(isinstance(statistics, list) and all(isinstance(s, str) for s in statistics), "policy.statistics")
    _must(isinstance(policy["expires"], str), "policy.expires")
    try:
        date.fromisoformat(policy["expires"])
    except ValueError:
        raise BundleRejected("bad_manifest", "the manifest's policy.expires is not a date") from None


def _must(holds: bool, name: str) -> None:
    if not holds:
        raise BundleRejected("bad_manifest", f"the manifest's {name} is not as it must be")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None
