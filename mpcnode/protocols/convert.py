"""Bits to ring elements, in two rounds and six elements a bit.

a = x_0 ^ x_1 is known to parties 2 and 3, b = x_2 ^ x_3 to 0 and 1. Deal: half gates of the pairs {0, 1} and {2, 3}
share a and b over Z_2^64; Fold: x = a + b - 2ab, where only the cross pairs have a product. With three parties
b = x_2 is a component already.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpcnode.protocols.gates import CHUNK, HalfGates
from mpcnode.ring import RING, WORD_BITS, XOR, Words, unpack
from mpcnode.session import Session
from mpcnode.sharing import Share

MINUS_TWO = np.uint64(2**64 - 2)


class Deal(HalfGates):
    """Ring components of a (0 and 1) and of b (2 and 3), as one array: a sharing of a + b."""

    def __init__(self, session: Session, bits: Share) -> None:
        me, n = session.party, session.n
        self.sides: dict[frozenset[int], NDArray[np.uint8]] = {}
        for pair in ((0, 1), (2, 3)) if n == 4 else ((0, 1),):
            if me not in pair:
                xor = bits.component(pair[0]) ^ bits.component(pair[1])
                self.sides[frozenset(pair)] = unpack(xor).reshape(-1)
        size = int(np.prod(bits.shape)) * WORD_BITS
        z = np.zeros((n - 1, size), dtype=np.uint64)
        if n == 3 and me != 2:
            z[-1] = unpack(bits.component(2)).reshape(-1)
        dealt = ({0, 1}, {2, 3}) if n == 4 else ({0, 1},)
        super().__init__(session, RING, z, keep=lambda pair: set(pair) in dealt)

    def value(self, i: int, j: int, lo: int, hi: int, out: Words) -> None:
        out[:] = self.sides[frozenset((i, j))][lo:hi]


class Fold(HalfGates):
    """a + b - 2ab from the components that Deal left, in their place."""

    def __init__(self, session: Session, dealt: Words) -> None:
        self.before = np.empty((len(dealt), min(CHUNK, dealt.shape[1])), dtype=np.uint64)
        super().__init__(session, RING, dealt, keep=lambda pair: len({0, 1} & set(pair)) == 1)

    def prepare(self, lo: int, hi: int) -> None:
        """Keep -2a and b of this chunk, which the masks are about to change."""
        for slot, c in enumerate(self.session.held):
            kept = self.before[slot, : hi - lo]
            if c in (0, 1):
                np.multiply(self.z[slot, lo:hi], MINUS_TWO, out=kept)
            else:
                kept[:] = self.z[slot, lo:hi]

    def value(self, i: int, j: int, lo: int, hi: int, out: Words) -> None:
        me = self.session.party
        i, j = (i if i < me else i - 1), (j if j < me else j - 1)
        np.multiply(self.before[i, : hi - lo], self.before[j, : hi - lo], out=out)


async def to_ring(session: Session, bits: Share) -> Share:
    """Return [x] over Z_2^64, each bit a ring element 0 or 1.

    Shapes  bits (..., words) packed; result (..., 64 * words).
    Cost    two rounds, 1.5 ring elements a bit and party (12 bytes) with four parties, 1 with three.
    Leaks   nothing to one party; a changed message is caught in the same round by its tag.
    Raises  ProtocolAbort, before this party sends anything more.
    """
    if bits.algebra is not XOR:
        raise TypeError("to_ring takes packed bits")
    dealt = await Deal(session, bits)
    folded = await Fold(session, dealt)
    return Share(
        session.party, session.n, RING, folded.reshape(-1, *bits.shape[:-1], bits.shape[-1] * WORD_BITS)
    )
