"""The complete query: count, mean and SD of a 12-bit value by five groups under a numeric filter, 15 noises."""

from __future__ import annotations

from benchmarks.harness import Table
from benchmarks.questions import ask

QUESTION = "sd(value) where age < 200 by arm"
SIZES = (1_000, 10_000, 100_000, 1_000_000)

TABLES = (
    Table(title=f"{QUESTION}, columns converted from bits", unit="rows", sizes=SIZES, prepare=ask(QUESTION)),
    Table(title=f"{QUESTION}, ring columns kept", unit="rows", sizes=SIZES, prepare=ask(QUESTION, warm=True)),
)
