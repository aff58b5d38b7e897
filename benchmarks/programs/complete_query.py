"""The complete query: count, mean and SD of a 12-bit value by five groups under a numeric filter, 15 noises."""

from __future__ import annotations

from benchmarks.harness import Table
from benchmarks.questions import ask

TABLES = (
    Table(
        title="sd(value) where age < 200 by arm: columns converted from bits in the query itself",
        unit="rows",
        sizes=(1_000, 10_000, 100_000, 1_000_000),
        prepare=ask("sd(value) where age < 200 by arm"),
    ),
)
