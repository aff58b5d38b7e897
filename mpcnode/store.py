"""The share store of one party: what it holds of every dataset, encrypted at rest, whole or not at all.

A dataset is a folder with a wrapped key, sealed facts about it and one file for each (column, form). A file
is a sealed header (dataset, version, column, form, mode, rows, planes, SHA-256 of each of the party's three
components) and a sealed body under that header. The dataset's key is wrapped under the party's store key:
destroying the dataset removes the wrapped key first, and then nothing on the disk can be read any more.
Hidden: shares, and the digests of components too (who knows all other components would enumerate what such
a digest covers), so headers are sealed like bodies. AES-256-GCM: NIST SP 800-38D.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mpcnode.errors import StoreError
from mpcnode.sealed import context, disk, seal, sync, unseal, write

Words: TypeAlias = NDArray[np.uint64]
Layout: TypeAlias = Sequence[tuple[str, str | int]]

FORM = "planes"
MODE = "active"  # four parties, every message vouched for; nothing else is ever stored
_MAGIC = b"FFSHARE1"
_DATASET = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class _Header:
    dataset: str
    version: int
    column: str
    form: str
    mode: str
    party: int
    rows: int
    planes: int
    words: int
    sha256: tuple[tuple[int, str], ...]

    def public(self) -> dict[str, Any]:
        return {"type": "fourfold/1/share", **vars(self), "sha256": [list(pair) for pair in self.sha256]}


class Store:
    """The datasets of one party under `folder`. Safe for several processes; keeps no cipher between calls.

    Opening it removes what an interrupted `put` or `destroy` left behind; with `tidy` off nothing on the disk is
    touched, for looking at a store that another process may be writing.
    Raises  StoreError from every method if the disk, the key or a file does not serve.
    """

    def __init__(
        self, folder: str | os.PathLike[str], key: bytes, party: int, *, parties: int = 4, tidy: bool = True
    ) -> None:
        if len(key) != 32:
            raise StoreError("the store key has 32 bytes")
        if not 0 <= party < parties:
            raise StoreError(f"there is no party {party} of {parties}")
        self._folder = Path(folder)
        self._key = key
        self.party = party
        self.components = tuple(c for c in range(parties) if c != party)
        if not tidy:
            return
        with disk():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._datasets.mkdir(exist_ok=True, mode=0o700)
            self._pending.mkdir(exist_ok=True, mode=0o700)
        with self._locked():
            self._clean()

    def __repr__(self) -> str:
        return f"Store(party={self.party}, folder={str(self._folder)!r})"

    # -- writing -----------------------------------------------------------------------------------------

    def put(
        self, dataset_id: str, meta: Mapping[str, Any], layout: Layout, components: Mapping[int, Words]
    ) -> None:
        """Store a dataset whole, or leave nothing. Storing the same again changes nothing.

        meta        JSON facts kept with it; "version" and "capacity" (rows) are required.
        layout      (column, part) of each plane, planes of a column side by side; ("", "valid") too.
        components  {c: uint64 (P, W)} for every component but the party's own number.
        Raises  StoreError: shapes or names do not fit, another content has this id, the disk is full.
        """
        groups = _grouped(layout)
        arrays = self._checked(components, len(layout))
        version, rows = meta.get("version"), meta.get("capacity")
        if not isinstance(version, int) or not isinstance(rows, int):
            raise StoreError("meta names version and capacity")
        words = arrays[self.components[0]].shape[1]
        if words != -(-rows // 64):
            raise StoreError(f"{words} words a plane do not hold {rows} rows")
        with self._locked():
            if self.has(dataset_id):
                if self.meta(dataset_id) == json.loads(json.dumps(dict(meta))):
                    return
                raise StoreError(f"dataset {dataset_id} is stored already, with other facts")
            self._clean()
            folder = self._pending / os.urandom(8).hex()
            try:
                with disk():
                    folder.mkdir(mode=0o700)
                    key = os.urandom(32)
                    write(folder / "key", seal(self._key, key, context("key", dataset_id)))
                    facts = json.dumps(dict(meta), sort_keys=True).encode()
                    write(folder / "meta", seal(key, facts, context("meta", dataset_id)))
                    for column, (start, stop) in groups.items():
                        mine = {
                            c: np.ascontiguousarray(a[start:stop], dtype="<u8") for c, a in arrays.items()
                        }
                        header = _Header(
                            dataset=dataset_id, version=version, column=column, form=FORM, mode=MODE,
                            party=self.party, rows=rows, planes=stop - start, words=words,
                            sha256=tuple((c, hashlib.sha256(a.data).hexdigest()) for c, a in mine.items()),
                        )  # fmt: skip
                        self._write_column(folder, key, header, mine)
                    sync(folder)
                    os.rename(folder, self._datasets / dataset_id)
                    sync(self._datasets)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise

    def destroy(self, dataset_id: str) -> bool:
        """Erase a dataset: its wrapped key first, then its files. False if there was none."""
        with self._locked(), disk():
            folder = self.folder_of(dataset_id)
            if not folder.is_dir():
                return False
            (folder / "key").unlink(missing_ok=True)
            sync(folder)
            self._clean()
            return True

    # -- reading -----------------------------------------------------------------------------------------

    def has(self, dataset_id: str) -> bool:
        """Whether the dataset is stored and not destroyed."""
        return (self.folder_of(dataset_id) / "key").is_file()

    def list(self) -> list[str]:
        """The ids of the stored datasets, sorted."""
        with disk():
            return sorted(path.name for path in self._datasets.iterdir() if (path / "key").is_file())

    def meta(self, dataset_id: str) -> dict[str, Any]:
        """The facts given to `put`, as JSON data."""
        key = self.dataset_key(dataset_id)
        with disk():
            sealed = (self.folder_of(dataset_id) / "meta").read_bytes()
        facts = json.loads(unseal(key, sealed, context("meta", dataset_id)))
        return facts if isinstance(facts, dict) else _damaged(dataset_id)

    def columns(self, dataset_id: str, names: Sequence[str]) -> dict[str, Words]:
        """{name: read-only uint64 (components, planes, W)}; "" is the table's valid plane.

        Components are stacked in ascending order without the party's own number.
        Raises  StoreError if a column is not stored, or a file was changed or moved.
        """
        key = self.dataset_key(dataset_id)
        found = {}
        for name in names:
            header, body = self._read_column(dataset_id, key, name)
            plain = unseal(key, body, context("body", dataset_id, name, FORM) + _bytes(header))
            shape = (len(self.components), header.planes, header.words)
            if len(plain) != 8 * shape[0] * shape[1] * shape[2]:
                _damaged(dataset_id)
            found[name] = np.frombuffer(plain, dtype="<u8").reshape(shape)
        return found

    def component_digests(self, dataset_id: str, names: Sequence[str], component: int) -> bytes:
        """What all holders of a component must agree on before a session reads these columns (H_c).

        Length-prefixed (dataset, version, column, form, mode, rows, planes, SHA-256 of the component) in the
        order of `names`. Only for the keyed confirmation between holders: never sent, signed or logged.
        """
        if component not in self.components:
            raise StoreError(f"party {self.party} holds no component {component}")
        key = self.dataset_key(dataset_id)
        parts = []
        for name in names:
            header, _ = self._read_column(dataset_id, key, name, body=False)
            fields = [header.dataset, header.version, header.column, header.form, header.mode, header.rows,
                      header.planes, dict(header.sha256)[component]]  # fmt: skip
            entry = json.dumps(fields).encode()
            parts.append(len(entry).to_bytes(4, "big") + entry)
        return b"".join(parts)

    # -- for what else is kept of a dataset (mpcnode.views) ------------------------------------------------

    def folder_of(self, dataset_id: str) -> Path:
        """The folder of a dataset: destroying it removes the folder's wrapped key, and so all that is sealed there."""
        if not _DATASET.fullmatch(dataset_id):
            raise StoreError("a dataset id is 32 hex digits")
        return self._datasets / dataset_id

    def dataset_key(self, dataset_id: str) -> bytes:
        """The key that a dataset's files are sealed under. Raises StoreError if the dataset is not stored."""
        try:
            wrapped = (self.folder_of(dataset_id) / "key").read_bytes()
        except OSError:
            raise StoreError(f"dataset {dataset_id} is not stored here") from None
        return unseal(self._key, wrapped, context("key", dataset_id))

    # -- inside ------------------------------------------------------------------------------------------

    @property
    def _datasets(self) -> Path:
        return self._folder / "datasets"

    @property
    def _pending(self) -> Path:
        return self._folder / "pending"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time over all processes; the kernel drops the lock of a killed one."""
        with disk():
            descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _clean(self) -> None:
        """Remove half-written and keyless folders. Only under the lock."""
        with disk():
            for path in list(self._pending.iterdir()):
                shutil.rmtree(path)
            for path in list(self._datasets.iterdir()):
                if not (path / "key").is_file():
                    shutil.rmtree(path)

    def _checked(self, components: Mapping[int, Words], planes: int) -> dict[int, Words]:
        if tuple(sorted(components)) != self.components:
            raise StoreError(f"party {self.party} stores components {self.components}, no others")
        arrays = {c: components[c] for c in self.components}
        shapes = {a.shape for a in arrays.values()}
        if len(shapes) != 1 or any(a.dtype != np.uint64 or a.ndim != 2 for a in arrays.values()):
            raise StoreError("components are uint64 arrays (planes, words) of one shape")
        if shapes.pop()[0] != planes:
            raise StoreError("components do not have one plane for each entry of the layout")
        return arrays

    def _write_column(self, folder: Path, key: bytes, header: _Header, arrays: Mapping[int, Words]) -> None:
        place = (header.dataset, header.column, header.form)
        head = seal(key, _bytes(header), context("header", *place))
        plain = b"".join(arrays[c].tobytes() for c in self.components)
        body = seal(key, plain, context("body", *place) + _bytes(header))
        write(folder / _file_name(header.column), _MAGIC, len(head).to_bytes(4, "big"), head, body)

    def _read_column(
        self, dataset_id: str, key: bytes, column: str, *, body: bool = True
    ) -> tuple[_Header, bytes]:
        try:
            with open(self.folder_of(dataset_id) / _file_name(column), "rb") as file:
                start = file.read(len(_MAGIC) + 4)
                if start[: len(_MAGIC)] != _MAGIC:
                    _damaged(dataset_id)
                head = file.read(int.from_bytes(start[len(_MAGIC) :], "big"))
                rest = file.read() if body else b""
        except FileNotFoundError:
            raise StoreError(f"dataset {dataset_id} has no column {column!r}") from None
        except OSError as wrong:
            raise StoreError(f"the share store cannot be read: {wrong.strerror}") from None
        fields = json.loads(unseal(key, head, context("header", dataset_id, column, FORM)))
        fields.pop("type")
        header = _Header(**{**fields, "sha256": tuple((c, digest) for c, digest in fields["sha256"])})
        if header.party != self.party or header.mode != MODE:
            raise StoreError("the share store was written by another party or in another mode")
        return header, rest


def _grouped(layout: Layout) -> dict[str, tuple[int, int]]:
    """Column -> [start, stop) of its planes; a column whose planes are not side by side is refused."""
    groups: dict[str, tuple[int, int]] = {}
    last: str | None = None
    for position, (column, _) in enumerate(layout):
        if column == last:
            groups[column] = (groups[column][0], position + 1)
        elif column in groups:
            raise StoreError(f"the planes of column {column!r} are not side by side")
        else:
            groups[column] = (position, position + 1)
        last = column
    if "" not in groups:
        raise StoreError("the layout has no valid plane")
    return groups


def _bytes(header: _Header) -> bytes:
    return json.dumps(header.public(), sort_keys=True, separators=(",", ":")).encode()


def _file_name(column: str) -> str:
    # Names come from codebooks in any script and case: the file system sees a digest only.
    return hashlib.sha256(f"{FORM}\0{column}".encode()).hexdigest()[:32] + ".share"


def _damaged(dataset_id: str) -> NoReturn:
    raise StoreError(f"a file of dataset {dataset_id} is damaged")
