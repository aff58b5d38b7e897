"""What a party remembers of exact answers: the cohorts that a later exact plan may not lie too near.

Every party that accepts a guarded exact plan writes its cohorts into its ledger, and says in each hello what may have
been answered. A session compares with what two of its parties say: whoever gave an answer remembers it, and one alone
may be the corrupt one, who would learn how near cohorts of its own choice lie. A party that was away learns them so;
one that remembers what nobody else says does not go on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from analytics.query.disclosure import NOTHING, Earlier, guarded, read, text_of, too_many
from analytics.query.disclosure import cells as cells_of_plan
from analytics.query.model import Plan
from analytics.query.resolve import DatasetFacts
from workers.errors import Refused
from workers.ledger import Ledger

MOST_BYTES = 256 * 1024  # in a hello


def cells(plan: Plan) -> dict[str, str]:
    """What the ledger keeps of a plan, by dataset: nothing unless it is guarded."""
    if not guarded(plan):
        return {}
    return {d.id: text_of(cells_of_plan(plan.own(place))) for place, d in enumerate(plan.datasets)}


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The earlier answers of the datasets of one order, as this party's ledger holds them."""

    ledger: Ledger
    plan: Plan
    facts: tuple[DatasetFacts, ...]
    nonce: str

    @cached_property
    def told(self) -> frozenset[bytes]:
        """What was, or may yet be, answered: dataset and cohorts. Raises  Refused: exact_full."""
        if not guarded(self.plan):
            return frozenset()
        found = frozenset(
            f"{dataset.id} {text}".encode()
            for dataset in self.plan.datasets
            for text in self.ledger.answered(dataset.id, but=self.nonce)
        )
        self.earlier(found)
        return found

    def earlier(self, told: Collection[bytes]) -> list[Earlier]:
        """What each dataset of the plan is compared with. Raises  Refused: exact_full."""
        if not told:
            return []
        by_id = {one.id: one for one in self.facts}
        texts = [one.decode().split(" ", 1) for one in told]
        out = []
        for place, dataset in enumerate(self.plan.datasets):
            own = self.plan.own(place)
            cohorts = [cohort for whose, text in texts if whose == dataset.id for cohort in read(text)]
            one = Earlier.of(cohorts, own, by_id[dataset.id]) if cohorts else NOTHING
            if too_many(own, one, dataset.capacity) or sum(map(len, told)) > MOST_BYTES:
                raise Refused(
                    "exact_full", "too many earlier answers to compare this one with: ask for fewer cells"
                )
            out.append(one)
        return out
