"""A real stack for tests: `manage.py up` as a person starts it, and the programs that people run against it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.redis_server import free_port

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 120.0


class Running:
    """One stack on a free port. `lines` is what it said so far on stdout."""

    def __init__(self, var: Path, *, port: int = 0, root: Path = ROOT, **env: str) -> None:
        self.var, self.root = var, root
        clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=root,
            env=clean | {"VAR": str(var), "PORT": str(port)} | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(
                target=lambda: self.lines.extend(map(str.rstrip, self.process.stdout)), daemon=True
            ),
            threading.Thread(
                target=lambda: self.errors.extend(map(str.rstrip, self.process.stderr)), daemon=True
            ),
        ]
        for reader in self._readers:
            reader.start()

    def wait_ready(self) -> Running:
        deadline = time.monotonic() + READY_WITHIN
        while not any(line.startswith("ready ") for line in self.lines):
            assert self.process.poll() is None, (
                f"up ended with {self.process.returncode}: {self.errors} {self.lines}"
            )
            assert time.monotonic() < deadline, f"not ready: {self.lines} {self.errors}"
            time.sleep(0.05)
        self.url = self.lines[-1].removeprefix("ready ")
        self.access = json.loads((self.var / "access.json").read_text())
        return self

    def ended(self, within: float = 60.0) -> tuple[int, list[str], list[str]]:
        """Exit code, stdout and stderr of a stack that ends by itself or was told to."""
        code = self.process.wait(within)
        for reader in self._readers:
            reader.join(5)
        return code, self.lines, self.errors

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 15.0) -> int:
        self.process.send_signal(number)
        return self.ended(within)[0]

    def end_somehow(self) -> None:
        """For a test that failed: nothing of it stays."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def children(self) -> dict[str, int]:
        """Process id of each program of the stack, by its log's name."""
        return {name: pid for pid, name in programs_of(self.var)}

    def client(self, account: str) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/api/",
            headers={"Authorization": f"Token {self.access['tokens'][account]}"},
            timeout=60,
            trust_env=False,
        )

    def upload(
        self, account: str, codebook: dict[str, Any], *files: Path, options: Sequence[str] = ()
    ) -> str:
        """The id of the dataset that `python -m providers upload` prints."""
        done = self.send(account, codebook, *files, options=options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def send(
        self, account: str, codebook: dict[str, Any], *files: Path, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """`python -m providers upload`, however it ends."""
        self.var.joinpath("books").mkdir(exist_ok=True)
        book = self.var / "books" / f"{account}-{time.monotonic_ns()}.json"
        book.write_text(json.dumps(codebook))
        return run(
            ["-m", "providers", "upload", "--url", self.url, "--token", self.access["tokens"][account]]
            + ["--codebook", str(book), "--key", str(self.var / "hospitals" / account / "key.pem")]
            + ["--parties", str(self.var / "access.json"), *options, *map(str, files)],
            root=self.root,
        )

    def submit(self, program: Any, datasets: Sequence[str], *, epsilon: str = "4", mode: str = "dp") -> str:
        body = {"program": program, "datasets": list(datasets), "epsilon": epsilon, "mode": mode}
        with self.client("analyst") as analyst:
            while (answer := analyst.post("queries/", json=body)).status_code == 429:
                time.sleep(float(answer.headers["Retry-After"]))
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

    def approve(self, query: str) -> None:
        with self.client("operator") as operator:
            answer = operator.post(f"queries/{query}/approve/", json={"reason": "a test"})
            assert answer.is_success, answer.text

    def result(self, query: str, *, within: float = 120.0) -> httpx.Response:
        """The answer of result/ once it is no longer 202."""
        deadline = time.monotonic() + within
        with self.client("analyst") as analyst:
            while True:
                answer = analyst.get(f"queries/{query}/result/")
                if answer.status_code != 202:
                    return answer
                assert time.monotonic() < deadline, f"no answer within {within} s: {self.logs()}"
                time.sleep(0.2)

    def ask(self, program: Any, datasets: Sequence[str], **how: Any) -> dict[str, Any]:
        query = self.submit(program, datasets, **how)
        self.approve(query)
        answer = self.result(query)
        assert answer.status_code == 200, f"{answer.text}\n{self.logs()}"
        body: dict[str, Any] = answer.json()
        return body

    def state(self, query: str) -> str:
        with self.client("analyst") as analyst:
            return str(analyst.get(f"queries/{query}/").json()["state"])

    def logs(self, lines: int = 15) -> str:
        logs = sorted((self.var / "log").glob("*.log"))
        return "\n".join(
            f"== {log.name}\n" + "\n".join(log.read_text().splitlines()[-lines:]) for log in logs
        )


def run(argv: Sequence[str], *, within: float = 120.0, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, *argv],
        cwd=root,
        env=clean,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
    )


def programs_of(var: Path) -> list[tuple[int, str]]:
    """(process id, log name) of every process whose output goes to a log of this stack, session leaders alone."""
    found = []
    for pid, log in writers(var):
        if os.getsid(pid) == pid:
            found.append((pid, log.stem))
    return found


def writers(var: Path) -> Iterable[tuple[int, Path]]:
    """Every process of any kind whose stdout is a log of this stack: the supervisor's whole family."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                out = Path(os.readlink(folder / "fd/1"))
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if out.parent == var / "log" and state != "Z":
                yield int(folder.name), out


def left_behind(var: Path, within: float = 3.0) -> list[tuple[int, Path]]:
    """What still runs of a stack; waits a moment for the kernel to clear up."""
    deadline = time.monotonic() + within
    while (left := list(writers(var))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def four_free_ports() -> int:
    """The first of four ports in a row that nobody listens on."""
    while True:
        first = min(free_port(), 60000)
        try:
            sockets = [socket.create_server(("127.0.0.1", first + n)) for n in range(4)]
        except OSError:
            continue
        for taken in sockets:
            taken.close()
        return first
