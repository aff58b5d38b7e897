"""The file of a party's ledger: its tables, which SQLite itself guards, and one transaction that is on disk when it ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from workers.errors import LedgerUnusable

_CHAINS = """(
    dataset TEXT PRIMARY KEY, cap INTEGER NOT NULL,
    mode TEXT CHECK (mode IN ('dp', 'exact')),               -- NULL until an order ran
    held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),       -- reserved and spent
    delta_cap INTEGER NOT NULL DEFAULT 0, squares_cap INTEGER NOT NULL DEFAULT 0,
    delta_held INTEGER NOT NULL DEFAULT 0 CHECK (delta_held >= 0),
    squares_held INTEGER NOT NULL DEFAULT 0 CHECK (squares_held >= 0),
    CHECK (held <= cap AND 2 * delta_held <= delta_cap OR delta_cap > 0 AND squares_held <= squares_cap)
) STRICT"""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS lines (
    number INTEGER PRIMARY KEY, time INTEGER NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('RESERVED', 'SPENT', 'RETURNED')),
    dataset TEXT NOT NULL, nonce TEXT NOT NULL, attempt INTEGER NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('dp', 'exact')),
    micro_epsilon INTEGER NOT NULL CHECK (micro_epsilon >= 0),
    session TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL,
    atto_delta INTEGER NOT NULL DEFAULT 0, squares INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TRIGGER IF NOT EXISTS lines_never_change BEFORE UPDATE ON lines
    BEGIN SELECT RAISE(ABORT, 'a line of the ledger is never changed'); END;
CREATE TRIGGER IF NOT EXISTS lines_never_go BEFORE DELETE ON lines
    BEGIN SELECT RAISE(ABORT, 'a line of the ledger is never removed'); END;
CREATE TABLE IF NOT EXISTS chains {CHAINS};
CREATE TABLE IF NOT EXISTS versions (
    chain TEXT NOT NULL, version INTEGER NOT NULL CHECK (version >= 1), dataset TEXT NOT NULL UNIQUE,
    manifest_hash TEXT NOT NULL, previous TEXT NOT NULL, provider_key TEXT NOT NULL, cap INTEGER NOT NULL,
    used INTEGER NOT NULL,                                   -- an order on it was accepted
    delta_cap INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (chain, version)
) STRICT;
CREATE TRIGGER IF NOT EXISTS versions_never_go BEFORE DELETE ON versions
    BEGIN SELECT RAISE(ABORT, 'a version of a chain is never forgotten'); END;
CREATE TRIGGER IF NOT EXISTS versions_stay_once_used BEFORE UPDATE ON versions
    WHEN old.used AND (new.used, new.dataset, new.manifest_hash, new.cap)
        IS NOT (old.used, old.dataset, old.manifest_hash, old.cap)
    BEGIN SELECT RAISE(ABORT, 'a version that was asked about is never replaced'); END;
CREATE TABLE IF NOT EXISTS debits (
    dataset TEXT NOT NULL REFERENCES chains, nonce TEXT NOT NULL, attempt INTEGER NOT NULL,
    mode TEXT NOT NULL, micro_epsilon INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('RESERVED', 'SPENT', 'RETURNED')),
    atto_delta INTEGER NOT NULL DEFAULT 0, squares INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (nonce, attempt, dataset)
) STRICT;
CREATE TABLE IF NOT EXISTS attempts (
    nonce TEXT NOT NULL, attempt INTEGER NOT NULL CHECK (attempt >= 1),
    query TEXT NOT NULL, order_hash TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('OPEN', 'CLOSED')), outcome TEXT NOT NULL,
    session TEXT NOT NULL, opened INTEGER NOT NULL, abandoned INTEGER NOT NULL,
    answer TEXT NOT NULL, posted INTEGER NOT NULL,           -- the last report, and whether the portal took it
    PRIMARY KEY (nonce, attempt),
    CHECK (NOT (opened AND abandoned))  -- who signs ABANDON has not opened and never will
) STRICT;
CREATE TABLE IF NOT EXISTS peers (
    party INTEGER PRIMARY KEY, length INTEGER NOT NULL, head TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS pins (party INTEGER PRIMARY KEY, sign TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS missed (  -- attempts that a party was not there for
    party INTEGER NOT NULL, nonce TEXT NOT NULL, attempt INTEGER NOT NULL,
    PRIMARY KEY (party, nonce, attempt)
) STRICT;
CREATE TABLE IF NOT EXISTS cells (  -- of accepted exact plans: what later ones may not lie too near
    nonce TEXT NOT NULL, attempt INTEGER NOT NULL, chain TEXT NOT NULL, dataset TEXT NOT NULL,
    cohorts TEXT NOT NULL,
    withheld INTEGER NOT NULL DEFAULT 0,                     -- nothing was shown: a rule was broken
    PRIMARY KEY (nonce, attempt, dataset)
) STRICT;
CREATE TABLE IF NOT EXISTS mismatches (
    order_hash TEXT NOT NULL, dataset TEXT NOT NULL, time INTEGER NOT NULL,
    cleared INTEGER, reason TEXT NOT NULL,
    PRIMARY KEY (order_hash, dataset), CHECK ((cleared IS NULL) = (reason = ''))
) STRICT;
""".replace("{CHAINS}", _CHAINS)
# A ledger of before there were deltas: what it holds has none.
_ADDED = (
    ("lines", "atto_delta"), ("lines", "squares"), ("debits", "atto_delta"), ("debits", "squares"),
    ("versions", "delta_cap"),
)  # fmt: skip


class LedgerFile:
    """One SQLite file. Safe for several threads and processes: no connection is kept."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Opened `readonly`, the file is looked at and never changed, also while the party runs."""
        self._path = path
        self._uri = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
        if readonly:
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._connection() as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(_SCHEMA)
        if self._without_delta():
            self._add_delta()

    def _without_delta(self) -> bool:
        with self._connection() as db:
            return "delta_cap" not in {row["name"] for row in db.execute("PRAGMA table_info(chains)")}

    def _add_delta(self) -> None:
        """Give an older ledger the columns of delta; its lines and their hashes stay as they are."""
        with self._connection() as db:
            db.execute("PRAGMA foreign_keys=OFF")  # debits refer to the table that is made anew
            db.execute("BEGIN IMMEDIATE")
            try:
                if self._without_delta():  # else another process of this party was faster
                    for table, column in _ADDED:
                        db.execute(f"ALTER TABLE {table} ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
                    db.execute(f"CREATE TABLE chains_anew {_CHAINS}")
                    db.execute(
                        "INSERT INTO chains_anew (dataset, cap, mode, held) SELECT dataset, cap, mode, held FROM chains"
                    )
                    db.execute("DROP TABLE chains")
                    db.execute("ALTER TABLE chains_anew RENAME TO chains")
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._uri, uri=True, timeout=30, isolation_level=None)) as db:
                db.row_factory = sqlite3.Row
                db.execute("PRAGMA synchronous=FULL")
                db.execute("PRAGMA foreign_keys=ON")
                yield db
        except sqlite3.Error as wrong:
            raise LedgerUnusable(f"the ledger cannot be used: {wrong}") from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")  # the writer's lock first: what is read stays true until COMMIT
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
