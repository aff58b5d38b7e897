"""What a slow network costs, and what statements gain by sharing rounds.

Four statements on 1000 rows, computed one after another and together (`gather`), with a delay between push and
arrival of every message. A round costs at least one delay; computation is the same in both columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analytics.execute import execute, released_words
from benchmarks.harness import Table, Work, measure
from benchmarks.questions import expected, plan_of, table_of, within
from mpcnode.session import Session, gather
from mpcnode.sharing import Share, concatenate

STATEMENTS = (
    "count() where age > 60",
    "count() where age > 60 by bin",
    "sd(value) where age < 200 by arm",
    "correlate(value, other)",
)
DELAYS = (0.0, 0.001, 0.010, 0.040)
ROWS = 1_000


def _work(party: int, rows: int, together: bool) -> Work:
    plans = [plan_of(text, rows) for text in STATEMENTS]
    tables = [table_of(plan, party, rows) for plan in plans]

    async def program(session: Session) -> Share:
        parts = [execute(session, plan, [table]) for plan, table in zip(plans, tables, strict=True)]
        return concatenate(await gather(*parts) if together else [await part for part in parts])

    return Work(
        program=program,
        words=sum(released_words(plan) for plan in plans),
        expected=lambda: np.concatenate([expected(plan, rows) for plan in plans]),
        within=np.concatenate([within(r, plan.mode) for plan in plans for r in plan.releases]),
    )


def one_after_another(party: int, rows: int) -> Work:
    return _work(party, rows, together=False)


def together(party: int, rows: int) -> Work:
    return _work(party, rows, together=True)


TABLES = tuple(
    Table(title=title, unit="rows", sizes=(ROWS,), prepare=prepare)
    for title, prepare in (("one after another", one_after_another), ("together", together))
)


def lines(url: str, repeat: int) -> Iterator[str]:
    """The table in Markdown: rounds, rounds times delay, and wall time of both ways."""
    yield f"**{len(STATEMENTS)} statements on {ROWS} rows over a slow network** (minima of {repeat})\n"
    yield "| delay a message ms | one after another: rounds | rounds x delay ms | wall ms | together: rounds | rounds x delay ms | wall ms | saved |"
    yield "|---" * 8 + "|"
    for delay in DELAYS:
        rows = [measure(url, __name__, k, ROWS, repeat, delay=delay) for k in range(len(TABLES))]
        cells = [f"{1e3 * delay:.0f}"]
        for row in rows:
            cells += [f"{row.rounds}", f"{1e3 * delay * row.rounds:.0f}", f"{1e3 * row.wall:.0f}"]
        cells.append(f"{100 * (1 - rows[1].wall / rows[0].wall):.0f} %")
        yield "| " + " | ".join(cells) + " |"
    yield ""
