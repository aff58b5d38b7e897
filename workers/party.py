"""What a party does when it is told that a query may run: check, reserve, compute with the others, report.

A task is a hint: whoever controls the queue can repeat, reorder or invent one, and reaches nothing but the
checks of `workers.mandate`. An attempt runs once; what a killed process left is closed and reported by the
next that holds the party's turn. Hidden from reports and logs: everything but codes, names and integers
that were released.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from analytics.query.disclosure import withheld
from analytics.query.model import digest
from mpcnode.errors import MpcError, ProtocolAbort
from mpcnode.store import Store
from workers import metrics, report
from workers.alarm import Connect, Place, give_up, never
from workers.config import Config
from workers.crew import Desk, assist
from workers.errors import LedgerError, PortalUnreachable, Refused, WorkerError
from workers.joint import Answer, Joint, nobody
from workers.keys import Keys
from workers.ledger import Ledger
from workers.mandate import Mandate, check_order, check_order_signature, examine
from workers.portal_client import Portal

log = logging.getLogger(__name__)

TURN_WAIT = 5.0  # seconds a task waits for the one before it
UNKNOWN = "0" * 64


@dataclass(frozen=True, kw_only=True)
class Party:
    """One party at work. `cancelled` says whether the portal has called an attempt of a query off."""

    config: Config
    keys: Keys = field(repr=False)
    store: Store
    ledger: Ledger
    portal: Portal
    connect: Connect
    cancelled: Callable[[str, int], bool]
    summon: Callable[[str, int, int], None] = nobody

    def run(self, query: str, attempt: int) -> str:
        """Play this party's part in one attempt. Returns a word for the log; everything else is reported."""
        with turn(self.config, TURN_WAIT) as mine:
            if not mine:
                log.warning(
                    "party %d: query %s attempt %d waits for another", self.config.party, query, attempt
                )
                return "busy"
            try:
                close_left_open(self.config, self.keys, self.ledger, self.connect)
                post_answers(self.ledger, self.portal)
            except LedgerError as wrong:  # the disk is full: the order is refused below, the rest waits
                log.warning("party %d: %s", self.config.party, wrong)
            try:
                envelope = self.portal.order(query)
            except PortalUnreachable as gone:
                log.warning("party %d: no order for query %s: %s", self.config.party, query, gone)
                return "no_order"
            if envelope.get("attempt") != attempt:
                return "stale"
            try:
                mandate = self._examine(envelope, query, attempt)
            except Refused as refused:
                return self._refuse(refused, envelope, query, attempt)
            return self._attempt(mandate)

    def assist(self, query: str, attempt: int, block: int) -> str:
        """Drive one block of rows of an attempt that another process of this party leads."""
        desk = Desk(config=self.config, keys=self.keys, connect=self.connect, query=query, attempt=attempt)
        return assist(block, desk=desk, store=self.store, cancelled=lambda: self.cancelled(query, attempt))

    def _examine(self, envelope: dict[str, Any], query: str, attempt: int) -> Mandate:
        try:
            self.ledger.meet({peer.party: peer.sign for peer in self.config.peers})
            return examine(
                envelope,
                query=query,
                attempt=attempt,
                config=self.config,
                store=self.store,
                ledger=self.ledger,
            )
        except LedgerError as wrong:  # the disk is full
            raise Refused(wrong.code, str(wrong)) from None

    def _refuse(self, refused: Refused, envelope: dict[str, Any], query: str, attempt: int) -> str:
        """Report a refusal; a task that came twice is none: what is known of it was reported."""
        again = refused.code == "attempt_seen"
        log.log(logging.INFO if again else logging.WARNING, "party %d: query %s attempt %d refused, %s: %s",
                self.config.party, query, attempt, refused.code, refused)  # fmt: skip
        if not again:
            metrics.count(self.config, refused.code, metrics.Watch())
            said = report.refusal(self.config.party, query, attempt, _hash(envelope), refused.code)
            self._post(said)
            self._tell_others(envelope, attempt)
        return refused.code

    def _tell_others(self, envelope: dict[str, Any], attempt: int) -> None:
        """The others need not wait for a party that refused; of an order that is none, nothing is said."""
        try:
            check_order_signature(envelope, self.config)
            order = check_order(envelope)
        except (Refused, KeyError, TypeError):
            return
        if self.config.party not in order.parties:
            return  # nobody waits for a party that the order does without
        place = Place(nonce=order.nonce, attempt=attempt, order_hash=order.hash, missing=order.missing)
        give_up(place, self.config, self.keys, self.connect)

    def _attempt(self, mandate: Mandate) -> str:
        order, number = mandate.order, mandate.attempt
        self._post(report.started(self.config.party, order.query, number, mandate.order_hash))
        joint = Joint(
            mandate=mandate,
            config=self.config,
            keys=self.keys,
            store=self.store,
            ledger=self.ledger,
            connect=self.connect,
            cancelled=lambda: self.cancelled(order.query, number),
            summon=self.summon,
        )
        began = time.monotonic()
        try:
            if self.cancelled(order.query, number):
                raise ProtocolAbort("cancelled")
            answer = joint.compute()
        except Exception as error:  # noqa: BLE001  (whatever it was, the attempt ends with a report)
            code = _code(error)
            _log_failure(self.config.party, order.query, number, code, error)
            joint.drop()
            metrics.count(self.config, code, joint.watch)
            try:
                if code == "mismatch":
                    self.ledger.note_mismatch(mandate.order_hash, [dataset.id for dataset in order.datasets])
                self._abort(mandate, code)
                self._abandon(joint)
            except LedgerError as wrong:  # the attempt stays open: the next that can closes and reports it
                log.warning("party %d: %s", self.config.party, wrong)
            return code
        hidden = withheld(mandate.plan, answer.integers)
        metrics.count(self.config, metrics.WITHHELD if hidden else metrics.ANSWERED, joint.watch)
        if hidden:
            self.ledger.withhold(**mandate.place)
        self._answer(mandate, answer)
        joint.settle()
        joint.sweep()
        log.info("party %d: query %s attempt %d answered after %.2f s, %d rounds",
                 self.config.party, order.query, number, time.monotonic() - began, answer.rounds)  # fmt: skip
        return "answered"

    def _answer(self, mandate: Mandate, answer: Answer) -> None:
        said = report.result(
            self.config.party,
            mandate.order.query,
            mandate.attempt,
            mandate.order_hash,
            plan_hash=mandate.plan.hash,
            session=answer.session,
            integers=answer.integers,
            rounds=answer.rounds,
            missing=mandate.order.missing,
        )
        kept = json.dumps({"report": said, "beside": {"integers": answer.integers}})
        self.ledger.close(**mandate.place, outcome="answered", answer=kept)
        post_answers(self.ledger, self.portal)

    def _abort(self, mandate: Mandate, code: str) -> None:
        ready = self.ledger.spent(**mandate.place)
        said = report.abort(
            self.config.party, mandate.order.query, mandate.attempt, mandate.order_hash, code, ready=ready
        )
        kept = json.dumps({"report": said, "beside": {}})
        self.ledger.close(**mandate.place, outcome=code, answer=kept)
        post_answers(self.ledger, self.portal)

    def _abandon(self, joint: Joint) -> None:
        try:
            joint.abandon()
        except (MpcError, WorkerError) as wrong:
            log.warning("party %d: no ABANDON: %s", self.config.party, wrong)

    def _post(self, said: dict[str, Any]) -> None:
        """Post what the portal may do without; the query goes on if it does not answer."""
        try:
            self.portal.report(said)
        except PortalUnreachable as gone:
            log.warning("party %d: %s not posted: %s", self.config.party, said["type"], gone)


