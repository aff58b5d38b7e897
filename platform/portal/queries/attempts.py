"""Attempts: an approved query runs once, or once more if the first attempt died before anybody signed.

Everything is decided from rows, so a dispatcher that was killed continues where it was.
"""

import json
from contextlib import suppress
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.absence import consents, lost
from portal.audit.actions import record
from portal.budgets import actions as budgets
from portal.operations import pauses
from portal.queries import release
from portal.queries.models import Attempt, AttemptState, Query, QueryDataset, Report, ReportKind, State
from portal.queries.states import IllegalMove, move
from portal.registry import parties
from portal.registry.models import Dataset, DatasetState
from portal.registry.versions import superseded_text

DISPATCHER = "dispatcher"
CANCELLED = "cancelled"
SUPERSEDED = "superseded"
# What an operator has to know of codes that come back until somebody acts.
EXPLAINED = {
    "rollback": ": a party's ledger is older than its peers saw, such as one restored from a backup;"
    " the list of parties names it",
    "version": ": the parties run different code; the list of parties names it",
}


def begin(query: Query) -> Attempt | None:
    """Take an APPROVED query to RUNNING with its first attempt; None if it ended here instead.

    The mode of the datasets' chains is fixed by the first order that runs.
    """
    with transaction.atomic():
        if earlier := release.stored_answer(query):
            release.release_stored(query, earlier)
            return None
        move(query, State.RUNNING, by=DISPATCHER)
        if query.order.expires < timezone.now().timestamp():
            abort(query, code="order_expired", reason="the order expired before it could run")
            return None
        if query.order.missing not in (None, lost.current()):
            abort(query, code="party_returned", reason=f"party {query.order.missing} is no longer lost")
            return None
        if _superseded(query):
            return None
        for dataset in query.datasets.order_by("pk"):
            chain = Dataset.objects.filter(chain=dataset.chain)
            if chain.exclude(mode__in=["", query.mode]).exists():
                abort(query, code="mode_fixed", reason=f"dataset {dataset.pk} is used in the other mode")
                return None
            chain.update(mode=query.mode)
        return Attempt.objects.create(query=query, number=1)


def begin_next(query: Query, now: datetime) -> Attempt | None:
    """The next attempt of a RUNNING query without one, once all parties are back or waited for long enough."""
    last = query.attempts.last()
    if last is None:
        return Attempt.objects.create(query=query, number=1)
    if last.state != AttemptState.FAILED or last.ended_at is None:
        return None
    waited = (now - last.ended_at).total_seconds()
    if not parties.fresh(now, without=query.order.missing) and waited < settings.FOURFOLD_PARTY_WAIT:
        return None
    with transaction.atomic():
        # Cancelled in this moment: then no attempt follows.
        if not Query.objects.select_for_update().filter(pk=query.pk, state=State.RUNNING).exists():
            return None
        if _superseded(query) or _exchanged().filter(query=query.pk).exists():
            return None
        return Attempt.objects.create(query=query, number=last.number + 1)


def end_superseded() -> None:
    """Queries that wait for a decision or for their turn, on a version that answers no more, end now.

    One that was answered before gets the stored answer: that tells nothing new.
    """
    old = Query.objects.filter(datasets__state=DatasetState.SUPERSEDED).distinct()
    for query in old.filter(state=State.SUBMITTED):
        with suppress(IllegalMove), transaction.atomic():
            if earlier := release.stored_answer(query):
                release.release_stored(query, earlier)
            else:
                dataset = query.datasets.filter(state=DatasetState.SUPERSEDED).order_by("pk")[0]
                move(query, State.REFUSED, by=DISPATCHER, reason=superseded_text(dataset), code=SUPERSEDED)
    for query in old.filter(state=State.APPROVED):
        with suppress(IllegalMove):
            begin(query)


def _exchanged() -> QuerySet[QueryDataset]:
    """The tables of queries of which parties look at a new version now: each already answers on that alone."""
    coming = Dataset.objects.filter(state=DatasetState.CHECKING, version__gt=1)
    return QueryDataset.objects.filter(dataset__chain__in=coming.values("chain"))


