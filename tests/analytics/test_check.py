"""An answer is believed only if plan and figures follow from program, codebooks and signed integers."""

import copy
import json

import numpy as np
import pytest

from analytics.check import recomputed
from analytics.client import Unverified
from analytics.query.model import digest
from analytics.query.plan import DatasetFacts, compile
from analytics.query.schema import parse_codebook
from analytics.reference import evaluate
from analytics.statistics import figures
from tests.analytics.statistics import plans

PROGRAM = "mean(x) by arm\ncorrelate(arm, region)"
SCHEMA = parse_codebook(plans.CODEBOOK)
MANIFEST = {
    "type": "fourfold/1/manifest",
    "dataset": "d" * 32,
    "version": 1,
    "codebook_hash": SCHEMA.hash,
    "capacity": 1024,
    "policy": {"minimum_cohort": 11},
}
BODY = {"id": "d" * 32, "manifest": MANIFEST, "codebook": plans.CODEBOOK}


@pytest.fixture(scope="module")
def released():
    rng = np.random.default_rng(1)
    facts = [
        DatasetFacts(
            id="d" * 32, version=1, manifest_hash=digest(MANIFEST), capacity=1024, schema=SCHEMA,
            policy={"minimum_cohort": 11},
        )
    ]  # fmt: skip
    plan = compile(PROGRAM, facts, 10**6, "dp")
    integers = plans.noised(rng, plan, evaluate(plan, facts, [plans.table(rng, 700)]))
    body = {"plan_hash": plan.hash, "integers": integers, "statements": figures(plan, facts, integers)}
    return json.loads(json.dumps(body))


def check(result, program=PROGRAM, epsilon="1.0", mode="dp", body=BODY):
    recomputed(result, program, epsilon, mode, [body])


def test_an_honest_answer_passes_however_the_question_was_spelled(released):
    check(released)
    check(released, "average(X) by Arm; corr('ARM', Region)", "1")
    check(
        released,
        {
            "statements": [
                {"statistic": "mean", "columns": ["x"], "by": ["arm"]},
                {"statistic": "correlate", "columns": ["arm", "region"]},
            ]
        },
    )


@pytest.mark.parametrize(
    ("key", "changed"),
    [("value", lambda x: x + 1e-6), ("low", lambda x: None), ("n", lambda x: x + 1), ("suppressed", lambda x: 0),
     ("reason", lambda x: "fine"), ("by", lambda x: {}), ("by", lambda x: {"arm": "placebo"})],
)  # fmt: skip
def test_a_changed_figure_is_caught(released, key, changed):
    forged = copy.deepcopy(released)
    group = forged["statements"][0]["groups"][1]
    group[key] = changed(group[key])
    with pytest.raises(Unverified, match="figures shown"):
        check(forged)


def test_the_last_digits_of_another_machine_are_no_lie(released):
    elsewhere = copy.deepcopy(released)
    elsewhere["statements"][0]["groups"][1]["value"] *= 1 + 1e-12
    check(elsewhere)


def test_a_missing_or_added_group_is_caught(released):
    for change in (lambda groups: groups.pop(), lambda groups: groups.append(groups[0])):
        forged = copy.deepcopy(released)
        change(forged["statements"][0]["groups"])
        with pytest.raises(Unverified, match="figures shown"):
            check(forged)


def test_integers_of_another_shape_are_caught(released):
    for integers in ([], [[1]], [[1] * 6, [1] * 7], None, [["a"] * 6, [1] * 8]):
        with pytest.raises(Unverified):
            check(released | {"integers": integers})


@pytest.mark.parametrize(
    "other",
    [
        {"program": "mean(y) by arm\ncorrelate(arm, region)"},
        {"program": "mean(x) where arm == placebo"},
        {"epsilon": "2"},
        {"mode": "exact"},
        {"body": {**BODY, "manifest": {**MANIFEST, "version": 2}}},
        {"body": {**BODY, "manifest": {**MANIFEST, "policy": {"minimum_cohort": 1}}}},
        {"body": {**BODY, "codebook": {**plans.CODEBOOK, "capacity": 2048}}},
        {"body": {"id": "d" * 32}},
        {"program": "nonsense("},
        {"epsilon": "soon"},
    ],
)
def test_another_program_dataset_or_codebook_is_caught(released, other):
    with pytest.raises(Unverified):
        check(released, **other)
