"""ADSL, ADTTE and ADAE of a made-up trial, the same bytes on every machine: `python samples/cdisc/generate.py FOLDER`.

Nobody in them exists, and no row is taken from any pilot. What makes such tables awkward is there on purpose:
screen failures, patients without an adverse event, events before treatment (TRTEMFL empty), grades that nobody
wrote down, several reasons of censoring, days as SAS writes them.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
from datetime import date, timedelta
from pathlib import Path

SEED = 20240229
SCREENED = 440
FIRST_DAY = date(2019, 3, 4)
CUT_OFF = date(2023, 6, 30)
ARMS = ("Placebo", "Active")
RACES = {
    "WHITE": 0.6,
    "BLACK OR AFRICAN AMERICAN": 0.15,
    "ASIAN": 0.18,
    "AMERICAN INDIAN OR ALASKA NATIVE": 0.03,
    "NATIVE HAWAIIAN OR OTHER PACIFIC ISLANDER": 0.01,
    "": 0.03,
}
ETHNIC = {"NOT HISPANIC OR LATINO": 0.82, "HISPANIC OR LATINO": 0.12, "NOT REPORTED": 0.04, "UNKNOWN": 0.02}
TERMS = {  # system organ class: a preferred term, how often it happens a year
    "Gastrointestinal disorders": ("Nausea", 0.5),
    "General disorders and administration site conditions": ("Fatigue", 0.4),
    "Infections and infestations": ("Nasopharyngitis", 0.3),
    "Nervous system disorders": ("Headache", 0.3),
    "Skin and subcutaneous tissue disorders": ("Rash", 0.25),
    "Blood and lymphatic system disorders": ("Neutropenia", 0.2),
    "Cardiac disorders": ("Palpitations", 0.1),
}
PARAMETERS = {"OS": "Overall Survival (days)", "PFS": "Progression-Free Survival (days)"}
ADSL = ["STUDYID", "USUBJID", "SUBJID", "SITEID", "AGE", "AGEU", "SEX", "RACE", "ETHNIC", "TRT01P", "TRT01A",
        "SAFFL", "ITTFL", "RANDDT", "TRTSDT", "TRTEDT", "HEIGHTBL", "WEIGHTBL", "BMIBL", "EOSSTT"]  # fmt: skip
ADTTE = [
    "STUDYID",
    "USUBJID",
    "TRTP",
    "ITTFL",
    "PARAM",
    "PARAMCD",
    "AVAL",
    "CNSR",
    "EVNTDESC",
    "STARTDT",
    "ADT",
]
ADAE = ["STUDYID", "USUBJID", "TRTA", "SAFFL", "AESEQ", "AEDECOD", "AEBODSYS", "AESER", "AESEV", "AETOXGR", "AEACN",
        "AEOUT", "TRTEMFL", "ASTDT"]  # fmt: skip
COLUMNS = {"adsl": ADSL, "adtte": ADTTE, "adae": ADAE}
NUMBERS = {"AGE", "HEIGHTBL", "WEIGHTBL", "BMIBL", "AVAL", "CNSR", "AESEQ"}
DAYS = {"RANDDT", "TRTSDT", "TRTEDT", "STARTDT", "ADT", "ASTDT"}
SEVERITY = {1: "MILD", 2: "MODERATE", 3: "SEVERE", 4: "SEVERE", 5: "SEVERE"}

Row = dict[str, str]


def tables(seed: int = SEED) -> dict[str, list[Row]]:
    """The rows of the three tables by name, every cell as its text; days as SAS writes them, '' is missing."""
    made: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    for number in range(1, SCREENED + 1):
        draw = random.Random(f"{seed} {number}")
        start = FIRST_DAY + timedelta(days=draw.randrange(0, 600))
        subject = subject_level(draw, number, start)
        made["adsl"].append(subject)
        if subject["ITTFL"] == "Y":
            made["adtte"] += times(draw, subject, start)
        if subject["SAFFL"] == "Y":
            made["adae"] += events(draw, subject, start)
    return made


def subject_level(draw: random.Random, number: int, start: date) -> Row:
    site = f"{draw.randint(1, 12):03}"
    arm = draw.choice(ARMS)
    height, weight = draw.gauss(171, 9), draw.gauss(78, 14)
    height, weight = min(max(height, 145), 205), min(max(weight, 45), 140)
    fate = draw.random()
    randomised, treated = fate >= 0.08, fate >= 0.1
    treated_days = round(min(draw.expovariate(1 / 300), 900)) + 1
    known = draw.random()
    return {
        "STUDYID": "FOURFOLD1",
        "USUBJID": f"FOURFOLD1-{site}-{number:04}",
        "SUBJID": f"{number:04}",
        "SITEID": site,
        "AGE": str(round(min(max(draw.gauss(60, 11), 18), 90))),
        "AGEU": "YEARS",
        "SEX": draw.choice("FM"),
        "RACE": draw.choices(list(RACES), list(RACES.values()))[0],
        "ETHNIC": draw.choices(list(ETHNIC), list(ETHNIC.values()))[0],
        "TRT01P": arm if randomised else "",
        "TRT01A": arm if treated else "",
        "SAFFL": "Y" if treated else "N",
        "ITTFL": "Y" if randomised else "N",
        "RANDDT": sas_day(start) if randomised else "",
        "TRTSDT": sas_day(start) if treated else "",
        # Treatment goes on at the cut-off for some: no day of its end yet.
        "TRTEDT": sas_day(start + timedelta(days=treated_days - 1)) if treated and known > 0.1 else "",
        "HEIGHTBL": f"{height:.0f}",
        "WEIGHTBL": f"{weight:.1f}" if known < 0.97 else "",
        "BMIBL": f"{weight / (height / 100) ** 2:.1f}" if known < 0.97 else "",
        "EOSSTT": ("ONGOING" if known <= 0.1 else draw.choice(["COMPLETED", "DISCONTINUED"]))
        if treated
        else "",
    }


def times(draw: random.Random, subject: Row, start: date) -> list[Row]:
    """Overall and progression-free survival in days. CNSR: 0 is the event, 1 to 3 are reasons of censoring."""
    followed = (CUT_OFF - start).days
    hazard = 1 / (900 if subject["TRT01P"] == "Active" else 650)
    death = draw.expovariate(hazard)
    progression = min(death, draw.expovariate(2 * hazard))
    lost = draw.expovariate(1 / 4000)
    found = []
    for code, happened in (("OS", death), ("PFS", progression)):
        days = max(1, round(min(happened, lost, followed)))
        if happened <= min(lost, followed):
            flag, said = "0", "Death" if code == "OS" else "Progression or death"
        elif lost < followed:
            flag, said = draw.choice([("2", "Lost to follow-up"), ("3", "Withdrawal of consent")])
        else:
            flag, said = "1", "Alive at the cut-off" if code == "OS" else "No progression at the cut-off"
        found.append(
            {
                "STUDYID": subject["STUDYID"],
                "USUBJID": subject["USUBJID"],
                "TRTP": subject["TRT01P"],
                "ITTFL": subject["ITTFL"],
                "PARAM": PARAMETERS[code],
                "PARAMCD": code,
                "AVAL": str(days),
                "CNSR": flag,
                "EVNTDESC": said,
                "STARTDT": sas_day(start),
                "ADT": sas_day(start + timedelta(days=days - 1)),
            }
        )
    return found


def events(draw: random.Random, subject: Row, start: date) -> list[Row]:
    """Adverse events, none for some patients; before treatment TRTEMFL is empty, as ADaM has it."""
    if draw.random() < 0.12:
        return []
    found: list[Row] = []
    more = 1.6 if subject["TRT01A"] == "Active" else 1.0
    for organ, (term, rate) in TERMS.items():
        while draw.random() < 1 - 1 / (1 + rate * more):
            grade = draw.choices([1, 2, 3, 4, 5], [0.5, 0.3, 0.14, 0.05, 0.01])[0]
            serious = grade >= 4 or draw.random() < 0.04
            day = draw.randrange(-20, 400)
            found.append(
                {
                    "STUDYID": subject["STUDYID"],
                    "USUBJID": subject["USUBJID"],
                    "TRTA": subject["TRT01A"],
                    "SAFFL": subject["SAFFL"],
                    "AESEQ": str(len(found) + 1),
                    "AEDECOD": term,
                    "AEBODSYS": organ,
                    "AESER": "Y" if serious else "N",
                    "AESEV": SEVERITY[grade],
                    "AETOXGR": str(grade) if draw.random() > 0.03 else "",
                    "AEACN": draw.choices(
                        ["DOSE NOT CHANGED", "DOSE REDUCED", "DRUG WITHDRAWN"], [0.8, 0.13, 0.07]
                    )[0],
                    "AEOUT": "FATAL" if grade == 5 else "RECOVERED/RESOLVED",
                    "TRTEMFL": "Y" if day >= 0 else "",
                    "ASTDT": sas_day(start + timedelta(days=day)),
                }
            )
    return found


def sas_day(day: date) -> str:
    """As the format DATE9. shows it; strftime would follow the machine's language."""
    months = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
    return f"{day.day:02}{months[day.month - 1]}{day.year}"


def generate(folder: Path, seed: int = SEED) -> list[Path]:
    """Write adsl.csv, adtte.csv and adae.csv into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, rows in tables(seed).items():
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS[name], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        paths.append(folder / f"{name}.csv")
        paths[-1].write_bytes(out.getvalue().encode())
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
