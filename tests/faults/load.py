"""What a running stack holds: memory, descriptors, Redis keys and database connections, by program and time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.end_to_end.running import Running, writers


@dataclass(frozen=True)
class Held:
    """By program (its processes together), and of the servers; memory in MiB without what is shared twice."""

    memory: dict[str, float]
    files: dict[str, int]
    keys: int
    lists: list[str]
    connections: int

    @property
    def whole(self) -> float:
        return sum(self.memory.values())


def held(stack: Running, connections: int = 0) -> Held:
    """One look at everything."""
    memory: dict[str, float] = {}
    files: dict[str, int] = {}
    for pid, log in list(writers(stack.var)):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            open_files = len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue  # it ended in this moment
        pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        memory[log.stem] = memory.get(log.stem, 0.0) + pss / 1024
        files[log.stem] = files.get(log.stem, 0) + open_files
    url = (stack.var / "valkey" / "admin.url").read_text().strip()
    with redis.Redis.from_url(url) as client:
        return Held(
            memory=memory,
            files=files,
            keys=int(client.dbsize()),
            lists=[name.decode() for name in client.scan_iter("mpc:*")],
            connections=connections,
        )


def peak(pid: int) -> float:
    """The most that a process ever had in memory, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def questions(count: int) -> Iterator[tuple[str, int, float]]:
    """(program, age, bmi): as many different questions as wanted."""
    for number in range(count):
        age, bmi = 20 + number % 60, 15 + 0.1 * (number // 60)
        yield f"count() where age >= {age} and bmi >= {bmi:.1f}", age, round(bmi, 1)


def submitted(client: Any, operator: Any, bodies: Iterable[dict[str, Any]], ends: float) -> Iterator[str]:
    """Ids of approved queries; what is throttled is asked again."""
    for body in bodies:
        query = str(_patiently(client, "queries/", body, ends).json()["id"])
        _patiently(operator, f"queries/{query}/approve/", {"reason": "load"}, ends)
        yield query


def _patiently(client: Any, path: str, body: dict[str, Any], ends: float) -> Any:
    while True:
        answer = client.post(path, json=body)
        if answer.status_code in (200, 201):
            return answer
        assert answer.status_code == 429 and time.monotonic() < ends, answer.text
        time.sleep(float(answer.headers.get("Retry-After", "0.5")))
