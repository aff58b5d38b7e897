"""The browser drafts the codebook that `python -m providers draft` does, with the same notes and warnings."""

from __future__ import annotations

import base64
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from providers.draft import draft
from providers.patient_key import DraftRefused
from providers.report import Report
from providers.table import read_table
from tests.frontend.generator import plain_files, study
from tests.frontend.node import needs_node, node
from tests.providers import gist

pytestmark = needs_node
TODAY = date(2026, 11, 24)
Files = tuple[tuple[str, bytes], ...]


def by_browser(studies: list[Files]) -> list[dict[str, Any]]:
    lines = [
        json.dumps(
            {
                "files": [[name, base64.b64encode(content).decode()] for name, content in files],
                "year": TODAY.year,
            }
        )
        for files in studies
    ]
    said = node(str(Path(__file__).with_name("drafts.mjs")), text="\n".join(lines))
    return [json.loads(line) for line in said.splitlines()]


def by_providers(files: Files, folder: Path) -> dict[str, Any]:
    report = Report()
    tables = []
    for name, content in files:
        (folder / name).write_bytes(content)
        if (table := read_table(folder / name, report)) is not None:
            tables.append(table)
    if report.errors:
        return {"unread": True}
    report = Report()
    try:
        made = draft(tables, report, primary_key=None, today=TODAY)
    except DraftRefused as wrong:
        return {"refused": str(wrong)}
    return {
        "codebook": json.loads(json.dumps(made.codebook)),
        "columns": [
            {
                "file": one.file,
                "column": one.column,
                "field": one.name,
                "kind": one.made.kind,
                "notes": one.notes,
            }
            for one in made.drafted
        ],
        "notes": made.notes,
        "problems": [problem.public() for problem in report.problems],
    }


def differences(studies: list[Files], folder: Path) -> list[str]:
    found = []
    for n, (files, browser) in enumerate(zip(studies, by_browser(studies), strict=True)):
        own = by_providers(files, folder)
        if own != browser:
            key = next(key for key in own.keys() | browser.keys() if own.get(key) != browser.get(key))
            one, other = own.get(key), browser.get(key)
            if isinstance(one, list) and isinstance(other, list):
                one, other = next(((a, b) for a, b in zip(one, other, strict=False) if a != b), (one, other))
            if key == "codebook" and one and other:
                one, other = next(
                    ((a, b) for a, b in zip(one["fields"], other["fields"], strict=False) if a != b),
                    (one, other),
                )
            found.append(f"study {n}, {key}:\n  providers {str(one)[:900]}\n  browser   {str(other)[:900]}")
        if len(found) > 4:
            break
    return found


def test_random_studies_have_the_same_draft(tmp_path):
    studies = [plain_files(seed) for seed in range(250)] + [study(seed).files for seed in range(150)]
    assert differences(studies, tmp_path) == []
    own = [by_providers(files, tmp_path) for files in studies[:100]]
    assert sum("codebook" in one for one in own) > 50


@pytest.mark.background
@pytest.mark.skipif(not gist.FOLDER.is_dir(), reason="the background folder is not beside the project")
def test_a_real_trials_files_have_the_same_draft(tmp_path):
    files = tuple((path.name, path.read_bytes()) for path in (gist.IDENT, gist.EFFSEN, gist.AEV))
    assert differences([files[:1], files[1:2], files[2:], files], tmp_path) == []
