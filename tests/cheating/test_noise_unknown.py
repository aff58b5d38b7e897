"""No party knows the noise, and none can leave it out.

The guesses of one party, from all it holds and receives: every bit of its view, the XOR of every two, and every
GF(2)-linear combination, fitted on some coins and tried on others. Coins are fair, so that a guess is right or wrong
half of the time by chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpcnode import roles
from mpcnode.driver import run
from mpcnode.protocols import noise
from mpcnode.ring import Words, unpack
from mpcnode.session import TAG_BYTES, Session
from mpcnode.sharing import Share
from tests.cheating.bench import ENGINE, Engine, Liar, play, reason
from tests.cheating.program import Inputs
from tests.world import World, key, opened

WORDS = 3200  # of one plane; even, so that a half table ends at half a plane
COINS = 64 * WORDS  # half of them in either half table: guesses are made for each half
DIGITS = 50
ROUNDS_OF_RING = 2  # the last ones: bits to ring
TOP = 6  # planes of r whose bits are tried on their own: with a threshold of 2^63 the highest decides
Bits = NDArray[np.uint8]


def draw(
    p: int, engine: Engine, monkeypatch: pytest.MonkeyPatch, missing: str = "k_p"
) -> tuple[Bits, list[Bits]]:
    """All coins, and what party p sees of them: (features, lanes) for the first and for the second half."""
    coins: dict[int, Share] = {}
    random: list[Words] = []
    liars: list[Liar] = []
    true = noise.to_ring

    async def watched(session: Session, bits: Share) -> Share:
        coins[session.party] = bits
        return await true(session, bits)

    class Watched(engine.session):  # type: ignore[name-defined,misc]
        def random_components(self, shape: tuple[int, ...]) -> Words:
            drawn: Words = super().random_components(shape)
            if self.party == p:
                random.append(drawn)
            return drawn

    def keep(channel: Any) -> Liar:
        liars.append(Liar(channel, lambda *_: None))
        return liars[0]

    monkeypatch.setattr(noise, "to_ring", watched)
    world = World(
        74, make=Watched, tamper={p: keep}, prss_key=lambda q, c: key(missing if c == p else "held", c)
    )
    world.connect()
    table = [[2**63] * DIGITS] * (COINS // (2 * DIGITS))
    for outcome in world.outcomes(lambda session: run(session, noise.discrete_laplace(session, table))):
        assert reason(outcome) is None
    bits = unpack(opened([coins[q] for q in range(4)]).reshape(-1))
    held = [unpack(component) for plane in np.moveaxis(random[0][:, -TOP:], 1, 0) for component in plane]
    held += [unpack(component) for component in coins[p].components]
    halves = [slice(0, COINS // 2), slice(COINS // 2, COINS)]
    return bits, [
        np.stack([x.reshape(-1)[part] for x in held] + received(p, half, liars[0]))
        for half, part in enumerate(halves)
    ]


def received(p: int, half: int, liar: Liar) -> list[Bits]:
    """The bits of each message that belong to the lanes of one half: all of gates, two of each ring element."""
    found: list[Bits] = []
    for number, messages in enumerate(liar.received):
        for sender, data in messages.items():
            words = np.frombuffer(data[: len(data) - TAG_BYTES], dtype=np.uint64)
            table = next(
                t for t in (0, 1) for i, j in roles.halves(4)[t] if i == p and roles.sender(4, i, j) == sender
            )
            if number >= len(liar.received) - ROUNDS_OF_RING:
                if table == half and len(words):
                    found += [(words >> np.uint64(b) & np.uint64(1)).astype(np.uint8) for b in (0, 63)]
                continue
            # A message is the first or the second half of all planes: of odd many, it begins in mid-plane.
            blocks = words.reshape(-1, WORDS // 2)
            begins = table * len(blocks)
            found += [unpack(block) for k, block in enumerate(blocks) if (begins + k) % 2 == half]
    return found


def best_guess(coins: Bits, view: Bits) -> float:
    """The largest share of coins that a guess by one bit or by two gets right, or by all bits once it is fitted."""
    signs = np.where(view, -1, 1).astype(np.float32)
    label = np.where(coins, -1, 1).astype(np.float32)
    alone = np.abs(signs @ label)
    pairs = np.abs((signs * label) @ signs.T)
    np.fill_diagonal(pairs, 0)  # a bit with itself is no guess
    biased = max(alone.max(), pairs.max()) / len(coins)
    return float(max(0.5 + biased / 2, linear_guess(coins, view)))


def linear_guess(coins: Bits, view: Bits) -> float:
    """Fit coin = XOR of some bits of the view (and 1) on the first lanes, and try it on the others.

    Elimination over GF(2), view bits as columns; where no combination fits all, the last pivots fit what they can.
    """
    fit = 2 * (len(view) + 1)
    columns = np.concatenate([view, np.ones((1, view.shape[1]), dtype=np.uint8)])
    rows = np.concatenate([columns, coins[None]])[:, :fit].T.copy()  # (equations, unknowns and the coin)
    pivots, at = [], 0
    for k in range(len(columns)):
        below = np.flatnonzero(rows[at:, k])
        if not len(below):
            continue
        rows[[at, at + below[0]]] = rows[[at + below[0], at]]
        others = np.flatnonzero(rows[:, k])
        others = others[others != at]
        rows[others] ^= rows[at]
        pivots.append(k)
        at += 1
    chosen = [k for row, k in enumerate(pivots) if rows[row, -1]]
    guess = np.bitwise_xor.reduce(columns[chosen][:, fit:], axis=0) if chosen else np.zeros(0, dtype=np.uint8)
    right = float((guess == coins[fit:]).mean()) if len(guess) else 0.5
    return max(right, 1 - right)


def coins_are_unknown(p: int, monkeypatch: pytest.MonkeyPatch, engine: Engine = ENGINE) -> list[float]:
    """Assert that no guess of party p is right for more than 51 % of 100,000 coins; how good the best was."""
    coins, views = draw(p, engine, monkeypatch)
    assert abs(coins.mean() - 0.5) < 0.01
    best = [best_guess(coins[half * COINS // 2 :][: COINS // 2], view) for half, view in enumerate(views)]
    assert max(best) < 0.51, f"party {p} guesses {max(best):.1%} of the coins"
    return best


@pytest.mark.parametrize("p", range(4))
def test_a_party_guesses_a_coin_no_better_than_by_chance(p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    coins_are_unknown(p, monkeypatch)


@pytest.mark.parametrize("p", range(4))
def test_another_key_that_a_party_lacks_makes_other_coins(p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    coins, _ = draw(p, ENGINE, monkeypatch)
    others, _ = draw(p, ENGINE, monkeypatch, missing="another k_p")
    assert abs((coins != others).mean() - 0.5) < 0.01


class NoRandomness(Session):
    """Zero bits in place of some of the components that the keys make."""

    def __init__(self, *, zeroed: tuple[int, ...], **parts: Any) -> None:
        super().__init__(**parts)
        self.zeroed = zeroed

    def random_components(self, shape: tuple[int, ...]) -> Words:
        drawn = super().random_components(shape)
        for c in self.zeroed:
            drawn[self.held.index(c)] = 0
        return drawn


@pytest.mark.parametrize("corrupt", range(4))
def test_a_party_that_leaves_the_noise_out_is_caught_in_the_first_round(corrupt: int) -> None:
    """Whatever it zeroes, its first message of a coin is wrong for an honest receiver with an honest voucher."""
    held = tuple(c for c in range(4) if c != corrupt)
    for zeroed in (*((c,) for c in held), held):
        run = play(
            65,
            Inputs.draw(np.random.default_rng(65)),
            makers={corrupt: lambda zeroed=zeroed, **parts: NoRandomness(zeroed=zeroed, **parts)},
        )
        caught = [q for q, outcome in enumerate(run.outcomes) if reason(outcome) == "mismatch"]
        assert caught and corrupt not in caught
        assert all(run.outcomes[q].detail.startswith("round 0:") for q in caught)
        assert all(reason(outcome) for outcome in run.outcomes)
        assert not run.spent
