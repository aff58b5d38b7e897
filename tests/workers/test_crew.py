"""Rows of one attempt over several processes of each party: the same answer, all or nothing, each piece of work once."""

import json
import threading
from dataclasses import replace

import pytest

from analytics.query import cost
from mpcnode.errors import ProtocolAbort
from mpcnode.sealed import seal
from tests.workers.test_party import Four, template, world
from tests.workers.world import QUERY, World, codebook
from workers import crew as crew_module
from workers.crew import Desk

__all__ = ["template", "world"]  # fixtures, used by name

PROGRAM = "sum(age) by arm; count()"


class Many(Four):
    """Four parties, each with helpers in threads of their own."""

    def __init__(self, world, drivers=(3, 3, 3, 3), timeouts=(30.0, 30.0)):
        self.drivers = drivers
        self.words = []
        self.threads = []
        super().__init__(world, timeouts)

    def make(self, number, timeouts):
        party = super().make(number, timeouts)
        config = replace(party.config, drivers=self.drivers[number])
        return replace(party, config=config, summon=lambda *asked: self.summon(number, *asked))

    def summon(self, number, query, attempt, helpers):
        def one(block):
            self.words.append(self.parties[number].assist(query, attempt, block))

        for block in range(1, helpers + 1):
            self.threads.append(threading.Thread(target=one, args=(block,)))
            self.threads[-1].start()

    def ask(self, order, attempt=1, parties=range(4)):
        self.words.clear()
        outcomes = super().ask(order, attempt, parties)
        for thread in self.threads:
            thread.join()
        return outcomes


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(cost, "BLOCK_BYTES", 1)  # one word of rows: eight blocks


def released(world):
    return world.portal.reports[-1]["integers"]


def answered(outcomes):
    return outcomes == dict.fromkeys(range(4), "answered")


def exact(world, number=1, program=PROGRAM):
    return world.order(program, mode="exact", number=number)


def test_three_processes_a_party_give_the_answer_of_one(world, tmp_path):
    alone = Four(world)
    assert answered(alone.ask(exact(world)))
    integers = released(world)
    many = Many(world)
    assert answered(many.ask(exact(world, 2))) and released(world) == integers
    assert many.words == ["joined"] * 8


def test_a_noised_answer_pays_once_however_many_processes_took_part(world):
    many = Many(world)
    order = world.order("sum(age) by arm", micro_epsilon=1_000_000)
    assert answered(many.ask(order)) and many.balances(order) == [(0, 1_000_000)] * 4


def test_a_session_has_as_many_drivers_as_the_party_with_the_fewest(world):
    many = Many(world, drivers=(3, 2, 3, 3))
    assert answered(many.ask(exact(world))) and many.words == ["joined"] * 4
    many = Many(world, drivers=(3, 1, 3, 3))
    assert answered(many.ask(exact(world, 2))) and many.words == []


def test_a_small_table_needs_no_helper(world, monkeypatch):
    monkeypatch.setattr(cost, "BLOCK_BYTES", 128 << 20)
    many = Many(world)
    assert answered(many.ask(exact(world))) and many.words == []


def test_a_helper_that_fails_ends_the_attempt_unpaid_at_every_party(world, monkeypatch):
    real = crew_module._driven

    def driven(task, desk, store, cancelled):
        if desk.config.party == 2:
            raise ProtocolAbort("mismatch", "a wrong tag")
        return real(task, desk, store, cancelled)

    monkeypatch.setattr(crew_module, "_driven", driven)
    many = Many(world, timeouts=(5.0, 2.0))
    order = world.order("sum(age) by arm", micro_epsilon=1_000_000)
    outcomes = many.ask(order)
    assert "mismatch" in outcomes.values() and not set(outcomes.values()) & {"answered"}
    assert many.balances(order) == [(0, 0)] * 4 and "joined" not in many.words[-1:]


