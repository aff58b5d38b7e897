"""What people who decide on a query are shown of it: plan in words, cohorts, cost, precision, and what was asked before.

The operator's page and the admin say the same, so it is said here once.
"""

from typing import Any

from analytics.privacy.accountant import delta_text
from analytics.privacy.filters import Loss
from portal.approvals.rules import first_approval
from portal.budgets.actions import affordable_attempts, decimal_text
from portal.budgets.models import Account
from portal.queries.models import Mode, Query, QueryDataset
from portal.queries.withheld import must_be_reviewed, withheld_so_far

RELATED = 12


def entry(query: Query) -> dict[str, Any]:
    """What the page says of one waiting query."""
    datasets = list(query.datasets.order_by("pk"))
    accounts = Account.objects.in_bulk([d.chain for d in datasets])
    attempts = affordable_attempts(accounts, query.loss, 2)
    reserved = query.loss.times(max(attempts, 1))
    return {
        "query": query,
        "epsilon": charge_text(query.loss),
        "cost": charge_text(reserved),
        "attempts": max(attempts, 1),
        "exact": query.mode == Mode.EXACT,
        "withheld": withheld_so_far(query.analyst, datasets),
        "review": must_be_reviewed(query),
        "affordable": attempts > 0,
        "budgets": [
            {
                "dataset": d,
                "total": decimal_text(account.total),
                "before": decimal_text(account.left),
                "after": decimal_text(account.allowance.left(account.held + reserved)),
            }
            for d, account in ((d, accounts[d.chain]) for d in datasets)
        ],
        "first": first_approval(query),
        **described(query.description),
    }


def charge_text(loss: Loss | Query) -> str:
    """Epsilon, and delta where there is one."""
    return decimal_text(loss.micro_epsilon) + (
        f" and delta {delta_text(loss.atto_delta)}" if loss.atto_delta else ""
    )


def described(description: dict[str, Any]) -> dict[str, Any]:
    """A plan's description as rows: one table of statements, one list of everything else."""
    facts = {
        "Columns read": ", ".join(description["columns"]),
        "Minimum cohort": description["minimum_cohort"],
        "Numbers released": description["released"],
        "Rounds": description["rounds"],
        "Bytes per party": description["bytes_per_party"],
        **({"Seconds": seconds_text(description["seconds"])} if "seconds" in description else {}),
        **({"What it promises": description["means"]} if "means" in description else {}),
        "Plan": description["plan_hash"],
    }
    return {
        "statements": [
            {**s, "error": error_text(s["expected_error"]), "widths": widths_text(s.get("precision"))}
            for s in description["statements"]
        ],
        "tables": [
            {**t, "percent": None if t["share"] is None else round(100 * t["share"], 1)}
            for t in description.get("tables", [])
        ],
        "facts": list(facts.items()),
    }


def error_text(error: dict[str, Any] | None) -> str:
    """Expected error in one line, such as "+-0.07 kg/m2 (95 %, noise alone), assuming 100 patients"."""
    if error is None:
        return "none: exact"
    if error["half_width"] is None:
        return f"not known: many cohorts would have no figure, assuming {error['assuming']}"
    unit = f" {error['unit']}" if error["unit"] else ""
    return f"\u00b1{error['half_width']:.3g}{unit} ({error['level']:.0%}, noise alone), assuming {error['assuming']}"


def widths_text(precision: dict[str, Any] | None) -> str:
    """What is known of a figure's width in one line; of a query of an earlier release, nothing."""
    if precision is None:
        return ""
    total, n = precision["half_width"]["total"], precision["n"]
    told = (
        []
        if total is None
        else [f"\u00b1{total:.3g} in all at {'most ' if precision['at_most'] else ''}{n} patients"]
    )
    if precision["useful"] is False:
        told.append("not useful")
    if precision["suppressed"]:
        told.append(f"{len(precision['suppressed'])} groups below the minimum cohort")
    return "; ".join(told)


def seconds_text(seconds: dict[str, float]) -> str:
    return "; ".join(f"{value:.2g} at {network}" for network, value in seconds.items())


def related(query: Query) -> dict[str, Any]:
    """Earlier queries about the same patients, newest first: those of the same analyst, and how many in all.

    All versions of a chain are the same patients.
    """
    chains = query.datasets.values("chain")
    touching = QueryDataset.objects.filter(dataset__chain__in=chains).values("query")
    earlier = Query.objects.filter(pk__in=touching, created__lt=query.created).exclude(pk=query.pk)
    newest = earlier.select_related("analyst").defer("plan", "description").order_by("-created")
    return {
        "queries": [
            {
                "query": other,
                "epsilon": charge_text(other),
                "same_plan": other.plan_hash == query.plan_hash,
                "same_person": other.analyst_id == query.analyst_id,
            }
            for other in newest[:RELATED]
        ],
        "count": earlier.count(),
        "of_this_analyst": earlier.filter(analyst=query.analyst_id).count(),
    }
