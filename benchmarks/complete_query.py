"""The complete query on four real processes over Redis: count, mean and SD of a 12-bit value by five groups.

One numeric filter, fifteen noised integers, actively secure, columns converted from bits in the query itself.
Prints for each number of rows the wall time of the slowest party (minimum of the repetitions), CPU time a party, bytes
a party sends, rounds, and peak memory of a party. Times are of one run on one machine: compare ratios.

    .venv/bin/python benchmarks/complete_query.py [--rows 1000 10000 100000 1000000] [--repeat 7] [--exact]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.execute import Table, execute, released_words
from analytics.query import cost
from analytics.query.model import By, Operand, Plan, PlanColumn, PlanDataset, Release
from mpcnode.driver import run
from mpcnode.handshake import Head, Identity, Terms, handshake
from mpcnode.release import Purpose, reveal
from mpcnode.release import Terms as ReleaseTerms
from mpcnode.ring import words_for
from mpcnode.session import Session
from mpcnode.sharing import expand
from mpcnode.transport.redis import RedisTransport, connect

COLUMNS = (
    PlanColumn(name="value", bits=12),
    PlanColumn(name="age", bits=8),
    PlanColumn(name="group", bits=3),
)


def query_plan(rows: int) -> Plan:
    """Moment simplex of `value` by five groups where age < 200."""
    m = 1 << 11
    release = Release(
        statement=0,
        cohort=("and", ("present", "value"), ("present", "group"), ("less", "age", 200)),
        by=(By(column="group", groups=tuple((g,) for g in range(5))),),
        operands=(Operand(column="value", bits=12),),
        monomials=((0,), (1,), (2,)),
        transform=((m * m, -2 * m, 1), (2 * m * m, 0, -2), (m * m, 2 * m, 1)),
        sensitivity=4 * m * m,
        micro_epsilon=10**6,
        scale=Fraction(4 * m * m),
    )
    return Plan(
        mode="dp",
        micro_epsilon=10**6,
        minimum_cohort=11,
        statements=("sd(value) where age < 200 by group",),
        datasets=(PlanDataset(id="00" * 16, version=1, manifest_hash="00" * 32, capacity=rows),),
        columns=COLUMNS,
        releases=(release,),
    )


def component(rows: int, c: int) -> dict[str, np.ndarray[Any, Any]]:
    """Component c of a random table: every plane is uniform, so each component is a seed's expansion."""
    sizes = {"": 1, **{column.name: column.bits + 1 for column in COLUMNS}}
    return {
        name: expand(bytes([c, k]) * 16, (size, words_for(rows)))
        for k, (name, size) in enumerate(sizes.items())
    }


def party(
    number: int, keys: list[bytes], url: str, rows: int, repeat: int, results: Any, barrier: Any
) -> None:
    held = [component(rows, c) for c in range(4) if c != number]
    table = Table(rows, {name: np.stack([h[name] for h in held]) for name in held[0]})
    del held
    private = Ed25519PrivateKey.from_private_bytes(keys[number])
    public = {p: Ed25519PrivateKey.from_private_bytes(k).public_key() for p, k in enumerate(keys)}
    identity = Identity(private=private, public={p: k.public_bytes_raw() for p, k in public.items()})
    client = connect(url)
    plan = query_plan(rows)
    terms = Terms(
        order_hash=bytes(32),
        attempt=1,
        plan_hash=bytes.fromhex(plan.hash),
        mode="dp",
        layout=b"",
        code_version="bench",
        constants=b"",
    )

    def verify(peer: int, body: bytes, signature: bytes) -> bool:
        public[peer].verify(signature, body)
        return True

    for k in range(repeat):
        transport = RedisTransport(client, number, [p for p in range(4) if p != number], f"bench-{rows}-{k}")
        barrier.wait()
        begun = time.perf_counter()
        made = handshake(
            party=number,
            transport=transport,
            identity=identity,
            terms=terms,
            ledger=Head(0, b""),
            seen={},
            stored=lambda c, views: bytes(32),
            timeout=60,
        )
        session = Session(
            party=number,
            n=4,
            channel=made.channel,
            prss_keys=made.prss_keys,
            vouch_keys=made.vouch_keys,
            session_id=made.session_id,
        )
        joined = time.perf_counter()
        cpu = time.process_time()
        total = run(session, execute(session, plan, [table]))
        release = ReleaseTerms(
            words=released_words(plan),
            purpose=Purpose.NOISED_RESULT,
            plan_hash=bytes.fromhex(plan.hash),
            commit=lambda: bytes(16),
            opening=lambda: None,
            sign=private.sign,
            verify=verify,
            timeout=60,
        )
        reveal(session, made.channel, total, Purpose.NOISED_RESULT, release)
        done = time.perf_counter()
        results.put(
            {
                "repetition": k,
                "wall": done - joined,
                "handshake": joined - begun,
                "cpu": time.process_time() - cpu,
                "rounds": session.rounds,
                "bytes": sum(made.channel.bytes_sent.values()),
                "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
        barrier.wait()
        transport.close()


def measure(url: str, rows: int, repeat: int) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    results, barrier = context.Queue(), context.Barrier(4)
    keys = [os.urandom(32) for _ in range(4)]
    children = [
        context.Process(target=party, args=(p, keys, url, rows, repeat, results, barrier)) for p in range(4)
    ]
    for child in children:
        child.start()
    rows_out = [results.get(timeout=600) for _ in range(4 * repeat)]
    for child in children:
        child.join()
    by_repetition = [[r for r in rows_out if r["repetition"] == k] for k in range(repeat)]
    return {
        "wall": min(max(r["wall"] for r in group) for group in by_repetition),
        "handshake": min(max(r["handshake"] for r in group) for group in by_repetition),
        "cpu": min(sum(r["cpu"] for r in group) / 4 for group in by_repetition),
        "rounds": rows_out[0]["rounds"] + 2,
        "bytes": sum(r["bytes"] for r in by_repetition[0]) / 4,
        "memory": max(r["memory"] for r in rows_out),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=7)
    arguments = parser.parse_args()
    from tests.redis_server import redis_server

    with redis_server() as url:
        print(
            f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, four parties, redis-py, minima of {arguments.repeat}"
        )
        print(
            f"{'rows':>9} {'wall ms':>9} {'cpu ms':>8} {'hello ms':>9} {'rounds':>7} {'planned':>8} {'MB sent':>9} {'planned':>8} {'MB memory':>10}"
        )
        for rows in arguments.rows:
            got = measure(url, rows, arguments.repeat)
            planned = cost.estimate(query_plan(rows))
            print(
                f"{rows:>9} {1e3 * got['wall']:>9.1f} {1e3 * got['cpu']:>8.1f} {1e3 * got['handshake']:>9.1f} "
                f"{got['rounds']:>7.0f} {planned.rounds:>8} {got['bytes'] / 1e6:>9.3f} {planned.bytes_per_party / 1e6:>8.3f} {got['memory']:>10.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
