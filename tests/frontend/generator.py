"""Random studies: codebooks with every setting, right and wrong, and tables that hold what hospitals' tables hold.

A study follows from its seed alone.
"""

from __future__ import annotations

import csv
import io
import json
import random
from typing import Any

from analytics.query.errors import CodebookRejected
from analytics.query.schema import load_codebook, parse_codebook
from tests.frontend.differential import Case

NAMES = ["age", "weight", "arm", "Größe", "visit", "AE grade", "death_flag", "fu_days", "time-to event", "bmi", "Ⅳ", "x_1",
         "WEST", "temp", "percent", "Straße", "date of death", "id2", "😀", "ſex"]  # fmt: skip
HEADERS = [*NAMES, "agee", "visits", "grade"]
NUMBERS = ["0", "1", "2", "3.5", "27.405", "-4", "1e3", "1E-2", "007", "99", "999", "-9", "1,5", "1.234,5", "1,234", "12345678901234567890",
           "+5", ".5", "5.", "0.0", "-0", "1e400", "nan", "inf", "#N/A", "5 kg", "1 000", "２", "63.25", "80", "170", "1.7", "1e-400",
           "1" + "0" * 120]  # fmt: skip
DATES = ["2020-01-03", "2020-02-30", "31JAN2020", "1-feb-2021", "2020-01-03T10:00:00", "03.01.2020", "2019-12-31", "0000-01-01"]  # fmt: skip
WORDS = ["a", "b", "A", "yes", "no", "Yes", "NO", "1.0", "2.0", "West", "west ", " b", "Ä", "ä", "ß", "SS", "x\ny", 'say "hi"', "a,b", "a;b",
         "\u00a0a", "\ufeffa", "\x1ca", "Ⅳ", "iv", "İ", "i̇", "😀", "", "NA", ".", "-", "unknown"]  # fmt: skip
LEVELS = ["a", "b", "1", "2", "yes", "no", "West", "Ä", "ß", "0", 3, -1]
CONDITIONS = ["visit == 1", "visit >= 2 and arm in (a, b)", "not visit is missing", 'arm == "a" or (grade > 1 and weight != 999)', "visit not in (1, 2.0)",
              "age < b", "arm = A", "agee > 3", "nothing == 1", "visit ==", "a b", "(visit == 1", "arm is not missing # c", "Straße == ss",
              "visit == 1\nand arm == a", "“arm” == 1", "in == 1", "not (not arm == a)", "visit == 1 by arm"]  # fmt: skip
TESTS = [">= 3", "== yes", "in (a, b)", "not in (1)", "is missing", "arm == a", "> x", ">", 3]


