"""Comparison, equality, indicators and counts against numpy, with four parties and with three."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcnode.protocols import compare, popcount
from mpcnode.protocols.convert import to_ring
from mpcnode.protocols.gates import product
from mpcnode.ring import ONES, XOR, pack, unpack
from tests.world import World, opened

PARTIES = pytest.mark.parametrize("n", [4, 3])


def planes_of(codes, bits):
    return pack((codes[None, :] >> np.arange(bits)[:, None] & 1) != 0)


@PARTIES
@given(bits=st.integers(1, 12), rows=st.integers(1, 200), seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=15, deadline=None)
def test_less_than_a_public_number_is_numpys(n, bits, rows, seed, data):
    constant = data.draw(st.integers(-1, (1 << bits) + 1))
    world = World(seed, n)
    codes = world.rng.integers(0, 1 << bits, rows)
    z = opened(world.run(compare.less, world.share(planes_of(codes, bits), XOR), constant=constant))
    np.testing.assert_array_equal(unpack(z)[:rows], codes < constant)


@pytest.mark.parametrize("bits, rounds, ands", [(8, 3, 8), (64, 6, 89)])
def test_comparison_costs_what_the_protocol_page_says(bits, rounds, ands):
    world = World(5)
    x = world.rng.integers(0, 2**64, (bits, 4096), dtype=np.uint64)
    world.run(
        compare.greater, world.share(x, XOR), constant=compare.constant_planes(0x5A5A5A5A5A5A5A5A, bits)
    )
    assert world.sessions[0].rounds == rounds
    assert world.sessions[0].words_sent == ands * 4096 * 3 // 2


@given(seed=st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_greater_takes_another_constant_in_each_lane(seed):
    world = World(seed)
    x, t = world.rng.integers(0, 2**64, (2, 128), dtype=np.uint64)
    shifts = np.arange(64, dtype=np.uint64)[:, None]
    px, pt = (pack((v[None, :] >> shifts & np.uint64(1)) != 0) for v in (x, t))
    z = opened(world.run(compare.greater, world.share(px, XOR), constant=pt))
    np.testing.assert_array_equal(unpack(z), x > t)


@PARTIES
@given(bits=st.integers(1, 6), rows=st.integers(1, 150), seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_one_hot_has_one_row_a_code(n, bits, rows, seed):
    world = World(seed, n)
    codes = world.rng.integers(0, 1 << bits, rows)
    z = opened(world.run(compare.one_hot, world.share(planes_of(codes, bits), XOR)))
    np.testing.assert_array_equal(unpack(z)[:, :rows], np.arange(1 << bits)[:, None] == codes)


@given(factors=st.integers(1, 9), seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_a_conjunction_is_the_and_of_all(factors, seed):
    async def program(session, x):
        return await compare.conjunction(session, [x[k] for k in range(factors)])

    world = World(seed)
    x = world.rng.integers(0, 2**64, (factors, 7), dtype=np.uint64)
    z = opened(world.run(program, world.share(x, XOR)))
    np.testing.assert_array_equal(z, np.bitwise_and.reduce(x, axis=0))


@PARTIES
@pytest.mark.parametrize("direct", [0, 1 << 10, 1 << 18], ids=["folded", "partly folded", "converted"])
@given(planes=st.integers(1, 4), words=st.integers(1, 70), seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_counts_are_numpys(n, direct, planes, words, seed):
    world = World(seed, n)
    x = world.rng.integers(0, 2**64, (planes, words), dtype=np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(popcount, "DIRECT_BITS", direct)
        z = opened(world.run(popcount.count, world.share(x, XOR)))
    np.testing.assert_array_equal(z, unpack(x).sum(axis=1))


@PARTIES
@given(planes=st.integers(1, 70), words=st.integers(1, 20), seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_counts_in_binary_hold_one_lane_a_plane(n, planes, words, seed):
    world = World(seed, n)
    x = world.rng.integers(0, 2**64, (planes, words), dtype=np.uint64)
    x[0] = ONES
    z = unpack(opened(world.run(popcount.count_bits, world.share(x, XOR))))
    counts = (z.astype(np.int64) << np.arange(len(z))[:, None]).sum(axis=0)[:planes]
    np.testing.assert_array_equal(counts, unpack(x).sum(axis=1))


def test_a_gate_of_bits_and_ring_elements_is_refused():
    async def program(session, x):
        return await product(session, x, await to_ring(session, x))

    world = World(1)
    with pytest.raises(TypeError, match="xor and ring"):
        world.run(program, world.share(np.zeros(2, dtype=np.uint64), XOR))
