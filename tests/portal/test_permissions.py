"""Who may call what: role by route by method, for every route that the URLconf has."""

import pytest
from django.test import Client
from django.urls import get_resolver
from django.urls.resolvers import URLResolver

from . import factories
from .factories import Caller

WHO = ["nobody", "provider", "provider2", "analyst", "analyst2", "operator", "auditor", "party 0", "party 1"]
METHODS = ["get", "post", "put", "patch", "delete"]
CLOSED = {401, 403, 404, 405}

# Columns as in WHO; the analyst asked a query (SUBMITTED) of the READY dataset of `provider`.
OPEN = [200] * 9
TABLE = {
    ("healthz", "get"): [503] * 9,  # the broker is down in these tests
    ("metrics", "get"): [401, 403, 403, 403, 403, 200, 403, 401, 401],
    ("admin-login", "get"): OPEN,
    ("admin-login", "post"): OPEN,
    ("web:index", "get"): OPEN,
    ("web:login", "get"): OPEN,
    ("web:login", "post"): OPEN,
    ("web:logout", "post"): [302] * 9,
    # Pages know sessions, not tokens; who may open them is in the tests of the pages.
    ("web:data", "get"): [302] * 9,
    ("web:data-new", "get"): [302] * 9,
    ("web:data-detail", "get"): [302] * 9,
    ("web:data-summary", "get"): [302] * 9,
    # Pages know sessions, not tokens: who may open these is in test_analyst_pages.py.
    ("web:catalogue", "get"): [302] * 9,
    ("web:dataset", "get"): [302] * 9,
    ("web:twin", "get"): [302] * 9,
    ("web:queries", "get"): [302] * 9,
    ("web:query-new", "get"): [302] * 9,
    ("web:query-new", "post"): [302] * 9,
    ("web:drafts", "post"): [302] * 9,
    ("web:draft-delete", "post"): [302] * 9,
    ("web:query", "get"): [302] * 9,
    ("web:query-live", "get"): [302] * 9,
    ("web:query-report", "get"): [302] * 9,
    ("web:query-json", "get"): [302] * 9,
    ("web:query-csv", "get"): [302] * 9,
    ("web:query-withdraw", "post"): [302] * 9,
    ("web:query-cancel", "post"): [302] * 9,
    ("web:query-retry", "post"): [302] * 9,
    # Pages know sessions, not tokens: who may open these is in test_operator_pages.py.
    ("web:approvals", "get"): [302] * 9,
    ("web:approval", "get"): [302] * 9,
    ("web:approval", "post"): [302] * 9,
    ("web:operations", "get"): [302] * 9,
    ("web:operations", "post"): [302] * 9,
    ("web:audit", "get"): [302] * 9,
    ("web:audit-export", "get"): [302] * 9,
    ("web:people", "get"): [302] * 9,
    ("web:person-new", "get"): [302] * 9,
    ("web:person-new", "post"): [302] * 9,
    ("web:person", "get"): [302] * 9,
    ("web:person", "post"): [302] * 9,
    ("web:notices", "get"): [302] * 9,
    ("web:notices", "post"): [302] * 9,
    ("web:account", "get"): [302] * 9,
    ("web:account-password", "get"): [302] * 9,
    ("web:account-password", "post"): [302] * 9,
    ("web:account-tokens", "get"): [302] * 9,
    ("web:account-tokens", "post"): [302] * 9,
    ("web:account-factor", "get"): [302] * 9,
    ("web:account-factor", "post"): [302] * 9,
    ("web:login-code", "get"): [302] * 9,
    ("web:login-code", "post"): [302] * 9,
    ("api:schema", "get"): OPEN,
    ("api:docs", "get"): OPEN,
    ("api:tokens", "post"): [400] * 9,
    ("api:revoke", "post"): [401, 204, 204, 204, 204, 204, 204, 401, 401],
    ("api:me", "get"): [401, 200, 200, 200, 200, 200, 200, 401, 401],
    ("api:audit", "get"): [401, 403, 403, 403, 403, 403, 200, 401, 401],
    ("api:budget", "get"): [401, 200, 200, 200, 200, 200, 200, 401, 401],
    ("api:datasets", "get"): [401, 200, 200, 200, 200, 200, 200, 401, 401],
    ("api:datasets", "post"): [401, 400, 400, 403, 403, 403, 403, 401, 401],
    ("api:dataset", "get"): [401, 200, 404, 200, 200, 200, 200, 401, 401],
    ("api:bundle", "put"): [401, 409, 404, 403, 403, 403, 403, 401, 401],
    ("api:complete", "post"): [401, 200, 404, 403, 403, 403, 403, 401, 401],
    ("api:queries", "get"): [401, 200, 200, 200, 200, 200, 200, 401, 401],
    ("api:queries", "post"): [401, 403, 403, 400, 400, 403, 403, 401, 401],
    ("api:preview", "post"): [401, 403, 403, 400, 400, 403, 403, 401, 401],
    ("api:query", "get"): [401, 200, 404, 200, 404, 200, 200, 401, 401],
    ("api:approve", "post"): [401, 403, 403, 403, 403, 200, 403, 401, 401],
    ("api:refuse", "post"): [401, 403, 403, 403, 403, 400, 403, 401, 401],
    ("api:withdraw", "post"): [401, 403, 403, 200, 404, 403, 403, 401, 401],
    ("api:cancel", "post"): [401, 403, 403, 409, 404, 409, 403, 401, 401],  # it does not run yet
    ("api:result", "get"): [401, 403, 404, 202, 404, 202, 202, 401, 401],
    ("api:webhooks", "get"): [401, 200, 200, 200, 200, 403, 403, 401, 401],
    ("api:webhooks", "post"): [401, 400, 400, 400, 400, 403, 403, 401, 401],
    ("api:webhook", "get"): [401, 404, 404, 200, 404, 403, 403, 401, 401],  # the analyst's
    ("api:webhook", "delete"): [401, 404, 404, 204, 404, 403, 403, 401, 401],
    ("api:webhook-enable", "post"): [401, 404, 404, 200, 404, 403, 403, 401, 401],
    ("api:webhook-deliveries", "get"): [401, 404, 404, 200, 404, 403, 403, 401, 401],
    ("api:parties", "get"): OPEN,
    ("api:lost", "post"): [401, 403, 403, 403, 403, 409, 403, 401, 401],  # without a reason
    ("api:returned", "post"): [401, 403, 403, 403, 403, 409, 403, 401, 401],
    ("api:consents", "get"): [401, 200, 200, 403, 403, 403, 403, 401, 401],
    ("api:consent", "get"): [401, 404, 404, 403, 403, 403, 403, 401, 401],  # not an order among three
    ("api:consent", "post"): [401, 404, 404, 403, 403, 403, 403, 401, 401],
    ("api:owed", "get"): [401, 401, 401, 401, 401, 401, 401, 200, 403],
    ("api:party-sets", "post"): [401, 400, 404, 403, 403, 403, 403, 401, 401],
    ("api:provision", "put"): [401, 401, 401, 401, 401, 401, 401, 404, 403],
    ("api:provided", "get"): [401, 401, 401, 401, 401, 401, 401, 404, 403],
    ("api:reports", "post"): [400] * 9,
    ("api:party-dataset", "get"): [401, 401, 401, 401, 401, 401, 401, 200, 403],
    ("api:party-chunk", "get"): [401, 401, 401, 401, 401, 401, 401, 404, 403],
    ("api:party-order", "get"): [401, 401, 401, 401, 401, 401, 401, 404, 403],
}


