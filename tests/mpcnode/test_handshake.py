"""The handshake: all honest parties agree on every key and input before round 0, or stay silent."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mpcnode import channel as channel_module
from mpcnode import handshake as module
from mpcnode.channel import Channel
from mpcnode.errors import ProtocolAbort, StepReused
from mpcnode.handshake import Established, Head, Identity, Terms, handshake
from mpcnode.transport.memory import MemoryNetwork
from tests.cheating import chaos
from tests.mpcnode.networks import Redis, together
from tests.redis_server import redis_url

__all__ = ["redis_url"]  # a fixture, used by name

PRIVATE = [Ed25519PrivateKey.generate() for _ in range(4)]
PUBLIC = [key.public_key().public_bytes_raw() for key in PRIVATE]
TERMS = Terms(
    order_hash=hashlib.sha256(b"order").digest(),
    attempt=1,
    plan_hash=hashlib.sha256(b"plan").digest(),
    mode="dp",
    layout=b"[4096]",
    code_version="1.0",
    constants=hashlib.sha256(b"thresholds").digest(),
)


def stored(c: int, views: Collection[bytes], earlier: Collection[bytes]) -> bytes:
    return hashlib.sha256(b"component %d" % c).digest()


def identity(party: int, n: int) -> Identity:
    return Identity(private=PRIVATE[party], public=dict(enumerate(PUBLIC[:n])))


class Meeting:
    """n parties that shake hands over one network; `changes` are one party's own arguments."""

    def __init__(
        self,
        n: int = 4,
        hooks: Mapping[int, chaos.Hook] | None = None,
        changes: Mapping[int, dict[str, Any]] | None = None,
        network: Any = None,
        timeout: float = 5.0,
    ) -> None:
        self.n = n
        self.network = network or MemoryNetwork(n)
        self.hooks = hooks or {}
        self.changes = changes or {}
        self.timeout = timeout
        self.recorders = [chaos.Recorder() for _ in range(n)]

    def play(self, party: int, after: Callable[[Established], Any]) -> Any:
        hooked = chaos.ChaosTransport(
            self.network.transport(party), self.hooks.get(party, chaos.passing), self.network.post
        )
        transport = chaos.ChaosTransport(hooked, self.recorders[party])
        arguments = {
            "party": party,
            "transport": transport,
            "identity": identity(party, self.n),
            "terms": TERMS,
            "ledger": Head(3, b"head of %d" % party),
            "seen": {},
            "stored": stored,
            "timeout": self.timeout,
        } | self.changes.get(party, {})
        try:
            return after(handshake(**arguments))
        finally:
            transport.close()

    def run(self, after: Callable[[Established], Any] = lambda made: made) -> list[Any]:
        return together(*(lambda p=p: self.play(p, after) for p in range(self.n)))  # type: ignore[misc]

    def sent(self, party: int) -> list[int]:
        """How many frames this party sent to each peer."""
        return [len(self.recorders[party].link(party, p)) for p in range(self.n) if p != party]


def round_0(made: Established) -> Established:
    channel = made.channel
    channel.exchange({p: [bytes(8)] for p in channel.peers}, dict.fromkeys(channel.peers, 8))
    return made


def reasons(results: list[Any]) -> list[str | None]:
    return [r.reason if isinstance(r, ProtocolAbort) else None for r in results]


HELLO, FLIGHT_2, CONTRIBUTION, CONFIRMATION = range(4)  # frames of one link before round 0


@pytest.mark.parametrize("n", [3, 4])
def test_every_holder_of_a_component_gets_its_key_and_the_other_party_does_not(n: int) -> None:
    made = Meeting(n).run(round_0)
    assert len({m.session_id for m in made}) == 1
    for c in range(n):
        assert len({m.prss_keys[c] for m in made if m.party != c}) == 1
        assert c not in made[c].prss_keys
    assert len({m.prss_keys[c] for m in made for c in m.prss_keys}) == n
    assert all(len(key) == 16 for m in made for key in m.prss_keys.values())


