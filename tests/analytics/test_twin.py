"""A dummy twin: a table that its codebook could describe, and an answer of the form that the parties give."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import analytics.__main__ as command
from analytics import render, twin
from analytics.query.errors import ProgramRejected
from analytics.query.plan import compile
from analytics.query.schema import load_codebook, parse_codebook
from analytics.reference import evaluate
from analytics.statistics import figures
from providers.codebook import encode
from providers.report import Report
from providers.table import read_table
from tests.analytics.query.studies import SEED, a_codebook, some_facts

ROOT = Path(__file__).resolve().parents[2]
FACTS = some_facts()

DERIVED = {
    "primaryKey": "id",
    "fields": [
        {"name": "start", "type": "integer", "unit": "days", "constraints": {"minimum": 0, "maximum": 100}},
        {"name": "end", "type": "integer", "unit": "days", "constraints": {"minimum": 0, "maximum": 100}},
        {"name": "spell", "type": "integer", "unit": "days", "constraints": {"minimum": 0, "maximum": 63},
         "derive": {"difference": ["end", "start"]}},
        {"name": "part", "type": "number", "constraints": {"minimum": 0, "maximum": 4}, "outOfRange": "clamp",
         "derive": {"ratio": ["end", "start"]}},
        {"name": "age", "type": "integer", "unit": "years", "constraints": {"minimum": 18, "maximum": 99}},
        {"name": "old", "source": "age", "type": "string", "cut": [None, 40, 65, None]},
        {"name": "size", "type": "string", "cut": [0, 10, 20]},
        {"name": "a", "type": "string", "categories": ["no", "yes"], "recodes": {"J": "yes"}},
        {"name": "b", "type": "string", "categories": ["yes", "no"], "missingValues": ["NA"]},
        {"name": "either", "type": "string", "derive": {"any": ["a", "b"]}},
        {"name": "weight", "type": "number", "constraints": {"minimum": 30, "maximum": 99.9}, "resolution": 0.1,
         "missingValues": ["", "70.5"]},
    ],
    "capacity": 1024,
    "policy": {"epsilon": "1", "expires": "2099-01-01"},
    "facts": {"n": 300},
}  # fmt: skip


def checked(facts, path):
    """What a provider makes of the twin's file: codes, and whatever is wrong with it."""
    path.write_text(twin.raw_file(facts))
    report = Report()
    return encode(facts.schema, [read_table(path, report)], report), report


@pytest.mark.parametrize(
    "book", [DERIVED, a_codebook(), "samples/codebook.json"], ids=["derived", "study", "sample"]
)
def test_a_provider_accepts_the_twin_s_file_and_reads_the_very_codes_that_answer(book, tmp_path):
    if isinstance(book, str):
        book = load_codebook((ROOT / book).read_text())
    facts = some_facts(book)
    encoded, report = checked(facts, tmp_path / "twin.csv")
    assert not report.errors, [str(problem) for problem in report.errors][:5]
    own = twin.table(facts, twin.patients(facts))
    for field in facts.schema.fields:
        codes, present = own[field.name]
        column = encoded.columns[field.name]
        np.testing.assert_array_equal(present, column.present, field.name)
        np.testing.assert_array_equal(codes[present], np.asarray(column.codes)[present], field.name)


def test_every_level_and_the_whole_range_occur_and_little_is_missing():
    table = twin.table(FACTS, twin.patients(FACTS))
    for field in FACTS.schema.fields:
        codes, present = table[field.name]
        assert len(codes) == 700 and 0.94 < present.mean() < 1
        seen = codes[present]
        assert seen.min() >= 0 and seen.max() < field.codes
        if field.kind == "category":
            assert set(seen) == set(range(field.codes))
        else:
            assert seen.min() < 0.02 * field.codes and seen.max() > 0.98 * field.codes
            assert seen.mean() == pytest.approx(field.codes / 2, rel=0.06)


def test_registered_levels_have_as_many_patients_as_facts_say():
    registered = {"smoker": {"no": 324, "yes": 376}, "relapse": {"no": 600, "yes": 100, "unknown": 0}}
    book = a_codebook(facts={"n": 700, "registered": registered})
    facts = some_facts(book, policy={"minimum_cohort": 1})
    plan = compile("count() by smoker\ncount() by relapse", [facts], 10**6, "exact")
    integers = evaluate(plan, [facts], [twin.table(facts, twin.patients(facts))])
    assert integers == [[1, 324, 1, 376], [1, 600, 1, 100, 1, 0]]


@pytest.mark.parametrize(
    ("facts", "capacity", "n"),
    [({"n": 50}, 1024, 50), ({}, 1024, 1000), ({}, 64, 64), ({"n": 10**7}, 2**24, 5000)],
)
def test_a_twin_is_as_large_as_facts_say_and_never_larger_than_the_capacity(facts, capacity, n):
    assert twin.rows(some_facts(a_codebook(facts=facts, capacity=capacity))) == n


