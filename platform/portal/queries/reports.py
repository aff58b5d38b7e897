"""What parties post: each report is signed with a pinned key, bounded in size, and counted once.

A party's last word on an attempt stands: the same again changes nothing, another is refused.
"""

import json
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from analytics import logs
from analytics.query.approval import BadSignature, verify
from analytics.query.model import canonical, digest
from portal.absence import replacement, takeover
from portal.audit.actions import record
from portal.operations import health
from portal.queries import attempts
from portal.queries.models import Attempt, AttemptState, Query, Report, ReportKind
from portal.queries.states import IllegalMove
from portal.registry import actions as registry
from portal.registry import parties
from portal.registry.models import Dataset

PREFIX = "fourfold/1/"
_CODE = re.compile(r"[a-z0-9_]{1,40}")


class ReportRefused(Exception):
    """The report is malformed, or not signed by that party."""

    code = "report_refused"

    def __init__(self, message: str, code: str = "report_refused") -> None:
        super().__init__(message)
        self.code = code


class ReportConflict(Exception):
    """The report contradicts what is known."""

    code = "report_conflict"


def _whole(low: int = 0, high: int = 2**63 - 1) -> Any:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high


def _hex(digits: int) -> Any:
    pattern = re.compile(f"[0-9a-f]{{{digits}}}")
    return lambda v: isinstance(v, str) and pattern.fullmatch(v) is not None


def _uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value
    except ValueError:
        return False


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _code(value: Any) -> bool:
    return isinstance(value, str) and _CODE.fullmatch(value) is not None


def _ledger(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"length", "head"}
        and _whole()(value["length"])
        and isinstance(value["head"], str)
        and len(value["head"]) <= 64
    )


def _debit(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and _hex(64)(value[0]) and bool(_whole(1, 100)(value[1]))
    )


MOST_DEBITS = 10_000
_ATTEMPT = {"query": _uuid, "attempt": _whole(1, 100), "order_hash": _hex(64), "time": _whole(0, 2**40)}
_DATASET = {"dataset": _hex(32), "manifest_hash": _hex(64), "time": _whole(0, 2**40)}
SHAPES: dict[str, dict[str, Any]] = {
    "receipt": _DATASET,
    "complaint": {**_DATASET, "code": _code},
    "started": _ATTEMPT,
    "refusal": {**_ATTEMPT, "code": _code},
    "abort": {**_ATTEMPT, "code": _code, "ready": _boolean},
    "result": {**_ATTEMPT, "plan_hash": _hex(64), "session": _hex(64), "result_hash": _hex(64)},
    "taken-over": {
        "dataset": _hex(32),
        "time": _whole(0, 2**40),
        "debits": lambda v: isinstance(v, list) and len(v) <= MOST_DEBITS and all(map(_debit, v)),
    },
    "heartbeat": {
        "time": _whole(0, 2**40),
        "code_version": lambda v: isinstance(v, str) and 0 < len(v) <= 64,
        "ledger": _ledger,
        "busy": _boolean,
    },
}
# A result may say more of its session (rounds, bytes): public facts, in bounds.
MOST_EXTRAS = 20
LARGEST = {"taken-over": 2**20}  # bytes


@dataclass(frozen=True, kw_only=True)
class Posted:
    """A report that its party signed."""

    party: int
    kind: str
    report: dict[str, Any]
    signature: str
    integers: list[list[int]] | None


def read(party: int, body: Any) -> Posted:
    """Check shape and signature. Raises ReportRefused."""
    if not isinstance(body, dict) or not {"report", "signature"} <= set(body) <= {
        "report",
        "signature",
        "integers",
    }:
        raise ReportRefused('a report is posted as {"report", "signature"}, a result with "integers"')
    report, signature = body["report"], body["signature"]
    kind = _kind(report)
    if report.get("party") != party or isinstance(report.get("party"), bool):
        raise ReportRefused("the report is another party's")
    keys = {p.party: p.sign for p in parties.pinned()}
    try:
        verify(report, signature, keys[party])
    except (BadSignature, KeyError):
        raise ReportRefused("the signature is not that of the party", "bad_signature") from None
    shape = SHAPES[kind]
    missing = [name for name, fits in shape.items() if name not in report or not fits(report[name])]
    if missing:
        raise ReportRefused(f"{kind}: missing or out of bounds: {', '.join(missing)}")
    if kind == "heartbeat" and "health" in report and not health.fits(report["health"]):
        raise ReportRefused("heartbeat: health is out of shape")
    extras = set(report) - set(shape) - {"type", "party"}
    if len(extras) > MOST_EXTRAS or len(canonical(report)) > LARGEST.get(kind, 16384):
        raise ReportRefused(f"{kind}: too much in one report")
    integers = body.get("integers")
    if (integers is None) == (kind == "result"):
        raise ReportRefused("integers belong to a result, and to nothing else")
    return Posted(party=party, kind=kind, report=report, signature=signature, integers=integers)


