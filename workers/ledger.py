"""The party's own privacy ledger: what it reserved, spent and took back, in lines that only grow.

One SQLite file holds four things that must agree, so every change is one transaction synced to disk: the
lines (hash-chained, never changed), what they add up to per dataset chain, the chain's versions (the newest
alone answers, and none brings a fresh budget), and the attempts this party has accepted. A debit goes
RESERVED -> SPENT before this party's READY leaves, else RESERVED -> RETURNED; back from SPENT it comes only
with an ABANDON of every other party. Whole micro-epsilon, units of 10^-18 of delta and squares of epsilon, so sums are
exact; a further debit must fit by their sum or by zCDP (`analytics.privacy.filters`). The heads of the peers' ledgers
are kept too: a peer that shows an older ledger than before is refused.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from analytics.privacy.filters import Loss
from analytics.query.model import digest
from workers.accounts import (
    Balance,
    Charge,
    Version,
    allowance_of,
    as_far_as_it_fits,
    hashed,
    held_of,
    loss_of,
    named,
)
from workers.errors import (
    AttemptRefused,
    BudgetExhausted,
    LedgerDamaged,
    LedgerError,
    ModeFixed,
    PeerRolledBack,
    Superseded,
)
from workers.exact_answers import ExactAnswers

__all__ = ["GENESIS", "Balance", "Charge", "Ledger", "Version"]

GENESIS = "0" * 64


class Ledger(ExactAnswers):
    """The ledger in one SQLite file. Safe for several threads and processes: no connection is kept."""

    # -- one attempt ---------------------------------------------------------------------------------------

    def reserve(
        self,
        *,
        nonce: str,
        attempt: int,
        query: str,
        order_hash: str,
        mode: str,
        charges: Sequence[Charge],
        missing: int | None = None,
        cells: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Accept an attempt and reserve its charges, all or nothing. `missing` is the party that is not there.

        `cells` are the cohorts of an exact plan that later ones may not lie too near, by dataset, as one text.

        Raises  AttemptRefused: seen before, a later one was seen, or an earlier one is still open;
                Superseded: a dataset is not the newest version of its chain here;
                ModeFixed: a chain runs, or is about to run, in the other mode; BudgetExhausted.
        """
        with self._transaction() as db:
            self._accept(db, nonce, attempt, query, order_hash)
            if missing is not None:
                db.execute("INSERT INTO missed VALUES (?, ?, ?)", (missing, nonce, attempt))
            for charge in charges:
                self._hold(db, charge, mode)
                self._debit(db, charge.account, nonce, attempt, mode, charge.loss, "RESERVED")
                self._append(db, "RESERVED", charge.account, nonce, attempt, mode, charge.loss)
                if charge.dataset in cells:
                    kept = (nonce, attempt, charge.account, charge.dataset, cells[charge.dataset])
                    db.execute("INSERT INTO cells VALUES (?, ?, ?, ?, ?, 0)", kept)

    def spend(self, *, nonce: str, attempt: int, session: str) -> None:
        """Turn the attempt's debits from RESERVED to SPENT: the last thing before this party's READY.

        Fixes the mode of each chain. Raises  LedgerError unless every debit is RESERVED; ModeFixed.
        """
        with self._transaction() as db:
            self._open(db, nonce, attempt)
            for debit in self._debits(db, nonce, attempt):
                dataset, mode, state = debit["dataset"], debit["mode"], debit["state"]
                if state != "RESERVED":
                    raise LedgerError(f"a debit of attempt {attempt} is {state}, not RESERVED")
                fixed = db.execute("SELECT mode FROM chains WHERE dataset = ?", (dataset,)).fetchone()[0]
                if fixed not in (None, mode):
                    raise ModeFixed(fixed=fixed)
                db.execute("UPDATE chains SET mode = ? WHERE dataset = ?", (mode, dataset))
                self._move(db, nonce, attempt, dataset, "SPENT")
                self._append(db, "SPENT", dataset, nonce, attempt, mode, loss_of(debit), session)
            db.execute(
                "UPDATE attempts SET session = ? WHERE nonce = ? AND attempt = ?", (session, nonce, attempt)
            )

    def opening(self, *, nonce: str, attempt: int) -> None:
        """Record that this party opens now; it can never sign ABANDON for the attempt afterwards.

        Raises  LedgerError unless the debits are SPENT and no ABANDON was signed.
        """
        with self._transaction() as db:
            self._open(db, nonce, attempt)
            if any(debit["state"] != "SPENT" for debit in self._debits(db, nonce, attempt)):
                raise LedgerError("nothing is opened before its debit is SPENT")
            self._flag(db, nonce, attempt, "opened")

    def abandon(self, *, nonce: str, attempt: int) -> None:
        """Record that this party will never open in the attempt; from here it may sign ABANDON.

        Raises  LedgerError if it opened already, or never accepted the attempt.
        """
        with self._transaction() as db:
            self._flag(db, nonce, attempt, "abandoned")

    def close(self, *, nonce: str, attempt: int, outcome: str, answer: str = "") -> None:
        """End an attempt: what is still RESERVED is returned, what is SPENT stays spent. Repeatable.

        answer  this party's last report on it, kept to be posted again.
        """
        with self._transaction() as db:
            self._close(db, nonce, attempt, outcome, answer)

    def left_open(self) -> list[dict[str, Any]]:
        """The attempts that are open: running, or left by a killed process."""
        with self._connection() as db:
            rows = db.execute("SELECT * FROM attempts WHERE state = 'OPEN' ORDER BY nonce, attempt")
            return [dict(row) for row in rows]

    def unposted(self) -> list[dict[str, Any]]:
        """Closed attempts whose last report the portal has not taken yet."""
        with self._connection() as db:
            rows = db.execute(
                "SELECT * FROM attempts WHERE state = 'CLOSED' AND answer != '' AND NOT posted"
                " ORDER BY nonce, attempt"
            )
            return [dict(row) for row in rows]

    def mark_posted(self, *, nonce: str, attempt: int) -> None:
        """The portal took the attempt's last report."""
        with self._transaction() as db:
            db.execute("UPDATE attempts SET posted = 1 WHERE nonce = ? AND attempt = ?", (nonce, attempt))

    def forget_answers(self, before: int) -> int:
        """Empty the kept reports that the portal took, of orders without a line since `before` (unix seconds).

        Released integers need not lie here for ever. Lines, attempts and their nonces stay: an attempt is taken once.
        Returns how many were emptied.
        """
        with self._transaction() as db:
            return db.execute(
                "UPDATE attempts SET answer = '' WHERE state = 'CLOSED' AND posted AND answer != ''"
                " AND nonce NOT IN (SELECT nonce FROM lines WHERE time >= ?)",
                (before,),
            ).rowcount

    def spent(self, *, nonce: str, attempt: int) -> bool:
        """Whether a debit of the attempt is SPENT: whether its READY may have left."""
        with self._connection() as db:
            return any(debit["state"] == "SPENT" for debit in self._debits(db, nonce, attempt))

    def take_back(
        self, *, nonce: str, attempt: int, abandons: Mapping[int, str], others: Sequence[int]
    ) -> None:
        """Return SPENT debits on the ABANDON of every other party.

        abandons  {party: signature}, each verified by the caller for this attempt's session.
        Raises  LedgerError if one is missing, or this party has not abandoned the attempt itself.
        """
        missing = sorted(set(others) - abandons.keys())
        if missing:
            raise LedgerError(f"a SPENT debit stays without ABANDON of parties {missing}")
        with self._transaction() as db:
            row = self._attempt(db, nonce, attempt)
            if not row["abandoned"]:
                raise LedgerError("this party has not abandoned the attempt: it might still open")
            for debit in self._debits(db, nonce, attempt):
                if debit["state"] == "SPENT":
                    self._release(db, nonce, attempt, debit, row["session"])

    # -- versions of a chain -------------------------------------------------------------------------------

    def newest(self, chain: str) -> Version | None:
        """The newest version of a chain that this party took; None if it took none."""
        with self._connection() as db:
            return self._newest(db, chain)

    def superseding(self, dataset: str) -> Version | None:
        """The newest version of a dataset's chain, if that is another than this dataset."""
        with self._connection() as db:
            row = db.execute("SELECT chain FROM versions WHERE dataset = ?", (dataset,)).fetchone()
            found = None if row is None else self._newest(db, row[0])
            return None if found is None or found.dataset == dataset else found

    def follow(self, version: Version, *, after: Version | None) -> bool:
        """Take a version if `after` is still the newest of its chain, and its id no other version's.

        The same number as `after` replaces it, which must not be used. What may follow what is decided by
        `workers.chain`; here two that arrive together are told apart.
        """
        with self._transaction() as db:
            taken = db.execute(
                "SELECT 1 FROM versions WHERE dataset = ? AND (chain, version) != (?, ?)",
                (version.dataset, version.chain, version.version),
            ).fetchone()
            if taken is not None or self._newest(db, version.chain) != after:
                return False
            if after is not None and after.version == version.version:
                db.execute(
                    "UPDATE versions SET dataset = ?, manifest_hash = ?, previous = ?, cap = ?, delta_cap = ?"
                    " WHERE chain = ? AND version = ?",
                    (version.dataset, version.manifest_hash, version.previous, version.cap, version.delta_cap,
                     version.chain, version.version),
                )  # fmt: skip
            else:
                row = tuple(vars(version).values())
                db.execute(f"INSERT INTO versions VALUES ({', '.join('?' * len(row))})", row)
            return True

    def datasets_of(self, chains: Sequence[str]) -> set[str]:
        """Every version of some chains that this party took, and the first ones, which name the chains."""
        with self._connection() as db:
            rows = db.execute("SELECT dataset, chain FROM versions").fetchall()
        return {*chains, *(row[0] for row in rows if row[1] in chains)}

    # -- what others may ask -------------------------------------------------------------------------------

    def head(self) -> tuple[int, str]:
        """(number of lines, hash of the last one): what this party states in every hello."""
        with self._connection() as db:
            return self._head(db)

    def contains(self, length: int, head: str) -> bool:
        """Whether this ledger once had this head: a peer's memory of it. False means it was rolled back."""
        with self._connection() as db:
            if length == 0:
                return head == GENESIS
            row = db.execute("SELECT hash FROM lines WHERE number = ?", (length,)).fetchone()
            return row is not None and row[0] == head

    def balance(self, chain: str) -> Balance | None:
        """What a chain has reserved and spent here, over all its versions; None if it was never charged."""
        with self._connection() as db:
            account = db.execute("SELECT * FROM chains WHERE dataset = ?", (chain,)).fetchone()
            if account is None:
                return None
            newest = self._newest(db, chain)
            sums = dict(
                db.execute(
                    "SELECT state, sum(micro_epsilon) FROM debits WHERE dataset = ? GROUP BY state",
                    (chain,),
                ).fetchall()
            )
            return Balance(
                cap=account["cap"] if newest is None else newest.cap, mode=account["mode"],
                reserved=sums.get("RESERVED", 0), spent=sums.get("SPENT", 0),
                delta_cap=account["delta_cap"] if newest is None else newest.delta_cap,
                atto_delta=account["delta_held"], squares=account["squares_held"],
            )  # fmt: skip

    def attempt(self, nonce: str, attempt: int) -> dict[str, Any] | None:
        """The record of one accepted attempt: state, outcome, session, opened, abandoned."""
        with self._connection() as db:
            try:
                return dict(self._attempt(db, nonce, attempt))
            except LedgerError:
                return None

    def see_peer(self, party: int, length: int, head: str) -> None:
        """Remember the head a peer states in its signed hello.

        Raises  PeerRolledBack if it is shorter than before, or differs at the same length.
        """
        with self._transaction() as db:
            seen = db.execute("SELECT length, head FROM peers WHERE party = ?", (party,)).fetchone()
            if length < 0 or (length == 0) != (head == GENESIS):
                raise PeerRolledBack(party=party)
            if seen is not None and (length < seen[0] or (length == seen[0] and head != seen[1])):
                raise PeerRolledBack(party=party)
            db.execute(
                "INSERT INTO peers VALUES (?, ?, ?) ON CONFLICT (party) DO UPDATE"
                " SET length = excluded.length, head = excluded.head",
                (party, length, head),
            )

    def peers(self) -> dict[int, tuple[int, str]]:
        """{party: (length, head)} as last seen."""
        with self._connection() as db:
            rows = db.execute("SELECT party, length, head FROM peers ORDER BY party")
            return {party: (length, head) for party, length, head in rows}

    # -- parties that were not there -----------------------------------------------------------------------

    def meet(self, signs: Mapping[int, str]) -> None:
        """Notice a party with another key than before: a new one, which has missed every debit of this ledger.

        The head that was remembered of the old one says nothing about the new one's ledger.
        """
        with self._transaction() as db:
            known = dict(db.execute("SELECT party, sign FROM pins").fetchall())
            for party, sign in signs.items():
                if known.get(party, sign) != sign:
                    db.execute("DELETE FROM peers WHERE party = ?", (party,))
                    db.execute(
                        "INSERT OR IGNORE INTO missed"
                        " SELECT DISTINCT ?, nonce, attempt FROM debits WHERE state = 'SPENT'",
                        (party,),
                    )
                if known.get(party) != sign:
                    db.execute(
                        "INSERT INTO pins VALUES (?, ?) ON CONFLICT (party) DO UPDATE SET sign = excluded.sign",
                        (party, sign),
                    )

    def missed_by(self, party: int, chains: Sequence[str]) -> set[tuple[str, int]]:
        """(order hash, attempt) of each opened debit of one of the chains while the party was not there."""
        with self._connection() as db:
            rows = db.execute(
                "SELECT DISTINCT a.order_hash, a.attempt, d.dataset FROM missed m"
                " JOIN debits d USING (nonce, attempt) JOIN attempts a USING (nonce, attempt)"
                # What was spent and never opened was opened by nobody honest, or another party demands it.
                " WHERE m.party = ? AND d.state = 'SPENT' AND a.opened",
                (party,),
            )
            return {(row[0], row[1]) for row in rows if row[2] in chains}

    def spent_on(self, chain: str) -> list[tuple[str, int]]:
        """(order hash, attempt) of every debit SPENT of a chain: what `take-over` signs to hold."""
        with self._connection() as db:
            rows = db.execute(
                "SELECT a.order_hash, a.attempt FROM debits d JOIN attempts a USING (nonce, attempt)"
                " WHERE d.dataset = ? AND d.state = 'SPENT' ORDER BY a.order_hash, a.attempt",
                (chain,),
            )
            return [(row[0], row[1]) for row in rows]

    def take_over(
        self,
        *,
        nonce: str,
        attempt: int,
        query: str,
        order_hash: str,
        mode: str,
        charges: Sequence[Charge],
    ) -> bool:
        """Enter the debits of an attempt that others spent without this party; False if all are known here.

        An attempt that this party took part in keeps its own word on it.
        What no longer fits under a cap is entered up to the cap: the chain is exhausted either way.
        """
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO attempts VALUES (?, ?, ?, ?, 'CLOSED', 'taken_over', '', 0, 0, '', 1)",
                (nonce, attempt, query, order_hash),
            )
            if self._attempt(db, nonce, attempt)["outcome"] != "taken_over":
                return False
            known = {debit["dataset"] for debit in self._debits(db, nonce, attempt)}
            charges = [charge for charge in charges if charge.account not in known]
            for charge in charges:
                chain = charge.account
                db.execute(
                    "UPDATE versions SET used = 1 WHERE chain = ? AND dataset = ?", (chain, charge.dataset)
                )
                account = self._account(db, charge)
                if account["mode"] not in (None, mode):
                    raise ModeFixed(fixed=account["mode"])
                loss = as_far_as_it_fits(allowance_of(account), held_of(account), charge.loss)
                self._add(db, chain, loss)
                db.execute("UPDATE chains SET mode = ? WHERE dataset = ?", (mode, chain))
                self._debit(db, chain, nonce, attempt, mode, loss, "SPENT")
                self._append(db, "RESERVED", chain, nonce, attempt, mode, loss)
                self._append(db, "SPENT", chain, nonce, attempt, mode, loss)
            return bool(charges)

    # -- the whole of it -----------------------------------------------------------------------------------

    def verify(self) -> tuple[int, str]:
        """Follow the chain from its first line, add everything up again, and return the head.

        Raises  LedgerDamaged naming the first line that does not follow; LedgerError if sums differ.
        """
        with self._connection() as db:
            number, head = 0, GENESIS
            states: dict[tuple[Any, ...], str] = {}
            for row in db.execute("SELECT * FROM lines ORDER BY number"):
                number += 1
                line = hashed(dict(row))
                line.pop("hash")
                if row["number"] != number or row["previous"] != head or digest(line) != row["hash"]:
                    raise LedgerDamaged(line=number)
                head = row["hash"]
                debit = named(dict(row))
                if (states.get(debit), row["event"]) not in _MOVES:
                    raise LedgerDamaged(line=number)
                states[debit] = row["event"]
            stored = {named(dict(r)): r["state"] for r in db.execute("SELECT * FROM debits")}
            held = {r["dataset"]: held_of(dict(r)) for r in db.execute("SELECT * FROM chains")}
            sums = dict.fromkeys(held, Loss())
            for debit, state in states.items():
                if state != "RETURNED":
                    sums[debit[2]] = sums.get(debit[2], Loss()) + debit[4]
            if stored != states or held != sums:
                raise LedgerError("the ledger's balances do not follow from its lines")
            return number, head

    # -- inside --------------------------------------------------------------------------------------------

    @staticmethod
    def _accept(db: sqlite3.Connection, nonce: str, attempt: int, query: str, order_hash: str) -> None:
        row = db.execute(
            "SELECT attempt, state FROM attempts WHERE nonce = ? ORDER BY attempt DESC LIMIT 1", (nonce,)
        ).fetchone()
        if row is not None and row["attempt"] >= attempt:
            raise AttemptRefused(f"attempt {attempt} of this order was accepted before, or a later one was")
        if row is not None and row["state"] != "CLOSED":
            raise AttemptRefused(f"attempt {row['attempt']} of this order is still open")
        db.execute(
            "INSERT INTO attempts VALUES (?, ?, ?, ?, 'OPEN', '', '', 0, 0, '', 0)",
            (nonce, attempt, query, order_hash),
        )

    @staticmethod
    def _newest(db: sqlite3.Connection, chain: str) -> Version | None:
        row = db.execute(
            "SELECT * FROM versions WHERE chain = ? ORDER BY version DESC LIMIT 1", (chain,)
        ).fetchone()
        return None if row is None else Version(**{**dict(row), "used": bool(row["used"])})

    def _hold(self, db: sqlite3.Connection, charge: Charge, mode: str) -> None:
        if charge.micro_epsilon < 0 or (mode == "exact") != (charge.micro_epsilon == 0):
            raise LedgerError("a debit is positive in dp mode and 0 in exact mode")
        chain, newest = charge.account, self._newest(db, charge.account)
        if newest is None and charge.chain not in (None, charge.dataset):
            raise LedgerError(
                f"dataset {charge.dataset} is a later version of a chain that is not known here"
            )
        if newest is not None and newest.dataset != charge.dataset:
            raise Superseded(dataset=charge.dataset, newest=newest.dataset, version=newest.version)
        db.execute("UPDATE versions SET used = 1 WHERE chain = ? AND dataset = ?", (chain, charge.dataset))
        account = self._account(db, charge)
        held, fixed = held_of(account), account["mode"]
        if charge.cap > account["cap"] or charge.delta_cap > account["delta_cap"]:
            raise LedgerError("the dataset's cap is above the one this ledger began with")
        other = db.execute(
            "SELECT mode FROM debits WHERE dataset = ? AND state = 'RESERVED' AND mode != ?",
            (chain, mode),
        ).fetchone()
        if fixed not in (None, mode) or other is not None:
            raise ModeFixed(fixed=fixed or other[0])
        if not charge.allowance.covers(held + charge.loss):
            raise BudgetExhausted(asked=charge.micro_epsilon, left=charge.allowance.left(held))
        self._add(db, chain, charge.loss)

    def _close(self, db: sqlite3.Connection, nonce: str, attempt: int, outcome: str, answer: str) -> None:
        row = self._attempt(db, nonce, attempt)
        if row["state"] == "CLOSED":
            return
        for debit in self._debits(db, nonce, attempt):
            if debit["state"] == "RESERVED":
                self._release(db, nonce, attempt, debit, row["session"])
        db.execute(
            "UPDATE attempts SET state = 'CLOSED', outcome = ?, answer = ? WHERE nonce = ? AND attempt = ?",
            (outcome, answer, nonce, attempt),
        )

    @staticmethod
    def _account(db: sqlite3.Connection, charge: Charge) -> Mapping[str, Any]:
        """The chain's row; a new one has the caps of the manifest that it begins with."""
        first = charge.allowance
        db.execute(
            "INSERT OR IGNORE INTO chains (dataset, cap, delta_cap, squares_cap) VALUES (?, ?, ?, ?)",
            (charge.account, first.micro_epsilon, first.atto_delta, first.squares),
        )
        row = db.execute("SELECT * FROM chains WHERE dataset = ?", (charge.account,)).fetchone()
        return dict(row)

    @staticmethod
    def _add(db: sqlite3.Connection, chain: str, loss: Loss, sign: int = 1) -> None:
        db.execute(
            "UPDATE chains SET held = held + ?, delta_held = delta_held + ?, squares_held = squares_held + ?"
            " WHERE dataset = ?",
            (sign * loss.micro_epsilon, sign * loss.atto_delta, sign * loss.squares, chain),
        )

    @staticmethod
    def _debit(
        db: sqlite3.Connection, chain: str, nonce: str, attempt: int, mode: str, loss: Loss, state: str
    ) -> None:
        db.execute(
            "INSERT INTO debits (dataset, nonce, attempt, mode, micro_epsilon, state, atto_delta, squares)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (chain, nonce, attempt, mode, loss.micro_epsilon, state, loss.atto_delta, loss.squares),
        )

    def _release(
        self, db: sqlite3.Connection, nonce: str, attempt: int, debit: sqlite3.Row, session: str
    ) -> None:
        dataset, loss = debit["dataset"], loss_of(debit)
        self._move(db, nonce, attempt, dataset, "RETURNED")
        self._add(db, dataset, loss, -1)
        self._append(db, "RETURNED", dataset, nonce, attempt, debit["mode"], loss, session)

    @staticmethod
    def _move(db: sqlite3.Connection, nonce: str, attempt: int, dataset: str, to: str) -> None:
        db.execute(
            "UPDATE debits SET state = ? WHERE nonce = ? AND attempt = ? AND dataset = ?",
            (to, nonce, attempt, dataset),
        )

    def _append(
        self,
        db: sqlite3.Connection,
        event: str,
        dataset: str,
        nonce: str,
        attempt: int,
        mode: str,
        loss: Loss,
        session: str = "",
    ) -> None:
        length, head = self._head(db)
        line = {"number": length + 1, "time": int(time.time()), "event": event, "dataset": dataset, "nonce": nonce,
                "attempt": attempt, "mode": mode, "session": session, "previous": head, **vars(loss)}  # fmt: skip
        row = {**line, "hash": digest(hashed(line))}
        db.execute(
            f"INSERT INTO lines ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
        )

    @staticmethod
    def _head(db: sqlite3.Connection) -> tuple[int, str]:
        row = db.execute("SELECT number, hash FROM lines ORDER BY number DESC LIMIT 1").fetchone()
        return (0, GENESIS) if row is None else (row[0], row[1])

    @staticmethod
    def _attempt(db: sqlite3.Connection, nonce: str, attempt: int) -> sqlite3.Row:
        row = db.execute(
            "SELECT * FROM attempts WHERE nonce = ? AND attempt = ?", (nonce, attempt)
        ).fetchone()
        if not isinstance(row, sqlite3.Row):
            raise LedgerError(f"attempt {attempt} of this order was never accepted")
        return row

    def _open(self, db: sqlite3.Connection, nonce: str, attempt: int) -> None:
        if self._attempt(db, nonce, attempt)["state"] != "OPEN":
            raise LedgerError(f"attempt {attempt} of this order is closed")

    def _flag(self, db: sqlite3.Connection, nonce: str, attempt: int, flag: str) -> None:
        row = self._attempt(db, nonce, attempt)
        if row["opened"] if flag == "abandoned" else row["abandoned"]:
            raise LedgerError("who signs ABANDON has not opened and never will")
        db.execute(f"UPDATE attempts SET {flag} = 1 WHERE nonce = ? AND attempt = ?", (nonce, attempt))

    @staticmethod
    def _debits(db: sqlite3.Connection, nonce: str, attempt: int) -> list[sqlite3.Row]:
        return db.execute(
            "SELECT * FROM debits WHERE nonce = ? AND attempt = ? ORDER BY dataset",
            (nonce, attempt),
        ).fetchall()


_MOVES = {(None, "RESERVED"), ("RESERVED", "SPENT"), ("RESERVED", "RETURNED"), ("SPENT", "RETURNED")}
