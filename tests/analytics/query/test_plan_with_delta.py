"""A plan with delta: the same tables with less noise, another hash, and a policy that must allow it."""

import json
import subprocess
import sys
import time
from fractions import Fraction
from math import comb, exp

import pytest

from analytics.privacy import mechanisms
from analytics.privacy.accountant import ATTO
from analytics.query import policy
from analytics.query.describe import describe
from analytics.query.errors import CodebookRejected, PolicyRefused, ProgramRejected
from analytics.query.order import Order, OrderDataset, OrderRejected
from analytics.query.plan import compile
from analytics.query.resolve import DatasetFacts
from analytics.query.schema import parse_codebook

MILLIONTH = 10**12


def facts(**terms):
    book = {
        "primaryKey": "id",
        "capacity": 512,
        "fields": [
            {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 127}, "resolution": 1},
            {"name": "arm", "type": "string", "categories": [{"value": "a"}, {"value": "b"}]},
        ],
        "policy": {"epsilon": "10", "epsilon_per_query": "5", "expires": "2100-01-01", "delta": "1e-6", **terms},
    }  # fmt: skip
    schema = parse_codebook({**book, "policy": {k: v for k, v in book["policy"].items() if v is not None}})
    return DatasetFacts(
        id="a" * 32, version=1, manifest_hash="b" * 64, capacity=512, schema=schema, policy=schema.policy
    )


def program(tables):
    return "\n".join(f"count() where age >= {k}" for k in range(1, tables + 1))


def lost(epsilon_of_a_table, tables, epsilon):
    p = 1 / (1 + exp(-epsilon_of_a_table))
    return sum(
        comb(tables, k) * p**k * (1 - p) ** (tables - k)
        * max(0.0, 1 - exp(epsilon - (2 * k - tables) * epsilon_of_a_table))
        for k in range(tables + 1)
    )  # fmt: skip


def test_less_noise_for_the_same_charge_and_within_its_delta():
    pure = compile(program(40), [facts()], 1_000_000, "dp")
    plan = compile(program(40), [facts()], 1_000_000, "dp", MILLIONTH)
    assert (plan.micro_epsilon, plan.atto_delta) == (1_000_000, MILLIONTH)
    assert all(a.scale < 0.66 * b.scale for a, b in zip(plan.releases, pure.releases, strict=True))
    by_noise = [release.sensitivity / float(release.scale) for release in plan.releases]
    assert len(set(by_noise)) == 1
    assert lost(by_noise[0], 40, 1) <= 1e-6 < lost(by_noise[0] / 0.9, 40, 1)
    assert plan.loss.squares == sum(r.micro_epsilon**2 for r in plan.releases)


def test_a_program_whose_noise_is_nine_tenths_of_its_scale_is_caught(monkeypatch):
    """A mutant of the mechanism: the plan looks whole, and what its noise gives away is above the delta it charges."""
    honest = mechanisms.scale
    monkeypatch.setattr(mechanisms, "scale", lambda *arguments: honest(*arguments) * Fraction(9, 10))
    plan = compile(program(40), [facts()], 1_000_000, "dp", MILLIONTH)
    by_noise = {release.sensitivity / float(release.scale) for release in plan.releases}
    assert len(by_noise) == 1 and lost(by_noise.pop(), 40, 1) > 5e-6


def test_without_delta_a_plan_and_an_order_are_the_bytes_that_they_always_were():
    plan = compile(program(13), [facts()], 1_000_000, "dp")
    assert "atto_delta" not in plan.public()
    with_delta = compile(program(13), [facts()], 1_000_000, "dp", MILLIONTH)
    assert with_delta.public()["atto_delta"] == MILLIONTH
    assert with_delta.hash != plan.hash


def test_the_same_plan_in_another_process():
    asked = """
import sys; sys.path.insert(0, ".")
from tests.analytics.query.test_plan_with_delta import *
print(compile(program(30) + "\\nmean(age) by arm primary", [facts()], 2_000_000, "dp", MILLIONTH).hash)
"""
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    mine = compile(program(30) + "\nmean(age) by arm primary", [facts()], 2_000_000, "dp", MILLIONTH)
    assert said.strip() == mine.hash


def test_statements_keep_the_proportions_of_their_epsilons():
    text = program(20) + "\nmean(age) epsilon 0.4"
    plan = compile(text, [facts()], 1_000_000, "dp", MILLIONTH)
    one, many = plan.releases[-1].micro_epsilon, plan.releases[0].micro_epsilon
    assert one / many == pytest.approx(0.4 / 0.03, rel=0.01)


@pytest.mark.parametrize(
    ("tables", "mode", "delta", "code"),
    [(12, "dp", MILLIONTH, "delta_not_offered"), (13, "exact", MILLIONTH, "delta_in_exact_mode"),
     (13, "dp", -1, "delta_invalid"), (13, "dp", True, "delta_invalid"), (13, "dp", 1, "delta_too_small")],
)  # fmt: skip
def test_what_gets_no_delta_is_told_why(tables, mode, delta, code):
    with pytest.raises(ProgramRejected) as refused:
        compile(program(tables), [facts(modes=["dp", "exact"])], 1_000_000, mode, delta)
    assert refused.value.code == code


