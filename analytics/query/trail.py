"""A chain of audit lines: the portal keeps the lines, every party keeps the head and lets it only grow.

Line n is the hash of its number, the line before, and the digest of one event. A party is sent the digests of the
events after the line that it holds, and computes the head itself: what it once saw can be continued, not replaced.
Public: all of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from analytics.query.model import digest

START = "0" * 64  # the head of a trail without lines


def line(number: int, previous: str, event: str) -> str:
    """The hash of line `number` after the line `previous`; `event` is the digest of its event. 64 hex digits."""
    return digest({"type": "fourfold/1/audit-line", "number": number, "previous": previous, "event": event})


def extended(number: int, head: str, events: Iterable[str]) -> tuple[int, str]:
    """Number and hash of the last line when these events follow the line `number` with hash `head`."""
    for event in events:
        number += 1
        head = line(number, head, event)
    return number, head