@pytest.mark.parametrize("n", [3, 4])
def test_every_pair_has_one_vouch_key_that_no_third_party_has(n: int) -> None:
    made = Meeting(n).run()
    for m in made:
        for p in m.vouch_keys:
            assert m.vouch_keys[p] == made[p].vouch_keys[m.party]
    assert len({key for m in made for key in m.vouch_keys.values()}) == n * (n - 1) // 2


def test_the_same_over_redis(redis_url: str) -> None:
    network = Redis(4, redis_url)
    made = Meeting(network=network, timeout=5.0).run(round_0)
    assert reasons(made) == [None] * 4
    assert len({m.session_id for m in made}) == 1
    network.close()


def test_the_ledger_heads_of_the_peers_come_back() -> None:
    made = Meeting().run()
    for m in made:
        assert m.heads == {p: Head(3, b"head of %d" % p) for p in range(4) if p != m.party}


def test_two_handshakes_on_the_same_terms_share_no_key() -> None:
    one, other = Meeting().run(), Meeting().run()
    for a, b in zip(one, other, strict=True):
        assert a.session_id != b.session_id
        assert not set(a.prss_keys.values()) & set(b.prss_keys.values())
        assert not set(a.vouch_keys.values()) & set(b.vouch_keys.values())


def test_keys_do_not_print() -> None:
    made = Meeting().run()[0]
    text = repr(made) + repr(identity(0, 4))
    for key in (*made.prss_keys.values(), *made.vouch_keys.values(), *made._pairs.values()):
        assert repr(key) not in text
        assert key.hex() not in text
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.block = 1


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("order_hash", bytes(32), "disagreement"),
        ("attempt", 2, "disagreement"),
        ("plan_hash", bytes(32), "disagreement"),
        ("mode", "exact", "disagreement"),
        ("layout", b"[2048, 2048]", "disagreement"),
        ("missing", 3, "disagreement"),
        ("code_version", "1.1", "version"),
        ("constants", bytes(32), "version"),
    ],
)
def test_other_terms_at_one_party_end_the_session_after_the_hellos(
    field: str, value: Any, reason: str
) -> None:
    meeting = Meeting(changes={2: {"terms": dataclasses.replace(TERMS, **{field: value})}})
    assert reasons(meeting.run(round_0)) == [reason] * 4
    assert [meeting.sent(p) for p in range(4)] == [[1, 1, 1]] * 4


def test_other_pinned_keys_of_a_third_party_are_a_disagreement() -> None:
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    other = Identity(private=PRIVATE[0], public=dict(enumerate([*PUBLIC[:3], stranger])))
    results = Meeting(changes={0: {"identity": other}}).run(round_0)
    assert reasons(results)[1:] == ["disagreement"] * 3


def test_a_hello_signed_by_another_key_ends_the_session() -> None:
    other = Identity(private=Ed25519PrivateKey.generate(), public=dict(enumerate(PUBLIC)))
    meeting = Meeting(changes={1: {"identity": other}})
    results = reasons(meeting.run(round_0))
    assert [results[p] for p in (0, 2, 3)] == ["mismatch"] * 3
    assert results[1] is not None
    assert [meeting.sent(p) for p in (0, 2, 3)] == [[1, 1, 1]] * 3


def test_a_hello_of_another_party_is_not_ones_own() -> None:
    """Party 1 sends party 2's hello as its own; and one signed by itself that names party 2."""

    def steal(wire: chaos.Wire) -> list[chaos.Delivery]:
        if wire.index == HELLO and wire.frm == 2 and wire.to == 0:
            return [(2, 0, wire.data), (1, 0, wire.data)]
        return list(chaos.passing(wire))

    assert reasons(Meeting(hooks={2: steal, 1: chaos.first(chaos.drop, to=0)}).run())[0] == "mismatch"

    agreed = module._agreed(TERMS, dict(enumerate(PUBLIC)))
    body = module._hello(2, agreed, bytes(module.KEM_PUBLIC), Head(0, b""), {}, frozenset(), 1, frozenset())
    forged = chaos.first(chaos.replace(body + PRIVATE[1].sign(body)), to=0)
    assert reasons(Meeting(hooks={1: forged}).run())[0] == "mismatch"


