"""What of an exact plan may be shown, decided on shares: with `execute` all that analytics knows of `mpcnode`.

The rules are those of `analytics.query.disclosure`. The threshold gives a secret bit of each cell; every other rule is
looked at, whatever the others say, and they become one secret bit of the plan: what is sent, and how often, is the same
for every table. Public: the plan and the capacities. Hidden: which rule was broken, where, by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Any

import numpy as np

from analytics.query import disclosure
from analytics.query.disclosure import NOTHING, Earlier
from analytics.query.model import Cohort, Plan, Release
from mpcnode.protocols import binary, compare, popcount
from mpcnode.protocols.convert import to_ring
from mpcnode.protocols.gates import product
from mpcnode.protocols.largest import lanes_of, some, two_largest
from mpcnode.ring import ONES, XOR, pack, unpack, words_for
from mpcnode.session import Session, gather
from mpcnode.sharing import Share, concatenate, public, stack

# What is added to a number of each residue to make it the nearest multiple of five.
TO_NEAREST = (0, -1, -2, 2, 1)
MODULUS = 2**64


@dataclass(frozen=True)
class Checked:
    """One table's part: counts[r] (bits, lanes) and shown[r] (lanes,) of the cells of release r; passed (1,): lane 0.

    shown is of the threshold, and lanes beyond the cells are set; passed is of all other rules.
    """

    counts: list[Share] = field(repr=False)
    shown: list[Share] = field(repr=False)
    passed: Share = field(repr=False)


async def checked(
    session: Session,
    plan: Plan,
    masks: Sequence[Share],
    code: Callable[[str], Share],
    earlier: Earlier = NOTHING,
) -> Checked:
    """Return whether one table may answer a plan of its own (`Plan.own`), how large its cells are, and which are shown.

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
    models = disclosure.models(plan)
    sized, before, fitted, spread = await gather(
        _together(*(_sized(session, cells, plan.minimum_cohort) for cells in releases)),
        _together(*(_sized(session, cells, earlier.minimum) for cells in masks[len(releases) :])),
        _together(
            *(
                _sized(session, _totals(plan.releases[place], releases[place], range(groups)), patients)
                for place, groups, patients in models
            )
        ),
        _together(
            *(
                _spread(session, releases[place], code(column), plan.rules[place].amounts[number])
                for place, _, number, column in numbers
            )
        ),
    )
    classes, numbered, free, apart = await gather(
        _together(
            *(_classes(session, release, one) for release, one in zip(plan.releases, sized, strict=True))
        ),
        _unless(
            session,
            [lane for lanes in spread for lane in lanes],
            [sized[place].seen for (place, *_), lanes in zip(numbers, spread, strict=True) for _ in lanes],
        ),
        _together(
            *(
                _freedom(session, plan.releases[place], groups, sized[place], people)
                for (place, groups, _), people in zip(models, fitted, strict=True)
            )
        ),
        _apart(session, plan, masks, [*sized, *before], earlier),
    )
    lanes = [one for found in (*classes, *free) for one in found] + numbered + apart
    return Checked(
        counts=[one.count for one in sized],
        shown=[one.shown for one in sized],
        passed=await _every(
            session, concatenate([*lanes, public(session.party, session.n, XOR, np.array([ONES]))])
        ),
    )


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
    """Of each plane, packed: its count in binary, [it is 0], [it is enough]; lanes beyond the planes count 0."""

    count: Share
    empty: Share
    seen: Share

    @property
    def shown(self) -> Share:
        """[it is 0 or enough]: the two exclude each other."""
        return self.seen ^ self.empty


async def _sized(session: Session, planes: Share, fewest: int) -> _Sized:
    count = await popcount.count_bits(session, planes)
    low, empty = await gather(
        compare.less(session, count, fewest),
        compare.conjunction(session, [~count[k] for k in range(count.shape[0])]),
    )
    return _Sized(count=count, empty=empty, seen=~low)


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


async def _apart(
    session: Session, plan: Plan, masks: Sequence[Share], sized: Sequence[_Sized], earlier: Earlier
) -> list[Share]:
    """Packed words that are all ones if no two cohorts lie too near."""
    if not disclosure.compared(plan, earlier):
        return []
    seen = [_whole_words(one.seen, planes.shape[0]) for one, planes in zip(sized, masks, strict=True)]
    kept: Share = await product(session, concatenate(seen), concatenate(list(masks)))
    ends = np.cumsum([planes.shape[0] for planes in masks])
    split = [kept[end - planes.shape[0] : end] for end, planes in zip(ends, masks, strict=True)]
    return [(await _sized(session, _differences(plan, split, earlier), disclosure.least(plan))).shown]


