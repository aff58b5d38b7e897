"""Two hospitals of one made-up trial, the same bytes on every machine: `python samples/generate.py FOLDER`.

Nobody in these tables exists. The hospitals keep their tables differently (spelling, order of columns, signs for a
missing value, byte-order mark), as hospitals do; one codebook reads both. Each hospital alone has at least 100
patients in every cell of the sample questions, so that noise stays small beside the answers.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SEED = 20240229
SMALLEST_CELL = 100
FOLLOW_UP = 48.0  # months planned
REGIONS = {"Northeast": 0.27, "Midwest": 0.25, "South": 0.26, "West": 0.22}
# Yearly rate of death, by region and arm: what the sample questions are meant to find.
HAZARD = {"Northeast": 0.170, "Midwest": 0.110, "South": 0.130, "West": 0.100}
ARM_EFFECT = {"imatinib": 0.80, "placebo": 1.25}


@dataclass(frozen=True)
class Hospital:
    """How one hospital writes what another writes differently."""

    file: str
    patients: int
    prefix: str
    columns: list[str]
    missing: str
    encoding: str
    newline: str
    words: dict[str, dict[str, str]] = field(default_factory=dict)


COLUMNS = [
    "patient_id", "arm", "region", "sex", "age", "bmi", "ecog",
    "tumour_size", "time_since_diagnosis", "death_flag", "time_till_death",
]  # fmt: skip
NORTHGATE = Hospital(
    file="northgate.csv",
    patients=1640,
    prefix="NG",
    columns=COLUMNS,
    missing="",
    encoding="utf-8",
    newline="\n",
)
SOUTHFIELD = Hospital(
    file="southfield.csv",
    patients=1520,
    prefix="SF-",
    columns=["patient_id", *sorted(COLUMNS[1:])],
    missing="NA",
    encoding="utf-8-sig",
    newline="\r\n",
    words={
        "region": {"Northeast": "NE", "Midwest": "MW", "South": "S", "West": "W"},
        "arm": {"imatinib": "1", "placebo": "2"},
        "sex": {"female": "F", "male": "M"},
        "death_flag": {"alive": "0", "dead": "1"},
    },
)
HOSPITALS = [NORTHGATE, SOUTHFIELD]


def patients(hospital: Hospital, seed: int = SEED) -> Iterator[dict[str, str]]:
    """The rows of one hospital in plain words; '' is missing."""
    draw = random.Random(f"{seed} {hospital.file}")
    numbers = draw.sample(range(100_000, 1_000_000), hospital.patients)
    for number in numbers:
        region = draw.choices(list(REGIONS), list(REGIONS.values()))[0]
        arm = draw.choice(list(ARM_EFFECT))
        ecog = draw.choices(["0", "1", "2"], [0.55, 0.33, 0.12])[0]
        age = round(within(draw.gauss(61, 12), 18, 95))
        rate = HAZARD[region] * ARM_EFFECT[arm] * (1 + 0.35 * int(ecog)) * 1.02 ** (age - 61) / 12
        months = draw.expovariate(rate)
        dead = months <= FOLLOW_UP
        row = {
            "patient_id": f"{hospital.prefix}{number}",
            "arm": arm,
            "region": region,
            "sex": draw.choice(["female", "male"]),
            "age": str(age),
            "bmi": f"{within(draw.gauss(27.6 if region != 'South' else 28.9, 5.2), 15, 58):.1f}",
            "ecog": ecog,
            "tumour_size": str(round(within(draw.lognormvariate(4.0, 0.5), 10, 250))),
            "time_since_diagnosis": str(
                round(within(draw.gauss(56 if region == "Northeast" else 52, 15), 15, 120))
            ),
            "death_flag": "dead" if dead else "alive",
            "time_till_death": f"{months:.1f}" if dead else "",
        }
        yield row | forgotten(draw, row)


def within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def forgotten(draw: random.Random, row: dict[str, str]) -> dict[str, str]:
    """What nobody wrote down for this patient."""
    rates = {"bmi": 0.03, "ecog": 0.01, "tumour_size": 0.02, "time_since_diagnosis": 0.01, "death_flag": 0.01}
    lost = {name: "" for name, rate in rates.items() if draw.random() < rate}
    if "death_flag" in lost:
        lost["time_till_death"] = ""
    return lost


def text_of(hospital: Hospital, rows: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, hospital.columns, lineterminator=hospital.newline)
    writer.writeheader()
    for row in rows:
        said = {name: hospital.words.get(name, {}).get(value, value) for name, value in row.items()}
        writer.writerow({name: value or hospital.missing for name, value in said.items()})
    return out.getvalue()


def smallest_cell(rows: list[dict[str, str]]) -> int:
    """The fewest patients behind any number that the sample questions release."""
    cells = Counter((row["region"], row["death_flag"]) for row in rows if row["death_flag"])
    northeast = [row for row in rows if row["region"] == "Northeast"]
    means = [
        sum(row[name] != "" for row in northeast) for name in ("time_till_death", "time_since_diagnosis")
    ]
    return min([*(cells[region, flag] for region in REGIONS for flag in ("alive", "dead")), *means])


def generate(folder: Path, seed: int = SEED) -> list[Path]:
    """Write both hospitals' tables into `folder`; ValueError if this seed leaves a cell too small."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for hospital in HOSPITALS:
        rows = list(patients(hospital, seed))
        if smallest_cell(rows) < SMALLEST_CELL:
            raise ValueError(
                f"seed {seed} leaves {smallest_cell(rows)} patients in a cell of {hospital.file}"
            )
        path = folder / hospital.file
        path.write_bytes(text_of(hospital, rows).encode(hospital.encoding))
        paths.append(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    for path in generate(arguments.folder, arguments.seed):
        print(path)


if __name__ == "__main__":
    main()
