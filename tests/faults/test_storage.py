"""Full disks and a database that restarts: nothing half-written, sums that add up, and work goes on afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.faults.disk import small_disk
from tests.workers.test_party import Four
from tests.workers.test_worker import until
from tests.workers.world import World, codebook
from workers import ingest
from workers.portal_client import Portal

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def disk(tmp_path):
    """Party 0's whole folder is on a disk of its own."""
    with small_disk(tmp_path / "world" / "p0") as made:
        yield made


def take(world, dataset):
    own = world.parties[0]
    with Portal(
        own.config, own.keys, transport=world.portal.transport, sleep=lambda _: None, patience=0
    ) as portal:
        return ingest.ingest(
            dataset, config=own.config, keys=own.keys, store=own.store, ledger=own.ledger, portal=portal
        )


def test_a_table_that_does_not_fit_on_the_disk_is_complained_about_and_a_smaller_one_comes_in(disk, tmp_path):
    """Number 11, at upload."""
    world = World(tmp_path / "world", minimum_cohort=1)
    large = world.prepare(codebook(capacity=2**20))
    assert take(world, world.serve(large)) == "store_error"
    (complaint,) = world.portal.said("complaint")
    assert complaint["code"] == "store_error" and world.portal.said("receipt") == []
    assert world.parties[0].store.list() == []
    assert [p.name for p in (disk.place / "store").rglob("*") if p.is_file()] == ["lock"]
    small = world.prepare(codebook())
    assert take(world, world.serve(small)) == "stored"
    assert len(world.portal.said("receipt")) == 1


def test_a_disk_that_is_full_when_a_query_comes_refuses_it_and_the_next_is_answered(disk, tmp_path):
    """Number 11, at a job: nothing can be reserved, so nothing is computed."""
    world = World(tmp_path / "world", minimum_cohort=1)
    world.give(world.prepare(codebook(policy={"minimum_cohort": 1})))
    four = Four(world, timeouts=(5.0, 1.0))
    disk.fill()
    order = world.order(micro_epsilon=1000, number=1)
    outcomes = four.ask(order)
    assert outcomes[0] == "ledger_error" and "answered" not in outcomes.values()
    (refusal,) = world.portal.said("refusal")
    assert (refusal["party"], refusal["code"]) == (0, "ledger_error")
    disk.empty()
    assert four.balances(order) == [(0, 0)] * 4
    assert set(four.ask(world.order(micro_epsilon=1000, number=2)).values()) == {"answered"}
    assert four.balances(order) == [(0, 1000)] * 4


def test_a_disk_that_fills_while_a_query_runs_keeps_the_ready_back_and_the_next_is_answered(
    disk, tmp_path, monkeypatch
):
    """Number 11, at a job: the debit cannot be SPENT, so no READY leaves and nothing is opened."""
    world = World(tmp_path / "world", minimum_cohort=1)
    world.give(world.prepare(codebook(policy={"minimum_cohort": 1})))
    four = Four(world, timeouts=(5.0, 0.5))
    ledger = four.parties[0].ledger
    spend = ledger.spend

    def late(**place):
        disk.fill()
        spend(**place)

    monkeypatch.setattr(ledger, "spend", late)
    order = world.order(micro_epsilon=1000, number=1)
    outcomes = four.ask(order)
    assert "answered" not in outcomes.values() and world.portal.said("result") == []
    monkeypatch.undo()
    disk.empty()
    assert set(Four(world).ask(world.order(micro_epsilon=1000, number=2)).values()) == {"answered"}
    world.parties[0].ledger.verify()
    assert ledger.attempt(order.nonce, 1)["state"] == "CLOSED"
    (abort,) = world.portal.said("abort", 0)
    assert abort["ready"] is False
    # The others had shown their READYs; party 0 did not come to its ABANDON, so what they spent stays spent.
    assert ledger.balance(order.datasets[0].id).spent == 1000


# -- PostgreSQL ------------------------------------------------------------------------------------------

SPENDER = textwrap.dedent("""
    import os, sys, time, uuid
    import django
    django.setup()
    from django.db import Error, close_old_connections, connection
    from portal.budgets import actions
    dataset = sys.argv[1]
    print("go", flush=True)
    while True:
        query = uuid.uuid4()
        try:
            actions.reserve(query=query, datasets=[dataset], micro_epsilon=7, attempts=2)
            print("reserved", query, flush=True)
            actions.spend(query=query, attempt=1)
            print("spent", query, flush=True)
            actions.give_back(query=query, attempts=[2])
            print("returned", query, flush=True)
        except actions.BudgetExhausted:
            print("exhausted", query, flush=True)
            break
        except Error as wrong:
            print("lost", query, type(wrong).__name__, flush=True)
            connection.close()
            time.sleep(0.05)
""")

