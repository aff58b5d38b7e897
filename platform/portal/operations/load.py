"""What waits, what runs, and how much was done each hour, from rows."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min

from portal.queries.models import Attempt, AttemptState, Query, QueryEvent, State

HOURS = 24
ENDS = (State.RELEASED, State.ABORTED, State.REFUSED)


@dataclass(frozen=True)
class Hour:
    """What ended in the hour from `start`."""

    start: datetime
    submitted: int
    released: int
    aborted: int
    refused: int


def waiting(now: datetime) -> list[dict[str, Any]]:
    """How many queries wait in each state that waits, and since when the oldest does (seconds)."""
    states = (State.SUBMITTED, State.APPROVED, State.RUNNING)
    found = {
        state: (count, since)
        for state, count, since in Query.objects.order_by()
        .filter(state__in=states)
        .values_list("state")
        .annotate(Count("pk"), Min("created"))
    }
    rows = [(state, *found.get(state, (0, None))) for state in states]
    return [
        {"state": s.value, "count": n, "oldest": (now - since).total_seconds() if since else None}
        for s, n, since in rows
    ]


def in_flight(now: datetime) -> list[dict[str, Any]]:
    """Attempts that are with the parties, oldest first, with their age in seconds."""
    running = Attempt.objects.filter(state=AttemptState.RUNNING).select_related("query__analyst")
    return [
        {"attempt": a, "seconds": max(0.0, (now - a.started_at).total_seconds())}
        for a in running.order_by("started_at")
    ]


def throughput(now: datetime) -> list[Hour]:
    """The last HOURS hours, the one that lasts now first."""
    newest = now.replace(minute=0, second=0, microsecond=0)
    since = newest - timedelta(hours=HOURS - 1)
    counted: Counter[tuple[datetime, str]] = Counter()
    for time, state in QueryEvent.objects.filter(
        time__gte=since, now__in=(State.SUBMITTED, *ENDS)
    ).values_list("time", "now"):
        counted[time.replace(minute=0, second=0, microsecond=0), state] += 1
    starts = [newest - timedelta(hours=back) for back in range(HOURS)]
    return [
        Hour(start, *(counted[start, state.value] for state in (State.SUBMITTED, *ENDS))) for start in starts
    ]