@pytest.mark.parametrize(
    "frame", [b"", bytes(64), bytes(100), b"\xff" * 2000, bytes(module.LARGEST_HELLO + 1)]
)
def test_garbage_instead_of_a_hello_ends_the_session(frame: bytes) -> None:
    meeting = Meeting(hooks={3: chaos.first(chaos.replace(frame), to=0)})
    assert reasons(meeting.run(round_0))[0] == "mismatch"
    assert meeting.sent(0) == [1, 1, 1]


@pytest.mark.parametrize("body", [b"\0\0\0\x05ab", b"\0\0", module._encode(b"fourfold/2/hello")])
def test_a_signed_hello_of_another_form_ends_the_session(body: bytes) -> None:
    hook = chaos.first(chaos.replace(body + PRIVATE[3].sign(body)), to=0)
    assert reasons(Meeting(hooks={3: hook}).run())[0] in {"mismatch", "version"}


def test_a_replayed_handshake_is_refused() -> None:
    """Everything party 3 said in one session, said again in the next: the hello itself is well signed."""
    first = Meeting()
    first.run(round_0)
    replayed = iter(first.recorders[3].link(3, 0))

    def replay(wire: chaos.Wire) -> list[chaos.Delivery]:
        return [(3, 0, next(replayed))] if wire.to == 0 else list(chaos.passing(wire))

    second = Meeting(hooks={3: replay})
    results = reasons(second.run(round_0))
    assert results[0] == "mismatch"
    assert None not in results
    assert second.sent(0) == [2, 2, 2]


def test_a_replayed_hello_of_another_attempt_is_a_disagreement() -> None:
    earlier = Meeting()
    earlier.run()
    hello = earlier.recorders[3].link(3, 0)[HELLO]
    second = {"terms": dataclasses.replace(TERMS, attempt=2)}
    meeting = Meeting(
        hooks={3: chaos.first(chaos.replace(hello), to=0)}, changes=dict.fromkeys(range(4), second)
    )
    assert reasons(meeting.run())[0] == "disagreement"


def test_two_hellos_of_one_party_to_two_peers_end_in_no_session() -> None:
    agreed = module._agreed(TERMS, dict(enumerate(PUBLIC)))
    body = module._hello(
        3, agreed, module._Ephemeral().public, Head(3, b"head of 3"), {}, frozenset(), 1, frozenset()
    )
    meeting = Meeting(hooks={3: chaos.first(chaos.replace(body + PRIVATE[3].sign(body)), to=0)})
    results = reasons(meeting.run(round_0))
    assert results[:3] == ["mismatch"] * 3
    assert [meeting.sent(p) for p in range(3)] == [[2, 2, 2]] * 3


@pytest.mark.parametrize("index", [HELLO, FLIGHT_2, CONTRIBUTION, CONFIRMATION])
@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        (chaos.drop, "timeout"),
        (chaos.flip(1000), "mismatch"),
        (chaos.resize(-1), "mismatch"),
        (chaos.resize(1), "mismatch"),
        (chaos.replace(b""), "mismatch"),
        (chaos.inject(b"\0" * 96), "mismatch"),
    ],
    ids=["lost", "flipped", "cut", "grown", "empty", "injected"],
)
def test_a_changed_flight_ends_the_session_before_round_0(index: int, hook: chaos.Hook, reason: str) -> None:
    meeting = Meeting(hooks={1: chaos.first(hook, to=2, index=index)})
    results = reasons(meeting.run(round_0))
    assert results[2] in {reason, "mismatch"}
    assert max(meeting.sent(2)) <= index + 1
    assert None not in results  # party 2 sends no round 0, so nobody completes it


@pytest.mark.parametrize("index", [HELLO, FLIGHT_2, CONTRIBUTION, CONFIRMATION])
def test_a_flight_sent_twice_ends_the_session(index: int) -> None:
    results = reasons(Meeting(hooks={1: chaos.first(chaos.duplicate, to=2, index=index)}).run(round_0))
    assert results[2] == "mismatch"
    if index < CONFIRMATION:  # the copy of the last flight is read in the place of round 0
        assert None not in results


