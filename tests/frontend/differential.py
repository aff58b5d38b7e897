"""The same studies through both implementations: what providers' code makes of one, in the form of `studies.mjs`."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analytics.query.errors import CodebookRejected
from analytics.query.model import canonical
from analytics.query.schema import load_codebook, parse_codebook
from providers.bundle import FIRST
from providers.codebook import encode
from providers.counts import counts_of
from providers.report import Report
from providers.study import sheets_of
from providers.suspicion import suspect_values
from providers.table import read_table
from tests.frontend.make import CREATED, dataset_of, party_set, pem, portal_sign, provider_key
from tests.frontend.node import node


@dataclass(frozen=True)
class Case:
    name: str
    codebook: str
    files: tuple[tuple[str, bytes], ...]


def by_browser(cases: Sequence[Case], timeout: float = 110) -> list[dict[str, Any]]:
    """The answers of the browser's modules, in the order of the cases."""
    keys = {
        "provider_pem": pem(provider_key()),
        "party_set": party_set(),
        "portal_sign": portal_sign(),
        "created": CREATED,
    }
    lines = [
        json.dumps(
            {
                "codebook": case.codebook,
                "files": [[name, base64.b64encode(content).decode()] for name, content in case.files],
                "keys": keys,
            }
        )
        for case in cases
    ]
    said = node(str(Path(__file__).with_name("studies.mjs")), text="\n".join(lines), timeout=timeout)
    return [json.loads(line) for line in said.splitlines()]


def by_providers(case: Case) -> dict[str, Any]:
    """The same of providers' code."""
    try:
        raw = load_codebook(case.codebook)
        schema = parse_codebook(raw)
    except CodebookRejected as wrong:
        return {
            "rejected": [
                {"place": p["where"], **{k: p[k] for k in p if k != "where"}} for p in wrong.problems
            ]
        }
    report = Report()
    for problem in schema.warnings:
        message = f"{problem['where']}: {problem['message']}"
        report.warning(problem["rule"], message, problem["remedy"], file="codebook")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name, _ in case.files]
        for path, (_, content) in zip(paths, case.files, strict=True):
            path.write_bytes(content)
        wanted = [(path, sheet) for path in paths for sheet in sheets_of(schema, path.name)]
        tables = [table for path, sheet in wanted if (table := read_table(path, report, sheet)) is not None]
    said: dict[str, Any] = {"counts": None, "columns": None, "manifest": None, "hash": schema.hash}
    if len(tables) == len(wanted):
        traces: dict = {}
        encoded = encode(schema, tables, report, traces)
        suspect_values(schema, encoded, report)
        said["counts"] = json.loads(json.dumps(counts_of(schema, encoded, traces)))
        said["columns"] = {
            name: [column.codes.tolist(), column.present.astype(int).tolist()]
            for name, column in encoded.columns.items()
        }
        if not report.errors:
            dataset = dataset_of(case.codebook, encoded, FIRST)
            said["manifest"] = canonical(dataset.manifest).decode()
            said["signature"] = dataset.signature
    return {**said, "problems": [problem.public() for problem in report.problems]}


def differences(cases: Sequence[Case], timeout: float = 110) -> list[str]:
    """Where the two differ, at most a few, in words; empty if they agree on everything."""
    found = []
    for case, browser in zip(cases, by_browser(cases, timeout), strict=True):
        own = by_providers(case)
        for one in (own, browser):  # an object of JavaScript has keys that are numbers first
            if "rejected" in one:
                one["rejected"].sort(key=str)
        for key in sorted(own.keys() | browser.keys()):
            if own.get(key) != browser.get(key):
                found.append(f"{case.name}, {key}:\n  providers {_first(own.get(key), browser.get(key))}")
        if len(found) > 5:
            break
    return found


def _first(own: Any, browser: Any) -> str:
    """The first entry that differs of two lists or objects, or the two."""
    if isinstance(own, list) and isinstance(browser, list):
        for n, (one, other) in enumerate(zip(own, browser, strict=False)):
            if one != other:
                return f"[{n}] {_first(one, other)}"
        return f"has {len(own)}, browser {len(browser)}: {(own[len(browser) :] or browser[len(own) :])[:1]}"
    if isinstance(own, dict) and isinstance(browser, dict):
        for key in own.keys() | browser.keys():
            if own.get(key) != browser.get(key):
                return f"[{key!r}] {_first(own.get(key), browser.get(key))}"
    return f"{str(own)[:600]}\n  browser   {str(browser)[:600]}"
