"""Many rows of one patient to one value, as the codebook's `reduce` says.

`only`, `first`, `min` and `max` choose a row, so that a later complaint can name its line; `any`, `all` and
`count` make a value of their own. Rows that a `where` leaves out take no part. A patient of whom no row is
left has the reduction's `default`; without one nothing is known, except that a count is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from providers.study import Joined
from providers.values import Unreadable, read_number

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

NO_ROW = -1


def choose(rows: Rows, patient: Rows, patients: int, *ranks: NDArray[np.int64]) -> Rows:
    """For each patient the row of lowest ranks, file order last; NO_ROW for a patient without any.

    Shapes  rows: (k,) row numbers; patient: patient of every row of the file; ranks: (k,) each.
    """
    order = np.lexsort((rows, *reversed(ranks), patient[rows]))
    ordered = rows[order]
    owner = patient[ordered]
    first = np.ones(len(owner), dtype=bool)
    first[1:] = owner[1:] != owner[:-1]
    chosen = np.full(patients, NO_ROW, dtype=np.int64)
    chosen[owner[first]] = ordered[first]
    return chosen


def repeated(rows: Rows, patient: Rows) -> Rows:
    """The rows, in file order, whose patient had an earlier one among `rows`."""
    first = np.full(int(patient.max(initial=-1)) + 1, NO_ROW, dtype=np.int64)
    first[patient[rows][::-1]] = rows[::-1]
    again: Rows = rows[first[patient[rows]] != rows]
    return again


def tally(rows: Rows, patient: Rows, patients: int) -> Rows:
    """How many of `rows` each patient has."""
    return np.bincount(patient[rows], minlength=patients).astype(np.int64)


def order_ranks(
    joined: Joined, header: str, rows: Rows, missing: Callable[[str], bool], decimal: str
) -> Rows | None:
    """Ranks of an `orderBy` column at `rows`: as numbers if all are, else as ISO dates or times.

    Missing comes last. None if the texts are neither, for then their order would be a guess.
    """
    texts = joined.texts(header)
    used = np.unique(texts.index[rows])
    present = [u for u in used if not missing(texts.distinct[u])]
    numbers = {u: read_number(texts.distinct[u], decimal) for u in present}
    keys: dict[int, object]
    if not any(isinstance(value, Unreadable) for value in numbers.values()):
        keys = dict(numbers)
    elif all(_iso(texts.distinct[u]) for u in present):
        keys = {u: texts.distinct[u] for u in present}
    else:
        return None
    values = {value: rank for rank, value in enumerate(sorted(set(keys.values())))}  # type: ignore[type-var]
    ranks = np.full(len(texts.distinct), len(values), dtype=np.int64)
    for u, value in keys.items():
        ranks[u] = values[value]
    return ranks[texts.index[rows]]


def _iso(text: str) -> bool:
    """YYYY-MM-DD, with a time or without: such texts sort as the moments they name."""
    date = text[:10].split("-")
    return [len(part) for part in date] == [4, 2, 2] and all(part.isdecimal() for part in date)
