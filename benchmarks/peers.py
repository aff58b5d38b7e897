"""Fourfold beside SPU and MPyC on one machine, in one run.

    .venv/bin/python -m benchmarks.peers [--folder DIR] [--cycles 3] [--repeat 3] [--sizes 100000 1000000]

Makes an environment for each peer in the folder (some 700 MB, once), then runs the systems in turn, cycle after
cycle, so that whatever else the machine does falls on all. W1: count, sum and sum of squares in five secret groups.
W3: how many 32-bit values lie below a public threshold. Inputs are shared before the clock starts, the opened answer
stops it; each answer is compared with numpy's. The peers run in a network namespace of their own where the machine
allows it (Linux), which is also how SPU's bytes are counted.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent

from benchmarks.harness import measure
from tests.redis_server import free_port, redis_server

PEERS = {
    "SPU 0.9.5": ("peer_spu.py", "three, passive (ABY3, no TLS)", ("spu==0.9.5",)),
    "MPyC 0.11": (
        "peer_mpyc.py",
        "three, passive (Shamir, no TLS)",
        ("mpyc==0.11", "numpy==2.4.6", "gmpy2==2.3.2", "uvloop==0.23.0"),
    ),
}
OURS = "Fourfold"
SECURITY = "four, active (encrypted)"
PROGRAMS = {"W1": ("benchmarks.programs.grouped", 0), "W3": ("benchmarks.programs.threshold", 0)}
PATIENCE = 900  # seconds of one run
# Extrapolated from 10^4 rows, MPyC needs 73 s and 1.4 GB a party for W3 at 10^5 rows, ten times that at 10^6.
ONCE = {("MPyC 0.11", "W3", 100_000)}
NEVER = {("MPyC 0.11", "W3", 1_000_000)}


@dataclass
class Seen:
    """All runs of one system, workload and size."""

    walls: list[float] = field(default_factory=list)
    sent: float = 0.0
    memory: float = 0.0


def environment(folder: Path, name: str, packages: tuple[str, ...]) -> Path:
    """The Python of a peer's environment, made on first use."""
    home = folder / name.split()[0].lower()
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        print(f"installing {' '.join(packages)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        (home / "complete").touch()
    return python


def run_peer(python: Path, script: str, workload: str, rows: int, repeat: int) -> list[dict[str, object]]:
    """Each party's figures of one start of a peer."""
    inside = [sys.executable, "-m", "benchmarks.peers", "--inside", str(python), script, workload]
    inside += [str(rows), str(repeat)]
    alone = ["unshare", "-rn"] if shutil.which("unshare") else []
    if alone and subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        alone = []
    done = subprocess.run(
        [*alone, *inside], check=False, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    if done.returncode:
        raise RuntimeError(f"{script} {workload} {rows}: {done.stderr[-2000:]}")
    figures = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(figures) != 3 or not all(f["right"] for f in figures):
        raise RuntimeError(f"{script} {workload} {rows}: a wrong answer, or a party is missing: {figures}")
    return figures


def inside(python: str, script: str, *arguments: str) -> None:
    """Start three parties in this network namespace and wait for them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        with suppress(PermissionError):  # not a namespace of ours: loopback is up
            fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS
    ports = [str(free_port()) for _ in range(3)]
    command = [python, str(ROOT / "benchmarks" / script)]
    surroundings = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    parties = [
        subprocess.Popen([*command, str(party), *arguments, *ports], env=surroundings, stdout=subprocess.PIPE)
        for party in range(3)
    ]
    told = [party.communicate()[0] for party in parties]  # a pipe each: lines never mix
    sys.stdout.write(b"".join(told).decode())
    sys.exit(max(abs(party.returncode) for party in parties))


def run_all(
    folder: Path, names: list[str], cycles: int, repeat: int, sizes: list[int]
) -> dict[tuple[str, int], dict[str, Seen]]:
    pythons = {
        name: environment(folder, name, packages) for name, (_, _, packages) in PEERS.items() if name in names
    }
    seen: dict[tuple[str, int], dict[str, Seen]] = defaultdict(lambda: defaultdict(Seen))
    with redis_server() as url:
        for cycle in range(cycles):
            for workload, (module, number) in PROGRAMS.items():
                for rows in sizes:
                    ours = seen[workload, rows][OURS]
                    figures = measure(url, module, number, rows, repeat)
                    ours.walls += figures.walls
                    ours.sent, ours.memory = figures.sent, max(ours.memory, figures.memory)
                    for name, python in pythons.items():
                        where = (name, workload, rows)
                        if where in NEVER or (where in ONCE and cycle):
                            continue
                        parties = run_peer(
                            python, PEERS[name][0], workload, rows, 1 if where in ONCE else repeat
                        )
                        one = seen[workload, rows][name]
                        one.walls += [
                            max(walls) for walls in zip(*(p["walls"] for p in parties), strict=True)
                        ]  # type: ignore[misc]
                        one.sent = sum(p["sent"] for p in parties) / 3  # type: ignore[misc]
                        one.memory = max(one.memory, *(p["memory"] for p in parties))  # type: ignore[assignment]
                    print(f"cycle {cycle + 1}: {workload} at {rows}", file=sys.stderr, flush=True)
    return seen


def show(seen: dict[tuple[str, int], dict[str, Seen]]) -> None:
    print(
        "| workload | rows | system | parties, security | wall ms | median ms | of Fourfold's | MB sent a party | peak MB a party |"
    )
    print("|---" * 9 + "|")
    security = {OURS: SECURITY} | {name: what for name, (_, what, _) in PEERS.items()}
    for (workload, rows), systems in seen.items():
        for name, what in security.items():
            one = systems.get(name)
            if one is None:
                print(f"| {workload} | {rows} | {name} | {what} | not run | | | | |")
                continue
            ratio = min(one.walls) / min(systems[OURS].walls)
            print(
                f"| {workload} | {rows} | {name} | {what} | {1e3 * min(one.walls):.1f} "
                f"| {1e3 * statistics.median(one.walls):.1f} | {ratio:.2f} | {one.sent / 1e6:.2f} | {one.memory / 1e6:.0f} |"
            )


def main() -> None:
    os.environ["PYTHONPATH"] = str(ROOT)  # for the processes of the parties
    if sys.argv[1:2] == ["--inside"]:
        inside(*sys.argv[2:])
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Path(tempfile.gettempdir()) / "fourfold-peers"
    parser.add_argument(
        "--folder", type=Path, default=default, help=f"where environments are made ({default})"
    )
    parser.add_argument("--cycles", type=int, default=3, help="how often the systems take turns (3)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each at its turn (3)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="NAME")
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} before, {os.cpu_count()} cores", flush=True)
    show(run_all(arguments.folder, arguments.peers, arguments.cycles, arguments.repeat, arguments.sizes))


if __name__ == "__main__":
    main()
