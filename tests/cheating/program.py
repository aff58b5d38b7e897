"""One program with every operation of the engine, ended by a release: what a cheating party is let loose on.

Bit gates small, merged, large and broadcast; ring product; bits to ring; inner product; comparisons with one constant
and with one a lane; indicators; conjunction; counting direct, folded and in binary; noise; sums. Small on purpose: a
test runs it hundreds of times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpcnode.protocols import popcount
from mpcnode.protocols.compare import conjunction, greater, less, one_hot
from mpcnode.protocols.convert import to_ring
from mpcnode.protocols.gates import product
from mpcnode.protocols.inner import inner
from mpcnode.protocols.noise import discrete_laplace
from mpcnode.ring import RING, XOR, Words, pack, unpack
from mpcnode.session import Session, gather
from mpcnode.sharing import Share, concatenate
from tests.world import World

COINS = ((2**63, 2**62), (2**61,))  # two noises of at most 3 and 1
NOISE = np.array([3, 1])


@dataclass(frozen=True)
class Inputs:
    """Clear values; a party's part of each is a share."""

    codes: Words  # (8, 1) planes of 64 eight-bit codes
    constants: Words  # (8, 1) public planes, one number a lane
    table: Words  # (2, 512) planes
    mask: Words  # (512,)
    left: Words  # (2, 3) ring elements
    right: Words  # (2, 3)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Inputs:
        def words(*shape: int) -> Words:
            return rng.integers(0, 2**64, shape, dtype=np.uint64)

        return cls(words(8, 1), words(8, 1), words(2, 512), words(512), words(2, 3), words(2, 3))

    @classmethod
    def constant(cls, word: int) -> Inputs:
        """Every input bit 0 (word 0) or 1 (word 2^64 - 1); the public constants are others."""

        def words(*shape: int) -> Words:
            return np.full(shape, word, dtype=np.uint64)

        constants = np.arange(8, dtype=np.uint64).reshape(8, 1) * np.uint64(0x0123456789ABCDEF)
        return cls(words(8, 1), constants, words(2, 512), words(512), words(2, 3), words(2, 3))

    def shared(self, world: World) -> dict[str, list[Share]]:
        return {
            "codes": world.share(self.codes, XOR),
            "table": world.share(self.table, XOR),
            "mask": world.share(self.mask, XOR),
            "left": world.share(self.left, RING),
            "right": world.share(self.right, RING),
        }


async def every_operation(session: Session, share: dict[str, Share], constants: Words) -> Share:
    """One ring share of all the figures of `expected`, in its order, plus noise on the first two."""
    codes, table, mask, left, right = (share[name] for name in ("codes", "table", "mask", "left", "right"))

    async def gate(x: Share, y: Share) -> Share:
        return await product(session, x, y)

    async def indicators() -> list[Share]:
        small = await gather(gate(codes[0], codes[1]), gate(codes[2], codes[3]))
        return [
            *small,
            *await gather(
                less(session, codes, 77),
                greater(session, codes, constants),
                conjunction(session, [codes[k] for k in range(5)]),
            ),
        ]

    async def folded() -> Share:
        weights = await popcount.fold(session, {0: table[:, :5]})
        ring = await gather(*(to_ring(session, words) for words in weights.values()))
        total = ring[0].sum()
        for k, part in zip(list(weights)[1:], ring[1:], strict=True):
            total = total + part.sum().mul_public(1 << k)
        return total

    masked, bits, hot, counted, in_binary, ring, sums, noise = await gather(
        gate(table, mask),
        indicators(),
        one_hot(session, codes[:3]),
        folded(),
        popcount.count_bits(session, table[:, :3]),
        gate(left, right),
        products(session, left, right),
        discrete_laplace(session, COINS),
    )
    direct, binary = await gather(
        popcount.count(session, concatenate([*(b.reshape(1, 1) for b in bits), hot, masked[:, :1]])),
        to_ring(session, in_binary),
    )
    weights = np.array([1 << k for k in range(binary.shape[0])], dtype=np.uint64)[:, None]
    both = binary.mul_public(weights)  # (bits, lanes): lane k counts plane k
    planes = concatenate([both[:, k : k + 1].reshape(1, -1).sum() for k in range(2)])
    figures = concatenate([direct, counted, planes, ring.reshape(-1), sums.reshape(-1)])
    return concatenate([figures[:2] + noise, figures[2:]])


async def products(session: Session, x: Share, y: Share) -> Share:
    return await inner(session, x, y)


def expected(inputs: Inputs) -> Words:
    """The same in numpy, without the noise."""
    codes = inputs.codes
    numbers = (unpack(codes).astype(np.uint64) << np.arange(8, dtype=np.uint64)[:, None]).sum(axis=0)
    limits = (unpack(inputs.constants).astype(np.uint64) << np.arange(8, dtype=np.uint64)[:, None]).sum(
        axis=0
    )
    ones = codes[0] & codes[1] & codes[2] & codes[3] & codes[4]
    bits = [
        codes[0] & codes[1],
        codes[2] & codes[3],
        pack(numbers < 77),
        pack(numbers > limits),
        ones,
        *(pack(numbers % 8 == k) for k in range(8)),
        *(inputs.table & inputs.mask)[:, :1],
    ]
    counts = [unpack(words).sum() for words in bits]
    folded = unpack(inputs.table[:, :5]).sum(axis=-1)
    binary = unpack(inputs.table[:, :3]).sum(axis=-1)
    ring = (inputs.left * inputs.right).reshape(-1)
    sums = (inputs.left[:, None, :] * inputs.right[None, :, :]).sum(axis=-1, dtype=np.uint64).reshape(-1)
    return np.concatenate([np.array([*counts, *folded, *binary], dtype=np.uint64), ring, sums])


WORDS = len(expected(Inputs.constant(0)))