def test_the_same_codebook_makes_the_same_twin_and_another_dataset_another():
    assert twin.raw_file(FACTS) == twin.raw_file(some_facts())
    assert twin.raw_file(FACTS) != twin.raw_file(some_facts(id="ee" * 16))


@pytest.mark.parametrize("mode", ["dp", "exact"])
def test_the_answer_has_the_form_of_a_real_one(mode):
    plan = compile(SEED, [FACTS], 4 * 10**6, mode)
    answered = twin.answer(plan, [FACTS])
    integers = evaluate(plan, [FACTS], [twin.table(FACTS, twin.patients(FACTS))])
    real = figures(plan, [FACTS], integers)
    assert [s.keys() for s in answered["statements"]] == [s.keys() for s in real]
    assert [g.keys() for s in answered["statements"] for g in s["groups"]] == [
        g.keys() for s in real for g in s["groups"]
    ]
    if mode == "exact":
        assert answered["statements"] == real
    else:
        assert answered["statements"] != real, "noise of the plan's scale is in it"
    assert "no patient" in answered["twin"]
    json.dumps(answered, allow_nan=False)


def test_noise_of_the_twin_has_the_scale_of_the_plan():
    plan = compile("count() by region", [FACTS], 100_000, "dp")
    truth = evaluate(plan, [FACTS], [twin.table(FACTS, twin.patients(FACTS))])[0]
    errors = []
    for k in range(400):
        errors += [x - y for x, y in zip(twin._noised(plan.releases[0], truth, str(k)), truth, strict=True)]
    assert np.std(errors) == pytest.approx(10 * 2**0.5, rel=0.1)
    assert all(isinstance(error, int) for error in errors)


def test_pooled_datasets_have_a_twin_each():
    other = some_facts(id="cd" * 16)
    answered = twin.answer(compile("count()", [other, FACTS], 10**6, "exact"), [other, FACTS])
    assert answered["patients"] == [700, 700]
    assert answered["statements"][0]["groups"][0]["value"] == 1400


def test_a_codebook_that_joins_files_has_a_twin_without_a_raw_file():
    book = load_codebook((ROOT / "samples/messy/codebook.json").read_text())
    facts = some_facts(book)
    with pytest.raises(ProgramRejected) as caught:
        twin.raw_file(facts)
    assert caught.value.code == "no_raw_file"
    names = [field.name for field in facts.schema.fields if field.kind == "number"]
    plan = compile(f"mean({names[0]})", [facts], 10**6, "dp")
    assert twin.answer(plan, [facts])["statements"][0]["groups"][0]["value"] is not None


def test_values_that_no_field_could_take_become_missing_and_nothing_else():
    schema = parse_codebook(DERIVED)
    for row in twin.patients(some_facts(DERIVED)):
        read = twin.values(schema, row)
        assert row["end"] is None or row["start"] is None or 0 <= read["spell"] <= 63
        assert (read["old"] is None) == (read["age"] is None)
        if read["age"] is not None:
            assert read["old"] == (read["age"] >= 40) + (read["age"] >= 65)
        if read["part"] is not None:
            assert read["part"] == Fraction(row["end"]) / Fraction(row["start"])


class TestCommand:
    def run(self, capsys, *arguments):
        code = command.main(["twin", "--codebook", str(ROOT / "samples/codebook.json"), *arguments])
        return code, *capsys.readouterr()

    def test_answers_a_program_in_a_file_and_says_that_nobody_is_in_it(self, capsys):
        code, out, _ = self.run(capsys, "--epsilon", "4", str(ROOT / "samples/questions.txt"))
        assert code == 0 and out.startswith(twin.LABEL)
        assert out.count("[epsilon") == 4

    def test_prints_json(self, capsys):
        code, out, _ = self.run(capsys, "--json", "count() by arm primary\ncount()")
        body = json.loads(out)
        assert code == 0 and body["twin"] == twin.LABEL
        assert [s["label"] for s in body["statements"]] == ["primary", "exploratory"]
        assert "exploratory]" in render.answer(body)

    def test_writes_the_raw_table(self, capsys, tmp_path):
        path = tmp_path / "twin.csv"
        assert self.run(capsys, "--csv", str(path))[0] == 0
        assert path.read_text().splitlines()[0].startswith("patient_id,arm,region")

    @pytest.mark.parametrize(
        "arguments", [(), ("count(agee)",), ("--epsilon", "-1", "count()"), ("--csv", "/nowhere/twin.csv")]
    )
    def test_says_in_one_line_what_is_wrong(self, capsys, arguments):
        code, out, err = self.run(capsys, *arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1)

    def test_needs_a_codebook_or_a_portal(self, capsys, tmp_path):
        assert command.main(["twin", "count()"]) == 2
        assert command.main(["twin", "--codebook", str(tmp_path / "absent.json"), "count()"]) == 2
        capsys.readouterr()
