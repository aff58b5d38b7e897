"""A histogram of 32 bins with a filter: 32 noised counts."""

from __future__ import annotations

from benchmarks.harness import Table
from benchmarks.questions import ask

TABLES = (
    Table(
        title="count() where age > 60 by bin: 32 bins, 32 noises",
        unit="rows",
        sizes=(1_000, 10_000, 100_000, 1_000_000),
        prepare=ask("count() where age > 60 by bin"),
        goals={1_000_000: 0.500},
    ),
)
