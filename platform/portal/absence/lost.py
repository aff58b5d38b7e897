"""Declared lost, by people and never by a program: a party that cheats or is cut off must not force the weaker mode.

Where there is a second operator, one declares and another confirms. One party at a time: without two nothing runs.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from portal.absence.models import LostParty
from portal.accounts.models import Role, User
from portal.audit.actions import record
from portal.registry.models import PARTIES, PartyState


class LostRefused(Exception):
    """A party cannot be declared lost, or back, this way."""

    code = "lost_refused"


class NotOperator(Exception):
    """Only an operator declares a party lost or back."""

    code = "not_allowed"


def current() -> int | None:
    """The party that is lost now, by the word of as many operators as are needed."""
    return (
        LostParty.objects.filter(revoked_at__isnull=True, confirmed_at__isnull=False)
        .values_list("party", flat=True)
        .first()
    )


def declare(*, party: int, by: User, reason: str) -> LostParty:
    """Declare a party lost, or confirm what another operator declared. By the same operator again: nothing.

    Raises  NotOperator; LostRefused without a reason, while another party is lost, or while this one reports.
    """
    reason = _checked(party, by, reason)
    with transaction.atomic():
        there = LostParty.objects.select_for_update().filter(revoked_at__isnull=True).first()
        if there is None:
            return _declared(party, by, reason)
        if there.party != party:
            raise LostRefused(f"party {there.party} is declared lost: without two parties nothing can run")
        if there.confirmed_at is None and there.declared_by != by.username:
            _confirm(there, by)
        return there


def revoke(*, party: int, by: User, reason: str) -> LostParty:
    """The party is back, or replaced: no order among three is made or begun from now on.

    Raises  NotOperator; LostRefused without a reason, or if it was not declared lost.
    """
    reason = _checked(party, by, reason)
    with transaction.atomic():
        there = LostParty.objects.select_for_update().filter(party=party, revoked_at__isnull=True).first()
        if there is None:
            raise LostRefused(f"party {party} is not declared lost")
        there.revoked_by, there.revoked_at, there.revoked_because = by.username, timezone.now(), reason
        there.save(update_fields=["revoked_by", "revoked_at", "revoked_because"])
        _note("party returned", there, by, reason=reason)
    return there


def _declared(party: int, by: User, reason: str) -> LostParty:
    since = timezone.now() - timedelta(seconds=settings.FOURFOLD_PARTY_FRESH)
    if PartyState.objects.filter(party=party, last_seen__gt=since).exists():
        raise LostRefused(f"party {party} reports: stop it first, or wait until it is silent")
    try:
        with transaction.atomic():
            there = LostParty.objects.create(party=party, reason=reason, declared_by=by.username)
    except IntegrityError:
        raise LostRefused("somebody else declared it at the same time") from None
    _note("party declared lost", there, by, reason=reason)
    if not User.objects.filter(role=Role.OPERATOR, is_active=True).exclude(pk=by.pk).exists():
        _confirm(there, by)
    return there


def _confirm(there: LostParty, by: User) -> None:
    there.confirmed_by, there.confirmed_at = by.username, timezone.now()
    there.save(update_fields=["confirmed_by", "confirmed_at"])
    _note("party lost", there, by, alone=by.username == there.declared_by)


def _checked(party: int, by: User, reason: str) -> str:
    if by.role != Role.OPERATOR:
        raise NotOperator("only an operator declares a party lost or back")
    if not 0 <= party < PARTIES:
        raise LostRefused(f"there is no party {party}")
    if not reason.strip():
        raise LostRefused("say why, in the field reason")
    return reason.strip()[:4096]


def _note(kind: str, there: LostParty, by: User, **detail: Any) -> None:
    record(kind, by=by.username, subject=f"party {there.party}", detail=detail)
