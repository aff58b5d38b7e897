"""Made-up clear data, and each party's shares of it: the same in every process, because seeds are fixed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from mpcnode.ring import XOR, Algebra, Words, pack
from mpcnode.sharing import Share, expand

PARTIES = 4
Codes = Mapping[str, Any]


def clear_columns(tops: Mapping[str, int], rows: int) -> dict[str, Words]:
    """Codes of `rows` rows: column by column uniform below its number."""
    return {
        name: np.random.default_rng([*name.encode()]).integers(0, top, rows, dtype=np.uint64)
        for name, top in tops.items()
    }


def planes_of(codes: Words, bits: int) -> Words:
    """(bits, words) packed planes of codes, the lowest bit first."""
    return np.stack([pack((codes >> np.uint64(k) & np.uint64(1)) != 0) for k in range(bits)])


def shared(party: int, clear: Words, algebra: Algebra, label: str) -> Share:
    """This party's share of a clear array: three components expanded from seeds, the fourth what is missing."""
    components, last = [], np.array(clear, dtype=np.uint64)
    for c in range(PARTIES - 1):
        mask = expand(hashlib.sha256(f"{label} {c}".encode()).digest(), last.shape)
        last = algebra.sub(last, mask)
        if c != party:
            components.append(mask)
    if party != PARTIES - 1:
        components.append(last)
    return Share(party, PARTIES, algebra, np.stack(components))


def shared_bits(party: int, codes: Words, bits: int, label: str) -> Share:
    """Planes (bits, words) of codes."""
    return shared(party, planes_of(codes, bits), XOR, label)
