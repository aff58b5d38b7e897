"""Four parties play one attempt after another in threads: answers, refusals, deaths, and who pays."""

import inspect
import json
import re
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.workers.world import QUERY, ROWS, World, codebook
from workers import joint as joint_module
from workers import party as party_module
from workers.alarm import Place, give_up
from workers.errors import LedgerError
from workers.ledger import Ledger
from workers.party import Party, close_left_open, post_answers, turn
from workers.portal_client import Portal


class Killed(BaseException):
    """What a kill looks like from inside: nothing catches it."""


def tidy(party):
    """What the first process after a killed one does."""
    close_left_open(party.config, party.keys, party.ledger, party.connect)


def ended(outcomes, code):
    """Whether all gave up, with this code or because another had it first."""
    return code in outcomes.values() and set(outcomes.values()) <= {code, "peer_aborted"}


class Four:
    """The four parties of a world at work over memory, each in its own thread."""

    def __init__(self, world, timeouts=(30.0, 30.0)):
        self.world = world
        self.lock = threading.Lock()
        self.cancelled = set()
        self.outcomes = {}
        self.parties = [self.make(number, timeouts) for number in range(4)]

    def make(self, number, timeouts):
        own = self.world.parties[number]
        config = replace(own.config, join_timeout=timeouts[0], round_timeout=timeouts[1])
        portal = Portal(
            config, own.keys, transport=self.world.portal.transport, sleep=lambda _: None, patience=0
        )
        return Party(
            config=config,
            keys=own.keys,
            store=own.store,
            ledger=own.ledger,
            portal=portal,
            connect=self.world.connect(number),
            cancelled=lambda query, attempt: (query, attempt) in self.cancelled,
        )

    def play(self, attempt=1, parties=range(4)):
        """Run an attempt; {party: outcome}. A killed party has none."""
        outcomes = {}

        def one(number):
            try:
                outcomes[number] = self.parties[number].run(QUERY, attempt)
            except Killed:
                for name, network in list(self.world.networks.items()):
                    if "-a" not in name:  # those of ABORT and ABANDON stay
                        network.transport(number).close()

        threads = [threading.Thread(target=one, args=(number,)) for number in parties]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes

    def ask(self, order, attempt=1, parties=range(4)):
        self.world.portal.envelopes[QUERY] = self.world.envelope(order, attempt=attempt)
        return self.play(attempt, parties)

    def balances(self, order):
        found = [p.ledger.balance(order.datasets[0].id) for p in self.parties]
        return [(b.reserved, b.spent) if b else (0, 0) for b in found]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("template"), minimum_cohort=1)
    world.give(world.prepare(codebook(policy={"minimum_cohort": 1})))
    return world


@pytest.fixture
def world(template, tmp_path):
    return template.copy(tmp_path)


@pytest.fixture
def four(world):
    return Four(world)


def codes(world):
    """The true codes of the world's table: {column: codes of the rows}."""
    dataset = next(iter(world.datasets.values()))
    parties = [p.store.columns(dataset.id, ["age", "arm"]) for p in world.parties]
    found = {}
    for name in ("age", "arm"):
        first = parties[3][name]  # components 0, 1, 2
        whole = first[0] ^ first[1] ^ first[2] ^ parties[0][name][2]
        bits = np.unpackbits(whole.astype("<u8").view(np.uint8), axis=1, bitorder="little")[:, :ROWS]
        found[name] = sum(bits[k].astype(int) << k for k in range(len(bits) - 1))
    return found


def test_four_parties_answer_a_noised_question_alike_and_each_pays_once(four, world):
    order = world.order("count()", micro_epsilon=4_000_000)
    assert four.ask(order) == dict.fromkeys(range(4), "answered")
    results = world.portal.said("result")
    assert len(results) == 4 and len({(r["session"], r["result_hash"]) for r in results}) == 1
    assert {r["plan_hash"] for r in results} == {order.plan_hash}
    integers = [body["integers"] for body in world.portal.reports if "integers" in body]
    assert integers[1:] == integers[:-1] and abs(integers[0][0][0] - ROWS) < 30
    assert four.balances(order) == [(0, 4_000_000)] * 4
    assert len(world.portal.said("started")) == 4 and world.portal.said("abort") == []


