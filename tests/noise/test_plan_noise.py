"""Every number that a plan releases carries its own noise, of exactly the law that the plan declares.

The table is empty, so what a plan would reveal is its noise and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analytics import execute as module
from analytics.query.model import By, Release
from tests.analytics import test_execute as plans
from tests.mpcnode.test_noise import ALPHA, p_value
from tests.world import World

SCALES = Fraction(5), Fraction(8)
RUNS = 4
CELLS = 4096  # of each release and run
LIMIT = 5.0 / np.sqrt(RUNS * CELLS)  # of a correlation that should be zero


def counted(scale: Fraction) -> Release:
    """Counts in 32 by 16 by 8 cells."""
    return Release(
        cohort=("all",),
        by=tuple(
            By(column=name, groups=tuple((code,) for code in range(codes)))
            for name, codes in (("age", 32), ("bmi", 16), ("region", 8))
        ),
        monomials=((),),
        transform=((1,),),
        sensitivity=1,
        micro_epsilon=10**6,
        scale=scale,
    )


def samples(execute: Callable[..., Any], patch: pytest.MonkeyPatch) -> NDArray[np.int64]:
    """(release, all its cells) of the noise of several runs."""
    patch.setattr(plans, "execute", execute)
    plan = plans.plan_of("dp", 11, [64], [counted(scale) for scale in SCALES])
    found = []
    for seed in range(RUNS):
        world = World(seed)
        found.append(plans.outcome(world, plan, [plans.made_table(world.rng, 0)]))
    return np.array(found, dtype=np.int64).swapaxes(0, 1).reshape(len(SCALES), -1)


def every_number_has_its_own_noise(
    patch: pytest.MonkeyPatch, execute: Callable[..., Any] = module.execute
) -> None:
    """Assert law, scale and independence of the noise of all released numbers."""
    noise = samples(execute, patch)
    for sample, scale in zip(noise, SCALES, strict=True):
        assert np.abs(sample).any(), "no noise at all"
        assert p_value(sample, scale) > ALPHA, f"not the law of scale {scale}"
        assert p_value(sample, scale * Fraction(105, 100)) < p_value(sample, scale)
        for step in (1, 8, 128, CELLS):  # neighbours in each direction of the table, and the next run
            assert abs(np.corrcoef(sample[:-step], sample[step:])[0, 1]) < LIMIT, "cells share noise"
    assert abs(np.corrcoef(noise)[0, 1]) < LIMIT, "releases share noise"


def test_each_released_number_has_noise_of_its_own_and_of_the_declared_scale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every_number_has_its_own_noise(monkeypatch)
