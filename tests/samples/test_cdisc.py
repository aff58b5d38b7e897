"""The CDISC templates read the made-up ADSL, ADTTE and ADAE, in both forms, to what an analysis computes."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pandas as pd
import pytest

from analytics.query.schema import load_codebook, parse_codebook
from providers import __main__ as commands
from providers.__main__ import read_study
from providers.planes import to_planes
from providers.report import Report
from tests.samples.cdisc import FOLDER, TEMPLATES, generator, per_patient, template, xport


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cdisc")
    generator.generate(folder / "csv")
    for dated in (True, False):
        (folder / f"xpt-{dated}").mkdir()
        for name in generator.COLUMNS:
            (folder / f"xpt-{dated}" / f"{name.upper()}.XPT").write_bytes(xport(name, dated=dated))
    return folder


def files(tables, name: str, form: str = "csv") -> list[str]:
    ending = str.lower if form == "csv" else str.upper
    return [str(tables / form / ending(f"{table}.{form[:3]}")) for table in TEMPLATES[name]]


def study(tables, name: str, form: str = "csv"):
    schema = parse_codebook(load_codebook((FOLDER / f"{name}.json").read_text()))
    report = Report()
    return schema, read_study(schema, files(tables, name, form), report), report


@pytest.fixture(scope="module")
def encoded(tables):
    return study(tables, "study")


def values(encoded, name: str) -> list[float | str | None]:
    """A field of every patient, in the order of ADSL: its number, or the value of its level; None is missing."""
    schema, columns = encoded[0], encoded[1].columns
    item, column = schema.field(name), columns[name]
    said = [item.levels[c].value if item.levels else float(item.value(int(c))) for c in column.codes]
    return [value if present else None for value, present in zip(said, column.present, strict=True)]


def plain(series) -> list:
    return [None if pd.isna(value) else value for value in series]


@pytest.mark.parametrize("name", TEMPLATES)
def test_check_passes_on_the_made_up_tables(tables, name, capsys):
    assert (
        commands.main(["check", "--codebook", str(FOLDER / f"{name}.json"), "--json", *files(tables, name)])
        == 0
    )
    problems = json.loads(capsys.readouterr().out)
    lacking = [p["file"] for p in problems if p["rule"] == "patients_without_rows"]
    # Screen failures have no time to an event: the README says so.
    assert lacking == (["adtte.csv"] if name == "study" else [])


@pytest.mark.parametrize("form", ["xpt-True", "xpt-False"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_transport_files_give_the_very_codes_that_csv_gives(tables, name, form):
    schema, first, _ = study(tables, name)
    _, second, report = study(tables, name, form)
    assert report.errors == []
    planes = [to_planes(one, schema.plane_names, schema.capacity) for one in (first, second)]
    np.testing.assert_array_equal(*planes)


def test_each_parameter_of_a_time_to_event_table_is_a_field_of_its_own(encoded):
    truth = per_patient()
    for code in ("OS", "PFS"):
        assert values(encoded, code) == plain(truth[f"{code}_DAYS"])
        months = [None if days is None else days / 30.4375 for days in plain(truth[f"{code}_DAYS"])]
        found = values(encoded, f"{code}_MONTHS")
        assert [month is None for month in found] == [month is None for month in months]
        assert all(abs(a - b) <= 0.05 + 1e-9 for a, b in zip(found, months, strict=True) if a is not None)
    assert values(encoded, "OS") != values(encoded, "PFS")


def test_every_reason_of_censoring_is_censored_and_zero_is_the_event(encoded):
    truth = plain(per_patient()["OS_CNSR"])
    assert set(truth) == {None, 0, 1, 2, 3}
    assert values(encoded, "OS_CNSR") == [None if flag is None else str(int(flag)) for flag in truth]
    flags = values(encoded, "OS_EVENT")
    assert flags == [None if flag is None else "0" if flag == 0 else "1" for flag in truth]
    assert encoded[0].field("OS_EVENT").occurred == "0"
    assert encoded[0].field("OS").event == "OS_EVENT"


def test_a_reason_of_censoring_that_the_codebook_does_not_know_is_an_error(tables, tmp_path, capsys):
    text = (tables / "csv/adtte.csv").read_text().replace(",2,Lost", ",4,Lost")
    (tmp_path / "adtte.csv").write_text(text)
    argv = ["check", "--codebook", str(FOLDER / "adtte.json"), "--json", str(tmp_path / "adtte.csv")]
    assert commands.main(argv) == 1
    problems = json.loads(capsys.readouterr().out)
    assert {(p["rule"], p["column"]) for p in problems} == {("unknown_level", "CNSR")}


def test_patients_without_an_event_have_none_and_those_without_a_grade_are_missing(encoded):
    truth = per_patient()
    assert values(encoded, "AE_COUNT") == list(truth["AE_COUNT"])
    assert values(encoded, "AE_SERIOUS") == ["yes" if flag else "no" for flag in truth["AE_SERIOUS"]]
    assert values(encoded, "AE_ANY") == ["yes" if count else "no" for count in truth["AE_COUNT"]]
    worst = [None if grade is None else str(int(grade)) for grade in plain(truth["AE_WORST"])]
    assert values(encoded, "AE_WORST") == worst
    severe = [None if grade is None else "yes" if int(grade) >= 3 else "no" for grade in worst]
    assert values(encoded, "AE_SEVERE") == severe
    assert {None, "0", "1", "3"} <= set(worst)


def test_outcome_action_severity_and_first_class_are_those_of_the_rows_that_count(encoded):
    rows = [row for row in generator.tables()["adae"] if row["TRTEMFL"] == "Y"]
    patients = [row["USUBJID"] for row in generator.tables()["adsl"]]
    mine = [[row for row in rows if row["USUBJID"] == patient] for patient in patients]
    rank = {"MILD": 1, "MODERATE": 2, "SEVERE": 3}
    for name, column, term in (("AE_FATAL", "AEOUT", "FATAL"), ("AE_WITHDRAWN", "AEACN", "DRUG WITHDRAWN")):
        truth = ["yes" if any(row[column] == term for row in of) else "no" for of in mine]
        assert values(encoded, name) == truth
        assert {"yes", "no"} == set(truth)
    assert values(encoded, "AE_WORST_SEV") == [
        str(max((rank[row["AESEV"]] for row in of), default=0)) for of in mine
    ]
    first = [min(of, key=lambda row: int(row["AESEQ"]))["AEBODSYS"] if of else "none" for of in mine]
    assert values(encoded, "AE_FIRST_SOC") == first


def test_events_before_treatment_are_not_counted(encoded):
    rows = generator.tables()["adae"]
    emergent = {row["USUBJID"] for row in rows if row["TRTEMFL"] == "Y"}
    only_before = {row["USUBJID"] for row in rows} - emergent
    patients = [row["USUBJID"] for row in generator.tables()["adsl"]]
    said = dict(zip(patients, values(encoded, "AE_ANY"), strict=True))
    assert only_before
    assert {said[patient] for patient in only_before} == {"no"}


def test_each_organ_class_has_its_own_flag(encoded):
    truth = per_patient()
    flags = {item.title: item.name for item in encoded[0].fields if item.name.startswith("SOC_")}
    assert len(flags) == 27
    for title, name in flags.items():
        expected = truth[title] if title in truth else [False] * len(truth)
        assert values(encoded, name) == ["yes" if flag else "no" for flag in expected], title


def test_an_organ_class_that_is_none_of_the_dictionary_is_an_error_and_not_a_no(tables, tmp_path, capsys):
    text = (tables / "csv/adae.csv").read_text().replace("Cardiac disorders", "Heart disorders")
    (tmp_path / "adae.csv").write_text(text)
    argv = ["check", "--codebook", str(FOLDER / "adae.json"), "--json", files(tables, "adsl")[0]]
    assert commands.main([*argv, str(tmp_path / "adae.csv")]) == 1
    problems = json.loads(capsys.readouterr().out)
    assert {(p["rule"], p["column"]) for p in problems} == {("unknown_level", "AEBODSYS")}


def test_days_of_sas_are_the_duration_of_treatment_and_flags_are_the_populations(encoded):
    truth = per_patient()
    gap = truth["TRTEDT"] - truth["TRTSDT"] + 1
    assert values(encoded, "TRTDURD") == plain(gap)
    assert values(encoded, "TRTSDT") == plain(truth["TRTSDT"])
    for flag in ("ITTFL", "SAFFL"):
        assert values(encoded, flag) == list(truth[flag])
        assert set(truth[flag]) == {"Y", "N"}


@pytest.mark.parametrize("written", ["GRADE {}", "Grade {}", "{}.0"])
def test_a_grade_is_read_as_text_or_as_number(tables, tmp_path, encoded, written):
    rows = generator.tables()["adae"]
    for row in rows:
        row["AETOXGR"] = row["AETOXGR"] and written.format(row["AETOXGR"])
    with (tmp_path / "adae.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, generator.COLUMNS["adae"])
        writer.writeheader()
        writer.writerows(rows)
    schema = parse_codebook(template("adae"))
    report = Report()
    found = read_study(schema, [files(tables, "adsl")[0], str(tmp_path / "adae.csv")], report)
    assert report.problems == []
    assert values((schema, found), "AE_WORST") == values(encoded, "AE_WORST")


def test_a_grade_that_nobody_wrote_down_may_be_taken_for_a_grade(tables):
    """As the page of the templates says: no missing text, and a recode of the empty one."""
    book = template("adae")
    worst = next(field for field in book["fields"] if field["name"] == "AE_WORST")
    worst["missingValues"] = []
    worst["recodes"][""] = 3
    schema, report = parse_codebook(book), Report()
    found = read_study(schema, files(tables, "adae"), report)
    assert report.problems == []
    rows = [row for row in generator.tables()["adae"] if row["TRTEMFL"] == "Y"]
    patients = [row["USUBJID"] for row in generator.tables()["adsl"]]
    grades = {patient: ["0"] for patient in patients}
    for row in rows:
        grades[row["USUBJID"]].append(row["AETOXGR"] or "3")
    assert values((schema, found), "AE_WORST") == [max(grades[patient]) for patient in patients]


def test_a_block_may_be_changed_for_another_parameter_in_months_with_its_own_analysed_rows(tmp_path):
    """As the page of the templates says: another PARAMCD, ANL01FL, AVAL in months."""
    book = template("adtte")
    block = [field for field in book["fields"] if field["name"] in ("PFS", "PFS_EVENT", "PFS_CNSR")]
    for field in block:
        field["name"] = field["name"].replace("PFS", "TTP")
        field["reduce"]["where"] = "PARAMCD == TTP and ANL01FL == Y"
    block[0] |= {"type": "number", "unit": "months", "resolution": 0.1, "event": "TTP_EVENT"}
    block[0]["constraints"] = {"minimum": 0, "maximum": 102.3}
    (tmp_path / "adtte.csv").write_text(
        "USUBJID,PARAMCD,PARAM,AVAL,CNSR,ANL01FL\n"
        "1,TTP,Time to Progression (months),3.42,0,Y\n1,TTP,Time to Progression (months),9,1,\n"
        "1,OS,Overall Survival (months),20,1,Y\n2,TTP,Time to Progression (months),12,3,Y\n"
    )
    schema, report = parse_codebook(book | {"fields": block}), Report()
    found = read_study(schema, [str(tmp_path / "adtte.csv")], report)
    assert report.problems == []
    assert values((schema, found), "TTP") == [3.4, 12.0]
    assert values((schema, found), "TTP_EVENT") == ["0", "1"]
    assert values((schema, found), "TTP_CNSR") == ["0", "3"]


def test_the_combined_template_repeats_the_single_ones_field_by_field():
    single = {name: template(name)["fields"] for name in ("adsl", "adtte", "adae")}
    combined = {field["name"]: field for field in template("study")["fields"]}
    for fields in single.values():
        for field in fields:
            # TRTP is the treatment of ADTTE alone; with ADSL it is TRT01P.
            assert combined.get(field["name"], field) == field
            assert field["name"] in combined or field["name"] == "TRTP"
    assert set(combined) == {field["name"] for fields in single.values() for field in fields} - {"TRTP"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_field_cites_where_its_bounds_or_levels_come_from(name):
    book = template(name)
    cited = {said.strip() for key in book["facts"]["sources"] for said in key.split(",")}
    named = {field["name"] for field in book["fields"]} - {"USUBJID"}
    assert {re.sub(r"^SOC_.*", "SOC_*", one) for one in named} == cited
    assert all(field.get("unit") for field in book["fields"] if "constraints" in field)


def test_the_made_up_tables_are_the_same_bytes_every_time_and_hold_what_is_awkward(tables, tmp_path):
    again = generator.generate(tmp_path)
    assert [path.read_bytes() for path in again] == [
        (tables / "csv" / path.name).read_bytes() for path in again
    ]
    made = generator.tables()
    assert any(row["ITTFL"] == "N" for row in made["adsl"])
    assert {row["CNSR"] for row in made["adtte"]} == {"0", "1", "2", "3"}
    assert {row["TRTEMFL"] for row in made["adae"]} == {"Y", ""}
    assert "" in {row["AETOXGR"] for row in made["adae"]}
    treated = {row["USUBJID"] for row in made["adsl"] if row["SAFFL"] == "Y"}
    assert treated - {row["USUBJID"] for row in made["adae"]}
