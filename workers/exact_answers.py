"""The cohorts of exact plans in a party's ledger: what a later exact plan may not lie too near (`workers.earlier`)."""

from __future__ import annotations

from workers.mismatches import Mismatches


class ExactAnswers(Mismatches):
    """Those of accepted attempts, whose debits say whether they may have been answered."""

    def answered(self, dataset: str, *, but: str) -> set[str]:
        """The cohorts of exact plans that a dataset answered or may yet answer, without those of the order `but`."""
        with self._connection() as db:
            rows = db.execute(
                "SELECT cohorts FROM cells JOIN debits ON (debits.nonce, debits.attempt, debits.dataset)"
                " = (cells.nonce, cells.attempt, cells.chain)"
                " WHERE cells.dataset = ? AND cells.nonce != ? AND debits.state != 'RETURNED'"
                " AND NOT cells.withheld",
                (dataset, but),
            ).fetchall()
        return {row[0] for row in rows}

    def withhold(self, *, nonce: str, attempt: int) -> None:
        """Record that an exact plan showed nothing: later ones need not be compared with it."""
        with self._transaction() as db:
            db.execute("UPDATE cells SET withheld = 1 WHERE nonce = ? AND attempt = ?", (nonce, attempt))

    def withheld(self) -> dict[str, int]:
        """How many exact plans showed nothing, by chain."""
        with self._connection() as db:
            rows = db.execute(
                "SELECT chain, count(DISTINCT nonce || ' ' || attempt) FROM cells WHERE withheld GROUP BY chain ORDER BY chain"
            ).fetchall()
        return {row[0]: row[1] for row in rows}

    def exact_on_another_version(self, dataset: str, chain: str) -> bool:
        """Whether another version of a chain answered a guarded exact plan, or may yet."""
        with self._connection() as db:
            row = db.execute(
                "SELECT 1 FROM cells JOIN debits ON (debits.nonce, debits.attempt, debits.dataset)"
                " = (cells.nonce, cells.attempt, cells.chain)"
                " WHERE cells.chain = ? AND cells.dataset != ? AND debits.state != 'RETURNED'"
                " AND NOT cells.withheld LIMIT 1",
                (chain, dataset),
            ).fetchone()
        return row is not None
