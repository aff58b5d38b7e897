"""Bits to ring elements: two rounds, twelve bytes a bit and party. What a cold column costs."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Table, Work
from benchmarks.shares import shared
from mpcnode.protocols.convert import to_ring
from mpcnode.ring import XOR, unpack
from mpcnode.session import Session
from mpcnode.sharing import Share


def prepare(party: int, bits: int) -> Work:
    clear = np.random.default_rng(1).integers(0, 2**64, -(-bits // 64), dtype=np.uint64)
    x = shared(party, clear, XOR, "x")
    return Work(
        program=lambda session: total(session, x),
        words=1,
        expected=lambda: np.array([unpack(clear).sum()]),
    )


async def total(session: Session, x: Share) -> Share:
    """How many bits are set, so that something is there to compare."""
    return (await to_ring(session, x)).sum().reshape(1)


TABLES = (
    Table(
        title="bits to ring elements, summed",
        unit="bits",
        sizes=(10_000, 100_000, 1_000_000),
        prepare=prepare,
        rate=("bits", 1),
    ),
)
