"""Whatever integers come back, figures are figures: same keys, finite numbers, no exception."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.statistics import figures
from tests.analytics.statistics import plans
from tests.analytics.statistics.plans import FIELDS
from tests.analytics.statistics.test_dp import ASKED, skeleton

X, Y, ARM, REGION = FIELDS
EXACT = {
    "count() by region": plans.count("exact", by=[plans.by("region", 4)]),
    "proportion(arm, placebo)": plans.count("exact", by=[plans.by("arm", 2)]),
    "mean(x)": plans.moments(X, mode="exact"),
    "sum(x)": plans.moments(X, 1, mode="exact"),
    "var(x)": plans.moments(X, mode="exact"),
    "sd(x)": plans.moments(X, mode="exact"),
    "se(x)": plans.moments(X, mode="exact"),
    "correlate(x, y)": plans.pair(X, Y, "exact"),
    "correlate(arm, region)": plans.count("exact", by=[plans.by("arm", 2), plans.by("region", 4)]),
}
CASES = [("dp", text, release) for text, release in ASKED.items()]
CASES += [("exact", text, release) for text, release in EXACT.items()]

near_zero = st.integers(-50, 5000)
simplex_like = st.integers(-(2**20), 2**32)
anything = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(("mode", "text", "release"), CASES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_integers_give_finite_numbers_in_range_under_the_same_keys(mode, text, release, data):
    plan = plans.plan(text, release, mode, data.draw(st.sampled_from([1, 11])))
    size = release.cells * release.values_per_cell(mode)
    kind = data.draw(st.sampled_from([near_zero, simplex_like, anything, st.sampled_from([0, 1, 2, 5])]))
    integers = data.draw(st.lists(kind, min_size=size, max_size=size))
    if mode == "exact":
        for i in range(0, size, release.values_per_cell(mode)):
            integers[i] = data.draw(st.sampled_from([0, 1, 1, 1, 2]))
    (statement,) = figures(plan, plans.facts(), [integers])
    (nothing,) = figures(plan, plans.facts(), [[0] * size])
    assert skeleton(statement) == skeleton(nothing)
    json.dumps(statement, allow_nan=False)
    for group in statement["groups"]:
        check(group, statement["statistic"])


def check(group, statistic):
    value, low, high = group["value"], group["low"], group["high"]
    if value is None:
        assert low is high is None
        assert group["reason"]
    elif low is not None:
        assert low <= value <= high
    within = {"mean": (0, 100), "sd": (0, 75), "var": (0, 75**2), "proportion": (0, 1), "correlate": (-1, 1)}
    least, most = within.get(statistic, (-math.inf, math.inf))
    for number in (value, low, high):
        assert number is None or least <= number <= most or (statistic in ("sd", "se", "var") and number >= 0)
    if statistic == "count" and value is not None:
        assert isinstance(value, int) and 0 <= low <= high <= 4096
    if group["suppressed"]:
        assert value is group["n"] is None