def _superseded(query: Query) -> bool:
    """Whether the query was ABORTED here since a dataset of it answers no more."""
    dataset = query.datasets.filter(state=DatasetState.SUPERSEDED).order_by("pk").first()
    if dataset is None:
        return False
    abort(query, code=SUPERSEDED, reason=superseded_text(dataset))
    return True


def tend(attempt: Attempt, now: datetime | None = None) -> None:
    """Look at a running attempt's reports and clock: release, end it, or leave it alone."""
    now = now or timezone.now()
    reports = list(attempt.reports.all())
    final = [r for r in reports if r.kind != ReportKind.STARTED]
    if attempt.query.state != State.RUNNING:
        settle_cancelled(attempt, reports, now)
        return
    agreeing = release.agreeing(final)
    if agreeing:
        complete = (
            len(final) == _everybody(attempt)
            or _age(agreeing[-1].time, now) >= settings.FOURFOLD_RELEASE_GRACE
        )
        if complete:
            try:
                release.release(attempt, agreeing)
            except release.ReleaseFailed:
                end(attempt, final, code="release_failed")
        return
    age = _age(attempt.started_at, now)
    results = [r for r in final if r.kind == ReportKind.RESULT]
    failures = [r for r in final if r.kind != ReportKind.RESULT]
    quiet = _age(final[-1].time, now) if final else 0.0
    if (
        len(final) == _everybody(attempt)
        or age >= settings.FOURFOLD_ATTEMPT_TIMEOUT
        or (failures and not results and quiet >= settings.FOURFOLD_SETTLE_SECONDS)
    ):
        end(attempt, final)


def settle_cancelled(attempt: Attempt, reports: list[Report], now: datetime) -> None:
    """Settle the attempt of a cancelled query once all parties spoke, or none has for FOURFOLD_SETTLE_SECONDS.

    Spent if a READY may have left: a party says so or signed a result, or it started and is silent still.
    Nothing is released, whatever parties sign from here.
    """
    final = [r for r in reports if r.kind != ReportKind.STARTED]
    spoke = {r.party for r in final}
    event = attempt.query.events.last()
    last_word = max([r.time for r in reports] + ([event.time] if event else []))
    if len(spoke) < _everybody(attempt) and _age(last_word, now) < settings.FOURFOLD_SETTLE_SECONDS:
        return
    silent = {r.party for r in reports} - spoke
    spent = bool(silent) or any(r.kind == ReportKind.RESULT or _ready(r) for r in final)
    with transaction.atomic():
        if _fail(attempt, CANCELLED, final):
            _settle(attempt, spent=spent)


def end(attempt: Attempt, final: list[Report], *, code: str = "") -> None:
    """The attempt failed: settle its reservation, then allow another attempt or abort the query."""
    query = attempt.query
    refusals = [r for r in final if r.kind == ReportKind.REFUSAL]
    results = [r for r in final if r.kind == ReportKind.RESULT]
    code = code or _code(refusals or final)
    with transaction.atomic():
        if not _fail(attempt, code, final):
            return
        _settle(attempt, spent=bool(results) or any(_ready(r) for r in final))
        last = attempt.number >= query.order.max_attempts
        expired = query.order.expires < timezone.now().timestamp()
        if results:
            # Somebody signed: a second attempt could release a second answer.
            failed = code == "release_failed"
            reason = (
                "no answer could be made" if failed else "fewer than three parties signed the same result"
            )
            abort(query, code=code if failed else "no_agreement", reason=reason)
        elif refusals:
            who = ", ".join(str(r.party) for r in refusals)
            abort(query, code=code, reason=f"refused by party {who}: {code}")
        elif last or expired:
            reason = f"attempt {attempt.number} ended with {code}"
            abort(query, code=code, reason=reason + EXPLAINED.get(code, ""))


def abort(query: Query, *, code: str, reason: str) -> None:
    """The query is ABORTED for good; what is still reserved returns."""
    with transaction.atomic():
        budgets.give_back_unsettled(query=query.pk)
        move(query, State.ABORTED, by=DISPATCHER, reason=reason, code=code)