def routes(resolver=None, space=""):
    """(name, pattern) of every route outside the admin, which has tests of its own."""
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            if entry.namespace != "admin":
                yield from routes(entry, f"{entry.namespace}:" if entry.namespace else space)
        else:
            yield space + (entry.name or str(entry.pattern))


ROUTES = sorted(set(routes()))


def test_every_route_has_its_row():
    assert set(ROUTES) - {"api:nowhere"} == {name for name, _ in TABLE}


def address(name, query, dataset):
    from django.urls import reverse

    webhook = factories.webhook().pk if name.startswith("api:webhook") else None

    words = {
        "web:data-detail": [dataset.pk],
        "web:data-summary": [dataset.pk],
        "web:dataset": [dataset.pk],
        "web:twin": [dataset.pk],
        "web:query": [query.pk],
        "web:query-live": [query.pk],
        "web:query-report": [query.pk],
        "web:query-json": [query.pk],
        "web:query-csv": [query.pk],
        "web:query-withdraw": [query.pk],
        "web:query-cancel": [query.pk],
        "web:query-retry": [query.pk],
        "web:draft-delete": [1],
        "web:approval": [query.pk],
        "web:person": [query.analyst_id],
        "api:dataset": [dataset.pk],
        "api:complete": [dataset.pk],
        "api:bundle": [dataset.pk, 0, 0],
        "api:query": [query.pk],
        "api:approve": [query.pk],
        "api:refuse": [query.pk],
        "api:withdraw": [query.pk],
        "api:cancel": [query.pk],
        "api:result": [query.pk],
        "api:webhook": [webhook],
        "api:webhook-enable": [webhook],
        "api:webhook-deliveries": [webhook],
        "api:reports": [0],
        "api:lost": [0],
        "api:returned": [0],
        "api:consent": [query.pk],
        "api:owed": [0, dataset.pk],
        "api:party-sets": [dataset.pk],
        "api:provision": [0, dataset.pk, 1, 1, 0],
        "api:provided": [0, dataset.pk, 1, 1, 0],
        "api:party-dataset": [0, dataset.pk],
        "api:party-chunk": [0, dataset.pk, 0],
        "api:party-order": [0, query.pk],
    }
    if name == "api:nowhere":
        return "/api/no/such/place/"
    return reverse(name, args=words.get(name, [])) + ("?chunks=1" if name == "api:bundle" else "")


