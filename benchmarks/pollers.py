"""Many analysts wait for answers: 100 pollers of result/ against the real web server.

A third poll a query that waits (202), a third fetch an answer (200), a third ask whether theirs changed (304). Each
sends, reads, pauses, as clients do that obey Retry-After; with --pause 0 they never pause, until the server says 429.
Prints for each status how many, and p50, p95 and p99 in milliseconds; and the CPU time of the web server an answer,
which does not depend on what else the machine does. The load comes from the same machine: compare ratios.

    .venv/bin/python benchmarks/pollers.py [--pollers 100] [--seconds 10] [--pause 1]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from tests.end_to_end.conftest import codebook
from tests.end_to_end.running import Running, run, writers

Seen = dict[int, list[float]]


class Poller:
    """One client with one connection; `seen` gets (status, seconds) of each answer."""

    def __init__(self, port: int, token: str, query: str, etag: str, seen: Seen) -> None:
        self.port, self.seen = port, seen
        lines = [
            f"GET /api/queries/{query}/result/ HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: Token {token}",
        ]
        lines += [f"If-None-Match: {etag}"] if etag else []
        self.request = "\r\n".join([*lines, "", ""]).encode()

    async def poll(self, until: float, pause: float, first: float) -> None:
        await asyncio.sleep(first)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(self.request)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if length:
                    await reader.readexactly(int(length[0].partition(b":")[2]))
            except (asyncio.IncompleteReadError, ConnectionError):
                # The server ends a connection that was quiet for long; that is no answer.
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                continue
            self.seen[int(head.split(b" ", 2)[1])].append(time.perf_counter() - began)
            if b"connection: close" in head.lower():
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            if pause:
                await asyncio.sleep(pause)
        writer.close()


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


async def load(pollers: list[Poller], seconds: float, pause: float) -> None:
    until = time.perf_counter() + seconds
    spread = max(pause, 0.2)
    await asyncio.gather(
        *(p.poll(until, pause, spread * i / len(pollers)) for i, p in enumerate(pollers)),
        return_exceptions=False,
    )


def measure(stack: Running, queries: dict[str, str], count: int, seconds: float, pause: float) -> Seen:
    """Seconds of every answer, by status. `queries` are one that waits and one that is released."""
    port, token = int(stack.url.rpartition(":")[2]), stack.access["tokens"]["analyst"]
    with stack.client("analyst") as analyst:
        etag = analyst.get(f"queries/{queries['released']}/result/").headers["ETag"]
    seen: Seen = defaultdict(list)
    kinds = [(queries["waits"], ""), (queries["released"], ""), (queries["released"], etag)]
    pollers = [Poller(port, token, *kinds[i % 3], seen) for i in range(count)]
    asyncio.run(load(pollers, seconds, pause))
    return seen


def prepared(stack: Running, folder: Path) -> dict[str, str]:
    """A query that nobody decides on and one with its answer."""
    tables = [Path(p) for p in run(["samples/generate.py", str(folder)]).stdout.split()]
    datasets = [
        stack.upload(who, codebook("dp"), t) for who, t in zip(("provider", "provider2"), tables, strict=True)
    ]
    questions = (ROOT / "samples/questions.txt").read_text()
    released = stack.submit(questions, datasets)
    stack.approve(released)
    assert stack.result(released).status_code == 200
    return {"released": released, "waits": stack.submit("count()", datasets)}


def cpu(stack: Running) -> float:
    """Seconds of CPU that the web server has used, all its processes."""
    ticks = 0
    for pid, log in writers(stack.var):
        if log.stem == "web":
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def report(seen: Seen) -> None:
    print(f"{'status':>8} {'answers':>8} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}")
    rows = [(str(status), seen[status]) for status in sorted(seen)]
    for label, values in [*rows, ("all", [v for s in seen.values() for v in s])]:
        row = " ".join(f"{1000 * percentile(values, share):8.1f}" for share in (0.5, 0.95, 0.99))
        print(f"{label:>8} {len(values):8} {row}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pollers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pause", type=float, default=1.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fourfold-pollers-") as folder:
        stack = Running(Path(folder) / "var")
        try:
            stack.wait_ready()
            queries = prepared(stack, Path(folder))
            measure(stack, queries, chosen.pollers, 2.0, chosen.pause)  # warm
            print(f"load of the machine before: {os.getloadavg()[0]:.2f}")
            before = cpu(stack)
            seen = measure(stack, queries, chosen.pollers, chosen.seconds, chosen.pause)
            spent = cpu(stack) - before
            print(f"{chosen.pollers} pollers, pause {chosen.pause:g} s")
            report(seen)
            print(f"CPU of the web server: {1000 * spent / sum(map(len, seen.values())):.2f} ms an answer")
        finally:
            stack.end_somehow()


if __name__ == "__main__":
    main()
