"""Twenty numeric columns of 12 bits in one program: what a party holds in memory for a wide table."""

from __future__ import annotations

from benchmarks.harness import Table
from benchmarks.questions import ask

QUESTION = "; ".join(f"sum(lab{k})" for k in range(1, 21))

TABLES = (
    Table(
        title="sums of 20 columns, converted from bits",
        unit="rows",
        sizes=(100_000, 1_000_000),
        prepare=ask(QUESTION),
    ),
)
