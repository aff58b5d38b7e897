"""The two algebras that a gate runs over: bits in packed words, and Z_2^64.

A gate is written once over (add, sub, mul). On bits these are (^, ^, &), 64 rows to a word; on the ring they
are (+, -, *) modulo 2^64, one row to a word. numpy wraps arrays of uint64 silently, which is what we want.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint64]
WORD_BITS = 64
ONES = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Algebra:
    """Addition, subtraction and multiplication of uint64 arrays, elementwise."""

    name: str
    add: np.ufunc
    sub: np.ufunc
    mul: np.ufunc


XOR = Algebra("xor", np.bitwise_xor, np.bitwise_xor, np.bitwise_and)
RING = Algebra("ring", np.add, np.subtract, np.multiply)


def words_for(rows: int) -> int:
    """How many words hold one bit of each row."""
    return -(-rows // WORD_BITS)


def pack(bits: NDArray[np.bool_]) -> Words:
    """(..., rows) truth values to (..., words): row r is bit r % 64 of word r // 64, the rest is 0."""
    rows = bits.shape[-1]
    padded = np.zeros((*bits.shape[:-1], words_for(rows) * WORD_BITS), dtype=bool)
    padded[..., :rows] = bits
    packed = np.packbits(padded, axis=-1, bitorder="little")
    return packed.view("<u8").astype(np.uint64, copy=False)


def unpack(words: Words) -> NDArray[np.uint8]:
    """(..., words) to (..., 64 * words) bytes of 0 and 1."""
    as_bytes = np.ascontiguousarray(words).astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(as_bytes, axis=-1, bitorder="little")
