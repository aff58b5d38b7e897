"""One party of four is gone: the three others compute on, on the shares that they have."""

import numpy as np
import pytest

from mpcnode.protocols.convert import to_ring
from mpcnode.protocols.gates import product
from mpcnode.protocols.popcount import count
from mpcnode.ring import RING, XOR, unpack
from mpcnode.roles import remaining
from mpcnode.sharing import without
from tests.world import World, opened, split

EACH = pytest.mark.parametrize("missing", range(4))


def of_three(values, algebra, missing, rng):
    """The three others' shares, and nothing of the party that is gone."""
    four = split(values, 4, algebra, rng)
    return [without(share, missing) for share in four if share.party != missing]


@EACH
@pytest.mark.parametrize("algebra", [XOR, RING], ids=lambda a: a.name)
def test_three_of_four_hold_the_same_value_and_agree_on_each_component(missing, algebra):
    rng = np.random.default_rng(missing)
    values = rng.integers(0, 2**64, (3, 70), dtype=np.uint64)
    shares = of_three(values, algebra, missing, rng)
    assert [(s.party, s.n) for s in shares] == [(0, 3), (1, 3), (2, 3)]
    np.testing.assert_array_equal(opened(shares), values)


@EACH
def test_no_party_gets_the_component_that_the_three_keep_from_it(missing):
    rng = np.random.default_rng(7)
    values = rng.integers(0, 2**64, 40, dtype=np.uint64)
    four = split(values, 4, XOR, rng)
    components = {c: next(s for s in four if s.party != c).component(c) for c in range(4)}
    rest = remaining(missing)
    folded = {k: components[p] for k, p in enumerate(rest)}
    folded[0] = folded[0] ^ components[missing]
    for k, share in enumerate(without(four[p], missing) for p in rest):
        assert share.held == tuple(c for c in range(3) if c != k)
        for c in share.held:
            np.testing.assert_array_equal(share.component(c), folded[c])


@EACH
def test_a_product_a_popcount_and_a_sum_come_out_right_without_each_party(missing):
    async def program(session, x, y, z):
        both = await product(session, x, y)
        ring = await to_ring(session, both)
        return await count(session, both.reshape(1, -1)), ring.sum(), await product(session, z, z)

    world = World(missing, 3)
    x, y, z = world.rng.integers(0, 2**64, (3, 33), dtype=np.uint64)
    shares = [of_three(v, a, missing, world.rng) for v, a in ((x, XOR), (y, XOR), (z, RING))]
    results = world.run(program, *shares)
    ones = int(unpack(x & y).sum())
    assert opened([r[0] for r in results]).tolist() == [ones]
    assert int(opened([r[1] for r in results])) == ones
    np.testing.assert_array_equal(opened([r[2] for r in results]), z * z)


def test_the_missing_party_and_a_share_of_three_cannot_be_folded():
    shares = split(np.zeros(4, dtype=np.uint64), 4, XOR, np.random.default_rng(0))
    with pytest.raises(ValueError, match="another one"):
        without(shares[2], 2)
    with pytest.raises(ValueError, match="another one"):
        without(without(shares[2], 1), 0)
