"""Measures whether figures are as right as they say: `make validity`, or `make validity ARGS="counts --runs 500"`.

    .venv/bin/python -m benchmarks.validity [MODULE ...] [--runs 10000] [--draws 512] [--processes 2] [--write]

Prints one Markdown table for each scenario; `--write` puts them into docs/validity.md. Ends with 1 if a cell misses a
target, after listing all that do.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import isnan
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.validity.runs import Judged, Runs, judge, run, set_draws
from benchmarks.validity.scenario import Found, found, scenarios

PAGE = Path(__file__).resolve().parents[2] / "docs" / "validity.md"
PART = 2500  # runs of one task
TARGETS_OF_RUNS = 10_000  # what the committed table has

Task = tuple[str, int, float, int, int]


def begin(module: Found) -> str:
    return f"<!-- figures of benchmarks/validity: {module.name} -->\n"


def end(module: Found) -> str:
    return f"<!-- end of figures: {module.name} -->\n"


def tasks(modules: Sequence[Found], runs: int) -> Iterator[Task]:
    for scenario in (one for module in modules for one in module.scenarios):
        for n in scenario.sizes:
            for epsilon in scenario.epsilons:
                for part, start in enumerate(range(0, runs, PART)):
                    yield scenario.name, n, epsilon, min(PART, runs - start), part


def work(task: Task) -> tuple[Task, Runs]:
    name, n, epsilon, runs, part = task
    return task, run(scenarios()[name], n, epsilon, runs, part)


def measured(modules: Sequence[Found], runs: int, draws: int, processes: int) -> dict[str, list[Judged]]:
    """The lines of every scenario."""
    parts: dict[tuple[str, int, float], list[Runs]] = defaultdict(list)
    started = time.monotonic()
    todo = list(tasks(modules, runs))
    with ProcessPoolExecutor(processes, initializer=set_draws, initargs=(draws,)) as pool:
        for done, (task, one) in enumerate(pool.map(work, todo), 1):
            parts[task[:3]].append(one)
            if done % 20 == 0 or done == len(todo):
                spent = time.monotonic() - started
                print(f"{done} of {len(todo)} parts, {spent:.0f} s", file=sys.stderr, flush=True)
    lines: dict[str, list[Judged]] = defaultdict(list)
    for (name, n, epsilon), own in parts.items():
        lines[name].append(judge(scenarios()[name], n, epsilon, Runs.joined(own)))
    return lines


def percent(share: float) -> str:
    return "" if isnan(share) else f"{100 * share:.1f}"


def ratio(number: float) -> str:
    return "" if isnan(number) else f"{number:.2f}"


def table(name: str, lines: Sequence[Judged]) -> Iterator[str]:
    """The lines of a scenario in Markdown."""
    scenario = scenarios()[name]
    yield f"\n**{name}**: `{scenario.program}`\n\n"
    tested = any(not isnan(line.false_alarms) for line in lines)
    told = any(not isnan(line.preview) for line in lines)
    titles = ["n", "epsilon", "shown %", "coverage %", "width / ideal"]
    titles += ["type-I error % (99 % bound)"] * tested + ["preview / actual"] * told
    titles += ["naive coverage %"] + ["naive type-I error %"] * tested + ["outside the targets"]
    yield "| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|\n"
    for line in lines:
        cells = [str(line.n), f"{line.epsilon:g}", percent(line.shown)]
        interval = [percent(line.coverage), ratio(line.width / line.ideal)]
        cells += ["refused", ""] if line.refused else interval
        if tested:
            bound = f"{percent(line.false_alarms)} ({percent(line.false_alarm_bound)})"
            cells += [bound if not isnan(line.false_alarms) else ""]
        cells += ["" if line.refused else ratio(line.preview)] * told + [percent(line.naive_coverage)]
        cells += [percent(line.naive_false_alarms)] * tested + ["; ".join(line.failures())]
        yield "| " + " | ".join(cells) + " |\n"


def section(module: Found, lines: dict[str, list[Judged]], said: str) -> str:
    """The generated part of the page that belongs to one module."""
    tables = "".join("".join(table(one.name, lines[one.name])) for one in module.scenarios)
    return f"{begin(module)}### {module.title}\n\n{said}\n{tables}\n{end(module)}"


def written(page: str, module: Found, new: str) -> str:
    """The page with this section in the place of its own, or after all others."""
    if begin(module) not in page:
        return page.rstrip("\n") + "\n\n" + new
    before, rest = page.split(begin(module))
    return before + new + rest.split(end(module))[1]


def main() -> int:
    known = {module.name: module for module in found()}
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.validity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help=f"of {', '.join(known)}; all without a name"
    )
    parser.add_argument("--runs", type=int, default=TARGETS_OF_RUNS, help="runs of each cell (10000)")
    parser.add_argument(
        "--draws", type=int, default=512, help="draws behind each figure (512; the product's are 4096)"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/validity.md")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.modules if name not in known]:
        parser.error(f"no module {', '.join(unknown)}: there are {', '.join(known)}")
    chosen = [known[name] for name in arguments.modules or known]
    failed = []
    for module in chosen:
        started = time.monotonic()
        lines = measured([module], arguments.runs, arguments.draws, arguments.processes)
        spent = time.monotonic() - started
        said = f"{arguments.runs} runs a cell, {arguments.draws} draws a figure; {spent / 60:.1f} minutes on {arguments.processes} processes."
        new = section(module, lines, said)
        print(new, flush=True)
        if arguments.write:
            PAGE.write_text(written(PAGE.read_text(), module, new))
        failed += [
            f"{line.scenario}, n = {line.n}, epsilon {line.epsilon:g}: {what}"
            for own in lines.values()
            for line in own
            for what in line.failures()
        ]
    print(*failed, sep="\n", file=sys.stderr)
    print(f"{len(failed)} outside the targets", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
