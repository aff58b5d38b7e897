"""Signatures over canonical objects, and the keys that make them.

Portal, parties and providers sign with Ed25519 over the canonical bytes of a JSON object whose "type" says
what it is, so that a signature on one kind of object never passes for another. Hidden: private keys, which
live in files only their owner can read. Bernstein et al., J. Cryptogr. Eng. 2 (2012); RFC 8032.

SignatureError
+-- BadSignature     the bytes, the key or the object do not fit together
+-- KeyFileRefused   the key file is missing, exposed, already there, or no Ed25519 key
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from analytics.query.model import canonical

TYPE_PREFIX = "fourfold/1/"


class SignatureError(Exception):
    """A signature or its key cannot be used."""

    code = "signature_error"


class BadSignature(SignatureError):
    """The signature does not belong to this object and this key."""

    code = "bad_signature"


class KeyFileRefused(SignatureError):
    """The key file cannot be used."""

    code = "key_file_refused"


def sign(obj: dict[str, Any], private_key: Ed25519PrivateKey) -> str:
    """The signature of a typed object, as 128 hex digits.

    Raises  ValueError if the object carries no "type" of ours; TypeError if it holds a float.
    """
    if not _typed(obj):
        raise ValueError(f'only objects whose "type" begins with {TYPE_PREFIX} are signed')
    return private_key.sign(canonical(obj)).hex()


def verify(obj: dict[str, Any], signature_hex: str, public_hex: str) -> None:
    """Return if `signature_hex` is the signature of `obj` by `public_hex`.

    Raises  BadSignature in every other case, malformed hex included; never anything else.
    """
    try:
        if not _typed(obj) or not _hex(signature_hex, 128) or not _hex(public_hex, 64):
            raise BadSignature("object, signature or key is malformed")
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex))
        key.verify(bytes.fromhex(signature_hex), canonical(obj))
    except (InvalidSignature, ValueError, TypeError, RecursionError) as wrong:
        raise BadSignature(str(BadSignature.__doc__)) from wrong


def fingerprint(public_hex: str) -> str:
    """The first 32 hex digits of SHA-256 over the raw public key: what people compare by eye."""
    return hashlib.sha256(bytes.fromhex(public_hex)).hexdigest()[:32]


def public_hex(private_key: Ed25519PrivateKey) -> str:
    """The raw public key that belongs to a private key, as 64 hex digits."""
    raw = private_key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return raw.hex()


def make_private_key(path: str | os.PathLike[str]) -> Ed25519PrivateKey:
    """Write a new private key (PEM, PKCS 8, mode 0600) where no file is yet, and return it.

    Raises  KeyFileRefused if a file of that name exists or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # O_EXCL: a key that exists is never replaced, and a link put there is never followed.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileRefused(f"{path} exists already: a key is never overwritten") from None
    except OSError as wrong:
        raise KeyFileRefused(f"{path} cannot be written: {wrong.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return key


def load_private_key(path: str | os.PathLike[str]) -> Ed25519PrivateKey:
    """Read a private key that only its owner can read.

    Raises  KeyFileRefused if it is missing, readable by group or others, or no Ed25519 key.
    """
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyFileRefused(f"{path} can be read by others (mode {mode:04o}): run chmod 600 {path}")
            pem = file.read(65536)
    except OSError as wrong:
        raise KeyFileRefused(f"{path} cannot be read: {wrong.strerror}") from None
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise KeyFileRefused(f"{path} holds no private key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileRefused(f"{path} holds no Ed25519 key")
    return key


def _typed(obj: object) -> bool:
    kind = obj.get("type") if isinstance(obj, dict) else None
    return isinstance(kind, str) and kind.startswith(TYPE_PREFIX) and len(kind) > len(TYPE_PREFIX)


def _hex(text: object, digits: int) -> bool:
    return isinstance(text, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", text) is not None
