"""Checks of the party's own machine: program, settings, keys, disk, sealed files, ledger."""

from __future__ import annotations

import os
import re
import resource
import stat
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from analytics.query.errors import CodebookRejected
from analytics.query.schema import parse_codebook
from mpcnode.errors import StoreError
from mpcnode.store import Store
from workers.doctor import Case, Problem, Skipped
from workers.errors import LedgerError, LedgerUnusable
from workers.health import free_bytes, kind, write_probe
from workers.ledger import Ledger

PYTHON = (3, 11)
PACKAGES = ("celery", "redis", "httpx", "numpy", "scipy", "cryptography", "lark")  # what a party imports
LEAST_FREE = 2**30  # bytes
LEAST_FILES = 1024
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"


def python(case: Case) -> str:
    if sys.version_info[:2] != PYTHON:
        raise Problem(f"this is Python {sys.version.split()[0]}", "run the party with Python 3.11")
    return sys.version.split()[0]


def packages(case: Case) -> str:
    """Installed versions against requirements.txt, where it lies beside the program."""
    pins = {}
    if REQUIREMENTS.is_file():
        pins = dict(
            re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^\s;#]+)", REQUIREMENTS.read_text(), re.MULTILINE)
        )
    found, wrong = [], []
    for name in PACKAGES:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is not installed")
            continue
        if name in pins and version != pins[name]:
            wrong.append(f"{name} is {version}, not {pins[name]}")
        found.append(f"{name} {version}")
    if wrong:
        raise Problem("; ".join(wrong), "pip install -r requirements.txt")
    return ", ".join(found) + ("" if pins else " (no requirements.txt here to compare with)")


def folder(case: Case) -> str:
    """Nobody else reads the party's folder: file names and sizes are not for neighbours either."""
    try:
        mode = stat.S_IMODE(case.folder.stat().st_mode)
    except OSError as wrong:
        raise Problem(f"{case.folder} cannot be used: {wrong.strerror}", "name the party's folder") from None
    if mode & 0o077:
        raise Problem(f"{case.folder} is open to others (mode {mode:04o})", f"chmod 700 {case.folder}")
    return f"{case.folder} is its owner's alone"


def pinned_keys(case: Case) -> str:
    """The keys on disk are those that party.json and the portal name for this party."""
    mine, own = case.config.me, case.keys
    if (own.seal_hex, own.sign_hex) != (mine.seal, mine.sign):
        raise Problem(
            f"party.json names other keys for party {mine.party} than {own.fingerprint}",
            "restore this party's keys, or its party.json: peers and manifests name the pinned keys",
        )
    listed = case.mine
    if (listed["seal"], listed["sign"]) != (mine.seal, mine.sign):
        raise Problem(
            f"the portal lists fingerprint {listed['fingerprint']} for party {mine.party}, here it is {own.fingerprint}",
            "compare by telephone: either the portal's parties.json or this party's keys were exchanged",
        )
    return f"as in party.json and at the portal, {own.fingerprint}"


def disk(case: Case) -> str:
    place = case.config.store if case.config.store.is_dir() else case.folder
    try:
        free = free_bytes(place)
        write_probe(place)
    except OSError as wrong:
        raise Problem(
            f"{place} cannot be written: {kind(wrong)}", "make room, or give the folder to the party's user"
        ) from None
    if free < LEAST_FREE:
        raise Problem(f"{free // 2**20} MiB are free at {place}", "keep at least 1024 MiB free")
    return f"{free // 2**30} GiB free"


def store(case: Case) -> str:
    """Every dataset's sealed facts open; with --deep every sealed file, against its codebook's layout."""
    place = case.config.store
    if not place.exists():
        return "no dataset was stored here yet"
    looked = Store(place, case.keys.store, case.config.party, tidy=False)
    try:
        names = looked.list()
    except StoreError as wrong:
        raise Problem(
            str(wrong), "restore the store from its backup, or give it to the party's user"
        ) from None
    files, broken = 0, []
    for name in names:
        try:
            files += _open(looked, name, case.deep)
        except (StoreError, CodebookRejected, KeyError) as wrong:
            broken.append(f"dataset {name}: {wrong}")
    if broken:
        raise Problem(
            "; ".join(broken),
            "restore these datasets from this party's backup, with the keys that sealed them",
        )
    how = f"{files} sealed columns open" if case.deep else "their facts open (--deep opens every column)"
    return f"{len(names)} datasets, {how}"


def _open(looked: Store, dataset: str, deep: bool) -> int:
    meta = looked.meta(dataset)
    if not deep:
        return 0
    planes = Counter(column for column, _ in parse_codebook(meta["codebook"]).plane_names)
    words = -(-int(meta["capacity"]) // 64)
    for column, number in planes.items():
        shape = looked.columns(dataset, [column])[column].shape
        if shape[1:] != (number, words):
            raise StoreError(
                f"column {column!r} has {shape[1]} planes of {shape[2]} words, not {number} of {words}"
            )
    return len(planes)


def ledger(case: Case) -> str:
    """The chain follows from its first line, and is not shorter than what the portal saw."""
    path = case.config.database
    if not path.is_file():
        raise Skipped("the party has no ledger yet")
    restore = "stop the party; its ledger must be restored as docs/operations.md says"
    try:
        length, head = Ledger(path, readonly=True).verify()
    except LedgerUnusable as wrong:
        raise Problem(
            str(wrong),
            f"is the disk full or broken, may this user read and write {path}? If it must be: {restore}",
        ) from None
    except LedgerError as wrong:
        raise Problem(str(wrong), restore) from None
    try:
        seen = case.mine["ledger_seen"]
    except Skipped:
        return f"{length} lines, head {head[:16]}; the portal's word on it is not known"
    if lost := missing(Ledger(path, readonly=True), seen):
        raise Problem(
            f"it has {length} lines; {lost}: it was set back, and peers refuse it (code rollback)", restore
        )
    return f"{length} lines, head {head[:16]}"


def missing(ledger: Ledger, seen: Sequence[Mapping[str, Any]]) -> str:
    """Who saw lines that the ledger does not hold: "party 2 saw 9 that are not in it"; empty if all are there."""
    lost = [s for s in seen if s["length"] and not ledger.contains(int(s["length"]), str(s["head"]))]
    return ", ".join(f"{s['by']} saw {s['length']} that are not in it" for s in lost)


def files(case: Case) -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < LEAST_FILES:
        raise Problem(f"{soft} files may be open", f"ulimit -n {LEAST_FILES}, or LimitNOFILE= of its service")
    return f"{soft} files may be open"


def threads(case: Case) -> str:
    """One thread of numpy a worker: blocks are spread over processes, not over threads."""
    wrong = [
        f"{name}={value}"
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
        if (value := case.environ.get(name, "1")) != "1"
    ]
    if wrong:
        raise Problem(" and ".join(wrong), "set them to 1, or leave them out")
    return f"one thread of numpy, {os.cpu_count()} cores"
