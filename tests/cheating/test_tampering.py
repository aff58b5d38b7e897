"""A party that changes anything it sends, in any round, on any link, is caught by the receiver in the same round.

The lie is told inside the corrupt party, before sealing. Its receiver aborts with the round's number and never sends
again; nobody gets an answer; and whatever honest parties still push is a prefix of what they push in the honest run,
frame by frame, so a cheater learns nothing by cheating and cannot make an abort depend on a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest

from mpcnode.driver import run
from mpcnode.errors import ProtocolAbort
from mpcnode.protocols.gates import product
from mpcnode.ring import XOR, Words
from mpcnode.session import TAG_BYTES, Op, Session
from mpcnode.sharing import Share
from tests.cheating.bench import ENGINE, Engine, Liar, Play, flip, play, reason
from tests.cheating.program import NOISE, Inputs, every_operation, expected
from tests.world import World

SEED = 20240801
INPUTS = Inputs.draw(np.random.default_rng(SEED))
LINKS = [(frm, to) for frm in range(4) for to in range(4) if frm != to]

Layout = dict[tuple[int, int, int], list[tuple[str, int, int]]]  # (round, from, to): (operation, start, stop)


Lie = Callable[[Words, np.random.Generator], None]


class Noting(Session):
    """Notes which words of each message belong to which operation; all of it public."""

    where: Layout

    def exchange(self, ops: list[Op]) -> list[object]:
        for to in self.peers:
            start, pieces = 0, []
            for op in ops:
                stop = start + op.words(self.party, to)
                pieces.append((type(op).__name__, start, stop))
                start = stop
            self.where[self.rounds, self.party, to] = pieces
        return super().exchange(ops)


@cache
def honest(engine: Engine = ENGINE, seed: int = SEED) -> Play:
    return play(seed, INPUTS, engine=engine)


@cache
def layout() -> Layout:
    where: Layout = {}

    def make(**parts: object) -> Session:
        session = Noting(**parts)  # type: ignore[arg-type]
        session.where = where
        return session

    play(SEED, INPUTS, makers=dict.fromkeys(range(4), make))
    return where


def rounds() -> int:
    return 1 + max(number for number, _, _ in layout())


def lie(
    frm: int, to: int, number: int, act: Callable[[bytearray, bytearray], None], engine: Engine = ENGINE
) -> Play:
    """The run in which `frm` changes its message of one round to one peer."""

    def change(now: int, peer: int, words: bytearray, tag: bytearray) -> None:
        if (now, peer) == (number, to):
            act(words, tag)

    return play(SEED, INPUTS, corrupt=frm, change=change, engine=engine)


def is_caught_at_once(run: Play, frm: int, to: int, number: int) -> None:
    """The receiver names the round, and nothing of a later round left it; nobody has an answer."""
    caught = run.outcomes[to]
    assert reason(caught) == "mismatch", caught
    assert caught.detail.startswith(f"round {number}:"), caught.detail
    for peer in {0, 1, 2, 3} - {to}:
        assert len(run.frames[to, peer]) == number + 1
    assert all(reason(outcome) for outcome in run.outcomes)
    assert to not in run.spent


def honest_frames_are_a_prefix(run: Play, frm: int, engine: Engine = ENGINE) -> None:
    """All that honest parties pushed they also push, in this order, when nobody lies."""
    for (sender, to), frames in run.frames.items():
        if sender != frm:
            assert frames == honest(engine).frames[sender, to][: len(frames)]


def cases(frm: int) -> Iterator[tuple[int, int, str, int, int]]:
    """(round, to, operation, start, stop) of every operation's words in every message of a party, in bits."""
    for number in range(rounds()):
        for to in {0, 1, 2, 3} - {frm}:
            for name, start, stop in layout()[number, frm, to]:
                if stop > start:
                    yield number, to, name, 64 * start, 64 * stop


def test_the_honest_program_answers_like_numpy_with_four_parties_and_with_three() -> None:
    for n in (4, 3):
        run = play(SEED, INPUTS, n=n)
        for answer in run.outcomes:
            off = np.abs((answer - expected(INPUTS)).astype(np.int64))
            assert (off[:2] <= NOISE).all() and not off[2:].any()
        assert run.spent == set(range(n))


