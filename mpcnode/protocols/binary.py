"""Secret numbers in binary, lane by lane: sums of weighted bits, the sign of a linear form, residues.

Carry-save addition as in `popcount`, then a ripple. A negative term enters as its complement, -y = ~y - (2^b - 1), and
the constants of all terms are added in public, so a form costs no more than the bits of its terms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpcnode.protocols.gates import product
from mpcnode.protocols.popcount import fold, ripple
from mpcnode.ring import ONES, XOR
from mpcnode.session import Session, gather
from mpcnode.sharing import Share, concatenate, public, stack

Term = tuple[int, Share]  # a public whole number, and bits (bits, lanes), lowest first


def width(terms: Sequence[tuple[int, int]], constant: int) -> int:
    """Bits that a form needs in two's complement, from the coefficient and the bits of each term."""
    most = constant + sum(c * ((1 << bits) - 1) for c, bits in terms if c > 0)
    least = constant + sum(c * ((1 << bits) - 1) for c, bits in terms if c < 0)
    return max(most.bit_length(), (-least - 1).bit_length() if least < 0 else 0) + 1


async def not_negative(session: Session, terms: Sequence[Term], constant: int) -> Share:
    """Return [sum of coefficient * number + constant >= 0], lane by lane: (lanes,).

    Shapes  each term (bits, lanes), packed; coefficients and constant public.
    Cost    about log_1.5(summands of a weight) + width rounds, one AND a bit that is added. Leaks nothing.
    Raises  ProtocolAbort.
    """
    lanes = terms[0][1].shape[-1]
    size = width([(c, y.shape[0]) for c, y in terms], constant)
    summands: dict[int, list[Share]] = {}
    for coefficient, y in terms:
        bits = y.shape[0]
        for place in places(coefficient):
            for k in range(bits):
                summands.setdefault(k + place, []).append(y[k] if coefficient > 0 else ~y[k])
            constant -= ((1 << bits) - 1) << place if coefficient < 0 else 0
    for k in places(constant % (1 << size)):
        summands.setdefault(k, []).append(
            public(session.party, session.n, XOR, np.full(lanes, ONES, dtype=np.uint64))
        )
    weights = {k: stack(summands[k]) for k in sorted(summands) if k < size}
    weights = {k: y.with_components(np.swapaxes(y.components, 1, 2)) for k, y in weights.items()}
    total = await ripple(session, await fold(session, weights), size)
    return ~total[size - 1]


def places(number: int) -> list[int]:
    """Where the bits of a number's absolute value are."""
    return [k for k in range(abs(number).bit_length()) if abs(number) >> k & 1]


async def residues(session: Session, numbers: Share, modulus: int) -> Share:
    """Return [x mod modulus = r] for each r: (modulus, lanes).

    Shapes  numbers (bits, lanes), packed, lowest bit first.
    Cost    ceil(log2(bits)) rounds, modulus^2 ANDs a bit and lane. Leaks nothing. Raises ProtocolAbort.
    """
    lanes = numbers.shape[-1]
    leaves = []
    for k in range(numbers.shape[0]):
        parts = [public(session.party, session.n, XOR, np.zeros(lanes, dtype=np.uint64))] * modulus
        parts[0], parts[pow(2, k, modulus)] = ~numbers[k], numbers[k]
        leaves.append(stack(parts))
    return await added_residues(session, leaves)


async def added_residues(session: Session, layer: Sequence[Share]) -> Share:
    """Return the residue of the sum of numbers, from the residues (modulus, lanes) of each; as `residues`."""
    layer = list(layer)
    while len(layer) > 1:
        pairs = len(layer) // 2
        joined = await gather(*(_convolved(session, layer[2 * k], layer[2 * k + 1]) for k in range(pairs)))
        layer = [*joined, *layer[2 * pairs :]]
    return layer[0]


async def _convolved(session: Session, x: Share, y: Share) -> Share:
    modulus, lanes = x.shape
    both: Share = await product(session, x.reshape(modulus, 1, lanes), y.reshape(1, modulus, lanes))
    # Of the products of a diagonal at most one is 1: their sum is their XOR.
    turned = concatenate([_rolled(both[a], a) for a in range(modulus)]).reshape(modulus, modulus, lanes)
    return turned.sum(axis=0)


def _rolled(rows: Share, by: int) -> Share:
    return rows.with_components(np.roll(rows.components, by, axis=1))
