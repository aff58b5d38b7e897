"""What one poll of result/ costs the database: the token with its owner, the query by its key, and no more."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from knox.models import AuthToken

from portal.accounts.actions import make_token

from . import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def many():
    """Other people's queries, and old tokens of the analyst."""
    dataset = factories.dataset()
    for n in range(12):
        factories.query(dataset, analyst="analyst2", program=f"count() where age >= {n + 1}")
    for _ in range(12):
        make_token(factories.account("analyst"), lifetime=timedelta(hours=1))
    return dataset


def polled(caller, query, **how):
    return caller.get(f"queries/{query.pk}/result/", **how)


def test_a_poll_of_a_query_that_waits_takes_two_queries(many, as_, django_assert_num_queries):
    query, caller = factories.query(many), as_("analyst")
    with django_assert_num_queries(2) as asked:
        assert polled(caller, query).status_code == 202
    assert not any(word in asked[1]["sql"] for word in ("program", "plan", "description", "body"))


def test_a_poll_of_an_answer_that_one_has_takes_two_queries_and_not_the_answer(
    many, as_, crew, django_assert_num_queries
):
    query, caller = factories.released(crew, many), as_("analyst")
    etag = polled(caller, query)["ETag"]
    with django_assert_num_queries(2) as asked:
        assert polled(caller, query, headers={"If-None-Match": etag}).status_code == 304
    assert '"body"' not in asked[1]["sql"]
    with django_assert_num_queries(3):
        assert polled(caller, query).status_code == 200


def test_a_poll_of_a_query_that_ended_without_an_answer_takes_two_queries(
    many, as_, django_assert_num_queries
):
    query, caller = factories.query(many), as_("analyst")
    caller.post(f"queries/{query.pk}/withdraw/", {"reason": "changed my mind"})
    with django_assert_num_queries(2):
        assert polled(caller, query).json()["detail"] == "changed my mind"


def test_both_queries_of_a_poll_find_their_rows_by_an_index(many, as_, django_assert_num_queries):
    query, caller = factories.query(many), as_("analyst")
    with django_assert_num_queries(2) as asked:
        polled(caller, query)
    if connection.vendor != "sqlite":
        pytest.skip("plans of small tables are the server's own affair")
    with connection.cursor() as cursor:
        for question in asked.captured_queries:
            cursor.execute("EXPLAIN QUERY PLAN " + question["sql"])
            plan = [row[3] for row in cursor.fetchall()]
            assert plan and not [step for step in plan if step.startswith("SCAN")], plan


def test_an_expired_token_opens_nothing_and_goes(as_):
    user, caller = factories.account("analyst"), as_("analyst")
    AuthToken.objects.filter(user=user).update(expiry=timezone.now() - timedelta(seconds=1))
    assert caller.get("me/").status_code == 401
    assert not AuthToken.objects.filter(user=user).exists()


def test_a_new_token_removes_those_of_its_owner_that_expired(as_):
    mine, theirs = factories.account("analyst"), factories.account("analyst2")
    for user in (mine, theirs):
        make_token(user, lifetime=timedelta(hours=1))
    AuthToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    make_token(mine, lifetime=None)
    assert AuthToken.objects.filter(user=mine).count() == 1
    assert AuthToken.objects.filter(user=theirs).count() == 1
