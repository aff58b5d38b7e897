"""Statements whose tables use grids, run by four parties on shares: the integers are those of the clear rows."""

import numpy as np

from analytics.execute import Table
from analytics.query.plan import compile
from analytics.reference import evaluate
from analytics.render import answer
from analytics.statistics import figures
from mpcnode.ring import XOR, pack, words_for
from tests.analytics.statistics import plans
from tests.analytics.statistics.asking import facts
from tests.analytics.statistics.plans import FIELDS
from tests.analytics.test_execute import played
from tests.world import World

PROGRAM = "table_one(x, region) by arm\nboxplot(x) by arm\nhistogram(y, -20, 0, 30.5)\nmedian(y) where x < 60"


def shared(world, clear, capacity):
    """Each party's Table of the columns of `plans`."""
    padding = words_for(capacity) * 64 - len(clear["x"][0])
    planes = {"": [np.arange(words_for(capacity) * 64) < len(clear["x"][0])]}
    for field in FIELDS:
        codes, present = (np.pad(column, (0, padding)) for column in clear[field.name])
        planes[field.name] = [codes >> k & 1 != 0 for k in range(field.bits)] + [present]
    shares = {name: world.share(pack(np.array(bits)), XOR) for name, bits in planes.items()}
    return [Table(capacity, {name: s[p].components for name, s in shares.items()}) for p in range(world.n)]


def test_a_baseline_table_and_a_box_plot_on_shares_are_those_of_the_clear_rows():
    world, dataset = World(5), facts(capacity=1024)
    clear = plans.table(world.rng, 400)
    plan = compile(PROGRAM, [dataset], 10**6, "exact")
    got = played(world, plan, [shared(world, clear, dataset.capacity)])
    assert got == evaluate(plan, [dataset], [clear])
    said = figures(plan, [dataset], got)
    assert "median [quartiles]" in answer({"mode": "exact", "statements": said})
