"""The two largest numbers of a set of rows, and whether a set has any row: what dominance is decided with.

Bit by bit from the top, over all rows at once. The rows that may still be the second largest are kept as a mask; a
bit of it is 1 if two of them have the bit, or one does and the largest is already apart. The largest leaves the mask
where it alone has the bit, and is then a single row, whose bits are read by parity. Ties need no care: two rows with
the same number stay in the mask to the end. After the bitwise maximum of Damgard, Fitzi, Kiltz, Nielsen, Toft (TCC 2006).
"""

from __future__ import annotations

import numpy as np

from mpcnode.protocols.gates import product
from mpcnode.ring import WORD_BITS, XOR, Words, pack
from mpcnode.session import Session, gather
from mpcnode.sharing import Share, concatenate, public, stack


async def some(session: Session, planes: Share) -> Share:
    """Return [a row is set] of each plane, in every lane of one word.

    Shapes  planes (p, words); result (p, 1), each word all ones or all zeros.
    Cost    ceil(log2(words)) + 6 rounds, one AND a word and six a plane. Leaks nothing. Raises ProtocolAbort.
    """
    for step in _steps(planes.shape[-1]):
        left, right = _halves(session, planes, step)
        both: Share = await product(session, left, right)
        planes = left ^ right ^ both
    return planes


async def some_and_two(session: Session, planes: Share) -> tuple[Share, Share]:
    """Return [a row is set] and [two are set] of each plane, in every lane of one word.

    Shapes  planes (p, words); results (p, 1).
    Cost    ceil(log2(words)) + 7 rounds, two ANDs a word and twelve a plane. Leaks nothing. Raises ProtocolAbort.
    """
    one, two = planes, None
    pending: tuple[Share, Share] | None = (
        None  # [both sides have one], [one side has two]: joined a round later
    )
    for step in _steps(planes.shape[-1]):
        left, right = _halves(session, one, step)
        if pending is None:
            both: Share = await product(session, left, right)
        else:
            size = int(np.prod(left.shape))
            joined: Share = await product(
                session,
                concatenate([left.reshape(-1), pending[0].reshape(-1)]),
                concatenate([right.reshape(-1), pending[1].reshape(-1)]),
            )
            both, two = joined[:size].reshape(*left.shape), _either(pending, joined[size:])
        one = left ^ right ^ both
        if two is None:
            two = both
        else:
            sides = _halves(session, two, step)
            pending = both, sides[0] ^ sides[1]
    assert pending is not None, "a word has more than one lane"
    last: Share = await product(session, *pending)
    return one, _either(pending, last.reshape(-1))


async def two_largest(session: Session, rows: Share, code: Share) -> tuple[Share, Share]:
    """Return the largest and the second largest code of each set of rows, packed: lane k is set k.

    Shapes  rows (sets, words) masks; code (bits, words); results (bits, ceil(sets / 64)). 0 where no row is.
    Cost    bits (ceil(log2(words)) + 10) + 2 rounds; about six ANDs a bit, row and set. The same whatever the rows.
    Leaks   nothing. Raises ProtocolAbort, before this party sends anything more.
    """
    bits, (sets, words) = code.shape[0], rows.shape
    left, largest = rows, _nothing(session, (sets, words))
    apart = _nothing(session, (sets, 1))  # [the largest is above all that are left]
    second: list[Share] = []
    for k in reversed(range(bits)):
        having: Share = await product(session, left, code[k].reshape(1, words))
        one, two = await some_and_two(session, having)
        alone = one ^ two  # two rows are one row too
        held: Share = await product(session, apart, alone)
        bit, leaves = two ^ held, alone ^ held
        second.append(bit)
        apart = apart ^ leaves
        kept, gone = await gather(_gate(session, left, bit), _gate(session, having, leaves))
        left = left ^ having ^ kept
        largest = largest ^ gone
    own: Share = await product(session, largest.reshape(sets, 1, words), code.reshape(1, bits, words))
    first = lanes_of(_parity(own))
    below, above = lanes_of(stack(second[::-1])[..., 0]), lanes_of(apart.reshape(1, sets))
    either: Share = await product(session, above, first ^ below)
    return below ^ either, below


async def _gate(session: Session, x: Share, y: Share) -> Share:
    z: Share = await product(session, x, y)
    return z


def _either(pending: tuple[Share, Share], both: Share) -> Share:
    left, right = pending
    return left ^ right ^ both.reshape(*left.shape)


def _steps(words: int) -> list[int]:
    """0 for each halving of the words, then the rotations of one word: its halves, quarters, down to single lanes."""
    return [0] * (words - 1).bit_length() + [32, 16, 8, 4, 2, 1]


def _halves(session: Session, planes: Share, step: int) -> tuple[Share, Share]:
    """The two parts of a plane that are joined next; rotated, every lane meets lanes that it does not hold yet."""
    if step:
        turned = planes.components << np.uint64(step) | planes.components >> np.uint64(WORD_BITS - step)
        return planes, planes.with_components(turned)
    if planes.shape[-1] % 2:
        planes = concatenate([planes, _nothing(session, (planes.shape[0], 1))], axis=-1)
    middle = planes.shape[-1] // 2
    return planes[..., :middle], planes[..., middle:]


def _nothing(session: Session, shape: tuple[int, ...]) -> Share:
    return public(session.party, session.n, XOR, np.zeros(shape, dtype=np.uint64))


def _parity(planes: Share) -> Share:
    """(bits, sets): the parity of the rows of each plane (sets, bits, words), in lane 0."""
    words: Words = np.bitwise_xor.reduce(planes.components, axis=-1)
    for step in (32, 16, 8, 4, 2, 1):
        words = words ^ words >> np.uint64(step)
    return planes.with_components(np.swapaxes(words, 1, 2))


def lanes_of(words: Share) -> Share:
    """Lane 0 of each word (k, sets), packed: (k, ceil(sets / 64))."""
    return words.with_components(pack(words.components & np.uint64(1) != 0))
