"""`manage.py up`: Valkey, web, dispatcher and four parties, started, watched, and stopped in order.

Nothing is said to be ready before it is: the last line comes when the web answers and each party has reported since
this start. Stopping tells the parties to abort what runs, ends them, then the web, then Valkey, within ten seconds.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from . import accounts, parties, stopping, valkey
from .children import Child, Family, clear_leftovers
from .surroundings import StackError, Surroundings, lock

READY_WITHIN = 90.0  # seconds, on a machine that does much else
PATIENCE_PARTIES, PATIENCE_WEB, PATIENCE_VALKEY = 4.5, 2.0, 1.5  # seconds; together under ten
DEMO_NOTICE = (
    "demo deployment: all four parties run on this machine, so whoever owns it can read everything\n"
    "floors here: minimum cohort 1 (11 elsewhere), epsilon per query 20 (5 elsewhere), exact mode on (off elsewhere)"
)


class Stack:
    """One run of the stack in one VAR."""

    def __init__(self, place: Surroundings, environ: dict[str, str], say: Callable[[str], None]) -> None:
        self.place, self.environ, self.say = place, environ, say
        self.family = Family(place.var / "children.json", say)
        self.introductions: parties.Introductions | None = None
        self.web: list[Child] = []
        self.workers: list[Child] = []
        self.redis = valkey.Urls.given(environ.get("REDIS_URL", ""))
        self.url = ""

    def run(self) -> None:
        """Start everything, say so, and watch it until Stopped is raised; whatever happens, leave nothing behind."""
        listening = None
        held = lock(self.place.var / "up.lock")
        try:
            if cleared := clear_leftovers(self.family.pid_file):
                self.say(f"ended {cleared} programs that a killed stack had left")
            listening = listen(self.place.port)
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            self.place.access.unlink(missing_ok=True)
            self.start(listening)
            self.watch()
        finally:
            self.stop()
            if listening is not None:
                listening.close()
            os.close(held)

    def start(self, listening: socket.socket) -> None:
        since = time.time()
        self.introductions = parties.Introductions(self.place)
        self.introductions.begin(self.environ)
        self.start_redis()
        accounts.migrate()
        portal_sign = accounts.portal_key(self.place.portal_key)
        introduced = self.introductions.collect()
        parties.settle(self.place, introduced, portal_sign["sign"], self.url)
        credentials = accounts.ensure(self.place.var / "portal" / "credentials.json")
        self.start_portal(listening)
        self.start_parties()
        valkey.wait_for(self.redis.admin)
        self.wait_ready(since)
        accounts.disconnect()
        access = {"url": self.url, **credentials, "parties": introduced, "portal": portal_sign}
        parties.write_private(self.place.access, access)

    def start_redis(self) -> None:
        if self.redis.admin:
            valkey.wait_for(self.redis.admin, seconds=5)
            return
        child, self.redis = valkey.server(
            self.place.var / "valkey",
            self.place.log / "valkey.log",
            parties.environment(self.environ, self.place.var),
        )
        self.family.add(child)

    def start_portal(self, listening: socket.socket) -> None:
        env = self.environ | {
            "REDIS_URL": self.redis.portal,
            "PORT": self.url.rpartition(":")[2],
        }
        # The socket is made here and kept: a web server that starts again finds the same port.
        gunicorn = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "--no-control-socket"]
        gunicorn += ["--bind", f"fd://{listening.fileno()}", "--graceful-timeout", "1"]
        self.web = [
            self.family.add(self.child("web", gunicorn, env, pass_fds=(listening.fileno(),))),
            self.family.add(self.child("dispatch", [sys.executable, "manage.py", "dispatch"], env)),
        ]

    def start_parties(self) -> None:
        for number in parties.PARTIES:
            argv = [sys.executable, "-m", "celery", "-q", "-A", "workers", "worker", "-n", f"p{number}@%h"]
            argv += ["-Q", "jobs", "-c", "1", "-P", "prefork", "--without-gossip", "--without-mingle"]
            env = parties.environment(self.environ, self.place.party(number), self.redis.parties[number])
            child = self.child(f"party {number}", argv, env, polite=(signal.SIGTERM, signal.SIGQUIT))
            self.workers.append(self.family.add(child))

    def child(self, name: str, argv: list[str], env: dict[str, str], **more: Any) -> Child:
        log = self.place.log / f"{name.replace(' ', '')}.log"
        return Child(name=name, argv=argv, env=env, log=log, cwd=self.place.root, **more)

    def wait_ready(self, since: float) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while not (self.answers() and accounts.parties_heard(since) == len(parties.PARTIES)):
            stopping.check()
            for child in self.family.children:
                if child.ended() is not None:
                    raise StackError(
                        f"{child.name} did not start; the end of {child.log}:\n{child.last_words()}"
                    )
            if time.monotonic() > deadline:
                raise StackError(f"not ready within {READY_WITHIN:g} s; the logs are in {self.place.log}")
            time.sleep(0.1)

    def answers(self) -> bool:
        # No proxy of the environment may stand between this process and its own web server.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with suppress(OSError, ValueError), opener.open(f"{self.url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def watch(self) -> None:
        """Start again what ends, asleep in between; only a signal or a due restart wakes this process."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.say(f"ready {self.url}")
        try:
            while True:
                stopping.check()
                due = self.family.tend()
                if select.select([reading], [], [], 60.0 if due is None else due)[0]:
                    os.read(reading, 512)
        finally:
            signal.set_wakeup_fd(-1)
            os.close(reading)
            os.close(writing)

    def stop(self) -> None:
        """Abort, then end everything in the order that loses least: parties, web, Valkey."""
        stopping.deaf()
        if self.introductions is not None:
            self.introductions.end()
        dispatch = self.web[1:]
        for child in dispatch:
            child.signal(signal.SIGTERM)
        if self.workers:
            with suppress(Exception):
                accounts.abort_running(self.redis.portal)
        self.family.stop([*self.workers, *dispatch], patience=PATIENCE_PARTIES)
        self.family.stop(self.web, patience=PATIENCE_WEB)
        self.family.stop(self.family.children, patience=PATIENCE_VALKEY)
        self.family.forget()


def listen(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; StackError when the port is taken."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(256)
    except OSError as problem:
        listening.close()
        raise StackError(f"port {port} on 127.0.0.1 cannot be used: {problem.strerror}") from None
    return listening
