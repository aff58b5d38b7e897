"""What became of a provider's tables: versions, receipts, what was asked of them and what it cost.

The portal's account, shown and not verified: `upload` verifies receipts, and each party keeps a ledger of its own.
Nothing here says anything about a patient.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from providers.upload import Portal

HEADS = ("dataset", "version", "state", "created", "receipts", "total", "spent", "left", "queries", "title")
NUMBERS = frozenset({"version", "total", "spent", "left", "queries"})


def history(portal: Portal) -> list[dict[str, Any]]:
    """Every dataset of the provider's organisation, chain by chain, oldest first.

    total, spent, reserved and left are the chain's, epsilon as decimal text: all its versions share them.
    Raises  UploadRefused, UploadInterrupted.
    """
    budgets = {line["chain"]: line for line in portal.json("GET", "api/budget/")}
    asked = defaultdict(list)
    for query in portal.pages("api/queries/"):
        for dataset in query["datasets"]:
            asked[dataset].append(
                {name: query[name] for name in ("id", "state", "mode", "epsilon", "created")}
            )
    datasets = list(portal.pages("api/datasets/"))
    began = {d["chain"]: min(o["created"] for o in datasets if o["chain"] == d["chain"]) for d in datasets}
    datasets.sort(key=lambda d: (began[d["chain"]], d["chain"], d["version"], d["created"]))
    return [
        {
            **{name: dataset[name] for name in ("id", "title", "chain", "version", "state", "superseded_by")},
            "created": dataset["created"],
            "receipts": _receipts(portal, dataset["id"]),
            "budget": {
                name: budgets[dataset["chain"]][name] for name in ("total", "spent", "reserved", "left")
            },
            "queries": asked[dataset["id"]],
        }
        for dataset in datasets
    ]


def table(entries: Iterable[Mapping[str, Any]]) -> str:
    """The history as aligned columns, a dataset a line."""
    rows = [HEADS, *(_row(entry) for entry in entries)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADS))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if head in NUMBERS else cell.ljust(width)
            for head, cell, width in zip(HEADS, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    budget = entry["budget"]
    return (
        entry["id"],
        str(entry["version"]),
        entry["state"],
        entry["created"][:16].replace("T", " "),
        ",".join(map(str, entry["receipts"])) or "none",
        *(_short(budget[name]) for name in ("total", "spent", "left")),
        str(len(entry["queries"])),
        "".join(c if c.isprintable() else " " for c in entry["title"]),
    )


def _receipts(portal: Portal, dataset: str) -> list[int]:
    """The parties that said, as the portal shows it, that they hold the dataset."""
    known = portal.dataset(dataset) or {}
    return sorted(receipt["party"] for receipt in known.get("receipts", []))


def _short(decimal: str) -> str:
    return decimal.rstrip("0").rstrip(".") if "." in decimal else decimal