def _union(planes: Sequence[Share]) -> Share:
    """Of disjoint planes."""
    return reduce(xor, planes)


def _whole_words(lanes: Share, size: int) -> Share:
    """(size, 1): each lane as a word that it fills."""
    bits = unpack(lanes.components)[:, :size] != 0
    return lanes.with_components(np.where(bits, ONES, np.uint64(0))[..., None])


def _differences(plan: Plan, masks: Sequence[Share], earlier: Earlier) -> Share:
    """The planes (differences, words) of rows that one of two cohorts has and the other has not; zeroed cells are empty."""
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
    before = [planes[k] for planes in masks[len(plan.releases) :] for k in range(planes.shape[0])]
    before += [_union([before[k] for k in total]) for total in earlier.totals]
    apart = [own[i] ^ own[j] for i, j in disclosure.pairs(plan)]
    return stack(apart + [cell ^ other for other in before for cell in own])


async def _freedom(
    session: Session, release: Release, groups: int, cells: _Sized, people: _Sized
) -> list[Share]:
    """[a group has enough patients, or none of its cells is seen], packed."""
    sizes = [by.size for by in release.by]
    unseen = await _conjunction_of(session, _arranged(~cells.seen, sizes, range(groups, len(sizes))))
    seen = _within(~unseen, int(np.prod(sizes[:groups])))
    return await _unless(session, [people.seen], [seen])


async def _classes(session: Session, release: Release, cells: _Sized) -> list[Share]:
    """Packed words that are all ones if nobody's level follows from his group."""
    sizes = [by.size for by in release.by]
    found = []
    if disclosure.distribution(release):
        lines = [
            _within(_arranged(~lanes, sizes, range(len(sizes) - 1)), sizes[-1])
            for lanes in (cells.empty, cells.shown)
        ]
        # A zeroed interval counts twice: one that stands alone is not seen.
        found.append(_not_one(session, concatenate(lines, axis=-1)))
    grids, axes = disclosure.grids(release), disclosure.categories(release)
    if axes:
        found.append(_levels(session, release, cells, grids, axes))
    return [word for words in await gather(*found) for word in words]


async def _levels(
    session: Session, release: Release, cells: _Sized, grids: Sequence[int], axes: Sequence[int]
) -> list[Share]:
    """Whether each category has two levels in use, or none seen, and every combination of those in use has a patient."""
    sizes = [by.size for by in release.by]
    empty, unseen = cells.empty, ~cells.seen
    if grids:
        empty, unseen = await gather(
            *(_conjunction_of(session, _arranged(lanes, sizes, grids)) for lanes in (empty, unseen))
        )
        sizes = [size for axis, size in enumerate(sizes) if axis not in grids]
        axes = [axis - sum(grid < axis for grid in grids) for axis in axes]
    whole = int(np.prod(sizes))
    without = await gather(
        *(
            _conjunction_of(
                session, _arranged(lanes, sizes, [other for other in range(len(sizes)) if other != axis])
            )
            for lanes in (empty, unseen)
            for axis in axes
        )
    )
    levels = [_within(~lanes, sizes[axis]) for lanes, axis in zip(without, (*axes, *axes), strict=True)]
    used, seen = levels[: len(axes)], levels[len(axes) :]
    expected = [_repeated(lanes, sizes, axis) for lanes, axis in zip(used, axes, strict=True)]
    words: list[list[Share]] = await gather(
        _together(compare.conjunction(session, expected)),
        # A level without a seen cell counts twice: one that stands alone is not seen.
        *(
            _not_one(session, concatenate([one, one ^ other], axis=-1).reshape(1, -1))
            for one, other in zip(used, seen, strict=True)
        ),
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


async def _unless(session: Session, lanes: Sequence[Share], seen: Sequence[Share]) -> list[Share]:
    """[a lane is set or its cell is not seen]."""
    if not lanes:
        return []
    broken: Share = await product(session, concatenate([~one for one in lanes]), concatenate(list(seen)))
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
