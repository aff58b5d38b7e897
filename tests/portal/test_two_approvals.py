"""Approval by two: the first yes is kept and nothing moves; the second, of another operator, approves."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from django.test import Client

from portal.accounts.actions import ensure_account
from portal.accounts.models import User
from portal.approvals.models import FirstApproval
from portal.approvals.rules import NotAllowed
from portal.audit.models import Event
from portal.budgets.models import Line
from portal.queries import actions
from portal.queries.states import IllegalMove

from . import factories


@pytest.fixture(autouse=True)
def two(settings):
    settings.FOURFOLD_TWO_APPROVALS = True


def operator(name="operator2", organisation="Platform"):
    return ensure_account(name, "operator", organisation, factories.PASSWORD)


@pytest.mark.django_db
class TestTwo:
    def test_the_first_yes_is_kept_and_nothing_else_happens(self):
        query = factories.query()
        actions.approve(query=query, by=factories.account("operator"), reason="fine")
        query.refresh_from_db()
        first = FirstApproval.objects.get()
        assert (query.state, query.approved_by) == ("SUBMITTED", "")
        assert (first.query, first.by.username, first.reason) == (query, "operator", "fine")
        assert not Line.objects.exists() and not hasattr(query, "order")
        assert Event.objects.filter(kind="query approved once", by="operator").count() == 1

    def test_the_second_yes_approves_and_both_are_named_in_what_is_signed(self):
        query = factories.query()
        actions.approve(query=query, by=factories.account("operator"))
        actions.approve(query=query, by=operator(), reason="agreed")
        query.refresh_from_db()
        assert (query.state, query.approved_by) == ("APPROVED", "operator2")
        assert json.loads(query.order.approval)["by"] == "operator and operator2"

    def test_one_operator_does_not_count_twice(self):
        query = factories.query()
        actions.approve(query=query, by=factories.account("operator"))
        with pytest.raises(IllegalMove, match="another operator"):
            actions.approve(query=query, by=factories.account("operator"))
        query.refresh_from_db()
        assert query.state == "SUBMITTED"

    def test_after_the_first_yes_another_operator_may_refuse_and_the_analyst_withdraw(self):
        refused, withdrawn = factories.query(), factories.query()
        for query in (refused, withdrawn):
            actions.approve(query=query, by=factories.account("operator"))
        actions.refuse(query=refused, by=operator(), reason="too broad")
        actions.withdraw(query=withdrawn, by=factories.account("analyst"))
        refused.refresh_from_db()
        withdrawn.refresh_from_db()
        assert (refused.state, withdrawn.state) == ("REFUSED", "WITHDRAWN")

    @pytest.mark.parametrize("change", [{"is_active": False}, {"role": "auditor"}])
    def test_the_yes_of_somebody_who_may_no_longer_decide_does_not_count(self, change):
        query = factories.query()
        actions.approve(query=query, by=factories.account("operator"))
        User.objects.filter(username="operator").update(**change)
        actions.approve(query=query, by=operator())
        query.refresh_from_db()
        assert query.state == "SUBMITTED" and FirstApproval.objects.get().by.username == "operator2"

    def test_both_must_mean_the_same_parties(self, monkeypatch):
        from portal.absence import lost

        query = factories.query()
        actions.approve(query=query, by=factories.account("operator"))
        monkeypatch.setattr(lost, "current", lambda: 2)
        with pytest.raises(IllegalMove, match="all four parties"):
            actions.approve(query=query, by=operator(), missing=2)

    def test_neither_of_the_two_is_the_asker(self):
        query = factories.query()
        type(query).objects.filter(pk=query.pk).update(analyst=operator())
        query.refresh_from_db()
        with pytest.raises(NotAllowed):
            actions.approve(query=query, by=operator())
        actions.approve(query=query, by=factories.account("operator"))
        with pytest.raises(NotAllowed):
            actions.approve(query=query, by=operator())

    def test_the_pages_say_whose_yes_is_missing(self):
        query = factories.query()
        client = Client()
        client.force_login(factories.account("operator"))
        answer = client.post(f"/approvals/{query.pk}/", {"decision": "approve"}, follow=True)
        assert "another operator gives the second" in answer.content.decode()
        page = client.get(f"/approvals/{query.pk}/").content.decode()
        assert "your approval is the first of two" in page and 'value="approve"' not in page
        other = Client()
        other.force_login(operator())
        assert "has approved. Your yes is the second" in other.get(f"/approvals/{query.pk}/").content.decode()
        admin = other.post(
            f"/admin/queries/waitingquery/{query.pk}/decide/", {"decision": "approve"}, follow=True
        )
        assert f"Query {query.pk} is approved." in admin.content.decode()

    def test_over_rest_the_first_yes_answers_with_a_query_that_still_waits(self, as_):
        query = factories.query()
        answer = as_("operator").post(f"queries/{query.pk}/approve/", {})
        assert (answer.status_code, answer.json()["state"]) == (200, "SUBMITTED")

    def test_one_yes_is_enough_where_the_deployment_says_so(self, settings):
        settings.FOURFOLD_TWO_APPROVALS = False
        assert factories.approved().state == "APPROVED"


@pytest.mark.django_db
def test_under_its_policy_nobody_decides_for_their_own_organisation(settings):
    settings.FOURFOLD_TWO_APPROVALS, settings.FOURFOLD_APPROVERS_APART = False, True
    query = factories.query()
    inside = operator("insider", "Institute")
    for decide in (actions.approve, actions.refuse):
        with pytest.raises(NotAllowed, match="own organisation"):
            decide(query=query, by=inside, reason="ours")
    actions.approve(query=query, by=factories.account("operator"))
    query.refresh_from_db()
    assert query.state == "APPROVED"


def test_of_two_operators_at_once_one_is_first_and_one_second(unguarded):
    for _ in range(3):
        query = factories.query(epsilon="0.1", program="count() where age >= 60")
        people = [factories.account("operator"), operator()]
        together = threading.Barrier(2)

        def say_yes(person, query=query, together=together):
            try:
                together.wait(10)
                actions.approve(query=query, by=person)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(say_yes, people)) == [None, None]
        query.refresh_from_db()
        assert query.state == "APPROVED"
        assert {query.first_approval.by.username, query.approved_by} == {"operator", "operator2"}
        assert Line.objects.filter(query=query.pk, kind="RESERVED").count() == 2
