"""One stack for all tests that only use it, with both hospitals' tables in it, for `dp` and for `exact` mode."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.running import ROOT, Running, run


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.timeout(600))


def codebook(mode: str, *, minimum_cohort: int | None = None, **more: Any) -> dict[str, Any]:
    """The samples' codebook with a policy for one mode; unless told otherwise exact cohorts may lie near: minimum 1."""
    book = json.loads((ROOT / "samples/codebook.json").read_text())
    policy = book["policy"] | {"modes": [mode]}
    if minimum_cohort is not None or mode == "exact":
        policy["minimum_cohort"] = minimum_cohort or 1
    return book | {"title": f"samples ({mode})", "policy": policy} | more


@dataclass(frozen=True)
class World:
    """A running stack and what is in it: datasets by mode, the truth of the sample questions, the tables' files."""

    stack: Running
    datasets: dict[str, list[str]]
    truth: list[dict[str, Any]]
    tables: list[Path]


@pytest.fixture(scope="session")
def tables(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("tables")
    done = run(["samples/generate.py", str(folder)])
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.split()]


@pytest.fixture(scope="session")
def truth(tables) -> list[dict[str, Any]]:
    return json.loads(run(["samples/truth.py", *map(str, tables)]).stdout)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    running = Running(tmp_path_factory.mktemp("stack") / "var")
    try:
        yield running.wait_ready()
    finally:
        running.end_somehow()


@pytest.fixture(scope="session")
def world(stack, tables, truth) -> World:
    datasets = {
        mode: [
            stack.upload(account, codebook(mode), table)
            for account, table in zip(("provider", "provider2"), tables, strict=True)
        ]
        for mode in ("dp", "exact")
    }
    return World(stack, datasets, truth, tables)
