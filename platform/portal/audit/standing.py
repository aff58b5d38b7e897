"""How far the chain of the audit trail stands, told from a few rows: how many lines, the newest, what parties signed last.

A look for a page, in few queries however long the trail; `chain.first_wrong` checks every line and signature.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max

from analytics.query.model import digest
from analytics.query.trail import START, line
from portal.audit.chain import PATIENCE, event_object, unsealed
from portal.audit.models import Event, Line, Witnessed


@dataclass(frozen=True)
class Seen:
    """The last line that a party signed, and when it came; `agrees`: the line here has the hash that was signed."""

    party: int
    number: int
    time: datetime
    agrees: bool


@dataclass(frozen=True)
class Standing:
    """`number` and `hash` are of the newest line. `late` counts events that should have been sealed by now.

    `wrong` is the first thing that does not fit, in words; None if all that was looked at fits.
    """

    number: int
    hash: str
    late: int
    seen: list[Seen]
    wrong: str | None


def standing(now: datetime) -> Standing:
    newest = Line.objects.order_by("-number").first()
    number, head = (newest.number, newest.hash) if newest else (0, START)
    last = Witnessed.objects.order_by().values("party").annotate(newest=Max("pk")).values("newest")
    signed = list(Witnessed.objects.filter(pk__in=last).order_by("party"))
    kept = Line.objects.in_bulk([w.number for w in signed])
    seen = [
        Seen(w.party, w.number, w.created, w.number in kept and kept[w.number].hash == w.hash) for w in signed
    ]
    late = unsealed(now - PATIENCE)
    return Standing(number, head, late, seen, _wrong(newest, seen, late))


def _wrong(newest: Line | None, seen: list[Seen], late: int) -> str | None:
    number = newest.number if newest else 0
    for party in seen:
        if party.number > number:
            return f"the trail ends at line {number}, party {party.party} signed line {party.number}"
        if not party.agrees:
            return f"line {party.number} is not the one that party {party.party} signed"
    if newest is not None:
        if (count := Line.objects.count()) != number:
            return f"the newest line is {number}, and {count} are there"
        before = Line.objects.filter(number=number - 1).values_list("hash", flat=True).first() or START
        event = Event.objects.filter(pk=newest.event_id).first()
        if event is None or line(number, before, digest(event_object(event))) != newest.hash:
            return f"line {number} is not what was sealed"
    if late:
        return "events older than a minute are not sealed: does the dispatcher run?"
    return None
