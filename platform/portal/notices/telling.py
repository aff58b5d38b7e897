"""Who is told what: written in the transaction of the event itself, so that nobody is told what did not happen.

Public facts alone: that a query moved, that a party is silent. Never an answer, a size or a reason's text.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from portal.accounts.models import Role, User
from portal.notices.models import Kind, Notice
from portal.queries.models import Query, State
from portal.registry.models import Dataset, PartyState

KEPT = timedelta(days=90)
DECISIONS = (Kind.QUERY_WAITS, Kind.QUERY_WAITS_FOR_SECOND)
# Of these states of a query its analyst is told.
TO_ANALYST = {
    State.APPROVED: Kind.QUERY_APPROVED,
    State.REFUSED: Kind.QUERY_REFUSED,
    State.RELEASED: Kind.QUERY_RELEASED,
    State.ABORTED: Kind.QUERY_ABORTED,
}


def tell(people: Iterable[User], kind: Kind, subject: object) -> None:
    """One notice for each."""
    Notice.objects.bulk_create(Notice(user=person, kind=kind, subject=f"{subject}"[:64]) for person in people)


def query_waits(query: UUID) -> None:
    """Operators are told that a decision is asked of them."""
    tell(_operators(), Kind.QUERY_WAITS, query)


def query_waits_for_second(query: UUID, *, first: User) -> None:
    """Of two approvals one is there: the other operators are told, and the first has nothing more to do."""
    decided(query)
    tell(_operators().exclude(pk=first.pk), Kind.QUERY_WAITS_FOR_SECOND, query)


def decided(query: UUID) -> None:
    """No decision is asked any more: what told of it counts as read."""
    waiting = Notice.objects.filter(kind__in=DECISIONS, subject=f"{query}", read_at=None)
    waiting.update(read_at=timezone.now())


def query_moved(query: Query, *, was: str, to: str, passing: bool) -> None:
    """The analyst is told how it goes on, providers that their dataset is asked about; of a state in `passing` neither."""
    if was == State.SUBMITTED:
        decided(query.pk)
    if passing:
        return
    if to in TO_ANALYST:
        tell([query.analyst], TO_ANALYST[State(to)], query.pk)
    if to == State.RUNNING:
        for dataset in query.datasets.all():
            tell(_providers(dataset), Kind.DATASET_ASKED, dataset.pk)


def dataset_moved(dataset: Dataset, kind: Kind) -> None:
    """The people of its organisation are told."""
    tell(_providers(dataset), kind, dataset.pk)


def watch_parties(now: datetime | None = None) -> None:
    """Operators are told once of each silence of a party that lasts longer than a query would wait for it."""
    now = now or timezone.now()
    before = now - timedelta(seconds=settings.FOURFOLD_PARTY_WAIT)
    for state in PartyState.objects.filter(last_seen__lt=before):
        told = Notice.objects.filter(
            kind=Kind.PARTY_SILENT, subject=f"{state.party}", time__gte=state.last_seen
        )
        if not told.exists():
            tell(_operators(), Kind.PARTY_SILENT, state.party)


def unread(user: User) -> int:
    return Notice.objects.filter(user=user, read_at=None).count()


def forget(now: datetime | None = None) -> None:
    """Notices are deleted after three months; the audit trail stays."""
    Notice.objects.filter(time__lt=(now or timezone.now()) - KEPT).delete()


def _operators() -> QuerySet[User]:
    return User.objects.filter(role=Role.OPERATOR, is_active=True)


def _providers(dataset: Dataset) -> QuerySet[User]:
    return User.objects.filter(role=Role.PROVIDER, is_active=True, organisation=dataset.provider_id)
