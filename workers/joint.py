"""One attempt together with the other parties: handshake, rounds, budget, READY, release; or ABANDON.

The order is that of docs/protocols.md: agreement on everything before round 0, rounds, the debit SPENT in the
transaction before this party's READY, opening, signed integers. What was spent returns only when every party
has signed that it did not open and never will. Hidden: shares, totals, noise. Public: hellos, READYs, plan.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from analytics import execute
from analytics.privacy.mechanisms import thresholds
from analytics.query import cost
from analytics.query.disclosure import NOTHING, Earlier
from analytics.query.model import Plan, canonical, digest
from mpcnode import handshake, release
from mpcnode.driver import run
from mpcnode.errors import ProtocolAbort, StoreError
from mpcnode.session import Session
from mpcnode.sharing import Share, without, xor_share
from mpcnode.store import Store, Words
from mpcnode.transport.base import Transport
from mpcnode.transport.renumbered import Renumbered
from mpcnode.views import Views
from workers.alarm import Alarm, Connect, Place, never, others, signed_by
from workers.config import PARTIES, Config
from workers.crew import Crew, Desk
from workers.earlier import Memory
from workers.kept import Kept
from workers.keys import Keys
from workers.ledger import Ledger
from workers.mandate import Mandate
from workers.metrics import Watch
from workers.version import code_version

log = logging.getLogger(__name__)

ABANDON_WAIT = 2.0  # seconds that a party with a spent debit waits for the others' ABANDON


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was released: signed integers, a list for each release of the plan."""

    integers: list[list[int]]
    session: str
    rounds: int


def nobody(query: str, attempt: int, helpers: int) -> None:
    """Of a party that has no further processes: its hello offers one driver."""


