"""The answer leaves: three parties agree, figures are computed from their integers, the text is kept.

Every GET returns the kept text. An identical plan gets the same answer again, at no charge.
"""

import hashlib
import json
import logging
from collections import Counter
from typing import Any

from django.db import transaction
from django.utils import timezone

from analytics.privacy.accountant import delta_text
from analytics.query import plan
from analytics.query.consent import ACTIVE, PASSIVE
from analytics.query.disclosure import withheld
from analytics.query.model import Plan
from portal.budgets import actions as budgets
from portal.queries.models import Attempt, AttemptState, Query, Report, ReportKind, Result, State
from portal.queries.states import move
from portal.queries.tests_so_far import tests_so_far
from portal.queries.withheld import FOR_REVIEW
from portal.registry.facts import facts

log = logging.getLogger("portal.queries")
ENOUGH = 3  # equal signatures: of four parties, or of all three that an order among three has
STORED = "stored answer"


class ReleaseFailed(Exception):
    """Three parties agree, and no answer can be made of their integers."""

    code = "release_failed"


def agreeing(reports: list[Report]) -> list[Report]:
    """The results that at least three parties signed alike (session and integers), else none."""
    results = [(r, json.loads(r.body)) for r in reports if r.kind == ReportKind.RESULT]
    votes = Counter((body["session"], body["result_hash"]) for _, body in results)
    if not votes:
        return []
    winner, count = votes.most_common(1)[0]
    if count < ENOUGH:
        return []
    return [r for r, body in results if (body["session"], body["result_hash"]) == winner]


def release(attempt: Attempt, reports: list[Report]) -> None:
    """Release the query with the integers of agreeing `reports`; the attempt is spent, the rest returns.

    Raises  ReleaseFailed if figures cannot be computed; IllegalMove if somebody else moved the query first.
    """
    query = attempt.query
    integers = json.loads(reports[0].integers)
    # Outside the transaction: scipy may still have to be loaded, and nobody else should wait for that.
    try:
        statements = figures(query, integers)
        hidden = withheld(recompiled(query), integers)
    except Exception as wrong:
        # Whatever it is, it will be the same next time: the query must end, and the dispatcher go on.
        log.exception("no figures for query %s", query.pk)
        raise ReleaseFailed(type(wrong).__name__) from wrong
    with transaction.atomic():
        ended = Attempt.objects.filter(pk=attempt.pk, state=AttemptState.RUNNING).update(
            state=AttemptState.RELEASED, ended_at=timezone.now()
        )
        if not ended:
            return
        budgets.spend(query=query.pk, attempt=attempt.number)
        budgets.give_back_unsettled(query=query.pk)
        signatures = [
            {"party": r.party, "report": json.loads(r.body), "signature": r.signature}
            for r in sorted(reports, key=lambda r: r.party)
        ]
        body = answer(
            query,
            statements=statements,
            integers=integers,
            signatures=signatures,
            missing=query.order.missing,
        )
        move(
            query,
            State.RELEASED,
            by="parties",
            reason=f"{len(signatures)} equal signatures, attempt {attempt.number}"
            + (": withheld for review" if hidden else ""),
            released_at=timezone.now(),
            tests=tests(statements),
            code=FOR_REVIEW if hidden else "",
        )
        keep(query, body)


def answer(
    query: Query,
    *,
    statements: list[dict[str, Any]],
    integers: list[list[int]],
    signatures: list[dict[str, Any]],
    missing: int | None,
) -> dict[str, Any]:
    """The body of result/."""
    datasets = list(query.datasets.order_by("pk").values_list("pk", flat=True))
    chains = query.datasets.values_list("chain", flat=True)
    spent = [budgets.charge(query.pk, chain) for chain in chains]
    charged = max((loss.micro_epsilon for loss in spent), default=0)
    charged_delta = max((loss.atto_delta for loss in spent), default=0)
    return {
        "query": str(query.pk),
        "mode": query.mode,
        "epsilon": budgets.decimal_text(query.micro_epsilon),
        "delta": delta_text(query.atto_delta),
        "means": query.description.get("means", ""),
        "charged": budgets.decimal_text(charged),
        "charged_delta": delta_text(charged_delta),
        "stored_from": None,
        "datasets": datasets,
        "plan_hash": query.plan_hash,
        "missing": missing,
        "security": ACTIVE if missing is None else PASSIVE,
        "from": [],
        "statements": statements,
        "integers": integers,
        "signatures": signatures,
    }


def keep(query: Query, body: dict[str, Any]) -> Result:
    """Write the answer of a query that was RELEASED in this transaction as the text that every GET returns."""
    body = {**body, "tests_so_far": tests_so_far(query.analyst, query.datasets.all())}
    text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    etag = hashlib.sha256(text.encode()).hexdigest()
    return Result.objects.create(query=query, body=text, etag=etag)


def tests(statements: list[dict[str, Any]]) -> int:
    """How many p-values an answer gives."""
    from analytics.statistics import multiplicity

    return multiplicity.counted(statements)


def figures(query: Query, integers: list[list[int]]) -> list[dict[str, Any]]:
    """The statements of an answer, computed from released integers alone."""
    from analytics.statistics import figures as compute  # loads scipy: three seconds, once

    known = [facts(d) for d in query.datasets.order_by("pk")]
    return compute(recompiled(query), known, integers)


def recompiled(query: Query) -> Plan:
    """The plan again, from the stored text.

    Raises  ValueError if it is not the plan that was submitted; ProgramRejected if it is none any more.
    """
    known = [facts(d) for d in query.datasets.order_by("pk")]
    compiled = plan.compile(query.program, known, query.micro_epsilon, query.mode, query.atto_delta)
    if compiled.hash != query.plan_hash:
        raise ValueError(f"query {query.pk} compiles to another plan than was submitted")
    return compiled


def stored_answer(query: Query) -> Query | None:
    """An earlier query with the identical plan (same versions, mode and epsilon) whose answer the parties computed."""
    return (
        Query.objects.filter(
            plan_hash=query.plan_hash, state=State.RELEASED, stored_from=None, order__isnull=False
        )
        .exclude(pk=query.pk)
        .order_by("released_at")
        .first()
    )


@transaction.atomic
def release_stored(query: Query, earlier: Query) -> None:
    """Release `query` with the answer of `earlier`; nothing runs and nothing is charged.

    The answer is known already to whoever may ask about these datasets, so no operator decides again.
    """
    reason = f"identical plan: the stored answer of query {earlier.pk}, not charged"
    if query.state == State.SUBMITTED:
        move(query, State.APPROVED, by=STORED, reason=reason, approved_at=timezone.now(), approved_by=STORED)
    if query.state == State.APPROVED:
        move(query, State.RUNNING, by=STORED, reason=reason)
    budgets.give_back_unsettled(query=query.pk)
    kept = json.loads(earlier.result.body)
    move(
        query,
        State.RELEASED,
        by=STORED,
        reason=reason,
        released_at=timezone.now(),
        stored_from=earlier,
        tests=earlier.tests,
        code=earlier.code,
    )
    keep(
        query,
        {
            **kept,
            "query": str(query.pk),
            "charged": budgets.decimal_text(0),
            "charged_delta": delta_text(0),
            "stored_from": str(earlier.pk),
        },
    )
