"""W3: a 32-bit value below a public threshold, then the count of those rows, exact."""

from __future__ import annotations

from benchmarks.harness import Table
from benchmarks.questions import ask

TABLES = (
    Table(
        title="W3: count() where long < 2 000 000 000, 32-bit values, exact",
        unit="rows",
        sizes=(100_000, 1_000_000),
        prepare=ask("count() where long < 2000000000", "exact"),
    ),
)
