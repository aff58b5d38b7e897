"""What the planner needs of a dataset, from its signed manifest and its codebook: public facts only."""

import json
from decimal import Decimal
from functools import lru_cache
from typing import Any

from analytics.privacy.filters import Allowance
from analytics.query.plan import DatasetFacts
from analytics.query.schema import Schema, parse_codebook
from portal.registry.models import Dataset


def facts(dataset: Dataset) -> DatasetFacts:
    """The dataset as `analytics.query.plan` wants it."""
    return DatasetFacts(
        id=dataset.pk,
        version=dataset.version,
        manifest_hash=dataset.manifest_hash,
        capacity=dataset.capacity,
        schema=schema(dataset),
        policy=policy(dataset),
    )


def schema(dataset: Dataset) -> Schema:
    return _schema(dataset.codebook)


def policy(dataset: Dataset) -> dict[str, Any]:
    """The policy in the signed manifest."""
    found: dict[str, Any] = json.loads(dataset.manifest)["policy"]
    return found


def allowance(dataset: Dataset) -> Allowance:
    """What that policy lets all plans on the chain lose together."""
    terms = policy(dataset)
    return Allowance.of(terms["micro_epsilon"], terms.get("atto_delta", 0))


@lru_cache(maxsize=64)
def _schema(codebook: str) -> Schema:
    return parse_codebook(json.loads(codebook, parse_float=Decimal))
