"""The made-up study: the same everywhere, big enough in every cell, different in form at each hospital."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"samples_{name}", SAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


generate, truth = load("generate"), load("truth")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return generate.generate(tmp_path_factory.mktemp("samples"))


def test_the_same_seed_gives_the_same_bytes(tables, tmp_path):
    again = generate.generate(tmp_path)
    assert [path.read_bytes() for path in tables] == [path.read_bytes() for path in again]


def test_another_seed_gives_other_patients(tables, tmp_path):
    assert generate.generate(tmp_path, seed=7)[0].read_bytes() != tables[0].read_bytes()


@pytest.mark.parametrize("hospital", generate.HOSPITALS, ids=lambda hospital: hospital.file)
def test_each_hospital_alone_has_a_hundred_patients_behind_every_number(hospital):
    assert generate.smallest_cell(list(generate.patients(hospital))) >= 100


def test_no_patient_is_in_both_hospitals_or_twice_in_one(tables):
    numbers = [row["patient_id"] for row in truth.read(tables)]
    assert len(numbers) == len(set(numbers)) == sum(hospital.patients for hospital in generate.HOSPITALS)


def test_the_hospitals_differ_in_form_as_hospitals_do(tables):
    first, second = (path.read_bytes() for path in tables)
    assert not first.startswith(b"\xef\xbb\xbf") and second.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" not in first and b"\r\n" in second
    assert b",Northeast," in first and b",NE," in second
    assert b",NA," in second and b",NA," not in first


def test_some_values_are_missing_and_only_the_dead_have_a_time(tables):
    rows = truth.read(tables)
    for name in ("bmi", "ecog", "tumour_size", "time_since_diagnosis", "death_flag"):
        assert 0 < sum(row[name] is None for row in rows) < len(rows) / 20
    assert all((row["time_till_death"] is not None) == (row["death_flag"] == "dead") for row in rows)


def test_every_value_is_on_the_codebook_so_that_rounding_changes_nothing(tables):
    codebook = json.loads((SAMPLES / "codebook.json").read_text())
    rows = truth.read(tables)
    for field in codebook["fields"]:
        values = {row[field["name"]] for row in rows} - {None}
        if "categories" in field:
            said = {level["value"] for level in field["categories"]} | field.get("recodes", {}).keys()
            assert values <= said, field["name"]
        elif "resolution" in field:
            low, high = field["constraints"]["minimum"], field["constraints"]["maximum"]
            steps = [(float(value) - low) / field["resolution"] for value in values]
            assert all(abs(step - round(step)) < 1e-6 for step in steps), field["name"]
            assert all(low <= float(value) <= high for value in values), field["name"]


def test_the_truth_agrees_with_pandas_and_scipy(tables):
    from scipy import stats

    frame = pd.concat(
        [
            pd.read_csv(path, encoding="utf-8-sig", dtype=str, na_values=["", "NA"], keep_default_na=False)
            for path in tables
        ]
    )
    frame["region"] = frame["region"].replace(truth.WORDS["region"])
    frame["death_flag"] = frame["death_flag"].replace(truth.WORDS["death_flag"])
    northeast = frame[frame["region"] == "Northeast"]
    till_death = northeast["time_till_death"].dropna().astype(float)
    since = northeast["time_since_diagnosis"].dropna().astype(float)
    table = pd.crosstab(frame["region"], frame["death_flag"])
    chi2 = stats.chi2_contingency(table, correction=False).statistic
    found = truth.answers(tables)
    assert [answer["n"] for answer in found] == [
        len(till_death),
        len(since),
        len(since),
        table.to_numpy().sum(),
    ]
    np.testing.assert_allclose(
        [answer["value"] for answer in found],
        [till_death.mean(), since.mean(), since.std(ddof=1), math.sqrt(chi2 / table.to_numpy().sum())],
        rtol=1e-12,
    )


def test_the_questions_are_the_four_lines():
    assert (SAMPLES / "questions.txt").read_text().splitlines() == [
        'average("time_till_death", "northeast")',
        'average("time_since_diagnosis", "northeast")',
        'std("time_since_diagnosis", "northeast")',
        'correlate("region", "death flag")',
    ]
