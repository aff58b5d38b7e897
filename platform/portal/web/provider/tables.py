"""What became of a provider's tables: chains of versions, receipts, budgets, what was asked of them."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from analytics.query.approval import fingerprint
from analytics.query.consent import current_set
from portal.absence.replacement import signed_sets
from portal.accounts.models import User
from portal.api.permissions import visible_datasets, visible_queries
from portal.budgets.actions import decimal_text, means
from portal.budgets.models import Account
from portal.queries.models import Query, QueryDataset
from portal.registry import bundles
from portal.registry.models import Dataset, DatasetState, Receipt


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A chain's account as decimal text; `part` is what is gone of it, 0 to 100."""

    total: str
    spent: str
    reserved: str
    left: str
    part: int
    means: str


@dataclass(frozen=True, kw_only=True)
class Version:
    """One dataset, the number of its receipts, and how many queries touched it."""

    dataset: Dataset
    receipts: int
    queries: int


@dataclass(kw_only=True)
class Chain:
    """All versions of one table, the newest first; `answers` is the one that is READY."""

    budget: Budget
    versions: list[Version] = field(default_factory=list)

    @property
    def newest(self) -> Dataset:
        return self.versions[0].dataset

    @property
    def answers(self) -> Dataset | None:
        ready = (v.dataset for v in self.versions if v.dataset.state == DatasetState.READY)
        return next(ready, None)

    @property
    def queries(self) -> int:
        return sum(version.queries for version in self.versions)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A party of a dataset: what reached the portal for it, and what it signed."""

    party: int
    fingerprint: str
    present: int
    chunks: int
    receipt: Receipt | None


def chains(user: User) -> list[Chain]:
    """Every table of the person's organisation, that with the newest version first."""
    datasets = list(visible_datasets(user).order_by("-created", "-version", "id"))
    ids = [d.pk for d in datasets]
    current = {d.pk: d.manifest_hash for d in datasets}
    receipts = Counter(
        dataset
        for dataset, hashed in Receipt.objects.filter(dataset__in=ids, code="").values_list(
            "dataset", "manifest_hash"
        )
        if hashed == current[dataset]
    )
    asked = Counter(QueryDataset.objects.filter(dataset__in=ids).values_list("dataset", flat=True))
    accounts = Account.objects.filter(pk__in={d.chain for d in datasets}).select_related("dataset")
    found = {account.pk: Chain(budget=budget_of(account)) for account in accounts}
    for dataset in datasets:
        found[dataset.chain].versions.append(
            Version(dataset=dataset, receipts=receipts[dataset.pk], queries=asked[dataset.pk])
        )
    order = dict.fromkeys(d.chain for d in datasets)
    return [found[chain] for chain in order]


def budget_of(account: Account) -> Budget:
    used = account.spent + account.reserved
    return Budget(
        total=decimal_text(account.total),
        spent=decimal_text(account.spent),
        reserved=decimal_text(account.reserved),
        left=decimal_text(account.left),
        part=round(100 * used / account.total) if account.total else 0,
        means=means(account),
    )


def holders(dataset: Dataset) -> list[Holder]:
    """The four parties that the dataset is sealed to, in order."""
    manifest = json.loads(dataset.manifest)
    parties, _ = current_set(manifest, signed_sets(dataset))
    said: dict[int, Receipt] = {
        r.party: r for r in dataset.receipts.filter(manifest_hash=dataset.manifest_hash)
    }
    counts = bundles.counts(dataset)
    return [
        Holder(
            party=entry["party"],
            fingerprint=fingerprint(entry["seal"] + entry["sign"]),
            present=counts[entry["party"]][0],
            chunks=counts[entry["party"]][1],
            receipt=said.get(entry["party"]),
        )
        for entry in parties
    ]


def versions(dataset: Dataset, user: User) -> list[Dataset]:
    """The chain of a dataset, the newest first."""
    return list(visible_datasets(user).filter(chain=dataset.chain).order_by("-version", "-created"))


def queries(dataset: Dataset, user: User) -> list[Query]:
    """What was asked of this version, the newest first."""
    return list(visible_queries(user).filter(parts__dataset=dataset).order_by("-created").distinct()[:200])


def columns(dataset: Dataset) -> list[dict[str, Any]]:
    """The public columns: name, title, what a value may be, unit, role."""
    return [
        {
            "name": item["name"],
            "title": item.get("title", ""),
            "unit": item.get("unit", ""),
            "role": item.get("role", ""),
            "holds": _holds(item),
        }
        for item in json.loads(dataset.codebook)["fields"]
        if item["name"] != json.loads(dataset.codebook)["primaryKey"]
    ]


def _holds(item: dict[str, Any]) -> str:
    if "categories" in item:
        levels = [
            entry.get("label", entry["value"]) if isinstance(entry, dict) else entry
            for entry in item["categories"]
        ]
        return ", ".join(map(str, levels))
    bounds = item.get("constraints", {})
    if "minimum" in bounds and "maximum" in bounds:
        step = f" in steps of {item['resolution']}" if "resolution" in item else ""
        return f"{bounds['minimum']} to {bounds['maximum']}{step}"
    return str(item.get("type", ""))
