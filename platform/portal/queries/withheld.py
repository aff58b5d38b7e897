"""How many exact answers were withheld because they broke a rule of disclosure: what an operator sees before deciding.

Each answer that is withheld still tells that some rule was broken. Whoever asks again and again, a little otherwise each
time, collects such answers: from the third on about the same patients an operator must say why the next one may run.
"""

from collections.abc import Iterable

from portal.accounts.models import User
from portal.queries.models import Mode, Query, QueryDataset, State
from portal.registry.models import Dataset

FOR_REVIEW = "withheld_for_review"  # the code of a released query of which nothing is shown
REVIEW_AFTER = 3


def withheld_so_far(analyst: User, datasets: Iterable[Dataset]) -> dict[str, int]:
    """Answers withheld on any version of these datasets: of this analyst, and of all."""
    chains = {dataset.chain for dataset in datasets}
    touching = QueryDataset.objects.filter(dataset__chain__in=chains)
    hidden = Query.objects.filter(
        state=State.RELEASED, code=FOR_REVIEW, stored_from=None, pk__in=touching.values("query")
    )
    return {"analyst": hidden.filter(analyst=analyst).count(), "dataset": hidden.count()}


def must_be_reviewed(query: Query) -> bool:
    """Whether an operator has to write why this query may run."""
    if query.mode != Mode.EXACT:
        return False
    return withheld_so_far(query.analyst, query.datasets.all())["analyst"] >= REVIEW_AFTER
