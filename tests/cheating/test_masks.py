"""What a party receives is uniform, whatever the others' data: the masks are there, and it cannot take them off.

Party p's view is fixed: its components and its keys k_c. What it lacks changes: component p of every input, so that
the inputs are all zero or all one, and key k_p. Every lane has a mask word of its own, so one run with 4,096 equal
lanes is worth as many runs with as many keys. Three runs (zero, zero under another k_p, one under a third) and three
claims, for every message of every round: the words are uniform; they are equally distributed for both inputs; and the
words of two runs differ by a uniform word, which they would not if p knew the mask, however random it looked.

A protocol without any mask passes every test of right answers and of caught lies.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mpcnode import roles
from mpcnode.driver import run
from mpcnode.protocols import popcount
from mpcnode.protocols.compare import conjunction, constant_planes, greater, one_hot
from mpcnode.protocols.convert import to_ring
from mpcnode.protocols.gates import product
from mpcnode.protocols.inner import inner
from mpcnode.protocols.noise import discrete_laplace
from mpcnode.ring import ONES, RING, XOR, Algebra, Words
from mpcnode.session import TAG_BYTES, Session
from mpcnode.sharing import Share
from tests.cheating.bench import ENGINE, Engine, Liar, reason
from tests.world import World, key

ALPHA = 1e-6
LANES = 4096
FEWEST = 160  # words: 8 bytes each, 5 expected in each of 256 bins

Protocol = Callable[..., Any]


async def multiply(session: Session, x: Share, y: Share) -> Share:
    return await product(session, x, y)


async def products(session: Session, x: Share, y: Share) -> Share:
    return await inner(session, x, y)


async def compared(session: Session, x: Share) -> Share:
    return await greater(session, x, constant_planes(0b1011, 4))


async def all_of(session: Session, x: Share) -> Share:
    return await conjunction(session, [x[k] for k in range(3)])


async def folded(session: Session, x: Share) -> Any:
    return await popcount.fold(session, {0: x})


async def noise(session: Session) -> Share:
    return await discrete_laplace(session, [[2**63, 2**62, 2**61]] * (LANES // 4))


# name: (shapes of the inputs, their algebra, protocol)
OPERATIONS: dict[str, tuple[list[tuple[int, ...]], Algebra, Protocol]] = {
    "and": ([(LANES,), (LANES,)], XOR, multiply),
    "and, broadcast": ([(2, LANES // 2), (LANES // 2,)], XOR, multiply),
    "ring product": ([(LANES,), (LANES,)], RING, multiply),
    "inner product": ([(64, 5), (64, 5)], RING, products),
    "bits to ring": ([(1, LANES // 64)], XOR, to_ring),
    "greater": ([(4, LANES)], XOR, compared),
    "one-hot": ([(3, LANES)], XOR, one_hot),
    "conjunction": ([(3, LANES)], XOR, all_of),
    "count": ([(2, LANES // 64)], XOR, popcount.count),
    "count, folded": ([(64, 64)], XOR, folded),
    "count in binary": ([(1024, 5)], XOR, popcount.count_bits),
    "noise": ([], XOR, noise),
}


def shares(values: list[tuple[int, ...]], algebra: Algebra, one: bool, p: int, n: int) -> list[list[Share]]:
    """Inputs of equal lanes: every component but p's the same in both inputs, a constant of its plane."""
    rng = np.random.default_rng(73)
    result = []
    for shape in values:
        clear = np.full(shape, ONES if one and algebra is XOR else np.uint64(one), dtype=np.uint64)
        plane = (*shape[:-1], 1) if algebra is XOR else (1,) * len(shape)
        parts = [np.broadcast_to(rng.integers(0, 2**64, plane, dtype=np.uint64), shape) for _ in range(n)]
        rest = clear
        for c in range(n):
            if c != p:
                rest = algebra.sub(rest, parts[c])
        parts[p] = rest
        result.append(
            [Share(q, n, algebra, np.stack([parts[c] for c in range(n) if c != q])) for q in range(n)]
        )
    return result