def study(seed: int) -> Case:
    """One study of one or two files."""
    rng = random.Random(seed)
    tame = rng.random() < 0.4
    files = {"a.csv": _tame(rng)} if tame else _files(rng)
    codebook = _codebook(rng, files)
    if rng.random() < 0.75:
        codebook = _mended(codebook)
    if tame:  # so that some studies have no error, and become bundles
        for field in codebook["fields"]:
            field["outOfRange"] = "missing"
            if "derive" not in field:
                field["missingValues"] = ["", "NA", "999"]
    text = json.dumps(codebook, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.3:
        text = text.replace('"resolution": 1,', '"resolution": 1.0,').replace(": 100", ": 1.0e2")
    return Case(f"seed {seed}", text, tuple((name, _content(rng, rows)) for name, rows in files.items()))


def _mended(codebook: dict[str, Any]) -> dict[str, Any]:
    """The codebook without what rejects it, so that its tables are read at all."""
    rows = {
        "name": "n",
        "type": "integer",
        "constraints": {"minimum": 0, "maximum": 3},
        "reduce": {"how": "count"},
    }
    for _ in range(10):
        try:
            parse_codebook(load_codebook(json.dumps(codebook)))
        except CodebookRejected as wrong:
            places = [f"{problem['where']}." for problem in wrong.problems]
            kept = [
                field
                for n, field in enumerate(codebook["fields"])
                if not any(
                    place.startswith((f"fields[{n}].", f"fields.{field.get('name')}.")) for place in places
                )
            ]
            plain = {key: codebook[key] for key in ("primaryKey", "title", "capacity")}
            codebook = plain | {"policy": {"epsilon": 2.5, "expires": "2030-01-01"}, "fields": kept or [rows]}
        else:
            return codebook
    return codebook | {"fields": [rows]}


# -- tables --------------------------------------------------------------------------------------------------


def _files(rng: random.Random) -> dict[str, list[list[str]]]:
    names = rng.sample(["a.csv", "B.csv", "lab", "x.y.csv"], rng.choice([1, 1, 1, 2]))
    return {name: _rows(rng) for name in names}


def _tame(rng: random.Random) -> list[list[str]]:
    headers = rng.sample(HEADERS, rng.randint(1, 4))
    kinds = [rng.choice(["clean", "clean", "levels"]) for _ in headers]
    return [
        ["id", *headers],
        *([f"p{n}", *(_cell(rng, kind) for kind in kinds)] for n in range(rng.choice([8, 40, 64]))),
    ]


def _rows(rng: random.Random) -> list[list[str]]:
    headers = rng.sample(HEADERS, rng.randint(1, 6))
    patients = rng.choice([1, 5, 30, 60])
    many = rng.random() < 0.4
    kinds = [
        rng.choice(["numbers", "numbers", "clean", "clean", "dates", "words", "levels", "anything"])
        for _ in headers
    ]
    rows = []
    for n in range(rng.choice([1, patients, patients])):
        for _ in range(rng.choice([1, 2, 3]) if many else 1):
            key = rng.choice(["p1", " p1 ", ""]) if rng.random() < 0.03 else f"p{n}"
            rows.append([key, *(_cell(rng, kind) for kind in kinds)])
    if rng.random() < 0.15:
        rng.shuffle(rows)
    if rng.random() < 0.05:
        rows[rng.randrange(len(rows))].pop()
    if rng.random() < 0.05:
        rows.insert(rng.randrange(len(rows)), [""] * (1 + len(headers)))
    return [["id", *headers], *rows]


def _cell(rng: random.Random, kind: str) -> str:
    if rng.random() < 0.06:
        return rng.choice(["", "NA", "999", " "])
    if kind == "clean":
        return rng.choice([str(rng.randint(0, 100)), f"{rng.uniform(0, 100):.2f}", str(rng.randint(0, 3))])
    pools = {"numbers": NUMBERS, "dates": DATES, "words": WORDS, "levels": [str(level) for level in LEVELS]}
    return rng.choice(pools.get(kind) or rng.choice(list(pools.values())))


def _content(rng: random.Random, rows: list[list[str]]) -> bytes:
    delimiter = rng.choice([",", ",", ",", ";", ";", "\t"])
    end = rng.choice(["\n", "\n", "\r\n", "\r"])
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows(rows)
    text = out.getvalue()
    if rng.random() < 0.1:
        text = f"sep={delimiter}{end}" + text
    if rng.random() < 0.1:
        text = end + text + end + end
    if rng.random() < 0.03:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(['"', '"x', "\r", ",", '""', "\0"]) + text[at:]
    encoding = rng.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])
    content = text.encode(encoding, "replace")
    if rng.random() < 0.03:
        content = content[: rng.randrange(len(content) + 1)]
    if rng.random() < 0.03:
        at = rng.randrange(len(content) + 1)
        content = content[:at] + bytes([rng.choice([0x80, 0xC3, 0xE9, 0xFF, 0xED, 0xA0])]) + content[at:]
    return content


# -- codebooks -----------------------------------------------------------------------------------------------


