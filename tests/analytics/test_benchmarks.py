"""The benchmarks measure right answers: each program on four parties in memory, and one through the whole harness."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from benchmarks import harness, latency
from benchmarks.__main__ import PROGRAMS
from mpcnode.driver import run
from tests.redis_server import redis_url
from tests.world import World, opened

__all__ = ["redis_url"]  # a fixture, used by name

TABLES = [
    (f"benchmarks.programs.{name}", number)
    for name in PROGRAMS
    for number in range(len(importlib.import_module(f"benchmarks.programs.{name}").TABLES))
] + [(latency.__name__, number) for number in range(len(latency.TABLES))]


@pytest.mark.parametrize(("module", "number"), TABLES)
def test_a_program_computes_what_numpy_says(module, number):
    size = 1 if module.endswith("noise") else 200
    prepare = importlib.import_module(module).TABLES[number].prepare
    world = World(1)
    works = [prepare(p, size) for p in range(world.n)]
    world.connect()
    results = world.outcomes(lambda session: run(session, works[session.party].program(session)))
    if not works[0].words:
        return
    values = opened(results)
    assert values.shape == (works[0].words,)
    assert harness.difference(values, np.asarray(works[0].expected()), works[0].within) is None
    assert works[0].rounds in (None, world.sessions[0].rounds + 2)


def test_a_wrong_answer_is_noticed_beyond_its_noise():
    answer = np.array([5, 2**64 - 3], dtype=np.uint64)
    assert harness.difference(answer, np.array([5, -3]), 0) is None
    assert harness.difference(answer, np.array([4, -1]), np.array([1, 2])) is None
    assert "expected [-1]" in str(harness.difference(answer, np.array([4, -1]), np.array([1, 1])))


def test_the_harness_measures_four_processes_over_redis(redis_url):
    row = harness.measure(redis_url, "benchmarks.programs.seed", 0, 50, 2)
    assert len(row.walls) == 2
    assert row.rounds == 3
    assert row.sent > 0
    assert row.cpu > 0