def view(name: str, p: int, n: int, one: bool, missing: int, engine: Engine) -> dict[tuple[int, int], Words]:
    """The words that p receives, by (round, sender), with the given inputs and the given key k_p."""
    shapes, algebra, protocol = OPERATIONS[name]
    liars: list[Liar] = []

    def keep(channel: Any) -> Liar:
        liars.append(Liar(channel, lambda *_: None))
        return liars[0]

    def prss_key(q: int, c: int) -> bytes:
        return key("missing", missing) if c == p else key("held", c)

    def make(**parts: Any) -> Session:
        everything = {c: prss_key(-1, c) for c in range(n)}
        return engine.session(**parts, **({"every_key": everything} if engine.knows_every_key else {}))

    world = World(73, n, tamper={p: keep}, prss_key=prss_key, make=make)
    inputs = shares(shapes, algebra, one, p, n)
    world.connect()
    for outcome in world.outcomes(lambda s: run(s, protocol(s, *(x[s.party] for x in inputs)))):
        assert reason(outcome) is None
    cut = TAG_BYTES if n == 4 else 0
    return {
        (number, sender): np.frombuffer(data[: len(data) - cut], dtype=np.uint64)
        for number, messages in enumerate(liars[0].received)
        for sender, data in messages.items()
        if len(data) >= cut + 8 * FEWEST
    }


def bins(words: Words) -> Words:
    """How often each byte comes, at each of the eight places of a word where there are words enough: (places, 256)."""
    data = np.ascontiguousarray(words).view(np.uint8).reshape(-1, 8)
    places = data.T if len(data) >= 8 * FEWEST else [data.reshape(-1)]
    return np.array([np.bincount(place, minlength=256) for place in places])


def is_uniform(words: Words) -> bool:
    return bool((stats.chisquare(bins(words), axis=1).pvalue > ALPHA).all())


def are_alike(a: Words, b: Words) -> bool:
    tables = [np.stack(pair) for pair in zip(bins(a), bins(b), strict=True)]
    return all(stats.chi2_contingency(t[:, t.any(axis=0)]).pvalue > ALPHA for t in tables)


def masks_hide(name: str, p: int, n: int = 4, engine: Engine = ENGINE) -> int:
    """Assert the three claims for every message that p receives; how many messages that were."""
    zero, again, ones = (
        view(name, p, n, one, missing, engine) for one, missing in ((False, 1), (False, 2), (True, 3))
    )
    assert zero.keys() == again.keys() == ones.keys()
    algebra = RING if name in {"ring product", "inner product", "bits to ring", "count"} else XOR
    for place in zero:
        where = f"{name}: party {p}, round {place[0]}, from {place[1]}"
        for words in (zero[place], ones[place]):
            assert is_uniform(words), f"{where}: not uniform"
        assert are_alike(zero[place], ones[place]), f"{where}: another law"
        for a, b in itertools.combinations((zero[place], again[place], ones[place]), 2):
            assert is_uniform(algebra.sub(a, b)), f"{where}: the party can take the mask off"
    return len(zero)


def messages(n: int) -> Iterator[Any]:
    for name in OPERATIONS:
        yield pytest.param(name, n, id=f"{name}, {n} parties")


@pytest.mark.parametrize(("name", "n"), [*messages(4), *messages(3)])
def test_what_a_party_receives_is_uniform_and_the_same_for_all_inputs(name: str, n: int) -> None:
    seen = [masks_hide(name, p, n) for p in range(n)]
    assert all(seen), f"messages looked at, by party: {seen}"


def gate_alone(p: int, one: bool, missing: int, inputs: list[list[Share]]) -> np.uint64:
    """The one word that reaches p from a gate of one word under a new k_p, taken from its sender's op."""
    i, j = next(pair for pair in roles.halves(4)[1] if pair[0] == p)
    sender = roles.sender(4, i, j)
    held = {c: key("missing", one, missing) if c == p else key("held", c) for c in range(4) if c != sender}
    session = Session(
        party=sender,
        n=4,
        channel=None,
        prss_keys=held,
        vouch_keys={},
        session_id=bytes(32),  # type: ignore[arg-type]
    )
    op = product(session, inputs[0][sender], inputs[1][sender])
    out = {to: np.empty(op.words(sender, to), dtype=np.uint64) for to in session.peers}
    vouched = {
        to: np.empty(op.words(roles.vouched_by(4, sender, to), to), dtype=np.uint64)  # type: ignore[arg-type]
        for to in session.peers
    }
    op.begin(out, vouched)
    return out[p][0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("p", range(4))
def test_two_thousand_keys_make_two_thousand_uniform_words(p: int) -> None:
    """The same without the argument about lanes, for one word of one gate."""
    received = {}
    for one in (False, True):
        inputs = shares([(1,), (1,)], XOR, one, p, 4)
        received[one] = np.array([gate_alone(p, one, seed, inputs) for seed in range(2000)])
        assert is_uniform(received[one])
    assert are_alike(received[False], received[True])
