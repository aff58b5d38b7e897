"""Accounts: a person has one role in one organisation.

Roles are not Django permissions: each is a row of the table in `docs/states.md`, asked with `user.role`.
"""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q


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
