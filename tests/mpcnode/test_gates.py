"""Gates, conversions and inner products against numpy, with four parties and with three."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcnode import roles
from mpcnode.protocols.convert import to_ring
from mpcnode.protocols.gates import product
from mpcnode.protocols.inner import inner
from mpcnode.ring import RING, XOR, unpack
from mpcnode.session import gather
from tests.world import World, opened

PARTIES = pytest.mark.parametrize("n", [4, 3])
SIZES = st.sampled_from([1, 2, 3, 63, 255, 256, 257, 511, 512, 1000, 8192, 8193, 20001])


async def multiply(session, x, y):
    return await product(session, x, y)


@PARTIES
@pytest.mark.parametrize("algebra", [XOR, RING], ids=lambda a: a.name)
@given(size=SIZES, seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_a_gate_multiplies_like_numpy_and_all_holders_agree(n, algebra, size, seed):
    world = World(seed, n)
    x, y = world.rng.integers(0, 2**64, (2, size), dtype=np.uint64)
    z = opened(world.run(multiply, world.share(x, algebra), world.share(y, algebra)))
    np.testing.assert_array_equal(z, algebra.mul(x, y))


@PARTIES
@pytest.mark.parametrize("shapes", [((5, 600), (600,)), ((3, 1, 40), (1, 4, 40)), ((2, 3, 700), (3, 700))])
def test_a_gate_broadcasts_a_mask_over_planes(n, shapes):
    world = World(1, n)
    x, y = (world.rng.integers(0, 2**64, shape, dtype=np.uint64) for shape in shapes)
    z = opened(world.run(multiply, world.share(x, XOR), world.share(y, XOR)))
    np.testing.assert_array_equal(z, x & y)


@PARTIES
def test_gates_of_one_round_share_an_exchange_and_keep_their_order(n):
    async def program(session, x, y):
        async def one(k):
            return await product(session, x[k], y[k])

        parts = await gather(*(one(k) for k in range(5)))
        big = await gather(product_of(session, x, y), one(0))
        return parts, big

    async def product_of(session, x, y):
        return await product(session, x, y)

    world = World(2, n)
    x, y = world.rng.integers(0, 2**64, (2, 5, 300), dtype=np.uint64)
    results = world.run(program, world.share(x, XOR), world.share(y, XOR))
    for k in range(5):
        np.testing.assert_array_equal(opened([r[0][k] for r in results]), x[k] & y[k])
    np.testing.assert_array_equal(opened([r[1][0] for r in results]), x & y)
    assert {session.rounds for session in world.sessions} == {2}


@PARTIES
@given(planes=st.integers(1, 5), words=st.integers(1, 40), seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_bits_become_ring_elements(n, planes, words, seed):
    world = World(seed, n)
    x = world.rng.integers(0, 2**64, (planes, words), dtype=np.uint64)
    z = opened(world.run(to_ring, world.share(x, XOR)))
    np.testing.assert_array_equal(z, unpack(x))
    assert world.sessions[0].rounds == 2


@PARTIES
@given(a=st.integers(1, 20), b=st.integers(1, 20), rows=st.integers(1, 300), seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_an_inner_product_is_numpys_matrix_product(n, a, b, rows, seed):
    world = World(seed, n)

    async def program(session, x, y):
        return await inner(session, x, y)

    x = world.rng.integers(0, 2**64, (a, rows), dtype=np.uint64)
    y = world.rng.integers(0, 2**64, (b, rows), dtype=np.uint64)
    z = opened(world.run(program, world.share(x, RING), world.share(y, RING)))
    np.testing.assert_array_equal(z, (x[:, None, :] * y[None, :, :]).sum(-1, dtype=np.uint64))


def test_every_link_is_used_once_by_a_gate_and_vouched_by_the_fourth_party():
    for table in roles.halves(4):
        assert len({frozenset(pair) for pair in table}) == 6
    links = {}
    for i, j in (pair for table in roles.halves(4) for pair in table):
        s = roles.sender(4, i, j)
        q = roles.voucher(4, s, i)
        assert {i, j, s, q} == {0, 1, 2, 3}
        assert roles.vouched_by(4, q, i) == s
        links[s, i] = links.get((s, i), 0) + 1
    assert links == {(s, i): 1 for s in range(4) for i in range(4) if s != i}
    named = {(0, 1): (2, 3), (1, 2): (0, 3), (2, 3): (0, 1), (3, 0): (2, 1), (0, 2): (3, 1), (1, 3): (2, 0)}
    for (i, j), (s, q) in named.items():
        assert (roles.sender(4, i, j), roles.voucher(4, roles.sender(4, i, j), i)) == (s, q)


@pytest.mark.parametrize("program", ["and", "to_ring"])
def test_bytes_sent_are_equal_at_all_four_parties(program):
    world = World(3)
    x = world.rng.integers(0, 2**64, 4096, dtype=np.uint64)
    if program == "and":
        world.run(multiply, world.share(x, XOR), world.share(x, XOR))
    else:
        world.run(to_ring, world.share(x, XOR))
    sent = {session.words_sent for session in world.sessions}
    assert len(sent) == 1
    assert sent == ({4096 * 3 // 2} if program == "and" else {4096 * 64 * 3 // 2})
