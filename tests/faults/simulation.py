"""A whole deployment in one process, for random histories: the real portal, four real parties, their real ledgers.

The portal is Django on its database, reached by the parties through its real HTTP interface; parties are threads over
memory. What is random is who does what next, who dies where, what is lost, and what time it is.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.cache import cache
from django.core.wsgi import get_wsgi_application
from django.db import connections

from analytics.query import approval
from analytics.query.approval import fingerprint, load_private_key
from analytics.query.schema import parse_codebook
from portal.budgets.models import Account, Kind, Line
from portal.queries import dispatcher
from portal.queries.models import Attempt, AttemptState, Query, State
from portal.registry.models import Dataset, DatasetState
from providers import bundle as provider_bundle
from tests.portal.factories import Caller
from tests.workers.test_party import STAGES, Killed, before
from tests.workers.world import World, codebook
from workers import heartbeat, ingest
from workers.errors import PortalUnreachable
from workers.health import Health
from workers.party import Party
from workers.portal_client import Portal

FAR = 60  # counts: noise of epsilon 1 is farther from the truth once in 10^26 answers
FINAL = {State.RELEASED, State.REFUSED, State.WITHDRAWN, State.ABORTED}
real_time = time.time


class Clock:
    """One clock for everybody, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return real_time() + self.ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)


@dataclass
class Hints:
    """The broker: what the dispatcher told, until it is delivered, lost or delivered twice."""

    runs: list[tuple[str, int]] = field(default_factory=list)
    tables: list[tuple[str, int]] = field(default_factory=list)
    cancelled: dict[str, int] = field(default_factory=dict)

    def run(self, query: str, attempt: int) -> None:
        self.runs.append((query, attempt))

    def ingest(self, dataset: str, party: int) -> None:
        self.tables.append((dataset, party))

    def cancel(self, query: str, attempt: int) -> None:
        self.cancelled[query] = max(attempt, self.cancelled.get(query, 0))


