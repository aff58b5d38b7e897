"""The audit trail as a chain: lines are sealed in order, parties countersign its head, anybody can check it.

Events are written where things happen, in the transaction of what they describe. One writer, the dispatcher, then
seals them: gives each the next number and the hash that `analytics.query.trail` computes. So no action waits for
another's line, and an event is unsealed for about a second. A party's heartbeat names the last line that the party
saw, under its signature; each new head that it signs is kept. Public: all of it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction

from analytics.query.approval import BadSignature, verify
from analytics.query.model import canonical, digest
from analytics.query.trail import START, line
from portal.audit.models import Event, Line, Witnessed

BATCH = 500
MOST = 1000  # digests in one answer to a party
PATIENCE = timedelta(seconds=60)  # the dispatcher seals within a second while it runs
LATE = 1000  # ids: an event that was written earlier may become visible after a later one


def event_object(event: Event) -> dict[str, Any]:
    """What of an event is sealed; the detail as its text, whatever numbers it holds."""
    return {
        "type": "fourfold/1/audit-event",
        "time": event.time.astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": event.kind,
        "by": event.by,
        "subject": event.subject,
        "detail": json.dumps(event.detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
    }


def seal() -> int:
    """Seal what is not sealed yet; how many lines were added. For one process at a time: the dispatcher's."""
    last = Line.objects.order_by("-number").first()
    newest = 0 if last is None else last.event_id
    waiting = list(Event.objects.filter(line=None, id__gt=newest - LATE).order_by("id")[:BATCH])
    if not waiting:
        return 0
    number, head = (0, START) if last is None else (last.number, last.hash)
    lines = []
    for event in waiting:
        number += 1
        sealed = digest(event_object(event))
        head = line(number, head, sealed)
        lines.append(Line(number=number, event=event, digest=sealed, hash=head))
    with transaction.atomic():
        Line.objects.bulk_create(lines)
    return len(lines)


def since(number: int) -> dict[str, Any]:
    """What a party that saw line `number` is told: the digests that follow, at most MOST, and where they lead."""
    rows = list(
        Line.objects.filter(number__gt=number)
        .order_by("number")
        .values_list("number", "digest", "hash")[:MOST]
    )
    if rows:
        return {"number": rows[-1][0], "hash": rows[-1][2], "events": [row[1] for row in rows]}
    last = Line.objects.order_by("-number").first()
    return {"number": last.number if last else 0, "hash": last.hash if last else START, "events": []}


def countersign(party: int, report: Mapping[str, Any], signature: str) -> dict[str, Any]:
    """Keep the head that a party's heartbeat signs, if it is another than before; the answer to it."""
    said = (report.get("health") or {}).get("audit")
    if said is None:
        return since(0)
    if said["number"]:
        newest = Witnessed.objects.filter(party=party).order_by("-id").first()
        if newest is None or (newest.number, newest.hash) != (said["number"], said["hash"]):
            Witnessed.objects.create(
                party=party, number=said["number"], hash=said["hash"],
                report=canonical(report).decode(), signature=signature,
            )  # fmt: skip
    return since(said["number"])


@dataclass(frozen=True)
class Head:
    """A line that a party signed to have seen."""

    party: int
    number: int
    hash: str
    report: str
    signature: str


def lines() -> Iterable[dict[str, Any]]:
    """The trail as its export has it, in order: number, event, hash. An event that is gone is null."""
    for row in Line.objects.order_by("number").select_related("event").iterator(chunk_size=2000):
        yield {"number": row.number, "event": event_object(row.event), "hash": row.hash}


def heads() -> list[Head]:
    return [Head(w.party, w.number, w.hash, w.report, w.signature) for w in Witnessed.objects.order_by("id")]


def unsealed(before: datetime) -> int:
    """Events older than `before` that no line holds."""
    return Event.objects.filter(line=None, time__lt=before).count()


def first_wrong(
    trail: Iterable[Mapping[str, Any]], signed: Iterable[Head], keys: Mapping[int, str]
) -> str | None:
    """The first thing that is wrong with a trail, in words that name its line; None if it holds.

    `keys` are the parties' public signing keys; a head under another key proves nothing and is named.
    """
    number, head, hashes = 0, START, {}
    for row in trail:
        if row["number"] != number + 1:
            return f"line {number + 1} is missing: line {row['number']} follows line {number}"
        number += 1
        head = line(number, head, digest(dict(row["event"])))
        if head != row["hash"]:
            return f"line {number} is not what was sealed: it, its place or a line before it was changed"
        hashes[number] = head
    for seen in signed:
        if (wrong := _signature_of(seen, keys)) is not None:
            return wrong
        if seen.number > number:
            return f"the trail ends at line {number}, party {seen.party} signed line {seen.number}: its end was cut off"
        if hashes[seen.number] != seen.hash:
            return f"line {seen.number} is not the one that party {seen.party} signed: it or a line before it was replaced"
    return None


def _signature_of(seen: Head, keys: Mapping[int, str]) -> str | None:
    try:
        report = json.loads(seen.report)
        said = report["health"]["audit"]
        verify(report, seen.signature, keys[seen.party])
        if (report["party"], said["number"], said["hash"]) == (seen.party, seen.number, seen.hash):
            return None
    except (BadSignature, ValueError, KeyError, TypeError):
        pass
    return f"the signature of party {seen.party} on line {seen.number} is not its own"
