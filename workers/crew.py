"""Row blocks of one attempt spread over several processes of one party.

The process that plays the attempt (the lead) shakes hands and reveals; each helper drives rows of its own in a
sub-session with its own keys, and hands back this party's share of their totals. Both go over lists from the party to
itself, sealed under a key that only this party's processes have: Redis learns how many there are. The task that
summons a helper is a hint, as every task is; what it works on comes sealed, and serves once.

A helper that fails says so, and the lead gives up; a lead that gives up stops its helpers within half a second. Drivers
share no key and no state, so what one still sends then says nothing about another's rows. Totals are joined only when
every helper has finished (docs/protocols.md, Several processes).
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from analytics import execute
from analytics.query import cost
from analytics.query.model import Plan, canonical
from analytics.query.order import Order
from mpcnode.driver import run
from mpcnode.errors import ProtocolAbort, StoreError
from mpcnode.handshake import DriverKeys
from mpcnode.ring import RING
from mpcnode.sealed import seal, unseal
from mpcnode.session import Session
from mpcnode.sharing import Share
from mpcnode.store import Store
from mpcnode.views import Views
from workers import kept, mandate
from workers.alarm import Connect, never
from workers.config import Config
from workers.keys import Keys

log = logging.getLogger(__name__)

SUMMONS_WAIT = 10.0  # seconds that a summoned helper waits for its work
JOIN_WAIT = (
    600.0  # seconds that a lead waits for its helpers; a silent one ends its peers' rounds long before
)
KEPT_MARKS = 24 * 3600  # seconds that a mark of used work stays


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where lead and helper of one attempt meet: lists of the party to itself, and the key of what lies there."""

    config: Config
    keys: Keys = field(repr=False)
    connect: Connect
    query: str
    attempt: int

    def push(self, block: int, kind: str, plain: bytes) -> None:
        transport = self.connect(self._name(block, kind), never)
        transport.push(self.config.party, [seal(self._key, plain, self._about(block, kind))])

    def pull(self, block: int, kind: str, timeout: float, cancelled: Callable[[], bool] = never) -> bytes:
        """Raises ProtocolAbort without it in time, StoreError if somebody else wrote it."""
        transport = self.connect(self._name(block, kind), cancelled)
        frame = transport.pull(self.config.party, 1, timeout)[0]
        return unseal(self._key, frame, self._about(block, kind))

    def stopped(self, block: int) -> Callable[[], bool]:
        """Whether the lead has stopped this helper; anybody who can write to Redis can say so, and no more."""
        transport = self.connect(self._name(block, "stop"), never)

        def look() -> bool:
            with suppress(ProtocolAbort):
                return transport.poll(self.config.party) is not None
            return False

        return look

    def clear(self, block: int) -> None:
        """Delete what was not read."""
        for kind in ("work", "totals"):
            with suppress(ProtocolAbort):
                self.connect(self._name(block, kind), never).close()

    def _name(self, block: int, kind: str) -> str:
        return f"{self.query}-{self.attempt}-{block}-{kind}"

    def _about(self, block: int, kind: str) -> bytes:
        return canonical(["fourfold/1/crew", self.query, self.attempt, block, kind])

    @property
    def _key(self) -> bytes:
        return HKDF(SHA256(), 32, salt=None, info=b"fourfold/1/crew").derive(self.keys.store)


@dataclass(kw_only=True)
class Crew:
    """The lead's side: deal each helper its rows, join their totals, or stop them."""

    desk: Desk
    summon: Callable[[str, int, int], None]  # query, attempt, how many helpers
    cancelled: Callable[[], bool]
    views: kept.Kept
    helpers: int = 0

    def deal(
        self, order: Order, session: str, drivers: Sequence[DriverKeys], work: Sequence[cost.Work]
    ) -> None:
        """Give each helper its keys and its rows, and summon them."""
        shared = self.views.shared()
        for keys, rows in zip(drivers, work, strict=True):
            task = {
                "order": order.public(),
                "session": session,
                "until": int(time.time() + JOIN_WAIT),
                "keys": _written(keys),
                "work": [[[b.table, b.start, b.stop] for b in batch] for batch in rows],
                "views": shared,
            }
            self.desk.push(keys.block, "work", json.dumps(task).encode())
            self.helpers = keys.block
        self.summon(self.desk.query, self.desk.attempt, self.helpers)

    def join(self, totals: execute.Totals) -> execute.Totals:
        """Add every helper's totals. Raises ProtocolAbort if one failed or is silent."""
        for block in range(1, self.helpers + 1):
            answer = self.desk.pull(block, "totals", JOIN_WAIT, self.cancelled)
            size = int.from_bytes(answer[:4], "big")
            said = json.loads(answer[4 : 4 + size])
            if said["failed"] is not None:
                raise ProtocolAbort(said["failed"], f"in driver {block}")
            self.views.take(said["written"])
            totals = execute.added(totals, _read_totals(totals, answer[4 + size :]))
        return totals

    def end(self, *, stop: bool) -> None:
        """After the attempt: nothing stays on the lists but the word to stop, for helpers that still run."""
        for block in range(1, self.helpers + 1):
            self.desk.clear(block)
            if stop:
                with suppress(ProtocolAbort):
                    self.desk.push(block, "stop", b"")


