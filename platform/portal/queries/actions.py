"""What people do to a query: submit, approve, refuse, withdraw, cancel. Each is one transaction."""

import json
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from analytics.query import policy
from analytics.query.errors import QueryError
from analytics.query.model import canonical
from analytics.query.order import Approval, OrderDataset
from analytics.query.order import Order as OrderBody
from analytics.query.precision import not_useful
from portal.absence import lost, replacement
from portal.accounts.models import Role, User
from portal.approvals import rules
from portal.approvals.rules import NotAllowed
from portal.audit.actions import record
from portal.budgets import actions as budgets
from portal.dispatch import BrokerDown, CelerySender, Sender
from portal.keys import portal_sign
from portal.notices import telling
from portal.queries import at_hand, attempts, release
from portal.queries.compiling import Prepared, prepare
from portal.queries.models import Mode, Order, Query, QueryDataset, State
from portal.queries.states import IllegalMove, move, note
from portal.queries.withheld import must_be_reviewed
from portal.registry.facts import facts
from portal.registry.models import Dataset, DatasetState
from portal.registry.versions import must_answer, superseded_text

LONGEST_REASON = 4096
LONGEST_NAMES = 256  # of who signs an approval
OVER_BUDGET = "budget refused"  # in the audit trail


class NotUseful(Exception):
    """Noise would drown some figures: to be asked all the same, the request confirms it."""

    code = "not_useful"

    def __init__(self, reasons: Sequence[str]) -> None:
        told = "; ".join(reasons[:5]) + (f"; and {len(reasons) - 5} more" if len(reasons) > 5 else "")
        super().__init__(f'{told}. To ask all the same, send "confirm": ["not_useful"]')


class ReasonNeeded(Exception):
    """A refusal says why."""

    code = "reason_needed"


def submit(
    *,
    analyst: User,
    program: str | dict[str, Any],
    datasets: Sequence[Dataset],
    epsilon: Decimal | None,
    mode: str,
    delta: str | float | Decimal | None = None,
    confirm: Sequence[str] = (),
    title: str = "",
    purpose: str = "",
) -> Query:
    """A new query; RELEASED at once, at no charge, when an identical plan was answered before, or when its analyst
    was told all its tables already.

    Raises  as `compiling.prepare`; Superseded if a dataset is an older version and no answer is stored; NotUseful
            if public facts call a figure not useful, unless that is in `confirm` or the answer is stored.
    """
    prepared = prepare(program=program, datasets=datasets, epsilon=epsilon, mode=mode, delta=delta)
    # Before the transaction: figures may take a second, and nobody else should wait for that.
    found = at_hand.look(analyst, prepared)
    free = at_hand.answer(found, prepared) if found is not None and found.whole else None
    return keep(analyst=analyst, prepared=prepared, free=free, confirm=confirm, title=title, purpose=purpose)


@transaction.atomic
def keep(
    *,
    analyst: User,
    prepared: Prepared,
    free: at_hand.Answer | None = None,
    confirm: Sequence[str] = (),
    title: str = "",
    purpose: str = "",
) -> Query:
    """Write the rows of a submission."""
    plan = prepared.plan
    described = prepared.described()
    query = Query.objects.create(
        analyst=analyst,
        program=prepared.program,
        mode=plan.mode,
        micro_epsilon=plan.micro_epsilon,
        atto_delta=plan.atto_delta,
        minimum_cohort=plan.minimum_cohort,
        plan=plan.public(),
        plan_hash=plan.hash,
        description=described,
        title=title.strip(),
        purpose=purpose.strip(),
    )
    QueryDataset.objects.bulk_create(QueryDataset(query=query, dataset=d) for d in prepared.datasets)
    note(query, was="", now=State.SUBMITTED, by=analyst.username)
    if earlier := release.stored_answer(query):
        release.release_stored(query, earlier)
        return query
    if free is not None:
        at_hand.release_free(query, free)
        return query
    must_answer(prepared.datasets)
    if NotUseful.code not in confirm and (reasons := not_useful(described)):
        raise NotUseful(reasons)
    telling.query_waits(query.pk)
    return query


