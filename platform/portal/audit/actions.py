"""The one way to write an audit event."""

import logging
from collections.abc import Mapping
from typing import Any

from portal.audit.models import Event

log = logging.getLogger("portal.audit")


def record(kind: str, *, by: str, subject: str, detail: Mapping[str, Any] | None = None) -> None:
    """Add an event. `detail` holds public facts (states, codes, hashes of manifests): never a row or a key."""
    Event.objects.create(kind=kind, by=by[:150], subject=subject[:200], detail=dict(detail or {}))
    log.info("%s %s by %s", kind, subject, by)