def _codebook(rng: random.Random, files: dict[str, list[list[str]]]) -> dict[str, Any]:
    fields: list[dict[str, Any]] = []
    for file, (headers, *_) in files.items():
        for header in headers[1:]:
            for _ in range(rng.choice([1, 1, 2])):
                fields.append(_field(rng, header, file, len(fields), len(files)))
    for _ in range(rng.choice([0, 0, 1, 2])):
        fields.append(_derived(rng, fields))
    if rng.random() < 0.1:
        fields.append({"name": "id", "type": "string", "constraints": {"required": True}})
    codebook: dict[str, Any] = {
        "primaryKey": rng.choice(["id", ["id"]]),
        "title": rng.choice(["t", "Größe 😀"]),
        "capacity": rng.choice([64, 100, 4096, 20]),
        "fields": fields,
        "policy": {
            "epsilon": rng.choice([2.5, "10", 3, "1e1", 0]),
            "expires": rng.choice(["2030-01-01", "20300101", "2030-W05", "soon"]),
        },
    }
    if rng.random() < 0.8:  # mostly what holds, so that tables are read at all
        codebook["policy"] = {"epsilon": 2.5, "expires": "2030-01-01"}
    if rng.random() < 0.2:
        codebook["policy"] |= {"statistics": rng.sample(["km", "mean", "*", "medain", "count"], 2), "modes": ["dp", "exact"],
                               "minimum_cohort": rng.choice([11, 0, 5.0, True])}  # fmt: skip
    if rng.random() < 0.2:
        codebook["facts"] = {"n": 7.50, "sources": {str(fields[0].get("name")): "", "x": "protocol"}}
    if rng.random() < 0.05:
        codebook[rng.choice(["local", "capcity", "missingValues"])] = ["capacity"]
    return codebook


def _field(rng: random.Random, header: str, file: str, number: int, files: int) -> dict[str, Any]:
    field: dict[str, Any] = {"name": rng.choice([f"f{number}", f"{header} {number}"]), "source": header}
    if rng.random() < 0.03:
        field["source"] = rng.choice(HEADERS)
    if files > 1 or rng.random() < 0.1:
        field["file"] = rng.choice([file, file, file.split(".")[0].upper(), "folder/" + file])
    kind = rng.choice(["number", "number", "integer", "days", "category", "category", "cut", "any", "count"])
    made = {"number": _number, "integer": _integer, "days": _days, "category": _category, "cut": _cut, "any": _any, "count": _count}  # fmt: skip
    field |= made[kind](rng, header)
    if rng.random() < 0.5:
        field["missingValues"] = rng.choice([["", "NA", "999"], ["", "NA", ".", "-", "999", "-9"], ["NA"], [1]] if rng.random() < 0.1 else [["", "NA", "999"]])  # fmt: skip
    if rng.random() < 0.15:
        field["where"] = rng.choice(CONDITIONS)
    if rng.random() < 0.4 and "reduce" not in field:
        field["reduce"] = _reduce(rng, kind)
    if rng.random() < 0.4:
        field["outOfRange"] = rng.choice(["error", "clamp", "missing", "missing"])
    if rng.random() < 0.2 and kind in ("number", "integer", "cut"):
        field["decimalChar"] = rng.choice([",", "."])
    if rng.random() < 0.02:
        field[rng.choice(["titel", "unit", "grid", "categories", "occurred", "sheet", "local", "event", "derive"])] = rng.choice(["x", ["a"], 3, None, {}])  # fmt: skip
    if rng.random() < 0.01:
        del field[rng.choice(["name", "type"])]
    return field


def _bounds(rng: random.Random) -> dict[str, Any]:
    low, high = rng.choice([(0, 100), (-10, 200.5), ("0.5", "99.75"), (0, 1000), (30, 157.5)])
    return {"minimum": low, "maximum": high}


def _number(rng: random.Random, header: str) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "number", "constraints": _bounds(rng)}
    if rng.random() < 0.7:
        made["resolution"] = rng.choice([0.1, 0.5, "0.25", 1, 5e-3, 7])
    if rng.random() < 0.1:
        made["unit"] = rng.choice(["cm", "%", "kg/m2", "degrees Celsius", "days since 2020-02-30"])
    if rng.random() < 0.1:
        made["grid"] = rng.choice([[10, 20, 30], [0, 50, 100], [20, 10], [33.33], ["x"], [500], 5])
    if rng.random() < 0.15:
        made["recodes"] = rng.choice([{"nan": 5, "5 kg": "5.0"}, {"a": "b"}, {"2": 3}])
    if rng.random() < 0.1:
        made["role"] = "time"
        made["event"] = rng.choice(["f0", "f1", "death"])
    return made


