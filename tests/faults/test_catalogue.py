"""The table of README.md and the tests agree: every number is there, every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = {*range(1, 19), 19, 21, 22}


def rows():
    """(numbers, test, when it runs) of each line of the table."""
    for line in Path(__file__).with_name("README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[\d, ]+", cells[0]):
            yield {int(number) for number in cells[0].split(",")}, cells[3].strip("`"), cells[4]


def function(test):
    """The definition of a test, and its marks with those of its module, as text."""
    path, _, name = test.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    (found,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    marks = [ast.unparse(mark) for mark in found.decorator_list]
    marks += [
        ast.unparse(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    return found, marks


def test_every_number_of_the_catalogue_is_in_the_table():
    assert set().union(*(numbers for numbers, _, _ in rows())) == NUMBERS


@pytest.mark.parametrize(("test", "runs"), sorted({(test, runs) for _, test, runs in rows()}))
def test_a_test_that_the_table_names_exists_and_runs_when_it_says(test, runs):
    _, marks = function(test)
    whole = any(re.match(r"pytest\.mark\.nightly|\[.*pytest\.mark\.nightly", mark) for mark in marks)
    part = any("parametrize" in mark and "nightly" in mark for mark in marks)
    assert runs == ("nightly" if whole else "both" if part else "normal")


def test_every_fault_test_is_in_the_table_and_says_its_numbers():
    named = {test: numbers for numbers, test, _ in rows()}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if path.name == Path(__file__).name:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                test = f"tests/faults/{path.name}::{node.name}"
                assert test in named, test
                said = re.match(r"Numbers? ([\d, and]+)", ast.get_docstring(node) or "")
                assert said, test
                assert {int(number) for number in re.findall(r"\d+", said[1])} == named[test], test
