"""Runs a plan on shares: with `withhold` all that analytics knows of `mpcnode`.

Every total is formed on secret rows and stays shared; the noise of all releases is drawn while the tables are read;
what `execute` returns is ready to be revealed, and nothing else ever is. Public: the plan and the capacities.
Hidden: rows, cohorts and their sizes, totals, noise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial as bind
from itertools import pairwise
from typing import Protocol

import numpy as np

from analytics.privacy.mechanisms import thresholds
from analytics.query import cost
from analytics.query.disclosure import NOTHING, WITHHELD, Earlier, guarded
from analytics.query.model import By, Cohort, Plan, Release
from analytics.withhold import Checked, checked, decided, to_nearest
from mpcnode.protocols import compare, popcount
from mpcnode.protocols.convert import to_ring
from mpcnode.protocols.gates import product
from mpcnode.protocols.inner import inner
from mpcnode.protocols.noise import discrete_laplace
from mpcnode.ring import RING, XOR, Words
from mpcnode.session import Session, gather
from mpcnode.sharing import Share, concatenate, public, stack

MODULUS = 2**64


class RingViews(Protocol):
    """Ring columns (n - 1, rows) of a table that are stored, and where those go that a session makes.

    `held` is what every party agreed to read: a session makes all else that its plan needs.
    """

    held: Collection[cost.Monomial]

    def read(self, monomial: cost.Monomial, start: int, stop: int) -> Words:
        """The rows in words [start, stop) of a held column."""

    def keep(self, monomial: cost.Monomial, start: int, rows: Words) -> None:
        """Take the rows from word `start` on of a column that was made; they come in order."""


class NoViews:
    """A table without stored ring columns, which keeps none."""

    held: Collection[cost.Monomial] = ()

    def read(self, monomial: cost.Monomial, start: int, stop: int) -> Words:
        raise KeyError(monomial)

    def keep(self, monomial: cost.Monomial, start: int, rows: Words) -> None:
        """Nothing is kept."""


@dataclass(frozen=True)
class Table:
    """One party's part of a dataset: components (n - 1, planes, words) of each column that the plan reads.

    planes[name] holds the bits of the code, lowest first, then the present plane; planes[""] the valid plane.
    """

    capacity: int
    planes: Mapping[str, Words] = field(repr=False)
    views: RingViews = field(default_factory=NoViews, repr=False)


def tables(
    plan: Plan,
    columns: Callable[[str, Sequence[str]], Mapping[str, Words]],
    views: Sequence[RingViews],
    earlier: Sequence[Earlier] = (),
) -> list[Table]:
    """What a driver reads of each dataset of a plan; `columns` gives the planes of a dataset's columns by name."""
    before = earlier or [NOTHING] * len(plan.datasets)
    return [
        Table(capacity=d.capacity, planes=columns(d.id, read_columns(plan, place, one)), views=own)
        for place, (d, own, one) in enumerate(zip(plan.datasets, views, before, strict=True))
    ]


def read_columns(plan: Plan, place: int, earlier: Earlier = NOTHING) -> list[str]:
    """The columns that a plan reads of one of its datasets, by their names there, the valid plane first."""
    own = plan.own(place).columns
    return ["", *dict.fromkeys(column.name for column in (*own, *earlier.columns))]


def released_words(plan: Plan) -> int:
    """How many ring elements the plan reveals."""
    return sum(r.cells * r.values_per_cell(plan.mode) for r in plan.releases)


def integers(plan: Plan, values: Words) -> list[list[int]]:
    """Revealed ring elements as signed integers, a list for each release."""
    signed = values.view(np.int64).tolist()
    out, start = [], 0
    for release in plan.releases:
        size = release.cells * release.values_per_cell(plan.mode)
        out.append(signed[start : start + size])
        start += size
    return out


Totals = list[Share]  # (cells, monomials) of each release


async def execute(
    session: Session,
    plan: Plan,
    tables: Sequence[Table],
    work: cost.Work | None = None,
    join: Callable[[Totals], Totals] = lambda totals: totals,
    earlier: Sequence[Earlier] = (),
) -> Share:
    """Return the noised totals of all releases, to be revealed: (released_words,) over Z_2^64.

    Shapes  tables in the order of plan.datasets, each with its `read_columns`.
    In exact mode [1, totals] of each cell, [0, ...] where the threshold zeroes it; if another rule of `disclosure` is
    broken, [2, 0, ...] of all.
    work    the rows that this driver takes, all by default; `join` adds the totals of the other drivers' rows.
    earlier what each table answered exactly before, which new cohorts must not lie too near.
    Cost    `analytics.query.cost.estimate`, exactly, with one driver.
    Leaks   nothing. Raises ProtocolAbort.
    """
    rows = _all_tables(session, plan, tables, work or _all_rows(plan, tables), earlier)
    (totals, own), noise = await gather(rows, _noise(session, plan))
    totals = join(totals)
    if guarded(plan):
        return await _withheld(session, plan, totals, own)
    if plan.mode == "exact":
        return concatenate([_flagged(session, total, 1).reshape(-1) for total in totals])
    flat = [
        _transformed(release, total).reshape(-1) for release, total in zip(plan.releases, totals, strict=True)
    ]
    noised: Share = concatenate(flat) + noise
    return noised