def test_an_exact_answer_is_the_truth_and_costs_nothing(four, world):
    order = world.order("count() by arm; sum(age)", mode="exact")
    assert set(four.ask(order).values()) == {"answered"}
    truth = codes(world)
    integers = world.portal.reports[-1]["integers"]
    counts = [int((truth["arm"] == level).sum()) for level in range(3)]
    assert integers[0] == [number for count in counts for number in (1, count)]
    centred = int((truth["age"] - 32).sum())
    assert integers[1][0] == 1 and centred in integers[1]
    assert four.balances(order) == [(0, 0)] * 4
    assert all(p.ledger.balance(order.datasets[0].id).mode == "exact" for p in four.parties)


def test_a_task_told_five_times_runs_once_and_says_nothing_more(four, world):
    order = world.order(micro_epsilon=1000)
    four.ask(order)
    said = len(world.portal.reports)
    for _ in range(4):
        assert four.play() == dict.fromkeys(range(4), "attempt_seen")
    sessions = [n for n in world.networks if "-a" not in n]
    assert len(world.portal.reports) == said and sessions == [f"{order.nonce}-1"]
    assert four.balances(order) == [(0, 1000)] * 4


def test_a_task_for_another_attempt_than_the_running_one_is_left_alone(four, world):
    world.portal.envelopes[QUERY] = world.envelope(world.order(), attempt=2)
    assert four.play(attempt=1) == dict.fromkeys(range(4), "stale")
    world.portal.envelopes.clear()
    assert four.play(attempt=2) == dict.fromkeys(range(4), "no_order")
    assert world.portal.reports == []


def test_a_refusal_is_reported_with_its_code_and_the_others_give_up_at_once_unpaid(world):
    four = Four(world, timeouts=(60.0, 60.0))
    strict = four.parties[2]
    floors = replace(strict.config.floors, minimum_cohort=50)
    four.parties[2] = replace(strict, config=replace(strict.config, floors=floors))
    order = world.order()
    outcomes = four.ask(order)
    # In memory who left is known to be silent, so the second to give up may count as silence to the third.
    assert outcomes.pop(2) == "floor_cohort"
    assert "peer_aborted" in outcomes.values() and set(outcomes.values()) <= {"peer_aborted", "timeout"}
    (refusal,) = world.portal.said("refusal")
    assert (refusal["party"], refusal["code"], refusal["order_hash"]) == (2, "floor_cohort", order.hash)
    aborts = world.portal.said("abort")
    assert [a["ready"] for a in aborts] == [False] * 3
    assert four.balances(order) == [(0, 0)] * 4


def test_after_a_party_was_away_the_next_attempt_succeeds(world):
    four = Four(world, timeouts=(1.0, 1.0))
    order = world.order(micro_epsilon=1000)
    assert ended(four.ask(order, parties=[0, 1, 3]), "timeout")
    four = Four(world)
    assert four.ask(order, attempt=2) == dict.fromkeys(range(4), "answered")
    assert four.balances(order) == [(0, 1000)] * 4
    assert four.ask(order, attempt=3) == dict.fromkeys(range(4), "too_many_attempts")


def test_a_party_that_comes_when_the_others_have_given_up_does_not_wait_for_them(world):
    four = Four(world, timeouts=(0.5, 0.5))
    order = world.order(micro_epsilon=1000)
    assert ended(four.ask(order, parties=[0, 1, 3]), "timeout")
    late = four.parties[2]
    del world.networks[f"{order.nonce}-1"]  # in memory, who left is known to be silent: not so over Redis
    four.parties[2] = replace(late, config=replace(late.config, join_timeout=60.0, round_timeout=60.0))
    assert four.ask(order, parties=[2]) == {2: "peer_aborted"}
    assert four.balances(order) == [(0, 0)] * 4


