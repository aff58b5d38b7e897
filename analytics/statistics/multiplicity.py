"""Many tests in one program: p-values adjusted for each other, beside the raw ones.

Holm bounds the chance of any false finding in the program (Holm, Scand. J. Statist. 6, 1979); Benjamini-Hochberg the
expected share of false ones among the findings (JRSS B 57, 1995). A p-value that is not given is no test.
Clear post-processing of released figures; tests of other programs are counted by the portal, not adjusted for here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analytics.statistics.figure import said


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down: the k-th smallest of m times m - k + 1, never below one that comes before it."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Step-up: the k-th smallest of m times m / k, never above one that comes after it."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    adjusted, lowest = [0.0] * len(p_values), 1.0
    for rank, place in enumerate(order):
        lowest = min(lowest, len(p_values) * p_values[place] / (len(p_values) - rank))
        adjusted[place] = lowest
    return adjusted


def adjust(statements: Iterable[Mapping[str, Any]]) -> None:
    """Give every group that has a "p" its "p_holm" and "p_bh", over all p-values of these statements."""
    having = [group for statement in statements for group in statement["groups"] if "p" in group]
    given = [group for group in having if group["p"] is not None]
    for group in having:
        group |= {"p_holm": None, "p_bh": None}
    p_values = [float(group["p"]) for group in given]
    for group, whole, share in zip(given, holm(p_values), benjamini_hochberg(p_values), strict=True):
        group |= {"p_holm": said(whole), "p_bh": said(share)}


def counted(statements: Iterable[Mapping[str, Any]]) -> int:
    """How many p-values these statements give."""
    return sum(group.get("p") is not None for statement in statements for group in statement["groups"])