def test_the_program_holds_every_operation_in_large_and_in_merged_gates() -> None:
    names = {name for pieces in layout().values() for name, _, _ in pieces}
    assert names == {"Product", "Inner", "Deal", "Fold"}
    assert rounds() == honest().world.sessions[0].rounds
    for frm, to in LINKS:  # bits are dealt on four links and folded on the other eight
        found = {name for number in range(rounds()) for name, a, b in layout()[number, frm, to] if b > a}
        assert "Product" in found and len(found & {"Deal", "Fold"}) == 1


@pytest.mark.parametrize("frm", range(4))
def test_one_bit_of_any_operations_words_is_caught_in_the_same_round(frm: int) -> None:
    """Every round, link and operation; two bits of each are drawn."""
    rng = np.random.default_rng([SEED, frm])
    told = 0
    for number, to, _, start, stop in cases(frm):
        for bit in rng.integers(start, stop, 2).tolist():
            run = lie(frm, to, number, lambda words, tag, bit=bit: flip(words, bit))
            is_caught_at_once(run, frm, to, number)
            honest_frames_are_a_prefix(run, frm)
            told += 1
    assert told >= 80, f"seed {SEED}: party {frm} told only {told} lies"


@pytest.mark.parametrize("frm", range(4))
def test_one_bit_of_any_tag_is_caught_in_the_same_round(frm: int) -> None:
    """Every round and link, also where the message that the tag covers is empty."""
    rng = np.random.default_rng([SEED, 4, frm])
    for number in range(rounds()):
        for to in {0, 1, 2, 3} - {frm}:
            bit = int(rng.integers(8 * TAG_BYTES))
            run = lie(frm, to, number, lambda words, tag, bit=bit: flip(tag, bit))
            is_caught_at_once(run, frm, to, number)
            honest_frames_are_a_prefix(run, frm)


def add(number: int) -> Lie:
    def act(words: Words, rng: np.random.Generator) -> None:
        words[rng.integers(len(words), size=1)] += np.uint64(number)

    return act


def replace(words: Words, rng: np.random.Generator) -> None:
    words[rng.integers(len(words))] = rng.integers(0, 2**64, dtype=np.uint64)


def zero(words: Words, rng: np.random.Generator) -> None:
    words[:] = 0


def swap(words: Words, rng: np.random.Generator) -> None:
    words[:] = words[::-1].copy() if len(words) > 1 else ~words


