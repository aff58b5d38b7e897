"""One suite for every transport: the promises of mpcnode/transport/base.py."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from redis.exceptions import TimeoutError as RedisTimeout

from mpcnode.errors import MpcError, ProtocolAbort
from mpcnode.transport import redis as lists
from mpcnode.transport.base import Watch
from tests.mpcnode.networks import Memory, Network, Redis, Slow, together
from tests.redis_server import RedisServer, redis_url

__all__ = ["redis_url"]  # a fixture, used by name

MakeNetwork = Callable[..., Network]


@pytest.fixture(params=["memory", "slow", "redis"])
def make_network(request: pytest.FixtureRequest) -> Iterator[MakeNetwork]:
    made: list[Network] = []

    def make(parties: int = 2) -> Network:
        if request.param == "memory":
            made.append(Memory(parties))
        elif request.param == "slow":
            made.append(Slow(parties))
        else:
            made.append(Redis(parties, request.getfixturevalue("redis_url")))
        return made[-1]

    yield make
    for network in made:
        network.close()


def test_frames_arrive_unchanged_once_and_in_order(make_network: MakeNetwork) -> None:
    network = make_network()
    a, b = network.transport(0), network.transport(1)
    sent = [secrets.token_bytes(size) for size in (0, 1, 16, 1000, 200_000)]
    a.push(1, sent[:2])
    a.push(1, sent[2:])
    assert b.pull(0, 5, 5.0) == sent
    assert b.poll(0) is None


def test_every_byte_value_and_buffer_type_survives(make_network: MakeNetwork) -> None:
    network = make_network()
    a, b = network.transport(0), network.transport(1)
    every = bytes(range(256))
    a.push(1, [bytearray(every), memoryview(every)[10:20], b"\r\n$-1\r\n"])
    assert b.pull(0, 3, 5.0) == [every, every[10:20], b"\r\n$-1\r\n"]


def test_a_buffer_may_be_reused_as_soon_as_it_is_pushed(make_network: MakeNetwork) -> None:
    network = make_network()
    a, b = network.transport(0), network.transport(1)
    buffer = bytearray(b"first")
    a.push(1, [buffer])
    buffer[:] = b"other"
    a.exchange({1: [buffer]}, {}, 1.0)
    buffer[:] = b"third"
    assert b.pull(0, 2, 5.0) == [b"first", b"other"]


def test_links_never_mix(make_network: MakeNetwork) -> None:
    network = make_network(4)
    ends = [network.transport(p) for p in range(4)]
    for frm in range(4):
        for to in range(4):
            if frm != to:
                ends[frm].push(to, [f"{frm}>{to}".encode()])
    for to in range(4):
        expect = {frm: 1 for frm in range(4) if frm != to}
        assert ends[to].exchange({}, expect, 5.0) == {frm: [f"{frm}>{to}".encode()] for frm in expect}


def test_sessions_of_other_names_never_mix(redis_url: str) -> None:
    one, other = Redis(2, redis_url), Redis(2, redis_url)
    one.transport(0).push(1, [b"one"])
    assert other.transport(1).poll(0) is None
    assert one.transport(1).poll(0) == b"one"
    one.close()
    other.close()


def test_a_pull_takes_its_count_and_leaves_the_rest(make_network: MakeNetwork) -> None:
    network = make_network()
    a, b = network.transport(0), network.transport(1)
    a.push(1, [b"%d" % i for i in range(10)])
    assert b.pull(0, 1, 5.0) == [b"0"]
    assert network.waiting(0, 1) == 9
    assert b.pull(0, 4, 5.0) == [b"1", b"2", b"3", b"4"]
    assert b.pull(0, 0, 0.0) == []
    assert network.waiting(0, 1) == 5
    assert b.poll(0) == b"5"


def test_an_exchange_waits_for_frames_that_come_one_by_one(make_network: MakeNetwork) -> None:
    network = make_network(3)
    a, b, c = (network.transport(p) for p in range(3))

    def trickle() -> None:
        for i in range(5):
            time.sleep(0.02)
            a.push(1, [b"%d" % i])

    got = together(
        trickle,
        lambda: b.exchange({2: [b"x"]}, {0: 5, 2: 1}, 5.0),
        lambda: c.exchange({1: [b"y"]}, {1: 1}, 5.0),
    )
    assert got[1] == {0: [b"0", b"1", b"2", b"3", b"4"], 2: [b"y"]}
    assert got[2] == {1: [b"x"]}


def test_a_thousand_rounds_of_four_parties_stay_in_step(make_network: MakeNetwork) -> None:
    network = make_network(4)

    def play(party: int) -> int:
        end = network.transport(party)
        peers = [p for p in range(4) if p != party]
        for number in range(250):
            out = {p: [b"%d %d" % (number, party)] for p in peers}
            got = end.exchange(out, dict.fromkeys(peers, 1), 10.0)
            assert got == {p: [b"%d %d" % (number, p)] for p in peers}
        return 250

    assert together(*(lambda p=p: play(p) for p in range(4))) == [250] * 4  # type: ignore[misc]


def test_two_parties_that_push_at_each_other_do_not_wait(make_network: MakeNetwork) -> None:
    network = make_network()
    big = [bytes(1 << 20)] * 24

    def play(party: int) -> list[int]:
        end = network.transport(party)
        end.push(1 - party, big)
        return [len(frame) for frame in end.pull(1 - party, len(big), 20.0)]

    assert together(lambda: play(0), lambda: play(1)) == [[1 << 20] * 24] * 2


def test_silence_ends_in_a_timeout(make_network: MakeNetwork) -> None:
    network = make_network()
    a, b = network.transport(0), network.transport(1)
    a.push(1, [b"only one"])
    for wait in (lambda: b.pull(0, 2, 0.1), lambda: b.exchange({0: [b""]}, {0: 2}, 0.1)):
        with pytest.raises(ProtocolAbort) as abort:
            wait()
        assert abort.value.reason == "timeout"


def test_a_cancelled_session_ends_in_the_middle_of_a_wait(make_network: MakeNetwork) -> None:
    network = make_network()
    cancel = threading.Event()
    end = network.transport(1, cancel.is_set)
    timer = threading.Timer(0.1, cancel.set)
    timer.start()
    with pytest.raises(ProtocolAbort) as abort:
        end.pull(0, 1, 60.0)
    assert abort.value.reason == "cancelled"


def test_cancelling_is_asked_rarely_and_stays() -> None:
    answers = iter([False, True])
    watch = Watch(lambda: next(answers))
    assert [watch() for _ in range(100)] == [False] * 100
    watch._next = 0.0
    assert [watch() for _ in range(3)] == [True] * 3
    assert Watch(None)() is False


def test_closing_deletes_the_inbox_and_leaves_what_was_sent(make_network: MakeNetwork) -> None:
    network = make_network()
    a, b = network.transport(0), network.transport(1)
    a.push(1, [b"unread"])
    b.push(0, [b"last words"])
    b.close()
    b.close()
    assert network.waiting(0, 1) == 0
    assert a.pull(1, 1, 5.0) == [b"last words"]
    with pytest.raises(ProtocolAbort):
        b.poll(0)
    with pytest.raises(ProtocolAbort):
        b.push(0, [b"more"])


def test_a_closed_party_is_silent(make_network: MakeNetwork) -> None:
    network = make_network()
    a = network.transport(0)
    network.transport(1).close()
    with pytest.raises(ProtocolAbort) as abort:
        a.pull(1, 1, 0.2)
    assert abort.value.reason == "timeout"


def test_every_redis_list_expires(redis_url: str) -> None:
    network = Redis(2, redis_url)
    a, b = network.transport(0), network.transport(1)
    a.push(1, [b"1"])
    assert b.pull(0, 1, 5.0) == [b"1"]  # the list is empty: Redis forgets its expiry
    a.push(1, [b"2"])
    assert 0 < network.client.ttl(lists.key(0, 1, network.name)) <= lists.EXPIRE
    network.close()


def test_commands_are_packed_as_the_client_packs_them(redis_url: str) -> None:
    connection = lists.connect(redis_url).connection_pool.make_connection()
    frames = [b"", b"\r\n", bytearray(b"short"), memoryview(bytes(range(256)) * 300), b"x" * lists.LONG]
    commands: list[lists.Command] = [
        ("RPUSH", "mpc:0:1:name", *frames),
        ("EXPIRE", "mpc:0:1:name", 900),
        ("BLPOP", "mpc:1:0:name", 0.16666),
        ("LPOP", "mpc:1:0:name", 3),
        ("DEL",),
    ]
    for some in (commands, commands[1:2], [commands[0]] * 2):
        assert b"".join(lists.packed(some)) == b"".join(connection.pack_commands(some))


def test_a_long_frame_is_sent_from_where_it_lies() -> None:
    frame = memoryview(bytearray(lists.LONG + 1))
    assert any(piece is frame for piece in lists.packed([("RPUSH", "list", frame)]))


def test_a_slow_network_shows_a_frame_only_after_its_delay() -> None:
    network = Slow(2, seconds=60.0)
    a, b = network.transport(0), network.transport(1)
    a.push(1, [b"late"])
    assert b.poll(0) is None
    assert b.poll(0) is None
    assert network.waiting(0, 1) == 0  # it came, and is held back
    b.wait = 0  # type: ignore[attr-defined]
    a.push(1, [b"later"])
    assert b.pull(0, 2, 5.0) == [b"late", b"later"]


def test_a_round_over_redis_is_one_pipeline(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Redis(3, redis_url)
    a, b, c = (network.transport(p) for p in range(3))
    b.push(0, [b"b"])
    c.push(0, [b"c1", b"c2"])
    batches: list[list[str]] = []
    true_run = lists.RedisTransport._run

    def watched(self: lists.RedisTransport, commands: list[lists.Command]) -> list[object]:
        batches.append([str(command[0]) for command in commands])
        return true_run(self, commands)

    monkeypatch.setattr(lists.RedisTransport, "_run", watched)
    assert a.exchange({1: [b"x"], 2: [b"y"]}, {1: 1, 2: 2}, 5.0) == {1: [b"b"], 2: [b"c1", b"c2"]}
    assert batches == [["RPUSH", "EXPIRE", "RPUSH", "EXPIRE", "BLPOP", "BLPOP", "LPOP"]]
    network.close()


def test_the_client_never_retries_and_outwaits_its_own_blocks(redis_url: str) -> None:
    client = lists.connect(redis_url)
    settings = client.connection_pool.connection_kwargs
    assert settings["retry"].get_retries() == 0
    assert settings["socket_timeout"] > 2 * lists.BLOCK
    client.close()


def test_a_lost_reply_is_silence_and_nothing_is_sent_twice(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Redis(2, redis_url)
    a = network.transport(0)
    assert isinstance(a, lists.RedisTransport)
    assert a.poll(1) is None

    def lost(*_: object, **__: object) -> None:
        raise RedisTimeout("the reply never came")

    monkeypatch.setattr(a._connection, "read_response", lost)
    with pytest.raises(ProtocolAbort) as abort:
        a.push(1, [b"once"])
    assert abort.value.reason == "timeout"
    monkeypatch.undo()
    assert network.waiting(0, 1) == 1
    network.close()


def test_a_server_that_dies_is_silence_and_the_next_session_works() -> None:
    try:
        server = RedisServer().start()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    try:
        network = Redis(2, server.url)
        a, b = network.transport(0), network.transport(1)
        a.push(1, [b"lost with the server"])
        timer = threading.Timer(0.1, server.kill)
        timer.start()
        with pytest.raises(ProtocolAbort) as abort:
            b.pull(0, 2, 30.0)
        assert abort.value.reason == "timeout"
        timer.join()
        server.start()
        again = Redis(2, server.url)
        again.transport(0).push(1, [b"new"])
        assert again.transport(1).pull(0, 1, 5.0) == [b"new"]
        b.close()
        again.close()
    finally:
        server.close()


def test_a_server_that_evicts_is_refused(redis_url: str) -> None:
    class Evicting:
        def info(self, section: str) -> dict[str, object]:
            return {"maxmemory": 1 << 30, "maxmemory_policy": "allkeys-lru"}

    with pytest.raises(MpcError, match="noeviction"):
        lists.require_noeviction(Evicting())  # type: ignore[arg-type]
    lists.require_noeviction(lists.connect(redis_url))
