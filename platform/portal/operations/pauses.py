"""A pause: running queries end, nothing new is sent. For upgrades and other maintenance.

The word is a row, so every process of the portal and the next dispatcher know it. Approvals, uploads and answers go
on meanwhile: what was approved waits, and so do parties' checks of uploaded bundles.
"""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from portal.audit.actions import record
from portal.operations.models import Pause
from portal.queries.models import Attempt, AttemptState, Query, State

SUBJECT = "dispatcher"


class PauseConflict(Exception):
    """The dispatcher is paused already, or is not."""

    code = "pause_conflict"


def current() -> Pause | None:
    """The pause that lasts now."""
    return Pause.objects.filter(ended=False).first()


def begin(*, by: str, reason: str = "") -> Pause:
    """From here nothing new is sent. Raises PauseConflict."""
    reason = reason.replace("\x00", "").strip()[:400]
    try:
        with transaction.atomic():
            pause = Pause.objects.create(by=by, reason=reason)
            record("paused", by=by, subject=SUBJECT, detail={"reason": reason})
    except IntegrityError:
        raise PauseConflict("the dispatcher is paused already") from None
    return pause


def end(*, by: str) -> None:
    """What waits may start again. Raises PauseConflict."""
    with transaction.atomic():
        ended = Pause.objects.filter(ended=False).update(ended=True, ended_at=timezone.now(), ended_by=by)
        if not ended:
            raise PauseConflict("the dispatcher is not paused")
        record("resumed", by=by, subject=SUBJECT)


def last_end() -> datetime | None:
    """When the last pause ended: parties that were away until then are not late."""
    return Pause.objects.filter(ended=True).order_by("-ended_at").values_list("ended_at", flat=True).first()


def unfinished() -> int:
    """Queries that run, and attempts of cancelled ones that are not settled: 0 is drained."""
    running = Query.objects.filter(state=State.RUNNING).count()
    settling = Attempt.objects.filter(state=AttemptState.RUNNING).exclude(query__state=State.RUNNING)
    return running + settling.count()