def headers(who, method, path, crew):
    if who == "nobody":
        return {}
    if who.startswith("party"):
        return {"Authorization": crew[int(who[-1])].authorization(method.upper(), path)}
    return Caller(who).headers


@pytest.mark.django_db
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ROUTES)
def test_a_route_answers_each_role_as_the_table_says(name, method, crew):
    dataset = factories.dataset()
    query = factories.query(dataset)
    path = address(name, query, dataset)
    expected = TABLE.get((name, method))
    for column, who in enumerate(WHO):
        if name == "api:withdraw" and who == "operator":
            query = factories.query(dataset)
            path = address(name, query, dataset)
        body = {} if method == "get" else {"data": "{}", "content_type": "application/json"}
        answer = getattr(Client(), method)(path, headers=headers(who, method, path, crew), **body)
        if expected is None and name.startswith("web:"):
            assert answer.status_code in CLOSED | {302}, (who, method, path)  # to the log-in
        elif expected is None:
            assert answer.status_code in CLOSED, (who, method, path)
        else:
            assert answer.status_code == expected[column], (who, method, path, answer.content[:300])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("who", "tail"),
    [
        ("analyst2", ""),
        ("analyst2", "result/"),
        ("analyst2", "withdraw/"),
        ("provider2", ""),
        ("provider2", "result/"),
    ],
)
def test_what_one_may_not_see_looks_like_what_is_not_there(who, tail):
    query = factories.query(factories.dataset())
    method = "post" if tail == "withdraw/" else "get"
    caller = Caller(who)
    hidden = caller.call(method, f"queries/{query.pk}/{tail}")
    absent = caller.call(method, f"queries/00000000-0000-4000-8000-000000000000/{tail}")
    assert (hidden.status_code, hidden.content) == (absent.status_code, absent.content)
    assert hidden.status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["datasets/{}/", "budget/?dataset={}"], ids=["dataset", "budget"])
def test_another_provider_s_dataset_looks_absent(path):
    dataset = factories.dataset()
    caller = Caller("provider2")
    hidden, absent = caller.get(path.format(dataset.pk)), caller.get(path.format("f" * 32))
    assert hidden.status_code == absent.status_code == 404
    assert hidden.content == absent.content


