"""Matrix of Pearson's correlations of several numeric columns, pairwise complete.

One joint table a pair: each is the table of `correlate` for that pair, shared with it, and has its part of the
statement's epsilon. Every pair is computed over the patients who have both columns, so the matrix need not be that
of any one cohort. Figures and intervals of a pair are those of `correlate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from analytics.query.statistic import Asked, Statistic, Wanted, need_numbers
from analytics.statistics.correlation import expected_correlation, pearson, sampling_of_correlation
from analytics.statistics.difference import no_column_twice
from analytics.statistics.figure import said
from analytics.statistics.figures import withheld
from analytics.statistics.question import Question

MOST = 12  # columns: 66 tables share the epsilon


def correlations(question: Question, integers: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The groups of the answer: the first pair as the figure, all pairs in `correlations`, their r in `matrix`."""
    pairs = list(combinations(question.columns, 2))
    tables = [question.cells(row, place) for place, row in enumerate(integers)]
    groups = []
    for parts in zip(*tables, strict=True):
        figures = [withheld(question, cells) or pearson(question, cells) for _, cells in parts]
        listed = [{"x": x, "y": y, **one.one()} for (x, y), one in zip(pairs, figures, strict=True)]
        first, (by, cells) = figures[0], parts[0]
        first.extra.update({"correlations": listed, "matrix": _matrix(question.columns, listed)})
        groups.append(first.public(by, cells[0].t, cells[0].deviation_of_n))
    return groups


def _matrix(columns: Sequence[str], listed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The symmetric matrix of r, null where a pair has none; 1 on the diagonal, by definition."""
    r = {(one["x"], one["y"]): one["value"] for one in listed}
    rows = [[1.0 if a == b else said(r.get((a, b), r.get((b, a)))) for b in columns] for a in columns]
    return {"columns": list(columns), "values": rows}


def _pairs(asked: Asked) -> list[Wanted]:
    need_numbers(asked)
    no_column_twice(asked)
    return [
        Wanted(numbers=pair, shape="joint", present=pair) for pair in combinations(asked.columns, 2)
    ]  # fmt: skip


STATISTICS = (
    Statistic(
        name="correlations",
        words="matrix of Pearson correlations",
        aliases=("correlation_matrix", "corr_matrix"),
        columns=(2, MOST),
        tables=_pairs,
        parameters=lambda columns: 2,  # each is of two
        groups=correlations,
        expected=expected_correlation,
        sampling=sampling_of_correlation,
    ),
)
