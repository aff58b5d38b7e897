"""A real trial's five files go through the codebook: counts and means are those computed in clear elsewhere."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pytest

from analytics.query.schema import Schema, load_codebook, parse_codebook
from providers.codebook import Encoded, encode
from providers.planes import to_planes
from providers.report import Report
from providers.table import read_table
from tests.providers.gist import AEV, EFFSEN, FOLDER, IDENT, codebook

pytestmark = [
    pytest.mark.background,
    pytest.mark.skipif(not IDENT.exists(), reason=f"the trial's files are not beside the project ({FOLDER})"),
]


@pytest.fixture(scope="module")
def trial() -> tuple[Schema, Encoded, Report]:
    schema = parse_codebook(load_codebook(json.dumps(codebook())))
    report = Report()
    tables = [table for path in (IDENT, EFFSEN, AEV) if (table := read_table(path, report))]
    return schema, encode(schema, tables, report), report


def values(trial, name: str, where: np.ndarray | None = None) -> list[Decimal]:
    """Clear values of a number, from its codes, of the patients selected."""
    schema, encoded, _ = trial
    column = encoded.columns[name]
    chosen = column.present if where is None else column.present & where
    return [schema.field(name).value(int(code)) for code in column.codes[chosen]]


def level(trial, name: str, label: str) -> np.ndarray:
    schema, encoded, _ = trial
    code = [level.label for level in schema.field(name).levels].index(label)
    column = encoded.columns[name]
    return column.present & (column.codes == code)


def test_nothing_is_wrong_with_the_trial(trial):
    _, encoded, report = trial
    assert report.problems == []
    assert encoded.patients == 773


def test_the_four_lines_have_their_published_counts_and_means(trial):
    north = level(trial, "region", "Northeast")
    dead = values(trial, "time_till_death")
    assert len(dead) == 23
    assert float(np.mean([float(v) for v in dead])) == pytest.approx(10.456261, abs=5e-4)
    dead_north = values(trial, "time_till_death", north)
    assert len(dead_north) == 9
    assert float(sum(dead_north) / 9) == pytest.approx(11.531889, abs=5e-4)
    since = [float(v) for v in values(trial, "time_since_diagnosis", north)]
    assert len(since) == 192
    assert np.mean(since) == pytest.approx(56.135417, abs=1e-6)
    assert np.std(since, ddof=1) == pytest.approx(13.524552, abs=1e-6)
    died = level(trial, "death_flag", "dead")
    names = ("West", "Midwest", "South", "Northeast", "Canada")
    cells = [int((level(trial, "region", name) & died).sum()) for name in names]
    assert sorted(cells) == [3, 3, 4, 4, 9]
    assert sum(int(level(trial, "region", name).sum()) for name in names) == 773


def test_body_mass_index_arm_and_intention_to_treat(trial):
    itt = level(trial, "itt", "yes")
    bmi = [float(v) for v in values(trial, "bmi", itt)]
    assert len(bmi) == 687
    assert np.mean(bmi) == pytest.approx(27.674013, abs=5e-3)
    assert np.std(bmi, ddof=1) == pytest.approx(5.641881, abs=5e-4)
    arms = [int((level(trial, "arm", name) & itt).sum()) for name in ("imatinib", "placebo")]
    assert arms == [363, 341]


def test_many_row_files_come_down_to_one_value_a_patient(trial):
    itt = level(trial, "itt", "yes")
    assert len(values(trial, "efs_time")) == 704
    events = level(trial, "efs_event", "yes")
    assert [int((events & level(trial, "arm", arm)).sum()) for arm in ("imatinib", "placebo")] == [42, 57]
    graded = trial[1].columns["severe_adverse_event"].present & itt
    assert int(graded.sum()) == 645


def test_a_many_row_file_without_reduce_is_refused_with_the_way_out():
    plain = codebook()
    for field in plain["fields"]:
        field.pop("reduce", None)
    plain["fields"] = [field for field in plain["fields"] if field["name"] == "efs_time"]
    plain["fields"][0].pop("role")
    plain["fields"][0].pop("event")
    report = Report()
    encode(parse_codebook(plain), [read_table(EFFSEN, report)], report)
    assert [(p.rule, p.file, p.line) for p in report.problems] == [("several_rows", EFFSEN.name, 3)]
    assert '"only"' in report.problems[0].remedy


def test_the_trial_fits_its_planes(trial):
    schema, encoded, _ = trial
    planes = to_planes(encoded, schema.plane_names, schema.capacity)
    assert planes.shape == (len(schema.plane_names), 16)
    counted = [int(np.bitwise_count(plane).sum()) for plane in planes]
    present = dict(zip(schema.plane_names, counted, strict=True))
    assert present[("", "valid")] == 773
    assert present[("bmi", "present")] == 746
