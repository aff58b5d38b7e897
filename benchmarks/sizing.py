"""What plans cost at sizes beyond this machine: the tables of docs/sizing.md, from the plans' own costs.

    .venv/bin/python -m benchmarks.sizing [--write]

Rounds and bytes are `analytics.query.cost.estimate`, exactly; memory and disk follow from the layout of planes; seconds
are a model with two measured constants. `--write` puts the tables into the page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from analytics.query import cost
from analytics.query.cost import NETWORKS, Network
from analytics.query.model import Plan
from benchmarks.questions import plan_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "sizing.md"
BEGIN, END = "<!-- figures of benchmarks/sizing.py -->\n", "<!-- end of figures -->\n"

BASE_BYTES = 60e6  # of a party's process before a query
HELD = 3  # components that a party holds

ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
FOUR = {
    "count": "count() where age > 60",
    "32 bins": "count() where age > 60 by bin",
    "mean and SD by 5 groups": "sd(value) where age < 200 by arm",
    "correlation": "correlate(value, other)",
}
QUESTIONS = FOUR | {"these four together": "\n".join(FOUR.values())}
KEPT = " (columns kept)"  # as a later query finds them: docs/decisions/0009-ring-views-of-columns.md


Held = Sequence[Collection[cost.Monomial]]  # the ring columns that each dataset of a plan has


def held(plan: Plan) -> Held:
    """Every ring column that the plan's totals are sums of."""
    return [cost.ring_columns(plan) for _ in plan.datasets]


def seconds(plan: Plan, network: Network, kept: Held = ()) -> float:
    """What the formula says of a plan, with the ring columns that its datasets have."""
    return cost.seconds(cost.estimate(plan, kept), network)


def planes_bytes(plan: Plan, rows: int) -> float:
    """Bytes of the columns that a plan reads, as one party holds them: bits and presence, three components."""
    planes = 1 + sum(column.bits + 1 for column in plan.columns)
    return HELD * planes * 8 * -(-rows // 64)


def memory(plan: Plan, rows: int, kept: Held = ()) -> float:
    """Bytes of a party's process: itself, the columns it reads, and one batch of blocks' temporaries."""
    own = kept[0] if kept else ()
    block = min(cost.BLOCK_BYTES, cost.row_bytes(plan, own) * rows)
    return BASE_BYTES + planes_bytes(plan, rows) + block


def number(value: int) -> str:
    return f"{value:,}".replace(",", " ")


def _line(name: str, plan: Plan, rows: int, kept: Held) -> str:
    spent = cost.estimate(plan, kept)
    cells = [
        name,
        number(rows),
        str(spent.rounds),
        f"{spent.bytes_per_party / 1e6:.2f}",
        f"{8 * spent.bytes_per_party / 1e6:.1f}",
        f"{memory(plan, rows, kept) / 1e6:.0f}",
        *(f"{seconds(plan, network, kept):.2f}" for network in NETWORKS),
    ]
    return "| " + " | ".join(cells) + " |\n"


def lines() -> Iterator[str]:
    yield (
        "| question | rows | rounds | MB a party sends | MB through Redis | MB of memory a party | "
        + " | ".join(f"s at {network.name}" for network in NETWORKS)
        + " |\n"
    )
    yield "|---" * (6 + len(NETWORKS)) + "|\n"
    for name, text in QUESTIONS.items():
        for rows in ROWS:
            plan = plan_of(text, rows)
            yield _line(name, plan, rows, ())
        if any(cost.ring_columns(plan)):
            for rows in ROWS:
                plan = plan_of(text, rows)
                yield _line(name + KEPT, plan, rows, held(plan))
    yield "\n"
    yield "| on the disk of a party | " + " | ".join(f"{number(rows)} rows" for rows in ROWS) + " |\n"
    yield "|---" * (1 + len(ROWS)) + "|\n"
    for name, bits in (
        ("yes or no", 1),
        ("a level of up to 32", 5),
        ("a number of 12 bits", 12),
        ("a number of 32 bits", 32),
    ):
        sizes = (HELD * (bits + 1) * 8 * -(-rows // 64) / 1e6 for rows in ROWS)
        yield f"| {name} | " + " | ".join(f"{size:.2f} MB" for size in sizes) + " |\n"
    sizes = (HELD * 8 * rows / 1e6 for rows in ROWS)
    yield "| a ring column kept for later | " + " | ".join(f"{size:.2f} MB" for size in sizes) + " |\n"


def figures() -> str:
    """The generated part of the page."""
    return BEGIN + "".join(lines()) + END


def written(page: str) -> str:
    """The page with today's figures in the place of its own."""
    before, rest = page.split(BEGIN)
    return before + figures() + rest.split(END)[1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/sizing.md")
    if parser.parse_args().write:
        PAGE.write_text(written(PAGE.read_text()))
    else:
        sys.stdout.write(figures())


if __name__ == "__main__":
    main()
