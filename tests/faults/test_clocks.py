"""One party's clock is wrong: orders are judged by it with a minute's slack, sessions do not look at it."""

from __future__ import annotations

import threading
import time

import pytest

from tests.workers.test_party import Four
from tests.workers.world import World, codebook
from workers.joint import Joint
from workers.party import Party

HOUR, DAY = 3600, 24 * 3600
real_time = time.time


class Clocks:
    """time.time() as each thread's party believes it is."""

    def __init__(self) -> None:
        self.own = threading.local()

    def __call__(self) -> float:
        return real_time() + getattr(self.own, "ahead", 0)


@pytest.fixture
def clocks(monkeypatch):
    made = Clocks()
    monkeypatch.setattr(time, "time", made)
    return made


def wrong_from(kind, name, clocks, ahead, monkeypatch):
    """Party 2's clock is `ahead` seconds ahead from this call on."""
    right = getattr(kind, name)

    def called(self, *args):
        clocks.own.ahead = ahead if self.config.party == 2 else 0
        return right(self, *args)

    monkeypatch.setattr(kind, name, called)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, minimum_cohort=1)
    world.give(world.prepare(codebook(policy={"minimum_cohort": 1, "expires": "2999-01-01"})))
    return world


@pytest.mark.parametrize(
    ("ahead", "code"),
    [
        (50, None),
        (-50, None),
        (HOUR, "order_expired"),
        (-HOUR, "not_yet_valid"),
        (30 * DAY, "order_expired"),
        (-30 * DAY, "not_yet_valid"),
    ],
)
def test_a_party_judges_an_order_by_its_own_clock_with_a_minutes_slack(
    world, clocks, ahead, code, monkeypatch
):
    """Number 13: party 2's clock is ahead."""
    wrong_from(Party, "run", clocks, ahead, monkeypatch)
    four = Four(world)
    now = int(real_time())
    order = world.order(micro_epsilon=1000, not_before=now, expires=now + HOUR // 2)
    outcomes = four.ask(order)
    if code is None:
        assert set(outcomes.values()) == {"answered"}
        return
    assert outcomes.pop(2) == code and "answered" not in outcomes.values()
    (refusal,) = world.portal.said("refusal")
    assert (refusal["party"], refusal["code"]) == (2, code)
    assert four.balances(order) == [(0, 0)] * 4


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 30 * DAY, -30 * DAY])
def test_a_session_does_not_depend_on_a_clock(world, clocks, ahead, monkeypatch):
    """Number 13: party 2's clock jumps when its order has passed, before the first message."""
    wrong_from(Joint, "compute", clocks, ahead, monkeypatch)
    four = Four(world)
    order = world.order(micro_epsilon=1000)
    assert set(four.ask(order).values()) == {"answered"}
    assert four.balances(order) == [(0, 1000)] * 4
    for party in four.parties:
        party.ledger.verify()
