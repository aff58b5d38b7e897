"""`check --counts`: what every step leaves, against a count by hand, and none of it beyond the screen."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.query.schema import parse_codebook
from providers import __main__ as commands
from providers.codebook import encode
from providers.counts import counts_of, lines_of
from providers.report import Report
from providers.table import read_table
from providers.trace import Trace
from tests.providers.test_codebook import AGE, POLICY
from tests.providers.test_commands import CODEBOOK, FakePortal, World, httpx

SEX = {
    "name": "sex",
    "type": "string",
    "categories": [{"value": "f", "label": "female"}, "m"],
    "missingValues": ["", "NA"],
    "recodes": {"W": "f", "M": "m"},
}


def counted(tmp_path: Path, fields: list[dict[str, Any]], text: str) -> dict[str, dict[str, Any]]:
    """By field: its steps by name (a list for `where`), and its result."""
    schema = parse_codebook({"primaryKey": "id", "fields": fields, "policy": POLICY, "capacity": 4096})
    (tmp_path / "a.csv").write_text(text)
    report, traces = Report(), dict[str, Trace]()
    table = read_table(tmp_path / "a.csv", report)
    assert table is not None
    found = {}
    counts = counts_of(schema, encode(schema, [table], report, traces), traces)
    json.dumps(counts)
    assert list(lines_of(counts))
    for one in counts:
        steps: dict[str, Any] = {"where": []}
        order = [step["step"] for step in one["steps"]]
        for step in one["steps"]:
            name = step.pop("step")
            steps[name] = [*steps["where"], step] if name == "where" else step
        found[one["field"]] = steps | {"result": one["result"], "order": order}
    return found


def test_each_raw_text_is_shown_with_its_level_and_what_is_missing_with_its_rows(tmp_path):
    sex = counted(tmp_path, [SEX], "id,sex\n1,W\n2,f\n3,M\n4,NA\n5,NA\n6,\n7,W\n")["sex"]
    assert sex["text"] == {"rows": 7, "distinct": 5}
    assert sex["missingValues"] == {
        "missing": 3,
        "left": 4,
        "texts": [{"text": "NA", "rows": 2}, {"text": "", "rows": 1}],
    }
    assert (sex["recodes"]["recoded"], sex["recodes"]["unknown"]) == (3, 0)
    assert [(t["text"], t["coded"], t["rows"], t["patients"]) for t in sex["recodes"]["texts"]] == [
        ("W", "f", 2, 2),
        ("f", "f", 1, 1),
        ("M", "m", 1, 1),
    ]
    assert sex["result"] == {
        "present": 4,
        "missing": 3,
        "levels": [
            {"value": "f", "label": "female", "patients": 3},
            {"value": "m", "label": "m", "patients": 1},
        ],
    }


def test_a_text_that_is_no_level_is_counted_where_the_field_cannot_be_read(tmp_path):
    sex = counted(tmp_path, [SEX], "id,sex\n1,W\n2,x\n3,x\n")["sex"]
    assert sex["recodes"]["unknown"] == 2
    assert ("x", None) in [(t["text"], t["coded"]) for t in sex["recodes"]["texts"]]
    assert sex["result"] is None


def test_rows_that_where_and_reduce_leave_out_are_counted_in_order(tmp_path):
    field = AGE | {"where": "kind == a", "reduce": {"how": "first", "where": "visit > 1", "orderBy": "visit"}}
    text = "id,kind,visit,age\n1,a,1,10\n1,a,2,11\n1,a,3,12\n1,b,2,13\n2,a,2,\n2,a,4,20\n3,b,2,30\n"
    age = counted(tmp_path, [field], text)["age"]
    assert age["where"] == [
        {"setting": "where", "rows": 7, "dropped": 2, "left": 5},
        {"setting": "reduce.where", "rows": 5, "dropped": 1, "left": 4},
    ]
    assert age["reduce"] == {
        "how": "first",
        "rows": 4,
        "patients_with_rows": 2,
        "patients_without_rows": 1,
        "patients_with_value": 2,
        "patients_missing": 1,
        "rows_not_chosen": 2,
    }
    assert age["round"] == {"minimum": "11", "median": "11", "maximum": "20", "rounded": 0}
    assert age["result"] == {"present": 2, "missing": 1, "minimum": "11", "median": "11", "maximum": "20"}


@pytest.mark.parametrize(
    ("outside", "present", "ends"),
    [("clamp", 5, ("0", "127")), ("missing", 3, ("5", "127")), ("error", None, None)],
)
def test_what_lies_outside_the_range_is_counted_below_and_above(tmp_path, outside, present, ends):
    age = counted(tmp_path, [AGE | {"outOfRange": outside}], "id,age\n1,-4\n2,5\n3,60\n4,127\n5,300\n")["age"]
    assert age["range"] == {"patients": 5, "below": 1, "above": 1, "outside_is": outside}
    assert (age["round"]["minimum"], age["round"]["maximum"]) == ("-4", "300")
    assert age["round"]["median"] == "60"
    if present is None:
        assert age["result"] is None
    else:
        assert (age["result"]["present"], age["result"]["minimum"], age["result"]["maximum"]) == (
            present,
            *ends,
        )
        assert age["result"]["median"] == "60"


def test_rounding_cuts_derivations_and_answers_are_steps_of_their_own(tmp_path):
    fields: list[dict[str, Any]] = [
        {"name": "w", "type": "number", "constraints": {"minimum": 0, "maximum": 255}, "resolution": 1},
        {"name": "h", "type": "number", "constraints": {"minimum": 0, "maximum": 7}, "resolution": "0.01"},
        {
            "name": "ratio",
            "type": "number",
            "constraints": {"minimum": 0, "maximum": 63},
            "resolution": 1,
            "outOfRange": "clamp",
            "derive": {"ratio": ["w", "h"]},
        },
        {"name": "group", "source": "w", "type": "string", "cut": [None, 60, None]},
        {"name": "tall", "source": "h", "type": "string", "reduce": {"how": "any", "test": "> 1.7"}},
    ]
    found = counted(tmp_path, fields, "id,w,h\n1,60.4,2\n2,61,1.5\n3,200,1\n4,,1\n5,70,0\n")
    assert found["w"]["round"]["rounded"] == 1
    assert found["ratio"]["derive"] == {
        "how": "ratio",
        "missing in w": 1,
        "missing in h": 0,
        "patients_with_value": 3,
        "patients_missing": 2,
    }
    assert found["ratio"]["range"] == {"patients": 3, "below": 0, "above": 1, "outside_is": "clamp"}
    assert [level["patients"] for level in found["group"]["result"]["levels"]] == [0, 4]
    assert "cut" in found["group"]
    assert found["tall"]["reduce"]["rows_passing"] == 1
    assert [level["patients"] for level in found["tall"]["result"]["levels"]] == [4, 1]


def test_steps_stand_in_the_order_of_the_codebook(tmp_path):
    text = "id,age\n1,1\n2,2\n"
    read = ["text", "missingValues", "recodes", "where", "reduce", "round", "range"]
    assert counted(tmp_path, [AGE | {"where": "age > 1"}], text)["age"]["order"] == read
    twice = AGE | {"name": "twice", "derive": {"scale": ["age", 2]}}
    assert counted(tmp_path, [AGE, twice], text)["twice"]["order"] == ["derive", "round", "range"]


def test_a_column_of_too_many_texts_shows_the_most_frequent_and_counts_the_rest(tmp_path):
    text = "id,sex\n" + "".join(f"{n},x{n}\n" for n in range(300)) + "a,f\nb,f\n"
    recodes = counted(tmp_path, [SEX], text)["sex"]["recodes"]
    assert len(recodes["texts"]) == 200
    assert recodes["texts"][0]["text"] == "f"
    assert recodes["further_texts"] == 101


ROW = st.tuples(st.integers(0, 9), st.sampled_from(["W", "f", "M", "m", "NA", ""]), st.integers(0, 3))


@given(st.lists(ROW, min_size=1, max_size=40))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_are_those_of_plain_counting(tmp_path, rows):
    field = SEX | {"where": "visit < 3", "reduce": {"how": "first", "orderBy": "visit"}}
    lines = [f"p{patient},{sex},{visit}" for patient, sex, visit in rows]
    sex = counted(tmp_path, [field], "id,sex,visit\n" + "\n".join(lines) + "\n")["sex"]
    texts = Counter(sex for _, sex, _ in rows)
    kept = [row for row in rows if row[2] < 3]
    level = {"W": "f", "f": "f", "M": "m", "m": "m"}
    chosen = {}
    for patient, said, _ in sorted(kept, key=lambda row: row[2]):
        if said in level:
            chosen.setdefault(patient, said)
    assert sex["missingValues"]["missing"] == texts["NA"] + texts[""]
    assert sex["where"][0] == {
        "setting": "where",
        "rows": len(rows),
        "dropped": len(rows) - len(kept),
        "left": len(kept),
    }
    assert {t["text"]: (t["rows"], t["after_where"], t["patients"]) for t in sex["recodes"]["texts"]} == {
        text: (count, sum(row[1] == text for row in kept), sum(said == text for said in chosen.values()))
        for text, count in texts.items()
        if text in level
    }
    held = Counter(level[said] for said in chosen.values())
    assert [one["patients"] for one in sex["result"]["levels"]] == [held["f"], held["m"]]
    assert sex["result"]["missing"] == len({row[0] for row in rows}) - len(chosen)


# -- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path) -> list[str]:
    (tmp_path / "C.json").write_text(json.dumps(CODEBOOK))
    (tmp_path / "t.csv").write_text("id,age,weight,arm\n1,50,70.2,a\n2,61,81,b\n")
    return ["--codebook", str(tmp_path / "C.json"), str(tmp_path / "t.csv")]


def test_counts_are_printed_on_request_alone(study, capsys):
    assert commands.main(["check", *study]) == 0
    assert "recodes" not in capsys.readouterr().out
    assert commands.main(["check", "--counts", *study]) == 0
    out = capsys.readouterr().out
    assert "arm (arm of t.csv)" in out
    assert '"a" to "a": rows 1, after where 1, patients 1' in out
    assert "minimum 50, median 50, maximum 61" in out


def test_counts_as_json_stand_beside_the_problems(study, capsys):
    assert commands.main(["check", "--json", *study]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert commands.main(["check", "--json", "--counts", *study]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert [one["field"] for one in found["counts"]] == ["age", "weight", "arm"]
    assert commands.main(["check", "--json", "--counts", "--codebook", "/nowhere", study[2]]) == 1
    assert json.loads(capsys.readouterr().out)["counts"] == []


def test_upload_knows_no_counts_and_sends_none(study, capsys, monkeypatch, tmp_path):
    fake = FakePortal(World())
    sent: list[bytes] = []
    fake.fault = lambda n, request: sent.append(request.content)
    client = httpx.Client(transport=fake.transport, base_url="http://portal.test")
    monkeypatch.setattr(commands, "connect", lambda url, token: client)
    given = ["upload", "--url", "http://portal.test", "--token", "t", "--key", str(tmp_path / "key.pem")]
    with pytest.raises(SystemExit):
        commands.main([*given, "--counts", *study])
    assert commands.main([*given, *study]) == 0
    assert sent
    for word in (b"after_where", b"rows_not_chosen", b"median", b"patients_with"):
        assert not any(word in content for content in sent)
