"""The channel: what arrives is what was sent, or the session ends and this party is silent."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcnode import channel as module
from mpcnode.channel import CHUNK, LONGEST, TAG, WINDOW, Channel
from mpcnode.errors import ProtocolAbort
from mpcnode.transport.memory import MemoryNetwork
from tests.cheating import chaos
from tests.mpcnode.networks import Memory, Network, Redis, channels, random_keys, together
from tests.redis_server import redis_url

__all__ = ["redis_url"]  # a fixture, used by name

SIZES = [0, 1, 15, 16, 17, 1000, CHUNK - 1, CHUNK, CHUNK + 1, WINDOW * CHUNK, WINDOW * CHUNK + 1, 1 << 20]


@pytest.fixture(params=["memory", "redis"])
def make_network(request: pytest.FixtureRequest) -> Iterator[Callable[..., Network]]:
    made: list[Network] = []

    def make(parties: int = 2) -> Network:
        if request.param == "memory":
            made.append(Memory(parties))
        else:
            made.append(Redis(parties, request.getfixturevalue("redis_url")))
        return made[-1]

    yield make
    for network in made:
        network.close()


def memory_pair(
    hook: chaos.Hook = chaos.passing, timeout: float = 0.2, **channel: object
) -> tuple[Channel, Channel, MemoryNetwork]:
    """Party 0 behind a hook, party 1 as it is."""
    network = MemoryNetwork(2)
    ends = [chaos.ChaosTransport(network.transport(0), hook, network.post), network.transport(1)]
    a, b = channels(ends, random_keys(2), timeout=timeout, **channel)  # type: ignore[arg-type]
    return a, b, network


@settings(max_examples=40, deadline=None)
@given(
    rounds=st.lists(
        st.tuples(*[st.one_of(st.sampled_from(SIZES), st.integers(0, 1 << 20)) for _ in range(2)]),
        min_size=1,
        max_size=3,
    ),
    pieces=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_lengths_in_any_pieces_arrive_as_one_message(
    rounds: list[tuple[int, int]], pieces: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b, _ = memory_pair(timeout=5.0)
    for sizes in rounds:
        sent = [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]
        cut = [np.array_split(message, pieces) for message in sent]
        to_b, to_a = together(
            lambda cut=cut, sizes=sizes: b.exchange({0: cut[1]}, {0: sizes[0]})[0],
            lambda cut=cut, sizes=sizes: a.exchange({1: cut[0]}, {1: sizes[1]})[1],
        )
        assert to_b == sent[0].tobytes()
        assert to_a == sent[1].tobytes()
    assert a.rounds == b.rounds == len(rounds)


@pytest.mark.parametrize("parties", [3, 4])
def test_every_pair_of_parties_exchanges_messages_of_its_own_size(
    make_network: Callable[..., Network], parties: int
) -> None:
    network = make_network(parties)
    sides = channels([network.transport(p) for p in range(parties)], random_keys(parties))
    words = {
        (a, b): np.full(20_000 * (parties * a + b), 10 * a + b, dtype=np.uint64)
        for a in range(parties)
        for b in range(parties)
    }

    def play(channel: Channel) -> None:
        me = channel.party
        for _ in range(3):
            got = channel.exchange(
                {p: [words[me, p]] for p in channel.peers},
                {p: words[p, me].nbytes for p in channel.peers},
            )
            for p in channel.peers:
                array = np.frombuffer(got[p], dtype=np.uint64)
                np.testing.assert_array_equal(array, words[p, me])
                array += np.uint64(1)  # the caller owns it

    assert together(*(lambda c=c: play(c) for c in sides)) == [None] * parties  # type: ignore[misc]


def test_an_array_of_any_shape_is_sent_as_its_bytes() -> None:
    a, b, _ = memory_pair()
    x = np.arange(24, dtype=np.uint64).reshape(2, 3, 4)
    size = x.nbytes + x[1].nbytes
    _, got = together(
        lambda: a.exchange({1: [x, x[:0], x[1]]}, {}),
        lambda: b.exchange({}, {0: size}),
    )
    assert got[0] == x.tobytes() + x[1].tobytes()


def test_an_empty_message_still_costs_one_frame() -> None:
    a, b, _ = memory_pair()
    together(lambda: a.exchange({}, {}), lambda: b.exchange({}, {}))
    assert a.bytes_sent == {1: TAG}
    assert b.bytes_received == {0: TAG}


def test_counters_are_the_payload_and_one_tag_a_chunk() -> None:
    a, b, _ = memory_pair()
    together(lambda: a.exchange({1: [bytes(3 * CHUNK + 1)]}, {}), lambda: b.exchange({}, {0: 3 * CHUNK + 1}))
    assert a.bytes_sent[1] == b.bytes_received[0] == 3 * CHUNK + 1 + 4 * TAG
    assert a.bytes_received[1] == b.bytes_sent[0] == TAG


def test_what_travels_is_neither_the_message_nor_twice_the_same() -> None:
    recorder = chaos.Recorder()
    a, b, _ = memory_pair(recorder)
    message = b"the same message" * 4
    for _ in range(2):
        together(lambda: a.exchange({1: [message]}, {}), lambda: b.exchange({}, {0: len(message)}))
    one, two = recorder.link(0, 1)
    assert one != two
    assert message[:16] not in one + two


def test_a_link_of_two_gigabytes_is_refused_before_anything_is_sent() -> None:
    recorder = chaos.Recorder()
    a, _, _ = memory_pair(recorder)
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, dtype=np.uint8), (1,), (1,))
    with pytest.raises(ValueError, match="2\\^31"):
        a.exchange({1: [huge]}, {1: LONGEST + 1})
    with pytest.raises(ValueError, match="no link"):
        a.exchange({3: [b"x"]}, {})
    assert recorder.seen == []
    assert a.rounds == 0


def test_a_key_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="16"):
        Channel(0, [1], MemoryNetwork(2).transport(0), {(0, 1): bytes(15), (1, 0): bytes(16)}, b"", 1.0)


def test_messages_outside_rounds_arrive_under_their_label() -> None:
    a, b, _ = memory_pair(timeout=2.0)
    assert b.poll(0, "ready") is None
    a.send(1, b"yes", "ready")
    assert b.poll(0, "ready") == b"yes"
    long = secrets.token_bytes((WINDOW + 1) * CHUNK + 5)
    a.send(1, long, "opening")
    assert b.receive(0, "opening", length=len(long)) == long
    a.send(1, b"", "end")
    assert b.receive(0, "end") == b""
    together(lambda: a.exchange({1: [b"round"]}, {}), lambda: b.exchange({}, {0: 5}))
    assert (a.rounds, b.rounds) == (1, 1)


@pytest.mark.parametrize(
    "read",
    [
        lambda b: b.receive(0, "opening"),
        lambda b: b.receive(0, "ready", length=4),
        lambda b: b.poll(0, "opening"),
        lambda b: b.exchange({}, {0: 3}),
    ],
    ids=["label", "length", "polled label", "as a round"],
)
def test_a_message_read_as_something_else_ends_the_session(read: Callable[[Channel], object]) -> None:
    a, b, _ = memory_pair()
    a.send(1, b"yes", "ready")
    with pytest.raises(ProtocolAbort) as abort:
        read(b)
    assert abort.value.reason == "mismatch"


@pytest.mark.parametrize("wrong", [-1, 1, CHUNK], ids=["shorter", "longer", "a chunk more"])
def test_a_message_of_another_length_ends_the_session(wrong: int) -> None:
    a, b, _ = memory_pair()
    together(lambda: a.exchange({1: [bytes(100)]}, {}))
    with pytest.raises(ProtocolAbort):
        b.exchange({}, {0: 100 + wrong})


def test_a_round_read_under_another_number_ends_the_session() -> None:
    a, b, _ = memory_pair()
    got = together(lambda: a.exchange({}, {}, round=7), lambda: b.exchange({}, {}, round=8))
    assert [abort.reason for abort in got] == ["mismatch", "mismatch"]


BIG = 2 * CHUNK + 1000  # three frames
HOOKS = {
    "lost": (chaos.drop, {"timeout", "mismatch"}),
    "duplicated": (chaos.duplicate, {"mismatch"}),
    "cut": (chaos.resize(-1), {"mismatch"}),
    "grown": (chaos.resize(1), {"mismatch"}),
    "flipped": (chaos.flip(bit=12345), {"mismatch"}),
    "replaced by zeros": (chaos.replace(bytes(CHUNK + TAG)), {"mismatch"}),
    "replaced by nothing": (chaos.replace(b""), {"mismatch"}),
    "with one before it": (chaos.inject(secrets.token_bytes(CHUNK + TAG)), {"mismatch"}),
}


def silent_after(channel: Channel, recorder: chaos.Recorder) -> None:
    """Nothing more leaves, whatever is called, and each call says why."""
    before = len(recorder.seen)
    for call in (
        lambda: channel.exchange({}, {}),
        lambda: channel.send(channel.peers[0], b"x", "ready"),
        lambda: channel.receive(channel.peers[0], "ready"),
        lambda: channel.poll(channel.peers[0], "ready"),
    ):
        with pytest.raises(ProtocolAbort) as abort:
            call()
        assert abort.value.reason == channel.aborted.reason  # type: ignore[union-attr]
    assert len(recorder.seen) == before


@pytest.mark.parametrize("frame", [0, 1, 2, 3])
@pytest.mark.parametrize("name", HOOKS)
def test_a_changed_wire_ends_the_session_and_the_reader_is_silent(name: str, frame: int) -> None:
    hook, reasons = HOOKS[name]
    network, recorder = MemoryNetwork(2), chaos.Recorder()
    ends = [
        chaos.ChaosTransport(network.transport(0), chaos.first(hook, index=frame)),
        chaos.ChaosTransport(network.transport(1), recorder),
    ]
    a, b = channels(ends, random_keys(2), timeout=0.15)
    message = secrets.token_bytes(BIG)

    def read() -> None:
        for _ in range(2):
            assert b.exchange({}, {0: BIG})[0] == message
        b.exchange({}, {})

    def write() -> None:
        a.exchange({1: [message]}, {})
        a.exchange({1: [message]}, {})
        a.exchange({}, {})

    _, abort = together(write, read)
    assert isinstance(abort, ProtocolAbort)
    assert abort.reason in reasons
    silent_after(b, recorder)


def test_reordered_frames_end_the_session() -> None:
    for pair in (0, 1):
        a, b, _ = memory_pair(chaos.first(chaos.Swap(), index=pair, count=2))
        _, abort = together(
            lambda a=a: a.exchange({1: [bytes(BIG)]}, {}), lambda b=b: b.exchange({}, {0: BIG})
        )
        assert abort.reason == "mismatch"


def test_a_slow_wire_changes_nothing() -> None:
    a, b, _ = memory_pair(chaos.Slow(0.03), timeout=5.0)
    message = secrets.token_bytes(BIG)
    _, got = together(lambda: a.exchange({1: [message]}, {}), lambda: b.exchange({}, {0: BIG}))
    assert got[0] == message


def test_a_late_frame_comes_in_time_or_ends_the_session() -> None:
    for seconds, timeout, reason in ((0.05, 5.0, None), (0.4, 0.1, "timeout")):
        network = MemoryNetwork(2)
        late = chaos.Late(seconds, network.post)
        ends = [chaos.ChaosTransport(network.transport(0), late), network.transport(1)]
        a, b = channels(ends, random_keys(2), timeout=timeout)
        got = together(lambda a=a: a.send(1, b"x", "ready"), lambda b=b: b.receive(0, "ready"))[1]
        assert got == b"x" if reason is None else got.reason == reason


def test_a_frame_sent_back_to_its_sender_ends_the_session() -> None:
    """Same sequence, same round, same length: only the direction differs."""
    a, b, _ = memory_pair(chaos.first(chaos.reflect, index=0))
    aborted, got = together(lambda: a.exchange({1: [b"12345678"]}, {1: 8}), lambda: b.receive(0, "x", 0.0))
    assert aborted.reason == "mismatch"
    assert isinstance(got, ProtocolAbort)


def test_a_reflected_frame_opens_under_no_direction_even_if_keys_were_equal() -> None:
    network = MemoryNetwork(2)
    key = secrets.token_bytes(16)
    ends = [chaos.ChaosTransport(network.transport(0), chaos.reflect, network.post), network.transport(1)]
    a, _ = channels(ends, {(0, 1): key, (1, 0): key}, timeout=0.2)
    with pytest.raises(ProtocolAbort) as abort:
        a.exchange({1: [b"12345678"]}, {1: 8})
    assert abort.value.reason == "mismatch"


@pytest.mark.parametrize("same_keys", [False, True], ids=["own keys", "equal keys"])
def test_a_message_of_another_session_or_block_opens_in_none(same_keys: bool) -> None:
    keys = random_keys(2)
    recorder = chaos.Recorder()
    network = MemoryNetwork(2)
    a, _ = channels(
        [chaos.ChaosTransport(network.transport(0), recorder), network.transport(1)], keys, b"session A"
    )
    a.send(1, b"from A", "ready")
    other = MemoryNetwork(2)
    _, b = channels(
        [other.transport(0), other.transport(1)], keys if same_keys else random_keys(2), b"session B"
    )
    other.post(0, 1, recorder.link(0, 1))
    with pytest.raises(ProtocolAbort) as abort:
        b.receive(0, "ready")
    assert abort.value.reason == "mismatch"


def test_a_frame_for_another_peer_opens_nowhere_else() -> None:
    network = MemoryNetwork(3)

    def astray(wire: chaos.Wire) -> list[chaos.Delivery]:
        return [(0, 3 - wire.to, wire.data)]

    ends = [
        chaos.ChaosTransport(network.transport(0), astray, network.post),
        network.transport(1),
        network.transport(2),
    ]
    sides = channels(ends, random_keys(3), timeout=0.2)
    got = together(*(lambda c=c: c.exchange({}, {}) for c in sides))  # type: ignore[misc]
    assert [abort.reason for abort in got[1:]] == ["mismatch", "mismatch"]


@settings(max_examples=150, deadline=None)
@given(bit=st.integers(0, 8 * (5000 + TAG) - 1))
def test_any_flipped_bit_ends_the_session(bit: int) -> None:
    a, b, _ = memory_pair(chaos.flip(bit))
    a.send(1, bytes(5000), "x")
    with pytest.raises(ProtocolAbort) as abort:
        b.receive(0, "x", length=5000)
    assert abort.value.reason == "mismatch"


def test_a_wrong_frame_from_one_peer_silences_towards_all() -> None:
    network = MemoryNetwork(4)
    recorder = chaos.Recorder()
    ends: list[chaos.ChaosTransport] = [
        chaos.ChaosTransport(network.transport(p), recorder if p == 1 else chaos.passing) for p in range(4)
    ]
    ends[0].hook = chaos.first(chaos.flip(0), to=1, index=1)
    sides = channels(ends, random_keys(4), timeout=0.3)

    def play(channel: Channel) -> int:
        try:
            for _ in range(3):
                channel.exchange({p: [b"12345678"] for p in channel.peers}, dict.fromkeys(channel.peers, 8))
        except ProtocolAbort as abort:
            channel.transport.close()
            assert abort.reason == ("mismatch" if channel.party == 1 else "timeout")
        return channel.rounds

    assert together(*(lambda c=c: play(c) for c in sides)) == [2, 1, 2, 2]  # type: ignore[misc]
    assert {wire.to: wire.index for wire in recorder.seen} == {0: 1, 2: 1, 3: 1}


def test_a_false_message_heard_while_releasing_is_that_peers_affair_alone() -> None:
    a, b, network = memory_pair()
    assert b.hear(0, "opening") is None
    a.send(1, b"1", "opening")
    assert b.hear(0, "opening") == b"1"
    for frame in (b"", bytes(TAG), bytes(CHUNK + TAG + 1)):
        network.post(0, 1, [frame])
        with pytest.raises(ProtocolAbort):
            b.hear(0, "opening")
    b.send(0, b"mine", "opening")
    assert a.receive(1, "opening") == b"mine"
    b.abort("mismatch")
    with pytest.raises(ProtocolAbort):
        b.hear(0, "opening")


def test_a_reason_given_once_stays() -> None:
    recorder = chaos.Recorder()
    a, _, _ = memory_pair(recorder)
    first = a.abort("mismatch", "a tag")
    assert a.abort("timeout") is first
    silent_after(a, recorder)


def test_silence_of_a_peer_is_a_timeout_over_every_transport(make_network: Callable[..., Network]) -> None:
    network = make_network()
    a, b = channels([network.transport(0), network.transport(1)], random_keys(2), timeout=0.1)
    with pytest.raises(ProtocolAbort) as abort:
        a.exchange({}, {})
    assert abort.value.reason == "timeout"
    assert b.aborted is None


def test_no_nonce_is_used_twice_under_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[bytes, bytes, bytes]] = []

    class Spy:
        def __init__(self, key: bytes) -> None:
            self.key, self.inner = key, module_aesgcm(key)

        def encrypt_into(self, nonce: bytes, data: object, place: bytes, into: object) -> int:
            used.append((self.key, nonce, place))
            return self.inner.encrypt_into(nonce, data, place, into)  # type: ignore[arg-type]

        def decrypt_into(self, nonce: bytes, data: object, place: bytes, into: object) -> int:
            return self.inner.decrypt_into(nonce, data, place, into)  # type: ignore[arg-type]

    module_aesgcm = module.AESGCM
    monkeypatch.setattr(module, "AESGCM", Spy)
    network = MemoryNetwork(4)
    sides = channels([network.transport(p) for p in range(4)], random_keys(4))

    def play(channel: Channel) -> None:
        for size in (0, 8, BIG):
            channel.exchange({p: [bytes(size)] for p in channel.peers}, dict.fromkeys(channel.peers, size))
            for p in channel.peers:
                channel.send(p, b"x" * size, "x")
            for p in channel.peers:
                channel.receive(p, "x", length=size)

    assert together(*(lambda c=c: play(c) for c in sides)) == [None] * 4  # type: ignore[misc]
    assert len(used) == 12 * 2 * 5
    assert len({(key, nonce) for key, nonce, _ in used}) == len(used)
    assert len({place for *_, place in used}) == len(used)