def test_a_forged_abort_stops_nobody(four, world):
    order = world.order(micro_epsilon=1000)
    for victim in range(4):
        for liar in set(range(4)) - {victim}:
            world.network(f"{order.nonce}-1-abort").post(liar, victim, [bytes(64)])
    assert set(four.ask(order).values()) == {"answered"}


def test_an_abort_that_comes_after_all_are_ready_keeps_nobody_from_the_answer(four, world, monkeypatch):
    """Party 3 says ABORT once its READY is out: whoever has the READYs of all opens all the same."""
    real = joint_module.release._Door.await_everyone

    def await_everyone(self):
        if self.session.party == 3:
            liar = four.parties[3]
            place = Place(nonce=order.nonce, attempt=1, order_hash=order.hash)
            give_up(place, liar.config, liar.keys, liar.connect)
        real(self)

    monkeypatch.setattr(joint_module.release._Door, "await_everyone", await_everyone)
    order = world.order(micro_epsilon=1000)
    assert set(four.ask(order).values()) == {"answered"}


def test_a_cancelled_query_ends_at_once_and_unpaid(four, world):
    four.cancelled.add((QUERY, 1))
    order = world.order()
    assert four.ask(order) == dict.fromkeys(range(4), "cancelled")
    assert four.balances(order) == [(0, 0)] * 4
    assert {a["code"] for a in world.portal.said("abort")} == {"cancelled"}


def test_a_party_with_another_stored_component_stops_everybody_before_round_0(four, world, monkeypatch):
    liar = four.parties[1].store
    real = liar.component_digests
    monkeypatch.setattr(liar, "component_digests", lambda *place: real(*place) + b"!")
    order = world.order()
    outcomes = four.ask(order)
    assert ended(outcomes, "mismatch")
    assert four.balances(order) == [(0, 0)] * 4


def test_a_party_with_another_program_is_refused_in_the_handshake(four, world, monkeypatch):
    versions = dict.fromkeys(range(4), "0.1.0+same") | {2: "0.1.0+other"}
    real = joint_module.Joint._terms

    def terms(self, plan):
        return replace(real(self, plan), code_version=versions[self.config.party])

    monkeypatch.setattr(joint_module.Joint, "_terms", terms)
    assert ended(four.ask(world.order()), "version")


def failing_spend(number, error):
    real = Ledger.spend

    def spend(self, **place):
        if f"/p{number}/" in str(self._path):
            raise error
        real(self, **place)

    return spend


def test_when_every_party_signs_abandon_the_spent_debits_return(world, monkeypatch):
    """Party 2 cannot spend: the others have sent READY, nobody opens, all four abandon."""
    four = Four(world, timeouts=(10.0, 1.0))
    monkeypatch.setattr(Ledger, "spend", failing_spend(2, LedgerError("no space")))
    order = world.order()
    outcomes = four.ask(order)
    assert outcomes[2] == "ledger_error" and {outcomes[p] for p in (0, 1, 3)} == {"timeout"}
    assert [a["ready"] for a in sorted(world.portal.said("abort"), key=lambda a: a["party"])] == [
        True, True, False, True,
    ]  # fmt: skip
    assert four.balances(order) == [(0, 0)] * 4
    assert all(p.ledger.attempt(order.nonce, 1)["abandoned"] for p in four.parties)


def test_without_the_abandon_of_one_party_what_was_spent_stays_spent(world, monkeypatch):
    """Party 2 dies instead: nobody knows what it saw."""
    four = Four(world, timeouts=(10.0, 1.0))
    monkeypatch.setattr(joint_module, "ABANDON_WAIT", 0.3)
    monkeypatch.setattr(Ledger, "spend", failing_spend(2, Killed()))
    order = world.order(micro_epsilon=1000)
    assert four.ask(order) == dict.fromkeys([0, 1, 3], "timeout")
    assert four.balances(order) == [(0, 1000), (0, 1000), (1000, 0), (0, 1000)]
    tidy(four.parties[2])
    assert four.balances(order)[2] == (0, 0)


