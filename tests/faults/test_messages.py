"""One message of an attempt is lost, doubled, swapped, changed, sent back or foreign: no answer is ever wrong.

Four whole parties over memory, one fault on one frame of one link a run, at any place from the first hello to the last
opening. The answer is exact, so a wrong one would show.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tests.cheating import chaos
from tests.redis_server import redis_url  # noqa: F401  (a fixture)
from tests.workers.test_party import Four, codes
from tests.workers.world import QUERY, World, codebook
from workers.joint import Joint
from workers.ledger import Ledger
from workers.lists import Lists
from workers.mandate import examine

CODES = {"timeout", "mismatch", "disagreement", "peer_aborted", "cancelled"}
SEED = 20260


class Wired(Four):
    """Four parties whose frames pass a hook: {party: hook}."""

    def __init__(self, world, timeouts, hooks):
        super().__init__(world, timeouts)
        self.parties = [replace(party, connect=self.wired(party, hooks)) for party in self.parties]

    def wired(self, party, hooks):
        number = party.config.party

        def connect(name, cancelled):
            plain = party.connect(name, cancelled)
            if name.endswith(("-abort", "-abandon")) or number not in hooks:
                return plain
            return chaos.ChaosTransport(plain, hooks[number], self.world.network(name).post)

        return connect


class Table:
    """A world with one table, asked again and again; every question is a new order."""

    def __init__(self, folder):
        self.world = World(folder, minimum_cohort=1)
        self.world.give(self.world.prepare(codebook(policy={"minimum_cohort": 1})))
        self.truth = [[1, int((codes(self.world)["age"] + 18 >= 40).sum())]]
        self.asked = 0

    def ask(self, hooks, timeouts=(5.0, 0.4)):
        """(outcomes, the integers of each result, the ledgers' debits)."""
        self.asked += 1
        self.world.networks.clear()
        order = self.world.order("count() where age >= 40", mode="exact", number=self.asked)
        before = len(self.world.portal.reports)
        outcomes = Wired(self.world, timeouts, hooks).ask(order)
        integers = [b["integers"] for b in self.world.portal.reports[before:] if "integers" in b]
        spent = [p.ledger.spent(nonce=order.nonce, attempt=1) for p in self.world.parties]
        return outcomes, integers, spent


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return Table(tmp_path_factory.mktemp("messages"))


@pytest.fixture(scope="module")
def honest(table):
    """The frames of an honest run of another session, by link."""
    recorders = {p: chaos.Recorder() for p in range(4)}
    outcomes, integers, _ = table.ask(recorders, timeouts=(30.0, 30.0))
    assert set(outcomes.values()) == {"answered"} and integers == [table.truth] * 4
    return {(a, b): recorders[a].link(a, b) for a in range(4) for b in range(4) if a != b}


def fault(kind, frm, to, index, honest, rng):
    """The hook of one fault on frame `index` of a link."""
    hook = {
        "lost": lambda: chaos.drop,
        "duplicated": lambda: chaos.duplicate,
        "reordered": chaos.Swap,
        "changed": lambda: chaos.flip(rng.randrange(8 * len(honest[frm, to][index]))),
        "sent back": lambda: chaos.reflect,
        "foreign": lambda: chaos.inject(honest[frm, to][index]),
    }[kind]()
    return chaos.first(hook, to=to, index=index, count=2 if kind == "reordered" else 1)


KINDS = ("lost", "duplicated", "reordered", "changed", "sent back", "foreign")


def check(table, honest, kind, frm, to, index, rng):
    hooks = {frm: fault(kind, frm, to, index, honest, rng)}
    outcomes, integers, spent = table.ask(hooks)
    place = (kind, frm, to, index, outcomes)
    answers = [party for party, said in outcomes.items() if said == "answered"]
    assert set(outcomes.values()) <= CODES | {"answered"}, place
    assert all(numbers == table.truth for numbers in integers), place
    assert len(integers) == len(answers) and len(answers) in (0, 3, 4), place
    assert all(spent[party] for party in answers), place
    return bool(answers)


def cases(honest, kinds, rng, count):
    every = [
        (kind, *link, index)
        for kind in kinds
        for link, frames in honest.items()
        for index in range(len(frames))
    ]
    return rng.sample(every, min(count, len(every)))


@pytest.mark.parametrize("count", [20, pytest.param(10**6, marks=pytest.mark.nightly)])
def test_one_wrong_message_at_any_place_gives_the_right_answer_or_none(table, honest, count, figure):
    """Numbers 5, 6, 7 and 9."""
    rng = random.Random(SEED)
    chosen = cases(honest, KINDS, rng, count)
    answered = sum(check(table, honest, *case, rng) for case in chosen)
    figure(
        f"seed {SEED}: {len(chosen)} cases of {sum(map(len, honest.values()))} frames, {answered} answered"
    )
    assert answered < len(chosen) / 2  # only what comes with the openings is outvoted


@pytest.mark.parametrize("count", [8, pytest.param(1000, marks=pytest.mark.nightly)])
def test_one_changed_bit_anywhere_ends_the_attempt_or_is_outvoted(table, honest, count):
    """Number 8: random frames of the whole attempt, random bits; before the release nothing is answered."""
    rng = random.Random(SEED + 1)
    # The last frames of a link are its READY and its opening, which the others' copies decide.
    rounds = [
        ("changed", *link, index) for link, frames in honest.items() for index in range(len(frames) - 2)
    ]
    for _ in range(count):
        case = rng.choice(rounds)
        assert not check(table, honest, *case, rng), case
    for link, frames in honest.items() if count > 100 else [next(iter(honest.items()))]:
        check(table, honest, "changed", *link, len(frames) - 1, rng)


@pytest.mark.parametrize("seconds", [0.01, pytest.param(2.0, marks=pytest.mark.nightly)])
def test_a_slow_party_is_waited_for_within_the_time_out(table, seconds):
    """Number 12: every message of party 1 takes longer."""
    outcomes, integers, _ = table.ask({1: chaos.Slow(seconds)}, timeouts=(60.0, 15.0))
    assert set(outcomes.values()) == {"answered"} and integers == [table.truth] * 4


def test_a_party_slower_than_the_time_out_ends_its_attempt_and_keeps_no_other_waiting(table):
    """Number 12: by policy it is a time-out, and the next question is answered."""
    outcomes, integers, spent = table.ask({1: chaos.Slow(0.25)}, timeouts=(0.2, 0.2))
    assert "timeout" in outcomes.values() and set(outcomes.values()) <= CODES
    assert integers == [] and spent == [False] * 4
    outcomes, integers, _ = table.ask({}, timeouts=(30.0, 30.0))
    assert set(outcomes.values()) == {"answered"} and integers == [table.truth] * 4


@pytest.mark.parametrize("jobs", [10, pytest.param(50, marks=pytest.mark.nightly)])
def test_sessions_side_by_side_over_one_redis_answer_each_its_own_question(tmp_path, redis_url, jobs):  # noqa: F811
    """Number 14: eight at a time among the same four parties, every answer compared with the rows.

    A party itself takes one attempt after another, and its ledger says so in every hello: here each session has
    ledgers of its own.
    """
    world = World(tmp_path, minimum_cohort=1)
    world.give(world.prepare(codebook(policy={"minimum_cohort": 1})))
    truth = codes(world)
    ages, arms = truth["age"] + 18, truth["arm"]
    configs = [
        replace(p.config, redis_url=redis_url, join_timeout=60.0, round_timeout=60.0) for p in world.parties
    ]
    lists = [Lists(config) for config in configs]
    sessions = []

    def one(party, order):
        own = world.parties[party]
        ledger = Ledger(tmp_path / f"{order.nonce}-{party}.sqlite3")
        mandate = examine(
            world.envelope(order), query=QUERY, attempt=1, config=configs[party], store=own.store,
            ledger=ledger,
        )  # fmt: skip
        joint = Joint(
            mandate=mandate, config=configs[party], keys=own.keys, store=own.store, ledger=ledger,
            connect=lists[party].connect,
        )  # fmt: skip
        answer = joint.compute()
        joint.sweep()
        assert ledger.spent(**mandate.place)
        sessions.append(answer.session)
        return answer.integers

    def job(number):
        age = 20 + number
        program = f"count() where age >= {age}; count() where age < {age} by arm"
        order = world.order(program, mode="exact", number=number + 1)
        with ThreadPoolExecutor(4) as four:
            answers = list(four.map(lambda party: one(party, order), range(4)))
        older, younger = ages >= age, ages < age
        counts = [int(older.sum()), *(int((younger & (arms == level)).sum()) for level in range(3))]
        # In exact mode a cell is whether it may be shown, then its number.
        expected = [[1, counts[0]], [n for count in counts[1:] for n in (1, count)]]
        assert answers == [expected] * 4, number

    try:
        with ThreadPoolExecutor(8) as eight:
            list(eight.map(job, range(jobs)))
        assert len(sessions) == 4 * jobs and len(set(sessions)) == jobs
    finally:
        for each in lists:
            each.close()
    assert np.unique(ages).size > 10  # else the questions would be one
