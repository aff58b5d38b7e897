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


def secret_key_is_kept(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Without a kept key every process has its own, and sessions end with it."""
    if settings.SECRET_KEY_IS_KEPT:
        return []
    return [checks.Error("SECRET_KEY is not set: set it in the environment", id="portal.E001")]