def test_helpers_that_never_come_end_the_attempt(world, monkeypatch):
    monkeypatch.setattr(crew_module, "JOIN_WAIT", 1.0)
    many = Many(world, timeouts=(5.0, 2.0))
    many.parties[0] = replace(many.parties[0], summon=lambda *asked: None)
    outcomes = many.ask(exact(world))
    assert "answered" not in outcomes.values()


def test_helpers_stop_when_their_lead_gives_up(world, monkeypatch):
    def broken(self, totals):
        raise ProtocolAbort("cancelled")

    monkeypatch.setattr(crew_module.Crew, "join", broken)
    many = Many(world, timeouts=(5.0, 30.0))
    assert set(many.ask(exact(world)).values()) <= {"cancelled", "peer_aborted"}
    assert not any(thread.is_alive() for thread in many.threads)


def desk_of(world, number=0):
    party = world.parties[number]
    return Desk(config=party.config, keys=party.keys, connect=world.connect(number), query=QUERY, attempt=1)


def test_work_serves_once_and_not_after_its_time(world, monkeypatch):
    laid = []
    real = Desk.push

    def push(self, block, kind, plain):
        if kind == "work":
            laid.append((self, block, plain))
        real(self, block, kind, plain)

    monkeypatch.setattr(Desk, "push", push)
    many = Many(world)
    assert answered(many.ask(exact(world)))
    world.networks.clear()
    for desk, block, plain in laid:
        real(desk, block, "work", plain)
    words = [many.parties[d.config.party].assist(QUERY, 1, b) for d, b, _ in laid]
    assert words == ["no_work"] * 8
    desk, block, plain = laid[0]
    world.networks.clear()
    late = json.dumps({**json.loads(plain), "until": 1}).encode()
    (desk.config.folder / "crew" / f"{QUERY}-1-{block}").unlink()
    real(desk, block, "work", late)
    assert many.parties[desk.config.party].assist(QUERY, 1, block) == "no_work"


@pytest.mark.parametrize("frame", [b"", b"garbage", None])
def test_work_that_the_party_did_not_seal_is_left_alone(world, monkeypatch, frame):
    monkeypatch.setattr(crew_module, "SUMMONS_WAIT", 1.0)
    desk = desk_of(world)
    forged = seal(bytes(32), b"{}", b"") if frame is None else frame
    world.network(desk._name(1, "work")).transport(0).push(0, [forged])
    assert Many(world).parties[0].assist(QUERY, 1, 1) == "no_work"


def test_a_task_without_work_ends(world, monkeypatch):
    monkeypatch.setattr(crew_module, "SUMMONS_WAIT", 0.1)
    assert Many(world).parties[0].assist(QUERY, 1, 1) == "no_work"


def test_nothing_of_the_keys_is_readable_on_the_lists(world, monkeypatch):
    seen = []
    real = crew_module.seal

    def sealed(key, plain, about):
        out = real(key, plain, about)
        seen.append((plain, out))
        return out

    monkeypatch.setattr(crew_module, "seal", sealed)
    assert answered(Many(world).ask(exact(world)))
    for plain, out in seen:
        if b'"keys"' in plain:
            for _, _, key in json.loads(plain)["keys"]["links"]:
                assert key.encode() not in out and bytes.fromhex(key) not in out


def test_views_that_several_processes_made_are_kept_and_read(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "BLOCK_BYTES", 18 << 20)
    world = World(tmp_path, minimum_cohort=1)
    world.give(world.prepare(codebook(capacity=40_000, policy={"minimum_cohort": 1})))
    many = Many(world)
    assert answered(many.ask(exact(world))) and many.words
    integers = released(world)
    stored = [sorted(p.name for p in party.config.store.rglob("*.view")) for party in many.parties]
    assert len(stored[0]) == 1 and stored == [stored[0]] * 4
    assert answered(many.ask(exact(world, 2))) and released(world) == integers
    for party in many.parties:
        for path in party.config.store.rglob("*.view"):
            path.unlink()
    assert answered(Four(world).ask(exact(world, 3))) and released(world) == integers