def approve(*, query: Query, by: User, reason: str = "", missing: int | None = None) -> None:
    """The operator's yes: budget is reserved of every dataset, order and approval are signed.

    `missing` is the party that is declared lost: the order is then one among the three others, passively secure,
    and waits for every provider's consent. Under FOURFOLD_TWO_APPROVALS the first yes is kept and changes nothing
    else; the second, of another operator, approves.
    Raises  NotAllowed unless `by` is an operator and not the asker; ReasonNeeded if exact answers were withheld from
            this analyst before; IllegalMove; BudgetExhausted.
    """
    rules.must_decide(query, by)
    if not reason.strip() and must_be_reviewed(query):
        raise ReasonNeeded(
            "exact answers to this analyst about these patients were withheld: write why another one may run"
        )
    if missing is not None and missing != lost.current():
        raise IllegalMove(f"party {missing} is not declared lost: an order among three needs that first")
    try:
        _approve(query, by, reason.strip()[:LONGEST_REASON], missing)
    except budgets.BudgetExhausted as exhausted:
        # After the transaction, whose rows are gone: that it was tried is kept.
        record(
            OVER_BUDGET,
            by=by.username,
            subject=f"query {query.pk}",
            detail={"dataset": exhausted.dataset, "asked": exhausted.asked, "left": exhausted.left},
        )
        raise


def _approve(query: Query, by: User, reason: str, missing: int | None) -> None:
    with transaction.atomic():
        query = _locked(query)
        if earlier := release.stored_answer(query):
            release.release_stored(query, earlier)
            return
        datasets = list(query.datasets.order_by("pk"))
        for old in (d for d in datasets if d.state == DatasetState.SUPERSEDED):
            raise IllegalMove(superseded_text(old))
        gone = [d.pk for d in datasets if d.state != DatasetState.READY]
        if gone:
            raise IllegalMove(f"dataset {gone[0]} is no longer ready")
        away = [d.pk for d in datasets if not replacement.held_here(d)]
        if away:
            raise IllegalMove(
                f"dataset {away[0]} is not held by the parties of this portal: its provider signs the new set of"
                " parties, then the new one takes its share over"
            )
        other = [d for d in datasets if d.mode not in ("", query.mode)]
        if other:
            raise IllegalMove(f"dataset {other[0].pk} is used in {other[0].mode} mode since its first query")
        _check_again(query, datasets)
        signers = by.username
        if settings.FOURFOLD_TWO_APPROVALS:
            first = rules.second_of(query, by, missing)
            if first is None:
                rules.keep_first(query, by, reason, missing)
                telling.query_waits_for_second(query.pk, first=by)
                return
            signers = f"{first.by.username} and {by.username}"[:LONGEST_NAMES]
        covered = _reserve(query, [d.chain for d in datasets])
        _sign(query, datasets, attempts=covered, by=signers, reason=reason, missing=missing)
        move(
            query,
            State.APPROVED,
            by=by.username,
            reason=reason,
            approved_at=timezone.now(),
            approved_by=by.username,
        )


def refuse(*, query: Query, by: User, reason: str) -> None:
    """The operator's no. Raises NotAllowed, ReasonNeeded, IllegalMove."""
    rules.must_decide(query, by)
    reason = reason.strip()[:LONGEST_REASON]
    if not reason:
        raise ReasonNeeded("a refusal needs a reason")
    move(query, State.REFUSED, by=by.username, reason=reason)


def withdraw(*, query: Query, by: User, reason: str = "") -> None:
    """The asker takes the query back before it runs; what was reserved returns. Raises NotAllowed, IllegalMove."""
    if query.analyst_id != by.pk:
        raise NotAllowed("only who asked may withdraw")
    with transaction.atomic():
        move(query, State.WITHDRAWN, by=by.username, reason=reason.strip()[:LONGEST_REASON])
        budgets.give_back_unsettled(query=query.pk)


