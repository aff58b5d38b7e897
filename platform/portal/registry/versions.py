"""Which manifest may follow which: a chain is one table over time, under one key and one budget.

A provider that edits its table and uploads it again would gain a fresh budget for the same patients, and whoever
compares the two answers would see the edit. So a later version follows the newest READY one, is signed by the
same key, and inherits the account: what was spent stays spent, and the totals never grow. The parties check the
same again, against what they took themselves.
"""

import json
from collections.abc import Sequence
from typing import Any

from analytics.privacy.accountant import delta_text
from analytics.query.policy import loosened
from portal.accounts.models import Organisation
from portal.budgets.actions import decimal_text
from portal.registry.facts import policy
from portal.registry.models import Dataset, DatasetState


class VersionRefused(Exception):
    """The manifest does not follow the newest version of its chain."""

    code = "version_refused"

    def __init__(self, message: str, code: str = "version_refused") -> None:
        super().__init__(message)
        self.code = code


class Superseded(Exception):
    """A question names an older version of a table."""

    code = "superseded"


def predecessor(manifest: dict[str, Any], organisation: Organisation) -> Dataset | None:
    """The READY dataset that a well-formed manifest follows; None for a first version.

    Raises  VersionRefused: no_predecessor, superseded, key_differs, version_skipped, previous_differs, not_held,
            budget_raised.
    """
    if manifest["version"] == 1:
        return None
    chain = Dataset.objects.filter(chain=manifest["chain"], provider=organisation)
    newest = chain.filter(state=DatasetState.READY).first()
    if newest is None:
        raise VersionRefused(
            f"you have no dataset in chain {manifest['chain']} that is ready to be followed", "no_predecessor"
        )
    named = f"dataset {newest.pk}, version {newest.version}"
    if manifest["previous"] != newest.manifest_hash and chain.filter(
        manifest_hash=manifest["previous"], state=DatasetState.SUPERSEDED
    ):
        raise VersionRefused(f"the version it follows is superseded: follow {named}", "superseded")
    if manifest["provider_key"] != newest.provider_key:
        raise VersionRefused(f"{named} was signed with another key: sign with the same one", "key_differs")
    if manifest["version"] != newest.version + 1:
        raise VersionRefused(f"what follows {named} is version {newest.version + 1}", "version_skipped")
    if manifest["previous"] != newest.manifest_hash:
        raise VersionRefused(f"previous is not the hash of the manifest of {named}", "previous_differs")
    handed_on = newest.party_sets.last()
    held_by = json.loads(handed_on.body)["new"] if handed_on else json.loads(newest.manifest)["party_set"]
    if held_by != manifest["party_set"] or (handed_on and handed_on.ready_at is None):
        raise VersionRefused(
            f"a party was replaced and does not hold {named} yet: sign the new parties with sign-parties, and send"
            " the new version when that party's receipt is there",
            "not_held",
        )
    total, new = policy(newest)["micro_epsilon"], manifest["policy"]["micro_epsilon"]
    if new > total:
        raise VersionRefused(
            f"policy.epsilon is {decimal_text(new)}; the chain of {named} has {decimal_text(total)} in all, and a"
            " new version brings no more",
            "budget_raised",
        )
    delta, more = policy(newest).get("atto_delta", 0), manifest["policy"].get("atto_delta", 0)
    if more > delta:
        raise VersionRefused(
            f"policy.delta is {delta_text(more)}; the chain of {named} has {delta_text(delta)} in all, and a new"
            " version brings no more",
            "budget_raised",
        )
    return newest


def changes(before: Dataset, after: Dataset) -> dict[str, Any]:
    """What the audit trail says of a new version: what it follows, and what its policy allows more."""
    return {"follows": before.pk, "looser": loosened(policy(before), policy(after))}


def must_answer(datasets: Sequence[Dataset]) -> None:
    """Return if every dataset is the version that answers. Raises Superseded naming the one that does."""
    for dataset in datasets:
        if dataset.state == DatasetState.SUPERSEDED:
            raise Superseded(superseded_text(dataset))


def superseded_text(dataset: Dataset) -> str:
    """One sentence for whoever asked about an older version."""
    newest = dataset.newest
    instead = (
        f"ask about dataset {newest.pk}, version {newest.version}" if newest else "no newer version answers"
    )
    return f"dataset {dataset.pk} is version {dataset.version} of its table and superseded: {instead}"
