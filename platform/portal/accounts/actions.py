"""What is done to accounts: made, given a token."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from knox.auth import TokenAuthentication
from knox.models import AuthToken
from rest_framework.exceptions import AuthenticationFailed

from portal.accounts.models import Organisation, Role, User
from portal.audit.actions import record


@transaction.atomic
def ensure_account(name: str, role: str, organisation: str, password: str) -> User:
    """The account `name`, made or brought to this role, organisation and password; operators may use the admin.

    Raises  ValueError if the role is unknown.
    """
    if role not in Role.values:
        raise ValueError(f"role {role!r} is unknown: choose from {', '.join(Role.values)}")
    home, _ = Organisation.objects.get_or_create(name=organisation)
    user = User.objects.filter(username=name).first()
    made = user is None
    user = user or User(username=name)
    was = (user.role, user.organisation_id)
    user.role, user.organisation, user.is_staff = role, home, role == Role.OPERATOR
    if made or not user.check_password(password):
        user.set_password(password)
    user.save()
    if made or was != (user.role, user.organisation_id):
        record(
            "account", by="setup", subject=f"account {name}", detail={"role": role, "organisation": home.name}
        )
    return user


def ensure_token(name: str, known: str | None = None) -> str:
    """A token of account `name` that does not expire: `known` if it still opens the account, else a new one."""
    user = User.objects.get(username=name)
    if known is not None and _opens(known, user):
        return known
    return make_token(user, lifetime=None)


def make_token(user: User, *, lifetime: timedelta | None, by: User | None = None) -> str:
    """A new token in clear, shown this once; only its hash is kept. Those of the user that expired are removed.

    `by` is who asked for it, for the audit trail; None: the deployment's own start.
    """
    AuthToken.objects.filter(user=user, expiry__lt=timezone.now()).delete()
    created: tuple[AuthToken, str] = AuthToken.objects.create(user, expiry=lifetime)
    if by is not None:
        record("token", by=by.username, subject=f"account {user.username}")
    return created[1]


@transaction.atomic
def revoke_token(user: User, digest: str) -> bool:
    """Whether `user` had a token of that digest, which opens nothing any more."""
    removed, _ = AuthToken.objects.filter(user=user, digest=digest).delete()
    if removed:
        record("tokens revoked", by=user.username, subject=f"account {user.username}", detail={"tokens": 1})
    return bool(removed)


@transaction.atomic
def change_password(user: User, password: str, *, tokens: bool) -> None:
    """The person's own change; other sessions end by it, and tokens with them if `tokens`."""
    user.set_password(password)
    user.must_change_password = False
    user.save(update_fields=["password", "must_change_password"])
    count = AuthToken.objects.filter(user=user).delete()[0] if tokens else 0
    record("password changed", by=user.username, subject=f"account {user.username}", detail={"tokens": count})


def _opens(token: str, user: User) -> bool:
    try:
        found, _ = TokenAuthentication().authenticate_credentials(token.encode())
    except AuthenticationFailed:
        return False
    return bool(found.pk == user.pk)
