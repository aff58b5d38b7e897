"""The sample questions answered in clear: `python samples/truth.py TABLE...` prints JSON, one entry a question.

Only a demonstration or a test may do this: it reads every row. Written with the standard library alone, so that it
shares nothing with what it is held against.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

MISSING = {"", "NA"}
WORDS = {
    "region": {"NE": "Northeast", "MW": "Midwest", "S": "South", "W": "West"},
    "death_flag": {"0": "alive", "1": "dead"},
}


def read(paths: list[Path]) -> list[dict[str, str | None]]:
    rows: list[dict[str, str | None]] = []
    for path in paths:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                said = {name: None if value in MISSING else value for name, value in row.items()}
                rows.append(
                    {name: WORDS.get(name, {}).get(value or "", value) for name, value in said.items()}
                )
    return rows


def numbers(rows: list[dict[str, str | None]], name: str, region: str) -> list[float]:
    return [float(value) for row in rows if row["region"] == region and (value := row[name]) is not None]


def contingency(rows: list[dict[str, str | None]], row_name: str, column_name: str) -> dict[str, Any]:
    cells = Counter((row[row_name], row[column_name]) for row in rows if row[row_name] and row[column_name])
    levels, flags = (sorted({cell[side] or "" for cell in cells}) for side in (0, 1))
    counts = [[cells[level, flag] for flag in flags] for level in levels]
    total = sum(map(sum, counts))
    tops = [sum(line[j] for line in counts) for j in range(len(flags))]
    expected = [[sum(line) * top / total for top in tops] for line in counts]
    pairs = [
        (o, e) for line, wants in zip(counts, expected, strict=True) for o, e in zip(line, wants, strict=True)
    ]
    chi2 = sum((observed - want) ** 2 / want for observed, want in pairs)
    smaller = min(len(levels), len(flags)) - 1
    return {
        "n": total,
        "chi2": chi2,
        "value": math.sqrt(chi2 / (total * smaller)),
        "counts": {
            level: dict(zip(flags, line, strict=True)) for level, line in zip(levels, counts, strict=True)
        },
    }


def answers(paths: list[Path]) -> list[dict[str, Any]]:
    """Truth of samples/questions.txt, in its order: {"value", "n", ...}."""
    rows = read(paths)
    till_death = numbers(rows, "time_till_death", "Northeast")
    since_diagnosis = numbers(rows, "time_since_diagnosis", "Northeast")
    return [
        {"value": statistics.fmean(till_death), "n": len(till_death)},
        {"value": statistics.fmean(since_diagnosis), "n": len(since_diagnosis)},
        {"value": statistics.stdev(since_diagnosis), "n": len(since_diagnosis)},
        contingency(rows, "region", "death_flag"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tables", type=Path, nargs="+")
    print(json.dumps(answers(parser.parse_args().tables)))


if __name__ == "__main__":
    main()
