"""Plans on shares against the same plans in plain numpy: every cohort node, cell, monomial, mode, block size."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import reference
from analytics.execute import Table, added, execute, integers, partial, released_words
from analytics.query import cost
from analytics.query.model import (
    DATASET,
    By,
    Operand,
    Plan,
    PlanColumn,
    PlanDataset,
    PlanSource,
    Release,
    Rules,
)
from mpcnode.driver import run
from mpcnode.ring import XOR, pack, words_for
from tests.world import World, opened

COLUMNS = (PlanColumn(name="age", bits=5), PlanColumn(name="bmi", bits=9), PlanColumn(name="region", bits=3))
BITS = {c.name: c.bits for c in COLUMNS}


def made_table(rng, rows, columns=COLUMNS):
    """Clear codes and presence of one dataset's real rows; a missing code is 0."""
    table = {}
    for column in columns:
        present = rng.random(rows) < 0.8
        table[column.name] = (np.where(present, rng.integers(0, 1 << column.bits, rows), 0), present)
    return table


class Memory:
    """Ring columns of one party's table, in memory: what sessions made, and how much of it this one may read."""

    def __init__(self, kept, held=()):
        self.kept, self.held = kept, held

    def read(self, monomial, start, stop):
        assert monomial in self.held
        return self.kept[monomial][:, 64 * start : 64 * stop]

    def keep(self, monomial, start, rows):
        before = self.kept.get(monomial)
        assert start == 0 or before.shape[1] == 64 * start
        self.kept[monomial] = rows if start == 0 else np.concatenate([before, rows], axis=1)


def shared_tables(world, clear, capacity, columns=COLUMNS):
    """Each party's Table of one dataset."""
    rows = len(clear[columns[0].name][0])
    words = words_for(capacity)
    planes = {"": [np.arange(words * 64) < rows]}
    for column in columns:
        codes, present = (np.pad(v, (0, words * 64 - rows)) for v in clear[column.name])
        planes[column.name] = [codes >> k & 1 != 0 for k in range(column.bits)] + [present]
    shares = {name: world.share(pack(np.array(bits)), XOR) for name, bits in planes.items()}
    return [Table(capacity, {name: s[p].components for name, s in shares.items()}) for p in range(world.n)]


def leaves():
    number = st.sampled_from(["age", "bmi"])
    return st.one_of(
        st.just(("all",)),
        st.builds(lambda c: ("present", c), st.sampled_from(list(BITS))),
        number.flatmap(lambda c: st.builds(lambda v: ("less", c, v), st.integers(0, 1 << BITS[c]))),
        st.sampled_from(list(BITS)).flatmap(
            lambda c: st.builds(
                lambda v: ("in", c, tuple(sorted(v))), st.sets(st.integers(0, (1 << BITS[c]) - 1), max_size=4)
            )
        ),
    )


def cohorts():
    return st.recursive(
        leaves(),
        lambda inner: st.one_of(
            st.builds(lambda a: ("not", a), inner),
            st.builds(
                lambda k, parts: (k, *parts),
                st.sampled_from(["and", "or"]),
                st.lists(inner, min_size=1, max_size=3),
            ),
        ),
        max_leaves=5,
    )


KINDS = {
    "count": ((), ((),), ((1,),)),
    "mean": (("bmi",), ((0,), (1,)), ((256, 1), (256, -1))),
    "sd": (("age",), ((0,), (1,), (2,)), ((256, -32, 1), (512, 0, -2), (256, 32, 1))),
    "correlation": (
        ("age", "bmi"),
        tuple((a, b) for a in range(3) for b in range(3)),
        tuple(tuple(int(r == c) for c in range(9)) for r in range(9)),
    ),
}


def grids(column):
    """Ascending codes; the last edge may lie beyond every code."""
    codes = st.sets(st.integers(0, 1 << BITS[column]), min_size=2, max_size=5)
    return codes.map(lambda found: By(column=column, edges=tuple(sorted(found))))


