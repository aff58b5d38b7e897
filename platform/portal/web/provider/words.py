"""What a policy allows at worst, in words for somebody who has never heard of epsilon."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Any

from portal.budgets.actions import decimal_text

_CERTAIN = Decimal("99.9999")


@dataclass(frozen=True, kw_only=True)
class Term:
    """One term of a policy: its name, its value, and what that means."""

    name: str
    value: str
    means: str


def worst_belief(micro_epsilon: int) -> str:
    """How sure somebody who was half sure of a fact about one patient can become, in percent, rounded up.

    The posterior after odds of 1 grow by a factor of e^epsilon (Wood et al., "Differential Privacy: A Primer for a
    Non-Technical Audience", Vand. J. Ent. & Tech. L. 21 (2018), section IV).
    """
    with localcontext() as context:
        context.prec = 40
        factor = (Decimal(micro_epsilon) / 10**6).exp()
        percent = 100 * factor / (1 + factor)
        if percent >= _CERTAIN:
            return "practically certain"
        for places in ("1", "0.1", "0.01", "0.001", "0.0001"):
            rounded = percent.quantize(Decimal(places), rounding=ROUND_CEILING)
            if rounded < 100:
                return f"{rounded} % sure"
    return "practically certain"


def worst_case(policy: Mapping[str, Any]) -> list[str]:
    """Sentences on what the whole budget, and one question, could tell at worst about one patient."""
    total, each = policy["micro_epsilon"], policy["micro_epsilon_per_query"]
    said = []
    if "dp" in policy["modes"]:
        said += [
            (
                "Suppose somebody is half sure of something about one patient, knows everything about all others, and sees"
                f" every answer that the whole budget allows. At worst they end {worst_belief(total)}."
                f" After the answers of one question alone, at worst {worst_belief(each)}."
            ),
            (
                "This is the bound that holds whatever else they know. Usual answers tell far less about anyone."
                " It covers one patient's row, and holds as long as no two of the four parties work together."
            ),
        ]
    if "exact" in policy["modes"]:
        said.append(
            "The policy also allows exact answers. Then no epsilon protects the patients of this table, only the rule"
            " of the smallest cell: whoever compares exact answers may learn about single patients."
        )
    return said


def terms(policy: Mapping[str, Any]) -> list[Term]:
    """Every term of a signed policy."""
    cohort = policy["minimum_cohort"]
    modes = {
        "dp": "noised answers, under the budget",
        "exact": "exact answers, protected by the smallest cell alone",
    }
    every = policy["statistics"] == ["*"]
    return [
        Term(
            name="Budget (epsilon)",
            value=_short(policy["micro_epsilon"]),
            means="all versions of this table share it; when it is spent, nothing more is answered",
        ),
        Term(
            name="Epsilon of one question",
            value=f"at most {_short(policy['micro_epsilon_per_query'])}",
            means="less means more noise and a smaller part of the budget",
        ),
        Term(
            name="Smallest cohort",
            value=f"{cohort}",
            means=f"answers on fewer patients are withheld. A noised cohort of {cohort} may truly hold fewer: the noise"
            " protects it, not the threshold",
        ),
        Term(
            name="Modes",
            value=" or ".join(policy["modes"]),
            means="; ".join(f"{mode}: {modes.get(mode, mode)}" for mode in policy["modes"]),
        ),
        Term(
            name="Statistics",
            value="all" if every else ", ".join(policy["statistics"]),
            means="what may be asked at all",
        ),
        Term(name="Last day", value=policy["expires"], means="after it nothing is answered"),
    ]


def _short(micro: int) -> str:
    return decimal_text(micro).rstrip("0").rstrip(".")
