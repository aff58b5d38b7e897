"""Pseudo-random secret sharing: randomness that all holders of a key agree on without a message.

Key k_c is held by every party but c, so what it expands to is uniform to party c alone (Cramer, Damgard, Ishai,
TCC 2005). One name is one AES-128-CTR stream under HKDF(k_c, block, name), its counter running from zero;
every holder draws from it in the same order, also what it throws away.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpcnode.errors import StepReused
from mpcnode.ring import Words

ZEROS = memoryview(bytes(1 << 20))


class Stream:
    """One key stream: successive words, never the same twice."""

    def __init__(self, key: bytes) -> None:
        # Not numpy's generator: parties must agree on these bytes across numpy versions.
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def fill(self, out: Words) -> Words:
        """Overwrite a contiguous array with the next words of the stream; returns it."""
        if not out.size:
            return out
        view = out.data.cast("B")
        for start in range(0, len(view), len(ZEROS)):
            piece = view[start : start + len(ZEROS)]
            self._cipher.update_into(ZEROS[: len(piece)], piece)
        return out


class Prss:
    """A party's streams of one session and block. A name opens once (`StepReused`)."""

    def __init__(self, keys: Mapping[int, bytes], block: int) -> None:
        self._keys = dict(keys)
        self._block = block
        self._opened: set[tuple[int, str]] = set()

    def open(self, c: int, name: str) -> Stream:
        """The stream `name` of key k_c, which every party but c opens too."""
        if (c, name) in self._opened:
            raise StepReused(f"stream {name} of key {c}")
        self._opened.add((c, name))
        info = b"fourfold/1/prss" + self._block.to_bytes(4, "big") + name.encode()
        return Stream(HKDF(SHA256(), 16, salt=None, info=info).derive(self._keys[c]))
