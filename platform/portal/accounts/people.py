"""What operators do to other people's accounts: make, change, close, open, give a new password.

An operator manages providers, analysts and auditors. Accounts of operators are a superuser's: otherwise one operator
could make or take over the second one that an approval by two needs. Whoever sets a password could log in with it, so it
is shown once, must be changed at the first log-in, and everything is in the audit trail.
"""

import secrets
from typing import Any

from axes.models import AccessAttempt
from axes.utils import reset as reset_failures
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from knox.models import AuthToken

from portal.accounts import second_factor
from portal.accounts.models import Organisation, Role, User
from portal.audit.actions import record
from portal.notices import telling
from portal.notices.models import Kind


class PeopleRefused(Exception):
    """This cannot be done to this account, or not by this person."""

    code = "people_refused"


def may_manage(by: User, user: User) -> bool:
    """Whether `by` may change the account of `user` at all."""
    if by.role != Role.OPERATOR or by.pk == user.pk:
        return False
    return by.is_superuser or not (user.role == Role.OPERATOR or user.is_superuser)


def create(*, by: User, name: str, role: str, organisation: str) -> tuple[User, str]:
    """A new account and its first password, shown this once. Raises PeopleRefused."""
    _may_have(by, role)
    password = _password()
    try:
        with transaction.atomic():
            user = User(username=User.normalize_username(name.strip()), role=role)
            user.organisation = _home(organisation, role)
            user.is_staff, user.must_change_password = role == Role.OPERATOR, True
            user.set_password(password)
            user.full_clean()
            user.save()
            _note("account made", by, user)
    except ValidationError as wrong:
        raise PeopleRefused("; ".join(wrong.messages).rstrip(".")) from None
    except IntegrityError:
        raise PeopleRefused("an account of that name is there already") from None
    return user, password


@transaction.atomic
def change(*, by: User, user: User, role: str, organisation: str) -> None:
    """Another role or organisation. Raises PeopleRefused."""
    user = _managed(by, user)
    _may_have(by, role)
    was = {"was_role": user.role, "was_organisation": user.organisation and user.organisation.name}
    user.role, user.organisation, user.is_staff = role, _home(organisation, role), role == Role.OPERATOR
    user.save(update_fields=["role", "organisation", "is_staff"])
    _note("account", by, user, **was)


@transaction.atomic
def close(*, by: User, user: User) -> None:
    """Nothing opens it any more: sessions end, tokens are gone. What the person did stays. Raises PeopleRefused."""
    user = _managed(by, user)
    user.is_active = False
    user.save(update_fields=["is_active"])
    _shut(user)
    _note("account closed", by, user)


@transaction.atomic
def reopen(*, by: User, user: User) -> None:
    """Raises PeopleRefused."""
    user = _managed(by, user)
    user.is_active = True
    user.save(update_fields=["is_active"])
    _note("account opened", by, user)


@transaction.atomic
def reset_password(*, by: User, user: User) -> str:
    """A new password, shown this once, which the person must change; sessions and tokens end. Raises PeopleRefused."""
    user = _managed(by, user)
    password = _password()
    user.set_password(password)
    user.must_change_password = True
    user.save(update_fields=["password", "must_change_password"])
    _shut(user)
    reset_failures(username=user.username)
    _note("password reset", by, user)
    telling.tell([user], Kind.ACCOUNT_CHANGED, by.username)
    return password


@transaction.atomic
def revoke_tokens(*, by: User, user: User) -> int:
    """How many there were. Raises PeopleRefused."""
    user = _managed(by, user)
    count, _ = AuthToken.objects.filter(user=user).delete()
    _note("tokens revoked", by, user, tokens=count)
    return int(count)


@transaction.atomic
def remove_factor(*, by: User, user: User) -> None:
    """For who lost telephone and recovery codes. Raises PeopleRefused, NotEnrolled."""
    second_factor.remove(_managed(by, user), by=by.username)
    telling.tell([user], Kind.ACCOUNT_CHANGED, by.username)


def unlock(*, by: User, user: User) -> None:
    """Failed log-ins are forgotten. Raises PeopleRefused."""
    _managed(by, user)
    reset_failures(username=user.username)
    _note("account unlocked", by, user)


def locked_out() -> set[str]:
    """Names that failed too often to log in from some address just now."""
    failed = AccessAttempt.objects.filter(failures_since_start__gte=settings.AXES_FAILURE_LIMIT)
    return set(failed.values_list("username", flat=True))


def _managed(by: User, user: User) -> User:
    """The account as it is now, locked."""
    user = User.objects.select_for_update().get(pk=user.pk)
    if not may_manage(by, user):
        raise PeopleRefused(
            "nobody manages their own account here"
            if by.pk == user.pk
            else "accounts of operators are a superuser's, in the admin"
        )
    return user


def _may_have(by: User, role: str) -> None:
    if by.role != Role.OPERATOR:
        raise PeopleRefused("only an operator manages accounts")
    if role not in Role.values:
        raise PeopleRefused(f"choose a role: {', '.join(Role.values)}")
    if role == Role.OPERATOR and not by.is_superuser:
        raise PeopleRefused("accounts of operators are a superuser's, in the admin")


def _home(name: str, role: str) -> Organisation | None:
    name = name.strip()
    if not name:
        if role == Role.PROVIDER:
            raise PeopleRefused("a provider has an organisation: name it")
        return None
    if len(name) > 150 or "\x00" in name:
        raise PeopleRefused("an organisation's name has at most 150 characters")
    return Organisation.objects.get_or_create(name=name)[0]


def _shut(user: User) -> None:
    AuthToken.objects.filter(user=user).delete()
    second_factor.end_sessions(user)


def _password() -> str:
    return secrets.token_urlsafe(18)


def _note(kind: str, by: User, user: User, **detail: Any) -> None:
    home = user.organisation.name if user.organisation else None
    record(
        kind,
        by=by.username,
        subject=f"account {user.username}",
        detail={"role": user.role, "organisation": home, **detail},
    )
