"""Debits that a party was not there for: listed for it with the others' signed words, and its own word that it holds them."""

import json
from typing import Any

from django.db import transaction

from analytics.query.approval import BadSignature, verify
from analytics.query.model import canonical
from portal.absence.models import TakenOver
from portal.audit.actions import record
from portal.queries.models import Query, QueryDataset, Report, ReportKind
from portal.registry import parties
from portal.registry.models import Dataset

ENOUGH = 2  # signed words of others that a debit needs: one of two parties is honest


def owed(party: int, dataset: Dataset) -> list[dict[str, Any]]:
    """Each attempt on the table that others say was spent and this party, by its key of today, has no word on.

    Of every version of the table: they have one account, and the manifests say which chain each belongs to.
    [{"order", "order_signature", "manifests": [{"manifest", "signature"}], "attempt",
    "reports": [{"report", "signature"}]}], oldest first.
    """
    found = []
    key = parties.pinned()[party].sign
    words_on = {w: _debits(w) for w in TakenOver.objects.filter(dataset__chain=dataset.chain)}
    held = {d for w, debits in words_on.items() if w.party == party and _signed(w, key) for d in debits}
    chain = Dataset.objects.filter(chain=dataset.chain)
    touching = QueryDataset.objects.filter(dataset__in=chain).values("query")
    queries = Query.objects.filter(pk__in=touching, order__isnull=False).select_related("order")
    for query in queries.order_by("approved_at", "pk").prefetch_related("attempts__reports", "datasets"):
        for attempt in query.attempts.all():
            words = [r for r in attempt.reports.all() if r.kind != ReportKind.STARTED]
            spent: list[Report | TakenOver] = [r for r in words if r.party != party and _spent(r)]
            debit = (query.order.hash, attempt.number)
            if debit in held or any(r.party == party and _signed(r, key) for r in words):
                continue
            spent += [w for w, debits in words_on.items() if w.party != party and debit in debits]
            if len({r.party for r in spent}) >= ENOUGH:
                found.append(
                    {
                        "order": json.loads(query.order.body),
                        "order_signature": query.order.signature,
                        "manifests": [
                            {"manifest": json.loads(d.manifest), "signature": d.signature}
                            for d in query.datasets.all()
                        ],
                        "attempt": attempt.number,
                        "reports": [{"report": json.loads(r.body), "signature": r.signature} for r in spent],
                    }
                )
    return found


def keep(*, party: int, report: dict[str, Any], signature: str) -> bool:
    """A verified word of a party on the debits that it holds; an older word never replaces a newer one."""
    with transaction.atomic():
        there = TakenOver.objects.select_for_update().filter(party=party, dataset=report["dataset"]).first()
        if there is not None and there.said_at >= report["time"]:
            return False
        TakenOver.objects.update_or_create(
            party=party,
            dataset_id=report["dataset"],
            defaults={
                "body": canonical(report).decode(),
                "signature": signature,
                "said_at": report["time"],
            },
        )
        record(
            "debits taken over",
            by=f"party {party}",
            subject=f"dataset {report['dataset']}",
            detail={"debits": len(report["debits"])},
        )
    return True


def envelope(query: Query) -> list[dict[str, Any]]:
    """What parties have said about the tables of a query, on whichever version."""
    chains = query.datasets.values("chain")
    words = TakenOver.objects.filter(dataset__chain__in=chains).order_by("party", "dataset")
    return [{"report": json.loads(w.body), "signature": w.signature} for w in words]


def _debits(word: TakenOver) -> set[tuple[str, int]]:
    return {(order_hash, attempt) for order_hash, attempt in json.loads(word.body)["debits"]}


def _signed(report: Report | TakenOver, key: str) -> bool:
    try:
        verify(json.loads(report.body), report.signature, key)
    except BadSignature:
        return False  # of a party that was replaced since
    return True


def _spent(report: Report) -> bool:
    return report.kind == ReportKind.RESULT or bool(json.loads(report.body).get("ready"))
