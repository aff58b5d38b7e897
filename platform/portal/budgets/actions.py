"""Reserve, spend, return: the only three things that happen to a privacy account.

A reservation covers every attempt an order allows; each attempt is then spent or returned on its own.
An account is a chain's: here `datasets` are ids of chains, which their first versions have too.
Accounts are always taken in the order of their ids, so two orders never wait for each other.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import F

from portal.budgets.models import Account, Kind, Line
from portal.queries.models import Query


class BudgetExhausted(Exception):
    """The dataset's privacy budget cannot cover this query."""

    code = "budget_exhausted"

    def __init__(self, *, dataset: str, asked: int, left: int) -> None:
        super().__init__(
            f"asked for epsilon {decimal_text(asked)} of dataset {dataset}, {decimal_text(left)} left"
        )
        self.dataset, self.asked, self.left = dataset, asked, left


class LedgerConflict(Exception):
    """The attempt has no reservation to settle, or was settled otherwise."""

    code = "ledger_conflict"


def decimal_text(micro: int) -> str:
    """Micro-epsilon as decimal text with six places: 1500000 is "1.500000"."""
    sign = "-" if micro < 0 else ""
    whole, part = divmod(abs(micro), 10**6)
    return f"{sign}{whole}.{part:06d}"


def affordable_attempts(datasets: Iterable[str], micro_epsilon: int, most: int) -> int:
    """How many attempts (0 to `most`) every one of the datasets' accounts covers."""
    if micro_epsilon == 0:
        return most
    left = min(account.left for account in Account.objects.filter(pk__in=list(datasets)))
    return max(0, min(most, left // micro_epsilon))


@transaction.atomic
def reserve(*, query: UUID, datasets: Sequence[str], micro_epsilon: int, attempts: int) -> None:
    """Reserve `attempts` times `micro_epsilon` (each >= 0) of every dataset, or of none.

    Raises  BudgetExhausted, naming the first dataset that lacks it.
    """
    asked = micro_epsilon * attempts
    for dataset in sorted(datasets):
        # One conditional UPDATE: of two racing orders the second sees the first one's reservation.
        took = Account.objects.filter(pk=dataset, total__gte=F("spent") + F("reserved") + asked).update(
            reserved=F("reserved") + asked
        )
        if not took:
            account = Account.objects.get(pk=dataset)
            raise BudgetExhausted(dataset=dataset, asked=asked, left=account.left)
        Line.objects.bulk_create(
            Line(
                account_id=dataset,
                query=query,
                attempt=number,
                kind=Kind.RESERVED,
                micro_epsilon=micro_epsilon,
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
            amount = line.micro_epsilon
            accounts = Account.objects.filter(pk=line.account_id)
            if Kind.RETURNED in kinds:
                if not accounts.filter(total__gte=F("spent") + F("reserved") + amount).update(
                    spent=F("spent") + amount
                ):
                    raise BudgetExhausted(
                        dataset=line.account_id,
                        asked=amount,
                        left=Account.objects.get(pk=line.account_id).left,
                    )
            else:
                accounts.update(spent=F("spent") + amount, reserved=F("reserved") - amount)
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
                Account.objects.filter(pk=line.account_id).update(reserved=F("reserved") - line.micro_epsilon)
                _add(line, Kind.RETURNED)


def give_back_unsettled(*, query: UUID, but: int | None = None) -> None:
    """Return every attempt of a query that was neither spent nor returned, except number `but`."""
    lines = Line.objects.filter(query=query)
    settled = set(lines.exclude(kind=Kind.RESERVED).values_list("attempt", flat=True))
    reserved = set(lines.filter(kind=Kind.RESERVED).values_list("attempt", flat=True))
    give_back(query=query, attempts=sorted(reserved - settled - {but}))


def charged(query: UUID, dataset: str) -> int:
    """Micro-epsilon that a query has spent of a dataset."""
    return sum(
        Line.objects.filter(query=query, account_id=dataset, kind=Kind.SPENT).values_list(
            "micro_epsilon", flat=True
        )
    )


def released(account: Account) -> list[int]:
    """Micro-epsilon of every table that was released, or may have been, from any version of an account's chain."""
    spent = account.lines.filter(kind=Kind.SPENT).values_list("query", flat=True)
    plans = dict(Query.objects.filter(pk__in=spent).values_list("pk", "plan"))
    # A query may have been charged for several attempts.
    return [table["micro_epsilon"] for query in spent for table in plans[query]["releases"]]


def means(account: Account) -> str:
    """What the account promises a patient, in a sentence."""
    mode = account.dataset.mode
    if mode == "exact":
        return (
            "exact answers are given from this table: no epsilon protects its patients, only the rule of the"
            " smallest cell; nothing is charged, and it will never be asked with noise"
        )
    promise = (
        f"whatever all answers tell together, the odds of anything about one patient change by at most a factor"
        f" e^{decimal_text(account.total)}; so far by at most e^{decimal_text(account.spent + account.reserved)}"
    )
    if mode == "dp":
        return f"{promise}. It holds as no exact answer was given, and none will be"
    return f"{promise}. An exact answer, where the policy allows it, would void this for the whole chain"


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
        micro_epsilon=line.micro_epsilon,
    )
