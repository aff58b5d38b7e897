"""What a party says of its own health in every heartbeat: states, sizes, digests; never a value or a cohort.

Asked by the main process, so each look is short: a listing that is counted again only when a dataset comes or
goes, one sealed file opened with the store's key (another at each beat), a few kilobytes written to a file that
has no name, one PING. Heads of the peers' ledgers are told too: the portal compares them with what those peers
show (docs/operations.md says what that proves). Public: all of it.
"""

from __future__ import annotations

import errno
import os
import re
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import redis

from analytics.privacy.mechanisms import constants_digest
from mpcnode.errors import StoreError
from mpcnode.store import Store
from workers.config import Config
from workers.errors import LedgerError
from workers.keys import Keys
from workers.ledger import Ledger
from workers.witness import Witness

# Noise constants are computed, not stored: these scales stand for all in the digest that parties compare.
SCALES = tuple(Fraction(10**power) for power in (0, 1, 3, 6, 9))
PING_TIMEOUT = 1.0  # seconds
PROBE = bytes(4096)
_HEAD = re.compile("[0-9a-f]{64}")


class Health:
    """One party's looks at itself. `last_error` is the kind of the last failure since the program started."""

    def __init__(self, config: Config, keys: Keys) -> None:
        self._config, self._keys = config, keys
        self._started = int(time.time())
        self._constants = constants_digest(SCALES)
        self._redis = ping_client(config.redis_url)
        self._counted: tuple[int, int, int] = (-1, 0, 0)  # when `datasets` changed last, datasets, columns
        self._turn = 0
        self._last_error = ""
        self.witness = Witness(config.database)
        self._audit: dict[str, Any] = {}
        self._known: tuple[tuple[int, str], list[list[Any]]] | None = None

    def say(self, ledger: Ledger) -> tuple[tuple[int, str], dict[str, Any]]:
        """The ledger's (lines, head) and the `health` of one heartbeat.

        Raises  LedgerError if the ledger cannot be read and never could; later its last known state is told
                and the store is called not writable, so that the portal starts nothing here.
        """
        store = self._store()
        try:
            self._known = ledger.head(), self._peers(ledger)
            self._audit = self.witness.said()
        except LedgerError as wrong:
            if self._known is None:
                raise
            store["writable"] = False
            self._last_error = store["last_error"] = self._last_error or wrong.code
        head, peers = self._known
        return head, {
            "store": store,
            "constants": self._constants,
            "fingerprint": self._keys.fingerprint,
            "started": self._started,
            "redis_us": latency(self._redis),
            "peers": peers,
            "audit": self._audit,
        }

    def _store(self) -> dict[str, Any]:
        config, readable, writable, free = self._config, False, False, 0
        try:
            datasets, columns = self._count()
            self._open_one()
            readable = True
        except OSError as wrong:
            self._last_error = kind(wrong)
        except StoreError:
            self._last_error = "sealed"  # a file was changed, or the store's key is another
        try:
            free = free_bytes(config.folder)
            write_probe(config.store if config.store.is_dir() else config.folder)
            writable = True
        except OSError as wrong:
            self._last_error = kind(wrong)
        _, datasets, columns = self._counted
        return {
            "readable": readable,
            "writable": writable,
            "free_bytes": free,
            "datasets": datasets,
            "columns": columns,
            "last_error": self._last_error,
        }

    def _count(self) -> tuple[int, int]:
        """Datasets and their columns; a table's valid plane is no column."""
        place = self._config.store / "datasets"
        if not self._config.store.exists():  # nothing was stored yet
            return 0, 0
        changed = place.stat().st_mtime_ns
        if changed != self._counted[0]:
            folders = [folder for folder in place.iterdir() if (folder / "key").is_file()]
            columns = sum(sum(f.suffix == ".share" for f in folder.iterdir()) - 1 for folder in folders)
            self._counted = changed, len(folders), max(0, columns)
        return self._counted[1:]

    def _open_one(self) -> None:
        """Open the sealed facts of one dataset, of the next one at the next beat."""
        place = self._config.store / "datasets"
        found = sorted(f.name for f in place.iterdir() if (f / "key").is_file()) if place.exists() else []
        if found:
            self._turn += 1
            name = found[self._turn % len(found)]
            (place / name / "meta").stat()  # an OSError says more than the store would
            Store(self._config.store, self._keys.store, self._config.party, tidy=False).meta(name)

    def _peers(self, ledger: Ledger) -> list[list[Any]]:
        """[party, lines, head] of each peer's ledger as last seen; an odd head of a peer is not repeated."""
        return [
            [party, length, head]
            for party, (length, head) in ledger.peers().items()
            if party != self._config.party and 0 <= length < 2**63 and _HEAD.fullmatch(head)
        ]


def ping_client(url: str) -> redis.Redis:
    """A client that gives up after a second."""
    client: redis.Redis = redis.Redis.from_url(
        url, socket_timeout=PING_TIMEOUT, socket_connect_timeout=PING_TIMEOUT, retry=None
    )
    return client


def latency(client: redis.Redis) -> int | None:
    """Microseconds of one PING; None if Redis does not answer. The second of two: the first may connect."""
    try:
        client.ping()
        began = time.perf_counter_ns()
        client.ping()
    except (redis.RedisError, OSError, ValueError):
        return None
    return (time.perf_counter_ns() - began) // 1000


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write to the folder's disk. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def write_probe(folder: Path) -> None:
    """Write to a file without a name, which is gone when it is closed. Raises OSError if that fails.

    Where the system has no such files, only permissions are looked at.
    """
    flag = getattr(os, "O_TMPFILE", 0)
    if not flag:
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    descriptor = os.open(folder, flag | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, len(PROBE))  # a full disk says so now, not at some later flush
        os.write(descriptor, PROBE)
    finally:
        os.close(descriptor)


def kind(wrong: OSError) -> str:
    """The class of an error of the disk, such as EACCES, ENOSPC, EIO."""
    return errno.errorcode.get(wrong.errno or 0, "OSError")