@st.composite
def releases(draw, mode):
    operands, monomials, transform = KINDS[draw(st.sampled_from(list(KINDS)))]
    if mode == "exact":
        transform = tuple(tuple(int(r == c) for c in range(len(monomials))) for r in range(len(monomials)))
    dropped = draw(st.integers(0, 2))
    groups = st.sampled_from(
        [((0,), (1,), (2, 3)), ((5,), (7,)), ((0,), (1,), (2,), (3,), (4,), (5,), (6,), (7,))]
    )
    return Release(
        cohort=draw(cohorts()),
        by=tuple(
            draw(grids(c)) if c == "bmi" else By(column=c, groups=draw(groups))
            for c in draw(st.lists(st.sampled_from(["region", "age", "bmi"]), max_size=2, unique=True))
        ),
        operands=tuple(Operand(column=c, bits=BITS[c] - dropped, dropped=dropped) for c in operands),
        monomials=monomials,
        transform=transform,
        sensitivity=1,
        micro_epsilon=0 if mode == "exact" else 10**6,
        scale=None if mode == "exact" else Fraction(1, 40),
    )


def plan_of(mode, minimum, capacities, made):
    return Plan(
        mode=mode,
        micro_epsilon=0,
        minimum_cohort=minimum,
        statements=("s",),
        uses=(tuple(range(len(made))),),
        datasets=tuple(
            PlanDataset(id=f"{k:032x}", version=1, manifest_hash="00" * 32, capacity=c)
            for k, c in enumerate(capacities)
        ),
        columns=COLUMNS,
        releases=tuple(made),
        rules=tuple(Rules(amounts=((0, 1),) * len(r.operands)) for r in made) if mode == "exact" else (),
    )


def outcome(world, plan, clear):
    """The opened integers of a plan."""
    tables = [
        shared_tables(world, table, dataset.capacity, plan.own(place).columns)
        for place, (table, dataset) in enumerate(zip(clear, plan.datasets, strict=True))
    ]
    return played(world, plan, tables)


def played(world, plan, tables):
    world.connect()
    results = world.outcomes(
        lambda session: run(session, execute(session, plan, [t[session.party] for t in tables]))
    )
    for result in results:
        if isinstance(result, Exception):
            raise result
    values = opened(results)
    assert values.shape == (released_words(plan),)
    return integers(plan, values)


@pytest.mark.parametrize("n", [4, 3])
@given(data=st.data(), seed=st.integers(0, 2**32), minimum=st.sampled_from([1, 2, 11]))
@settings(max_examples=15, deadline=None)
def test_exact_totals_are_the_references_and_small_cells_are_zero(n, data, seed, minimum):
    made = data.draw(st.lists(releases("exact"), min_size=1, max_size=3))
    world = World(seed, n)
    sizes = data.draw(st.lists(st.integers(1, 150), min_size=1, max_size=2))
    clear = [made_table(world.rng, rows) for rows in sizes]
    plan = plan_of("exact", minimum, [200, 192][: len(sizes)], made)
    assert outcome(world, plan, clear) == reference.evaluate(plan, plan.datasets, clear)
    if n == 4:
        check_cost(world, plan)


def parted(draw, release, datasets):
    """The release with cells of each dataset's own, somewhere among its other partitions."""
    at = draw(st.integers(0, len(release.by)))
    own = By(column=DATASET, groups=tuple((place,) for place in range(datasets)))
    return replace(release, by=(*release.by[:at], own, *release.by[at:]))


# A second hospital's names and codes: regions in another order, two of its own for one of the plan's, and age as it is.
SOURCES = (
    PlanSource(name="region", column="area", bits=4, codes=(3, 1, 0, 0, 2, 5, 7, 6, 4, 4)),
    PlanSource(name="bmi", column="body_mass", bits=9),
)