@pytest.mark.parametrize("index", [FLIGHT_2, CONTRIBUTION, CONFIRMATION])
def test_a_flight_of_another_session_opens_in_none(index: int) -> None:
    earlier = Meeting()
    earlier.run()
    frame = earlier.recorders[1].link(1, 2)[index]
    results = reasons(Meeting(hooks={1: chaos.first(chaos.replace(frame), to=2, index=index)}).run(round_0))
    assert results[2] == "mismatch"
    assert None not in results


@pytest.mark.parametrize("index", [HELLO, FLIGHT_2, CONTRIBUTION, CONFIRMATION])
def test_a_reflected_flight_is_refused_by_its_sender(index: int) -> None:
    hooks = {
        1: chaos.first(chaos.reflect, to=2, index=index),
        2: chaos.first(chaos.drop, to=1, index=index),
    }
    assert reasons(Meeting(hooks=hooks).run(round_0))[1] == "mismatch"


class LyingChannel(Channel):
    """The channel of a corrupt party: it changes what it says before it seals it."""

    liar = 0
    label = "contributions"
    to: tuple[int, ...] = (1,)
    at = 0

    def send(self, peer: int, payload: bytes, label: str) -> None:
        if self.party == self.liar and label == self.label and peer in self.to:
            changed = bytearray(payload)
            changed[self.at] ^= 1
            payload = bytes(changed)
        super().send(peer, payload, label)


