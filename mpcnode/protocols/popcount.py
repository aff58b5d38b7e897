"""Counting set bits of packed planes: vertical carry-save addition, then a conversion of the little that is left.

A full adder takes three words of one weight to a sum of that weight and a carry of the next with one AND
(carry = a ^ (a ^ b)(a ^ c)), 64 lanes at once; folding the words of a plane leaves at most two of each weight.
Folding stops where converting what is left, in two rounds, beats the rounds of folding on.
"""

from __future__ import annotations

import numpy as np

from mpcnode.protocols.convert import to_ring
from mpcnode.protocols.gates import product
from mpcnode.ring import WORD_BITS, XOR, pack, unpack
from mpcnode.session import Session
from mpcnode.sharing import Share, concatenate, public

DIRECT_BITS = 1 << 16  # with no more bits than this left, converting each is faster than folding on


async def fold(session: Session, weights: dict[int, Share], enough: int = 0) -> dict[int, Share]:
    """Carry-save addition along the last axis, until no weight has more than two words or `enough` bits are left.

    Shapes  weights[k] (planes, words): words of weight 2^k; lanes stay apart.
    Cost    about log_1.5(words) rounds, one AND a removed word. Leaks nothing. Raises ProtocolAbort.
    """
    while any(share.shape[-1] > 2 for share in weights.values()) and _bits(weights) > enough:
        triples = {k: share.shape[-1] // 3 for k, share in weights.items() if share.shape[-1] > 2}
        left, right = [], []
        for k, m in triples.items():
            a, b, c = (weights[k][..., t * m : (t + 1) * m] for t in range(3))
            left.append((a ^ b).reshape(-1))
            right.append((a ^ c).reshape(-1))
        both: Share = await product(session, concatenate(left), concatenate(right))
        folded: dict[int, list[Share]] = {}
        start = 0
        for k, share in weights.items():
            if k not in triples:
                folded.setdefault(k, []).append(share)
                continue
            m = triples[k]
            a, b, c = (share[..., t * m : (t + 1) * m] for t in range(3))
            size = share.shape[0] * m
            carry = a ^ both[start : start + size].reshape(share.shape[0], m)
            start += size
            folded.setdefault(k, []).extend([a ^ b ^ c, share[..., 3 * m :]])
            folded.setdefault(k + 1, []).append(carry)
        weights = {k: concatenate(parts, axis=-1) for k, parts in sorted(folded.items())}
    return weights


def _bits(weights: dict[int, Share]) -> int:
    return sum(share.shape[0] * share.shape[1] for share in weights.values()) * WORD_BITS


async def count(session: Session, planes: Share) -> Share:
    """Return the number of set bits of each plane, over Z_2^64.

    Shapes  planes (p, words); result (p,).
    Cost    two rounds and 12 bytes a bit and party for the last DIRECT_BITS bits; log_1.5(bits / DIRECT_BITS) rounds
            more and 0.2 bytes a bit for what is above. Leaks nothing. Raises ProtocolAbort.
    """
    weights = await fold(session, {0: planes}, DIRECT_BITS)
    columns = [(k, share.shape[-1]) for k, share in weights.items()]
    ring = await to_ring(session, concatenate(list(weights.values()), axis=-1))
    total, start = None, 0
    for k, width in columns:
        part = ring[:, start * WORD_BITS : (start + width) * WORD_BITS].sum().mul_public(1 << k)
        total = part if total is None else total + part
        start += width
    assert total is not None
    return total


async def count_bits(session: Session, planes: Share) -> Share:
    """Return the number of set bits of each plane in binary: (bits, words), one lane a plane.

    Shapes  planes (p, words); result packs p lanes.
    Cost    about 2 log_1.5(words) + bits rounds. Leaks nothing. Raises ProtocolAbort.
    """
    return await sum_bits(session, {0: planes})


async def sum_bits(session: Session, weights: dict[int, Share]) -> Share:
    """Return the sum of 2^k for each set bit of weight k, in binary: (bits, words), one lane a plane.

    Shapes  weights[k] (p, words), p the same for all; result packs p lanes.
    Cost    about 2 log_1.5(words) + bits rounds. Leaks nothing. Raises ProtocolAbort.
    """
    folded = await fold(session, weights)
    lanes = await fold(session, {k: _lanes(share) for k, share in folded.items()})
    return await ripple(session, lanes, max(lanes) + 2)


async def ripple(session: Session, weights: dict[int, Share], bits: int) -> Share:
    """Return the `bits` low bits of a sum of at most two words of each weight: (bits, lanes), in `bits` rounds."""
    lanes = next(iter(weights.values())).shape[0]
    zero = public(session.party, session.n, XOR, np.zeros(lanes, dtype=np.uint64))
    carry, out = zero, []
    for k in range(bits):
        share = weights.get(k)
        a = share[:, 0] if share is not None else zero
        b = share[:, 1] if share is not None and share.shape[-1] > 1 else zero
        both: Share = await product(session, a ^ b, a ^ carry)
        out.append((a ^ b ^ carry).reshape(1, lanes))
        carry = a ^ both
    return concatenate(out)


def _lanes(share: Share) -> Share:
    """(p, words) with rows in lanes to (ceil(p / 64), words * 64) with planes in lanes: a local transposition."""
    bits = unpack(share.components)  # (n - 1, p, words * 64)
    return share.with_components(np.ascontiguousarray(np.moveaxis(pack(np.moveaxis(bits, 1, 2) != 0), 2, 1)))
