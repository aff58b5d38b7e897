"""How long the stages of a query took, as cumulative histograms over rows.

Rows only ever end, so each web process adds up those that ended since it last looked, and all of them come to the
same figures at the same time. Rows count half a minute after they ended: by then whoever wrote them has committed.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.db.models import Max, Min, Q
from django.utils import timezone

from portal.queries.models import Attempt, AttemptState, Query, ReportKind

BUCKETS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 3600.0, 86400.0)  # seconds
LAG = timedelta(seconds=30)
STAGES = ("decide", "wait", "start", "compute", "release")


class Histogram:
    """Counts by bucket, and their sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound as text, how many were at most that)."""
        bounds = [*(str(b) for b in BUCKETS), "+Inf"]
        return [(bound, float(sum(self.counts[: i + 1]))) for i, bound in enumerate(bounds)]


class Durations:
    """The histograms of one web process, by (stage, outcome)."""

    def __init__(self) -> None:
        self.histograms: dict[tuple[str, str], Histogram] = {}
        self._until: datetime | None = None
        self._lock = threading.Lock()

    def read(self, now: datetime | None = None) -> dict[tuple[str, str], Histogram]:
        """The histograms of everything that ended before LAG ago."""
        with self._lock:
            until = (now or timezone.now()) - LAG
            if self._until is None or until > self._until:
                for stage, outcome, seconds in stages(self._until, until):
                    key = stage, outcome
                    self.histograms.setdefault(key, Histogram()).add(max(0.0, seconds))
                self._until = until
            return dict(self.histograms)


def stages(since: datetime | None, until: datetime) -> Iterator[tuple[str, str, float]]:
    """(stage, outcome, seconds) of what ended in [since, until).

    decide   submitted until approved: people. Not of stored answers, which nobody decides.
    wait     approved until the first attempt was made: the dispatcher, parties that are away, a queue
    start    attempt made until a party's first word: Celery, the order, a party's checks
    compute  first word until the last result: handshake, rounds, opening
    release  last result until the answer can be read
    """
    ended = Attempt.objects.filter(ended_at__lt=until).exclude(state=AttemptState.RUNNING)
    approved = Query.objects.filter(approved_at__lt=until, stored_from__isnull=True)
    if since is not None:
        ended, approved = ended.filter(ended_at__gte=since), approved.filter(approved_at__gte=since)
    for created, at in approved.values_list("created", "approved_at").iterator():
        if at is not None:
            yield "decide", "approved", _seconds(created, at)
    rows = ended.annotate(
        first=Min("reports__time", filter=Q(reports__kind=ReportKind.STARTED)),
        last=Max("reports__time", filter=Q(reports__kind=ReportKind.RESULT)),
    ).values_list("number", "state", "query__approved_at", "started_at", "first", "last", "ended_at")
    for number, state, approved_at, started, first, last, end in rows.iterator():
        outcome = state.lower()
        if number == 1 and approved_at is not None:
            yield "wait", outcome, _seconds(approved_at, started)
        yield from _attempt(outcome, [started, first, last, end])


def _attempt(outcome: str, moments: list[datetime | None]) -> Iterable[tuple[str, str, float]]:
    """Stages between moments that are known; a failed attempt lacks some."""
    started, first, last, end = moments
    for stage, begin, finish in (("start", started, first), ("compute", first, last), ("release", last, end)):
        if begin is not None and finish is not None:
            yield stage, outcome, _seconds(begin, finish)


def _seconds(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds()
