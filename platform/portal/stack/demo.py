"""`manage.py demo`: the whole way once, unattended, with made-up patients.

Plays every role from outside, as people would: the hospitals by the command line of `providers`, the analyst and the
operator by the REST interface of a stack that `manage.py up` starts. Nothing runs any more when it ends.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from . import stopping
from .children import kill_group, spawn, wait_until
from .parties import write_private
from .showing import lines, nonsense
from .surroundings import StackError, Surroundings, private_folder

HOSPITALS = {"provider": "northgate.csv", "provider2": "southfield.csv"}
EPSILON = "4"
PATIENCE = 120.0  # seconds for one answer


class Demo:
    """One demonstration in a folder of its own."""

    def __init__(self, place: Surroundings, environ: Mapping[str, str]) -> None:
        self.place = place
        self.environ = {**environ, "PORT": "0"}
        self.samples = place.root / "samples"
        self.tables = private_folder(place.var / "tables")
        self.times: list[tuple[str, float]] = []
        self.failures: list[str] = []
        self.stack: subprocess.Popen[str] | None = None
        self.programs: list[subprocess.Popen[str]] = []

    def run(self) -> int:
        """The exit code: 0 when every answer came and made sense."""
        say(
            "Fourfold, a demonstration: two made-up hospitals, four parties on this one machine (so no secrecy here)"
        )
        began = time.monotonic()
        try:
            with self.stage("start the portal and four parties"):
                self.start_stack()
            with self.stage("make up the tables of two hospitals"):
                truths = self.make_tables()
            with self.stage("check, split, seal and upload them"):
                datasets = {"dp": self.upload("dp"), "exact": self.upload("exact")}
            for mode in ("dp", "exact"):
                stopping.check()
                with self.stage(f"ask, approve, compute, release ({mode})"):
                    result = self.ask(datasets[mode], mode)
                self.show(result, truths, mode)
        finally:
            with self.stage("stop everything"):
                self.stop_stack()
        self.close(time.monotonic() - began)
        return 1 if self.failures else 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.times.append((name, time.monotonic() - began))
        say(f"[{self.times[-1][1]:5.1f} s] {name}")

    def start_stack(self) -> None:
        with stopping.held():
            self.stack = self.spawn("manage.py", "up", stderr=None)
        assert self.stack.stdout is not None
        for line in self.stack.stdout:
            if line.startswith("ready "):
                self.access = json.loads(self.place.access.read_text())
                return
        raise StackError(f"the stack did not start; its logs are in {self.place.log}")

    def stop_stack(self) -> None:
        """Everything that this demonstration started is gone afterwards."""
        stopping.deaf()
        for program in self.programs:
            if program.poll() is None:
                program.kill()
                program.communicate()
        if self.stack is None:
            return
        self.stack.send_signal(signal.SIGTERM)
        if not wait_until(lambda: self.stack is None or self.stack.poll() is not None, 12.0):
            kill_group(self.stack.pid, signal.SIGKILL)
            self.failures.append("the stack did not stop within 12 s")
        elif self.stack.returncode:
            self.failures.append(f"the stack ended with exit {self.stack.returncode}")
        self.stack.communicate()

    def make_tables(self) -> list[dict[str, Any]]:
        """Both tables and a codebook for each mode; returns the truth of each question."""
        self.run_program(str(self.samples / "generate.py"), str(self.tables))
        self.outputs("making up tables")
        codebook = json.loads((self.samples / "codebook.json").read_text())
        for mode in ("dp", "exact"):
            policy = codebook["policy"] | {"modes": [mode]}
            if (
                mode == "exact"
            ):  # four questions with other missing values differ by a few patients: a demonstration may
                policy["minimum_cohort"] = 1
            title = f"{codebook['title']} ({mode})"
            write_private(
                self.tables / f"codebook-{mode}.json", codebook | {"policy": policy, "title": title}
            )
        tables = [str(self.tables / file) for file in HOSPITALS.values()]
        self.run_program(str(self.samples / "truth.py"), *tables)
        truths: list[dict[str, Any]] = json.loads(self.outputs("answering in clear")[0])
        return truths

    def upload(self, mode: str) -> list[str]:
        """Both hospitals upload at the same time, each with a key of its own; returns the ids of the datasets."""
        for account, file in HOSPITALS.items():
            argv = ["-m", "providers", "upload", "--url", self.access["url"]]
            argv += ["--token", self.access["tokens"][account]]
            argv += ["--codebook", str(self.tables / f"codebook-{mode}.json")]
            argv += ["--key", str(self.place.var / "hospitals" / account / "key.pem")]
            argv += ["--parties", str(self.place.access), str(self.tables / file)]
            self.run_program(*argv)
        return [text.strip() for text in self.outputs("an upload")]

    def run_program(self, *argv: str) -> None:
        with stopping.held():
            self.programs.append(self.spawn(*argv, stderr=subprocess.PIPE))

    def spawn(self, *argv: str, stderr: int | None) -> subprocess.Popen[str]:
        return spawn(
            [sys.executable, *argv],
            cwd=self.place.root,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def outputs(self, what: str) -> list[str]:
        """What the programs that were run said on stdout, in their order; StackError if one failed."""
        said = [program.communicate(timeout=PATIENCE) for program in self.programs]
        codes = [program.returncode for program in self.programs]
        self.programs = []
        for code, (_, errors) in zip(codes, said, strict=True):
            if code:
                raise StackError(f"{what} failed: {last_line(errors)}")
        return [out for out, _ in said]

    def ask(self, datasets: list[str], mode: str) -> dict[str, Any]:
        question = {
            "program": self.questions(),
            "datasets": datasets,
            "epsilon": EPSILON,
            "mode": mode,
        }
        with self.client("analyst") as analyst, self.client("operator") as operator:
            query = checked(analyst.post("queries/", json=question))["id"]
            checked(operator.post(f"queries/{query}/approve/", json={"reason": "a demonstration"}))
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                answer = analyst.get(f"queries/{query}/result/")
                if answer.status_code != 202:
                    return checked(answer)
                time.sleep(min(float(answer.headers.get("Retry-After", 1)), 0.5))
        raise StackError(f"no answer within {PATIENCE:g} s; the parties' logs are in {self.place.log}")

    def questions(self) -> str:
        return (self.samples / "questions.txt").read_text()

    def client(self, account: str) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.access['url']}/api/",
            headers={"Authorization": f"Token {self.access['tokens'][account]}"},
            timeout=30,
            trust_env=False,
        )

    def show(self, result: dict[str, Any], truths: list[dict[str, Any]], mode: str) -> None:
        if mode == "dp":
            say(f"\nWith noise, epsilon {EPSILON} for the four lines together (the default):\n")
        else:
            say("\nWithout noise, on tables whose policy allows it (for tests and demonstrations):\n")
        asked = self.questions().splitlines()
        for question, statement, truth in zip(asked, result["statements"], truths, strict=False):
            for line in lines(question, statement, truth):
                say(line)
        say("")
        self.failures += nonsense(result["statements"], truths, mode)

    def close(self, whole: float) -> None:
        say(f"[{whole:5.1f} s] in all\n")
        for failure in self.failures:
            say(f"FAILED: {failure}")
        say("Where to look next:")
        for where, what in (
            ("make up", "the same stack, running on; accounts and passwords in var/access.json"),
            ("samples/", "the made-up hospitals, their codebook, the four questions"),
            ("docs/architecture.md", "what just happened, and who saw what"),
            (str(shorter(self.place.log)), "what the portal and the parties logged"),
        ):
            say(f"  {where:<22} {what}")


def checked(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_success:
        body: dict[str, Any] = answer.json()
        return body
    try:
        problem = answer.json()
        said = problem.get("detail") or problem.get("title") or problem.get("code")
    except (ValueError, AttributeError):
        said = answer.reason_phrase
    raise StackError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {said}")


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def shorter(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