def assist(block: int, *, desk: Desk, store: Store, cancelled: Callable[[], bool]) -> str:
    """A helper's part of an attempt. Returns a word for the log; what went wrong is the lead's to report."""
    try:
        task = json.loads(desk.pull(block, "work", SUMMONS_WAIT))
        _use_once(desk, block, task)
    except (ProtocolAbort, StoreError, ValueError) as wrong:
        log.warning("party %d: no work for driver %d: %s", desk.config.party, block, wrong)
        return "no_work"
    stopped = desk.stopped(block)
    code: str | None = None
    written: list[dict[str, Any]] = []
    totals: execute.Totals = []
    try:
        totals, written = _driven(task, desk, store, lambda: cancelled() or stopped())
    except ProtocolAbort as failed:
        code = failed.reason
        log.warning("party %d: driver %d: %s", desk.config.party, block, failed.detail or code)
    except Exception:
        code = "internal_error"
        raise
    finally:
        said = json.dumps({"failed": code, "written": written}).encode()
        body = b"".join(np.ascontiguousarray(t.components, dtype="<u8").tobytes() for t in totals)
        with suppress(ProtocolAbort):
            desk.push(block, "totals", len(said).to_bytes(4, "big") + said + body)
    return code or "joined"


def _driven(
    task: dict[str, Any], desk: Desk, store: Store, cancelled: Callable[[], bool]
) -> tuple[execute.Totals, list[dict[str, Any]]]:
    plan = _plan(Order.parse(task["order"]), store)
    keys = _read(task["keys"])
    name = f"{task['session']}-{keys.block}"
    transport = desk.connect(name, cancelled)
    try:
        session = Session(
            party=keys.party,
            n=keys.n,
            channel=keys.channel(transport, desk.config.round_timeout),
            prss_keys=keys.prss,
            vouch_keys=keys.vouch,
            session_id=keys.session_id,
            block=keys.block,
        )
        views = kept.joined(Views(store, 0), plan, task["views"])
        tables = execute.tables(plan, store.columns, views)
        work = [[cost.Block(*place) for place in batch] for batch in task["work"]]
        totals = run(session, execute.partial(session, plan, tables, work))
        return totals, [own.written() for own in views]
    finally:
        transport.close()


def _plan(order: Order, store: Store) -> Plan:
    """The plan that the lead has checked: the same text over the same datasets."""
    manifests = [mandate.check_dataset(dataset, store) for dataset in order.datasets]
    plan = mandate.check_program(order, [mandate.facts_of(m, store) for m in manifests])
    mandate.check_plan_hash(order, plan)
    return plan


def _use_once(desk: Desk, block: int, task: dict[str, Any]) -> None:
    """Work whose keys were used is refused: whoever owns Redis can lay it on the list again."""
    if time.time() > task["until"]:
        raise ValueError("it is too old")
    folder = desk.config.folder / "crew"
    folder.mkdir(mode=0o700, exist_ok=True)
    for mark in folder.iterdir():
        if time.time() - mark.stat().st_mtime > KEPT_MARKS:
            mark.unlink(missing_ok=True)
    try:
        os.close(os.open(folder / f"{desk.query}-{desk.attempt}-{block}", os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise ValueError("it was used before") from None


def _written(keys: DriverKeys) -> dict[str, Any]:
    return {
        "party": keys.party,
        "n": keys.n,
        "session_id": keys.session_id.hex(),
        "block": keys.block,
        "links": [[frm, to, key.hex()] for (frm, to), key in keys.links.items()],
        "vouch": [[peer, key.hex()] for peer, key in keys.vouch.items()],
        "prss": [[c, key.hex()] for c, key in keys.prss.items()],
    }


def _read(said: dict[str, Any]) -> DriverKeys:
    return DriverKeys(
        party=said["party"],
        n=said["n"],
        session_id=bytes.fromhex(said["session_id"]),
        block=said["block"],
        links={(frm, to): bytes.fromhex(key) for frm, to, key in said["links"]},
        vouch={peer: bytes.fromhex(key) for peer, key in said["vouch"]},
        prss={c: bytes.fromhex(key) for c, key in said["prss"]},
    )


def _read_totals(like: execute.Totals, body: bytes) -> execute.Totals:
    """A helper's totals, of the shapes that the lead's own have."""
    words = np.frombuffer(body, dtype="<u8").astype(np.uint64)
    out, start = [], 0
    for total in like:
        size = total.components.size
        components = words[start : start + size].reshape(total.components.shape)
        out.append(Share(total.party, total.n, RING, components))
        start += size
    return out
