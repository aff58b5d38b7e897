"""What further processes of each party gain: the rows of one question over 1 and 2 processes a party, on slow networks.

    .venv/bin/python -m benchmarks.drivers [--rows 1000000] [--repeat 3]

Every process works on its own batches of rows in a session of its own, as the drivers of an attempt do; the slower
one counts. Adding up and revealing, some three rounds of the lead, is not in the figures. Where all parties share the
cores of one machine, a second process can only gain what the first one waits.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor

from analytics.execute import partial
from analytics.query import cost
from benchmarks.__main__ import surroundings
from benchmarks.harness import Table, Work, measure
from benchmarks.questions import plan_of, table_of
from mpcnode.session import Session
from mpcnode.sharing import Share, concatenate
from tests.redis_server import redis_server

QUESTION = "sd(value) where age < 200 by arm"
DELAYS = (0.0, 0.010, 0.040)
SPREADS = ((1, 0), (2, 0), (2, 1))  # drivers, and which of them


def prepare_block(drivers: int, block: int, party: int, rows: int) -> Work:
    """One driver's part of the rows; nothing is revealed."""
    plan = plan_of(QUESTION, rows)
    table = table_of(plan, party, rows)
    work = cost.spread(plan, [table.views.held], drivers)[block]

    async def program(session: Session) -> Share:
        totals = await partial(session, plan, [table], work)
        return concatenate([total.reshape(-1) for total in totals])

    return Work(program=program)


TABLES = tuple(
    Table(
        title=f"driver {block + 1} of {drivers}",
        unit="rows",
        sizes=(1_000_000,),
        prepare=lambda party, rows, drivers=drivers, block=block: prepare_block(drivers, block, party, rows),
    )
    for drivers, block in SPREADS
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drivers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    with redis_server() as url:
        print(surroundings(url, asked.repeat))
        print(f"**{QUESTION}, {asked.rows} rows, columns converted from bits**\n")
        print(
            "| delay a message ms | one process ms | rounds | two processes ms | rounds of each | speed-up |"
        )
        print("|---" * 6 + "|")
        for delay in DELAYS:
            alone = measure(url, __spec__.name, 0, asked.rows, asked.repeat, delay=delay)
            with ThreadPoolExecutor(2) as pool:
                both = list(
                    pool.map(
                        lambda k, delay=delay: measure(
                            url, __spec__.name, k, asked.rows, asked.repeat, delay=delay
                        ),
                        (1, 2),
                    )
                )
            wall = max(row.wall for row in both)
            rounds = max(row.rounds for row in both)
            print(
                f"| {1e3 * delay:.0f} | {1e3 * alone.wall:.0f} | {alone.rounds} | {1e3 * wall:.0f} | {rounds} "
                f"| {alone.wall / wall:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
