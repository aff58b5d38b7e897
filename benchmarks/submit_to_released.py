"""From submit to released, by stage: the four lines of the samples on a demo stack, one query after another.

Prints for each stage the median over the runs, in milliseconds, from the portal's rows and the parties' logs:

    submit      POST queries/: compiling, checks, rows                        (as the analyst waits)
    approve     POST approve/: budget reserved, order signed                  (as the operator waits)
    dispatch    approved until the attempt was made and the parties told
    start       until the first party said that it had begun: Celery, order, checks
    handshake   the parties' stages, of the slowest party: agreement on keys and terms,
    read        stored columns,
    rounds      the plan,
    release     READY and opening
    reports     what is left until the last party's signed answer was in: sending, starting late
    released    until the answer could be read: figures, rows
    all         approve sent until released, without the pause of a poller
    seen        approve sent until a poller at the pace of Retry-After has the answer

    .venv/bin/python benchmarks/submit_to_released.py [--runs 15] [--idle 10]
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from tests.end_to_end.conftest import codebook
from tests.end_to_end.running import Running, four_free_ports, run, writers

PARTY_STAGES = ("handshake", "read", "rounds", "release")
STAGES = ("submit", "approve", "dispatch", "start", *PARTY_STAGES, "reports", "released")


def moment(text: str) -> float:
    """Unix seconds of a time as SQLite keeps it."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def party_seconds(var: Path) -> list[dict[str, float]]:
    """Seconds that each party has spent in each stage so far."""
    found = []
    for number in range(4):
        path = var / "parties" / str(number) / "metrics.sqlite3"
        if not path.exists():
            found.append({})
            continue
        with sqlite3.connect(path) as db:
            found.append(
                dict(db.execute("SELECT label, total FROM totals WHERE name = 'seconds'").fetchall())
            )
        db.close()
    return found


def one(stack: Running, datasets: list[str], program: str, epsilon: str) -> dict[str, float]:
    """Seconds of each stage of one query."""
    before = party_seconds(stack.var)
    with stack.client("analyst") as analyst, stack.client("operator") as operator:
        analyst.get("me/"), operator.get("me/")  # connections are made
        asked = time.time()
        body = {"program": program, "datasets": datasets, "epsilon": epsilon, "mode": "dp"}
        query = analyst.post("queries/", json=body).json()["id"]
        submitted = time.time()
        answer = operator.post(f"queries/{query}/approve/", json={"reason": "a measurement"})
        assert answer.is_success, answer.text
        decided = time.time()
        while (answer := analyst.get(f"queries/{query}/result/")).status_code == 202:
            time.sleep(float(answer.headers["Retry-After"]))
        seen = time.time()
        assert answer.status_code == 200, answer.text
    rows = row_times(stack.var, query)
    spent = [
        {stage: after[stage] - was.get(stage, 0.0) for stage in PARTY_STAGES}
        for was, after in zip(before, party_seconds(stack.var), strict=True)
    ]
    slowest = max(spent, key=lambda stages: sum(stages.values()))
    computed = rows["reported"] - rows["started"]
    return {
        "submit": submitted - asked,
        "approve": decided - submitted,
        "dispatch": rows["made"] - decided,
        "start": rows["started"] - rows["made"],
        **slowest,
        "reports": computed - sum(slowest.values()),
        "released": rows["ended"] - rows["reported"],
        "all": rows["ended"] - submitted,
        "seen": seen - submitted,
    }


def row_times(var: Path, query: str) -> dict[str, float]:
    """When the attempt was made, a party started, the last reported, and the attempt ended."""
    db = sqlite3.connect(f"file:{var / 'portal/portal.sqlite3'}?mode=ro", uri=True, timeout=20)
    try:
        key = query.replace("-", "")
        attempt, made, ended = db.execute(
            "SELECT id, started_at, ended_at FROM queries_attempt WHERE query_id = ?", (key,)
        ).fetchone()
        words = db.execute(
            "SELECT kind, time FROM queries_report WHERE attempt_id = ?", (attempt,)
        ).fetchall()
    finally:
        db.close()
    return {
        "made": moment(made),
        "started": min(moment(t) for kind, t in words if kind == "started"),
        "reported": max(moment(t) for kind, t in words if kind == "result"),
        "ended": moment(ended),
    }


def cpu(var: Path) -> float:
    """Seconds of CPU of the whole stack so far."""
    ticks = 0
    for pid, _ in writers(var):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def idle(var: Path, seconds: float) -> float:
    """Share of one core that the stack takes while nobody asks anything."""
    before, began = cpu(var), time.monotonic()
    time.sleep(seconds)
    return (cpu(var) - before) / (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--idle", type=float, default=10)
    chosen = parser.parse_args()
    questions = (ROOT / "samples/questions.txt").read_text()
    with tempfile.TemporaryDirectory(prefix="fourfold-stages-") as folder:
        stack = Running(Path(folder) / "var", METRICS_PORT=str(four_free_ports()))
        try:
            stack.wait_ready()
            tables = [Path(p) for p in run(["samples/generate.py", folder]).stdout.split()]
            books = codebook("dp")
            books["policy"] |= {"epsilon": "1000"}
            datasets = [
                stack.upload(who, books, table)
                for who, table in zip(("provider", "provider2"), tables, strict=True)
            ]
            runs = []
            for number in range(chosen.runs + 2):
                # More epsilon each time: what was released as precisely before is not asked of the parties again.
                runs.append(one(stack, datasets, questions, f"{3 + number / 1000:.3f}"))
            print_table(runs[2:])
            share = idle(stack.var, chosen.idle)
            print(f"idle for {chosen.idle:g} s: {100 * share:.1f} % of one core, all processes")
        finally:
            stack.end_somehow()


def print_table(runs: list[dict[str, Any]]) -> None:
    print(f"median of {len(runs)} runs, load of the machine {os.getloadavg()[0]:.1f}")
    for stage in (*STAGES, "all", "seen"):
        values = sorted(run[stage] for run in runs)
        print(f"{stage:>10} {1000 * statistics.median(values):8.0f} ms   (fastest {1000 * values[0]:.0f})")


if __name__ == "__main__":
    main()
