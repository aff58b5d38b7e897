"""Whether an exact plan may be shown, decided on shares: with `execute` all that analytics knows of `mpcnode`.

The rules are those of `analytics.query.disclosure`. Every one of them is looked at, whatever the others say, and they
become one secret bit: what is sent, and how often, is the same for every table. Public: the plan and the capacities.
Hidden: which rule was broken, where, by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analytics.query import disclosure
from analytics.query.model import Cohort, Plan, Release
from mpcnode.protocols import binary, compare, popcount
from mpcnode.protocols.convert import to_ring
from mpcnode.protocols.gates import product
from mpcnode.protocols.largest import lanes_of, some, two_largest
from mpcnode.ring import ONES, pack, unpack, words_for
from mpcnode.session import Session, gather
from mpcnode.sharing import Share, concatenate, stack

# What is added to a number of each residue to make it the nearest multiple of five.
TO_NEAREST = (0, -1, -2, 2, 1)
MODULUS = 2**64


@dataclass(frozen=True)
class Checked:
    """One table's part: counts[r] (bits, lanes) of the cells of release r; passed (1,): lane 0, of all rules."""

    counts: list[Share] = field(repr=False)
    passed: Share = field(repr=False)


async def checked(
    session: Session, plan: Plan, masks: Sequence[Share], code: Callable[[str], Share]
) -> Checked:
    """Return whether one table may answer a plan of its own (`Plan.own`), and how large its cells are.

    Shapes  masks (cells, words) over all its rows: of each release, then of the earlier answers; code(column)
            (bits, words).
    Cost    `analytics.query.cost.checks`. Leaks nothing. Raises ProtocolAbort.
    """
    releases = masks[: len(plan.releases)]
    numbers = [
        (place, release, number, operand.column)
        for place, release in enumerate(plan.releases)
        for number, operand in enumerate(release.operands)
    ]
    sized, others, spread = await gather(
        _together(*(_sized(session, cells, disclosure.least(plan)) for cells in releases)),
        _together(
            *(
                _sized(session, _totals(plan.releases[place], releases[place], range(groups)), patients)
                for place, groups, patients in disclosure.models(plan)
            ),
            *(_sized(session, planes, disclosure.least(plan)) for planes in _differences(plan, masks)),
        ),
        _together(
            *(
                _spread(session, releases[place], code(column), plan.rules[place].amounts[number])
                for place, _, number, column in numbers
            )
        ),
    )
    classes, numbered = await gather(
        _together(
            *(
                _classes(session, release, one.empty)
                for release, one in zip(plan.releases, sized, strict=True)
            )
        ),
        _unless(
            session,
            [lane for lanes in spread for lane in lanes],
            [sized[place].empty for (place, *_), lanes in zip(numbers, spread, strict=True) for _ in lanes],
        ),
    )
    lanes = [one.enough for one in (*sized, *others)]
    lanes += [one for found in classes for one in found] + numbered
    return Checked(counts=[one.count for one in sized], passed=await _every(session, concatenate(lanes)))


async def decided(session: Session, tables: Sequence[Checked]) -> Share:
    """Over Z_2^64, (1,): 1 if every table may answer."""
    return (await to_ring(session, await compare.conjunction(session, [one.passed for one in tables])))[:1]


async def to_nearest(session: Session, counts: Sequence[Share], cells: int) -> Share:
    """Over Z_2^64, (cells,): what makes each sum of several tables' counts the nearest multiple of five.

    Shapes  counts (bits, lanes) of each table. Cost  `residues` of the widest, one round more for each doubling of
    the tables, two for the ring. Leaks nothing. Raises ProtocolAbort.
    """
    modulus = disclosure.ROUNDED
    each = await gather(*(binary.residues(session, count, modulus) for count in counts))
    residue = await binary.added_residues(session, each)
    ring = (await to_ring(session, residue[1:]))[:, :cells]
    weights = np.array([[step % MODULUS] for step in TO_NEAREST[1:]], dtype=np.uint64)
    return ring.mul_public(weights).sum(axis=0)


