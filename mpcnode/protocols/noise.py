"""Discrete Laplace noise that no party knows, sampled inside the protocol.

noise = G1 - G2 with two geometric variables; bit i of each is a coin of public probability, so a sample is
sum_i 2^i (coin_i - coin'_i), coin = [r < T_i] for a 64-bit r from PRSS and a public 64-bit threshold T_i
(docs/privacy.md: distance to the exact law below 2^-50). Dwork et al. 2006; Champion, shelat, Ullman 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from mpcnode.protocols.compare import greater
from mpcnode.protocols.convert import to_ring
from mpcnode.ring import ONES, RING, WORD_BITS, XOR, Words, pack, unpack, words_for
from mpcnode.session import Session
from mpcnode.sharing import Share, public

COIN_BITS = 64


async def discrete_laplace(session: Session, thresholds: Sequence[Sequence[int]]) -> Share:
    """Return one sample for each list of thresholds, over Z_2^64.

    Shapes  thresholds[k][i]: T of bit i of sample k, 0 < T < 2^64; result (k,).
    Cost    eight rounds whatever the number; about 1.4 KB a sample and party at 24 bits.
    Leaks   nothing: coins are bits that all keys together make; no party can choose or know one.
    Raises  ProtocolAbort, before this party sends anything more.
    """
    if not thresholds:
        return public(session.party, session.n, RING, np.zeros(0, dtype=np.uint64))
    both = [t for sample in thresholds for t in (*sample, *sample)]
    planes = _threshold_planes(np.array(both, dtype=np.uint64))
    r = Share(session.party, session.n, XOR, session.random_components(planes.shape))
    # r < T is ~r > ~T
    coins = await greater(session, ~r, planes ^ ONES)
    ring = (await to_ring(session, coins))[: len(both)]
    lengths = [len(sample) for sample in thresholds]
    starts = [0, *accumulate(2 * length for length in lengths)][:-1]
    signed = {length: _signed_weights(length) for length in set(lengths)}
    weighted = ring.mul_public(np.concatenate([signed[length] for length in lengths]))
    return weighted.with_components(np.add.reduceat(weighted.components, starts, axis=1))


def _signed_weights(length: int) -> Words:
    """2^i of the first variable's digits, then -2^i of the second's."""
    weights = np.uint64(1) << np.arange(length, dtype=np.uint64)
    return np.concatenate([weights, np.uint64(0) - weights])


def _threshold_planes(flat: Words) -> Words:
    """(64, words) planes of one public 64-bit number a lane; lanes beyond the last are 0."""
    lanes = np.zeros(words_for(len(flat)) * WORD_BITS, dtype=np.uint64)
    lanes[: len(flat)] = flat
    # Lane k holds a number; plane b holds bit b of every lane: a transposition of single bits.
    bits = unpack(lanes).reshape(-1, COIN_BITS)
    return pack(bits.T != 0)
