"""What became of one field's rows while it was read, kept only as long as somebody asks for the counts.

Arrays of the reading itself, by reference: counts made of them are those of the codes that are shared, not of a
second computation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from providers.study import Joined

Rows = NDArray[np.int64]


@dataclass
class Trace:
    """Filled in step by step; what a field's reading never came to stays None.

    `kept` holds (setting, rows before, rows after) of each predicate; `rows` took part after all of them;
    `chosen` is the row of each patient where `reduce` chooses one; `values` is the exact value of each distinct
    text that has one. `present`, `below`, `above` count patients just before their values are confined to the
    range.
    """

    joined: Joined | None = field(default=None, repr=False)
    kept: list[tuple[str, int, int]] = field(default_factory=list)
    rows: Rows | None = field(default=None, repr=False)
    chosen: Rows | None = field(default=None, repr=False)
    passing: int | None = None  # rows that pass the test of `any` or `all`
    values: Mapping[int, Decimal] | None = field(default=None, repr=False)
    present: int | None = None
    below: int = 0
    above: int = 0
