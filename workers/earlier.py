"""What a party remembers of exact answers: the cohorts that a later exact plan may not lie too near.

Every party that accepts a guarded exact plan writes its cohorts into its ledger; what may have been answered is named
in each hello, and a session compares with whatever any of its parties names. A name that this party does not know
ends the attempt: either the plan came to it later, and the next attempt finds it, or somebody made it up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from analytics.query.disclosure import NOTHING, Earlier, guarded, name_of, read, text_of, too_many
from analytics.query.disclosure import cells as cells_of_plan
from analytics.query.model import Plan
from analytics.query.resolve import DatasetFacts
from mpcnode.errors import ProtocolAbort
from workers.errors import Refused
from workers.ledger import Ledger

MOST_NAMES = 1024  # in a hello; 16 bytes each


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
    def names(self) -> frozenset[bytes]:
        """Names of what was, or may yet be, answered. Raises  Refused: exact_full."""
        if not guarded(self.plan):
            return frozenset()
        found = {
            name_of(dataset.id, text)
            for dataset in self.plan.datasets
            for text in self.ledger.answered(dataset.id, but=self.nonce)
        }
        if len(found) > MOST_NAMES:
            raise Refused("exact_full", "the dataset gave too many exact answers to compare another one with")
        return frozenset(found)

    def earlier(self, names: Collection[bytes]) -> list[Earlier]:
        """What each dataset of the plan is compared with. Raises  ProtocolAbort: disagreement."""
        if not names:
            return []
        known: Mapping[bytes, tuple[str, str]] = {
            name_of(dataset.id, text): (dataset.id, text)
            for dataset in self.plan.datasets
            for text in self.ledger.accepted_cells(dataset.id)
        }
        if not set(names) <= set(known):
            raise ProtocolAbort("disagreement", "an earlier answer is not known here")
        by_id = {one.id: one for one in self.facts}
        out = []
        for place, dataset in enumerate(self.plan.datasets):
            own = self.plan.own(place)
            texts = [text for whose, text in (known[name] for name in names) if whose == dataset.id]
            cohorts = [cohort for text in texts for cohort in read(text)]
            one = Earlier.of(cohorts, own, by_id[dataset.id]) if cohorts else NOTHING
            if too_many(own, one, dataset.capacity):
                raise ProtocolAbort("disagreement", "too many earlier answers to compare with")
            out.append(one)
        return out