@pytest.mark.django_db
def test_lists_hold_only_what_each_may_see(as_):
    mine, theirs = factories.dataset(), factories.dataset(provider="provider2")
    factories.dataset(state="UPLOADING")
    query = factories.query(mine)
    seen = {
        who: (
            {d["id"] for d in as_(who).get("datasets/?page_size=200").json()["results"]}
            & {mine.pk, theirs.pk},
            as_(who).get("datasets/").json()["count"],
            [q["id"] for q in as_(who).get("queries/").json()["results"]],
            {b["dataset"] for b in as_(who).get("budget/").json()} & {mine.pk, theirs.pk},
        )
        for who in factories.NAMES
    }
    both, query = {mine.pk, theirs.pk}, str(query.pk)
    assert seen == {
        "provider": ({mine.pk}, 2, [query], {mine.pk}),
        "provider2": ({theirs.pk}, 1, [], {theirs.pk}),
        "analyst": (both, 2, [query], both),
        "analyst2": (both, 2, [], both),
        "operator": (both, 3, [query], both),
        "auditor": (both, 3, [query], both),
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    "extra",
    [
        "expand=analyst",
        "include=result",
        "fields=plan",
        "ordering=analyst__password",
        "analyst__password=x",
        "datasets__provider=1",
        "format=api",
        "format=csv",
    ],
)
def test_no_parameter_widens_what_is_seen(as_, extra):
    factories.query(factories.dataset())
    plain = as_("analyst2").get("queries/")
    asked = as_("analyst2").get(f"queries/?{extra}")
    assert asked.status_code in (200, 404)
    if asked.status_code == 200:
        assert asked.json() == plain.json()


@pytest.mark.django_db
def test_a_provider_sees_that_it_was_asked_and_what_it_costs_and_no_more(as_, crew):
    query = factories.released(crew, factories.dataset())
    body = as_("provider").get(f"queries/{query.pk}/").json()
    assert set(body) == {
        "id", "state", "program", "datasets", "epsilon", "delta", "mode", "created", "released",
    }  # fmt: skip
    assert as_("provider").get(f"queries/{query.pk}/result/").status_code == 403


@pytest.mark.django_db
def test_an_operator_reads_noised_answers_and_no_exact_ones(as_, crew):
    noised = factories.released(crew, factories.dataset())
    exact = factories.released(crew, factories.dataset(), mode="exact")
    assert as_("operator").get(f"queries/{noised.pk}/result/").status_code == 200
    assert as_("operator").get(f"queries/{exact.pk}/result/").status_code == 403
    assert as_("auditor").get(f"queries/{exact.pk}/result/").status_code == 200
    assert as_("analyst").get(f"queries/{exact.pk}/result/").status_code == 200


@pytest.mark.django_db
def test_an_account_without_a_role_sees_nothing():
    from portal.accounts.actions import ensure_token
    from portal.accounts.models import User

    User.objects.create_user("idle", password=factories.PASSWORD)
    bearer = {"Authorization": f"Token {ensure_token('idle')}"}
    for path in ("queries/", "datasets/", "budget/", "audit/"):
        assert Client().get(f"/api/{path}", headers=bearer).status_code == 403


@pytest.mark.django_db
def test_a_closed_account_opens_nothing(as_):
    caller = as_("analyst")
    factories.account("analyst").__class__.objects.filter(username="analyst").update(is_active=False)
    assert caller.get("queries/").status_code == 401


@pytest.mark.django_db
class TestAPartyAtTheDoor:
    @pytest.fixture
    def path(self):
        return f"/api/parties/0/datasets/{factories.dataset().pk}/"

    def test_is_let_in_by_its_signature(self, crew, path):
        assert crew[0].get(path).status_code == 200

    @pytest.mark.parametrize("shift", [-61 - 5, 61 + 5])
    def test_is_refused_when_its_request_is_a_minute_off(self, crew, path, shift):
        import time

        assert crew[0].get(path, when=int(time.time()) + shift).status_code == 401

    def test_is_refused_with_the_signature_of_another_path_or_method(self, crew, path):
        other = crew[0].authorization("GET", path.replace("parties/0", "parties/1"))
        assert Client().get(path, headers={"Authorization": other}).status_code == 401
        posted = crew[0].authorization("POST", path)
        assert Client().get(path, headers={"Authorization": posted}).status_code == 401

    @pytest.mark.parametrize(
        "header", ["Party", "Party 0", "Party 0:1", "Party 9:1:" + "a" * 128, "Party 0:x:" + "a" * 128,
                   "Party 0:" + "9" * 400 + ":" + "a" * 128, "Party ２:1:" + "a" * 128]
    )  # fmt: skip
    def test_is_refused_with_a_malformed_header(self, path, header):
        assert Client().get(path, headers={"Authorization": header}).status_code == 401