def _integer(rng: random.Random, header: str) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "integer", "constraints": rng.choice([{"minimum": 0, "maximum": 127}, {"minimum": -5, "maximum": 1000}, {"minimum": 0.5, "maximum": 3}, {"maximum": 4}])}  # fmt: skip
    if rng.random() < 0.3:
        made["resolution"] = rng.choice([1, 2, 1.0, 0.5, 10])
    return made


def _days(rng: random.Random, header: str) -> dict[str, Any]:
    return {"type": "integer", "unit": rng.choice(["days since 2020-01-01", "days since 1960-01-01"]), "constraints": {"minimum": -1000, "maximum": 30000}, "outOfRange": "missing"}  # fmt: skip


def _category(rng: random.Random, header: str) -> dict[str, Any]:
    levels = rng.sample(LEVELS, rng.randint(1, 6))
    categories = [
        rng.choice([level, {"value": level}, {"value": level, "label": f"l{n}"}])
        for n, level in enumerate(levels)
    ]
    made: dict[str, Any] = {"type": rng.choice(["string", "category", "integer"]), "categories": categories}
    if rng.random() < 0.4:
        made["recodes"] = {
            raw: rng.choice([*levels, "l0"])
            for raw in rng.sample(["A", "Yes", "3.5", "0", "SS", "x\ny", "unknown"], 2)
        }
    if rng.random() < 0.1:
        made |= {"role": "event", "occurred": rng.choice(levels)}
    return made


def _cut(rng: random.Random, header: str) -> dict[str, Any]:
    edges = rng.choice(
        [[None, 10, 50, None], [0, 25.5, 100], [0, "50", None], [5, 1], [None, None], [20, 30, None]]
    )
    made: dict[str, Any] = {"type": "string", "cut": edges}
    if rng.random() < 0.2:
        made["categories"] = ["low", "high"]
    return made


def _any(rng: random.Random, header: str) -> dict[str, Any]:
    reduce: dict[str, Any] = {"how": rng.choice(["any", "all"]), "test": rng.choice(TESTS)}
    if rng.random() < 0.3:
        reduce["default"] = rng.choice(["no", "yes", "maybe"])
    if rng.random() < 0.2:
        reduce["where"] = rng.choice(CONDITIONS)
    return {"type": "string", "reduce": reduce}


def _count(rng: random.Random, header: str) -> dict[str, Any]:
    reduce: dict[str, Any] = {"how": "count"}
    if rng.random() < 0.4:
        reduce["where"] = rng.choice(CONDITIONS)
    return {
        "type": "integer",
        "constraints": {"minimum": 0, "maximum": rng.choice([1, 7, 31])},
        "reduce": reduce,
    }


def _reduce(rng: random.Random, kind: str) -> dict[str, Any]:
    reduce: dict[str, Any] = {"how": rng.choice(["only", "first", "first", "min", "max"] if kind not in ("category",) else ["only", "first", "first", "max"])}  # fmt: skip
    if reduce["how"] == "first" and rng.random() < 0.5:
        reduce["orderBy"] = rng.choice(["visit", "age", "date of death", "weight"])
    if rng.random() < 0.3:
        reduce["where"] = rng.choice(CONDITIONS)
    if rng.random() < 0.3:
        reduce["default"] = rng.choice([0, 1, "50", "a", "no", 2])
    return reduce


