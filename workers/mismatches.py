"""Attempts that ended with a mismatch here: somebody may have cheated, until this party's operator has found out.

Who cheats among four must not gain the weaker three by being caught, so they lie in the ledger's file, are as
lasting as debits, and are cleared by a person who gives a reason, which is kept.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from workers.errors import LedgerError
from workers.ledger_file import LedgerFile


class Mismatches(LedgerFile):
    """The part of a ledger's file that remembers mismatches, by order and dataset."""

    def note_mismatch(self, order_hash: str, datasets: Sequence[str]) -> None:
        """Remember that an attempt at an order ended with a mismatch here; one that was cleared counts anew."""
        with self._transaction() as db:
            for dataset in datasets:
                db.execute(
                    "INSERT INTO mismatches VALUES (?, ?, ?, NULL, '') ON CONFLICT (order_hash, dataset)"
                    " DO UPDATE SET time = excluded.time, cleared = NULL, reason = ''",
                    (order_hash, dataset, int(time.time())),
                )

    def mismatches(self, order_hash: str = "", datasets: Collection[str] | None = None) -> list[str]:
        """The datasets with a mismatch that nobody cleared: of an order or on some datasets, or all of them."""
        with self._connection() as db:
            rows = db.execute("SELECT order_hash, dataset FROM mismatches WHERE cleared IS NULL").fetchall()
        return sorted(
            {row[1] for row in rows if datasets is None or row[0] == order_hash or row[1] in datasets}
        )

    def clear_mismatch(self, dataset: str, reason: str) -> int:
        """The operator has found out why: the dataset's mismatches no longer count. Returns how many there were."""
        if not reason.strip():
            raise LedgerError("a mismatch is cleared with a reason")
        with self._transaction() as db:
            return db.execute(
                "UPDATE mismatches SET cleared = ?, reason = ? WHERE dataset = ? AND cleared IS NULL",
                (int(time.time()), reason.strip(), dataset),
            ).rowcount