SET_UP = textwrap.dedent("""
    import sys
    sys.path[:0] = [".", "platform"]
    import django
    django.setup()
    from django.core.management import call_command
    call_command("migrate", verbosity=0)
    from portal.accounts.actions import ensure_account
    from portal.budgets.models import Account
    from portal.registry.models import Dataset
    by = ensure_account("provider", "provider", "Hospital A", "correct horse battery staple")
    made = Dataset.objects.create(pk="d" * 32, provider=by.organisation, uploaded_by="provider", title="t", capacity=64,
        version=1, provider_key="k" * 64, codebook="{}", codebook_hash="c" * 64, manifest="{}", manifest_hash="m" * 64,
        signature="s" * 128)
    Account.objects.create(dataset=made, total=int(sys.argv[1]))
""")

ADD_UP = textwrap.dedent("""
    import django
    django.setup()
    from portal.budgets.models import Account, Line
    account = Account.objects.get()
    sums = {}
    for line in Line.objects.all():
        sums[line.kind] = sums.get(line.kind, 0) + line.micro_epsilon
        print("line", line.kind, line.query, line.attempt, line.micro_epsilon)
    print("account", account.total, account.spent, account.reserved)
""")


@pytest.mark.parametrize("restarts", [1, pytest.param(20, marks=pytest.mark.nightly)])
def test_a_database_that_restarts_during_reservations_and_debits_never_loses_or_invents_one(
    tmp_path, postgres, restarts
):
    """Number 10: three processes reserve, spend and return without a pause while PostgreSQL is killed."""
    env = {
        **{k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"},
        "DJANGO_SETTINGS_MODULE": "portal.settings", "DATABASE_URL": postgres.url, "SECRET_KEY": "x" * 50,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}", "VAR": str(tmp_path / "var"),
    }  # fmt: skip
    total = 7 * 4000

    def python(code, *arguments):
        return [sys.executable, "-c", code, *map(str, arguments)]

    def said():
        logs = (tmp_path / f"{number}.log" for number in range(3))
        return [[line.split() for line in log.read_text().splitlines()] for log in logs]

    def at_work(entries):
        words = [entry[0] for entry in entries]
        return "returned" in words[len(words) - words[::-1].index("lost") if "lost" in words else 0 :]

    subprocess.run(python(SET_UP, total), env=env, cwd=ROOT, check=True)
    spenders = []
    try:
        for number in range(3):
            log = open(tmp_path / f"{number}.log", "w")  # noqa: SIM115  (the child's)
            spenders.append(
                subprocess.Popen(python(SPENDER, "d" * 32), env=env, cwd=ROOT, stdout=log, stderr=log)
            )
            log.close()
        rng = random.Random(10)
        for number in range(restarts + 1):
            # Every process has gone all the way since it last lost its connection.
            until(lambda: all(at_work(entry) for entry in said()), "the spenders are at work")
            time.sleep(rng.uniform(0.0, 0.3))
            if number < restarts:
                postgres.stop()
                postgres.start()
    finally:
        for spender in spenders:
            spender.send_signal(signal.SIGKILL)
            spender.wait()
    told_by_all = [entry for entries in said() for entry in entries]
    seen = subprocess.run(
        python(ADD_UP), env=env, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    lines = [line.split()[1:] for line in seen.splitlines() if line.startswith("line")]
    total_there, spent, reserved = map(int, seen.splitlines()[-1].split()[1:])
    sums = {
        kind: sum(int(m) for k, _, _, m in lines if k == kind) for kind in ("RESERVED", "SPENT", "RETURNED")
    }
    assert spent == sums["SPENT"] and reserved == sums["RESERVED"] - sums["SPENT"] - sums["RETURNED"]
    assert 0 <= spent + reserved <= total_there == total
    # What a process was told is done stays done.
    for word, kind in (("reserved", "RESERVED"), ("spent", "SPENT"), ("returned", "RETURNED")):
        told = {entry[1] for entry in told_by_all if entry[0] == word}
        assert told <= {query for k, query, _, _ in lines if k == kind}, word
        assert told
    assert [entry for entry in told_by_all if entry[0] == "lost"], "no process noticed a restart"