@contextmanager
def turn(config: Config, wait: float) -> Iterator[bool]:
    """Hold the party's turn: one attempt at a time over all its processes; False if `wait` was not enough.

    A record lock: a killed process loses it, and a forked child does not inherit it.
    """
    descriptor = os.open(config.folder / "turn.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= deadline:
                    yield False
                    return
                time.sleep(0.02)
            else:
                yield True
                return
    finally:
        os.close(descriptor)


def close_left_open(config: Config, keys: Keys, ledger: Ledger, connect: Connect) -> None:
    """Close what a killed process left open, tell the others, keep an abort to report. Only in the party's turn.

    What was not SPENT returns; what was stays, for its READY may have left.
    """
    for left in ledger.left_open():
        place = {"nonce": left["nonce"], "attempt": left["attempt"]}
        said = report.abort(
            config.party,
            left["query"],
            left["attempt"],
            left["order_hash"],
            "crashed",
            ready=ledger.spent(**place),
        )
        ledger.close(**place, outcome="crashed", answer=json.dumps({"report": said, "beside": {}}))
        about = Place(**place, order_hash=left["order_hash"])
        give_up(about, config, keys, connect)
        connect(about.name, never).close()  # what the others had sent it
        log.warning("party %d: query %s attempt %d was left open by a killed process",
                    config.party, left["query"], left["attempt"])  # fmt: skip


def post_answers(ledger: Ledger, portal: Portal) -> None:
    """Post the last reports that the portal has not taken yet; what fails now is posted later."""
    for closed in ledger.unposted():
        kept = json.loads(closed["answer"])
        try:
            portal.report(kept["report"], **kept["beside"])
        except PortalUnreachable as gone:
            log.warning(
                "the report on query %s attempt %d waits: %s", closed["query"], closed["attempt"], gone
            )
            if not gone.final:
                return  # the next would wait as long
        ledger.mark_posted(nonce=closed["nonce"], attempt=closed["attempt"])


def _hash(envelope: dict[str, Any]) -> str:
    try:
        return digest(envelope["order"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return UNKNOWN


def _code(error: Exception) -> str:
    if isinstance(error, ProtocolAbort):
        return error.reason
    if isinstance(error, SoftTimeLimitExceeded):
        return "time_limit"
    return error.code if isinstance(error, (MpcError, WorkerError)) else "internal_error"


def _log_failure(party: int, query: str, attempt: int, code: str, error: Exception) -> None:
    """Where it failed and with what kind of error; never the text of an unexpected one: it may hold a value."""
    log.warning("party %d: query %s attempt %d aborted, %s", party, query, attempt, code)
    if isinstance(error, ProtocolAbort) and error.detail:
        log.warning("party %d: %s", party, error.detail)
    elif code == "internal_error":
        frames = traceback.extract_tb(error.__traceback__)
        places = " > ".join(f"{os.path.basename(f.filename)}:{f.lineno}" for f in frames)
        log.error("party %d: %s at %s", party, type(error).__name__, places)
