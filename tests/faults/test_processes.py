"""A party dies at any place of an attempt: the others end, nobody answers twice, and the ledgers say who pays."""

from __future__ import annotations

import time

import pytest

from tests.faults.stage import MICRO, since
from tests.workers.test_worker import until

# A few places of every kind; the nightly run takes all that an attempt comes to.
PLACES = {
    "after reserve": False,
    "before message 12": False,  # in the rounds
    "before spend": False,
    "after spend": True,
    "before opening": True,
}


def dies(stage, label, *, how="child", party=1):
    """Kill a party at a place of one attempt and check what is left; returns seconds until the others had ended."""
    order = stage.order()
    stage.doom(party, label, how)
    stage.tell(order)
    until(lambda: stage.fired(party), f"party {party} comes to {label!r}")
    began = time.monotonic()
    others = [p for p in range(4) if p != party]
    until(
        lambda: {r["party"] for k in ("result", "abort") for r in stage.said(k, order)} >= set(others),
        f"the others end after {label!r}\n{stage.workers.logs()[-2000:]}",
    )
    seconds = since(began)
    if how == "whole":
        stage.workers.kill(party)
        stage.restart(party)
    # Who dies before it has written the attempt down knows nothing of it afterwards: what it was sent expires.
    known = label != "before reserve"
    results, aborts = stage.ended(order, parties=range(4) if known else others)

    # All honest parties have the answer, or nobody has it: no part of one is ever told.
    # A party killed before it marked its report as posted posts it again: parties count, not reports.
    assert len({r["party"] for r in results}) in (0, 3, 4), (label, results, aborts)
    assert len({(r["session"], r["result_hash"]) for r in results}) <= 1
    events = {p: stage.events(p, order) for p in range(4)}
    for p in range(4):
        assert events[p] in ([], ["RESERVED", "RETURNED"], ["RESERVED", "SPENT"]), (label, p, events[p])
    for said in aborts:
        # Released if and only if no READY left: nobody takes back what a dead party may have shown.
        assert said["ready"] is ("SPENT" in events[said["party"]]), (label, said)
    for said in results:
        assert "SPENT" in events[said["party"]]
    if results:
        assert all("SPENT" in events[p] for p in others)
    if known:
        stage.no_lists_left(order)
    if not results:
        stage.tell(order, attempt=2)
        stage.answered(order, attempt=2)
        assert all(stage.events(p, order, 2) == ["RESERVED", "SPENT"] for p in range(4))
    return seconds, events[party]


@pytest.mark.parametrize("label", PLACES)
def test_a_party_killed_at_a_place_of_an_attempt_costs_an_attempt_and_never_half_an_answer(stage, label):
    """Number 1."""
    _, events = dies(stage, label)
    assert ("SPENT" in events) is PLACES[label]


@pytest.mark.nightly
@pytest.mark.parametrize("how", ["child", "whole"])
def test_a_party_killed_at_every_place_of_an_attempt(stage, how, figure):
    """Number 1, at all places that an honest attempt comes to, and each party's time until it ended."""
    places = stage.labels(1)
    assert len(places) > 25 and "after spend" in places
    slowest = {}
    for number, label in enumerate(places):
        if label.endswith("reporting started"):
            continue  # what the portal may do without
        slowest[label], _ = dies(stage, label, how=how, party=number % 4)
    worst = max(slowest, key=slowest.get)
    figure(f"{len(slowest)} places, {how}: the others ended within {slowest[worst]:.1f} s ({worst})")


def test_four_parties_killed_between_opening_and_result_have_paid_and_a_retry_pays_again(stage):
    """Number 2."""
    order = stage.order()
    for party in range(4):
        stage.doom(party, "before close", "child")
    stage.tell(order)
    results, aborts = stage.ended(order)
    assert results == [] and [a["ready"] for a in aborts] == [True] * 4
    assert [stage.events(p, order) for p in range(4)] == [["RESERVED", "SPENT"]] * 4
    held = [p.ledger.balance(order.datasets[0].id).spent for p in stage.world.parties]
    stage.tell(order, attempt=2)
    stage.answered(order, attempt=2)
    again = [p.ledger.balance(order.datasets[0].id).spent for p in stage.world.parties]
    assert again == [before + MICRO for before in held]


def test_a_task_told_five_times_opens_one_session(stage):
    """Number 15."""
    order = stage.order()
    stage.tell(order, times=5)
    stage.answered(order)
    before = stage.order()
    stage.tell(before)  # behind all copies in every queue
    stage.answered(before)
    assert len(stage.said("started", order)) == 4 and len(stage.said("result", order)) == 4
    assert stage.said("refusal", order) == []
    assert [stage.events(p, order) for p in range(4)] == [["RESERVED", "SPENT"]] * 4


@pytest.mark.nightly
def test_a_broker_that_redelivers_what_is_not_acknowledged_in_a_second_opens_one_session(stage):
    """Number 15, with acks_late and a visibility time-out of a second at party 3, held in the middle for longer."""
    stage.workers.kill(3)
    stage.restart(3, FAULTS_REDELIVER="1")
    order = stage.order()
    stage.doom(3, "before reporting started", "hold")
    told = stage.workers.logs().count("attempt 1")
    stage.tell(order, times=5)
    until(lambda: stage.fired(3), "party 3 waits")
    time.sleep(2.5)
    stage.go(3)
    results, aborts = stage.ended(order)
    assert len(results) == 4 and aborts == []
    time.sleep(12)  # Celery looks for what to redeliver every ten seconds
    assert len(stage.said("started", order)) == 4 and len(stage.said("result", order)) == 4
    assert [stage.events(p, order) for p in range(4)] == [["RESERVED", "SPENT"]] * 4
    assert stage.workers.logs().count("attempt 1") > told
    after = stage.order()
    stage.tell(after)
    stage.answered(after)
    stage.workers.kill(3)
    stage.restart(3)
