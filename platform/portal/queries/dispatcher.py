"""The dispatcher: at most c queries in flight, everything decided from rows, broker trouble waited out.

One process does this, held by a lock that its death releases; whoever comes next continues from the rows.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection
from django.db.models import Q
from django.utils import timezone

from analytics import logs
from portal.absence import replacement
from portal.audit import chain
from portal.dispatch import BrokerDown, CelerySender, Sender
from portal.notices import telling
from portal.operations import pauses, retention
from portal.queries import attempts
from portal.queries.models import Attempt, Query
from portal.queries.states import IllegalMove
from portal.registry.models import PARTIES, Dataset, DatasetState

log = logging.getLogger("portal.dispatch")
_LOCK = 0x464F5552  # PostgreSQL advisory lock: "FOUR"


class AnotherDispatcher(Exception):
    """Another dispatcher runs already."""

    code = "another_dispatcher"


def tick(sender: Sender) -> None:
    """One look at everything: end or release attempts, tell parties, start what may start and no pause holds."""
    now = timezone.now()
    _tell_of_datasets(sender)
    replacement.tell(sender)
    for stopping in attempts.cancelled():
        # The key lives a minute and the broker may have been down: parties are told until they have spoken.
        sender.cancel(str(stopping.query_id), stopping.number)
        attempts.tend(stopping, now)
    running = attempts.in_flight()
    for query in running:
        with logs.bound(query=str(query.pk)):
            try:
                _tend(query, sender)
            except (BrokerDown, OperationalError, InterfaceError):
                raise
            except Exception:
                # One query that cannot be tended must not keep the others waiting.
                log.exception("query %s could not be tended", query.pk)
    free = settings.FOURFOLD_JOBS_IN_FLIGHT - len(attempts.in_flight() if running else [])
    while free > 0:
        following = attempts.waiting(now)
        if following is None or pauses.current():
            break
        try:
            with logs.bound(query=str(following.pk)):
                attempt = attempts.begin(following)
        except IllegalMove:
            continue  # withdrawn in the same moment
        if attempt is not None:
            _tell(attempt, sender)
            free -= 1


def run(sender: Sender | None = None, *, stopped: threading.Event, sleep: Callable[[float], object]) -> None:
    """Tick until `stopped`; then tell the parties to stop waiting for each other.

    Raises  AnotherDispatcher.
    """
    sender = sender or CelerySender()
    held_once = False
    while not stopped.is_set():
        try:
            with alone():
                held_once = True
                _loop(sender, stopped, sleep)
        except AnotherDispatcher:
            if not held_once:
                raise
            sleep(1.0)  # our own lock, until the server notices that its connection is gone
        except (OperationalError, InterfaceError) as wrong:
            log.warning("waiting for the database: %s", type(wrong).__name__)
            close_old_connections()
            sleep(1.0)
    cancel_running(sender)


def _loop(sender: Sender, stopped: threading.Event, sleep: Callable[[float], object]) -> None:
    waiting, tidy_at = False, time.monotonic()
    # Everything may have been down: parties get time to be heard before anybody is told of silence.
    watch_at = time.monotonic() + settings.FOURFOLD_PARTY_WAIT
    while not stopped.is_set():
        if time.monotonic() >= tidy_at:
            tidy_at += retention.EVERY
            retention.tidy()
            telling.forget()
        if time.monotonic() >= watch_at:
            watch_at = time.monotonic() + settings.FOURFOLD_PARTY_FRESH
            telling.watch_parties()
        chain.seal()
        try:
            tick(sender)
            waiting = False
        except BrokerDown as wrong:
            if not waiting:
                log.warning("waiting for the broker: %s", wrong)
            waiting = True
        sleep(1.0 if waiting else settings.FOURFOLD_POLL_SECONDS)


def cancel_running(sender: Sender) -> None:
    """Before everything stops: parties in mid-query abort instead of waiting. Rows stay as they are."""
    for query in attempts.in_flight():
        attempt = attempts.running_attempt(query)
        if attempt is None:
            continue
        try:
            sender.cancel(str(query.pk), attempt.number)
        except BrokerDown:
            return


@contextmanager
def alone() -> Iterator[None]:
    """Hold the dispatcher's lock. Raises AnotherDispatcher if it is held."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
            if not cursor.fetchone()[0]:
                raise AnotherDispatcher
        try:
            yield
        finally:
            # A connection that broke took its lock with it.
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
        return
    path = Path(settings.PORTAL_DIR) / "dispatch.lock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AnotherDispatcher from None
        yield
    finally:
        os.close(descriptor)


def _tend(query: Query, sender: Sender) -> None:
    now = timezone.now()
    attempt = attempts.running_attempt(query)
    if attempt is not None:
        logs.bind(attempt=attempt.number)
        try:
            attempts.tend(attempt, now)
        except IllegalMove:
            return
        attempt.refresh_from_db()
        if attempts.has_failed(attempt):
            # Whoever still waits for a party that refused or gave up waits for nothing.
            sender.cancel(str(query.pk), attempt.number)
        if attempts.is_running(attempt):
            # Of a query that was cancelled in this moment the next look takes care.
            if attempts.is_in_flight(attempt.query) and attempts.untold(attempt, now):
                _tell(attempt, sender)
            return
        query.refresh_from_db()
    if attempts.is_in_flight(query) and (following := attempts.begin_next(query, timezone.now())):
        _tell(following, sender)


def _tell(attempt: Attempt, sender: Sender) -> None:
    query = str(attempt.query_id)
    missing = attempt.query.order.missing
    sender.run(query, attempt.number, *([] if missing is None else [missing]))
    Attempt.objects.filter(pk=attempt.pk).update(told_at=timezone.now())


def _tell_of_datasets(sender: Sender) -> None:
    """Parties that have not yet answered on an uploaded dataset are told, again every so often."""
    before = timezone.now() - timedelta(seconds=settings.FOURFOLD_TELL_AGAIN)
    untold = Dataset.objects.filter(
        Q(told_at__isnull=True) | Q(told_at__lt=before), state=DatasetState.CHECKING
    )
    for dataset in untold if untold and not pauses.current() else ():
        answered = set(
            dataset.receipts.filter(manifest_hash=dataset.manifest_hash).values_list("party", flat=True)
        )
        for party in range(PARTIES):
            if party not in answered:
                sender.ingest(dataset.pk, party)
        Dataset.objects.filter(pk=dataset.pk).update(told_at=timezone.now())