async def partial(session: Session, plan: Plan, tables: Sequence[Table], work: cost.Work) -> Totals:
    """Return one further driver's totals, to be added to those of the driver that releases. Leaks nothing."""
    totals, _ = await _all_tables(session, plan, tables, work)
    return totals


def _all_rows(plan: Plan, tables: Sequence[Table]) -> cost.Work:
    return cost.batches(plan, [table.views.held for table in tables])


async def _all_tables(
    session: Session,
    plan: Plan,
    tables: Sequence[Table],
    work: cost.Work,
    earlier: Sequence[Earlier] = (),
) -> tuple[Totals, list[Checked]]:
    """Totals over these rows of all tables; in guarded plans also what may be shown of each table."""
    totals: Totals | None = None
    masks: list[list[list[Share]]] = [[] for _ in tables]
    asked = [plan.own(place) for place in range(len(tables))]
    for batch in work:
        parts = await gather(
            *(
                _block(
                    session,
                    asked[b.table],
                    _Rows(session, tables[b.table], b),
                    earlier[b.table].cells if earlier else (),
                )
                for b in batch
            )
        )
        for block, (part, cells) in zip(batch, parts, strict=True):
            placed = [_placed(r, block.table, own) for r, own in zip(plan.releases, part, strict=True)]
            totals = placed if totals is None else added(totals, placed)
            if guarded(plan):
                masks[block.table].append(cells)
    assert totals is not None, "a plan has a dataset, and a table has a row"
    if not guarded(plan):
        return totals, []
    whole = [[concatenate(parts, axis=-1) for parts in zip(*blocks, strict=True)] for blocks in masks]
    return totals, await gather(
        *(
            checked(session, own, cells, bind(_code, session, table), before)
            for own, cells, table, before in zip(
                asked, whole, tables, earlier or [NOTHING] * len(tables), strict=True
            )
        )
    )


def _code(session: Session, table: Table, column: str) -> Share:
    """The planes of a column's codes, of all rows."""
    return Share(session.party, session.n, XOR, table.planes[column][:, :-1])


def _placed(release: Release, place: int, own: Share) -> Share:
    """What one dataset has in its own cells (own cells, ...), among all cells of the release: zero in the others'."""
    if not release.parted:
        return own
    components = np.zeros((len(own.components), release.cells, *own.shape[1:]), dtype=np.uint64)
    components[:, release.cells_of(place)] = own.components
    return own.with_components(components)


def added(left: Totals, right: Totals) -> Totals:
    """Totals over the rows of both."""
    return [a + b for a, b in zip(left, right, strict=True)]


@dataclass(frozen=True)
class _Rows:
    """A block of rows of one table, as shares."""

    session: Session
    table: Table
    block: cost.Block

    def planes(self, column: str) -> Share:
        components = self.table.planes[column][:, :, self.block.start : self.block.stop]
        return Share(self.session.party, self.session.n, XOR, components)

    def code(self, column: str) -> Share:
        return self.planes(column)[:-1]

    def present(self, column: str) -> Share:
        return self.planes(column)[-1]

    @property
    def valid(self) -> Share:
        return self.planes("")[0]

    def nothing(self) -> Share:
        words = self.block.stop - self.block.start
        return public(self.session.party, self.session.n, XOR, np.zeros(words, dtype=np.uint64))

    def view(self, monomial: cost.Monomial) -> Share:
        rows = self.table.views.read(monomial, self.block.start, self.block.stop)
        return Share(self.session.party, self.session.n, RING, rows)


async def _block(
    session: Session, plan: Plan, rows: _Rows, earlier: Sequence[Cohort] = ()
) -> tuple[list[Share], list[Share]]:
    """Totals of each release over one block, and masks (cells, words): of each release, then of earlier cells."""
    columns, *parts = await gather(
        _columns(session, plan, rows),
        *(_cells(session, rows, release) for release in plan.releases),
        *(_cohort(session, rows, cell) for cell in earlier),
    )
    sides, before = parts[: len(plan.releases)], parts[len(plan.releases) :]
    masks = [mask for mask, _ in sides] + ([stack(before)] if before else [])
    totals = await gather(
        *(
            _totals(session, release, side, columns)
            for release, (_, side) in zip(plan.releases, sides, strict=True)
        )
    )
    return totals, masks


