"""Every five seconds: I am alive, this is my program, this is how long my ledger is and how my store does.

A thread of the worker's main process, which never computes. It also closes what a killed child left open and
posts reports that the portal could not take when they were made. That process forks a new child whenever one
dies, and a child forked in the middle of a beat would inherit SQLite's locks as they were in memory, for good:
so no fork happens during a beat. Public: all of it.
"""

from __future__ import annotations

import logging
import os
import threading
import time

from workers import keys, report
from workers.alarm import Connect
from workers.config import Config
from workers.errors import LedgerError, PortalUnreachable, WorkerError
from workers.health import Health
from workers.keys import Keys
from workers.ledger import Ledger
from workers.lists import Lists
from workers.party import close_left_open, post_answers, turn
from workers.portal_client import Portal
from workers.version import code_version

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds
PATIENCE = 2.0  # seconds: a missed beat is followed by the next
TIMEOUT = 3.0  # seconds of one try: a fork may have to wait for it

TIDY_EVERY = 3600.0  # seconds
KEEP_ANSWERS = 30 * 24 * 3600  # seconds that a posted report is kept in the ledger

no_fork = threading.Lock()  # held during a beat, and taken by whoever forks
os.register_at_fork(before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=no_fork.release)


class Heartbeat(threading.Thread):
    """Beats until `stop`; what goes wrong is logged once and tried again at the next beat."""

    def __init__(self, config: Config, *, every: float = EVERY) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.config = config
        self.every = every
        self._ended = False
        self._wake = threading.Event()

    def stop(self) -> None:
        """No beat after the one under way."""
        self._ended = True
        self._wake.set()

    def soon(self) -> None:
        """Beat now: a child was lost, and the others wait for its attempt."""
        self._wake.set()

    def run(self) -> None:
        with no_fork:
            own = keys.load(self.config.folder)
            ledger = Ledger(self.config.database)
            lists = Lists(self.config)
            health = Health(self.config, own)
        failing, tidy_at = "", time.monotonic()
        with Portal(self.config, own, patience=PATIENCE, timeout=TIMEOUT, sleep=self._pause) as portal:
            while not self._ended:
                try:
                    with no_fork:
                        beat(self.config, own, ledger, portal, lists.connect, health)
                        if time.monotonic() >= tidy_at:
                            tidy_at += TIDY_EVERY
                            tidy(self.config, ledger)
                    failing = ""
                except (PortalUnreachable, WorkerError, OSError) as wrong:
                    if type(wrong).__name__ != failing:
                        log.warning("party %d: no heartbeat: %s", self.config.party, wrong)
                    failing = type(wrong).__name__
                self._pause(self.every)

    def _pause(self, seconds: float) -> None:
        self._wake.wait(seconds)
        if not self._ended:
            self._wake.clear()


def beat(config: Config, own: Keys, ledger: Ledger, portal: Portal, connect: Connect, health: Health) -> None:
    """One beat: tidy up if no attempt runs, then report; a full disk too, by the last known ledger.

    Raises  PortalUnreachable, LedgerError.
    """
    idle, failed = False, None
    try:
        with turn(config, 0.0) as idle:
            if idle:
                close_left_open(config, own, ledger, connect)
    except LedgerError as wrong:
        failed = wrong
    head, said = health.say(ledger)
    answer = portal.report(report.heartbeat(config.party, code_version(), head, busy=not idle, health=said))
    if failed is not None:
        raise failed
    health.witness.hear(answer.get("audit"))
    if idle:
        post_answers(ledger, portal)


def tidy(config: Config, ledger: Ledger) -> None:
    """Delete what has served its time, and say so. Lists in Redis expire by themselves, half-written tables too."""
    forgotten = ledger.forget_answers(int(time.time()) - KEEP_ANSWERS)
    if forgotten:
        log.info("party %d: %d posted reports older than 30 days were deleted", config.party, forgotten)
