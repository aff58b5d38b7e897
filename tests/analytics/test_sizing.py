"""The page about sizes says what plans cost, and the memory it promises is the layout's."""

from __future__ import annotations

import pytest

from analytics.query import cost
from benchmarks import sizing
from benchmarks.questions import plan_of


def test_the_figures_of_the_page_are_those_of_the_plans():
    page = sizing.PAGE.read_text()
    assert sizing.written(page) == page, "run `python -m benchmarks.sizing --write`"


@pytest.mark.parametrize("rows", [1, 64, 65, 10_000])
def test_a_party_holds_three_components_of_every_bit_and_of_its_presence(rows):
    plan = plan_of("count() where age > 60", rows)
    words = -(-rows // 64)
    assert sizing.planes_bytes(plan, rows) == 3 * 8 * words * (1 + 8 + 1)


def test_the_model_adds_rounds_bytes_and_computation():
    plan = plan_of("sd(value) by arm", 10_000)
    spent = cost.estimate(plan)
    network = sizing.Network("test", 0.5, 8.0)  # half a second a round, a second a byte
    computing = spent.rounds * cost.ROUND_SECONDS + spent.bytes_per_party * cost.BYTE_SECONDS
    assert sizing.seconds(plan, network) == pytest.approx(
        0.5 * spent.rounds + spent.bytes_per_party + computing
    )


def test_redis_is_the_narrowest_place_where_lines_are_fast_enough():
    plan = plan_of("sd(value) by arm", 10_000)
    at_once = sizing.Network("test", 0.0, 1e15)
    waiting = sizing.seconds(plan, at_once) - cost.estimate(plan).rounds * cost.ROUND_SECONDS
    redis = 8 * cost.REDIS_BYTES_SECONDS + cost.BYTE_SECONDS
    assert waiting == pytest.approx(redis * cost.estimate(plan).bytes_per_party)