@pytest.mark.parametrize("n", [4, 3])
@given(data=st.data(), seed=st.integers(0, 2**32), minimum=st.sampled_from([1, 2, 11]))
@settings(max_examples=15, deadline=None)
def test_pooled_totals_are_the_references_whatever_the_datasets_call_their_columns(n, data, seed, minimum):
    made = data.draw(st.lists(releases("exact"), min_size=1, max_size=2))
    world = World(seed, n)
    sizes = data.draw(st.lists(st.integers(1, 150), min_size=2, max_size=3))
    made += [parted(data.draw, release, len(sizes)) for release in made]
    plan = plan_of("exact", minimum, [200, 192, 130][: len(sizes)], made)
    plan = replace(
        plan, datasets=(plan.datasets[0], replace(plan.datasets[1], sources=SOURCES), *plan.datasets[2:])
    )
    clear = [made_table(world.rng, rows, plan.own(place).columns) for place, rows in enumerate(sizes)]
    codes, present = clear[1]["area"]
    clear[1]["area"] = (codes % len(SOURCES[0].codes), present)
    got = outcome(world, plan, clear)
    assert got == reference.evaluate(plan, plan.datasets, clear)
    if n == 4:
        check_cost(world, plan)


def test_cells_of_datasets_add_up_to_the_pooled_cells():
    world = World(21)
    clear = [made_table(world.rng, rows) for rows in (90, 60, 150)]
    apart = replace(moments(), by=(By(column=DATASET, groups=((0,), (1,), (2,))), *moments().by))
    plan = plan_of("exact", 1, [128, 64, 192], [moments(), apart])
    together, each = (np.array(values).reshape(-1, 4) for values in outcome(world, plan, clear))
    assert together[:, 1:].tolist() == each.reshape(3, -1, 4).sum(axis=0)[:, 1:].tolist()
    check_cost(world, plan)


