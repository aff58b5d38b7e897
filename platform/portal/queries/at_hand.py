"""Answers from released cells: what an analyst has already been told is not asked of the parties again.

If every table of a question is in answers that this analyst may read, the portal answers from their signed integers:
no party is told, nothing is charged, no operator decides, since nothing new is learnt. The answer names the queries
and holds their signed integers, so that it can be verified. A question of which only some tables are at hand runs
and is charged whole.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from analytics.privacy.accountant import delta_text
from analytics.query import released
from analytics.query.errors import QueryError
from analytics.query.model import Plan
from analytics.query.released import Source
from portal.accounts.models import User
from portal.budgets.actions import decimal_text
from portal.queries import release
from portal.queries.compiling import Prepared
from portal.queries.models import Mode, Query, State
from portal.queries.states import move

MOST_EARLIER = 50  # queries looked through, the newest
RELEASED_CELLS = "released cells"


@dataclass(frozen=True, kw_only=True)
class AtHand:
    """Where the tables of a plan are among earlier queries; None for a table that is not there."""

    plan: Plan
    queries: Sequence[Query]
    earlier: Sequence[Plan]
    sources: Sequence[Source | None]

    @property
    def whole(self) -> bool:
        return None not in self.sources

    def told(self) -> str:
        """What it means for the price, in a sentence; empty where nothing is at hand."""
        if self.whole:
            return f"costs nothing: released with query {', '.join(str(q.pk) for q in self.used())}"
        free = self.statements()
        if not free:
            return ""
        listed = " and ".join(f"{s['statement']} (epsilon {s['epsilon']})" for s in free)
        return f"released already, and free if asked alone: statement {listed}"

    def used(self) -> list[Query]:
        """The queries that a whole answer reads, in order."""
        places = sorted({source.plan for source in self.sources if source is not None})
        return [self.queries[place] for place in places]

    def statements(self) -> list[dict[str, Any]]:
        """The statements all of whose tables are at hand, with the epsilon of those."""
        found = []
        for number, places in enumerate(self.plan.uses):
            sources = [source for place in places if (source := self.sources[place]) is not None]
            if len(sources) == len(places):
                micro = sum(self.plan.releases[place].micro_epsilon for place in places)
                ids = sorted({str(self.queries[source.plan].pk) for source in sources})
                found.append({"statement": number + 1, "epsilon": decimal_text(micro), "from": ids})
        return found


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer that follows from earlier ones."""

    sources: list[dict[str, Any]]
    integers: list[list[int]]
    statements: list[dict[str, Any]]


def look(analyst: User, prepared: Prepared) -> AtHand | None:
    """What of a question its analyst has been told; None if no table of it."""
    plan = prepared.plan
    if plan.mode != Mode.DP:
        return None
    queries, earlier = [], []
    for query in _candidates(analyst, prepared):
        try:
            old = release.recompiled(query)
        except (QueryError, ValueError):
            continue  # the program was upgraded since: that answer stays, nothing new is read from it
        queries.append(query)
        earlier.append(old)
    sources = released.find(plan, earlier, prepared.facts[0].schema.fields)
    if not any(sources):
        return None
    return AtHand(plan=plan, queries=queries, earlier=earlier, sources=sources)


def answer(found: AtHand, prepared: Prepared) -> Answer:
    """The figures of a question that is at hand as a whole."""
    from analytics.statistics import figures  # loads scipy

    queries = found.used()
    earlier = [found.earlier[found.queries.index(query)] for query in queries]
    again = released.find(found.plan, earlier, prepared.facts[0].schema.fields)
    places = [source for source in again if source is not None]
    sources = [_source(query) for query in queries]
    read, tables = released.read(found.plan, places, earlier, [source["integers"] for source in sources])
    return Answer(sources=sources, integers=tables, statements=figures(read, prepared.facts, tables))


@transaction.atomic
def release_free(query: Query, given: Answer) -> None:
    """Release a query that was just SUBMITTED with an answer from earlier ones; nothing runs, nothing is charged."""
    ids = [source["query"] for source in given.sources]
    missing = next((s["missing"] for s in given.sources if s["missing"] is not None), None)
    reason = f"released before with query {', '.join(ids)}: not charged"
    by = RELEASED_CELLS
    move(query, State.APPROVED, by=by, reason=reason, approved_at=timezone.now(), approved_by=by)
    move(query, State.RUNNING, by=by, reason=reason)
    move(
        query,
        State.RELEASED,
        by=by,
        reason=reason,
        released_at=timezone.now(),
        tests=release.tests(given.statements),
    )
    body = release.answer(
        query, statements=given.statements, integers=given.integers, signatures=[], missing=missing
    )
    release.keep(query, {**body, "from": ids, "sources": given.sources})


def _candidates(analyst: User, prepared: Prepared) -> list[Query]:
    """The analyst's own answers, computed by the parties on exactly these versions, newest first."""
    computed = Q(order__isnull=False) | Q(stored_from__order__isnull=False)
    found = Query.objects.filter(computed, analyst=analyst, state=State.RELEASED, mode=Mode.DP)
    for dataset in prepared.datasets:
        found = found.filter(parts__dataset=dataset)
    datasets = prepared.plan.public()["datasets"]
    return [q for q in found.order_by("-released_at")[:MOST_EARLIER] if q.plan["datasets"] == datasets]


def _source(query: Query) -> dict[str, Any]:
    """What an answer needs of an earlier one to be verified: question, integers, signatures."""
    body = json.loads(query.result.body)
    kept = ("query", "stored_from", "plan_hash", "missing", "integers", "signatures")
    return {
        **{key: body[key] for key in kept},
        "program": query.program,
        "epsilon": decimal_text(query.micro_epsilon),
        "delta": delta_text(query.atto_delta),
    }
