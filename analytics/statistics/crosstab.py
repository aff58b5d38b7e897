"""Contingency tables of two or three nominal columns, with their margins.

One table of disjoint cells, sensitivity 1. Margins are sums of the released cells: they cost nothing, and carry the
noise of all that they add. Two columns have Pearson's chi-square and Cramer's V beside them, as `correlate` gives
them, and in `exact` mode a table of two by two Yates's correction too; three columns have a layer for each level of
the third. In `dp` mode a cell or margin below the minimum cohort is null. In `exact` mode a small cell takes all
margins with it, for a margin less the cells that are shown would be the one that is not.
Yates, J. R. Stat. Soc. Suppl. 1 (1934).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.query.statistic import Asked, Statistic, Wanted, every
from analytics.query.tree import Name
from analytics.statistics import contingency, noise
from analytics.statistics.cells import Cell
from analytics.statistics.counts import Z
from analytics.statistics.figure import Figure, said, too_few
from analytics.statistics.histogram import expected, sampling_of_a_cell
from analytics.statistics.question import Question

Counts = NDArray[Any]


def crosstab(question: Question, cells: Sequence[Cell]) -> Figure:
    """The number of patients in the table; the cells, margins and tests go with it."""
    exact, minimum = question.mode == "exact", question.minimum_cohort
    shape = tuple(by.size for by in question.inner)
    seen = np.array([int(cell.n) for cell in cells], dtype=object).reshape(shape)
    ok = np.array([cell.ok for cell in cells]).reshape(shape)
    shown = ok if exact else seen >= minimum
    extra = _extra(question, seen, shown, margins=bool(ok.all()))
    if not ok.all():
        return Figure(suppressed=True, reason=too_few("exact", minimum), extra=extra)
    if len(shape) == 2:
        extra |= _association(question, cells, seen)
    n, most = int(seen.sum()), cells[0].capacity
    deviation = sqrt(len(cells) * noise.variance(cells[0].t))
    half = 0 if exact else round(Z * deviation)
    return Figure.estimate(
        n,
        (n - half, n + half),
        within=(0, most),
        n=min(max(n, 0), most),
        noise=deviation,
        extra=extra,
    )


def blank(question: Question) -> dict[str, Any]:
    """The same keys without a number."""
    shape = tuple(by.size for by in question.inner)
    return _extra(question, np.zeros(shape, dtype=object), np.zeros(shape, dtype=bool), margins=False)


def _extra(question: Question, seen: Counts, shown: Counts, *, margins: bool) -> dict[str, Any]:
    """The two-way table of the first two columns with its margins; a layer for each level of the third."""
    minimum = 0 if question.mode == "exact" else question.minimum_cohort
    labels = [question.labels(by) for by in question.inner]

    def sums(counts: Counts, axis: int | None) -> Any:
        added = np.asarray(counts.sum(axis), dtype=object)
        return _listed(added, (added >= minimum) & margins)

    def margin(counts: Counts) -> dict[str, Any]:
        return {"row_sums": sums(counts, 1), "column_sums": sums(counts, 0), "all": sums(counts, None)}

    flat = seen if seen.ndim == 2 else seen.sum(2)
    counts = _listed(seen, shown) if seen.ndim == 2 else sums(seen, 2)
    layers = [
        {
            "level": level,
            "counts": _listed(seen[:, :, k], shown[:, :, k]),
            "margins": margin(seen[:, :, k]),
        }
        for k, level in enumerate(labels[2] if len(labels) == 3 else [])
    ]
    nothing = {"chi2": None, "df": None, "p": None, "cramers_v": None}
    return {
        "table": {"rows": labels[0], "columns": labels[1], "counts": counts},
        "margins": margin(flat),
        "layers": layers,
        **nothing,
        "yates": {"chi2": None, "p": None},
    }


def _listed(counts: Counts, shown: Counts) -> Any:
    out = counts.copy()
    out[~np.asarray(shown)] = None
    return out.tolist()


def _association(question: Question, cells: Sequence[Cell], seen: Counts) -> dict[str, Any]:
    """Chi-square, degrees of freedom, p and V, and Yates's chi-square and p of an exact table of two by two."""
    told = contingency.association(question, cells).extra
    found = {key: told[key] for key in ("chi2", "df", "p", "cramers_v")}
    table = seen.astype(np.float64)
    corrected: dict[str, Any] = {"chi2": None, "p": None}
    if question.mode == "exact" and table.shape == (2, 2) and table.sum(0).all() and table.sum(1).all():
        from scipy.special import chdtrc

        n = table.sum()
        off = abs(table[0, 0] * table[1, 1] - table[0, 1] * table[1, 0])
        chi2 = float(n * max(0.0, off - n / 2) ** 2 / (table.sum(0).prod() * table.sum(1).prod()))
        corrected = {"chi2": said(chi2), "p": said(float(chdtrc(1, chi2)))}
    return found | {"yates": corrected}


def _table(asked: Asked) -> list[Wanted]:
    for place, column in enumerate(asked.columns):
        if column.kind == "number":
            raise asked.refuse(
                "wrong_type",
                f"{column.name} is a number and has no levels: cut it in the codebook, or ask mean({Name(column.name)})",
                place,
            )
        if column.name in {other.name for other in asked.columns[:place]}:
            raise asked.refuse("duplicate", f"{column.name} stands twice in this table", place)
    return [Wanted(inner=tuple(every(column) for column in asked.columns))]


STATISTICS = (
    Statistic(
        name="crosstab",
        words="contingency table",
        aliases=("table", "contingency", "contingency_table", "cross_tabulation"),
        columns=(2, 3),
        tables=_table,
        family=crosstab,
        blank=blank,
        partial=True,
        unit=lambda unit: "patients",
        expected=expected,
        sampling=sampling_of_a_cell,
        of_cohort=True,
        power=contingency.power,
    ),
)
