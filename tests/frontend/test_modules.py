"""The browser's modules: their own tests in node, and what they share with the code of providers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.frontend.make import ROOT, written
from tests.frontend.node import needs_node, node


@needs_node
def test_the_modules_pass_their_own_tests():
    node("--test", "tests/")


@pytest.mark.parametrize("path", list(written()), ids=lambda path: path.name)
def test_what_both_sides_share_is_made_by_this_code(path: Path):
    made = written()[path]
    assert path.read_text(encoding="utf-8") == made, "make it again: python -m tests.frontend.make"


def test_no_lock_file_names_a_registry():
    lock = json.loads((ROOT / "frontend/package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []


def test_a_library_of_the_pages_comes_with_its_licence():
    folder = ROOT / "platform/portal/web/static/vendor"
    legal = (folder / "LEGAL.txt").read_text()
    assert [path.name for path in folder.iterdir() if path.suffix == ".js" and path.name not in legal] == []
    assert "Permission is hereby granted" in legal
