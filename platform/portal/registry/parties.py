"""The four parties' public keys, pinned in a file that the parties' operators agreed on.

Read again only when the file changes; a party that is not in it does not exist.
"""

import json
import os
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.utils import timezone

from portal.operations import health
from portal.registry.models import PARTIES, PartyState


class PartiesUnknown(Exception):
    """The file with the parties' public keys is missing or malformed."""

    code = "parties_unknown"


@dataclass(frozen=True, kw_only=True)
class Party:
    party: int
    seal: str
    sign: str
    fingerprint: str


def pinned() -> tuple[Party, ...]:
    """The four parties in order. Raises PartiesUnknown."""
    path = str(settings.FOURFOLD_PARTIES_FILE)
    try:
        status = os.stat(path)
    except OSError:
        raise PartiesUnknown(f"{path} is missing: it lists the parties' public keys") from None
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read(path: str, _mtime: int, _size: int) -> tuple[Party, ...]:
    try:
        with open(path, encoding="utf-8") as file:
            entries = json.load(file)
        parties = tuple(
            Party(party=e["party"], seal=e["seal"], sign=e["sign"], fingerprint=e["fingerprint"])
            for e in entries
        )
    except (OSError, ValueError, TypeError, KeyError):
        raise PartiesUnknown(f"{path} is not a list of party, seal, sign, fingerprint") from None
    if [p.party for p in parties] != list(range(PARTIES)):
        raise PartiesUnknown(f"{path} must list parties 0 to {PARTIES - 1} in order")
    return parties


def party_set() -> list[dict[str, Any]]:
    """What a manifest's `party_set` must say."""
    return [{"party": p.party, "seal": p.seal, "sign": p.sign} for p in pinned()]


def listing(now: datetime | None = None, *, details: bool = False) -> list[dict[str, Any]]:
    """The public list: keys, fingerprints, and how each party is; with `details`, what it says of its store."""
    now = now or timezone.now()
    conditions = health.conditions([p.fingerprint for p in pinned()], now)
    return [
        {
            "party": p.party,
            "seal": p.seal,
            "sign": p.sign,
            "fingerprint": p.fingerprint,
            **condition.public(now),
            "health": condition.details() if details else None,
        }
        for p, condition in zip(pinned(), conditions, strict=True)
    ]


def fresh(now: datetime | None = None, *, without: int | None = None) -> bool:
    """Whether every party reported within FOURFOLD_PARTY_FRESH seconds, and none that it cannot write.

    `without` is a party that is done without.
    """
    now = now or timezone.now()
    seen = PartyState.objects.exclude(party=PARTIES if without is None else without)
    ages = [(now - last).total_seconds() for last in seen.values_list("last_seen", flat=True)]
    needed = PARTIES - (without is not None)
    fresh = len(ages) == needed and max(ages) <= settings.FOURFOLD_PARTY_FRESH
    return fresh and not health.unable(without=without)