@dataclass(frozen=True)
class _Sized:
    """Of each plane, packed: its count in binary, [it is 0], [it is 0 or enough]; lanes beyond the planes count 0."""

    count: Share
    empty: Share
    enough: Share


async def _sized(session: Session, planes: Share, fewest: int) -> _Sized:
    count = await popcount.count_bits(session, planes)
    low, empty = await gather(
        compare.less(session, count, fewest),
        compare.conjunction(session, [~count[k] for k in range(count.shape[0])]),
    )
    # 0 is below the fewest too, so the two exclude each other once `low` is negated.
    return _Sized(count=count, empty=empty, enough=~low ^ empty)


def _totals(release: Release, cells: Share, kept: Sequence[int]) -> Share:
    """The rows of each total that keeps some partitions: cells are disjoint, so their union is their XOR."""
    sizes = [by.size for by in release.by]
    over = tuple(1 + k for k in range(len(sizes)) if k not in kept)
    words = cells.components.reshape(len(cells.components), *sizes, -1)
    return cells.with_components(
        np.bitwise_xor.reduce(words, axis=over).reshape(len(words), -1, words.shape[-1])
        if over
        else cells.components
    )


def _differences(plan: Plan, masks: Sequence[Share]) -> list[Share]:
    """The planes (differences, words) of rows that one of two cohorts has and the other has not; none, or one share."""
    place: dict[Cohort, Share] = {}
    for release, planes in zip(plan.releases, masks, strict=False):
        told: list[Share] = [
            planes,
            *(_totals(release, planes, kept) for kept in disclosure.margins(release)),
        ]
        rows = [part[k] for part in told for k in range(part.shape[0])]
        for cohort, row in zip(disclosure.table_of(release), rows, strict=True):
            place.setdefault(cohort, row)
    own = list(place.values())
    earlier = masks[len(plan.releases) :]
    apart = [own[i] ^ own[j] for i, j in disclosure.pairs(plan)]
    apart += [cell ^ before[k] for before in earlier for cell in own for k in range(before.shape[0])]
    return [stack(apart)] if apart else []


async def _classes(session: Session, release: Release, empty: Share) -> list[Share]:
    """Packed words that are all ones if nobody's level follows from his group; `empty` are the lanes of the cells."""
    sizes = [by.size for by in release.by]
    found = []
    if disclosure.distribution(release):
        lines = _arranged(empty, sizes, range(len(sizes) - 1))
        found.append(_not_one(session, _within(~lines, sizes[-1])))
    grids, axes = disclosure.grids(release), disclosure.categories(release)
    if axes:
        found.append(_levels(session, release, empty, grids, axes))
    return [word for words in await gather(*found) for word in words]


async def _levels(
    session: Session, release: Release, empty: Share, grids: Sequence[int], axes: Sequence[int]
) -> list[Share]:
    """Whether each category has two levels in use, and every combination of levels in use has a patient."""
    sizes = [by.size for by in release.by]
    if grids:
        empty = await _conjunction_of(session, _arranged(empty, sizes, grids))
        sizes = [size for axis, size in enumerate(sizes) if axis not in grids]
        axes = [axis - sum(grid < axis for grid in grids) for axis in axes]
    whole = int(np.prod(sizes))
    unused = await gather(
        *(
            _conjunction_of(
                session, _arranged(empty, sizes, [other for other in range(len(sizes)) if other != axis])
            )
            for axis in axes
        )
    )
    used = [_within(~lanes, sizes[axis]) for lanes, axis in zip(unused, axes, strict=True)]
    expected = [_repeated(lanes, sizes, axis) for lanes, axis in zip(used, axes, strict=True)]
    words: list[list[Share]] = await gather(
        _together(compare.conjunction(session, expected)),
        *(_not_one(session, lanes.reshape(1, -1)) for lanes in used),
    )
    (full,), *two = words
    filled = [] if len(axes) == 1 else [~(full ^ _within(~empty, whole))]
    return [*(word for own in two for word in own), *filled]


async def _together(*children: Coroutine[Any, Any, Any]) -> list[Any]:
    return list(await gather(*children))