def test_a_forged_abandon_returns_nothing(world, monkeypatch):
    four = Four(world, timeouts=(10.0, 1.0))
    monkeypatch.setattr(joint_module, "ABANDON_WAIT", 0.3)
    monkeypatch.setattr(Ledger, "spend", failing_spend(2, Killed()))
    order = world.order(micro_epsilon=1000)
    for victim in (0, 1, 3):
        world.network(f"{order.nonce}-1-abandon").post(2, victim, [bytes(64)])
    four.ask(order)
    assert [four.balances(order)[p] for p in (0, 1, 3)] == [(0, 1000)] * 3


def test_a_party_that_dies_after_its_opening_keeps_nobody_from_the_answer_and_never_abandons(
    four, world, monkeypatch
):
    real = party_module.Party._answer

    def answer(self, mandate, found):
        if self.config.party == 1:
            raise Killed
        real(self, mandate, found)

    monkeypatch.setattr(party_module.Party, "_answer", answer)
    order = world.order(micro_epsilon=1000)
    assert four.ask(order) == dict.fromkeys([0, 2, 3], "answered")
    assert len(world.portal.said("result")) == 3
    dead = four.parties[1]
    assert dead.ledger.attempt(order.nonce, 1)["opened"] == 1
    tidy(dead)
    post_answers(dead.ledger, dead.portal)
    (abort,) = world.portal.said("abort")
    assert (abort["party"], abort["code"], abort["ready"]) == (1, "crashed", True)
    assert four.balances(order) == [(0, 1000)] * 4
    with pytest.raises(LedgerError, match="never will"):
        dead.ledger.abandon(nonce=order.nonce, attempt=1)


def before(place, name, number):
    """Kill party `number` when it comes to `name`."""
    real = getattr(place, name)

    def called(*args, **how):
        who = how.get("party", getattr(args[0], "party", None) if args else None)
        if isinstance(args[0] if args else None, joint_module.release._Door):
            who = args[0].session.party
        if isinstance(args[0] if args else None, Ledger):
            who = int(args[0]._path.parent.name[1:])
        if who == number:
            for coroutine in filter(inspect.iscoroutine, args):
                coroutine.close()
            raise Killed
        return real(*args, **how)

    return place, name, called