@given(data=st.data(), seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_noised_totals_are_the_references_when_the_noise_is_tiny(data, seed):
    made = data.draw(st.lists(releases("dp"), min_size=1, max_size=3))
    world = World(seed)
    clear = [made_table(world.rng, 90)]
    plan = plan_of("dp", 11, [200], made)
    got, wanted = outcome(world, plan, clear), reference.evaluate(plan, plan.datasets, clear)
    # At scale 1/40 a sample is 0 but for one in e^40.
    assert got == wanted
    check_cost(world, plan)


@pytest.mark.parametrize("block_bytes", [cost.BLOCK_BYTES, 1 << 16])
@given(data=st.data(), seed=st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_stored_ring_columns_change_rounds_and_bytes_and_no_answer(block_bytes, data, seed):
    made = data.draw(st.lists(releases("exact"), min_size=1, max_size=3))
    sizes = data.draw(st.lists(st.integers(1, 150), min_size=1, max_size=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "BLOCK_BYTES", block_bytes)
        world = World(seed)
        clear = [made_table(world.rng, rows) for rows in sizes]
        plan = plan_of("exact", 1, [200, 192][: len(sizes)], made)
        tables = [shared_tables(world, t, d.capacity) for t, d in zip(clear, plan.datasets, strict=True)]
        memories = [[Memory({}) for _ in range(4)] for _ in tables]
        cold = [with_views(t, m) for t, m in zip(tables, memories, strict=True)]
        truth = reference.evaluate(plan, plan.datasets, clear)
        assert played(world, plan, cold) == truth
        check_cost(world, plan)
        names = cost.conversions(plan).monomials
        assert all(list(m.kept) == names for dataset in memories for m in dataset)
        held = [data.draw(st.sets(st.sampled_from(names))) if names else set() for _ in tables]
        warm = [
            with_views(t, [Memory(dict(m.kept), own) for m in dataset])
            for t, dataset, own in zip(tables, memories, held, strict=True)
        ]
        world.seed += 1
        assert played(world, plan, warm) == truth
        check_cost(world, plan, held)
        assert cost.estimate(plan, held).bytes_per_party <= cost.estimate(plan).bytes_per_party + 48 * 64


def with_views(parties, views):
    return [replace(table, views=own) for table, own in zip(parties, views, strict=True)]


def test_small_tables_share_their_rounds():
    one = plan_of("dp", 11, [200], [moments()])
    three = plan_of("dp", 11, [200, 300, 400], [moments()])
    assert cost.estimate(three).rounds == cost.estimate(one).rounds


def check_cost(world, plan, held=()):
    estimate = cost.estimate(plan, held)
    words = released_words(plan)
    assert estimate.rounds == world.sessions[0].rounds + 2
    sent = sum(s.words_sent for s in world.sessions) * 2 + 48 * world.sessions[0].rounds
    assert estimate.bytes_per_party == sent + 3 * (5 * cost.READY_BYTES + 8 * words)


def moments():
    _, monomials, _ = KINDS["sd"]
    return Release(
        cohort=("less", "bmi", 300),
        by=(By(column="region", groups=((0,), (1,), (2,))),),
        operands=(Operand(column="age", bits=5),),
        monomials=monomials,
        transform=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        sensitivity=1,
        micro_epsilon=0,
        scale=None,
    )


def test_blocks_of_rows_change_nothing_but_rounds(monkeypatch):
    world = World(11)
    clear = [made_table(world.rng, 500)]
    plan = plan_of("exact", 11, [512], [moments()])
    whole = outcome(World(11), plan, clear)
    monkeypatch.setattr(cost, "BLOCK_BYTES", 1)
    world = World(12)
    assert outcome(world, plan, clear) == whole == reference.evaluate(plan, plan.datasets, clear)
    check_cost(world, plan)


def test_padding_rows_and_rows_marked_invalid_count_nowhere():
    world = World(13)
    clear = [made_table(world.rng, 10)]
    count = Release(
        cohort=("not", ("less", "age", 0)),
        monomials=((),),
        transform=((1,),),
        sensitivity=1,
        micro_epsilon=0,
        scale=None,
    )
    plan = plan_of("exact", 1, [4096], [count])
    assert outcome(world, plan, clear) == [[1, 10]]


def test_the_constants_of_the_cost_model_are_those_of_the_engine():
    from mpcnode import views
    from mpcnode.protocols import noise, popcount

    assert (cost.DIRECT_BITS, cost.COIN_BITS) == (popcount.DIRECT_BITS, noise.COIN_BITS)
    assert cost.SEGMENT == views.SEGMENT


@pytest.mark.parametrize("drivers", [2, 3, 50])
def test_rows_spread_over_several_drivers_have_the_same_totals(drivers, monkeypatch):
    monkeypatch.setattr(cost, "BLOCK_BYTES", 1 << 16)
    world = World(14)
    clear = [made_table(world.rng, rows) for rows in (500, 150)]
    apart = replace(moments(), by=(By(column=DATASET, groups=((0,), (1,))), *moments().by))
    plan = plan_of("exact", 1, [512, 192], [moments(), apart])
    tables = [shared_tables(world, t, d.capacity) for t, d in zip(clear, plan.datasets, strict=True)]
    whole = cost.batches(plan)
    work = cost.spread(plan, drivers=drivers)
    assert [b for own in work for b in own] == whole and len(work) == min(drivers, len(whole)) > 1
    others = []
    for block, own in enumerate(work[1:], 1):
        world.block = block
        world.connect()
        others.append(
            world.outcomes(lambda s, own=own: run(s, partial(s, plan, [t[s.party] for t in tables], own)))
        )
    world.block = 0
    world.connect()

    def first(session):
        def join(totals):
            for parts in others:
                totals = added(totals, parts[session.party])
            return totals

        own = [t[session.party] for t in tables]
        return run(session, execute(session, plan, own, work[0], join))

    got = integers(plan, opened(world.outcomes(first)))
    assert got == reference.evaluate(plan, plan.datasets, clear)


def test_with_small_cells_zeroed_one_driver_has_all_rows(monkeypatch):
    monkeypatch.setattr(cost, "BLOCK_BYTES", 1)
    assert len(cost.spread(plan_of("exact", 2, [512], [moments()]), drivers=4)) == 1
    assert len(cost.spread(plan_of("exact", 1, [512], [moments()]), drivers=4)) == 4
