"""From a request to a plan: the text is compiled against the datasets' codebooks and checked against policies.

Nothing here is kept or charged; preview and submission share it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from analytics.privacy.accountant import DeltaRejected, atto_delta
from analytics.query import language, plan, policy
from analytics.query.model import Plan
from analytics.query.plan import DatasetFacts
from portal.queries.models import Mode
from portal.registry.facts import facts as facts_of
from portal.registry.models import Dataset

LONGEST_PROGRAM = 64 * 1024  # bytes of UTF-8
MOST_EPSILON = 10**6


class RequestRejected(Exception):
    """The request is not a question: `code` and a sentence say why."""

    code = "request_rejected"

    def __init__(self, message: str, code: str = "request_rejected") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A question that compiles and that every policy allows."""

    program: str
    datasets: tuple[Dataset, ...]
    facts: tuple[DatasetFacts, ...]
    plan: Plan

    def described(self, assumptions: Any = None) -> dict[str, Any]:
        """The plan in words, cost and precision, as the REST interface shows it.

        Raises  ProgramRejected if what an analyst supposes (`analytics.query.precision`) cannot be used.
        """
        return plan.describe(self.plan, self.facts, assumptions=assumptions)


def micro(epsilon: Decimal) -> int:
    """Millionths of epsilon, rounded up so that a charge is never below what was asked.

    Raises  RequestRejected unless 0 < epsilon <= 10**6.
    """
    if not epsilon.is_finite() or not 0 < epsilon <= MOST_EPSILON:
        raise RequestRejected(f"epsilon must be above 0 and at most {MOST_EPSILON}", "epsilon")
    return int((epsilon * 10**6).to_integral_value(ROUND_CEILING))


def atto(delta: str | float | Decimal | None) -> int:
    """Units of 10^-18 of a delta, 0 for none. Raises RequestRejected: delta_invalid, delta_too_large."""
    if delta is None:
        return 0
    try:
        return atto_delta(delta)
    except DeltaRejected as wrong:
        raise RequestRejected(str(wrong), wrong.code) from None


def prepare(
    *,
    program: str | dict[str, Any],
    datasets: Sequence[Dataset],
    epsilon: Decimal | None,
    mode: str,
    delta: str | float | Decimal | None = None,
) -> Prepared:
    """Compile and check. Datasets are READY ones that the caller may ask about.

    Raises  RequestRejected, analytics' ProgramRejected or PolicyRefused; each has a code.
    """
    if mode == Mode.DP and epsilon is None:
        raise RequestRejected("epsilon is needed in dp mode", "epsilon")
    micro_epsilon = micro(epsilon) if mode == Mode.DP and epsilon is not None else 0
    if isinstance(program, str) and len(program.encode()) > LONGEST_PROGRAM:
        raise RequestRejected("a program has at most 65536 bytes", "program_too_long")
    for dataset in datasets:
        if dataset.mode not in ("", mode):
            raise RequestRejected(
                f"dataset {dataset.pk} is used in {dataset.mode} mode since its first query", "mode_fixed"
            )
    ordered = tuple(sorted(datasets, key=lambda d: d.pk))
    facts = tuple(facts_of(d) for d in ordered)
    compiled = plan.compile(program, facts, micro_epsilon, mode, atto(delta))
    policy.check(compiled, facts, int(time.time()))
    # Orders carry text: what came as JSON is kept as its canonical text.
    text = program if isinstance(program, str) else language.parse(program).text()
    if len(text.encode()) > LONGEST_PROGRAM:
        raise RequestRejected("a program has at most 65536 bytes", "program_too_long")
    return Prepared(program=text, datasets=ordered, facts=facts, plan=compiled)