STAGES = {
    "handshake": (joint_module.handshake, "handshake"),
    "rounds": (joint_module, "run"),
    "spend": (Ledger, "spend"),
    "ready": (joint_module.release._Door, "await_everyone"),
    "opening": (Ledger, "opening"),
    "collecting": (joint_module.release._Door, "collect"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_party_killed_at_any_stage_costs_an_attempt_and_never_a_second_answer(world, monkeypatch, stage):
    monkeypatch.setattr(joint_module, "ABANDON_WAIT", 0.1)
    four = Four(world, timeouts=(10.0, 1.0))
    dead, others = four.parties[1], (0, 2, 3)
    with monkeypatch.context() as patch:
        patch.setattr(*before(*STAGES[stage], 1))
        order = world.order(micro_epsilon=1000)
        outcomes = four.ask(order)
    spent = stage in ("ready", "opening", "collecting")
    assert dead.ledger.spent(nonce=order.nonce, attempt=1) is spent
    tidy(dead)
    post_answers(dead.ledger, dead.portal)
    (crashed,) = world.portal.said("abort", 1)
    assert crashed["code"] == "crashed" and crashed["ready"] is spent
    assert four.balances(order)[1] == (0, 1000 if spent else 0)
    answered = spent  # its READY had left: the others open without it, and so does nobody twice
    assert set(outcomes.values()) == {"answered"} if answered else ended(outcomes, "timeout")
    for other in others:
        ready = four.parties[other].ledger.spent(nonce=order.nonce, attempt=1)
        assert ready is (stage not in ("handshake", "rounds"))
    if not answered:
        assert set(Four(world).ask(order, attempt=2).values()) == {"answered"}
    results = world.portal.said("result")
    assert len(results) == (3 if answered else 4) and len({r["session"] for r in results}) == 1


def test_the_debit_is_on_disk_before_the_ready_leaves(four, world, monkeypatch):
    seen = []
    real = joint_module.release._Door.commit

    class Spy:
        def __init__(self, channel, ledger):
            self.channel, self.ledger = channel, ledger

        def send(self, peer, payload, label):
            seen.append((label, self.ledger.spent(nonce=order.nonce, attempt=1)))
            self.channel.send(peer, payload, label)

        def __getattr__(self, name):
            return getattr(self.channel, name)

    def commit(self):
        ledger = four.parties[self.session.party].ledger
        self.channel = Spy(self.channel, ledger)
        real(self)

    monkeypatch.setattr(joint_module.release._Door, "commit", commit)
    order = world.order()
    four.ask(order)
    assert seen.count(("ready", True)) == 12 and all(spent for _, spent in seen)


def test_a_party_whose_ledger_was_set_back_is_refused_by_everybody(four, world, tmp_path):
    first = world.order(micro_epsilon=1000, number=1)
    shutil.copy(four.parties[1].config.database, tmp_path / "snapshot")
    assert set(four.ask(first).values()) == {"answered"}
    restored = tmp_path / "restored.sqlite3"
    shutil.copy(tmp_path / "snapshot", restored)
    four.parties[1] = replace(four.parties[1], ledger=Ledger(restored))
    second = world.order(micro_epsilon=1000, number=2)
    assert ended(four.ask(second), "rollback")


def test_a_withdrawn_dataset_is_never_computed_on_again(four, world):
    order = world.order()
    four.parties[3].store.destroy(order.datasets[0].id)
    four.ask(order, parties=[3])
    (refusal,) = world.portal.said("refusal")
    assert refusal["code"] == "unknown_dataset"


def test_a_report_that_the_portal_could_not_take_is_posted_later(four, world, monkeypatch):
    order = world.order()
    four.world.portal.envelopes[QUERY] = world.envelope(order)
    real = party_module.Party._answer

    def answer(self, mandate, found):
        with four.lock:
            world.portal.down = 1
            real(self, mandate, found)
            world.portal.down = 0

    monkeypatch.setattr(party_module.Party, "_answer", answer)
    assert set(four.play().values()) == {"answered"}
    assert world.portal.said("result") == []
    for party in four.parties:
        post_answers(party.ledger, party.portal)
        post_answers(party.ledger, party.portal)
    assert len(world.portal.said("result")) == 4
    assert all(json.loads(p.ledger.attempt(order.nonce, 1)["answer"])["beside"] for p in four.parties)


def test_what_an_unexpected_error_says_reaches_neither_log_nor_portal(four, world, monkeypatch, caplog):
    def broken(*_, **__):
        raise ValueError("patient Zoltan is 83 years old")

    monkeypatch.setattr(joint_module.execute, "execute", broken)
    caplog.set_level("DEBUG")
    order = world.order()
    assert ended(four.ask(order), "internal_error")
    assert "Zoltan" not in caplog.text and "Zoltan" not in json.dumps(world.portal.reports)
    assert "ValueError at" in caplog.text and QUERY in caplog.text
    assert four.balances(order) == [(0, 0)] * 4


def test_logs_name_query_and_attempt_and_no_released_number(four, world, caplog):
    caplog.set_level("DEBUG")
    order = world.order("count()", mode="exact")
    four.ask(order)
    assert QUERY in caplog.text and not re.search(rf"(?<![\w.:]){ROWS}(?![\w.:])", caplog.text)


def test_one_attempt_at_a_time_over_all_processes_of_a_party(four, world, tmp_path):
    """The lock is between processes; a second one is simulated by a child that holds it."""
    import subprocess
    import sys

    config = four.parties[0].config
    program = (
        "import fcntl, os, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(config.folder / "turn.lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "held\n"
    with turn(config, 0.0) as mine:
        assert not mine
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    with turn(config, 1.0) as mine:
        assert mine
