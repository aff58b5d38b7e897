"""What becomes of an interval if noised numbers are taken for exact ones."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.validity.runs import judge, run
from benchmarks.validity.scenario import scenarios

SHOWN = {
    "proportion of a half": "proportion",
    "mean": "mean",
    "standard deviation": "standard deviation",
    "r = 0.3": "Pearson's r of 0.3",
    "2 x 4, V = 0.29": "Cramer's V of 0.29",
}
TESTED = {"2 x 2, nothing there": "chi-square, 2 x 2", "2 x 4, nothing there": "chi-square, 2 x 4"}
CELLS = ((60, 0.5), (60, 1.0), (367, 0.5), (367, 1.0))
RUNS = 400


def lines() -> Iterator[str]:
    titles = [f"n = {n}, epsilon {epsilon:g}" for n, epsilon in CELLS]
    yield "| 95 % interval that holds the truth: here / naive | " + " | ".join(titles) + " |"
    yield "|---" * (1 + len(CELLS)) + "|"
    for name, said in SHOWN.items():
        cells = [judge(s := scenarios()[name], n, e, run(s, n, e, RUNS)) for n, e in CELLS]
        told = ["refused / " if c.refused else f"{100 * c.coverage:.0f} % / " for c in cells]
        yield (
            f"| {said} | "
            + " | ".join(f"{t}{100 * c.naive_coverage:.0f} %" for t, c in zip(told, cells, strict=True))
            + " |"
        )
    yield ""
    yield "| test at 5 % that finds what is not there: here / naive | " + " | ".join(titles) + " |"
    yield "|---" * (1 + len(CELLS)) + "|"
    for name, said in TESTED.items():
        cells = [judge(s := scenarios()[name], n, e, run(s, n, e, RUNS)) for n, e in CELLS]
        told = [f"{100 * c.false_alarms:.0f} % / {100 * c.naive_false_alarms:.0f} %" for c in cells]
        yield f"| {said} | " + " | ".join(told) + " |"
