"""What a plan costs before it runs: rounds, and bytes that each party sends.

Rounds and sizes follow from public shapes alone, so they are known exactly; the functions here walk through the
same schedule as `analytics.execute` and the protocols of `mpcnode`, counting instead of computing. A test runs both
and compares.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from analytics.query.disclosure import (
    NOTHING,
    ROUNDED,
    Earlier,
    categories,
    compared,
    distribution,
    dominated,
    grids,
    guarded,
    least,
    models,
)
from analytics.query.model import By, Cohort, Plan, Release

WORD_BITS = 64
DIRECT_BITS = 1 << 16  # as mpcnode.protocols.popcount
BIT_BYTES = (
    64  # of a bit while it becomes a ring element: three components, and what is sent, vouched for, received
)
BLOCK_BYTES = 128 << 20  # of temporaries that one block of rows may take
SEGMENT = 256  # as mpcnode.views: words of rows that are stored as one piece
COIN_BITS = 64
ONE_HOT_BITS = 6  # up to here a column's indicators come from a demultiplexer
READY_BYTES = 80


@dataclass(frozen=True)
class Cost:
    """Rounds of the whole query, and protocol bytes that one party sends (the mean over parties)."""

    rounds: int
    bytes_per_party: int


@dataclass(frozen=True)
class Network:
    """A party's way to Redis: round trip in seconds, bits a second each way."""

    name: str
    round_trip: float
    bits: float


NETWORKS = (
    Network("1 ms, 10 Gbit/s", 0.001, 10e9),
    Network("20 ms, 1 Gbit/s", 0.020, 1e9),
    Network("40 ms, 100 Mbit/s", 0.040, 100e6),
)
# Measured on one core: benchmarks/README.md, rounds and bits to ring elements.
ROUND_SECONDS = 0.0002  # CPU of one party for a round with next to nothing in it
BYTE_SECONDS = 4.5e-9  # CPU of one party for each byte that it sends, computation and sealing together
REDIS_BYTES_SECONDS = 1 / 1.5e9  # of one Redis thread, for each byte in or out


def seconds(cost: Cost, network: Network) -> float:
    """Rounds one after another, bytes through the narrowest place, computation: none overlapped (docs/sizing.md)."""
    link = 8 * cost.bytes_per_party / network.bits
    redis = 8 * cost.bytes_per_party * REDIS_BYTES_SECONDS  # four parties, in and out
    computing = cost.rounds * ROUND_SECONDS + cost.bytes_per_party * BYTE_SECONDS
    return cost.rounds * network.round_trip + max(link, redis) + computing


@dataclass
class Tally:
    """Depth in rounds, and words through gates, of one coroutine."""

    rounds: int = 0
    words: int = 0

    def gate(self, words: int) -> Tally:
        self.rounds += 1
        self.words += words
        return self

    def then(self, other: Tally) -> Tally:
        self.rounds += other.rounds
        self.words += other.words
        return self

    def together(self, *others: Tally) -> Tally:
        """As `gather`: the depth of the deepest, the words of all."""
        self.rounds += max((o.rounds for o in others), default=0)
        self.words += sum(o.words for o in others)
        return self


def uses_one_hot(codes: int, bits: int) -> bool:
    """Whether indicators of `codes` codes of a `bits`-bit column come from one demultiplexer."""
    return bits <= ONE_HOT_BITS or codes * (bits - 1) > 1 << bits


Factor = tuple[str, int, int]  # column, dropped bits, exponent
Monomial = tuple[Factor, ...]  # a ring column of a table: the product of its factors, row by row
Held = Collection[Monomial]  # the ring columns of a table that are stored and need not be made


