"""All checks of a party, in the order that they are made and printed."""

from __future__ import annotations

from workers.doctor import Case, Check, place, services

CHECKS: tuple[Check, ...] = (
    ("python", place.python),
    ("packages", place.packages),
    ("files", place.files),
    ("threads", place.threads),
    ("folder", place.folder),
    ("configuration", Case.check_config),
    ("keys", Case.check_keys),
    ("pinned keys", place.pinned_keys),
    ("disk", place.disk),
    ("store", place.store),
    ("ledger", place.ledger),
    ("redis", services.reachable),
    ("redis rules", services.rules),
    ("redis memory", services.memory),
    ("redis clock", services.redis_clock),
    ("queue", services.queue),
    ("portal", services.portal),
    ("portal clock", services.portal_clock),
    ("code", services.code),
)
