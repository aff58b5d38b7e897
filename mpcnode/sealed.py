"""How files of the share store are sealed and written: AES-256-GCM under a key and a context, synced, errors named.

The context (associated data) says what a piece is and where it belongs, so that none can take another's place.
NIST SP 800-38D.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpcnode.errors import StoreError

_NONCE = 12
_TAG = 16
OVERHEAD = _NONCE + _TAG  # bytes that sealing adds


def context(kind: str, *place: str) -> bytes:
    """What a sealed piece is and where it belongs, as one byte string."""
    return json.dumps(["fourfold/1/store", kind, *place]).encode()


def seal(key: bytes, plain: Any, about: bytes) -> bytes:
    """Nonce, ciphertext and tag of `plain`. Raises StoreError above 2 GiB."""
    # A dataset's key is its own and seals some thousands of pieces, so random nonces do not repeat (NIST: 2^32).
    nonce = os.urandom(_NONCE)
    try:
        return nonce + AESGCM(key).encrypt(nonce, plain, about)
    except OverflowError:
        raise StoreError("a column is larger than one sealed file can be: 2 GiB") from None


def unseal(key: bytes, sealed: Any, about: bytes) -> bytes:
    """What `seal` was given. Raises StoreError if a bit of it, its key or its place is another."""
    if len(sealed) < _NONCE + _TAG:
        raise StoreError("a file of the share store is cut short")
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], memoryview(sealed)[_NONCE:], about)
    except InvalidTag:
        raise StoreError(
            "a file of the share store was changed, moved, or sealed under another key"
        ) from None


def write(path: Path, *parts: bytes) -> None:
    """Write a new file, 0600, and see it on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """See a folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk() -> Iterator[None]:
    """Errors of the disk as StoreError."""
    try:
        yield
    except OSError as wrong:
        raise StoreError(
            f"the share store cannot be used: {wrong.strerror or 'input/output error'}"
        ) from None
