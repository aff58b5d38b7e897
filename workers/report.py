"""What a party says to the portal, word for word: nine kinds of signed report, integers and names only.

No report carries a hash of shares, tags or messages, nor a detail of a failure beyond one public code.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from analytics.query.model import digest


def receipt(party: int, dataset: str, manifest_hash: str) -> dict[str, Any]:
    """The dataset is stored here, and its components are those its manifest commits to."""
    return _report("receipt", party, dataset=dataset, manifest_hash=manifest_hash)


def complaint(party: int, dataset: str, manifest_hash: str, code: str) -> dict[str, Any]:
    """The dataset fails a check; nothing of it is stored."""
    return _report("complaint", party, dataset=dataset, manifest_hash=manifest_hash, code=code)


def started(party: int, query: str, attempt: int, order_hash: str) -> dict[str, Any]:
    """The order passed every check and its debit is reserved."""
    return _report("started", party, query=query, attempt=attempt, order_hash=order_hash)


def refusal(party: int, query: str, attempt: int, order_hash: str, code: str) -> dict[str, Any]:
    """The order fails one of this party's checks; nothing was computed."""
    return _report("refusal", party, query=query, attempt=attempt, order_hash=order_hash, code=code)


def abort(party: int, query: str, attempt: int, order_hash: str, code: str, *, ready: bool) -> dict[str, Any]:
    """The attempt ended without an answer; `ready` says whether its debit was spent."""
    return _report(
        "abort", party, query=query, attempt=attempt, order_hash=order_hash, code=code, ready=ready
    )


def result(
    party: int,
    query: str,
    attempt: int,
    order_hash: str,
    *,
    plan_hash: str,
    session: str,
    integers: Sequence[Sequence[int]],
    rounds: int,
    missing: int | None = None,
) -> dict[str, Any]:
    """The released integers, by their digest; they travel beside the report. `missing`: three parties made them."""
    return _report(
        "result",
        party,
        query=query,
        attempt=attempt,
        order_hash=order_hash,
        plan_hash=plan_hash,
        session=session,
        result_hash=digest({"type": "fourfold/1/integers", "integers": [list(part) for part in integers]}),
        rounds=rounds,
        missing=missing,
    )


def taken_over(party: int, dataset: str, debits: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Every debit of the dataset that this party's ledger holds as spent: (order hash, attempt)."""
    return _report("taken-over", party, dataset=dataset, debits=[list(debit) for debit in debits])


def heartbeat(
    party: int, code_version: str, ledger: tuple[int, str], *, busy: bool, health: dict[str, Any]
) -> dict[str, Any]:
    """The party is alive; its ledger has this length and head; `health` is what `workers.health` says."""
    length, head = ledger
    return _report(
        "heartbeat",
        party,
        code_version=code_version,
        ledger={"length": length, "head": head},
        busy=busy,
        health=health,
    )


def _report(kind: str, party: int, **fields: Any) -> dict[str, Any]:
    return {"type": f"fourfold/1/{kind}", "party": party, "time": int(time.time()), **fields}
