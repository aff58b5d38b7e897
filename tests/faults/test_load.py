"""Much at once and for long: everything ends, answers stay right, and nothing that is held grows."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pandas
import pytest

from tests.end_to_end.conftest import codebook, tables  # noqa: F401  (a fixture)
from tests.end_to_end.running import ROOT, Running
from tests.faults.load import held, peak, questions, submitted

# A shorter run for a look: FOURFOLD_LOAD_QUERIES=200 FOURFOLD_SOAK_MINUTES=10 make nightly ARGS=tests/faults/test_load.py
QUERIES = int(os.environ.get("FOURFOLD_LOAD_QUERIES", "1000"))
MINUTES = float(os.environ.get("FOURFOLD_SOAK_MINUTES", "60"))
UPLOADS, ROWS = 20, 100_000

pytestmark = [pytest.mark.nightly, pytest.mark.stack, pytest.mark.timeout(7200)]


@pytest.fixture
def start(tmp_path):
    stacks = []

    def start(**env):
        stacks.append(Running(tmp_path / "var", **env))
        return stacks[-1].wait_ready()

    yield start
    for each in stacks:
        each.end_somehow()


def machine():
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def test_a_thousand_queued_queries_all_end_with_the_right_answer(start, tables, figure):  # noqa: F811
    """Number 19."""
    rows = pandas.read_csv(tables[0], na_values=["NA", ""])
    stack = start(FOURFOLD_JOBS_IN_FLIGHT="3")
    dataset = stack.upload("provider", codebook("exact", minimum_cohort=1), tables[0])
    asked = {}
    began = time.monotonic()
    ends = began + 6000
    looks = []
    with stack.client("analyst") as analyst, stack.client("operator") as operator:
        bodies = (
            {"program": program, "datasets": [dataset], "epsilon": "1", "mode": "exact"}
            for program, _, _ in questions(QUERIES)
        )
        for query, (_, age, bmi) in zip(
            submitted(analyst, operator, bodies, ends), questions(QUERIES), strict=True
        ):
            asked[query] = (age, bmi)
        queued = time.monotonic() - began
        before = how_many(analyst, "RELEASED")
        while (done := how_many(analyst, "RELEASED")) + how_many(analyst, "ABORTED") < QUERIES:
            if done >= 100 * (len(looks) + 1):
                looks.append(held(stack).whole)
            assert time.monotonic() < ends, stack.logs()
            time.sleep(1.0)
        seconds = time.monotonic() - began
        looks.append(held(stack).whole)
        assert how_many(analyst, "ABORTED") == 0
        for query, (age, bmi) in asked.items():
            answer = analyst.get(f"queries/{query}/result/").json()
            count = int(((rows["age"] >= age) & (rows["bmi"] >= bmi - 1e-9)).sum())
            assert answer["statements"][0]["groups"][0]["value"] == count, (age, bmi)
    figure(
        f"{QUERIES} queries, {machine()}: submitted and approved in {queued:.0f} s ({before} were answered by then), all"
        f" answered {60 * QUERIES / seconds:.0f} a minute; MiB after each hundred: {[round(mb) for mb in looks]}"
    )
    assert max(looks) < 1.1 * looks[0]
    left = [name for name in held(stack).lists if not name.endswith(("-abort", "-abandon"))]
    assert left == []


def how_many(client, state):
    return client.get("queries/", params={"state": state}).json()["count"]


def test_twenty_uploads_of_a_hundred_thousand_rows_at_once_leave_the_web_server_small(
    start, tmp_path, figure
):
    """Number 21: the real command, twenty times at once, each with rows and a key of its own."""
    stack = start()
    book = tmp_path / "book.json"
    book.write_text(pandas.Series(codebook("exact", minimum_cohort=1, capacity=131072)).to_json())
    commands = []
    for number in range(UPLOADS):
        table = tmp_path / f"{number}.csv"
        rows_of(number).to_csv(table, index=False)
        commands.append(
            [sys.executable, "-m", "providers", "upload", "--url", stack.url]
            + ["--token", stack.access["tokens"]["provider"], "--codebook", str(book)]
            + [
                "--key",
                str(tmp_path / f"{number}.pem"),
                "--parties",
                str(stack.var / "access.json"),
                str(table),
            ]
        )
    web = stack.children()["web"]
    answers, over = [], threading.Event()

    def look():
        with httpx.Client(base_url=stack.url, timeout=60, trust_env=False) as client:
            while not over.wait(0.5):
                began = time.monotonic()
                answers.append((client.get("/healthz").status_code, time.monotonic() - began))

    looker = threading.Thread(target=look)
    looker.start()
    began = time.monotonic()
    env = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    running = [
        subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for argv in commands
    ]
    said = [process.communicate(timeout=3600) for process in running]
    seconds = time.monotonic() - began
    over.set()
    looker.join()
    assert [process.returncode for process in running] == [0] * UPLOADS, said
    most = max(peak(pid) for pid in [web, *children_of(web)])
    with stack.client("analyst") as client:
        states = [client.get(f"datasets/{out.strip()}/").json()["state"] for out, _ in said]
    assert states == ["READY"] * UPLOADS
    assert {status for status, _ in answers} == {200}
    waits = sorted(seconds for _, seconds in answers)
    parties = {name: round(mb) for name, mb in held(stack).memory.items() if name.startswith("party")}
    figure(
        f"{UPLOADS} uploads of {ROWS} rows, {machine()}: all receipts after {seconds:.0f} s; web at most {most:.0f} MiB;"
        f" parties afterwards {parties} MiB; healthz p95 {1000 * waits[int(0.95 * len(waits))]:.0f} ms"
    )
    assert most < 300


def rows_of(seed):
    """A table like the samples', of ROWS patients."""
    rng = np.random.default_rng(seed)
    return pandas.DataFrame(
        {
            "patient_id": [f"P{seed:02d}-{number:06d}" for number in range(ROWS)],
            "arm": rng.choice(["imatinib", "placebo"], ROWS),
            "region": rng.choice(["NE", "MW", "S", "W"], ROWS),
            "sex": rng.choice(["F", "M"], ROWS),
            "age": rng.integers(18, 100, ROWS),
            "bmi": np.round(rng.uniform(15, 45, ROWS), 1),
            "ecog": rng.integers(0, 3, ROWS),
            "tumour_size": rng.integers(1, 200, ROWS),
            "time_since_diagnosis": rng.integers(0, 120, ROWS),
            "death_flag": 0,
            "time_till_death": "NA",
        }
    )


