"""Accounts: a person has one role in one organisation.

Roles are not Django permissions: each is a row of the table in `docs/states.md`, asked with `user.role`.
"""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils.crypto import salted_hmac


class Role(models.TextChoices):
    PROVIDER = "provider"
    ANALYST = "analyst"
    OPERATOR = "operator"
    AUDITOR = "auditor"


class Organisation(models.Model):
    name = models.CharField(max_length=150, unique=True)

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    role = models.CharField(max_length=16, choices=Role.choices, blank=True, default="")
    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="people"
    )
    must_change_password = models.BooleanField(
        default=False, help_text="it was made by somebody else: the first log-in leads to a change"
    )
    sessions_ended = models.PositiveIntegerField(
        default=0, help_text="how often all sessions of this person were ended"
    )

    class Meta(AbstractUser.Meta):
        constraints = [
            models.CheckConstraint(
                name="user_role_is_known",
                condition=Q(role__in=["", *Role.values]),
                violation_error_code="role",
            ),
            models.CheckConstraint(
                name="user_provider_has_an_organisation",
                condition=~Q(role="provider") | Q(organisation__isnull=False),
            ),
        ]

    def _get_session_auth_hash(self, secret: Any = None) -> str:
        """A session is of one password, as Django has it, and of one `sessions_ended`: adding one ends them all."""
        of_password: str = super()._get_session_auth_hash(secret)  # type: ignore[misc]
        if not self.sessions_ended:
            return of_password
        both = f"{of_password}:{self.sessions_ended}"
        return salted_hmac("fourfold session", both, secret=secret, algorithm="sha256").hexdigest()


class RecoveryCode(models.Model):
    """One of the codes that open an account once each where the second factor is lost; kept as a hash."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="recovery_code_once", fields=["user", "digest"])]

    def __str__(self) -> str:
        return f"recovery code of {self.user_id}"