class Deployment:
    """Portal, parties, people; every method is something that may happen."""

    def __init__(self, folder: Path, settings: Any, clock: Clock) -> None:
        self.clock, self.hints = clock, Hints()
        self.world = World(
            folder, minimum_cohort=1, portal_key=load_private_key(settings.FOURFOLD_PORTAL_KEY)
        )
        settings.FOURFOLD_PARTIES_FILE = folder / "parties.json"
        pinned = [{**peer, "fingerprint": fingerprint(peer["sign"])} for peer in self.world.peers]
        settings.FOURFOLD_PARTIES_FILE.write_text(json.dumps(pinned))
        self.people = {name: Caller(name) for name in ("provider", "analyst", "operator")}
        self.parties = [self._party(number) for number in range(4)]
        self.down: set[int] = set()
        self.late: list[tuple[int, str, int]] = []
        self.rows = itertools.count(200)
        self.ages: dict[str, np.ndarray] = {}
        self.withdrawn: dict[str, set[str]] = {}  # dataset: the queries that were opened before
        self.bodies: dict[str, bytes] = {}

    def _party(self, number: int) -> Party:
        own = self.world.parties[number]
        config = replace(own.config, portal_url="http://localhost", join_timeout=3.0, round_timeout=0.3)
        transport = httpx.WSGITransport(app=get_wsgi_application())
        return Party(
            config=config,
            keys=own.keys,
            store=own.store,
            ledger=own.ledger,
            portal=Portal(config, own.keys, transport=transport, sleep=lambda _: None, patience=0),
            connect=self.world.connect(number),
            cancelled=lambda query, attempt: attempt <= self.hints.cancelled.get(query, 0),
        )

    @property
    def up(self) -> list[int]:
        return [number for number in range(4) if number not in self.down]

    # -- people --------------------------------------------------------------------------------------------

    def upload(self) -> None:
        """A new table; its bundles are at the portal, the parties are not told yet."""
        book = codebook(policy={"minimum_cohort": 1, "epsilon": "6"})
        names = parse_codebook(book).plane_names
        planes = self.world.planes(names, book["capacity"], next(self.rows))
        prepared = self.world.prepare(book, planes)
        self.ages[prepared.id] = ages_of(names, planes)
        body = {
            "manifest": dict(prepared.manifest),
            "signature": prepared.signature,
            "codebook": dict(prepared.codebook),
        }
        provider = self.people["provider"]
        said = provider.post("datasets/", body)
        assert said.status_code == 201, said.content
        for party in range(4):
            chunks = list(provider_bundle.seal(prepared, party))
            for number, chunk in enumerate(chunks):
                path = f"datasets/{prepared.id}/bundles/{party}/{number}/?chunks={len(chunks)}"
                said = provider.call("put", path, content=chunk, content_type="application/octet-stream")
                assert said.status_code == 201, said.content
        assert provider.post(f"datasets/{prepared.id}/complete/").status_code == 200

    def submit(self, dataset: str, age: int, epsilon: str) -> None:
        said = self.people["analyst"].post(
            "queries/",
            {
                "program": f"count() where age >= {age}",
                "datasets": [dataset],
                "epsilon": epsilon,
                "mode": "dp",
            },
        )
        assert said.status_code in (201, 400, 404, 409), said.content

    def decide(self, who: str, query: str, what: str) -> None:
        said = self.people[who].post(f"queries/{query}/{what}/", {"reason": "a simulation"})
        assert said.status_code in (200, 409), (what, said.content)

    def rotate(self, who: str) -> None:
        """A person's token is replaced: the old one opens nothing."""
        old = self.people[who]
        assert old.post("tokens/revoke/").status_code in (200, 204)
        assert old.get("me/").status_code == 401
        self.people[who] = Caller(who)
        assert self.people[who].get("me/").status_code == 200

    def withdraw_table(self, dataset: str) -> None:
        """The provider takes its table back: the portal offers it no more, every party destroys its part."""
        opened = {row["query"] for party in self.parties for row in attempts_of(party) if row["opened"]}
        if Dataset.objects.filter(pk=dataset, state=DatasetState.READY).update(state=DatasetState.WITHDRAWN):
            self.withdrawn[dataset] = opened
            for party in self.parties:
                party.store.destroy(dataset)

    def poll(self, query: str) -> None:
        """The analyst looks: 200 with the same bytes for ever, or why not."""
        said = self.people["analyst"].get(f"queries/{query}/result/")
        state = Query.objects.get(pk=query).state
        assert said.status_code == {State.RELEASED: 200}.get(state, 409 if state in FINAL else 202), state
        if said.status_code == 200:
            assert self.bodies.setdefault(query, said.content) == said.content

    # -- machines ------------------------------------------------------------------------------------------

    def beat(self) -> None:
        for number in self.up:
            party = self.parties[number]
            health = Health(party.config, party.keys)
            heartbeat.beat(party.config, party.keys, party.ledger, party.portal, party.connect, health)

    def tick(self) -> None:
        dispatcher.tick(self.hints)

    def deliver_tables(self) -> None:
        hints, self.hints.tables = self.hints.tables, []
        for dataset, number in hints:
            if number in self.up:
                party = self.parties[number]
                ingest.ingest(
                    dataset, config=party.config, keys=party.keys, store=party.store, ledger=party.ledger,
                    portal=party.portal,
                )  # fmt: skip

    def deliver(
        self, lost: Iterable[int] = (), killed: int | None = None, stage: str = "", key: int | None = None
    ) -> None:
        """The oldest order to run reaches the parties that are up, but for the `lost` hints.

        killed, stage   this party dies there, and stays down until it is restarted
        key             this party signs with a key that nobody has pinned
        """
        if not self.hints.runs:
            return
        query, attempt = self.hints.runs.pop(0)
        hear = [number for number in self.up if number not in set(lost)]
        self.late += [(number, query, attempt) for number in self.up if number in set(lost)]
        with pytest.MonkeyPatch.context() as patch:
            if killed in hear:
                patch.setattr(*before(*STAGES[stage], killed))
            self._play(query, attempt, hear, key)

    def deliver_late(self) -> None:
        """What one party missed reaches it now, when the others may have ended or be elsewhere."""
        if self.late:
            number, query, attempt = self.late.pop(0)
            if number in self.up:
                self._play(query, attempt, [number], None)

    def restart(self, number: int) -> None:
        """A party that died is back: its first beat closes what it left open."""
        self.down.discard(number)
        self.beat()

    def _play(self, query: str, attempt: int, hear: list[int], key: int | None) -> None:
        nonce = self._nonce(query)
        absent = [number for number in range(4) if number not in hear]
        for number in absent:  # who does not come is known to be silent: nobody waits for a time-out
            self.world.network(f"{nonce}-{attempt}").transport(number).close()

        def one(number: int) -> None:
            party = self.parties[number]
            if number == key:
                party = replace(party, keys=replace(party.keys, sign=Ed25519PrivateKey.generate()))
            try:
                party.run(query, attempt)
            except Killed:
                self.down.add(number)
                self.world.network(f"{nonce}-{attempt}").transport(number).close()
            except PortalUnreachable:
                pass
            finally:
                connections.close_all()

        threads = [threading.Thread(target=one, args=(number,)) for number in hear]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a party hangs"

    @staticmethod
    def _nonce(query: str) -> str:
        return str(json.loads(Query.objects.get(pk=query).order.body)["nonce"])

    # -- what must hold after every step -------------------------------------------------------------------

    def check(self) -> None:
        cache.clear()  # nobody is throttled: a history is hours long and takes seconds
        self._budgets()
        self._answers()

    def _budgets(self) -> None:
        for account in Account.objects.all():
            kinds: dict[tuple[Any, int, int], set[str]] = {}
            for *place, kind in Line.objects.filter(account=account).values_list(
                "query", "attempt", "micro_epsilon", "kind"
            ):
                kinds.setdefault((place[0], place[1], place[2]), set()).add(kind)
            # A debit reported after its return is taken anew: what is SPENT stays so.
            spent = sum(place[2] for place, said in kinds.items() if Kind.SPENT in said)
            reserved = sum(place[2] for place, said in kinds.items() if said == {Kind.RESERVED})
            assert (account.spent, account.reserved) == (spent, reserved)
            assert account.spent + account.reserved <= account.total
            for party in self.parties:
                held = party.ledger.balance(account.pk)
                assert held is None or held.reserved + held.spent <= held.cap

    def _answers(self) -> None:
        for query in Query.objects.filter(state=State.RELEASED).select_related("result"):
            body = query.result.body.encode()
            # One answer a query, the same for ever.
            assert self.bodies.setdefault(str(query.pk), body) == body
            answer = json.loads(body)
            if query.stored_from_id is not None or answer["from"]:
                continue
            signers = set()
            for signed in answer["signatures"]:
                approval.verify(
                    signed["report"], signed["signature"], self.world.peers[signed["party"]]["sign"]
                )
                signers.add(signed["party"])
                said = signed["report"]
                assert (said["query"], said["order_hash"]) == (str(query.pk), query.order.hash)
            assert len(signers) >= 3
            assert (
                len({(s["report"]["session"], s["report"]["result_hash"]) for s in answer["signatures"]}) == 1
            )
            assert query.attempts.filter(state=AttemptState.RELEASED).count() == 1
            (dataset,) = answer["datasets"]
            age = int(query.program.rpartition(" ")[2])
            truth = int((self.ages[dataset] >= age).sum())
            assert abs(answer["integers"][0][0] - truth) < FAR, (answer["integers"], truth)
            if dataset in self.withdrawn:
                assert str(query.pk) in self.withdrawn[dataset], "a withdrawn table was used"

    def settle(self) -> None:
        """Everybody is back and all is brought to its end; what any party holds as spent, the portal does too."""
        for number in list(self.down):
            self.restart(number)
        for _ in range(80):
            self.beat()
            self.tick()
            self.deliver_tables()
            while self.hints.runs:
                self.deliver()
            while self.late:
                self.deliver_late()
            self.check()
            if not Query.objects.filter(state__in=[State.APPROVED, State.RUNNING]).exists() and not (
                Attempt.objects.filter(state=AttemptState.RUNNING).exists()
            ):
                break
            self.clock.ahead += 20
        else:
            states = list(Query.objects.exclude(state__in=FINAL).values_list("state", flat=True))
            raise AssertionError(f"work that never ends: {states}")
        self.beat()
        for party in self.parties:
            party.ledger.verify()
            assert party.ledger.left_open() == [] and party.ledger.unposted() == []
        for attempt in Attempt.objects.select_related("query__order"):
            place = {"nonce": self._nonce(str(attempt.query_id)), "attempt": attempt.number}
            if any(party.ledger.spent(**place) for party in self.parties):
                line = Line.objects.filter(query=attempt.query_id, attempt=attempt.number, kind=Kind.SPENT)
                assert line.exists(), "a party paid, and the portal's account does not say so"
        for account in Account.objects.all():
            assert account.reserved == 0


def attempts_of(party: Party) -> list[dict[str, Any]]:
    with party.ledger._connection() as db:
        return [dict(row) for row in db.execute("SELECT * FROM attempts")]


def ages_of(names: list[tuple[str, Any]], planes: np.ndarray) -> np.ndarray:
    """The ages of the patients in these planes."""
    bits = np.unpackbits(planes.astype("<u8").view(np.uint8), axis=1, bitorder="little")
    valid = bits[names.index(("", "valid"))].astype(bool)
    code = sum(
        bits[i].astype(int) << part
        for i, (column, part) in enumerate(names)
        if column == "age" and part != "present"
    )
    return code[valid] + 18
