"""Fisher's exact test of two columns of two levels, in `exact` mode.

Its law is that of counts without noise: in `dp` mode it is refused, and odds_ratio has the test that counts the
noise. The two-sided p adds the tables that are no likelier than the one seen; the odds ratio is ad / bc, with
Woolf's interval. Fisher, J. R. Stat. Soc. 98 (1935).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analytics.query.statistic import Asked, Statistic, Wanted, every
from analytics.statistics.cells import Cell
from analytics.statistics.figure import EMPTY, Figure, said
from analytics.statistics.fourfold import woolf
from analytics.statistics.question import Question

ZERO = "a zero in the table: the odds ratio is 0, infinite or undefined; p is given"


def fisher(question: Question, cells: Sequence[Cell]) -> Figure:
    """The odds ratio of the four counts, and p."""
    from scipy.stats import fisher_exact

    a, b, c, d = (int(cell.n) for cell in cells)
    n = a + b + c + d
    if n == 0:
        return Figure(n=0, reason=EMPTY)
    extra = _extra(question, [[a, b], [c, d]], float(fisher_exact([[a, b], [c, d]]).pvalue))
    if 0 in (a, b, c, d):
        return Figure(n=n, reason=ZERO, extra=extra)
    table = np.array([[c, d], [a, b]], dtype=np.float64)
    return Figure.estimate(a * d / (b * c), woolf(table), within=(0, None), n=n, noise=0.0, extra=extra)


def blank(question: Question) -> dict[str, Any]:
    """The same keys without a number."""
    return _extra(question, [[None, None], [None, None]], None)


def _extra(question: Question, counts: Sequence[Sequence[int | None]], p: float | None) -> dict[str, Any]:
    rows, columns = (question.labels(by) for by in question.inner)
    return {"table": {"rows": rows, "columns": columns, "counts": counts}, "p": said(p)}


def _two_by_two(asked: Asked) -> list[Wanted]:
    for place, column in enumerate(asked.columns):
        if column.codes != 2 or column.kind != "category":
            raise asked.refuse(
                "wrong_type",
                f"{column.name} has not two levels: fisher takes two columns of two; ask crosstab for more",
                place,
            )
    x, y = asked.columns
    if x.name == y.name:
        raise asked.refuse("duplicate", f"{x.name} is compared with itself", 1)
    return [Wanted(inner=(every(x), every(y)))]


STATISTICS = (
    Statistic(
        name="fisher",
        words="Fisher's exact test",
        aliases=("fisher_exact", "fishers_exact_test"),
        columns=(2, 2),
        tables=_two_by_two,
        family=fisher,
        blank=blank,
        exact=True,
    ),
)
