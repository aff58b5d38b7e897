"""Replicated sharing among n parties, and its local operations.

x = x_0 + ... + x_{n-1} in an algebra; party p holds every component but x_p, stacked in one array, so that one
numpy call serves all of them. Any two parties together know x; one party alone knows nothing. Linear
operations cost no message. Ito, Saito, Nishizeki (1987); Araki et al., CCS 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpcnode.ring import ONES, RING, XOR, Algebra, Words
from mpcnode.roles import remaining

SEED_BYTES = 32


@dataclass(frozen=True)
class Share:
    """One party's part of an array: components (n - 1, *shape), ascending, without the party's own."""

    party: int
    n: int
    algebra: Algebra
    components: Words = field(repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.components.shape[1:]

    @property
    def held(self) -> tuple[int, ...]:
        return tuple(c for c in range(self.n) if c != self.party)

    def component(self, c: int) -> Words:
        """Component c, a view; the party's own is not there."""
        if c == self.party:
            raise IndexError("a party does not hold its own component")
        component: Words = self.components[c if c < self.party else c - 1]
        return component

    def with_components(self, components: Words) -> Share:
        return Share(self.party, self.n, self.algebra, components)

    def __add__(self, other: Share) -> Share:
        return self.with_components(self.algebra.add(self.components, other.components))

    def __sub__(self, other: Share) -> Share:
        return self.with_components(self.algebra.sub(self.components, other.components))

    __xor__ = __add__

    def __invert__(self) -> Share:
        return self.add_public(ONES)

    def __getitem__(self, index: Any) -> Share:
        if not isinstance(index, tuple):
            index = (index,)
        return self.with_components(self.components[(slice(None), *index)])

    def add_public(self, value: Any) -> Share:
        """Share of self + value, value public; it goes into component 0 at its holders."""
        value = np.asarray(value, dtype=np.uint64)
        shape = np.broadcast_shapes(self.shape, value.shape)
        components = np.array(np.broadcast_to(self.components, (self.n - 1, *shape)))
        if self.party != 0:
            components[0] = self.algebra.add(components[0], value)
        return self.with_components(components)

    def mul_public(self, value: Any) -> Share:
        """Share of self * value, value public."""
        return self.with_components(self.algebra.mul(self.components, np.asarray(value, dtype=np.uint64)))

    def reshape(self, *shape: int) -> Share:
        return self.with_components(self.components.reshape(self.n - 1, *shape))

    def sum(self, axis: int = -1) -> Share:
        """Sum along an axis of a ring share (parity of an XOR share)."""
        return self.with_components(
            self.algebra.add.reduce(self.components, axis=axis if axis < 0 else axis + 1)
        )


def stack(shares: Sequence[Share]) -> Share:
    """Shares of equal shape as one share with a new first axis."""
    return shares[0].with_components(np.stack([s.components for s in shares], axis=1))


def concatenate(shares: Sequence[Share], axis: int = 0) -> Share:
    """Shares joined along an axis of their values (negative axes count from the end)."""
    return shares[0].with_components(
        np.concatenate([s.components for s in shares], axis=axis if axis < 0 else axis + 1)
    )


def without(share: Share, missing: int) -> Share:
    """One of four parties' share as its share among the three others, without a message.

    x_missing is known to all three, so it is folded into the first component that stays; parties and components
    are numbered anew as in `roles.remaining`. What comes out is passively secure only, and never stored.
    """
    if share.n != 4 or share.party == missing:
        raise ValueError("one of four parties is missing, and it is another one")
    rest = remaining(missing)
    components = np.stack([share.component(c) for c in rest if c != share.party])
    if share.party != rest[0]:
        components[0] = share.algebra.add(components[0], share.component(missing))
    return Share(rest.index(share.party), 3, share.algebra, components)


def public(party: int, n: int, algebra: Algebra, value: Any) -> Share:
    """The trivial sharing of a public array."""
    value = np.asarray(value, dtype=np.uint64)
    return Share(party, n, algebra, np.zeros((n - 1, *value.shape), dtype=np.uint64)).add_public(value)


def expand(seed: bytes, shape: tuple[int, ...]) -> Words:
    """The uint64 array that a 32-byte seed stands for: AES-256-CTR, zero counter, little-endian, row-major."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes")
    size = 8 * int(np.prod(shape, dtype=np.int64))
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(stream.update(bytes(size)), dtype="<u8").astype(np.uint64, copy=False).reshape(shape)


def split_planes(planes: Words, seeds: Sequence[bytes]) -> Words:
    """The explicit last component of packed planes whose other components are the expanded seeds."""
    last = planes.copy()
    for seed in seeds:
        last ^= expand(seed, planes.shape)
    return last


def reconstruct(shares: Sequence[Share]) -> Words:
    """The value behind all parties' shares. Outside a protocol only; inside, see `reveal`."""
    total = shares[1].component(0)
    for c in range(1, shares[0].n):
        total = shares[0].algebra.add(total, shares[0].component(c))
    return total


def xor_share(party: int, n: int, components: Words) -> Share:
    """A share of packed bits from stored components."""
    return Share(party, n, XOR, components)


def ring_share(party: int, n: int, components: Words) -> Share:
    """A share of ring elements from its components."""
    return Share(party, n, RING, components)
