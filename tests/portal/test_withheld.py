"""Exact answers of which nothing is shown: said in the same words to all, counted, and reviewed before the next."""

import json

import pytest

from portal.queries import actions
from portal.queries.models import Query
from portal.queries.withheld import FOR_REVIEW, REVIEW_AFTER, withheld_so_far

from . import factories
from .test_admin import WAITING, logged_in

pytestmark = pytest.mark.django_db


def withheld(crew, dataset, age, analyst="analyst"):
    query, _ = factories.running(
        dataset, program=f"count() where age >= {age}", mode="exact", analyst=analyst
    )
    for party in crew:
        assert party.post(party.result(query, integers=[[2, 0]])).status_code == 200
    return Query.objects.get(pk=query.pk)


def test_an_answer_that_is_withheld_says_for_review_and_no_rule(as_, crew):
    query = withheld(crew, factories.dataset(), 60)
    assert (query.state, query.code) == ("RELEASED", FOR_REVIEW)
    body = as_("analyst").get(f"queries/{query.pk}/result/").json()
    (group,) = body["statements"][0]["groups"]
    assert group["suppressed"] and group["value"] is None
    assert group["reason"].startswith("withheld for review")
    assert as_("analyst").get(f"queries/{query.pk}/").json()["code"] == FOR_REVIEW


def test_an_answer_that_is_shown_has_no_code(crew):
    query, _ = factories.running(factories.dataset(), mode="exact")
    for party in crew:
        party.post(party.result(query, integers=[[1, 40]]))
    query.refresh_from_db()
    assert (query.state, query.code) == ("RELEASED", "")


def test_withheld_answers_are_counted_by_analyst_and_by_patients(crew):
    one, other = factories.dataset(), factories.dataset()
    withheld(crew, one, 60)
    withheld(crew, one, 61, analyst="analyst2")
    withheld(crew, other, 62)
    assert withheld_so_far(factories.account("analyst"), [one]) == {"analyst": 1, "dataset": 2}
    assert withheld_so_far(factories.account("analyst"), [one, other]) == {"analyst": 2, "dataset": 3}


def test_from_the_third_on_approving_needs_a_reason_and_the_page_says_so(crew):
    dataset = factories.dataset()
    for k in range(REVIEW_AFTER):
        withheld(crew, dataset, 60 + k)
    next_one = factories.query(dataset, program="count() where age >= 70", mode="exact")
    page = logged_in("operator").get(WAITING).content.decode()
    assert "3 of this analyst, 3 of all" in page and "Approving needs a reason" in page
    operator = factories.account("operator")
    with pytest.raises(actions.ReasonNeeded):
        actions.approve(query=next_one, by=operator)
    actions.approve(query=next_one, by=operator, reason="the cohorts were agreed anew")
    free = factories.query(dataset, program="count() where age >= 71", mode="exact", analyst="analyst2")
    actions.approve(query=free, by=operator)


def test_the_same_program_again_is_withheld_again_and_counted_once(crew):
    dataset = factories.dataset()
    first = withheld(crew, dataset, 60)
    again = factories.query(dataset, program="count() where age >= 60", mode="exact")
    assert (again.state, again.code, again.stored_from) == ("RELEASED", FOR_REVIEW, first)
    assert withheld_so_far(factories.account("analyst"), [dataset])["analyst"] == 1
    assert json.loads(again.result.body)["integers"] == [[2, 0]]
