"""Ring views at rest: columns over Z_2^64 that a session made from the planes, kept for the next one.

A view is a share of one ring element a row, under a name that says what it is. It is written while a session runs,
in a file that nothing reads, and becomes a view only when every party has said that it finished: `Draft.keep`.
A session reads a view only if all parties offer it, and only after each holder of a component confirmed its digest
(docs/protocols.md, Stored ring views). Views are sealed under their dataset's key: destroying the dataset ends them.
What they take is bounded; the longest unread go first. Hidden: shares and their digests, sealed like planes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mpcnode.errors import StoreError
from mpcnode.ring import WORD_BITS, Words
from mpcnode.sealed import OVERHEAD, context, disk, seal, sync, unseal
from mpcnode.store import MODE, Store

log = logging.getLogger(__name__)

FORM = "ring"
SEGMENT = 256  # words of rows sealed as one piece: a block of rows is read without the rest
_MAGIC = b"FFVIEW01"
_SUFFIX, _PART = ".view", ".part"


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What a view's file says of itself, sealed: `file` ties its segments to it."""

    dataset: str
    version: int
    name: str
    party: int
    words: int
    file: str
    sha256: tuple[tuple[int, str], ...]


class Views:
    """The ring views of one party's store, at most `limit` bytes of them; 0 keeps none.

    Used in the party's turn only: one session at a time writes. Raises StoreError if a file was changed.
    """

    def __init__(self, store: Store, limit: int) -> None:
        self.store = store
        self.limit = limit

    def held(self, dataset_id: str, names: Iterable[str]) -> list[str]:
        """Those of `names` that are stored, in their order; one whose header does not open is removed."""
        found = []
        for name in names:
            if self._path(dataset_id, name).is_file():
                try:
                    self.open(dataset_id, name)
                except StoreError as wrong:
                    log.warning("a ring view is removed: %s", wrong)
                    self.drop(dataset_id, [name])
                else:
                    found.append(name)
        return found

    def digests(self, dataset_id: str, names: Sequence[str], component: int) -> bytes:
        """The views' part of H_c: dataset, version, name, form, mode, rows, SHA-256 of the component.

        Only for the keyed confirmation between holders: never sent, signed or logged.
        """
        parts = []
        for name in names:
            header = self.open(dataset_id, name).header
            fields = [
                dataset_id,
                header.version,
                name,
                FORM,
                MODE,
                header.words,
                dict(header.sha256)[component],
            ]
            entry = json.dumps(fields).encode()
            parts.append(len(entry).to_bytes(4, "big") + entry)
        return b"".join(parts)

    def open(self, dataset_id: str, name: str) -> View:
        """A stored view, to read rows of."""
        return View(self, dataset_id, name)

    def draft(self, dataset_id: str, names: Iterable[str], words: int) -> Draft:
        """Begin to write views of a dataset of `words` words of rows; what a killed session left is removed."""
        for left in self.store.folder_of(dataset_id).glob(f"*{_PART}"):
            left.unlink(missing_ok=True)
        size = 8 * WORD_BITS * words * len(self.store.components)
        fitting = list(names)[: self.limit // max(1, size)]
        return self.join(dataset_id, {name: os.urandom(16).hex() for name in fitting}, words)

    def join(self, dataset_id: str, files: Mapping[str, str], words: int) -> Draft:
        """A draft of the same `files` (names and numbers of a draft) in another process, for other rows."""
        return Draft(self, dataset_id, {n: _Part(self, dataset_id, n, words, f) for n, f in files.items()})

    def drop(self, dataset_id: str, names: Iterable[str]) -> None:
        """Remove views: somebody's differ."""
        for name in names:
            self._path(dataset_id, name).unlink(missing_ok=True)

    def bytes_stored(self) -> int:
        """Bytes that all views take."""
        return sum(path.stat().st_size for path in self._files())

    def make_room(self) -> None:
        """Remove the longest unread views until the limit holds."""
        found = sorted((path.stat().st_mtime_ns, path.stat().st_size, path) for path in self._files())
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total <= self.limit:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _files(self) -> list[Path]:
        return [path for d in self.store.list() for path in self.store.folder_of(d).glob(f"*{_SUFFIX}")]

    def _path(self, dataset_id: str, name: str) -> Path:
        digest = hashlib.sha256(f"{FORM}\0{name}".encode()).hexdigest()[:32]
        return self.store.folder_of(dataset_id).joinpath(digest + _SUFFIX)


class View:
    """One stored view: rows are read by ranges of words. Reading marks it as used."""

    def __init__(self, views: Views, dataset_id: str, name: str) -> None:
        self._path = views._path(dataset_id, name)
        self._key = views.store.dataset_key(dataset_id)
        self._components = len(views.store.components)
        with disk(), open(self._path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_MAGIC) - 4))
            tail = file.read()
            length = int.from_bytes(tail[:4], "big")
            if tail[4:] != _MAGIC or length > size - len(tail):
                raise StoreError(f"a view of dataset {dataset_id} is damaged")
            file.seek(size - len(tail) - length)
            sealed = file.read(length)
        fields = json.loads(unseal(self._key, sealed, context("view", dataset_id, name)))
        self.header = _Header(**{**fields, "sha256": tuple((c, d) for c, d in fields["sha256"])})
        if self.header.party != views.store.party:
            raise StoreError("the share store was written by another party")

    def read(self, start: int, stop: int) -> Words:
        """Components (n - 1, 64 * (stop - start)) of the rows in words [start, stop)."""
        words = self.header.words
        out = np.empty((self._components, WORD_BITS * (stop - start)), dtype=np.uint64)
        piece = OVERHEAD + 8 * WORD_BITS * SEGMENT * self._components
        with disk(), open(self._path, "rb") as file:
            for segment in range(start // SEGMENT, -(-stop // SEGMENT)):
                first, last = segment * SEGMENT, min((segment + 1) * SEGMENT, words)
                file.seek(segment * piece)
                sealed = file.read(OVERHEAD + 8 * WORD_BITS * (last - first) * self._components)
                plain = unseal(self._key, sealed, _segment(self.header.file, segment))
                rows = np.frombuffer(plain, dtype="<u8").reshape(self._components, -1)
                lo, hi = max(first, start), min(last, stop)
                out[:, WORD_BITS * (lo - start) : WORD_BITS * (hi - start)] = rows[
                    :, WORD_BITS * (lo - first) : WORD_BITS * (hi - first)
                ]
            _mark_as_used(file.fileno())
        return out


class _Part:
    """A view that is being written: segments as rows come in; a header when it is kept."""

    def __init__(self, views: Views, dataset_id: str, name: str, words: int, file: str) -> None:
        store = views.store
        self.words, self.failed = words, False
        self.path = views._path(dataset_id, name)
        self.key = store.dataset_key(dataset_id)
        self.facts: dict[str, Any] = {
            "dataset": dataset_id,
            "version": store.meta(dataset_id)["version"],
            "name": name,
            "party": store.party,
            "words": words,
            "file": file,
        }
        self.components = store.components
        self.digests: dict[int, list[str]] = {}  # of each written segment, SHA-256 of each component
        self._next = 0  # the word that is expected
        self._pending = np.empty((len(self.components), 0), dtype=np.uint64)
        self._descriptor: int | None = None

    @property
    def whole(self) -> bool:
        return len(self.digests) == -(-self.words // SEGMENT) and not self.failed

    def write(self, start: int, rows: Words) -> None:
        if self.failed:
            return
        try:
            if not self._pending.size and start % SEGMENT == 0:
                self._next = start
            if start != self._next:
                raise StoreError(f"rows of word {self._next} are next, not of {start}")
            self._next += rows.shape[1] // WORD_BITS
            with disk():
                self._append(rows)
        except StoreError as wrong:
            # The answer does not need the view: a full disk costs the next session time, nobody an answer.
            self.failed = True
            log.warning("a ring view is not kept: %s", wrong)

    def _append(self, rows: Words) -> None:
        """Write the segments that are whole now, or the table's last one; keep the rest for the next rows."""
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self.path.with_suffix(_PART), flags, 0o600)
        waiting = np.concatenate([self._pending, rows], axis=1) if self._pending.size else rows
        first = self._next - waiting.shape[1] // WORD_BITS
        step = SEGMENT * WORD_BITS
        whole = waiting.shape[1] if self._next == self.words else waiting.shape[1] // step * step
        size = OVERHEAD + 8 * step * len(self.components)
        for lo in range(0, whole, step):
            piece = np.ascontiguousarray(waiting[:, lo : min(lo + step, whole)], dtype="<u8")
            number = first // SEGMENT + lo // step
            sealed = seal(
                self.key, piece.reshape(-1).view(np.uint8).data, _segment(self.facts["file"], number)
            )
            if os.pwrite(self._descriptor, sealed, number * size) != len(sealed):
                raise StoreError("a ring view was cut short")
            self.digests[number] = [hashlib.sha256(component.data).hexdigest() for component in piece]
        self._pending = np.array(waiting[:, whole:])

    def keep(self) -> None:
        assert self._descriptor is not None, "a whole view has rows"
        digests = []
        for k, c in enumerate(self.components):
            every = "".join(self.digests[number][k] for number in sorted(self.digests))
            digests.append((c, hashlib.sha256(bytes.fromhex(every)).hexdigest()))
        header = json.dumps({**self.facts, "sha256": digests}, sort_keys=True).encode()
        sealed = seal(self.key, header, context("view", self.facts["dataset"], self.facts["name"]))
        with disk():
            end = os.fstat(self._descriptor).st_size
            os.pwrite(self._descriptor, sealed + len(sealed).to_bytes(4, "big") + _MAGIC, end)
            _mark_as_used(self._descriptor)
            os.fsync(self._descriptor)
            os.rename(self.path.with_suffix(_PART), self.path)
        self.close()

    def drop(self) -> None:
        self.close()
        with suppress(OSError):
            self.path.with_suffix(_PART).unlink(missing_ok=True)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


@dataclass
class Draft:
    """The views that one session writes of one dataset. Every one is kept or dropped at its end."""

    views: Views
    dataset_id: str
    parts: dict[str, _Part] = field(repr=False)

    def write(self, name: str, start: int, rows: Words) -> None:
        """Write rows (n - 1, 64 * words) from word `start`: in order, beginning at any whole SEGMENT.

        Never raises: a view that cannot be written is not kept.
        """
        if name in self.parts:
            self.parts[name].write(start, rows)

    @property
    def files(self) -> dict[str, str]:
        """What another process needs to `Views.join`: names and numbers of the files."""
        return {name: part.facts["file"] for name, part in self.parts.items()}

    def written(self) -> dict[str, list[tuple[int, list[str]]]]:
        """Digests of what this process wrote, for `take`: as secret as the shares. Closes the files."""
        for part in self.parts.values():
            part.close()
        return {n: [] if part.failed else list(part.digests.items()) for n, part in self.parts.items()}

    def take(self, written: Mapping[str, Sequence[tuple[int, list[str]]]]) -> None:
        """Add what another process wrote of the same files."""
        for name, segments in written.items():
            self.parts[name].digests |= dict(segments)

    def whole(self) -> list[str]:
        """The views of which every row was written."""
        return [name for name, part in self.parts.items() if part.whole]

    def keep(self, names: Iterable[str]) -> None:
        """Make these whole views readable, remove the others, and hold the limit."""
        agreed = set(names)
        try:
            for name in self.whole():
                if name in agreed:
                    self.parts.pop(name).keep()
            with disk():
                sync(self.views.store.folder_of(self.dataset_id))
                self.views.make_room()
        finally:
            self.drop()

    def drop(self) -> None:
        """Remove what is not kept."""
        for part in self.parts.values():
            part.drop()
        self.parts = {}


def _mark_as_used(descriptor: int) -> None:
    now = time.time_ns()  # finer than the file system's own clock
    os.utime(descriptor, ns=(now, now))


def _segment(file: str, number: int) -> bytes:
    return context("view segment", file, str(number))
