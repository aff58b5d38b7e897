"""Whether the providers' signed policies allow a plan; asked by portal and by every party alike.

Only what a manifest says: mode, statistics, epsilon of one attempt, last day. Budgets are ledgers, floors are each
party's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from analytics.privacy.accountant import delta_text, short_text
from analytics.query.errors import PolicyRefused
from analytics.query.model import Plan
from analytics.query.resolve import DatasetFacts

__all__ = ["PolicyRefused", "check", "expiry", "loosened"]


def check(plan: Plan, facts: Sequence[DatasetFacts], now: int) -> None:
    """Return if every dataset's policy allows the plan at `now` (unix seconds).

    Raises  PolicyRefused, naming dataset, rule, threshold and remedy: facts_differ, expired,
            mode_not_allowed, statistic_not_allowed, epsilon_per_query, delta_not_allowed,
            delta_above_policy.
    """
    known = {fact.id: fact for fact in facts}
    for dataset in plan.datasets:
        fact = known.get(dataset.id)
        if fact is None or (fact.version, fact.manifest_hash) != (dataset.version, dataset.manifest_hash):
            raise PolicyRefused("facts_differ", f"dataset {dataset.id}: the plan is for another manifest")
        _check_one(plan, fact, now)


def expiry(day: str) -> int:
    """The first unix second after a policy's last day, in UTC."""
    after = date.fromisoformat(day) + timedelta(days=1)
    return int(datetime.combine(after, time(), UTC).timestamp())


def loosened(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The terms of a signed policy, in words, that allow more than they did; the chain's totals are not among them."""
    terms = []
    for name, words in (("micro_epsilon_per_query", "epsilon per query"), ("expires", "last day")):
        if after[name] > before[name]:
            shown = [short_text(p[name]) if name != "expires" else p[name] for p in (before, after)]
            terms.append(f"{words} from {shown[0]} to {shown[1]}")
    if after["minimum_cohort"] < before["minimum_cohort"]:
        terms.append(f"minimum cohort from {before['minimum_cohort']} to {after['minimum_cohort']}")
    for name in ("modes", "statistics"):
        more = [one for one in after[name] if one not in before[name] and "*" not in before[name]]
        if more:
            terms.append(f"{name} with {', '.join(more)}")
    return terms


def _check_one(plan: Plan, fact: DatasetFacts, now: int) -> None:
    policy, name = fact.policy, f"dataset {fact.id}"
    if now >= expiry(policy["expires"]):
        raise PolicyRefused(
            "expired",
            f"{name}: its policy ended with {policy['expires']}; the provider may sign a new version",
        )
    if plan.mode not in policy["modes"]:
        raise PolicyRefused(
            "mode_not_allowed",
            f"{name}: mode {plan.mode} is not allowed by its provider, {' and '.join(policy['modes'])} is",
        )
    allowed = policy["statistics"]
    for statement in plan.statements:
        statistic = statement.partition("(")[0]  # a plan's texts are canonical
        if "*" not in allowed and statistic not in allowed:
            raise PolicyRefused(
                "statistic_not_allowed",
                f"{name}: {statistic} is not allowed by its provider, {', '.join(allowed)} is",
            )
    delta = policy.get("atto_delta", 0)
    if plan.atto_delta and not delta:
        raise PolicyRefused(
            "delta_not_allowed",
            f"{name}: its provider signed a budget of epsilon alone, without delta; leave out delta",
        )
    if plan.atto_delta > delta:
        raise PolicyRefused(
            "delta_above_policy",
            f"{name}: asked for delta {delta_text(plan.atto_delta)}, its provider allows {delta_text(delta)} in all;"
            " ask for less",
        )
    most = policy["micro_epsilon_per_query"]
    if plan.mode == "dp" and plan.micro_epsilon > most:
        raise PolicyRefused(
            "epsilon_per_query",
            f"{name}: asked for epsilon {short_text(plan.micro_epsilon)},"
            f" its provider allows {short_text(most)} per query; ask for less",
        )
