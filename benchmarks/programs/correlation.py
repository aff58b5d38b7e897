"""Correlation of two 12-bit columns under a filter: columns converted from bits, and kept by an earlier query."""

from __future__ import annotations

from benchmarks.harness import Table
from benchmarks.questions import ask

QUESTION = "correlate(value, other) where age < 200"
SIZES = (1_000, 10_000, 100_000)

TABLES = (
    Table(title=f"{QUESTION}, cold", unit="rows", sizes=SIZES, prepare=ask(QUESTION)),
    Table(
        title=f"{QUESTION}, ring columns kept",
        unit="rows",
        sizes=SIZES,
        prepare=ask(QUESTION, warm=True),
        goals={100_000: 0.100},
    ),
)
