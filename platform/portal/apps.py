"""The portal itself as an app: its commands, and what `check --deploy` has to say about its settings."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks


class PortalConfig(AppConfig):
    name = "portal"
    label = "portal"

    def ready(self) -> None:
        checks.register(secret_key_is_kept, checks.Tags.security, deploy=True)
        checks.register(webhooks_leave_the_machine, checks.Tags.security, deploy=True)


def secret_key_is_kept(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Without a kept key every process has its own, and sessions end with it."""
    if settings.SECRET_KEY_IS_KEPT:
        return []
    return [checks.Error("SECRET_KEY is not set: set it in the environment", id="portal.E001")]


def webhooks_leave_the_machine(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """In development alone may somebody's webhook reach what listens on the portal's own machine."""
    if not settings.FOURFOLD_WEBHOOKS_LOOPBACK:
        return []
    return [checks.Error("FOURFOLD_WEBHOOKS_LOOPBACK is on: leave it off", id="portal.E002")]
