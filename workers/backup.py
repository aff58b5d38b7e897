"""Backup and restore of a party: its sealed store and its ledger in one folder, its keys apart from both.

A backup is made while the party runs: files of a dataset never change once they are there, the ledger is copied by
SQLite itself. It is whole or it is not there: everything goes to DEST.partial, which is renamed when all is on disk.
`manifest.json` names every file with size and SHA-256; a restore checks them all before it writes anything, and never
replaces a store or a ledger. A ledger that is older than what the portal or peers saw is said aloud: peers refuse it.

The sealed files open with the party's keys alone. Whoever has two parties' backups and their keys can read every
table: keys are copied only when asked, to another place. The ledger is not sealed: it holds released answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpcnode.errors import StoreError
from mpcnode.store import Store
from workers import config, keys
from workers.doctor.place import missing
from workers.errors import BackupRefused, LedgerError
from workers.ledger import Ledger
from workers.version import code_version

KIND = "fourfold/1/backup"
MANIFEST, DATABASE, SETTINGS = "manifest.json", "party.sqlite3", "party.json"
PIECE = 2**20
_FILE = re.compile(r"party\.sqlite3|party\.json|store/datasets/[0-9a-f]{32}/(key|meta|[0-9a-f]{32}\.share)")
WARNING = (
    "keys and backup together open this party's share; with those of a second party, every table.\n"
    "Keep the keys apart from the backup, and both apart from the other parties'."
)


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A backup whose manifest and files were checked."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def party(self) -> int:
        return int(self.manifest["party"])

    @property
    def ledger(self) -> tuple[int, str]:
        """(lines, head) of the ledger in it."""
        return int(self.manifest["ledger"]["length"]), str(self.manifest["ledger"]["head"])


def make(folder: Path, dest: Path) -> Backup:
    """Copy the party's settings, sealed store and ledger to `dest`, which must not be there yet.

    Raises  BackupRefused, with nothing at `dest`: no party here, `dest` taken, disk full, damaged ledger.
    """
    party, own = _party(folder)
    partial = _begin(dest)
    try:
        files = [_copy(folder / SETTINGS, partial / SETTINGS)]
        for source in sorted((folder / "store" / "datasets").glob("*")):
            files += _copy_dataset(source, partial / "store" / "datasets" / source.name)
        # Last: between two copies of a ledger the newer is the better one.
        files.append(_copy_ledger(folder / DATABASE, partial / DATABASE))
        length, head = Ledger(partial / DATABASE, readonly=True).verify()
        manifest = {
            "type": KIND,
            "party": party,
            "fingerprint": own.fingerprint,
            "made": int(time.time()),
            "code_version": code_version(),
            "ledger": {"length": length, "head": head},
            "files": [
                {"path": path.relative_to(partial).as_posix(), "size": size, "sha256": sha256}
                for path, size, sha256 in files
            ],
        }
        _write(partial / MANIFEST, json.dumps(manifest, indent=1).encode() + b"\n")
        _finish(partial, dest)
    except (OSError, sqlite3.Error, LedgerError) as wrong:
        shutil.rmtree(partial, ignore_errors=True)
        raise BackupRefused(f"no backup was made: {_why(wrong)}") from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Backup(folder=dest, manifest=manifest)


def copy_keys(source: Path, dest: Path) -> None:
    """Copy the three keys of a folder to `dest`, which must not be there yet. Raises BackupRefused, Misconfigured."""
    partial = _begin(dest)
    try:
        for name in keys.NAMES:
            _copy(source / name, partial / name)
        _finish(partial, dest)
    except OSError as wrong:
        shutil.rmtree(partial, ignore_errors=True)
        raise BackupRefused(f"the keys of {source} were not copied: {_why(wrong)}") from None


def check(source: Path) -> Backup:
    """Read a backup and compare every file with its manifest.

    Raises  BackupRefused naming the first file that is missing, changed, or too much.
    """
    try:
        manifest = json.loads((source / MANIFEST).read_bytes())
        listed = {entry["path"]: (entry["size"], entry["sha256"]) for entry in manifest["files"]}
        assert manifest["type"] == KIND and manifest["party"] in range(config.PARTIES)
        assert all(_FILE.fullmatch(path) for path in listed) and {SETTINGS, DATABASE} <= set(listed)
        assert isinstance(manifest["ledger"]["length"], int) and isinstance(manifest["fingerprint"], str)
    except OSError as wrong:
        raise BackupRefused(f"{source / MANIFEST} cannot be read: {wrong.strerror}") from None
    except (ValueError, KeyError, TypeError, AssertionError):
        raise BackupRefused(f"{source / MANIFEST} is not the manifest of a party's backup") from None
    there = {p.relative_to(source).as_posix() for p in source.rglob("*") if not p.is_dir()} - {MANIFEST}
    if there != set(listed):
        odd = min(there ^ set(listed))
        raise BackupRefused(f"{odd} is {'missing from' if odd in listed else 'no part of'} the backup")
    for path, (size, sha256) in listed.items():
        try:
            found = _digest(source / path)
        except OSError as wrong:
            raise BackupRefused(f"{path} cannot be read: {wrong.strerror}") from None
        if found != (size, sha256):
            raise BackupRefused(f"{path} is not what was backed up: it was changed")
    try:
        verified = Ledger(source / DATABASE, readonly=True).verify()
    except LedgerError as wrong:
        raise BackupRefused(f"the ledger in the backup does not verify: {wrong}") from None
    backup = Backup(folder=source, manifest=manifest)
    if verified != backup.ledger:
        raise BackupRefused("the ledger in the backup is not the one that its manifest names")
    return backup


def restore(backup: Backup, folder: Path, *, key_folder: Path | None = None) -> None:
    """Put a checked backup in place in a folder without store and ledger; its keys, or `key_folder`'s, must fit.

    Raises  BackupRefused, Misconfigured; the folder is then as it was, but for keys that were copied.
    """
    for name in ("store", DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        if (folder / name).exists():
            raise BackupRefused(f"{folder / name} is there: a restore replaces nothing, move it away first")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as wrong:
        raise BackupRefused(f"{folder} cannot be made: {wrong.strerror}") from None
    if key_folder is not None:
        copy_keys(key_folder, folder / "keys")
    own = keys.load(folder)
    if own.fingerprint != backup.manifest["fingerprint"]:
        raise BackupRefused(
            f"the keys here have fingerprint {own.fingerprint}, the backup is of {backup.manifest['fingerprint']}"
        )
    partial = folder / "restore.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for entry in backup.manifest["files"]:
            _copy(backup.folder / entry["path"], partial / entry["path"])
        (partial / "store" / "datasets").mkdir(parents=True, exist_ok=True, mode=0o700)
        looked = Store(partial / "store", own.store, backup.party, tidy=False)
        for dataset in looked.list():
            looked.meta(dataset)
        # The ledger first: a party that starts in this moment must never begin a new one.
        os.rename(partial / DATABASE, folder / DATABASE)
        os.rename(partial / "store", folder / "store")
        if not (folder / SETTINGS).exists():
            os.rename(partial / SETTINGS, folder / SETTINGS)
        _sync(folder)
    except StoreError as wrong:
        raise BackupRefused(f"the keys here do not open the backup: {wrong}") from None
    except OSError as wrong:
        raise BackupRefused(f"the restore stopped: {_why(wrong)}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def older(backup: Backup, seen: Sequence[Mapping[str, Any]]) -> str:
    """Who saw lines that the backup's ledger does not hold; empty if it holds all.

    `seen` is `ledger_seen` of this party in `GET /api/parties/`: what the portal and the peers saw of its ledger.
    """
    lost = missing(Ledger(backup.folder / DATABASE, readonly=True), seen)
    if not lost:
        return ""
    return (
        f"the ledger in this backup has {backup.ledger[0]} lines; {lost}. Peers refuse every session with it "
        "(code rollback), and the party may have spent budget that it does not know of"
    )


def _party(folder: Path) -> tuple[int, keys.Keys]:
    own = keys.load(folder)
    try:
        party = config.parse(json.loads((folder / SETTINGS).read_bytes()), folder=folder, redis_url="").party
    except OSError as wrong:
        raise BackupRefused(f"{folder / SETTINGS} cannot be read: {wrong.strerror}") from None
    except ValueError:
        raise BackupRefused(f"{folder / SETTINGS} is not JSON") from None
    if not (folder / DATABASE).is_file():
        raise BackupRefused(f"{folder / DATABASE} does not exist: the party has no ledger yet")
    return party, own


def _begin(dest: Path) -> Path:
    partial = dest.with_name(dest.name + ".partial")
    if dest.exists():
        raise BackupRefused(f"{dest} exists already: a backup replaces nothing")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True, mode=0o700)
    except OSError as wrong:
        raise BackupRefused(f"{partial} cannot be made: {wrong.strerror}") from None
    return partial


def _finish(partial: Path, dest: Path) -> None:
    for folder in [partial, *(p for p in partial.rglob("*") if p.is_dir())]:
        _sync(folder)
    os.rename(partial, dest)
    _sync(dest.parent)


def _copy_dataset(source: Path, dest: Path) -> list[tuple[Path, int, str]]:
    """The files of one dataset; none if it was destroyed meanwhile: what was erased must not live on here.

    Without its ring views: they come and go, and are made again from the planes.
    """
    try:
        kept = [source / "key", source / "meta", *sorted(source.glob("*.share"))]
        done = [_copy(path, dest / path.name) for path in kept]
    except FileNotFoundError:
        done = []
    if not done or not (source / "key").is_file() or not (dest / "key").is_file():
        shutil.rmtree(dest, ignore_errors=True)
        return []
    return done


def _copy_ledger(source: Path, dest: Path) -> tuple[Path, int, str]:
    """A copy of one moment, made by SQLite's own backup while others may be writing."""
    os.close(os.open(dest, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    uri = f"{source.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=30)) as live, closing(sqlite3.connect(dest)) as copy:
        live.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without companions
    descriptor = os.open(dest, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return dest, *_digest(dest)


def _copy(source: Path, dest: Path) -> tuple[Path, int, str]:
    """Copy one file, to its owner alone and onto the disk; returns it with size and SHA-256."""
    for folder in reversed([parent for parent in dest.parents if not parent.exists()]):
        folder.mkdir(mode=0o700)
    total, size = hashlib.sha256(), 0
    descriptor = os.open(dest, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(source, "rb") as read, os.fdopen(descriptor, "wb") as file:
        while piece := read.read(PIECE):
            file.write(piece)
            total.update(piece)
            size += len(piece)
        file.flush()
        os.fsync(file.fileno())
    return dest, size, total.hexdigest()


def _digest(path: Path) -> tuple[int, str]:
    total, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            total.update(piece)
            size += len(piece)
    return size, total.hexdigest()


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why(wrong: Exception) -> str:
    return (wrong.strerror or type(wrong).__name__) if isinstance(wrong, OSError) else str(wrong)