def cancel(*, query: Query, by: User, reason: str = "", sender: Sender | None = None) -> None:
    """A running query ends ABORTED now, whatever parties still say; they are told to stop.

    The attempt under way keeps its reservation until the parties' last words say whether a READY may have
    left (`attempts.settle_cancelled`); what no attempt has used returns at once. Should the broker be down,
    the dispatcher tells the parties.
    Raises  NotAllowed unless `by` asked or is an operator; IllegalMove unless it runs.
    """
    if query.analyst_id != by.pk and by.role != Role.OPERATOR:
        raise NotAllowed("only who asked, or an operator, may cancel")
    with transaction.atomic():
        query = Query.objects.select_for_update().get(pk=query.pk)
        if query.state in (State.SUBMITTED, State.APPROVED):
            raise IllegalMove(f"a query that is {query.state} does not run yet: it can be withdrawn")
        attempt = attempts.running_attempt(query)
        budgets.give_back_unsettled(query=query.pk, but=attempt.number if attempt else None)
        move(
            query,
            State.ABORTED,
            by=by.username,
            reason=reason.strip()[:LONGEST_REASON] or f"cancelled by {by.username}",
            code=attempts.CANCELLED,
        )
    if attempt is not None:
        with suppress(BrokerDown):
            (sender or CelerySender()).cancel(str(query.pk), attempt.number)


def signed_by_portal(query: Query) -> dict[str, Any]:
    """The envelope of an approved query: order, approval, both signatures."""
    order = query.order
    return {
        "order": json.loads(order.body),
        "order_signature": order.signature,
        "approval": json.loads(order.approval),
        "approval_signature": order.approval_signature,
    }


def _locked(query: Query) -> Query:
    """The row again, locked, and still to be decided."""
    current = Query.objects.select_for_update().get(pk=query.pk)
    if current.state != State.SUBMITTED:
        raise IllegalMove(f"a query that is {current.state} is not waiting for a decision")
    return current


def _check_again(query: Query, datasets: list[Dataset]) -> None:
    """A policy may have ended since the submission, a program upgraded: parties would refuse."""
    try:
        policy.check(release.recompiled(query), [facts(d) for d in datasets], int(time.time()))
    except (QueryError, ValueError) as wrong:
        raise IllegalMove(f"it can no longer be approved: {wrong}") from None


def _reserve(query: Query, chains: list[str]) -> int:
    """Reserve as many attempts as the budgets cover, at most FOURFOLD_MAX_ATTEMPTS; how many that is."""
    most = budgets.affordable_attempts(chains, query.loss, settings.FOURFOLD_MAX_ATTEMPTS)
    for number in range(max(1, most), 0, -1):
        try:
            with transaction.atomic():
                budgets.reserve(query=query.pk, datasets=chains, attempts=number, **vars(query.loss))
            return number
        except budgets.BudgetExhausted:
            if number == 1:
                raise
    raise AssertionError("unreachable: the last attempt is reserved or refused")


def _sign(
    query: Query, datasets: list[Dataset], *, attempts: int, by: str, reason: str, missing: int | None
) -> None:
    now = int(time.time())
    counted = query.mode == Mode.DP and any(facts(d).policy.get("atto_delta") for d in datasets)
    order = OrderBody(
        query=str(query.pk),
        nonce=secrets.token_hex(16),
        program=query.program,
        plan_hash=query.plan_hash,
        mode=query.mode,
        micro_epsilon=query.micro_epsilon,
        max_attempts=attempts,
        minimum_cohort=query.minimum_cohort,
        datasets=tuple(
            OrderDataset(id=d.pk, version=d.version, manifest_hash=d.manifest_hash) for d in datasets
        ),
        analyst=query.analyst.username,
        not_before=now,
        expires=now + settings.FOURFOLD_ORDER_LIFETIME,
        missing=missing,
        atto_delta=query.atto_delta,
        squares=query.loss.squares if counted else 0,
    )
    approval = Approval(order_hash=order.hash, by=by, reason=reason, time=now)
    Order.objects.create(
        query=query,
        body=canonical(order.public()).decode(),
        hash=order.hash,
        signature=portal_sign(order.public()),
        approval=canonical(approval.public()).decode(),
        approval_signature=portal_sign(approval.public()),
        max_attempts=attempts,
        expires=order.expires,
    )
