"""Discrete Laplace noise that no party knows, sampled inside the protocol.

noise = G1 - G2 with two geometric variables; bit i of each is a coin of public probability, so a sample is
sum_i 2^i (coin_i - coin'_i), coin = [r < T_i] for a 64-bit r from PRSS and a public 64-bit threshold T_i
(docs/privacy.md: distance to the exact law below 2^-50). Dwork et al. 2006; Champion, shelat, Ullman 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpcnode.protocols.compare import greater
from mpcnode.protocols.convert import to_ring
from mpcnode.ring import ONES, RING, WORD_BITS, XOR, Words, pack, words_for
from mpcnode.session import Session
from mpcnode.sharing import Share, concatenate, public

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
    flat = np.array([t for sample in thresholds for t in (*sample, *sample)], dtype=np.uint64)
    planes = _threshold_planes(flat)
    r = Share(session.party, session.n, XOR, session.random_components(planes.shape))
    # r < T is ~r > ~T
    coins = await greater(session, ~r, planes ^ ONES)
    ring = await to_ring(session, coins)
    samples, start = [], 0
    for sample in thresholds:
        weights = np.array([1 << i for i in range(len(sample))], dtype=np.uint64)
        signed = np.concatenate([weights, np.uint64(0) - weights])
        samples.append(ring[start : start + len(signed)].mul_public(signed).sum().reshape(1))
        start += len(signed)
    return concatenate(samples)


def _threshold_planes(flat: Words) -> Words:
    """(64, words) planes of one public 64-bit number a lane; lanes beyond the last are 0."""
    lanes = np.zeros(words_for(len(flat)) * WORD_BITS, dtype=np.uint64)
    lanes[: len(flat)] = flat
    shifts = np.arange(COIN_BITS, dtype=np.uint64)[:, None]
    return pack((lanes[None, :] >> shifts & np.uint64(1)) != 0)
