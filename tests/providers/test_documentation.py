"""The examples of the codebook page are true: one parses and reads a small table, one is what a draft proposes."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from analytics.query.schema import load_codebook, parse_codebook
from providers.codebook import encode
from providers.draft import draft
from providers.report import Report
from providers.table import read_table

PAGE = Path(__file__).parents[2] / "docs/codebook.md"


def test_the_example_on_the_codebook_page_reads_a_table(tmp_path):
    text = PAGE.read_text(encoding="utf-8").partition("```json\n")[2].partition("```")[0]
    schema = parse_codebook(load_codebook(text))
    table = tmp_path / "t.csv"
    table.write_text(
        'patient,weight,started,sex,age,grade\n1,"70,5",2020-01-03,F,64,3\n2,NA,2020-02-01,2,70,1\n'
    )
    report = Report()
    encoded = encode(schema, [t for t in [read_table(table, report)] if t], report)
    assert report.errors == []
    assert {name: column.codes.tolist() for name, column in encoded.columns.items()} == {
        "weight": [405, 0],
        "weight_lb": [155, 0],
        "started": [2, 31],
        "sex": [0, 1],
        "age_group": [1, 2],
        "severe_event": [1, 0],
    }
    assert encoded.columns["weight"].present.tolist() == [True, False]


def test_the_draft_on_the_codebook_page_is_what_its_table_gives(tmp_path):
    section = PAGE.read_text(encoding="utf-8").partition("## Drafting")[2]
    (tmp_path / "t.csv").write_text(section.partition("```csv\n")[2].partition("```")[0])
    shown = json.loads(section.partition("```json\n")[2].partition("```")[0])
    report = Report()
    table = read_table(tmp_path / "t.csv", report)
    assert table is not None
    made = draft([table], report, primary_key=None, today=date(2026, 1, 1))
    assert made.codebook["fields"] == shown
    assert made.codebook["local"] == ["capacity"]