@pytest.mark.parametrize("n", [3, 4])
@pytest.mark.parametrize("label", ["contributions", "confirmation"])
def test_a_wrong_contribution_or_confirmation_lets_nobody_complete_round_0(
    n: int, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Party 0 tells party 1 something else about the first component that both hold."""
    monkeypatch.setattr(LyingChannel, "label", label)
    monkeypatch.setattr(module, "Channel", LyingChannel)
    meeting = Meeting(n)
    results = reasons(meeting.run(round_0))
    assert None not in results
    assert results[1] == "mismatch"
    assert meeting.sent(1) == [4] * (n - 1)
    if n == 4 and label == "contributions":  # component 2: its honest holders 1 and 3 have different keys
        assert results[3] == "mismatch"
        assert meeting.sent(3) == [4] * 3


@pytest.mark.parametrize(
    ("n", "c", "odd"), [(n, c, odd) for n in (3, 4) for c in range(n) for odd in range(n) if c != odd]
)
def test_one_holder_with_another_stored_component_silences_all_holders(n: int, c: int, odd: int) -> None:
    def stale(component: int, views: Collection[bytes], earlier: Collection[bytes]) -> bytes:
        return b"stale" if component == c else stored(component, views, earlier)

    meeting = Meeting(n, changes={odd: {"stored": stale}})
    results = reasons(meeting.run(round_0))
    for party in range(n):
        if party == c:
            assert results[party] == "timeout"  # it cannot know; nobody answers it
        else:
            assert results[party] == "mismatch"
            assert meeting.sent(party) == [4] * (n - 1)


def test_a_mutant_without_confirmation_would_start_on_different_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_confirm", lambda *_: None)
    results = Meeting(changes={1: {"stored": lambda c, views, earlier: b"stale"}}).run(round_0)
    assert reasons(results) == [None] * 4  # what the two tests above forbid


@pytest.mark.parametrize(
    ("was", "now", "accepted"),
    [
        (Head(3, b"head of 2"), Head(3, b"head of 2"), True),
        (Head(2, b"earlier"), Head(3, b"head of 2"), True),
        (Head(0, b""), Head(0, b""), True),
        (Head(4, b"later"), Head(3, b"head of 2"), False),
        (Head(3, b"another"), Head(3, b"head of 2"), False),
        (Head(1, b"first"), Head(0, b""), False),
    ],
)
def test_a_ledger_set_back_ends_the_session_whoever_saw_it(was: Head, now: Head, accepted: bool) -> None:
    meeting = Meeting(changes={0: {"seen": {2: was}}, 2: {"ledger": now}})
    results = meeting.run(round_0)
    if accepted:
        assert reasons(results) == [None] * 4
        return
    assert reasons(results) == ["rollback"] * 4
    assert all("ledger of party 2" in abort.detail for abort in results)
    assert [meeting.sent(p) for p in range(4)] == [[1, 1, 1]] * 4


def test_a_party_that_never_comes_is_a_timeout_for_the_others() -> None:
    meeting = Meeting(timeout=0.1)
    results = together(*(lambda p=p: meeting.play(p, round_0) for p in range(3)))  # type: ignore[misc]
    assert reasons(results) == ["timeout"] * 3


def test_a_late_party_is_waited_for_until_the_join_timeout() -> None:
    patient = {"join_timeout": 20.0}
    meeting = Meeting(changes=dict.fromkeys(range(4), patient), timeout=1.0)

    def late() -> Any:
        time.sleep(1.2)
        return meeting.play(3, round_0)

    results = together(*(lambda p=p: meeting.play(p, round_0) for p in range(3)), late)  # type: ignore[misc]
    assert reasons(results) == [None] * 4


def test_a_cancelled_handshake_ends() -> None:
    network = MemoryNetwork(4)
    network.stop()
    assert reasons(Meeting(network=network).run()) == ["cancelled"] * 4


@pytest.mark.parametrize(
    "public", [{0: b"", 1: b""}, {0: b"", 1: b"", 3: b""}, dict.fromkeys(range(1, 5), b"")]
)
def test_parties_are_0_to_n_minus_1(public: dict[int, bytes]) -> None:
    with pytest.raises(ValueError, match="parties"):
        handshake(
            party=0,
            transport=MemoryNetwork(4).transport(0),
            identity=Identity(private=PRIVATE[0], public=public),
            terms=TERMS,
            ledger=Head(0, b""),
            seen={},
            stored=stored,
            timeout=0.1,
        )


# Keys and nonces are used once (over sessions, attempts, blocks and directions)


class Uses:
    """Every (key, nonce) that sealed something, and every key by what it is for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sealed: list[tuple[bytes, bytes]] = []
        self.keys: dict[bytes, set[str]] = {}
        uses, true = self, channel_module.AESGCM

        class Spy:
            def __init__(self, key: bytes) -> None:
                self.key, self.inner = key, true(key)

            def encrypt_into(self, nonce: bytes, data: Any, place: bytes, into: Any) -> int:
                uses.sealed.append((self.key, nonce))
                return self.inner.encrypt_into(nonce, data, place, into)

            def decrypt_into(self, nonce: bytes, data: Any, place: bytes, into: Any) -> int:
                return self.inner.decrypt_into(nonce, data, place, into)

        monkeypatch.setattr(channel_module, "AESGCM", Spy)

    def purpose(self, key: bytes, what: str) -> None:
        self.keys.setdefault(key, set()).add(what)

    def session(self, name: str, terms: Terms, n: int) -> None:
        """A session with two rounds and an outside message in each of two blocks."""
        second = MemoryNetwork(n)

        def after(made: Established) -> None:
            other = made.driver(1, second.transport(made.party), 2.0)
            for block, (channel, vouch) in enumerate(((made.channel, made.vouch_keys), other)):
                for _ in range(2):
                    channel.exchange(
                        {p: [bytes(300_000)] for p in channel.peers}, dict.fromkeys(channel.peers, 300_000)
                    )
                for p in channel.peers:
                    channel.send(p, b"x", "ready")
                for p in channel.peers:
                    channel.receive(p, "ready")
                    link = sorted((p, made.party))
                    self.purpose(vouch[p], f"{name} vouch {block} {link}")
                    self.purpose(channel._out[p].cipher.key, f"{name} chan {block} {made.party}>{p}")  # type: ignore[attr-defined]
            for c, key in made.prss_keys.items():
                self.purpose(key, f"{name} prss {c}")

        assert (
            Meeting(n, changes={p: {"terms": terms} for p in range(n)}, timeout=5.0).run(after) == [None] * n
        )

    def once(self) -> bool:
        return len(set(self.sealed)) == len(self.sealed) and all(
            len(names) == 1 for names in self.keys.values()
        )


def test_no_key_has_two_uses_and_no_nonce_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    uses = Uses(monkeypatch)
    uses.session("first", TERMS, 4)
    uses.session("first again", TERMS, 4)
    uses.session("second attempt", dataclasses.replace(TERMS, attempt=2), 4)
    uses.session("exact", dataclasses.replace(TERMS, mode="exact"), 4)
    uses.session("three parties", dataclasses.replace(TERMS, missing=3), 3)
    assert uses.once()
    assert len(uses.keys) == 4 * (2 * (12 + 6) + 4) + 2 * (6 + 3) + 3


@pytest.mark.parametrize("dropped", ["block", "direction", "use"])
def test_a_mutant_key_schedule_is_noticed(dropped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    true = module.HKDFExpand

    def mutant(algorithm: Any, length: int, info: bytes) -> Any:
        parts = module._decode(info, 0) if info[:1] == b"\0" else []
        if parts:
            kind, use, block, a, b = parts
            use = b"chan" if dropped == "use" else use
            block = module._number(0) if dropped == "block" else block
            a, b = sorted((a, b)) if dropped == "direction" else (a, b)
            info = module._encode(kind, use, block, a, b)
        return true(algorithm, length, info)

    monkeypatch.setattr(module, "HKDFExpand", mutant)
    uses = Uses(monkeypatch)
    uses.session("mutant", TERMS, 4)
    assert not uses.once()


def test_the_keys_of_a_block_come_out_once() -> None:
    def after(made: Established) -> None:
        other = MemoryNetwork(4).transport(made.party)
        made.driver(1, other, 1.0)
        for block in (0, 1):
            with pytest.raises(StepReused):
                made.driver(block, other, 1.0)

    assert Meeting().run(after) == [None] * 4


def test_what_two_parties_send_each_other_in_the_clear_is_the_hello_alone() -> None:
    """Later flights have no byte string of 16 in common with any key."""
    meeting = Meeting()
    made = meeting.run(round_0)
    wire = b"".join(w.data for recorder in meeting.recorders for w in recorder.seen)
    for m in made:
        for key in (*m.prss_keys.values(), *m.vouch_keys.values(), *m._pairs.values()):
            assert key not in wire
    assert secrets.token_bytes(16) not in wire


def test_the_views_that_every_party_offers_are_agreed_on_and_confirmed() -> None:
    names = [bytes([k]) * 16 for k in range(5)]
    asked: list[tuple[int, frozenset[bytes]]] = []

    def recorded(c: int, views: Collection[bytes], earlier: Collection[bytes]) -> bytes:
        asked.append((c, frozenset(views)))
        return stored(c, views, earlier)

    offers = [names[:4], names[1:], names[1:4], [*names[2:], names[1]]]
    changes = {p: {"offered": offers[p], "stored": recorded} for p in range(4)}
    made = Meeting(changes=changes).run()
    assert [established.views for established in made] == [frozenset(names[1:4])] * 4
    assert set(asked) == {(c, frozenset(names[1:4])) for c in range(4)}


def test_a_session_has_as_many_drivers_as_the_fewest_offer() -> None:
    made = Meeting(changes={p: {"drivers": 2 + p} for p in (0, 1, 3)} | {2: {"drivers": 3}}).run()
    assert [established.drivers for established in made] == [2] * 4
    assert reasons(Meeting(changes={2: {"drivers": 0}}).run())[0] == "mismatch"


def test_three_parties_read_no_stored_view() -> None:
    changes = {p: {"offered": [bytes(16)]} for p in range(3)}
    made = Meeting(3, changes=changes).run()
    assert [established.views for established in made] == [frozenset()] * 3


def test_what_two_parties_name_as_answered_before_counts_for_all() -> None:
    names = [bytes([k]) * 16 for k in range(3)]
    meeting = Meeting(changes={1: {"earlier": {names[0], names[1]}}, 3: {"earlier": {names[1], names[2]}}})
    assert [made.earlier for made in meeting.run()] == [frozenset(names[1:2])] * 4
