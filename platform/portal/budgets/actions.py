"""Reserve, spend, return: the only three things that happen to a privacy account.

A reservation covers every attempt an order allows; each attempt is then spent or returned on its own.
An account is a chain's: here `datasets` are ids of chains, which their first versions have too.
Accounts are always taken in the order of their ids, so two orders never wait for each other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from analytics.privacy.accountant import delta_text
from analytics.privacy.composition import summary
from analytics.privacy.filters import Loss
from portal.budgets.models import Account, Kind, Line, within
from portal.queries.models import Query


class BudgetExhausted(Exception):
    """The dataset's privacy budget cannot cover this query."""

    code = "budget_exhausted"

    def __init__(self, *, dataset: str, asked: int, left: int, delta: str = "") -> None:
        super().__init__(
            f"asked for epsilon {decimal_text(asked)} of dataset {dataset}, {decimal_text(left)} left{delta}"
        )
        self.dataset, self.asked, self.left = dataset, asked, left

    @classmethod
    def of(cls, account: Account, asked: Loss) -> "BudgetExhausted":
        """What an account lacks, in words: of one with delta, by both accountings."""
        told = ""
        if account.delta_total:
            rest = max(0, account.delta_total // 2 - account.held.atto_delta)
            told = (
                f" for a table without delta; asked for delta {delta_text(asked.atto_delta)}, {delta_text(rest)} left by"
                f" the sum; asked for rho {rho_text(asked.squares)},"
                f" {rho_text(max(0, account.squares_total - account.held.squares))} left by zCDP"
            )
        return cls(dataset=account.pk, asked=asked.micro_epsilon, left=account.left, delta=told)


class LedgerConflict(Exception):
    """The attempt has no reservation to settle, or was settled otherwise."""

    code = "ledger_conflict"


def decimal_text(micro: int) -> str:
    """Micro-epsilon as decimal text with six places: 1500000 is "1.500000"."""
    sign = "-" if micro < 0 else ""
    whole, part = divmod(abs(micro), 10**6)
    return f"{sign}{whole}.{part:06d}"


def rho_text(squares: int) -> str:
    """rho of zCDP with six places, from twice it in square micro-epsilon; rounded up."""
    return decimal_text(-(-squares // (2 * 10**6)))


def affordable_attempts(datasets: Iterable[str], loss: Loss, most: int) -> int:
    """How many attempts (0 to `most`) every one of the datasets' accounts covers."""
    accounts = list(Account.objects.filter(pk__in=list(datasets)))
    return next(
        (
            number
            for number in range(most, 0, -1)
            if all(account.allowance.covers(account.held + loss.times(number)) for account in accounts)
        ),
        0,
    )


@transaction.atomic
def reserve(
    *,
    query: UUID,
    datasets: Sequence[str],
    micro_epsilon: int,
    attempts: int,
    atto_delta: int = 0,
    squares: int = 0,
) -> None:
    """Reserve `attempts` times what an attempt is charged (each >= 0) of every dataset, or of none.

    Raises  BudgetExhausted, naming the first dataset that lacks it.
    """
    loss = Loss(micro_epsilon=micro_epsilon, atto_delta=atto_delta, squares=squares)
    asked = loss.times(attempts)
    for dataset in sorted(datasets):
        # One conditional UPDATE: of two racing orders the second sees the first one's reservation.
        if not Account.objects.filter(within(asked), pk=dataset).update(**_more("reserved", asked)):
            raise BudgetExhausted.of(Account.objects.get(pk=dataset), asked)
        Line.objects.bulk_create(
            Line(
                account_id=dataset,
                query=query,
                attempt=number,
                kind=Kind.RESERVED,
                **vars(loss),
            )
            for number in range(1, attempts + 1)
        )


def spend(*, query: UUID, attempt: int) -> None:
    """Settle an attempt as spent in every account that reserved for it. Again: nothing happens.

    A party may report only after the attempt was returned that it had shown its READY: then the debit is
    taken anew, if the account still covers it (the parties' own ledgers hold it in any case).
    Raises  BudgetExhausted in that last case; LedgerConflict if nothing was reserved.
    """
    with transaction.atomic():
        for line in _reservations(query, attempt):
            kinds = _kinds(line)
            if Kind.SPENT in kinds:
                continue
            accounts = Account.objects.filter(pk=line.account_id)
            if Kind.RETURNED in kinds:
                if not accounts.filter(within(line.loss)).update(**_more("spent", line.loss)):
                    raise BudgetExhausted.of(accounts.get(), line.loss)
            else:
                accounts.update(**_more("spent", line.loss), **_more("reserved", line.loss.times(-1)))
            _add(line, Kind.SPENT)


def give_back(*, query: UUID, attempts: Iterable[int]) -> None:
    """Settle attempts as returned. Again: nothing happens. Raises LedgerConflict if one was spent."""
    with transaction.atomic():
        for attempt in attempts:
            for line in _reservations(query, attempt):
                kinds = _kinds(line)
                if Kind.RETURNED in kinds:
                    continue
                if Kind.SPENT in kinds:
                    raise LedgerConflict("what was spent does not come back")
                Account.objects.filter(pk=line.account_id).update(**_more("reserved", line.loss.times(-1)))
                _add(line, Kind.RETURNED)


def give_back_unsettled(*, query: UUID, but: int | None = None) -> None:
    """Return every attempt of a query that was neither spent nor returned, except number `but`."""
    lines = Line.objects.filter(query=query)
    settled = set(lines.exclude(kind=Kind.RESERVED).values_list("attempt", flat=True))
    reserved = set(lines.filter(kind=Kind.RESERVED).values_list("attempt", flat=True))
    give_back(query=query, attempts=sorted(reserved - settled - {but}))


def charged(query: UUID, dataset: str) -> int:
    """Micro-epsilon that a query has spent of a dataset."""
    return charge(query, dataset).micro_epsilon


def charge(query: UUID, dataset: str) -> Loss:
    """What a query has spent of a dataset."""
    lines = Line.objects.filter(query=query, account_id=dataset, kind=Kind.SPENT)
    return sum((line.loss for line in lines), Loss())


def released(account: Account) -> list[int]:
    """Micro-epsilon of every table that was released, or may have been, from any version of an account's chain."""
    spent = account.lines.filter(kind=Kind.SPENT).values_list("query", flat=True)
    plans = dict(Query.objects.filter(pk__in=spent).values_list("pk", "plan"))
    # A query may have been charged for several attempts.
    return [table["micro_epsilon"] for query in spent for table in plans[query]["releases"]]


def composition(account: Account) -> dict[str, Any]:
    """The tables released, by every accounting, and what each figure means."""
    return summary(
        released(account),
        micro_epsilon=account.spent,
        atto_delta=account.delta_spent,
        at=account.delta_total,
    )


def accounting(account: Account) -> dict[str, Any] | None:
    """Of an account with delta, both accountings as decimal text and in words; None of one with epsilon alone."""
    if not account.delta_total:
        return None
    half, held = account.delta_total // 2, account.held
    by_sum = replace(account.allowance, squares=0)
    by_zcdp = replace(account.allowance, micro_epsilon=0)
    return {
        "delta": {
            "total": delta_text(account.delta_total),
            "for_sums": delta_text(half),
            "spent": delta_text(account.delta_spent),
            "reserved": delta_text(account.delta_reserved),
        },
        "rho": {
            "total": decimal_text(account.squares_total // (2 * 10**6)),
            "spent": rho_text(account.squares_spent),
            "reserved": rho_text(account.squares_reserved),
        },
        "left": {"sum": decimal_text(by_sum.left(held)), "zcdp": decimal_text(by_zcdp.left(held))},
        "means": {
            "sum": "epsilons add up to at most the total, and deltas to at most a half of it; `left` is what one more"
            " table without delta may have",
            "zcdp": "the squares of the tables' epsilons, halved, add up to at most rho, which the total and the other"
            " half of delta allow; a plan may run while either accounting lets it",
        },
    }


def means(account: Account) -> str:
    """What the account promises a patient, in a sentence."""
    mode = account.dataset.mode
    if mode == "exact":
        return (
            "exact answers are given from this table: no epsilon protects its patients, only the rule of the"
            " smallest cell; nothing is charged, and it will never be asked with noise"
        )
    but = (
        f", except with a probability of about {delta_text(account.delta_total)}"
        if account.delta_total
        else ""
    )
    promise = (
        f"whatever all answers tell together, the odds of anything about one patient change by at most a factor"
        f" e^{decimal_text(account.total)}{but}; so far {_so_far(account)}"
    )
    if mode == "dp":
        return f"{promise}. It holds as no exact answer was given, and none will be"
    return f"{promise}. An exact answer, where the policy allows it, would void this for the whole chain"


def _so_far(account: Account) -> str:
    held = account.held
    if not account.allowance.by_sum(held):
        return f"rho {rho_text(held.squares)} of {decimal_text(account.squares_total // (2 * 10**6))} by zCDP"
    but = f" but for {delta_text(held.atto_delta)}" if held.atto_delta else ""
    return f"by at most e^{decimal_text(held.micro_epsilon)}{but}"


def _more(where: str, loss: Loss) -> dict[str, Any]:
    """The update that adds a loss to what is spent or reserved."""
    return {
        where: F(where) + loss.micro_epsilon,
        f"delta_{where}": F(f"delta_{where}") + loss.atto_delta,
        f"squares_{where}": F(f"squares_{where}") + loss.squares,
    }


def _reservations(query: UUID, attempt: int) -> list[Line]:
    """The attempt's RESERVED lines; their accounts are locked, in order, until the transaction ends."""
    lines = list(Line.objects.filter(query=query, attempt=attempt, kind=Kind.RESERVED).order_by("account_id"))
    if not lines:
        raise LedgerConflict(f"attempt {attempt} has no reservation")
    list(
        Account.objects.select_for_update().filter(pk__in=[line.account_id for line in lines]).order_by("pk")
    )
    return lines


def _kinds(line: Line) -> set[str]:
    return set(
        Line.objects.filter(account_id=line.account_id, query=line.query, attempt=line.attempt).values_list(
            "kind", flat=True
        )
    )


def _add(line: Line, kind: Kind) -> None:
    Line.objects.create(
        account_id=line.account_id,
        query=line.query,
        attempt=line.attempt,
        kind=kind,
        **vars(line.loss),
    )
