"""The first page's figures: what a made-up trial answers, with the noise of an epsilon that the reader chooses.

No patient is in it: the twin is drawn from a codebook alone, the same for everybody, so strangers may see it.
"""

import json
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from analytics.query.plan import compile
from analytics.query.resolve import DatasetFacts
from analytics.query.schema import parse_codebook

CODEBOOK = Path(__file__).with_name("example.json")
EPSILONS = ("0.25", "0.5", "1", "2", "4")
USUAL = "1"
PROGRAM = """\
table_one(age, bmi, tumour_size, sex, ecog) by arm
survival(time_till_death) by arm
"""


@lru_cache(maxsize=1)
def facts() -> DatasetFacts:
    schema = parse_codebook(json.loads(CODEBOOK.read_text(), parse_float=Decimal))
    return DatasetFacts(
        id="0" * 32,
        version=1,
        manifest_hash="0" * 64,
        capacity=schema.capacity,
        schema=schema,
        policy=dict(schema.policy),
    )


@lru_cache(maxsize=len(EPSILONS))
def answer(epsilon: str) -> dict[str, Any]:
    """The twin's answer at one of EPSILONS."""
    from analytics import twin  # loads scipy: three seconds, once

    micro = int(Decimal(epsilon) * 10**6)
    return twin.answer(compile(PROGRAM, [facts()], micro, "dp"), [facts()])
