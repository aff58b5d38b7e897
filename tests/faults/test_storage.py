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

import psycopg2
import pytest

from tests.redis_server import free_port
from tests.workers.test_party import Four
from tests.workers.world import World, codebook
from workers import ingest
from workers.portal_client import Portal

ROOT = Path(__file__).resolve().parents[2]
MOUNT = 2 * 2**20  # bytes of the small disk


class Disk:
    """A file system of two mebibytes."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.filler = place / "filler"

    def fill(self) -> None:
        """Not a byte is left."""
        with open(self.filler, "ab", buffering=0) as file:
            size = 2**20
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    def empty(self) -> None:
        self.filler.unlink()


@pytest.fixture
def disk(tmp_path):
    """Party 0's whole folder is on a disk of its own."""
    place = tmp_path / "world" / "p0"
    place.mkdir(parents=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MOUNT},mode=700", "none", str(place)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(
            "mounting a small file system needs root: RLIMIT_FSIZE stands for it in tests/mpcnode/test_store.py"
        )
    yield Disk(place)
    subprocess.run(["umount", "--lazy", str(place)], check=True)


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


# -- PostgreSQL --------------------------------------------------------------------------------------------


class Postgres:
    """A throw-away cluster that is stopped in the middle of things."""

    def __init__(self, folder: Path) -> None:
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
        if not versions:
            pytest.skip("PostgreSQL is not installed here; .ci/run installs it")
        self.bin, self.folder, self.port = versions[-1], folder, free_port()
        self.user = (
            ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
            if os.getuid() == 0
            else []
        )
        folder.mkdir()
        if self.user:
            for place in (folder, *folder.parents):
                if place != Path("/tmp") and place.stat().st_mode & 0o001 == 0:
                    place.chmod(place.stat().st_mode | 0o011)
            subprocess.run(["chown", "postgres", str(folder)], check=True)
        self._run("initdb", "-D", folder / "data", "-A", "trust", "-U", "fourfold", "-N")

    @property
    def url(self) -> str:
        return f"postgres://fourfold@127.0.0.1:{self.port}/postgres"

    def connections(self) -> int:
        """How many of others there are."""
        asked = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        with psycopg2.connect(self.url) as db, db.cursor() as cursor:
            cursor.execute(asked)
            (found,) = cursor.fetchone()
        db.close()
        return int(found)

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c max_connections=40"
        self._run(
            "pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", options, "start"
        )

    def stop(self) -> None:
        """As a crash: no connection is asked, recovery comes from the log."""
        self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [*self.user, str(self.bin / program), *map(str, arguments)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True, cwd="/",
        )  # fmt: skip


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


@pytest.mark.parametrize("restarts", [2, pytest.param(20, marks=pytest.mark.nightly)])
def test_a_database_that_restarts_during_reservations_and_debits_never_loses_or_invents_one(
    tmp_path, restarts
):
    """Number 10: four processes reserve, spend and return without a pause while PostgreSQL is killed."""
    postgres = Postgres(tmp_path / "pg")
    postgres.start()
    env = {
        **{k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"},
        "DJANGO_SETTINGS_MODULE": "portal.settings", "DATABASE_URL": postgres.url, "SECRET_KEY": "x" * 50,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}", "VAR": str(tmp_path / "var"),
    }  # fmt: skip
    total = 7 * 4000

    def python(code, *arguments, **how):
        return [sys.executable, "-c", code, *map(str, arguments)]

    subprocess.run(python(SET_UP, total), env=env, cwd=ROOT, check=True)
    spenders = []
    try:
        for number in range(4):
            log = open(tmp_path / f"{number}.log", "w")  # noqa: SIM115  (the child's)
            spenders.append(
                subprocess.Popen(python(SPENDER, "d" * 32), env=env, cwd=ROOT, stdout=log, stderr=log)
            )
            log.close()
        rng = random.Random(10)
        time.sleep(2.5)
        for _ in range(restarts):
            time.sleep(rng.uniform(0.05, 0.6))
            postgres.stop()
            postgres.start()
        time.sleep(0.5)
    finally:
        for spender in spenders:
            spender.send_signal(signal.SIGKILL)
            spender.wait()
    said = [line.split() for n in range(4) for line in (tmp_path / f"{n}.log").read_text().splitlines()]
    try:
        seen = subprocess.run(
            python(ADD_UP), env=env, cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
    finally:
        postgres.stop()
    lines = [line.split()[1:] for line in seen.splitlines() if line.startswith("line")]
    total_there, spent, reserved = map(int, seen.splitlines()[-1].split()[1:])
    sums = {
        kind: sum(int(m) for k, _, _, m in lines if k == kind) for kind in ("RESERVED", "SPENT", "RETURNED")
    }
    assert spent == sums["SPENT"] and reserved == sums["RESERVED"] - sums["SPENT"] - sums["RETURNED"]
    assert 0 <= spent + reserved <= total_there == total
    # What a process was told is done stays done.
    for word, kind in (("reserved", "RESERVED"), ("spent", "SPENT"), ("returned", "RETURNED")):
        told = {entry[1] for entry in said if entry[0] == word}
        assert told <= {query for k, query, _, _ in lines if k == kind}, word
        assert told
    assert [entry for entry in said if entry[0] == "lost"], "no process noticed a restart"
