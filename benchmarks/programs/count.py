"""A filter on an eight-bit column and a count of the rows that pass, exact and with noise."""

from __future__ import annotations

from benchmarks.harness import Table
from benchmarks.questions import ask

SIZES = (1_000, 10_000, 100_000, 1_000_000)

TABLES = (
    Table(
        title="count() where age > 60, exact",
        unit="rows",
        sizes=SIZES,
        prepare=ask("count() where age > 60", "exact"),
        goals={1_000_000: 0.060},
    ),
    Table(
        title="count() where age > 60, one noise",
        unit="rows",
        sizes=SIZES,
        prepare=ask("count() where age > 60"),
        goals={1_000_000: 0.060},
    ),
)