async def _columns(session: Session, plan: Plan, rows: _Rows) -> dict[cost.Monomial, Share]:
    """Ring columns (rows,) of every monomial that the plan forms, by its factors: stored ones are read, others made."""
    views = rows.table.views
    made = cost.conversions(plan, views.held)
    out = {m: rows.view(m) for m in made.read}
    values = await gather(
        *(_centred(session, rows, column, dropped, bits) for (column, dropped), bits in made.operands)
    )
    out |= {
        ((column, dropped, 1),): v for ((column, dropped), _), v in zip(made.operands, values, strict=True)
    }
    roots = [out[(column, dropped, 1),] for column, dropped, _ in made.squares]
    squares = await gather(*(_product(session, root, root) for root in roots))
    out |= {(f,): v for f, v in zip(made.squares, squares, strict=True)}
    pairs = await gather(*(_product(session, out[(a,)], out[(b,)]) for a, b in made.crosses))
    out |= dict(zip(made.crosses, pairs, strict=True))
    for monomial in made.monomials:
        views.keep(monomial, rows.block.start, out[monomial].components)
    return out


async def _centred(session: Session, rows: _Rows, column: str, dropped: int, bits: int) -> Share:
    """v = (code >> dropped) - 2^(bits - 1) of each row, whether present or not."""
    ring = await to_ring(session, rows.code(column)[dropped:])
    weights = np.array([1 << k for k in range(bits)], dtype=np.uint64)
    # Integer products of numpy wrap modulo 2^64 too, and leave no temporary as large as the bits.
    values = ring.with_components(np.matmul(weights, ring.components))
    return values.add_public((-(1 << (bits - 1))) % MODULUS)


async def _product(session: Session, x: Share, y: Share) -> Share:
    z: Share = await product(session, x, y)
    return z


async def _cells(session: Session, rows: _Rows, release: Release) -> tuple[Share, Share]:
    """Masks of the cells (cells, words), and their ring form (cells, rows), or counts (cells,) if nothing is summed."""
    mask, *indicators = await gather(
        _cohort(session, rows, release.cohort), *(_indicators(session, rows, by) for by in release.by)
    )
    words = mask.shape[-1]
    cells = mask.reshape(1, words)
    for indicator in indicators:
        groups = indicator.shape[0]
        both = await product(session, cells.reshape(-1, 1, words), indicator.reshape(1, groups, words))
        cells = both.reshape(-1, words)
    if release.operands:
        return cells, await to_ring(session, cells)
    return cells, await popcount.count(session, cells)


async def _totals(
    session: Session, release: Release, side: Share, columns: Mapping[tuple[cost.Factor, ...], Share]
) -> Share:
    """Totals (cells, monomials) of one release over one block."""
    if not release.operands:
        return side.reshape(-1, 1)
    wanted = [cost.factors(release, m) for m in release.monomials]
    sums = await inner(session, side, stack([columns[w] for w in wanted if w])) if any(wanted) else None
    out, k = [], 0
    for w in wanted:
        if w:
            assert sums is not None
            out.append(sums[:, k])
            k += 1
        else:
            out.append(side.sum())
    total = stack(out)
    return total.with_components(np.ascontiguousarray(np.swapaxes(total.components, 1, 2)))


async def _cohort(session: Session, rows: _Rows, cohort: Cohort) -> Share:
    """Mask (words,) of the valid rows of a cohort."""
    parts = cost.flatten(cohort)
    factors = await gather(*(_node(session, rows, p) for p in parts))
    return await compare.conjunction(session, [rows.valid, *factors])


async def _node(session: Session, rows: _Rows, node: Cohort) -> Share:
    kind = node[0]
    if kind == "all":
        return ~rows.nothing()
    if kind == "present":
        return rows.present(node[1])
    if kind == "less":
        return await compare.less(session, rows.code(node[1]), node[2])
    if kind == "in":
        indicator = await _indicators(session, rows, By(column=node[1], groups=(tuple(node[2]),)))
        return indicator[0]
    if kind == "not":
        return ~await _node(session, rows, node[1])
    children = await gather(*(_node(session, rows, child) for child in node[1:]))
    if kind == "and":
        return await compare.conjunction(session, children)
    assert kind == "or", f"a cohort has no node {kind}"
    return ~await compare.conjunction(session, [~child for child in children])