def children_of(pid):
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in found.stdout.split()]


def test_a_long_mixed_run_holds_no_more_at_its_end_than_at_its_beginning(
    postgres,
    start,
    tables,  # noqa: F811
    figure,
):
    """Number 22: queries of both modes, refusals, cancelled ones and tables, over PostgreSQL where it is installed."""
    looks = []
    stack = start(DATABASE_URL=postgres.url)
    exact = stack.upload("provider", codebook("exact", minimum_cohort=1), tables[0])
    noised = stack.upload("provider", codebook("dp"), tables[0])
    until = time.monotonic() + 60 * MINUTES
    asked = 0
    with stack.client("analyst") as analyst, stack.client("operator") as operator:
        every = questions(10**6)
        while time.monotonic() < until:
            for kind in ("exact", "exact", "dp", "refused", "cancelled"):
                program, *_ = next(every)
                asked += 1
                body = {
                    "program": program,
                    "datasets": [noised if kind == "dp" else exact],
                    "mode": "exact",
                }
                if kind == "dp":
                    body |= {"mode": "dp", "epsilon": f"0.{10 + asked % 80:04d}"}
                if kind == "refused":
                    query = analyst.post("queries/", json=body).json()["id"]
                    operator.post(f"queries/{query}/refuse/", json={"reason": "a soak"})
                    continue
                (query,) = submitted(analyst, operator, [body], until + 600)
                if kind == "cancelled":
                    analyst.post(f"queries/{query}/cancel/", json={"reason": "a soak"})
                while analyst.get(f"queries/{query}/result/").status_code == 202:
                    time.sleep(0.1)
                    assert time.monotonic() < until + 600, stack.logs()
            if asked % 50 == 0:
                title = f"soak {asked}"
                stack.upload(
                    "provider2",
                    codebook("exact", minimum_cohort=1, title=title, description=title),
                    tables[0],
                )
            looks.append(held(stack, postgres.connections()))
    quarter = max(1, len(looks) // 4)
    first, last = looks[quarter : 2 * quarter], looks[-quarter:]

    def middle(looks, of):
        return statistics.median(map(of, looks))

    measured = {
        "MiB": lambda look: look.whole,
        "descriptors": lambda look: sum(look.files.values()),
        "Redis keys but protocol lists": lambda look: look.keys - len(look.lists),
        "database connections": lambda look: look.connections,
    }
    table = {name: (middle(first, of), middle(last, of)) for name, of in measured.items()}
    figure(f"{MINUTES:g} minutes, {machine()}: {asked} questions; second quarter and last: {table}")
    # A party's child that takes the place of another (after 200 tasks) inherits eight descriptors, once.
    more = {"descriptors": 4 * 8}
    for name, (was, now) in table.items():
        assert now <= 1.1 * was + 3 + more.get(name, 0), (name, was, now)
    # Of sessions, nothing once the slowest party is done with the last one; an ABORT that came after its receiver had
    # gone stays until it expires.
    patience = time.monotonic() + 60
    while left := [
        name
        for name in held(stack, postgres.connections()).lists
        if not name.endswith(("-abort", "-abandon"))
    ]:
        assert time.monotonic() < patience, left
        time.sleep(0.5)
