"""Policies: the provider's signed word on mode, statistics, epsilon and time, from both sides."""

import pytest

from analytics.query.plan import compile
from analytics.query.policy import PolicyRefused, check, expiry
from tests.analytics.query.studies import CODEBOOK, a_codebook, some_facts

DAY = 86400
BEFORE = expiry("2030-01-01") - 1


def study(**changes):
    return some_facts(a_codebook(policy={**CODEBOOK["policy"], **changes}))


def decide(facts, program="count()", micro=1_000_000, mode="dp", now=BEFORE):
    check(compile(program, [facts], micro, mode), [facts], now)


def refusal(*args, **kwargs):
    with pytest.raises(PolicyRefused) as caught:
        decide(*args, **kwargs)
    return caught.value


def test_a_policy_holds_until_its_last_day_has_passed_in_utc():
    assert expiry("1970-01-01") == DAY
    decide(study(), now=BEFORE)
    error = refusal(study(), now=BEFORE + 1)
    assert error.code == "expired"
    assert "2030-01-01" in str(error)


def test_only_modes_that_the_provider_signed_are_allowed():
    decide(study(modes=["dp"]))
    decide(study(modes=["exact"]), mode="exact", micro=0)
    assert refusal(study(modes=["dp"]), mode="exact").code == "mode_not_allowed"
    assert refusal(study(modes=["exact"])).code == "mode_not_allowed"


def test_only_statistics_that_the_provider_signed_are_allowed():
    facts = study(statistics=["count", "average"])
    decide(facts, "count(); mean(bmi)")
    error = refusal(facts, "count(); sd(bmi)")
    assert error.code == "statistic_not_allowed"
    assert "sd" in str(error)
    assert "count, mean" in str(error)


def test_one_attempt_costs_no_more_than_the_provider_allows():
    decide(study(epsilon_per_query="0.5"), micro=500_000)
    error = refusal(study(epsilon_per_query="0.5"), micro=500_001)
    assert error.code == "epsilon_per_query"
    assert "0.500001" in str(error)
    decide(study(epsilon_per_query="0.5"), "epsilon 0.5; count()", micro=1_000_000)
    decide(study(epsilon_per_query="0.5"), micro=20_000_000, mode="exact")


def test_every_dataset_of_a_plan_is_asked():
    first, second = (
        study(),
        some_facts(a_codebook(policy={**CODEBOOK["policy"], "modes": ["dp"]}), id="cd" * 16),
    )
    plan = compile("count()", [first, second], 0, "exact")
    with pytest.raises(PolicyRefused, match=second.id):
        check(plan, [first, second], BEFORE)


@pytest.mark.parametrize("changes", [{"version": 2}, {"manifest_hash": "00" * 32}, {"id": "ee" * 16}])
def test_facts_of_another_manifest_are_refused(changes):
    plan = compile("count()", [some_facts()], 1_000_000, "dp")
    with pytest.raises(PolicyRefused) as caught:
        check(plan, [some_facts(**changes)], BEFORE)
    assert caught.value.code == "facts_differ"