def accept(posted: Posted) -> bool:
    """Act on a report; True if it was news.

    Raises  ReportRefused, ReportConflict, DatasetConflict.
    """
    if posted.kind == "heartbeat":
        registry.heartbeat(party=posted.party, report=posted.report)
        return True
    if posted.kind in ("receipt", "complaint"):
        dataset = Dataset.objects.filter(pk=posted.report["dataset"]).first()
        if dataset is None:
            raise ReportConflict("there is no such dataset")
        row = replacement.outstanding(dataset)
        if row is not None and row.party == posted.party:
            return replacement.receive(
                row, report=posted.report, signature=posted.signature, code=posted.report.get("code", "")
            )
        with transaction.atomic():
            news = registry.receive(
                dataset=dataset,
                party=posted.party,
                report=posted.report,
                signature=posted.signature,
                code=posted.report.get("code", ""),
            )
            if news:
                attempts.end_superseded()
        return news
    if posted.kind == "taken-over":
        if not Dataset.objects.filter(pk=posted.report["dataset"]).exists():
            raise ReportConflict("there is no such dataset")
        return takeover.keep(party=posted.party, report=posted.report, signature=posted.signature)
    return _on_attempt(posted)


def _on_attempt(posted: Posted) -> bool:
    report = posted.report
    logs.bind(query=report["query"], attempt=report["attempt"])
    query = Query.objects.select_related("order").filter(pk=report["query"]).first()
    attempt = query.attempts.filter(number=report["attempt"]).first() if query else None
    if query is None or attempt is None:
        raise ReportConflict("there is no such attempt")
    if report["order_hash"] != query.order.hash:
        raise ReportConflict("the report is on another order")
    if posted.party not in query.order.parties:
        raise ReportConflict("the order does without this party")
    if posted.kind == "result":
        _check_result(query, posted)
    new, row = _add(attempt, posted)
    if not new:
        return False
    attempt.refresh_from_db()
    if attempt.state == AttemptState.RUNNING:
        # Of two simultaneous last reports one releases; the other finds it done.
        try:
            attempts.tend(attempt)
        except IllegalMove:
            return True
    else:
        attempts.late(attempt, row)
    return True


def _add(attempt: Attempt, posted: Posted) -> tuple[bool, Report]:
    body = canonical(posted.report).decode()
    integers = "" if posted.integers is None else canonical(posted.integers).decode()
    try:
        with transaction.atomic():
            row = Report.objects.create(
                attempt=attempt,
                party=posted.party,
                kind=posted.kind,
                body=body,
                signature=posted.signature,
                integers=integers,
            )
        return True, row
    except IntegrityError:
        pass
    started = posted.kind == ReportKind.STARTED
    words = attempt.reports.filter(party=posted.party)
    there = words.get(kind=ReportKind.STARTED) if started else words.exclude(kind=ReportKind.STARTED).get()
    if started or _same(there, body):
        return False, there
    record(
        "contradiction",
        by=f"party {posted.party}",
        subject=f"query {attempt.query_id}",
        detail={"attempt": attempt.number, "first": there.kind, "then": posted.kind},
    )
    raise ReportConflict("this party has said something else about this attempt before")


def _same(there: Report, body: str) -> bool:
    """Whether two reports say the same; a repeated post may carry a later time."""
    was, now = json.loads(there.body), json.loads(body)
    return {**was, "time": 0} == {**now, "time": 0}


def _check_result(query: Query, posted: Posted) -> None:
    """The integers belong to the signed hash and to the plan that was approved."""
    report, integers = posted.report, posted.integers
    if report["plan_hash"] != query.plan_hash:
        raise ReportConflict("the result is of another plan")
    if report.get("missing") != query.order.missing:
        raise ReportConflict("the result is of other parties than the order's")
    sizes = [
        _cells(release) * (len(release["transform"]) + (query.mode == "exact"))
        for release in query.plan["releases"]
    ]
    fits = (
        isinstance(integers, list)
        and [len(row) if isinstance(row, list) else -1 for row in integers] == sizes
        and all(_whole(-(2**63))(value) for row in integers for value in row)
    )
    if not fits:
        raise ReportRefused("integers: not the shape that the plan releases")
    if digest({"type": PREFIX + "integers", "integers": integers}) != report["result_hash"]:
        raise ReportRefused("integers: not those that were signed", "result_hash")


def _cells(release: dict[str, Any]) -> int:
    cells = 1
    for by in release["by"]:
        cells *= len(by["edges"]) - 1 if "edges" in by else len(by["groups"])
    return cells


def _kind(report: Any) -> str:
    kind = report.get("type") if isinstance(report, dict) else None
    if not isinstance(kind, str) or kind.removeprefix(PREFIX) not in SHAPES or not kind.startswith(PREFIX):
        raise ReportRefused(f"the type of a report is {PREFIX} and one of {', '.join(SHAPES)}")
    return kind.removeprefix(PREFIX)