async def _indicators(session: Session, rows: _Rows, by: By) -> Share:
    """(groups, words): row g is [code in group g]; codes are distinct, so a group is the XOR of its codes."""
    code = rows.code(by.column)
    if by.edges:
        # Below an edge is below the next one too, so a cell of a grid is the XOR of two comparisons.
        below = await gather(*(compare.less(session, code, edge) for edge in by.edges))
        return stack([low ^ high for low, high in pairwise(below)])
    bits = code.shape[0]
    codes = [c for group in by.groups for c in group]
    if codes and cost.uses_one_hot(len(codes), bits):
        hot = await compare.one_hot(session, code)
        each = {c: hot[c] for c in codes}
    else:
        found = await gather(*(compare.conjunction(session, _literals(code, c)) for c in codes))
        each = dict(zip(codes, found, strict=True))
    nothing = rows.nothing()
    groups = []
    for group in by.groups:
        total = nothing
        for c in group:
            total = total ^ each[c]
        groups.append(total)
    return stack(groups)


def _literals(code: Share, value: int) -> list[Share]:
    """The bits of a code, those negated that are 0 in `value`."""
    return [code[k] if value >> k & 1 else ~code[k] for k in range(code.shape[0])]


def _transformed(release: Release, total: Share) -> Share:
    """(cells, released) from (cells, monomials): the public integer matrix of the release."""
    rows = [
        total.mul_public(np.array([w % MODULUS for w in weights], dtype=np.uint64)).sum()
        for weights in release.transform
    ]
    out = stack(rows)
    return out.with_components(np.ascontiguousarray(np.swapaxes(out.components, 1, 2)))


async def _noise(session: Session, plan: Plan) -> Share:
    """One discrete Laplace sample for each released number; none in exact mode."""
    table = [
        thresholds(r.scale)
        for r in plan.releases
        if r.scale is not None
        for _ in range(r.cells * len(r.transform))
    ]
    return await discrete_laplace(session, table)


async def _withheld(
    session: Session, plan: Plan, totals: Sequence[Share], tables: Sequence[Checked]
) -> Share:
    """[ok, *totals] of each cell, counts as multiples of five, zero where a table's own count is small; [2, 0, ...]
    everywhere if a table may not answer.
    """
    passed, *shown = await gather(
        decided(session, tables),
        *(
            _zeroed(session, release, total, [(one.counts[place], one.shown[place]) for one in tables])
            for place, (release, total) in enumerate(zip(plan.releases, totals, strict=True))
        ),
    )
    # ok is 2 where nothing is shown: 2 + passed (ok - 2).
    flags = [_flags(part, WITHHELD) for part in shown]
    moved = [part.add_public(-flag).reshape(-1) for part, flag in zip(shown, flags, strict=True)]
    kept: Share = await product(session, passed, concatenate(moved))
    return kept.add_public(np.concatenate([flag.reshape(-1) for flag in flags]))


async def _zeroed(
    session: Session, release: Release, total: Share, tables: Sequence[tuple[Share, Share]]
) -> Share:
    """(cells, 1 + released): [ok, *totals], from each table's counts and the lanes that it shows."""
    ok, *steps = await gather(
        _shown(session, release, [shown for _, shown in tables]),
        *([] if release.operands else [_to_nearest(session, release, [count for count, _ in tables])]),
    )
    for step in steps:
        total = total + step.reshape(*total.shape)
    kept: Share = await product(session, ok, total)
    return concatenate([ok, kept], axis=-1)


async def _shown(session: Session, release: Release, tables: Sequence[Share]) -> Share:
    """(cells, 1) over Z_2^64: [every table shows the cell]; one that holds rows of one dataset is shown by that one."""
    if not release.parted:
        lanes = await to_ring(session, await compare.conjunction(session, tables))
        return lanes[: release.cells].reshape(-1, 1)
    each = await gather(*(to_ring(session, own) for own in tables))
    size = len(release.cells_of(0))
    placed = [_placed(release, place, own[:size]) for place, own in enumerate(each)]
    return stack(placed).sum(axis=0).reshape(-1, 1)


async def _to_nearest(session: Session, release: Release, counts: Sequence[Share]) -> Share:
    """(cells,): what rounds each count; a cell that holds rows of one dataset is rounded by that one's."""
    if not release.parted:
        return await to_nearest(session, counts, release.cells)
    size = len(release.cells_of(0))
    own = await gather(*(to_nearest(session, [count], size) for count in counts))
    placed = [_placed(release, place, steps) for place, steps in enumerate(own)]
    return stack(placed).sum(axis=0)


def _flagged(session: Session, total: Share, value: int) -> Share:
    """(cells, 1 + released): `value` before the totals of each cell."""
    flags = np.full((total.shape[0], 1), value, dtype=np.uint64)
    return concatenate([public(session.party, session.n, RING, flags), total], axis=-1)


def _flags(part: Share, value: int) -> Words:
    """`value` in the place of each cell's ok, 0 elsewhere."""
    out = np.zeros(part.shape, dtype=np.uint64)
    out[:, 0] = value
    return out
