"""How the epsilon of an analysis plan is split over its tables, once one statement is marked primary.

The primary endpoint's tables get 40 % of the total, those that only exploratory statements read the rest. Within each
part noise scales t_i are proportional to (Delta_i / a_i)^(1/3), which makes sum a_i t_i^2 least for a given
sum Delta_i / t_i. The weight a_i turns noise into sampling variances of the figures that read the table, so that no
figure is precise at the cost of the others: with c cells, a_i = k c / Delta_i^2, for noise of scale t moves a figure by
t / Delta_i patients' worth and a cell holds n / c of them. So epsilon_i is proportional to (k c)^(1/3).
k is the noise variance of a figure over its sampling variance, relative to that of a count, with an SD of a sixth of
the range and a proportion of one half. Integers throughout: portal, parties and analyst split alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from analytics.privacy.accountant import EpsilonRejected, weighted
from analytics.query.errors import ProgramRejected
from analytics.query.tables import Resolved, Table

PRIMARY_PERCENT = 40
COMPARED_TO_A_COUNT = {"count": 1, "pair": 36, "moments": 9, "joint": 162}
DIGITS = 10**6  # of a cube root


def marked(found: Sequence[Resolved]) -> bool:
    """Whether tables are to be weighed: a statement is primary and none names its own epsilon."""
    asked = [one.statement for one in found]
    return any(one.primary for one in asked) and all(one.micro_epsilon is None for one in asked)


def split(
    total: int, found: Sequence[Resolved], uses: Sequence[Sequence[int]], tables: Sequence[Table]
) -> list[int]:
    """The micro-epsilon of each table; together exactly `total`.

    Shapes  uses: for each statement, the places of its tables. A table that primary and exploratory statements read
            is the primary's.
    Raises  ProgramRejected, epsilon_exhausted, if a table would have less than a millionth.
    """
    weights = [0] * len(tables)
    primary: set[int] = set()
    for one, places in zip(found, uses, strict=True):
        if one.statement.primary:
            primary.update(places)
        for (table, weight), place in zip(one.tables, places, strict=True):
            weights[place] += weight**3 * COMPARED_TO_A_COUNT[table.shape] * _cells(table)
    others = [place for place in range(len(tables)) if place not in primary]
    for_primary = total * PRIMARY_PERCENT // 100 if others else total
    charged = [0] * len(tables)
    for places, part in ((sorted(primary), for_primary), (others, total - for_primary)):
        if not places:
            continue
        try:
            if not part:
                raise EpsilonRejected(f"nothing is left for {len(places)} tables", "epsilon_exhausted")
            parts = weighted(part, [_cube_root(weights[place]) for place in places])
        except EpsilonRejected as wrong:
            raise ProgramRejected(wrong.code, str(wrong)) from None
        for place, micro in zip(places, parts, strict=True):
            charged[place] = micro
    return charged


def _cells(table: Table) -> int:
    cells = 1
    for by in table.by:
        cells *= by.size
    return cells


def _cube_root(weight: int) -> int:
    """floor(10^6 * weight^(1/3)), by bisection on integers."""
    wanted = weight * DIGITS**3
    low, high = 0, 1 << (wanted.bit_length() // 3 + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**3 <= wanted else (low, middle)
    return low