def test_a_table_that_two_statements_read_is_one_of_them():
    text = program(11) + "\nmean(age)\nsd(age)"  # thirteen statements, twelve tables
    with pytest.raises(ProgramRejected, match="this one has 12"):
        compile(text, [facts()], 1_000_000, "dp", MILLIONTH)


def test_a_policy_allows_the_delta_that_its_provider_signed_and_no_more():
    def asked(terms, delta):
        fact = facts(**terms)
        policy.check(compile(program(13), [fact], 1_000_000, "dp", delta), [fact], int(time.time()))

    asked({}, MILLIONTH)
    asked({"delta": None}, 0)
    for terms, delta, code in (
        ({}, MILLIONTH + 1, "delta_above_policy"),
        ({"delta": None}, MILLIONTH, "delta_not_allowed"),
    ):
        with pytest.raises(PolicyRefused) as refused:
            asked(terms, delta)
        assert refused.value.code == code


@pytest.mark.parametrize("value", ["1e-6", "0.000001", 1e-06])
def test_a_codebook_says_delta_as_text_or_number(value):
    assert facts(delta=value).policy["atto_delta"] == MILLIONTH


def test_a_codebook_without_delta_has_the_policy_that_it_always_had():
    assert set(facts(delta=None).policy) == {
        "micro_epsilon", "micro_epsilon_per_query", "minimum_cohort", "modes", "statistics", "expires"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "rule"), [("0", "delta_invalid"), ("0.001", "delta_too_large"), ("x", "delta_invalid"), ("1e-12", "delta_invalid")]
)  # fmt: skip
def test_a_codebook_with_another_delta_is_rejected(value, rule):
    with pytest.raises(CodebookRejected) as refused:
        facts(delta=value)
    assert [(p["where"], p["rule"]) for p in refused.value.problems] == [("policy.delta", rule)]


def test_delta_is_below_one_in_the_capacity():
    """Who may fail one patient in a table of n fails somebody about once in n."""
    book = {
        "primaryKey": "id",
        "capacity": 2**20,
        "fields": [{"name": "arm", "type": "string", "categories": [{"value": "a"}]}],
        "policy": {"epsilon": "10", "expires": "2100-01-01", "delta": "1e-6"},
    }
    with pytest.raises(CodebookRejected) as refused:
        parse_codebook(book)
    [problem] = refused.value.problems
    assert (problem["rule"], "1048576" in problem["message"]) == ("delta_too_large", True)
    book["policy"]["delta"] = "9e-7"
    assert parse_codebook(book).policy["atto_delta"] * 2**20 < ATTO


def order(**changes):
    whole = {
        "query": "01234567-89ab-4cde-8f01-23456789abcd", "nonce": "0" * 32, "program": program(13),
        "plan_hash": "c" * 64, "mode": "dp", "micro_epsilon": 1_000_000, "max_attempts": 2, "minimum_cohort": 11,
        "datasets": (OrderDataset(id="a" * 32, version=1, manifest_hash="b" * 64),), "analyst": "analyst",
        "not_before": 1, "expires": 2,
    }  # fmt: skip
    return Order(**{**whole, **changes})


def test_an_order_carries_delta_where_there_is_one():
    assert "atto_delta" not in order().public()
    said = json.loads(json.dumps(order(atto_delta=MILLIONTH).public()))
    assert said["atto_delta"] == MILLIONTH
    assert Order.parse(said) == order(atto_delta=MILLIONTH)
    assert Order.parse(json.loads(json.dumps(order().public()))).atto_delta == 0
    for wrong in (0, -1, 1.5, "1", True, None):
        with pytest.raises(OrderRejected):
            Order.parse({**said, "atto_delta": wrong})
    with pytest.raises(OrderRejected):
        order(mode="exact", micro_epsilon=0, atto_delta=1)


def test_the_plan_says_what_delta_means():
    fact = facts()
    told = describe(compile(program(40), [fact], 1_000_000, "dp", MILLIONTH), [fact])
    assert (told["epsilon"], told["delta"], told["worst_delta"]) == ("1.000000", "1e-6", "2e-6")
    assert "except with a probability of about 1e-6" in told["means"]
    assert told["composition"]["charged"] == {"epsilon": "1.000000", "delta": "1e-6"}
    assert float(told["composition"]["sum"]) > 1.5
    assert float(told["composition"]["pld"]) == pytest.approx(1, rel=0.003)
    assert sum(t["share"] for t in told["tables"]) == pytest.approx(1)
    pure = describe(compile(program(40), [fact], 1_000_000, "dp"), [fact])
    assert (pure["delta"], "except" in pure["means"], "charged" in pure["composition"]) == ("0", False, False)
