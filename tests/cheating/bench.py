"""The bench of the cheating tests: parties with one liar among them, and a record of all that travels.

A `Liar` stands inside the corrupt party, on the plaintext of its messages before they are sealed. A `Tap` stands at
each party's transport and keeps every frame it pushes. Keys come from the seed, so two runs with one seed push the
same bytes until somebody lies, and a run can be compared with the honest one frame by frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mpcnode import release
from mpcnode.driver import run
from mpcnode.errors import ProtocolAbort
from mpcnode.release import Purpose, Terms
from mpcnode.session import Session
from tests.cheating.program import WORDS, Inputs, every_operation
from tests.world import World

SIGNING = [Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"sign %d" % p).digest()) for p in range(4)]

Change = Callable[[int, int, bytearray, bytearray], None]  # round, to, words, tag: change them in place


def verify(party: int, body: bytes, signature: bytes) -> bool:
    try:
        SIGNING[party].public_key().verify(signature, body)
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True)
class Engine:
    """What a test is held to: the engine, or a mutant of it."""

    name: str = "engine"
    session: Callable[..., Session] = Session
    reveal: Callable[..., Any] = release.reveal
    compare_at_end: bool = False  # `session.compare()` before the release: the hash-at-the-end mutant
    relays: bool = False  # its vouchers tag what the sender sent: the session is told the lie
    knows_every_key: bool = (
        False  # its session is given `every_key`: the mutant whose masks the receiver knows
    )

    def __str__(self) -> str:
        return self.name


ENGINE = Engine()


class Liar:
    """The corrupt party's side of a channel: `change` acts on words and tag of each message of a round."""

    def __init__(self, channel: Any, change: Change) -> None:
        self.channel, self.change = channel, change
        self.round = 0
        self.received: list[dict[int, bytes]] = []

    def exchange(
        self, outgoing: Mapping[int, Sequence[Any]], lengths: Mapping[int, int]
    ) -> Mapping[int, Any]:
        lies = {}
        for peer, (words, *tags) in outgoing.items():
            payload, tag = bytearray(words), bytearray(b"".join(tags))
            self.change(self.round, peer, payload, tag)
            lies[peer] = [payload, tag]
        self.round += 1
        received = self.channel.exchange(lies, lengths)
        self.received.append({peer: bytes(data) for peer, data in received.items()})
        return received

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)


class Tap:
    """A transport that keeps what it pushes. A poll of a party that fell silent ends at once, as a pull does."""

    def __init__(self, inner: Any, frames: dict[tuple[int, int], list[bytes]]) -> None:
        self.inner, self.party, self.frames = inner, inner.party, frames

    def push(self, to: int, frames: Sequence[Any]) -> None:
        self.frames.setdefault((self.party, to), []).extend(bytes(frame) for frame in frames)
        self.inner.push(to, frames)

    def pull(self, frm: int, count: int, timeout: float) -> list[bytes]:
        return self.inner.pull(frm, count, timeout)

    def exchange(self, out: Mapping[int, Sequence[Any]], expect: Mapping[int, int], timeout: float) -> Any:
        for to, frames in out.items():
            self.frames.setdefault((self.party, to), []).extend(bytes(frame) for frame in frames)
        return self.inner.exchange(out, expect, timeout)

    def poll(self, frm: int) -> bytes | None:
        frame = self.inner.poll(frm)
        if (
            frame is None
            and self.inner.network.closed[frm]
            and not self.inner.network.queues[frm, self.party]
        ):
            raise ProtocolAbort("cancelled", f"party {frm} fell silent")
        return frame

    def close(self) -> None:
        self.inner.close()


@dataclass
class Play:
    """One run of the whole program: what each party got, and every frame that was pushed."""

    world: World
    outcomes: list[Any]
    frames: dict[tuple[int, int], list[bytes]]
    liar: Liar | None = None
    spent: set[int] = field(default_factory=set)

    def rounds(self, party: int) -> int:
        """How many rounds a party sent something in: one frame a link and round, in this program."""
        return max(len(frames) for (frm, _), frames in self.frames.items() if frm == party)


def play(
    seed: int,
    inputs: Inputs,
    *,
    n: int = 4,
    corrupt: int | None = None,
    change: Change | None = None,
    engine: Engine = ENGINE,
    makers: Mapping[int, Callable[..., Session]] | None = None,
    program: Callable[..., Any] = every_operation,
) -> Play:
    """Run the program with every operation and release its figures, one party lying."""
    frames: dict[tuple[int, int], list[bytes]] = {}
    liars: list[Liar] = []

    def tamper(channel: Any) -> Liar:
        liars.append(Liar(channel, change or (lambda *_: None)))
        return liars[0]

    make = engine.session
    if engine.relays and change is not None:
        make = type("Relaying", (engine.session,), {"relay": staticmethod(change), "sender": corrupt})  # type: ignore[misc,assignment,arg-type]
    world = World(seed, n, make=make, makers=dict(makers or {}))
    world.wire = lambda party, transport: Tap(transport, frames)
    world.tamper = {} if corrupt is None else {corrupt: tamper}
    shared = inputs.shared(world)
    world.connect()
    spent: set[int] = set()

    def act(session: Session) -> Any:
        p = session.party
        total = run(session, program(session, {name: s[p] for name, s in shared.items()}, inputs.constants))
        if engine.compare_at_end:
            session.compare()  # type: ignore[attr-defined]
        terms = Terms(
            words=WORDS,
            purpose=Purpose.NOISED_RESULT,
            plan_hash=bytes(32),
            commit=lambda: spent.add(p) or bytes([p]) * 16,
            opening=lambda: None,
            sign=SIGNING[p].sign,
            verify=verify,
            timeout=5.0,
        )
        return engine.reveal(session, world.channels[p], total, Purpose.NOISED_RESULT, terms)

    outcomes = world.outcomes(act)
    return Play(world, outcomes, frames, liars[0] if liars else None, spent)


def flip(data: bytearray, bit: int) -> None:
    data[bit // 8] ^= 1 << bit % 8


def reason(outcome: Any) -> str | None:
    """The public word of an abort; None for an answer."""
    if isinstance(outcome, Exception) and not isinstance(outcome, ProtocolAbort):
        raise outcome
    return outcome.reason if isinstance(outcome, ProtocolAbort) else None
