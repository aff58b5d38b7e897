"""The ring views of one attempt: which are offered, which are read, which stay for the next.

A view is offered in the hello under a hash of its dataset and name; those that all four offer are read, once their
digests are confirmed. What the session makes is pending until a VIEW of every party is in, each signed over the
session and the names it has whole: the views that all name are kept. A session that differs before round 0, or a file
that does not open, drops what was offered, and the next one converts again (docs/protocols.md, Stored ring views).
Public: which views exist. Hidden: what is in them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from analytics.query import cost
from analytics.query.cost import Monomial
from analytics.query.model import Plan, PlanDataset, canonical
from mpcnode.errors import ProtocolAbort, StoreError
from mpcnode.ring import Words
from mpcnode.transport.base import Transport
from mpcnode.views import Draft, View, Views

log = logging.getLogger(__name__)

VIEW = b"fourfold/1/view"
VIEW_WAIT = 2.0  # seconds that a party with pending views waits for each of the others
HASH_BYTES = 16
SIGNATURE_BYTES = 64

Verify = Callable[[int, bytes, bytes], bool]  # whether a signature of a party is right


@dataclass
class TableViews:
    """`analytics.execute.RingViews` of one dataset, over the party's store."""

    held: Collection[Monomial]
    stored: dict[Monomial, View] = field(repr=False)
    draft: Draft | None = field(repr=False)

    def read(self, monomial: Monomial, start: int, stop: int) -> Words:
        return self.stored[monomial].read(start, stop)

    def keep(self, monomial: Monomial, start: int, rows: Words) -> None:
        assert self.draft is not None, "a session that makes ring columns has a draft of them"
        self.draft.write(_name(monomial), start, rows)

    def written(self) -> dict[str, Any]:
        """What a helper wrote of the drafts of its lead, by name."""
        return {} if self.draft is None else self.draft.written()


class Kept:
    """One attempt's ring views of all datasets of its plan."""

    def __init__(self, views: Views, plan: Plan) -> None:
        self._views = views
        self._plan = plan
        self._offered: dict[bytes, tuple[PlanDataset, Monomial]] = {}
        self._tables: list[TableViews] = []
        views.make_room()  # the limit may be another than it was
        for place, dataset in enumerate(plan.datasets):
            useful = {_name(m): m for m in cost.conversions(plan.own(place)).monomials}
            for name in views.held(dataset.id, useful):
                self._offered[_hash(dataset.id, name)] = (dataset, useful[name])

    @property
    def offered(self) -> Collection[bytes]:
        """What the hello says that this party can read."""
        return self._offered.keys()

    def digests(self, component: int, agreed: Collection[bytes]) -> bytes:
        """The agreed views' part of H_c."""
        return b"".join(
            self._views.digests(dataset.id, [_name(monomial)], component)
            for dataset, monomial in self._of(agreed)
        )

    def tables(self, agreed: Collection[bytes]) -> list[TableViews]:
        """What `execute` reads and writes of each dataset of the plan."""
        for place, dataset in enumerate(self._plan.datasets):
            stored = {m: self._views.open(dataset.id, _name(m)) for d, m in self._of(agreed) if d == dataset}
            made = cost.conversions(self._plan.own(place), stored).monomials
            draft = self._views.draft(dataset.id, map(_name, made), _words(dataset)) if made else None
            self._tables.append(TableViews(stored.keys(), stored, draft))
        return self._tables

    def shared(self) -> list[dict[str, Any]]:
        """What a helper needs to read and write the same views, as JSON data: see `joined`."""
        return [
            {"held": [_name(m) for m in t.held], "files": None if t.draft is None else t.draft.files}
            for t in self._tables
        ]

    def take(self, written: Sequence[dict[str, Any]]) -> None:
        """Add what a helper wrote."""
        for table, own in zip(self._tables, written, strict=True):
            if table.draft is not None:
                table.draft.take(own)

    @property
    def pending(self) -> bool:
        """Whether this session makes ring columns that may be kept: the same at all parties."""
        return bool(self._drafts)

    @property
    def _drafts(self) -> list[Draft]:
        return [table.draft for table in self._tables if table.draft is not None]

    def settle(
        self,
        session_id: bytes,
        peers: Collection[int],
        transport: Transport,
        sign: Callable[[bytes], bytes],
        verify: Verify,
    ) -> None:
        """Keep the views that every party made whole in this session; without all VIEWs in time, none.

        transport  of a name of its own; closed here. Raises nothing that a peer or the carrier did.
        """
        whole = [(draft, name) for draft in self._drafts for name in draft.whole()]
        mine = {_hash(draft.dataset_id, name) for draft, name in whole}
        try:
            agreed = mine.intersection(*_exchanged(mine, session_id, peers, transport, sign, verify))
            for draft in self._drafts:
                draft.keep(n for n in draft.whole() if _hash(draft.dataset_id, n) in agreed)
        except (ProtocolAbort, StoreError) as wrong:
            log.warning("the ring views of this session are not kept: %s", wrong)
        finally:
            self.drop()
            with suppress(ProtocolAbort):
                transport.close()

    def drop(self) -> None:
        """Leave nothing pending of this session."""
        for draft in self._drafts:
            draft.drop()

    def drop_offered(self) -> None:
        """Convert again next time: somebody's views differ, or one of ours does not open."""
        for dataset, monomial in self._offered.values():
            self._views.drop(dataset.id, [_name(monomial)])

    def _of(self, agreed: Collection[bytes]) -> list[tuple[PlanDataset, Monomial]]:
        return [place for name, place in self._offered.items() if name in agreed]


def joined(views: Views, plan: Plan, shared: Sequence[dict[str, Any]]) -> list[TableViews]:
    """A helper's views of each dataset of the plan, from what its lead `shared`."""
    out = []
    for place, (dataset, said) in enumerate(zip(plan.datasets, shared, strict=True)):
        by_name = {_name(m): m for m in cost.conversions(plan.own(place)).monomials}
        stored = {by_name[name]: views.open(dataset.id, name) for name in said["held"]}
        draft = None if said["files"] is None else views.join(dataset.id, said["files"], _words(dataset))
        out.append(TableViews(stored.keys(), stored, draft))
    return out


def _exchanged(
    mine: Collection[bytes],
    session_id: bytes,
    peers: Collection[int],
    transport: Transport,
    sign: Callable[[bytes], bytes],
    verify: Verify,
) -> list[set[bytes]]:
    """The views that each peer made whole, as it signed them. Raises ProtocolAbort without all of them."""
    names = b"".join(sorted(mine))
    for peer in peers:
        transport.push(peer, [sign(VIEW + session_id + names) + names])
    out = []
    for peer in peers:
        frame = bytes(transport.pull(peer, 1, VIEW_WAIT)[0])
        signature, theirs = frame[:SIGNATURE_BYTES], frame[SIGNATURE_BYTES:]
        if len(theirs) % HASH_BYTES or not verify(peer, VIEW + session_id + theirs, signature):
            raise ProtocolAbort("mismatch", f"VIEW of party {peer}")
        out.append({theirs[k : k + HASH_BYTES] for k in range(0, len(theirs), HASH_BYTES)})
    return out


def _words(dataset: PlanDataset) -> int:
    return -(-dataset.capacity // cost.WORD_BITS)


def _name(monomial: Monomial) -> str:
    return canonical(monomial).decode()


def _hash(dataset_id: str, name: str) -> bytes:
    return sha256(canonical([dataset_id, name])).digest()[:HASH_BYTES]
