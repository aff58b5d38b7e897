"""One ward's files as a hospital hands them over, the same bytes on every machine: `python samples/messy/generate.py FOLDER`.

Nobody in them exists. They are what `docs/tutorial.md` begins with: semicolons and decimal commas in Latin-1 beside
tabs, German headers, three ways of writing "not known", several visits a patient, and four faults that only a person
can correct.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

SEED = 20240229
PATIENTS = 400
WARD = ["Pat-Nr", "Alter", "Geschlecht", "Größe", "Gewicht", "Raucher", "Stadium", "Bemerkung"]
VISITS = ["Patnr", "Besuch", "Datum", "Hb", "Komplikation"]


def comma(value: float) -> str:
    return f"{value:.1f}".replace(".", ",")


def ward(seed: int = SEED) -> list[list[str]]:
    """One row a patient; the 17th has an age of three digits too many, and the 60th is there twice."""
    rows = []
    for number in range(1, PATIENTS + 1):
        draw = random.Random(f"{seed} ward {number}")
        male = draw.random() < 0.55
        height = min(max(draw.gauss(176 if male else 164, 7), 145), 205)
        weight = min(max(draw.gauss(25 * (height / 100) ** 2, 11), 42), 160)
        rows.append(
            [
                f"W{number:04}",
                str(round(min(max(draw.gauss(63, 12), 19), 94))),
                "m" if male else "w",
                f"{height:.0f}" if draw.random() > 0.04 else "999",
                comma(weight) if draw.random() > 0.03 else "k.A.",
                draw.choices(["ja", "nein", ""], [0.3, 0.65, 0.05])[0],
                draw.choices(["I", "II", "III", "IV"], [0.2, 0.35, 0.3, 0.15])[0],
                draw.choices(["", "später nachfragen", "Anruf; keine Antwort"], [0.9, 0.05, 0.05])[0],
            ]
        )
    rows[16][1] = "640"
    rows.insert(200, list(rows[59]))
    return rows


def visits(seed: int = SEED) -> list[list[str]]:
    """Some rows a patient, none for some; the 40th row has a haemoglobin with a point."""
    rows = []
    for number in range(1, PATIENTS + 1):
        draw = random.Random(f"{seed} visits {number}")
        ill = 0.25 if draw.random() < 0.4 else 0.05
        for visit in range(1, draw.choices([0, 1, 2, 3, 4], [0.06, 0.2, 0.3, 0.3, 0.14])[0] + 1):
            day = f"{draw.randint(1, 28):02}.{visit * 2:02}.2023"
            said = "ja" if draw.random() < ill else "nein"
            rows.append(
                [f"W{number:04}", str(visit), day, comma(min(max(draw.gauss(12.6, 1.6), 7), 18)), said]
            )
    rows[39][3] = "12.4"
    return rows


def generate(folder: Path, seed: int = SEED) -> list[Path]:
    """Write ward.csv and visits.txt into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    # A remark may hold the separator: it is quoted.
    lines = [";".join(f'"{cell}"' if ";" in cell else cell for cell in row) for row in [WARD, *ward(seed)]]
    first, second = folder / "ward.csv", folder / "visits.txt"
    first.write_bytes(("\r\n".join(lines) + "\r\n;;;;;;;\r\n").encode("latin-1"))
    second.write_bytes(("\n".join("\t".join(row) for row in [VISITS, *visits(seed)]) + "\n").encode())
    return [first, second]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    for path in generate(arguments.folder, arguments.seed):
        print(path)


if __name__ == "__main__":
    main()
