"""Sealed chunks as files: BUNDLES/<dataset>/<manifest>/<party>/<chunk>.

The portal cannot open them. A file is written whole and renamed; its row is the word on whether it exists.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction

from portal.registry.models import PARTIES, Chunk, Dataset, DatasetState

LARGEST_CHUNK = 1024 * 1024 + 4096  # a mebibyte of plaintext, the sealing's own bytes
MOST_CHUNKS = 4096


class ChunkRefused(Exception):
    """The chunk does not fit into this upload."""

    code = "chunk_refused"

    def __init__(self, message: str, code: str = "chunk_refused") -> None:
        super().__init__(message)
        self.code = code


class DiskFull(Exception):
    """The portal has no space for the chunk; what came before it stays, and the same upload goes on later."""

    code = "disk_full"


def store(dataset: Dataset, *, party: int, number: int, of: int, content: bytes) -> bool:
    """Keep one sealed chunk; True if it is new, False if the same bytes were there.

    Raises  ChunkRefused: chunk_differs if other bytes were there, not_uploading, chunk_refused;
            DiskFull.
    """
    if not (0 <= party < PARTIES and 0 <= number < of <= MOST_CHUNKS):
        raise ChunkRefused(f"chunk numbers run from 0 to chunks - 1, chunks is at most {MOST_CHUNKS}")
    if not content:
        raise ChunkRefused("the chunk is empty")
    sha256 = hashlib.sha256(content).hexdigest()
    there = dataset.chunks.filter(party=party, number=number).first()
    if there is not None:
        return _same(there, sha256, of)
    if dataset.state != DatasetState.UPLOADING:
        raise ChunkRefused(f"the upload is over: the dataset is {dataset.state}", "not_uploading")
    path = _path(dataset, party, number, sha256)
    write(path, content)
    try:
        with transaction.atomic():
            # Rows of one dataset are decided one after another: `of` must be one number per bundle.
            current = Dataset.objects.select_for_update().get(pk=dataset.pk)
            if current.state != DatasetState.UPLOADING or current.manifest_hash != dataset.manifest_hash:
                raise ChunkRefused("the upload is over", "not_uploading")
            if current.chunks.filter(party=party).exclude(of=of).exists():
                raise ChunkRefused(
                    "another chunk of this bundle says another number of chunks", "chunk_differs"
                )
            Chunk.objects.create(
                dataset=dataset, party=party, number=number, of=of, size=len(content), sha256=sha256
            )
    except IntegrityError:
        return _same(dataset.chunks.get(party=party, number=number), sha256, of)
    return True


def read(chunk: Chunk) -> bytes:
    """The sealed bytes of a chunk."""
    return _path(chunk.dataset, chunk.party, chunk.number, chunk.sha256).read_bytes()


def counts(dataset: Dataset) -> list[tuple[int, int]]:
    """For each party (present chunks, chunks its bundle has); (0, 0) if nothing came."""
    found = [(0, 0)] * PARTIES
    for party, of in dataset.chunks.values_list("party", "of"):
        found[party] = (found[party][0] + 1, of)
    return found


def complete(dataset: Dataset) -> bool:
    return all(of and present == of for present, of in counts(dataset))


def forget(dataset_id: str, manifest_hash: str) -> None:
    """Remove the files of an upload that was started again."""
    shutil.rmtree(Path(settings.FOURFOLD_BUNDLES) / dataset_id / manifest_hash, ignore_errors=True)


def _same(there: Chunk, sha256: str, of: int) -> bool:
    if (there.sha256, there.of) != (sha256, of):
        raise ChunkRefused("other bytes were uploaded as this chunk before", "chunk_differs")
    return False


def _path(dataset: Dataset, party: int, number: int, sha256: str) -> Path:
    # The content's hash is in the name: two racing uploads of one chunk never share a file.
    folder = Path(settings.FOURFOLD_BUNDLES) / dataset.pk / dataset.manifest_hash / str(party)
    return folder / f"{number}-{sha256[:16]}"


def write(path: Path, content: bytes) -> None:
    """A file whole or not at all, in folders that nobody else may list."""
    try:
        _write_whole(path, content)
    except OSError as wrong:
        if wrong.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space for a chunk of {len(content)} bytes") from None
        raise


def _write_whole(path: Path, content: bytes) -> None:
    for folder in reversed(path.parents[:4]):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
