"""Four parties as real Celery workers over a real Redis, a portal that keeps what they say, and their ledgers read back."""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import redis

from analytics.query.order import Order
from tests.redis_server import RedisServer
from tests.workers.test_worker import Workers, served, until
from tests.workers.world import QUERY, World, codebook

MICRO = 1000  # what an attempt costs
ROUND = 2  # seconds of a peer's silence


class DoomedWorkers(Workers):
    """Workers that run tests/faults/doomed.py."""

    application = "doomed"
    round = ROUND

    def start(self, number: int, **more: Any) -> None:
        shutil.copy(Path(__file__).with_name("doomed.py"), self.program / "doomed.py")
        super().start(number, **more)


class Stage:
    """A world, its four processes, one dataset in every store; asks one question after another."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self.server = server
        self.world = World(folder, minimum_cohort=1)
        self.world.give(self.world.prepare(codebook(policy={"minimum_cohort": 1})))
        self.portal = self.world.portal
        self.http, url = served(self.portal)
        self.workers = DoomedWorkers(self.world, server.url, url, folder)
        self.numbers = itertools.count(1)

    def wait_alive(self) -> Stage:
        self.beaten(range(4), 0)
        return self

    def beaten(self, parties: Any, before: int) -> None:
        """Wait for a heartbeat of each of these after the first `before` reports."""

        def seen() -> set[int]:
            said = [body["report"] for body in self.portal.reports[before:]]
            return {r["party"] for r in said if r["type"] == "fourfold/1/heartbeat"}

        until(lambda: set(parties) <= seen(), f"heartbeats of {list(parties)}")

    def restart(self, number: int, **more: Any) -> None:
        """Start a killed party again and wait for its heartbeat."""
        before = len(self.portal.reports)
        self.workers.start(number, **more)
        self.beaten([number], before)

    def close(self) -> None:
        self.workers.stop()
        self.http.shutdown()
        self.http.server_close()
        self.server.close()

    # -- one question --------------------------------------------------------------------------------------

    def order(self, mode: str = "dp") -> Order:
        return self.world.order(
            "count() where age >= 40", mode=mode, micro_epsilon=MICRO, number=next(self.numbers)
        )

    def tell(self, order: Order, attempt: int = 1, times: int = 1) -> None:
        self.portal.envelopes[QUERY] = self.world.envelope(order, attempt=attempt)
        for _ in range(times):
            self.workers.send("workers.run", query=QUERY, attempt=attempt)

    def said(self, kind: str, order: Order, attempt: int = 1) -> list[dict[str, Any]]:
        return [r for r in self.portal.said(kind) if (r["order_hash"], r["attempt"]) == (order.hash, attempt)]

    def ended(
        self, order: Order, attempt: int = 1, parties: Iterable[int] = range(4)
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Results and aborts, once every one of these parties has said its last word on the attempt."""

        def last_words() -> set[int]:
            return {r["party"] for kind in ("result", "abort") for r in self.said(kind, order, attempt)}

        until(
            lambda: last_words() == set(parties),
            f"last words, not {last_words()}\n{self.workers.logs()[-3000:]}",
        )
        return self.said("result", order, attempt), self.said("abort", order, attempt)

    def answered(self, order: Order, attempt: int = 1) -> None:
        """All four parties sign one answer of one session."""
        results, aborts = self.ended(order, attempt)
        assert aborts == [] and len(results) == 4
        assert len({(r["session"], r["result_hash"]) for r in results}) == 1

    # -- faults --------------------------------------------------------------------------------------------

    def folder(self, number: int) -> Path:
        return Path(self.world.parties[number].config.folder)

    def doom(self, number: int, label: str, how: str) -> None:
        # Whole at once: the worker may look at any moment.
        place = self.folder(number)
        (place / "doom.new").write_text(json.dumps({"label": label, "how": how}))
        (place / "doom.new").rename(place / "doom")

    def fired(self, number: int) -> bool:
        return not (self.folder(number) / "doom").exists()

    def go(self, number: int) -> None:
        (self.folder(number) / "go").touch()

    def labels(self, number: int) -> list[str]:
        """The places that a party comes to in an attempt that succeeds, in their order."""
        before = {p: len(self._labels(p)) for p in (number,)}
        order = self.order()
        self.tell(order)
        self.answered(order)
        until(lambda: "after reporting result" in self._labels(number)[before[number] :])
        return self._labels(number)[before[number] :]

    def _labels(self, number: int) -> list[str]:
        path = self.folder(number) / "labels"
        return path.read_text().splitlines() if path.exists() else []

    # -- what is left --------------------------------------------------------------------------------------

    def events(self, number: int, order: Order, attempt: int = 1) -> list[str]:
        """The lines of a party's ledger on one attempt, and a chain that follows."""
        self.world.parties[number].ledger.verify()
        with closing(sqlite3.connect(self.world.parties[number].config.database)) as db:
            rows = db.execute(
                "SELECT event FROM lines WHERE nonce = ? AND attempt = ? ORDER BY number",
                (order.nonce, attempt),
            )
            return [event for (event,) in rows]

    def lists_left(self) -> dict[str, int]:
        """{list: seconds until it expires} of the protocol's lists."""
        with redis.Redis.from_url(self.server.url) as client:
            found = {name.decode(): int(client.ttl(name)) for name in client.scan_iter("mpc:*")}
        return {
            name: seconds for name, seconds in found.items() if seconds != -2
        }  # read to its end meanwhile

    def no_lists_left(self, order: Order) -> None:
        """Of its sessions; an ABORT or ABANDON that came after its receiver had gone stays until it expires."""

        def of_sessions() -> list[str]:
            beside = ("-abort", "-abandon")
            return [n for n in self.lists_left() if order.nonce in n and not n.endswith(beside)]

        until(lambda: of_sessions() == [], f"no list of a session is left, but {of_sessions()}")
        assert all(0 <= seconds <= 900 for seconds in self.lists_left().values())


def since(began: float) -> float:
    return time.monotonic() - began
