"""A party says that it is alive, tidies up after a killed child, and never forks in the middle of that."""

import os
import threading
import time
from contextlib import nullcontext

import pytest

from tests.workers.full_disk import fill, small_disk
from tests.workers.world import World
from workers import heartbeat
from workers.alarm import Alarm, Place
from workers.errors import AttemptRefused, LedgerError
from workers.health import Health
from workers.ledger import Charge
from workers.party import turn
from workers.portal_client import Portal
from workers.version import code_version


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def portal(world, party=1):
    own = world.parties[party]
    return Portal(own.config, own.keys, transport=world.portal.transport, sleep=lambda _: None, patience=0)


def beat(world, party=1):
    own = world.parties[party]
    health = Health(own.config, own.keys)
    heartbeat.beat(own.config, own.keys, own.ledger, portal(world, party), world.connect(party), health)


def test_a_beat_states_program_ledger_and_whether_an_attempt_runs(world):
    beat(world)
    (said,) = world.portal.said("heartbeat")
    length, head = world.parties[1].ledger.head()
    assert said["ledger"] == {"length": length, "head": head} and said["busy"] is False
    assert said["code_version"] == code_version() and len(said["code_version"]) <= 64


def test_a_beat_on_a_full_disk_says_so_instead_of_nothing(tmp_path):
    with small_disk(tmp_path / "disk") as place:
        world = World(place)
        own = world.parties[1]
        health = Health(own.config, own.keys)
        beats = portal(world), world.connect(1), health
        heartbeat.beat(own.config, own.keys, own.ledger, *beats)
        fill(place)
        with pytest.raises(LedgerError):
            heartbeat.beat(own.config, own.keys, own.ledger, *beats)
        first, second = world.portal.said("heartbeat")
        assert first["health"]["store"]["writable"] is True
        assert second["health"]["store"]["writable"] is False and second["ledger"] == first["ledger"]


def open_attempt(world):
    world.parties[1].ledger.reserve(
        nonce="0" * 32, attempt=1, query="q", order_hash="1" * 64, mode="dp",
        charges=[Charge(dataset="d", micro_epsilon=1, cap=10)],
    )  # fmt: skip


def test_a_beat_closes_and_reports_what_a_killed_child_left_open(world):
    open_attempt(world)
    beat(world)
    (said,) = world.portal.said("abort")
    assert (said["query"], said["code"], said["ready"]) == ("q", "crashed", False)
    place = Place(nonce="0" * 32, attempt=1, order_hash="1" * 64)
    for peer in (0, 2, 3):
        alarm = Alarm(
            place=place,
            config=world.parties[peer].config,
            keys=world.parties[peer].keys,
            connect=world.connect(peer),
        )
        assert alarm.heard() and alarm.by == 1
    beat(world)
    assert len(world.portal.said("abort")) == 1
    assert world.parties[1].ledger.balance("d").reserved == 0


def test_a_beat_leaves_a_running_attempt_alone_and_says_busy(world, monkeypatch):
    open_attempt(world)
    monkeypatch.setattr(heartbeat, "turn", lambda config, wait: nullcontext(False))
    beat(world)
    assert world.portal.said("heartbeat")[0]["busy"] is True
    assert world.portal.said("abort") == [] and len(world.parties[1].ledger.left_open()) == 1


def test_the_thread_beats_until_it_is_stopped_and_survives_a_portal_that_is_down(world, monkeypatch):
    made = []
    real = Portal

    def make(config, keys, **how):
        made.append(how)
        return real(config, keys, transport=world.portal.transport, sleep=lambda _: None, patience=0)

    monkeypatch.setattr(heartbeat, "Portal", make)
    world.portal.down = 3
    thread = heartbeat.Heartbeat(world.parties[1].config, every=0.01)
    thread.start()
    deadline = time.monotonic() + 20
    while len(world.portal.said("heartbeat")) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    thread.stop()
    thread.join(5)
    assert not thread.is_alive() and len(world.portal.said("heartbeat")) >= 3 and len(made) == 1


def test_a_child_forked_while_the_heart_beats_can_use_the_ledger(world):
    """SQLite keeps its locks in memory: a child forked in the middle of a transaction would wait for ever."""
    own = world.parties[1]
    ended = threading.Event()
    count = iter(range(10**9))

    def pulse():
        while not ended.is_set():
            with heartbeat.no_fork:
                own.ledger.see_peer(2, next(count) + 1, "a" * 64)
            time.sleep(0.001)  # an unfair lock would starve who forks

    thread = threading.Thread(target=pulse)
    thread.start()
    try:
        for _ in range(8):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    own.ledger.see_peer(3, 1, "b" * 64)
                    code = 0
                finally:
                    os._exit(code)
            deadline = time.monotonic() + 10
            while (ended_child := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
                time.sleep(0.002)
            if ended_child == (0, 0):
                os.kill(child, 9)
                os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(ended_child[1]) == 0 and ended_child[0] == child
    finally:
        ended.set()
        thread.join()


def test_a_turn_is_not_inherited_by_a_forked_child(world):
    config = world.parties[1].config
    with turn(config, 0.0) as mine:
        assert mine
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with turn(config, 0.0) as also:
                    code = 0 if not also else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def answered(ledger, number, *, posted):
    place = {"nonce": f"{number:032x}", "attempt": 1}
    ledger.reserve(
        **place, query="q", order_hash="1" * 64, mode="dp",
        charges=[Charge(dataset="d", micro_epsilon=1, cap=100)],
    )  # fmt: skip
    ledger.close(**place, outcome="answered", answer="the released integers")
    if posted:
        ledger.mark_posted(**place)
    return place


def test_posted_reports_are_deleted_after_a_month_and_nonces_never(world, monkeypatch, caplog):
    caplog.set_level("INFO")
    own = world.parties[1]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 31 * 24 * 3600)
    old = answered(own.ledger, 1, posted=True)
    waiting = answered(own.ledger, 2, posted=False)
    monkeypatch.setattr(time, "time", lambda: now)
    young = answered(own.ledger, 3, posted=True)
    before = own.ledger.verify()
    heartbeat.tidy(own.config, own.ledger)
    assert own.ledger.attempt(**old)["answer"] == ""
    for place in (waiting, young):
        assert own.ledger.attempt(**place)["answer"] == "the released integers"
    assert own.ledger.verify() == before and "1 posted reports" in caplog.text
    with pytest.raises(AttemptRefused):
        answered(own.ledger, 1, posted=True)
