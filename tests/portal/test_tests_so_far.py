"""How many hypothesis tests were released so far, in previews and beside answers."""

import json

import pytest

from . import factories

pytestmark = pytest.mark.django_db
TWO = "correlate(arm, site)\ncorrelate(arm, site) where age >= 60\nmean(age)"


@pytest.fixture
def book():
    made = factories.codebook()
    made["fields"].append({"name": "site", "type": "string", "categories": [{"value": "x"}, {"value": "y"}]})
    return made


@pytest.fixture
def dataset(book):
    return factories.dataset(book=book)


def integers(query):
    """Tables that look like some patients: counts that differ from cell to cell."""
    return [[40 + 7 * i for i in range(len(table))] for table in factories.zeros(query)]


def released(crew, *datasets, **how):
    query, _ = factories.running(*datasets, **how)
    for party in crew:
        assert party.post(party.result(query, integers=integers(query))).status_code == 200
    query.refresh_from_db()
    assert query.state == "RELEASED"
    return query


def so_far(caller, dataset, program=TWO):
    asked = {"program": program, "datasets": [dataset.pk], "epsilon": "1"}
    return caller.post("queries/preview/", asked).json()["tests_so_far"]


def test_a_preview_of_fresh_data_says_that_nothing_was_tested(as_, dataset):
    assert so_far(as_("analyst"), dataset) == {"analyst": 0, "dataset": 0}


def test_every_released_p_value_counts_for_its_analyst_and_for_the_data(as_, dataset, crew):
    query = released(crew, dataset, program=TWO)
    assert query.tests == 2
    body = as_("analyst").get(f"queries/{query.pk}/result/").json()
    assert body["tests_so_far"] == {"analyst": 2, "dataset": 2}
    assert all(g["p_holm"] >= g["p"] for s in body["statements"][:2] for g in s["groups"])
    assert so_far(as_("analyst"), dataset) == {"analyst": 2, "dataset": 2}
    assert so_far(as_("analyst2"), dataset) == {"analyst": 0, "dataset": 2}


def test_the_same_answer_again_is_no_further_test_of_the_data(as_, dataset, crew):
    released(crew, dataset, program=TWO)
    again = factories.query(dataset, program=TWO, analyst="analyst2")
    assert again.state == "RELEASED"
    body = json.loads(again.result.body)
    assert body["tests_so_far"] == {"analyst": 2, "dataset": 2}
    assert so_far(as_("analyst"), dataset) == {"analyst": 2, "dataset": 2}


def test_other_data_and_answers_without_p_values_do_not_count(as_, book, dataset, crew):
    other = factories.dataset(book=book)
    released(crew, other, program=TWO)
    released(crew, dataset, program="mean(age)")
    assert so_far(as_("analyst"), dataset) == {"analyst": 0, "dataset": 0}
    assert so_far(as_("analyst"), other) == {"analyst": 2, "dataset": 2}
