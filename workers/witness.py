"""This party's memory of the portal's audit trail: its newest line, which is only ever continued.

The portal answers a heartbeat with the digests of what came after the line that the heartbeat named. If they do not
lead from that line to the head that the portal states, the trail was cut or rewritten: the party keeps its line,
says so in every heartbeat from then on, and logs it. It does not stop computing: a trail is evidence, not a budget.
Kept in the file of the ledger, signed as part of every heartbeat. Public: all of it.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from analytics.query.trail import START, extended
from workers.ledger_file import LedgerFile

log = logging.getLogger(__name__)

MOST = 1000  # digests in one answer
_SCHEMA = """
CREATE TABLE IF NOT EXISTS audit_head (
    one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, hash TEXT NOT NULL, wrong INTEGER NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS audit_head_never_goes BEFORE DELETE ON audit_head
    BEGIN SELECT RAISE(ABORT, 'a party never forgets the line that it saw'); END;
CREATE TRIGGER IF NOT EXISTS audit_head_only_grows BEFORE UPDATE ON audit_head
    WHEN new.number < old.number OR (new.number = old.number AND new.hash <> old.hash) OR new.wrong < old.wrong
    BEGIN SELECT RAISE(ABORT, 'the trail only grows'); END;
"""
_HEX64 = re.compile("[0-9a-f]{64}")


class Witness(LedgerFile):
    """The newest line that was seen, in the file at `path`. Raises LedgerError where the file does not serve."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self._connection() as db:
            db.executescript(_SCHEMA)
            db.execute("INSERT OR IGNORE INTO audit_head VALUES (1, 0, ?, 0)", (START,))

    def said(self) -> dict[str, Any]:
        """{"number", "hash", "wrong"} as heartbeats have it."""
        with self._connection() as db:
            number, head, wrong = db.execute("SELECT number, hash, wrong FROM audit_head").fetchone()
        return {"number": number, "hash": head, "wrong": bool(wrong)}

    def hear(self, answer: Any) -> None:
        """Take the portal's answer {"number", "hash", "events"} to a heartbeat; out of shape, it changes nothing."""
        if not _fits(answer):
            return
        with self._transaction() as db:
            number, head, wrong = db.execute("SELECT number, hash, wrong FROM audit_head").fetchone()
            reached = extended(number, head, answer["events"])
            if reached == (answer["number"], answer["hash"]):
                db.execute("UPDATE audit_head SET number = ?, hash = ?", reached)
            elif not wrong:
                db.execute("UPDATE audit_head SET wrong = 1")
                log.error(
                    "the portal's audit trail does not continue line %d, which this party saw: it was cut or rewritten",
                    number,
                )


def _fits(answer: Any) -> bool:
    return (
        isinstance(answer, dict)
        and isinstance(answer.get("number"), int)
        and not isinstance(answer["number"], bool)
        and 0 <= answer["number"] < 2**53
        and _is_hash(answer.get("hash"))
        and isinstance(answer.get("events"), list)
        and len(answer["events"]) <= MOST
        and all(map(_is_hash, answer["events"]))
    )


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HEX64.fullmatch(value) is not None
