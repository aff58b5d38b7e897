"""What the noise does to a figure, in words and as a part of its interval's width.

Sampling and noise are independent, so the squares of their half-widths add up. What is said here is how much narrower
the interval would be without the noise; it comes from the released figures alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from statistics import NormalDist
from typing import Any

from analytics.query.statistic import statistics


def part_of_width(group: Mapping[str, Any], of_cohort: bool = False) -> float | None:
    """From 0 to 1: how much of an interval's width is there because of the noise; None where figures do not tell."""
    low, high = group.get("low"), group.get("high")
    noise = (group.get("noise_scale") or {}).get("value")
    if low is None or high is None or noise is None:
        return None
    if of_cohort:
        return 1.0
    half = (high - low) / 2
    if half <= 0:
        return None
    own = NormalDist().inv_cdf(0.5 + (group.get("level") or 0.95) / 2) * noise
    return 1 - sqrt(max(0.0, 1 - min(1.0, own / half) ** 2))


def words(statement: Mapping[str, Any], mode: str) -> str:
    """A sentence on the noise of a statement."""
    if mode == "exact":
        return "No noise: exact mode gives the figures as they are, to those whom the provider allows."
    known = statistics().get(str(statement.get("statistic", "")))
    groups = [group for group in statement.get("groups") or () if group.get("value") is not None]
    counts = bool(groups) and all(group["value"] == group.get("n") for group in groups)
    of_cohort = counts or (known is not None and known.of_cohort)
    parts = [part_of_width(group, of_cohort) for group in groups]
    found = [part for part in parts if part is not None]
    if of_cohort and found:
        what = "number of patients" if counts else "figure"
        return (
            f"The interval of the {what} is of the noise alone: it describes these patients themselves, so there is no"
            " chance in who took part."
        )
    if not found:
        return (
            "The noise that protects patients is in every figure; how wide it is here, figures do not tell."
        )
    low, high = (
        f"{100 * x:.0f}" if 100 * x >= 1 or x == 0 else "less than 1" for x in (min(found), max(found))
    )
    share = low if low == high else f"{low} to {high}"
    return (
        f"Of the interval's width, {share} % comes from the noise that protects patients, the rest from chance in who"
        " took part."
    )