async def _not_one(session: Session, planes: Share) -> list[Share]:
    """[a plane has not exactly one bit], packed."""
    count = await popcount.count_bits(session, planes)
    literals = [count[0], *(~count[k] for k in range(1, count.shape[0]))]
    return [~await compare.conjunction(session, literals)]


async def _spread(session: Session, cells: Share, code: Share, amount: tuple[int, int] | None) -> list[Share]:
    """[two values differ] of each cell, and where a sum may be dominated [the two largest do not]: packed lanes."""
    (size, words), bits = cells.shape, code.shape[0]
    having: Share = await product(session, cells.reshape(size, 1, words), code.reshape(1, bits, words))
    if amount is None:
        return [await _differ(session, cells, having)]
    return list(
        await gather(_differ(session, cells, having), _not_dominated(session, cells, code, having, amount))
    )


async def _differ(session: Session, cells: Share, having: Share) -> Share:
    """[some patient has a bit and some other has not], for any bit of the code."""
    size, bits, words = having.shape
    lacking = having ^ cells.reshape(size, 1, words)
    any_of = await some(session, concatenate([having, lacking]).reshape(-1, words))
    both = any_of.reshape(2, size, bits)
    one, other = (lanes_of(both[k].with_components(np.swapaxes(both[k].components, 1, 2))) for k in range(2))
    differ: Share = await product(session, one, other)
    return ~await compare.conjunction(session, [~differ[k] for k in range(bits)])


async def _not_dominated(
    session: Session, cells: Share, code: Share, having: Share, amount: tuple[int, int]
) -> Share:
    (of_sum, of_patients, of_largest), constant = disclosure.dominated(amount)
    (first, second), total, patients = await gather(
        two_largest(session, cells, code),
        popcount.sum_bits(session, {k: having[:, k] for k in range(code.shape[0])}),
        popcount.count_bits(session, cells),
    )
    terms = [(of_sum, total), (of_largest, first), (of_largest, second)]
    if of_patients:
        terms.append((of_patients, patients))
    return await binary.not_negative(session, terms, constant)


async def _unless(session: Session, lanes: Sequence[Share], empty: Sequence[Share]) -> list[Share]:
    """[a lane is set or its cell is empty]."""
    if not lanes:
        return []
    broken: Share = await product(
        session, concatenate([~one for one in lanes]), concatenate([~one for one in empty])
    )
    return [~broken]


async def _every(session: Session, words: Share) -> Share:
    """(1,): lane 0 is [every lane of every word is set]."""
    word = await compare.conjunction(session, [words[k : k + 1] for k in range(words.shape[0])])
    for step in (32, 16, 8, 4, 2, 1):
        word = await product(session, word, word.with_components(word.components >> np.uint64(step)))
    return word


async def _conjunction_of(session: Session, rows: Share) -> Share:
    return await compare.conjunction(session, [rows[k] for k in range(rows.shape[0])])


def _arranged(lanes: Share, sizes: Sequence[int], first: Sequence[int]) -> Share:
    """Lanes that are the cells of a table, as rows (cells of some partitions) of lanes (cells of the others)."""
    bits = unpack(lanes.components)[:, : int(np.prod(sizes))].reshape(-1, *sizes)
    rest = [axis for axis in range(len(sizes)) if axis not in first]
    turned = bits.transpose(0, *(1 + axis for axis in (*first, *rest)))
    rows = int(np.prod([sizes[axis] for axis in first]))
    return lanes.with_components(pack(turned.reshape(len(bits), rows, -1) != 0))


def _repeated(lanes: Share, sizes: Sequence[int], axis: int) -> Share:
    """Lanes that are the levels of one partition, for every cell of a table."""
    bits = unpack(lanes.components)[:, : sizes[axis]]
    one = [1] * len(sizes)
    one[axis] = sizes[axis]
    wide = np.broadcast_to(bits.reshape(-1, *one), (len(bits), *sizes))
    return lanes.with_components(pack(wide.reshape(len(bits), -1) != 0))


def _within(lanes: Share, size: int) -> Share:
    """Lanes beyond the first `size` set to 0."""
    mask = pack(np.arange(words_for(size) * 64) < size)
    return lanes.mul_public(mask & ONES)
