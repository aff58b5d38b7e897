"""From text to figures through the real compiler, against pandas on the same rows."""

import numpy as np
import pandas as pd
import pytest

from analytics.query.plan import DatasetFacts, compile
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate
from analytics.statistics import figures
from tests.analytics.statistics import plans
from tests.analytics.statistics.plans import CODEBOOK, FIELDS

X, Y, ARM, REGION = FIELDS
PROGRAM = """
average(x, northeast)
std(X, "North East") where y > 0
sum(x) by arm
var(y)
count()
count(x) where arm is missing
count(y) where not (x < 50) by region, arm
proportion(region, southwest) by arm
correlate(x, y) where arm == imatinib
correlate(region, arm)
"""


def dataset(number=1, minimum=11):
    schema = parse_codebook(CODEBOOK)
    return DatasetFacts(
        id=f"{number:032x}",
        version=1,
        manifest_hash=f"{number:064x}",
        capacity=1024,
        schema=schema,
        policy={"minimum_cohort": minimum},
    )


def truth(table):
    """Each statement by pandas, in the order of the groups; as here, NaN < 50 is false and its `not` true."""
    frame = pd.DataFrame({c: pd.Series(codes).where(present) for c, (codes, present) in table.items()})
    frame["x"] = frame["x"] / 10
    frame["y"] = frame["y"] / 20 - 50
    northeast = frame[frame["region"] == 0]
    imatinib = frame[frame["arm"] == 1]
    high = frame[~(frame["x"] < 50)].groupby(["region", "arm"])["y"].count()
    of_arm = frame.dropna(subset=["region"]).groupby("arm")["region"]
    crossed = pd.crosstab(frame["region"], frame["arm"])
    independent = np.outer(crossed.sum(axis=1), crossed.sum(axis=0)) / crossed.to_numpy().sum()
    chi2 = ((crossed - independent) ** 2 / independent).to_numpy().sum()
    return [
        [northeast["x"].mean()],
        [northeast[northeast["y"] > 0]["x"].std()],
        frame.groupby("arm")["x"].sum().tolist(),
        [frame["y"].var()],
        [len(frame)],
        [frame[frame["arm"].isna()]["x"].count()],
        high.tolist(),
        [(part == 3).mean() for _, part in of_arm],
        [imatinib["x"].corr(imatinib["y"])],
        [np.sqrt(chi2 / crossed.to_numpy().sum())],
    ]


@pytest.fixture(scope="module")
def table():
    return plans.table(np.random.default_rng(11), 900)


def test_exact_mode_is_pandas_to_nine_digits(table):
    facts = [dataset(minimum=1)]
    plan = compile(PROGRAM, facts, 10**6, "exact")
    statements = figures(plan, facts, evaluate(plan, facts, [table]))
    for statement, values in zip(statements, truth(table), strict=True):
        assert [g["value"] for g in statement["groups"]] == pytest.approx(values, rel=1e-9, abs=1e-9)


def test_dp_mode_without_the_noise_has_the_same_values(table):
    facts = [dataset()]
    plan = compile(PROGRAM, facts, 5 * 10**6, "dp")
    statements = figures(plan, facts, evaluate(plan, facts, [table]))
    for statement, values in zip(statements, truth(table), strict=True):
        assert [g["value"] for g in statement["groups"]] == pytest.approx(values, rel=1e-9, abs=1e-9)
        assert float(statement["epsilon"]) == 0.5


def test_dp_mode_tells_the_truth_within_three_intervals(table):
    facts = [dataset()]
    plan = compile(PROGRAM, facts, 5 * 10**6, "dp")
    integers = plans.noised(np.random.default_rng(1), plan, evaluate(plan, facts, [table]))
    for statement, values in zip(figures(plan, facts, integers), truth(table), strict=True):
        for group, value in zip(statement["groups"], values, strict=True):
            middle, half = (group["low"] + group["high"]) / 2, (group["high"] - group["low"]) / 2
            assert abs(value - middle) <= 3 * half


def test_two_hospitals_pool_to_the_figures_of_their_rows_together(table):
    halves = [
        {c: (codes[part], present[part]) for c, (codes, present) in table.items()}
        for part in (slice(0, 400), slice(400, 900))
    ]
    facts = [dataset(2, 1), dataset(1, 1)]
    plan = compile(PROGRAM, facts, 10**6, "exact")
    pooled = figures(plan, facts, evaluate(plan, facts, halves))
    for statement, values in zip(pooled, truth(table), strict=True):
        assert [g["value"] for g in statement["groups"]] == pytest.approx(values, rel=1e-9, abs=1e-9)


def test_a_level_in_the_arguments_is_told_as_a_condition():
    facts = [dataset()]
    plan = compile("average(x, northeast)", facts, 10**6, "exact")
    (statement,) = figures(plan, facts, [[0] * plan.releases[0].values_per_cell("exact")])
    assert statement["columns"] == ["x"]
    assert "North East" in statement["where"]