def _derived(rng: random.Random, fields: list[dict[str, Any]]) -> dict[str, Any]:
    names = [field.get("name", "x") for field in fields] + ["f9"] * (rng.random() < 0.1)
    how = rng.choice(["difference", "ratio", "scale", "any"])
    numbers = [
        f.get("name") for f in fields if f.get("type") in ("number", "integer") and "categories" not in f
    ] or names
    flags = [f.get("name") for f in fields if f.get("reduce", {}).get("how") in ("any", "all")] or names
    if rng.random() < 0.1:
        numbers = flags = names
    one, other = rng.choice(numbers), rng.choice(numbers)
    derive: dict[str, Any] = {"difference": [one, other], "ratio": [one, other], "scale": [one, rng.choice(["2.2", 3, 0, "0.4535"]), -1][: rng.choice([2, 3])],
                              "any": [rng.choice(flags), rng.choice(flags)]}  # fmt: skip
    field: dict[str, Any] = {"name": f"d{len(fields)}", "derive": {how: derive[how]}, "outOfRange": "missing"}
    if how == "any":
        return field | {"type": "string"}
    if rng.random() < 0.2:
        return field | {"type": "string", "cut": [None, 1, 10, None]}
    return field | {
        "type": "number",
        "constraints": {"minimum": -50, "maximum": 200},
        "resolution": rng.choice([0.1, 0.01, "0.3"]),
    }


# -- tables to draft from ------------------------------------------------------------------------------------

DRAFTED = {
    "sex": ["F", "M", "f", "F", "M"],
    "arm": ["imatinib", "placebo", "Imatinib "],
    "grade": ["1", "2", "3", "4", "9", "2", "1", "1", "2", "3"],
    "flag": ["0", "1"],
    "reply": ["yes", "no", "Yes"],
    "visit": ["1", "2", "3"],
    "day": ["2020-01-03", "31JAN2020", "2021-11-30", "", "2019-02-03", "9999-12-31"],
    "odd day": ["03.01.2020", "04.01.2020"],
    "email": ["a@b.c"],
    "free": ["some longer text, once", "another one that is not the same", "nothing of note"],
    "padded": ["007", "008"],
    "mixed": ["1.5", "2.25", "<0.1", "3", "NA", "7.125"],
    "comma": ["1,5", "2,25", "3,125", "10"],
    "parameter": ["ALT", "AST", "HGB"],
    "site": ["A", "B"],
}


def plain_files(seed: int) -> tuple[tuple[str, bytes], ...]:
    """The files of a study as a hospital has them before anyone wrote a codebook."""
    rng = random.Random(seed)
    names = rng.sample(["demo.csv", "lab.csv", "events"], rng.choice([1, 1, 2]))
    key = rng.choice(["patient", "id", "SUBJID", "number"])
    return tuple((name, _content_of(_to_draft(rng, key), rng.choice([",", ",", ";"]))) for name in names)


def _to_draft(rng: random.Random, key: str) -> list[list[str]]:
    kinds = rng.sample(
        [*DRAFTED, "age", "weight", "bmi", "tiny", "huge", "running", "sentinel"], rng.randint(2, 7)
    )
    patients = rng.choice([12, 40, 90])
    many = rng.choice([[1], [1], [1, 1, 1, 1, 1, 1, 2], [1, 2, 3], [3]])
    rows, number = [], 0
    for n in range(patients):
        for visit in range(rng.choice(many)):
            number += 1
            rows.append([f"p{n:03}", *(_drafted_cell(rng, kind, n, visit, number) for kind in kinds)])
    return [[key, *kinds], *rows]


def _drafted_cell(rng: random.Random, kind: str, n: int, visit: int, number: int) -> str:
    if kind in ("parameter", "visit") and rng.random() < 0.98:
        return DRAFTED[kind][visit % 3]
    if kind in DRAFTED:
        return rng.choice(DRAFTED[kind])
    if rng.random() < 0.04:
        return rng.choice(["", "NA", "."])
    made = {
        "age": str(rng.randint(18, 90)),
        "weight": f"{rng.uniform(40, 120):.1f}",
        "bmi": rng.choice(["0", f"{rng.uniform(15, 45):.2f}"]),
        "tiny": f"{rng.uniform(0, 1) / 10**5:.8f}",
        "huge": str(rng.randint(10**6, 10**7)),
        "running": str(number),
        "sentinel": rng.choice([str(rng.randint(0, 30)), str(rng.randint(0, 30)), "999", "-9"]),
    }
    return made[kind]


def _content_of(rows: list[list[str]], delimiter: str) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue().encode()
