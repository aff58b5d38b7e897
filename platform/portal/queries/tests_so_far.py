"""How many hypothesis tests were released so far: of one analyst, and of everybody who asked about the same patients.

The adjusted p-values of an answer know the tests of their own program only; who reads one should know of the others.
An identical plan gives the same p-values again: it counts once. All versions of a chain are the same patients.
"""

from collections.abc import Iterable

from django.db.models import Max, QuerySet

from portal.accounts.models import User
from portal.queries.models import Query, QueryDataset, State
from portal.registry.models import Dataset


def tests_so_far(analyst: User, datasets: Iterable[Dataset]) -> dict[str, int]:
    """Tests released on any version of these datasets: to this analyst, and to all."""
    chains = {dataset.chain for dataset in datasets}
    touching = QueryDataset.objects.filter(dataset__chain__in=chains)
    released = Query.objects.filter(state=State.RELEASED, tests__gt=0, pk__in=touching.values("query"))
    return {"analyst": _distinct(released.filter(analyst=analyst)), "dataset": _distinct(released)}


def _distinct(released: QuerySet[Query]) -> int:
    counted = released.order_by().values("plan_hash").annotate(most=Max("tests"))
    return sum(row["most"] for row in counted)
