"""Many tests in one program: p-values adjusted for each other, beside the raw ones.

Holm bounds the chance of any false finding in the program (Holm, Scand. J. Statist. 6, 1979); Benjamini-Hochberg the
expected share of false ones among the findings (JRSS B 57, 1995). A p-value that is not given is no test.
Clear post-processing of released figures; tests of other programs are counted by the portal, not adjusted for here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analytics.statistics.figure import said

LISTS = ("comparisons", "coefficients")  # of a group, each with a p-value of its own
SINGLE = ("heterogeneity", "ratio")


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
    """Give everything that has a "p" its "p_holm" and "p_bh", over all tests of these statements.

    A group whose "p" is that of the first of its comparisons or coefficients gets what that one gets.
    """
    groups = [group for statement in statements for group in statement["groups"]]
    given = [test for group in groups for test in _tests(group) if test["p"] is not None]
    for group in groups:
        for one in (group, *_parts(group)):
            if "p" in one:
                one |= {"p_holm": None, "p_bh": None}
    p_values = [float(test["p"]) for test in given]
    for test, whole, share in zip(given, holm(p_values), benjamini_hochberg(p_values), strict=True):
        test |= {"p_holm": said(whole), "p_bh": said(share)}
    for group in groups:
        same = (test for test in _tests(group) if test is not group and test["p"] is not None)
        if (first := next((test for test in same if test["p"] == group.get("p")), None)) is not None:
            group |= {key: first[key] for key in ("p_holm", "p_bh")}


def counted(statements: Iterable[Mapping[str, Any]]) -> int:
    """How many tests these statements give."""
    groups = (group for statement in statements for group in statement["groups"])
    return sum(test["p"] is not None for group in groups for test in _tests(group))


def _parts(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What may have a p-value within a group; strata are parts of one test and have none of their own."""
    listed = [one for key in LISTS for one in group.get(key) or ()]
    return listed + [one for key in SINGLE if isinstance(one := group.get(key), dict)]


def _tests(group: dict[str, Any]) -> list[dict[str, Any]]:
    """The tests of a group, each once: its comparisons or coefficients, else its own p; an intercept is no finding."""
    parts = [one for one in _parts(group) if "p" in one and one.get("term") != "intercept"]
    of_its_own = "p" in group and not any(group.get(key) for key in LISTS)
    return [*([group] if of_its_own else []), *parts]