def late(attempt: Attempt, report: Report) -> None:
    """A last word after the attempt was settled: a READY shown then is debited now."""
    if report.kind != ReportKind.RESULT and not _ready(report):
        return
    detail = {"attempt": attempt.number, "party": report.party, "kind": report.kind}
    try:
        budgets.spend(query=attempt.query_id, attempt=attempt.number)
    except budgets.BudgetExhausted:
        detail["left_out"] = "the account no longer covers it; the parties' ledgers hold it"
    record("late debit", by=f"party {report.party}", subject=f"query {attempt.query_id}", detail=detail)


def waiting(now: datetime) -> Query | None:
    """The APPROVED query that has waited longest among those that may begin.

    Not one whose table parties exchange for a new version now.
    """
    approved = Query.objects.filter(state=State.APPROVED).exclude(pk__in=_exchanged().values("query"))
    ordered = approved.select_related("order").order_by("approved_at", "pk")
    return next((query for query in ordered if may_begin(query, now)), None)


def may_begin(query: Query, now: datetime) -> bool:
    """Parties that are away would only burn an attempt: they are waited for, but not for ever.

    An order among three waits for the consent of every provider, until it expires.
    """
    if query.order.expires < now.timestamp():
        return True  # to be ended
    if not consents.complete(query, now.timestamp()):
        return False
    if parties.fresh(now, without=query.order.missing):
        return True
    since = max(filter(None, [query.approved_at, pauses.last_end()]), default=now)
    return _age(since, now) >= settings.FOURFOLD_PARTY_WAIT


def is_in_flight(query: Query) -> bool:
    return query.state == State.RUNNING


def is_running(attempt: Attempt) -> bool:
    return attempt.state == AttemptState.RUNNING


def has_failed(attempt: Attempt) -> bool:
    return attempt.state == AttemptState.FAILED


def cancelled() -> list[Attempt]:
    """The attempts of cancelled queries that are not settled yet."""
    return list(
        Attempt.objects.filter(state=AttemptState.RUNNING, query__state=State.ABORTED).select_related("query")
    )


def in_flight() -> list[Query]:
    return list(Query.objects.filter(state=State.RUNNING).order_by("approved_at", "pk"))


def untold(attempt: Attempt, now: datetime) -> bool:
    """Whether the parties have to be told of this attempt, for the first time or again."""
    if attempt.told_at is None:
        return True
    if _age(attempt.told_at, now) < settings.FOURFOLD_TELL_AGAIN:
        return False
    return attempt.reports.values("party").distinct().count() < _everybody(attempt)


def running_attempt(query: Query) -> Attempt | None:
    return query.attempts.filter(state=AttemptState.RUNNING).first()


def _everybody(attempt: Attempt) -> int:
    """How many parties take part."""
    return len(attempt.query.order.parties)


def _fail(attempt: Attempt, code: str, final: list[Report]) -> bool:
    """The attempt is FAILED; False if somebody else ended it first."""
    ended = Attempt.objects.filter(pk=attempt.pk, state=AttemptState.RUNNING).update(
        state=AttemptState.FAILED, code=code, ended_at=timezone.now()
    )
    if ended:
        record(
            "attempt failed",
            by=DISPATCHER,
            subject=f"query {attempt.query_id}",
            detail={"attempt": attempt.number, "code": code, "parties": [r.party for r in final]},
        )
    return bool(ended)


def _settle(attempt: Attempt, *, spent: bool) -> None:
    if spent:
        budgets.spend(query=attempt.query_id, attempt=attempt.number)
    else:
        budgets.give_back(query=attempt.query_id, attempts=[attempt.number])


def _age(then: datetime, now: datetime) -> float:
    return (now - then).total_seconds()


def _ready(report: Report) -> bool:
    return report.kind == ReportKind.ABORT and bool(json.loads(report.body).get("ready"))


def _code(reports: list[Report]) -> str:
    """The cause that parties report; that a peer gave up or fell silent is said only where nobody says why."""
    codes = [str(code)[:40] for report in reports if (code := json.loads(report.body).get("code"))]
    if not codes:
        return "no_agreement" if reports else "timeout"
    effects = {"peer_aborted": 2, "timeout": 1}
    return min(codes, key=lambda code: effects.get(code, 0))
