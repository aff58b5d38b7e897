"""A party's private keys: Ed25519 to sign, X25519 to open what is sealed to it, and the key of its store.

They are files that only their owner can read, made once and never replaced; without `seal.key` and
`store.key` the party's share is lost for good, so they belong in its own backup and nowhere else.
Read when a task starts, never before a fork: no cipher object is shared between processes.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from analytics.query import approval
from workers.errors import Misconfigured

NAMES = ("sign.pem", "seal.key", "store.key")
_RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The three keys of one party; printing it shows none of them."""

    sign: Ed25519PrivateKey = field(repr=False)
    seal: X25519PrivateKey = field(repr=False)
    store: bytes = field(repr=False)

    @property
    def sign_hex(self) -> str:
        return approval.public_hex(self.sign)

    @property
    def seal_hex(self) -> str:
        return self.seal.public_key().public_bytes(*_RAW).hex()

    @property
    def fingerprint(self) -> str:
        """What people compare by eye before they trust a party: 32 hex digits over both public keys."""
        return fingerprint(self.seal_hex, self.sign_hex)


def fingerprint(seal_hex: str, sign_hex: str) -> str:
    return hashlib.sha256(bytes.fromhex(seal_hex) + bytes.fromhex(sign_hex)).hexdigest()[:32]


def init(folder: Path) -> Keys:
    """Make the keys that are missing under `folder`/keys and return all three.

    Raises  Misconfigured if a key cannot be written, is exposed, or is no key; or if one is missing
            although the party has a store already: a new one would not open it.
    """
    place = folder / "keys"
    lost = [name for name in NAMES if not (place / name).exists()]
    if lost and (folder / "store").exists():
        raise Misconfigured(f"{place / lost[0]} is missing, but the party has a store: restore its backup")
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (place / "sign.pem").exists():
            approval.make_private_key(place / "sign.pem")
        if not (place / "seal.key").exists():
            pem = X25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            _create(place / "seal.key", pem)
        if not (place / "store.key").exists():
            _create(place / "store.key", os.urandom(32).hex().encode() + b"\n")
    except approval.KeyFileRefused as wrong:
        raise Misconfigured(str(wrong)) from None
    except OSError as wrong:
        raise Misconfigured(f"keys cannot be written to {place}: {wrong.strerror}") from None
    return load(folder)


def load(folder: Path) -> Keys:
    """Read the three keys under `folder`/keys.

    Raises  Misconfigured if one is missing, readable by group or others, or no key.
    """
    place = folder / "keys"
    try:
        sign = approval.load_private_key(place / "sign.pem")
    except approval.KeyFileRefused as wrong:
        raise Misconfigured(str(wrong)) from None
    try:
        seal = serialization.load_pem_private_key(_private(place / "seal.key"), password=None)
    except (ValueError, TypeError):
        seal = None
    if not isinstance(seal, X25519PrivateKey):
        raise Misconfigured(f"{place / 'seal.key'} holds no X25519 key")
    store = _private(place / "store.key").strip()
    if not re.fullmatch(rb"[0-9a-f]{64}", store):
        raise Misconfigured(f"{place / 'store.key'} holds no key of 64 hex digits")
    return Keys(sign=sign, seal=seal, store=bytes.fromhex(store.decode()))


def _create(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _private(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise Misconfigured(f"{path} can be read by others (mode {mode:04o}): run chmod 600 {path}")
            return file.read(65536)
    except OSError as wrong:
        raise Misconfigured(f"{path} cannot be read: {wrong.strerror}") from None
