"""A new version of a table follows an older one: same provider key, same chain, same budget.

The portal is asked which manifest is to be followed and believed only if this provider's own key signed it.
What the new policy allows more than the old one must be said by the person, not slipped in; the chain's total of
epsilon never grows, for the patients are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from analytics.privacy.accountant import delta_text, short_text
from analytics.query import policy
from analytics.query.approval import BadSignature, fingerprint, verify
from analytics.query.model import digest
from providers.bundle import Dataset, Place
from providers.report import UploadRefused
from providers.upload import Portal


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    """A signed manifest of ours that a new version may follow."""

    manifest: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.manifest["dataset"])

    @property
    def place(self) -> Place:
        """Where this one stands itself."""
        return Place(
            version=self.manifest["version"],
            chain=self.manifest.get("chain"),
            previous=self.manifest["previous"],
        )

    @property
    def next(self) -> Place:
        """Where what follows it stands."""
        return Place(
            version=self.manifest["version"] + 1,
            chain=self.manifest.get("chain", self.id),
            previous=digest(self.manifest),
        )

    def check_policy(self, new: Mapping[str, Any], *, looser: bool) -> list[str]:
        """The terms of `new` that allow more than this manifest's policy, if the person agreed to that.

        Raises  UploadRefused if the total grew, or terms are looser and `looser` is not given.
        """
        old = self.manifest["policy"]
        if new["micro_epsilon"] > old["micro_epsilon"]:
            raise UploadRefused(
                f"the codebook's policy.epsilon is {short_text(new['micro_epsilon'])}, and the budget of this chain"
                f" is {short_text(old['micro_epsilon'])}: a new version brings no more; write that or less"
            )
        deltas = old.get("atto_delta", 0), new.get("atto_delta", 0)
        if deltas[1] > deltas[0]:
            raise UploadRefused(
                f"the codebook's policy.delta is {delta_text(deltas[1])}, and that of this chain is"
                f" {delta_text(deltas[0])}: a new version brings no more; write that or less"
            )
        terms = policy.loosened(old, new)
        if terms and not looser:
            raise UploadRefused(
                f"the new policy allows more than that of {self.id}: {'; '.join(terms)};"
                " write the old terms, or say --looser-policy"
            )
        return terms


def following(
    before: Predecessor,
    prepare: Callable[..., Dataset],
    new: Mapping[str, Any],
    *,
    looser: bool,
    say: Callable[[str], None],
) -> Dataset:
    """The dataset that `prepare(place=...)` makes after `before`, or `before` itself if nothing changed.

    Raises  UploadRefused as `Predecessor.check_policy`.
    """
    same = prepare(place=before.place)
    if same.id == before.id:
        say(f"table and codebook are those of dataset {before.id}: no new version is needed")
        return same
    for term in before.check_policy(new, looser=looser):
        say(f"warning: the new version allows more: {term}")
    dataset = prepare(place=before.next)
    say(
        f"version {before.next.version} of chain {before.next.chain}: what was spent of its budget stays spent"
    )
    return dataset


def warn_of_a_second_budget(portal: Portal, dataset: Dataset, say: Callable[[str], None]) -> None:
    """Say which tables of ours with the same columns answer already, if this one would begin a chain beside them.

    Nobody but the provider knows whether the patients are the same: if they are, two chains are two budgets.
    """
    if portal.dataset(dataset.id) is not None:
        return
    columns = [field["name"] for field in dataset.codebook["fields"]]
    for other in portal.pages("api/datasets/"):
        if other.get("state") == "READY" and other.get("columns") == columns:
            say(
                f"warning: dataset {other.get('id')} has the same columns. If this is a newer table of the same"
                f" patients, it is --new-version-of {other.get('id')}: as a dataset of its own it has a budget"
                " of its own, and what both tell about a patient adds up"
            )


def predecessor(portal: Portal, dataset: str, provider_key: str) -> Predecessor:
    """The manifest of `dataset` as the portal shows it, signed by our key (hex).

    Raises  UploadRefused if there is none of ours, or another key signed it.
    """
    known = portal.dataset(dataset)
    if known is None:
        raise UploadRefused(f"the portal has no dataset {dataset} of yours: `list` shows those that it has")
    manifest = known.get("manifest")
    if not isinstance(manifest, Mapping) or manifest.get("dataset") != dataset:
        raise UploadRefused(f"the portal shows no manifest of dataset {dataset}")
    signer = manifest.get("provider_key")
    if signer != provider_key:
        named = fingerprint(signer) if isinstance(signer, str) and len(signer) == 64 else "none"
        raise UploadRefused(
            f"dataset {dataset} was signed with another key, {named}: its versions need the same one after --key"
        )
    try:
        verify(dict(manifest), str(known.get("signature")), provider_key)
    except BadSignature:
        raise UploadRefused(f"your key did not sign what the portal shows as dataset {dataset}") from None
    return Predecessor(manifest=manifest)
