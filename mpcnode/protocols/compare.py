"""Comparison and equality of packed codes with public constants, in logarithmic depth.

A pair of bits (x1, x0) against two public bits needs one AND, u = x1 & x0: greater and equal are linear in u, x1, x0
for each of the four constants, so constants may differ from lane to lane for free. Pairs are joined as
(g, e) o (g', e') = (g ^ e g', e e'). Eight bits: 8 ANDs in 3 rounds; 64 bits: 89 ANDs, 6 rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpcnode.protocols.gates import product
from mpcnode.ring import ONES, XOR, Words
from mpcnode.session import Session, gather
from mpcnode.sharing import Share, concatenate, public, stack


async def greater(session: Session, x: Share, constant: Words) -> Share:
    """Return [x > constant], lane by lane.

    Shapes  x (bits, words) packed, plane 0 the lowest bit; constant (bits, 1) or (bits, words) public planes.
    Cost    ceil(log2(bits)) rounds (1 for one or two bits); fewer than 1.5 ANDs a bit and lane.
    Leaks   nothing. Raises ProtocolAbort.
    """
    if x.shape[0] % 2:
        zero = public(session.party, session.n, XOR, np.zeros((1, x.shape[1]), dtype=np.uint64))
        x = concatenate([x, zero])
        constant = np.concatenate([constant, np.zeros((1, constant.shape[1]), dtype=np.uint64)])
    x0, x1 = x[0::2], x[1::2]
    t0, t1 = constant[0::2], constant[1::2]
    u: Share = await product(session, x1, x0)
    not0, not1 = t0 ^ ONES, t1 ^ ONES
    g = x1.mul_public(not1) ^ (x0 ^ u).mul_public(not1 & not0) ^ u.mul_public(t1 & not0)
    e = (u ^ x1.mul_public(not0) ^ x0.mul_public(not1)).add_public(not1 & not0)
    while g.shape[0] > 1:
        pairs = g.shape[0] // 2
        low_g, high_g = g[0 : 2 * pairs : 2], g[1 : 2 * pairs : 2]
        low_e, high_e = e[0 : 2 * pairs : 2], e[1 : 2 * pairs : 2]
        # e of the lowest pair is never used: no gate for it.
        left = concatenate([high_e, high_e[1:]])
        right = concatenate([low_g, low_e[1:]])
        joined: Share = await product(session, left, right)
        top_g, top_e = g[2 * pairs :], e[2 * pairs :]
        g = concatenate([high_g ^ joined[:pairs], top_g])
        e = concatenate([e[:1], joined[pairs:], top_e])
    return g[0]


def constant_planes(value: int, bits: int) -> Words:
    """(bits, 1) planes of one public number: all ones where its bit is set."""
    return np.array([[ONES if value >> k & 1 else 0] for k in range(bits)], dtype=np.uint64)


async def less(session: Session, x: Share, constant: int) -> Share:
    """Return [x < constant] for a public number; shapes, cost and leaks as `greater`."""
    bits = x.shape[0]
    if constant <= 0:
        return public(session.party, session.n, XOR, np.zeros(x.shape[1], dtype=np.uint64))
    if constant >= 1 << bits:
        return public(session.party, session.n, XOR, np.full(x.shape[1], ONES))
    return ~await greater(session, x, constant_planes(constant - 1, bits))


async def conjunction(session: Session, factors: Sequence[Share]) -> Share:
    """Return [and of all], a balanced tree: ceil(log2(k)) rounds, k - 1 ANDs a lane."""
    layer = list(factors)
    while len(layer) > 1:
        pairs = len(layer) // 2
        joined: Share = await product(session, stack(layer[: 2 * pairs : 2]), stack(layer[1 : 2 * pairs : 2]))
        layer = [joined[k] for k in range(pairs)] + layer[2 * pairs :]
    return layer[0]


async def one_hot(session: Session, x: Share) -> Share:
    """Return the indicator of each code: (2^bits, words), row k is [x = k].

    Shapes  x (bits, words) packed. A demultiplexer by halves, the last row and column by XOR: (A-1)(B-1) ANDs.
    Cost    ceil(log2(bits)) rounds. Leaks nothing. Raises ProtocolAbort.
    """
    bits = x.shape[0]
    if bits == 1:
        return concatenate([~x, x])
    low_bits = bits // 2
    low, high = await gather(one_hot(session, x[:low_bits]), one_hot(session, x[low_bits:]))
    a, b = high.shape[0], low.shape[0]
    words = x.shape[1]
    inside: Share = await product(
        session, high[:-1].reshape(a - 1, 1, words), low[:-1].reshape(1, b - 1, words)
    )
    last_column = high[:-1] ^ inside.sum(axis=1)
    upper = concatenate([inside, last_column.reshape(a - 1, 1, words)], axis=1)
    last_row = low ^ upper.sum(axis=0)
    return concatenate([upper, last_row.reshape(1, b, words)]).reshape(a * b, words)