@dataclass(kw_only=True)
class Joint:
    """One attempt of one order, from handshake to answer. Used once."""

    mandate: Mandate
    config: Config
    keys: Keys = field(repr=False)
    store: Store
    ledger: Ledger
    connect: Connect
    cancelled: Callable[[], bool] = never
    summon: Callable[[str, int, int], None] = nobody
    stopped: Callable[[], bool] = never  # cancelled, or another party gave up
    session_id: bytes | None = None
    kept: Kept | None = None
    watch: Watch = field(default_factory=Watch, repr=False)
    committed: bool = False  # this party's READY may have left: only READYs decide from here

    def compute(self) -> Answer:
        """Run the plan with the other parties and return what they released.

        Raises  ProtocolAbort with its public reason, peer_aborted if another party gave up first;
                StoreError, LedgerError. This party has then opened nothing, unless its ledger says that it did.
        """
        alarm = Alarm(place=self._place, config=self.config, keys=self.keys, connect=self.connect)
        self.stopped = lambda: self.cancelled() or (not self.committed and alarm.heard())
        transport = self.connect(self._place.name, self.stopped)
        if self._passive:
            transport = Renumbered(transport, self._parties)
        try:
            return self._compute(transport)
        except Exception as failed:
            alarm.give_up()
            if isinstance(failed, ProtocolAbort) and failed.reason == "cancelled" and alarm.by is not None:
                raise ProtocolAbort("peer_aborted", f"party {alarm.by} gave up") from None
            raise
        finally:
            alarm.close()
            transport.close()

    def _compute(self, transport: Transport) -> Answer:
        plan, own = self.mandate.plan, self.config
        self.kept = kept = Kept(Views(self.store, own.ring_views_mb << 20), plan)
        try:
            return self._in_session(transport, plan, kept)
        except (ProtocolAbort, StoreError) as failed:
            if isinstance(failed, StoreError) or (self.session_id is None and failed.reason == "mismatch"):
                kept.drop_offered()
            raise

    def _in_session(self, transport: Transport, plan: Plan, kept: Kept) -> Answer:
        own = self.config
        memory = Memory(
            ledger=self.ledger, plan=plan, facts=self.mandate.facts, nonce=self.mandate.order.nonce
        )
        keys = handshake.handshake(
            party=self._number(own.party),
            transport=transport,
            identity=handshake.Identity(private=self.keys.sign, public=self._signers),
            terms=self._terms(plan),
            ledger=_head(self.ledger.head()),
            seen={
                self._number(p): _head(head)
                for p, head in self.ledger.peers().items()
                if p in self._parties and p != own.party
            },
            stored=lambda component, agreed, told: (
                self._stored(component, memory.earlier(told)) + kept.digests(component, agreed)
            ),
            timeout=own.round_timeout,
            join_timeout=own.join_timeout,
            offered=kept.offered,
            drivers=1 if self._passive else own.drivers,
            contains=lambda head: self.ledger.contains(head.length, head.digest.hex()),
            earlier=memory.told,
        )
        if not memory.told <= keys.earlier:
            # Before round 0: the others forgot, or deny it, and what they would compute could be subtracted.
            raise ProtocolAbort("disagreement", "this party alone remembers an exact answer")
        self.session_id = keys.session_id
        self.watch.channel = keys.channel
        self.watch.passed("handshake")
        for peer, head in keys.heads.items():
            self.ledger.see_peer(self._parties[peer], head.length, head.digest.hex())
        session = Session(
            party=self._number(own.party),
            n=self.mandate.order.n,
            channel=keys.channel,
            prss_keys=keys.prss_keys,
            vouch_keys=keys.vouch_keys,
            session_id=keys.session_id,
            block=keys.block,
        )
        # What three parties make is passively secure only: they read no ring views and keep none.
        views: Sequence[execute.RingViews] = (
            [execute.NoViews() for _ in plan.datasets] if self._passive else kept.tables(keys.views)
        )
        total = self._total(session, plan, views, keys, memory.earlier(keys.earlier))
        self.watch.passed("rounds")
        purpose = _purpose(plan)
        words = release.reveal(session, keys.channel, total, purpose, self._release_terms(plan, purpose))
        self.watch.passed("release")
        return Answer(
            integers=execute.integers(plan, words), session=keys.session_id.hex(), rounds=session.rounds
        )

    def _total(
        self,
        session: Session,
        plan: Plan,
        views: Sequence[execute.RingViews],
        keys: handshake.Established,
        earlier: Sequence[Earlier],
    ) -> Share:
        """What is to be revealed, computed by as many drivers as all parties have and the rows need."""
        tables = execute.tables(plan, self._columns, views, earlier)
        self.watch.passed("read")
        work = cost.spread(plan, [own.held for own in views], keys.drivers)
        if len(work) == 1:
            return run(session, execute.execute(session, plan, tables, earlier=earlier))
        assert self.kept is not None, "views were opened before the session"
        order, attempt = self.mandate.order, self.mandate.attempt
        desk = Desk(
            config=self.config, keys=self.keys, connect=self.connect, query=order.query, attempt=attempt
        )
        crew = Crew(desk=desk, summon=self.summon, cancelled=self.stopped, views=self.kept)
        try:
            drivers = [keys.keys(block) for block in range(1, len(work))]
            crew.deal(order, self._place.name, drivers, work[1:])
            total = run(session, execute.execute(session, plan, tables, work[0], crew.join))
        except BaseException:
            crew.end(stop=True)
            raise
        crew.end(stop=False)
        return total

    # -- what is agreed and what is read -------------------------------------------------------------------

    @property
    def _place(self) -> Place:
        """The name of the lists that carry the session: an attempt has its own, and it serves once."""
        order = self.mandate.order
        return Place(**self.mandate.place, order_hash=self.mandate.order_hash, missing=order.missing)

    @property
    def _parties(self) -> tuple[int, ...]:
        """Who takes part: number k inside the session is party `_parties[k]`."""
        return self.mandate.order.parties

    @property
    def _passive(self) -> bool:
        return self.mandate.order.missing is not None

    def _number(self, party: int) -> int:
        return self._parties.index(party)

    @property
    def _signers(self) -> dict[int, bytes]:
        return {self._number(p): bytes.fromhex(self.config.peers[p].sign) for p in self._parties}

    def _columns(self, dataset: str, names: Sequence[str]) -> dict[str, Words]:
        """Stored components as those of this session: folded when one party is missing, and then never stored."""
        stored, missing = self.store.columns(dataset, names), self.mandate.order.missing
        if missing is None:
            return stored
        return {
            name: without(xor_share(self.config.party, PARTIES, planes), missing).components
            for name, planes in stored.items()
        }

    def _stored(self, component: int, earlier: Sequence[Earlier]) -> bytes:
        """The bundles' part of H_c: all that is stored under the component that this session reads, or folds into it."""
        plan, order = self.mandate.plan, self.mandate.order
        folded = [order.missing] if order.missing is not None and component == 0 else []
        before = earlier or [NOTHING] * len(plan.datasets)
        return b"".join(
            self.store.component_digests(dataset.id, execute.read_columns(plan, place, one), c)
            for place, (dataset, one) in enumerate(zip(plan.datasets, before, strict=True))
            for c in (self._parties[component], *folded)
        )

    def _terms(self, plan: Plan) -> handshake.Terms:
        # Of a session that reads no ring views; from those that it reads, all agree on the same other one.
        layout = [[[b.table, b.start, b.stop] for b in batch] for batch in cost.batches(plan)]
        constants = [thresholds(r.scale) for r in plan.releases if r.scale is not None]
        return handshake.Terms(
            order_hash=bytes.fromhex(self.mandate.order_hash),
            attempt=self.mandate.attempt,
            plan_hash=bytes.fromhex(plan.hash),
            mode=plan.mode,
            layout=canonical(layout),
            code_version=code_version(),
            constants=bytes.fromhex(digest([[str(t) for t in sample] for sample in constants])),
            missing=self.mandate.order.missing,
        )

    # -- budget, READY, opening ----------------------------------------------------------------------------

    def _release_terms(self, plan: Plan, purpose: release.Purpose) -> release.Terms:
        return release.Terms(
            words=execute.released_words(plan),
            purpose=purpose,
            plan_hash=bytes.fromhex(plan.hash),
            commit=self._spend,
            opening=self._opening,
            sign=self.keys.sign.sign,
            verify=lambda number, message, signature: self._signed_by(
                self._parties[number], message, signature
            ),
            # Not less: a peer can hold an honest party back by a round's time-out before it comes to its READY.
            timeout=self.config.round_timeout,
        )

    def _signed_by(self, party: int, message: bytes, signature: bytes) -> bool:
        return signed_by(self.config, party, message, signature)

    def _spend(self) -> bytes:
        """The debit is SPENT, on disk, when this returns: only then does READY leave."""
        assert self.session_id is not None, "nothing is spent before the handshake"
        self.committed = True
        self.ledger.spend(**self.mandate.place, session=self.session_id.hex())
        return bytes.fromhex(digest(self.mandate.place))[: release.DEBIT_BYTES]

    def _opening(self) -> None:
        self.ledger.opening(**self.mandate.place)

    def settle(self) -> None:
        """Keep the ring views that this session made, if every party has them. Only after the answer."""
        assert self.session_id is not None and self.kept is not None, "an answer came from a session"
        if self.kept.pending:
            transport = self.connect(f"{self._place.name}-views", never)
            peers = others(self.config)
            self.kept.settle(self.session_id, peers, transport, self.keys.sign.sign, self._signed_by)

    def drop(self) -> None:
        """Leave nothing of a session without an answer."""
        if self.kept is not None:
            self.kept.drop()

    def sweep(self) -> None:
        """Remove what came after this party had its answer: the third opening, of which two suffice."""
        with suppress(ProtocolAbort):
            self.connect(self._place.name, never).close()

    # -- when there is no answer ---------------------------------------------------------------------------

    def abandon(self) -> bool:
        """Sign ABANDON if this party opened nothing, and take a spent debit back if everybody did the same.

        Returns whether the debit was taken back. Never raises what a peer or the network did.
        """
        place = self.mandate.place
        record = self.ledger.attempt(**place)
        if self.session_id is None or record is None or record["opened"]:
            return False
        self.ledger.abandon(**place)
        spent = self.ledger.spent(**place)
        message = release.abandon_message(self.session_id)
        transport = self.connect(f"{self._place.name}-abandon", never)
        peers = others(self.config, self.mandate.order.missing)
        signatures: dict[int, str] = {}
        try:
            for peer in peers:
                with suppress(ProtocolAbort):
                    transport.push(peer, [self.keys.sign.sign(message)])
            deadline = time.monotonic() + ABANDON_WAIT
            while spent and len(signatures) < len(peers) and time.monotonic() < deadline:
                for peer in peers:
                    frame = transport.poll(peer)
                    if frame is not None and signed_by(self.config, peer, message, bytes(frame)):
                        signatures[peer] = bytes(frame).hex()
                time.sleep(0.02)
        except ProtocolAbort:
            pass  # cancelled or cut off: without all signatures the debit stays
        finally:
            with suppress(ProtocolAbort):
                transport.close()
        if not spent or len(signatures) < len(peers):
            return False
        self.ledger.take_back(**place, abandons=signatures, others=peers)
        log.info("party %d: every party abandoned, the debit returns", self.config.party)
        return True


def _purpose(plan: Plan) -> release.Purpose:
    return release.Purpose.NOISED_RESULT if plan.mode == "dp" else release.Purpose.EXACT_RESULT


def _head(head: tuple[int, str]) -> handshake.Head:
    return handshake.Head(head[0], bytes.fromhex(head[1]))
