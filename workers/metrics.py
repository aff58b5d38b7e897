"""Figures of a party's attempts: how many by outcome, rounds, bytes, seconds of stages.

A task runs in a child process that may be killed, so each attempt adds its figures to one small file when it ended,
if METRICS_PORT is set; `workers.exporter` shows them. Everything follows from public facts: outcomes, plans, shapes.
No figure depends on a value or on the size of a cohort, and none is of one query.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from workers.config import Config

log = logging.getLogger(__name__)

STAGES = ("handshake", "read", "rounds", "release")
ANSWERED = "answered"
WITHHELD = "withheld"  # an exact plan that showed nothing: a rule of disclosure was broken
_SCHEMA = """
CREATE TABLE IF NOT EXISTS totals (
    name TEXT NOT NULL, label TEXT NOT NULL, total REAL NOT NULL, PRIMARY KEY (name, label)
) STRICT
"""


@dataclass
class Watch:
    """Times the stages of one attempt, as its first driver passes them; what it does not come to is not counted."""

    seconds: dict[str, float] = field(default_factory=dict)
    channel: Any = None  # of the session, once there is one: counts rounds and bytes
    _since: float = field(default_factory=time.monotonic)

    def passed(self, stage: str) -> None:
        """`stage` ends now, and the next begins."""
        now = time.monotonic()
        self.seconds[stage], self._since = now - self._since, now

    @property
    def rounds(self) -> int:
        return int(self.channel.rounds) if self.channel is not None else 0

    @property
    def bytes(self) -> int:
        return sum(self.channel.bytes_sent.values()) if self.channel is not None else 0


def count(config: Config, outcome: str, watch: Watch) -> None:
    """Add one attempt that ended; `outcome` is "answered" or a public code. Never raises: figures stop no answer."""
    if not config.metrics_port:
        return
    figures = [("sessions", outcome, 1.0), ("rounds", "", watch.rounds), ("bytes", "", watch.bytes)]
    for stage, seconds in watch.seconds.items():
        figures += [("seconds", stage, seconds), ("stages", stage, 1.0)]
    try:
        with closing(_open(config)) as db, db:
            db.executemany(
                "INSERT INTO totals VALUES (?, ?, ?) "
                "ON CONFLICT (name, label) DO UPDATE SET total = total + excluded.total",
                figures,
            )
    except (sqlite3.Error, OSError) as wrong:
        log.warning("this attempt is not in the metrics: %s", type(wrong).__name__)


def totals(config: Config) -> dict[str, dict[str, float]]:
    """{name: {label: total}} of everything counted so far."""
    found: dict[str, dict[str, float]] = {}
    with closing(_open(config)) as db:
        for name, label, total in db.execute("SELECT name, label, total FROM totals ORDER BY name, label"):
            found.setdefault(name, {})[label] = total
    return found


def _open(config: Config) -> sqlite3.Connection:
    db = sqlite3.connect(config.folder / "metrics.sqlite3", timeout=5)
    # Figures may be lost with the machine; no answer waits for a disk on their account.
    db.execute("PRAGMA synchronous=OFF")
    db.execute(_SCHEMA)
    return db