@pytest.mark.parametrize("frm", range(4))
def test_other_words_are_caught_whatever_was_done_to_them(frm: int) -> None:
    """One more, half the ring more, random words, zeros, another order: by turns, in every operation's words."""
    rng = np.random.default_rng([SEED, 8, frm])
    kinds = [add(1), add(2**63), replace, zero, swap]
    for turn, (number, to, _, start, stop) in enumerate(cases(frm)):

        def act(
            message: bytearray, tag: bytearray, kind: Lie = kinds[turn % 5], a: int = start, b: int = stop
        ) -> None:
            kind(np.frombuffer(message, dtype=np.uint64)[a // 64 : b // 64], rng)

        run = lie(frm, to, number, act)
        is_caught_at_once(run, frm, to, number)
        honest_frames_are_a_prefix(run, frm)


@pytest.mark.parametrize("corrupt", range(4))
def test_a_party_that_computes_on_a_changed_component_is_caught_in_the_first_round(corrupt: int) -> None:
    """The lie is in its state: all it sends and vouches for follows from a component with one bit changed."""
    for c in {0, 1, 2, 3} - {corrupt}:
        for name in ("codes", "left"):

            async def program(
                session: Session, share: dict[str, Share], constants: Words, c=c, name=name
            ) -> Share:
                if session.party == corrupt:
                    share[name].component(c)[...] ^= np.uint64(1 << 40)
                return await every_operation(session, share, constants)

            run = play(SEED, INPUTS, program=program)
            caught = [p for p, o in enumerate(run.outcomes) if reason(o) == "mismatch"]
            assert caught and corrupt not in caught
            assert all(run.outcomes[p].detail.startswith("round 0:") for p in caught)
            assert all(reason(outcome) for outcome in run.outcomes)
            honest_frames_are_a_prefix(run, corrupt)


def test_one_bit_of_a_message_of_many_frames_is_caught_before_the_next_round() -> None:
    """Two windows of a link: what comes after the wrong frame in the same round still leaves, nothing of the next."""
    times, frames = 160, 6

    async def large(session: Session, share: dict[str, Share], constants: Words) -> Share:
        table = share["table"]
        wide = table.with_components(np.tile(table.components, (1, 1, times)))
        once: Share = await product(session, wide, wide)
        await product(session, once, wide)
        return await every_operation(session, share, constants)

    true = play(SEED, INPUTS, program=large)
    rng = np.random.default_rng([SEED, 11])
    for turn, (frm, to) in enumerate(LINKS):
        place = (0, 1, 2)[turn % 3]  # first frame, one in between, the last with its tag

        def change(
            now: int, peer: int, words: bytearray, tag: bytearray, to: int = to, place: int = place
        ) -> None:
            if (now, peer) == (0, to):
                bits = 8 * len(words) // 3
                flip(words, int(rng.integers(place * bits, (place + 1) * bits)))

        run = play(SEED, INPUTS, corrupt=frm, change=change, program=large)
        assert reason(run.outcomes[to]) == "mismatch" and run.outcomes[to].detail.startswith("round 0:")
        for peer in {0, 1, 2, 3} - {to}:
            assert run.frames[to, peer] == true.frames[to, peer][:frames]
        assert all(reason(outcome) for outcome in run.outcomes)
        for (sender, peer), pushed in run.frames.items():
            assert sender == frm or pushed == true.frames[sender, peer][: len(pushed)]


def test_a_message_kept_back_ends_the_session_for_all_and_tells_nothing() -> None:
    rng = np.random.default_rng([SEED, 9])
    for frm, to in LINKS:
        number = int(rng.integers(rounds()))

        def silent(words: bytearray, tag: bytearray) -> None:
            raise ProtocolAbort("cancelled", "the corrupt party leaves")

        run = lie(frm, to, number, silent)
        assert all(reason(outcome) for outcome in run.outcomes)
        assert not run.spent
        honest_frames_are_a_prefix(run, frm)


def test_who_aborts_and_when_does_not_depend_on_the_data() -> None:
    """Selective failure: the same lies over other inputs end alike, bit for bit of what is said in public."""
    rng = np.random.default_rng([SEED, 10])
    others = [Inputs.constant(0), Inputs.constant(2**64 - 1), Inputs.draw(rng)]
    for frm, to in LINKS:
        number, which = int(rng.integers(rounds())), int(rng.integers(2))

        def change(
            now: int, peer: int, words: bytearray, tag: bytearray, at=(number, to), which=which
        ) -> None:
            if (now, peer) == at:
                flip(tag if which or not words else words, 5)

        runs = [play(SEED, inputs, corrupt=frm, change=change) for inputs in others]
        ends = [
            [(o.reason, len(run.frames[p, (p + 1) % 4])) for p, o in enumerate(run.outcomes) if p == to]
            for run in runs
        ]
        assert ends == [[("mismatch", number + 1)]] * len(others)


def test_a_party_that_saw_a_mismatch_cannot_send_any_more() -> None:
    world = World(1)
    world.tamper = {
        0: lambda channel: Liar(channel, lambda r, to, words, tag: flip(tag, 0) if to == 1 else None)
    }
    x = world.share(world.rng.integers(0, 2**64, 600, dtype=np.uint64), XOR)

    async def gate(session: Session, x: Share) -> Share:
        return await product(session, x, x)

    world.connect()
    outcomes = world.outcomes(lambda session: run(session, gate(session, x[session.party])))
    assert reason(outcomes[1]) == "mismatch"
    with pytest.raises(ProtocolAbort, match="mismatch"):
        world.channels[1].send(2, b"I saw something", "ready")
