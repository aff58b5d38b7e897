"""Measures the engine: `make bench`, or `make bench ARGS="gates count --repeat 3"`.

    .venv/bin/python -m benchmarks [NAME ...] [--sizes N ...] [--repeat 7] [--list]

Prints one Markdown table after the other. Without names, all programs in a few minutes, the latency table last.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import redis

from benchmarks import latency
from benchmarks.harness import PARTIES
from tests.redis_server import redis_server

PROGRAMS = (
    "rounds",
    "gates",
    "convert",
    "count",
    "histogram",
    "correlation",
    "noise",
    "seed",
    "grouped",
    "threshold",
    "complete_query",
    "wide",
)


def surroundings(url: str, repeat: int) -> str:
    """What a reader must know of a run: machine, load, server, client, security."""
    with redis.Redis.from_url(url) as client:
        info: dict[str, object] = client.info("server")  # type: ignore[assignment]
    server = (
        f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    )
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f} before; "
        f"{PARTIES} parties on this machine, actively secure, {server} on loopback, redis-py {redis.__version__}; "
        f"minima and medians of {repeat}\n"
    )


def main() -> None:
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)  # for the processes of the parties
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="programs; all without a name")
    parser.add_argument("--sizes", type=int, nargs="+", help="these sizes only")
    parser.add_argument("--repeat", type=int, default=7, help="sessions of each program (7)")
    parser.add_argument("--profile", action="store_true", help="print where party 0 spends its time (slower)")
    parser.add_argument("--list", action="store_true", help="name the programs and stop")
    arguments = parser.parse_args()
    known = (*PROGRAMS, "latency")
    if arguments.list:
        print(*known)
        return
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"no program {', '.join(unknown)}: there are {', '.join(known)}")
    with redis_server() as url:
        print(surroundings(url, arguments.repeat))
        for name in arguments.names or known:
            if name == "latency":
                for line in latency.lines(url, min(3, arguments.repeat)):
                    print(line, flush=True)
                continue
            module = f"benchmarks.programs.{name}"
            for number, table in enumerate(importlib.import_module(module).TABLES):
                for line in table.lines(
                    url, module, number, arguments.repeat, arguments.sizes or table.sizes, arguments.profile
                ):
                    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
