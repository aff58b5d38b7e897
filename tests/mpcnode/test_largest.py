"""The two largest numbers, sums in binary, signs and residues against numpy, with four parties and with three."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcnode.protocols import binary, popcount
from mpcnode.protocols.largest import some, some_and_two, two_largest
from mpcnode.ring import XOR, pack, unpack
from tests.mpcnode.test_compare import planes_of
from tests.world import World, opened

PARTIES = pytest.mark.parametrize("n", [4, 3])


def numbers(planes, lanes):
    """The numbers in the lanes of opened bits (bits, words)."""
    bits = unpack(planes)[:, :lanes].astype(np.int64)
    return (bits << np.arange(len(planes))[:, None]).sum(axis=0)


def masks_of(rng, sets, rows, density):
    return rng.random((sets, rows)) < density


@PARTIES
@given(
    bits=st.integers(1, 9),
    rows=st.integers(1, 300),
    sets=st.integers(1, 3),
    density=st.sampled_from([0.0, 0.005, 0.02, 0.5, 1.0]),
    spread=st.sampled_from([1, 2, 1000]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=25, deadline=None)
def test_the_two_largest_are_numpys_with_and_without_ties(n, bits, rows, sets, density, spread, seed):
    world = World(seed, n)
    codes = world.rng.integers(0, min(spread, 1 << bits), rows)
    masks = masks_of(world.rng, sets, rows, density)
    first, second = zip(
        *world.run(two_largest, world.share(pack(masks), XOR), world.share(planes_of(codes, bits), XOR)),
        strict=True,
    )
    wanted = [sorted([0, 0, *codes[mask]])[:-3:-1] for mask in masks]
    assert numbers(opened(first), sets).tolist() == [top for top, _ in wanted]
    assert numbers(opened(second), sets).tolist() == [below for _, below in wanted]


@PARTIES
@given(rows=st.integers(1, 700), share=st.integers(0, 3), seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_whether_one_or_two_rows_are_set_is_in_every_lane(n, rows, share, seed):
    world = World(seed, n)
    bits = np.zeros((2, rows), dtype=bool)
    bits[0, world.rng.choice(rows, min(share, rows), replace=False)] = True
    planes = world.share(pack(bits), XOR)
    here = opened(world.run(some, planes))
    one, two = (opened(part) for part in zip(*world.run(some_and_two, planes), strict=True))
    everywhere = {False: 0, True: 2**64 - 1}
    assert here.tolist() == one.tolist() == [[everywhere[bool(row.sum())]] for row in bits]
    assert two.tolist() == [[everywhere[row.sum() > 1]] for row in bits]


@PARTIES
@given(
    terms=st.lists(st.tuples(st.integers(-40, 40).filter(bool), st.integers(1, 8)), min_size=1, max_size=4),
    constant=st.integers(-2000, 2000),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=25, deadline=None)
def test_the_sign_of_a_form_is_that_of_python(n, terms, constant, seed):
    world = World(seed, n)
    values = [world.rng.integers(0, 1 << bits, 70) for _, bits in terms]
    shares = [world.share(planes_of(v, bits), XOR) for v, (_, bits) in zip(values, terms, strict=True)]

    async def form(session, *numbers):
        own = [(c, number) for (c, _), number in zip(terms, numbers, strict=True)]
        return await binary.not_negative(session, own, constant)

    sign = unpack(opened(world.run(form, *shares)))[:70]
    total = sum(c * v for (c, _), v in zip(terms, values, strict=True)) + constant
    np.testing.assert_array_equal(sign, total >= 0)


@PARTIES
@given(bits=st.integers(1, 14), modulus=st.sampled_from([3, 5]), seed=st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_residues_are_numpys(n, bits, modulus, seed):
    world = World(seed, n)
    values = world.rng.integers(0, 1 << bits, 100)
    hot = opened(world.run(binary.residues, world.share(planes_of(values, bits), XOR), modulus=modulus))
    np.testing.assert_array_equal(
        unpack(hot)[:, :100], values[None, :] % modulus == np.arange(modulus)[:, None]
    )


@PARTIES
@given(bits=st.integers(1, 6), rows=st.integers(1, 300), seed=st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_a_sum_over_rows_in_binary_is_numpys(n, bits, rows, seed):
    world = World(seed, n)
    codes = world.rng.integers(0, 1 << bits, (3, rows))

    async def total(session, planes):
        return await popcount.sum_bits(session, {k: planes[:, k] for k in range(bits)})

    planes = world.share(np.stack([planes_of(own, bits) for own in codes]), XOR)
    assert numbers(opened(world.run(total, planes)), 3).tolist() == codes.sum(axis=1).tolist()


def test_the_search_takes_the_rounds_that_its_page_says():
    world = World(7)
    rows = world.rng.integers(0, 2**64, (2, 64), dtype=np.uint64)
    code = world.rng.integers(0, 2**64, (9, 64), dtype=np.uint64)
    world.run(two_largest, world.share(rows, XOR), world.share(code, XOR))
    assert world.sessions[0].rounds == 9 * (6 + 10) + 2
