"""What a plan costs before it runs: rounds, and bytes that each party sends.

Rounds and sizes follow from public shapes alone, so they are known exactly; the functions here walk through the
same schedule as `analytics.execute` and the protocols of `mpcnode`, counting instead of computing. A test runs both
and compares.
"""

from __future__ import annotations

from dataclasses import dataclass

from analytics.query.model import By, Cohort, Plan, Release

WORD_BITS = 64
DIRECT_BITS = 1 << 18  # as mpcnode.protocols.popcount
BLOCK_BYTES = 128 << 20  # of temporaries that one block of rows may take
COIN_BITS = 64
ONE_HOT_BITS = 6  # up to here a column's indicators come from a demultiplexer
READY_BYTES = 80


@dataclass(frozen=True)
class Cost:
    """Rounds of the whole query, and protocol bytes that one party sends (the mean over parties)."""

    rounds: int
    bytes_per_party: int


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


def row_bytes(plan: Plan) -> int:
    """Bytes of temporaries that a row takes in the widest moment of a block, over all releases."""
    bits = {c.name: c.bits for c in plan.columns}
    total = 0
    for release in plan.releases:
        if release.operands:
            total += release.cells * 96
            total += sum(96 * o.bits for o in release.operands) + 48 * len(release.monomials)
        else:
            total += release.cells * 2
        total += sum(2 << min(bits[b.column], ONE_HOT_BITS) for b in release.by)
    return max(1, total)


def block_words(plan: Plan) -> int:
    """Words of rows in one block: as many as BLOCK_BYTES of temporaries allow, at least one."""
    return max(1, BLOCK_BYTES // row_bytes(plan) // WORD_BITS)


def blocks(plan: Plan, capacity: int) -> list[tuple[int, int]]:
    """(start, stop) of each block of a table's words."""
    words = -(-capacity // WORD_BITS)
    step = block_words(plan)
    return [(start, min(start + step, words)) for start in range(0, words, step)]


def operand_keys(plan: Plan) -> list[tuple[str, int]]:
    """The distinct (column, dropped bits) that are converted, in plan order."""
    return list(dict.fromkeys((o.column, o.dropped) for r in plan.releases for o in r.operands))


Factor = tuple[str, int, int]  # column, dropped bits, exponent


def factors(release: Release, monomial: tuple[int, ...]) -> tuple[Factor, ...]:
    """A monomial as powers of operands, without those of exponent 0."""
    return tuple((o.column, o.dropped, e) for o, e in zip(release.operands, monomial, strict=True) if e)


def products(plan: Plan) -> tuple[list[Factor], list[tuple[Factor, Factor]]]:
    """The squares and the cross products of columns that the plan needs, each once, in plan order."""
    wanted = [factors(r, m) for r in plan.releases for m in r.monomials]
    squares = [f for w in wanted for f in w if f[2] == 2]
    crosses = [(w[0], w[1]) for w in wanted if len(w) == 2]
    return list(dict.fromkeys(squares)), list(dict.fromkeys(crosses))


def estimate(plan: Plan) -> Cost:
    """Rounds and bytes of a plan with four parties. Pure; a few milliseconds."""
    tables = Tally()
    for dataset in plan.datasets:
        tables.then(_table(plan, dataset.capacity))
    whole = Tally().together(tables, _noise(plan))
    words = sum(r.cells * r.values_per_cell(plan.mode) for r in plan.releases)
    if plan.mode == "exact" and plan.minimum_cohort > 1:
        whole.then(_suppression(plan))
    sent = 12 * whole.words + 48 * whole.rounds
    opening = 3 * (READY_BYTES + 4 * READY_BYTES + 8 * words)
    return Cost(rounds=whole.rounds + 2, bytes_per_party=sent + opening)


def _table(plan: Plan, capacity: int) -> Tally:
    tally = Tally()
    for start, stop in blocks(plan, capacity):
        words = stop - start
        masks = [_cells(plan, r, words) for r in plan.releases]
        tally.together(_columns(plan, words), *masks)
        tally.together(*(_totals(r) for r in plan.releases if r.operands))
    if plan.mode == "exact" and plan.minimum_cohort > 1:
        words = -(-capacity // WORD_BITS)
        tally.together(*(_own_count(plan, r, words) for r in plan.releases))
    return tally


def _columns(plan: Plan, words: int) -> Tally:
    bits = {(o.column, o.dropped): o.bits for r in plan.releases for o in r.operands}
    rows = words * WORD_BITS
    tally = Tally().together(*(_to_ring(bits[k] * words) for k in operand_keys(plan)))
    squares, crosses = products(plan)
    tally.together(*(Tally().gate(rows) for _ in squares))
    return tally.together(*(Tally().gate(rows) for _ in crosses))


def _cells(plan: Plan, release: Release, words: int) -> Tally:
    bits = {c.name: c.bits for c in plan.columns}
    sides = [_conjunction_of(plan, release.cohort, words)]
    sides += [_indicators(by, bits[by.column], words) for by in release.by]
    tally = Tally().together(*sides)
    width = 1
    for by in release.by:
        width *= len(by.groups)
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


def _conjunction_of(plan: Plan, cohort: Cohort, words: int) -> Tally:
    parts = flatten(cohort)
    tally = Tally().together(*(_node(plan, p, words) for p in parts))
    return tally.then(_conjunction(len(parts) + 1, words))


def _node(plan: Plan, node: Cohort, words: int) -> Tally:
    kind = node[0]
    bits = {c.name: c.bits for c in plan.columns}
    if kind in ("all", "present"):
        return Tally()
    if kind == "less":
        b = bits[node[1]]
        return Tally() if not 0 < node[2] < 1 << b else _greater(b, words)
    if kind == "in":
        return _indicators(By(column=node[1], groups=(tuple(node[2]),)), bits[node[1]], words)
    if kind == "not":
        return _node(plan, node[1], words)
    tally = Tally().together(*(_node(plan, child, words) for child in node[1:]))
    return tally.then(_conjunction(len(node) - 1, words))


def _indicators(by: By, bits: int, words: int) -> Tally:
    codes = [c for group in by.groups for c in group]
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


def _fold(planes: int, widths: dict[int, int]) -> tuple[Tally, dict[int, int]]:
    tally = Tally()
    while any(w > 2 for w in widths.values()):
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
    if planes * words * WORD_BITS <= DIRECT_BITS:
        return _to_ring(planes * words)
    tally, widths = _fold(planes, {0: words})
    return tally.then(_to_ring(planes * sum(widths.values())))


def _own_count(plan: Plan, release: Release, words: int) -> Tally:
    tally, widths = _fold(release.cells, {0: words})
    lanes = -(-release.cells // WORD_BITS)
    more, final = _fold(lanes, {k: w * WORD_BITS for k, w in widths.items()})
    tally.then(more)
    bits = max(final) + 2
    for _ in range(bits):
        tally.gate(lanes)
    at_least = _greater(bits, lanes) if plan.minimum_cohort < 1 << bits else Tally()
    return tally.together(at_least, _conjunction(bits, lanes))


def _suppression(plan: Plan) -> Tally:
    sides = []
    for r in plan.releases:
        lanes = -(-r.cells // WORD_BITS)
        side = _conjunction(len(plan.datasets), lanes).then(_to_ring(lanes))
        sides.append(side.gate(r.cells * len(r.transform)))
    return Tally().together(*sides)


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