def row_bytes(plan: Plan, held: Held = ()) -> int:
    """Bytes of temporaries that a row takes in the widest moment of a block, over all releases of one table's plan."""
    bits = {c.name: c.bits for c in plan.columns}
    made = conversions(plan, held)
    total = sum(BIT_BYTES * bits_of for _, bits_of in made.operands) + 48 * len(ring_columns(plan))
    for release in plan.releases:
        total += release.cells * (BIT_BYTES if release.operands else 2)
        total += sum(2 * b.size if b.edges else 2 << min(bits[b.column], ONE_HOT_BITS) for b in release.by)
    return max(1, total)


def block_words(plan: Plan, held: Held = ()) -> int:
    """Words of rows in one block: as many as BLOCK_BYTES of temporaries allow, at least one; whole SEGMENTs if any."""
    words = max(1, BLOCK_BYTES // row_bytes(plan, held) // WORD_BITS)
    return words - words % SEGMENT if words > SEGMENT else words


@dataclass(frozen=True)
class Block:
    """Rows that are worked on as one: words [start, stop) of one table of the plan."""

    table: int
    start: int
    stop: int


Work = list[list[Block]]  # batches of blocks, one after the other


def batches(plan: Plan, held: Sequence[Held] = ()) -> Work:
    """The blocks of all tables, in order; those of one batch share rounds and, together, BLOCK_BYTES."""
    out: list[list[Block]] = []
    room = 0
    for table, dataset in enumerate(plan.datasets):
        own, asked = held[table] if held else (), plan.own(table)
        words, step, each = -(-dataset.capacity // WORD_BITS), block_words(asked, own), row_bytes(asked, own)
        for start in range(0, words, step):
            stop = min(start + step, words)
            size = (stop - start) * WORD_BITS * each
            if not out or size > room:
                out.append([])
                room = BLOCK_BYTES
            out[-1].append(Block(table, start, stop))
            room -= size
    return out


def spread(plan: Plan, held: Sequence[Held] = (), drivers: int = 1) -> list[Work]:
    """What each driver of a session does, block 0 first: runs of batches, as even as whole batches allow.

    There are never more drivers than batches. In exact mode with small cells zeroed a provider's own count needs the
    masks of all its rows in one place: then there is one.
    """
    whole = batches(plan, held)
    if guarded(plan):
        return [whole]
    count = min(drivers, len(whole))
    ends = [len(whole) * k // count for k in range(count + 1)]
    return [whole[start:stop] for start, stop in pairwise(ends)]


@dataclass(frozen=True)
class Conversions:
    """How a table comes to the ring columns of its plan: each once, in plan order, the later from the earlier.

    read      stored ring columns, those among them that only products need
    operands  ((column, dropped), bits): columns converted from their planes
    squares, crosses  products of two ring columns, row by row
    """

    read: tuple[Monomial, ...]
    operands: tuple[tuple[tuple[str, int], int], ...]
    squares: tuple[Factor, ...]
    crosses: tuple[tuple[Factor, Factor], ...]

    @property
    def monomials(self) -> list[Monomial]:
        """The ring columns that are made."""
        columns = [((column, dropped, 1),) for (column, dropped), _ in self.operands]
        return [*columns, *((square,) for square in self.squares), *self.crosses]


def ring_columns(plan: Plan) -> list[Monomial]:
    """The ring columns that the totals of a plan are sums of, each once, in plan order."""
    wanted = (factors(r, m) for r in plan.releases for m in r.monomials)
    return list(dict.fromkeys(w for w in wanted if w))


def conversions(plan: Plan, held: Held = ()) -> Conversions:
    """What a table that holds some ring columns reads, and what it makes."""
    bits = {(o.column, o.dropped): o.bits for r in plan.releases for o in r.operands}
    needed = list(ring_columns(plan))
    for monomial in needed:  # grows: a product that is not stored needs its factors, a square its root
        if monomial not in held and len(monomial) == 2:
            needed += [(factor,) for factor in monomial]
        elif monomial not in held and monomial[0][2] == 2:
            column, dropped, _ = monomial[0]
            needed.append(((column, dropped, 1),))
    needed = list(dict.fromkeys(needed))
    missing = [m for m in needed if m not in held]
    return Conversions(
        read=tuple(m for m in needed if m in held),
        operands=tuple((key, width) for key, width in bits.items() if ((*key, 1),) in missing),
        squares=tuple(m[0] for m in missing if len(m) == 1 and m[0][2] == 2),
        crosses=tuple((m[0], m[1]) for m in missing if len(m) == 2),
    )


def factors(release: Release, monomial: tuple[int, ...]) -> tuple[Factor, ...]:
    """A monomial as powers of operands, without those of exponent 0."""
    return tuple((o.column, o.dropped, e) for o, e in zip(release.operands, monomial, strict=True) if e)


def estimate(plan: Plan, held: Sequence[Held] = (), earlier: Sequence[Earlier] = ()) -> Cost:
    """Rounds and bytes of a plan with four parties. Pure; milliseconds.

    held     the ring columns that each table holds
    earlier  what each table answered exactly before; the portal, which does not know, leaves it out
    """
    tables = Tally()
    before = earlier or [NOTHING] * len(plan.datasets)
    asked = [plan.own(table) for table in range(len(plan.datasets))]
    for batch in batches(plan, held):
        tables.then(_batch(asked, batch, held, before))
    if guarded(plan):
        tables.together(
            *(
                checks(own, one, -(-d.capacity // WORD_BITS))
                for own, d, one in zip(asked, plan.datasets, before, strict=True)
            )
        )
    whole = Tally().together(tables, _noise(plan))
    words = sum(r.cells * r.values_per_cell(plan.mode) for r in plan.releases)
    if guarded(plan):
        whole.then(_withheld(plan, asked))
    sent = 12 * whole.words + 48 * whole.rounds
    opening = 3 * (READY_BYTES + 4 * READY_BYTES + 8 * words)
    return Cost(rounds=whole.rounds + 2, bytes_per_party=sent + opening)


def _batch(
    asked: Sequence[Plan], batch: Sequence[Block], held: Sequence[Held], before: Sequence[Earlier]
) -> Tally:
    return Tally().together(
        *(
            _block(asked[b.table], b.stop - b.start, held[b.table] if held else (), before[b.table])
            for b in batch
        )
    )


def _block(plan: Plan, words: int, held: Held, before: Earlier) -> Tally:
    masks = [_cells(plan, r, words) for r in plan.releases]
    masks += [_conjunction_of(before.bits(plan), cell, words) for cell in before.cells]
    tally = Tally().together(_columns(plan, words, held), *masks)
    return tally.together(*(_totals(r) for r in plan.releases if r.operands))


def _columns(plan: Plan, words: int, held: Held) -> Tally:
    rows = words * WORD_BITS
    made = conversions(plan, held)
    tally = Tally().together(*(_to_ring(bits * words) for _, bits in made.operands))
    tally.together(*(Tally().gate(rows) for _ in made.squares))
    return tally.together(*(Tally().gate(rows) for _ in made.crosses))


def _cells(plan: Plan, release: Release, words: int) -> Tally:
    bits = {c.name: c.bits for c in plan.columns}
    sides = [_conjunction_of(bits, release.cohort, words)]
    sides += [_indicators(by, bits[by.column], words) for by in release.by]
    tally = Tally().together(*sides)
    width = 1
    for by in release.by:
        width *= by.size
        tally.gate(width * words)
    if release.operands:
        return tally.then(_to_ring(width * words))
    return tally.then(_count(width, words))


def _totals(release: Release) -> Tally:
    columns = sum(1 for m in release.monomials if any(m))
    return Tally().gate(release.cells * columns) if columns else Tally()


def flatten(cohort: Cohort) -> list[Cohort]:
    """The factors of a cohort besides the valid plane."""
    if cohort[0] == "all":
        return []
    if cohort[0] == "and":
        return [f for child in cohort[1:] for f in flatten(child)]
    return [cohort]


def _conjunction_of(bits: Mapping[str, int], cohort: Cohort, words: int) -> Tally:
    parts = flatten(cohort)
    tally = Tally().together(*(_node(bits, p, words) for p in parts))
    return tally.then(_conjunction(len(parts) + 1, words))


def _node(bits: Mapping[str, int], node: Cohort, words: int) -> Tally:
    kind = node[0]
    if kind in ("all", "present"):
        return Tally()
    if kind == "less":
        b = bits[node[1]]
        return Tally() if not 0 < node[2] < 1 << b else _greater(b, words)
    if kind == "in":
        return _indicators(By(column=node[1], groups=(tuple(node[2]),)), bits[node[1]], words)
    if kind == "not":
        return _node(bits, node[1], words)
    tally = Tally().together(*(_node(bits, child, words) for child in node[1:]))
    return tally.then(_conjunction(len(node) - 1, words))


def _indicators(by: By, bits: int, words: int) -> Tally:
    inner = [edge for edge in by.edges if 0 < edge < 1 << bits]
    codes = [c for group in by.groups for c in group]
    if by.edges:
        return Tally().together(*(_greater(bits, words) for _ in inner))
    if not codes:
        return Tally()
    if uses_one_hot(len(codes), bits):
        return _one_hot(bits, words)
    return Tally().together(*(_conjunction(bits, words) for _ in codes))


def _conjunction(factors: int, words: int) -> Tally:
    tally = Tally()
    while factors > 1:
        tally.gate(factors // 2 * words)
        factors -= factors // 2
    return tally


def _greater(bits: int, words: int) -> Tally:
    digits = -(-bits // 2)
    tally = Tally().gate(digits * words)
    while digits > 1:
        pairs = digits // 2
        tally.gate((2 * pairs - 1) * words)
        digits -= pairs
    return tally


def _one_hot(bits: int, words: int) -> Tally:
    if bits == 1:
        return Tally()
    low, high = bits // 2, bits - bits // 2
    tally = Tally().together(_one_hot(low, words), _one_hot(high, words))
    return tally.gate(((1 << low) - 1) * ((1 << high) - 1) * words)


def _to_ring(words: int) -> Tally:
    # A bit is dealt with 2 and folded with 4 of the 6 half gates of a full ring gate: one gate of words * 64 in all.
    return Tally(rounds=2, words=words * WORD_BITS)


def _fold(planes: int, widths: dict[int, int], enough: int = 0) -> tuple[Tally, dict[int, int]]:
    tally = Tally()
    while any(w > 2 for w in widths.values()) and planes * sum(widths.values()) * WORD_BITS > enough:
        triples = {k: w // 3 for k, w in widths.items() if w > 2}
        tally.gate(planes * sum(triples.values()))
        folded: dict[int, int] = {}
        for k, w in widths.items():
            m = triples.get(k, 0)
            folded[k] = folded.get(k, 0) + w - 2 * m
            if m:
                folded[k + 1] = folded.get(k + 1, 0) + m
        widths = dict(sorted(folded.items()))
    return tally, widths


def _count(planes: int, words: int) -> Tally:
    tally, widths = _fold(planes, {0: words}, DIRECT_BITS)
    return tally.then(_to_ring(planes * sum(widths.values())))


def checks(plan: Plan, before: Earlier, words: int) -> Tally:
    """What one table of so many words pays for the rules of exact answers, as `analytics.withhold.checked`."""
    bits = {column.name: column.bits for column in plan.columns}
    found = [_sized(r.cells, words, plan.minimum_cohort) for r in plan.releases]
    lanes, after = 1, []
    for place, groups, patients in models(plan):
        sizes = [by.size for by in plan.releases[place].by]
        people = math.prod(sizes[:groups])
        found.append(_sized(people, words, patients))
        after.append(_conjunction(math.prod(sizes[groups:]), _lanes(people)).gate(_lanes(people)))
        lanes += _lanes(people)
    if before.cells:
        found.append(_sized(len(before.cells), words, before.minimum))
    if planes := compared(plan, before):
        masks = sum(r.cells for r in plan.releases) + len(before.cells)
        after.append(Tally().gate(masks * words).then(_sized(planes, words, least(plan))))
        lanes += _lanes(planes)
    numbered = 0
    for release, own in zip(plan.releases, plan.rules, strict=True):
        for operand, amount in zip(release.operands, own.amounts, strict=True):
            found.append(_spread(release.cells, bits[operand.column], words, amount))
            numbered += _lanes(release.cells) * (1 if amount is None else 2)
    classes = [_classes(release) for release in plan.releases]
    unless = Tally().gate(numbered) if numbered else Tally()
    tally = Tally().together(*found)
    tally.then(Tally().together(*(one for one, _ in classes), unless, *after))
    lanes += numbered + sum(words for _, words in classes)
    return tally.then(_conjunction(lanes, 1)).then(Tally(rounds=6, words=6))


def _lanes(cells: int) -> int:
    return -(-cells // WORD_BITS)


def _sum_bits(planes: int, widths: dict[int, int]) -> tuple[Tally, int]:
    tally, widths = _fold(planes, widths)
    lanes = _lanes(planes)
    more, final = _fold(lanes, {k: w * WORD_BITS for k, w in widths.items()})
    bits = max(final) + 2
    return tally.then(more).then(Tally(rounds=bits, words=bits * lanes)), bits


def _count_bits(planes: int, words: int) -> tuple[Tally, int]:
    return _sum_bits(planes, {0: words})


def _sized(planes: int, words: int, fewest: int) -> Tally:
    tally, bits = _count_bits(planes, words)
    lanes = _lanes(planes)
    at_least = _greater(bits, lanes) if fewest < 1 << bits else Tally()
    return tally.together(at_least, _conjunction(bits, lanes))


def _classes(release: Release) -> tuple[Tally, int]:
    """And how many words say whether the rule holds."""
    sizes = [by.size for by in release.by]
    found, lanes = [], 0
    if distribution(release):
        lines = math.prod(sizes[:-1])
        found.append(_not_one(lines, 2 * _lanes(sizes[-1])))
        lanes += _lanes(lines)
    if axes := categories(release):
        others = [size for axis, size in enumerate(sizes) if axis not in grids(release)]
        whole, levels = math.prod(others), [sizes[axis] for axis in axes]
        tally = Tally()
        if grids(release):
            tally.then(Tally().together(*[_conjunction(math.prod(sizes) // whole, _lanes(whole))] * 2))
        tally.then(Tally().together(*(_conjunction(whole // size, _lanes(size)) for size in levels * 2)))
        full = _conjunction(len(levels), _lanes(whole))
        found.append(tally.then(Tally().together(full, *(_not_one(1, 2 * _lanes(size)) for size in levels))))
        lanes += len(levels) + (_lanes(whole) if len(levels) > 1 else 0)
    return Tally().together(*found), lanes


def _not_one(planes: int, words: int) -> Tally:
    tally, bits = _count_bits(planes, words)
    return tally.then(_conjunction(bits, _lanes(planes)))


def _spread(cells: int, bits: int, words: int, amount: tuple[int, int] | None) -> Tally:
    differ = _some(2 * cells * bits, words).gate(bits * _lanes(cells)).then(_conjunction(bits, _lanes(cells)))
    sides = [differ] if amount is None else [differ, _not_dominated(cells, bits, words, amount)]
    return Tally().gate(cells * bits * words).then(Tally().together(*sides))


def _halvings(planes: int, words: int) -> list[int]:
    """The words of each joining of a plane's parts, down to one lane."""
    out = []
    while words > 1:
        words = -(-words // 2)
        out.append(planes * words)
    return [*out, *[planes] * 6]


def _some(planes: int, words: int) -> Tally:
    steps = _halvings(planes, words)
    return Tally(rounds=len(steps), words=sum(steps))


def two_largest(cells: int, bits: int, words: int) -> Tally:
    """As `mpcnode.protocols.largest.two_largest`."""
    steps = _halvings(cells, words)
    # [two are set] is joined a round later than [one is], and nothing is to be joined after the first.
    joined = Tally(rounds=len(steps) + 1, words=sum(steps) + sum(steps[1:]))
    tally = Tally()
    for _ in range(bits):
        tally.gate(cells * words).then(joined).gate(cells).gate(2 * cells * words)
    return tally.gate(cells * bits * words).gate(bits * _lanes(cells))


def _not_dominated(cells: int, bits: int, words: int, amount: tuple[int, int]) -> Tally:
    (of_sum, of_patients, of_largest), constant = dominated(amount)
    total, total_bits = _sum_bits(cells, dict.fromkeys(range(bits), words))
    patients, patient_bits = _count_bits(cells, words)
    terms = [(of_sum, total_bits), (of_largest, bits), (of_largest, bits)]
    if of_patients:
        terms.append((of_patients, patient_bits))
    tally = Tally().together(two_largest(cells, bits, words), total, patients)
    return tally.then(_not_negative(_lanes(cells), terms, constant))


def _not_negative(lanes: int, terms: Sequence[tuple[int, int]], constant: int) -> Tally:
    most = constant + sum(c * ((1 << bits) - 1) for c, bits in terms if c > 0)
    fewest = constant + sum(c * ((1 << bits) - 1) for c, bits in terms if c < 0)
    size = max(most.bit_length(), (-fewest - 1).bit_length() if fewest < 0 else 0) + 1
    widths: dict[int, int] = {}
    for coefficient, bits in terms:
        for place in _places(abs(coefficient)):
            for k in range(bits):
                widths[k + place] = widths.get(k + place, 0) + 1
            constant -= ((1 << bits) - 1) << place if coefficient < 0 else 0
    for k in _places(constant % (1 << size)):
        widths[k] = widths.get(k, 0) + 1
    tally, _ = _fold(lanes, {k: widths[k] for k in sorted(widths) if k < size})
    return tally.then(Tally(rounds=size, words=size * lanes))


def _places(number: int) -> list[int]:
    return [k for k in range(number.bit_length()) if number >> k & 1]


def _withheld(plan: Plan, asked: Sequence[Plan]) -> Tally:
    sides = [_conjunction(len(asked), 1).then(_to_ring(1))]
    for place, r in enumerate(plan.releases):
        cells = [own.releases[place].cells for own in asked]
        bits = [
            _count_bits(own, -(-d.capacity // WORD_BITS))[1]
            for own, d in zip(cells, plan.datasets, strict=True)
        ]
        if r.parted:
            side = Tally().together(*(_to_ring(_lanes(own)) for own in cells))
            steps = [_to_nearest([one], _lanes(own)) for one, own in zip(bits, cells, strict=True)]
        else:
            side = _conjunction(len(asked), _lanes(r.cells)).then(_to_ring(_lanes(r.cells)))
            steps = [_to_nearest(bits, _lanes(r.cells))]
        whole = Tally().together(side, *(steps if not r.operands else []))
        sides.append(whole.gate(r.cells * len(r.transform)))
    tally = Tally().together(*sides)
    return tally.gate(sum(r.cells * r.values_per_cell(plan.mode) for r in plan.releases))


def _to_nearest(bits: Sequence[int], lanes: int) -> Tally:
    square = ROUNDED * ROUNDED * lanes
    tally = Tally().together(*(_conjunction(one, square) for one in bits))
    return tally.then(_conjunction(len(bits), square)).then(_to_ring((ROUNDED - 1) * lanes))


def _noise(plan: Plan) -> Tally:
    from analytics.privacy.mechanisms import thresholds

    coins = sum(
        2 * len(thresholds(r.scale)) * r.cells * len(r.transform)
        for r in plan.releases
        if r.scale is not None
    )
    if not coins:
        return Tally()
    lanes = -(-coins // WORD_BITS)
    return _greater(COIN_BITS, lanes).then(_to_ring(lanes))
