"""Headers, cookies, CSRF, the OpenAPI document, health: what every response has to hold."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from portal import dispatch

from . import factories
from .test_permissions import METHODS, ROUTES, TABLE, address

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
CSP = {
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
    "font-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
}  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/", "/login/", "/admin/login/", "/api/parties/", "/api/docs/", "/nothing", "/healthz"]
)
def test_every_answer_has_the_strict_headers(path):
    answer = Client().get(path)
    assert set(answer["Content-Security-Policy"].split("; ")) == CSP
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/login/", "/nothing"])
def test_pages_hold_no_inline_script_or_style(path):
    page = Client().get(path).content.decode()
    assert "<script>" not in page and "style=" not in page and "<style" not in page


# A party's signature or the password in the body is the authority: these take no session.
SESSIONLESS = {"api:reports", "api:tokens", "api:provision"}
UNSAFE = sorted((name, method) for name, method in TABLE if method != "get" and name not in SESSIONLESS)


@pytest.mark.parametrize(("name", "method"), UNSAFE)
def test_an_unsafe_request_of_a_session_needs_its_csrf_token(name, method):
    dataset = factories.dataset()
    query = factories.query(dataset)
    who = {"api:approve": "operator", "api:refuse": "operator", "api:datasets": "provider", "api:bundle": "provider",
           "api:complete": "provider", "api:party-sets": "provider", "api:consent": "provider",
           "api:lost": "operator", "api:returned": "operator"}.get(name, "analyst")  # fmt: skip
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.account(who))
    answer = getattr(client, method)(
        address(name, query, dataset), data="{}", content_type="application/json"
    )
    assert answer.status_code == 403
    query.refresh_from_db()
    assert query.state == "SUBMITTED"


def test_a_session_with_its_csrf_token_works_like_a_token():
    dataset = factories.dataset()
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.account("analyst"))
    client.get("/login/")
    token = client.cookies["csrftoken"].value
    answer = client.post(
        "/api/queries/",
        json.dumps({"program": "count()", "datasets": [dataset.pk], "epsilon": "1"}),
        content_type="application/json",
        headers={"X-CSRFToken": token},
    )
    assert answer.status_code == 201


def test_logging_in_and_out_on_the_page():
    factories.account("analyst")
    query = factories.query()
    client = Client()
    wrong = client.post("/login/", {"username": "analyst", "password": "wrong"})
    assert "User name or password is wrong" in wrong.content.decode()
    client.post("/login/", {"username": "analyst", "password": factories.PASSWORD})
    page = client.get("/").content.decode()
    assert str(query.pk) in page
    cookie = client.cookies["sessionid"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    client.post("/logout/")
    assert str(query.pk) not in client.get("/").content.decode()


def test_a_log_in_never_leads_elsewhere():
    factories.account("analyst")
    answer = Client().post(
        "/login/?next=https://evil.example/",
        {"username": "analyst", "password": factories.PASSWORD, "next": "https://evil.example/"},
    )
    assert answer["Location"] == "/"


def test_a_program_on_a_page_is_text():
    factories.query(program="count() # <script>alert(1)</script>")
    client = Client()
    client.force_login(factories.account("analyst"))
    assert "<script>alert" not in client.get("/").content.decode()


HOSTILE = ["<script>alert(1)</script>", "=HYPERLINK(1)", "@SUM(1)", '"><img src=x onerror=alert(1)>']


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_of_a_provider_or_an_analyst_is_text_on_every_page(text):
    """Title, field, unit, level and comment; a formula stays a text too: nothing here is made for a spreadsheet."""
    book = factories.codebook()
    book["title"] = text
    book["fields"][0] |= {"title": text, "categories": [{"value": "a"}, {"value": "b", "label": text}]}
    book["fields"][1] |= {"unit": text}
    dataset = factories.dataset(book=book, title=text)
    query = factories.query(dataset, program=f"average(age) by arm # {text}")
    seen = []
    for name, path in (
        ("analyst", "/"),
        ("operator", "/admin/queries/waitingquery/"),
        ("operator", f"/admin/queries/query/{query.pk}/change/"),
        ("operator", "/admin/registry/dataset/"),
        ("operator", f"/admin/registry/dataset/{dataset.pk}/change/"),
        ("auditor", "/api/audit/"),
        ("analyst", f"/api/datasets/{dataset.pk}/"),
        ("analyst", f"/api/queries/{query.pk}/"),
    ):
        client = Client()
        client.force_login(factories.account(name))
        answer = client.get(path)
        assert answer.status_code == 200, path
        body, kind = answer.content.decode(), answer["Content-Type"].partition(";")[0]
        assert kind == ("application/json" if path.startswith("/api/") else "text/html")
        assert "Content-Disposition" not in answer
        if kind == "text/html":
            assert "<script>alert" not in body
            assert "<img src=x" not in body
        seen.append(escape(text) in body if kind == "text/html" else json.dumps(text)[1:-1] in body)
    assert seen[:5] == [True] * 5, "the page shows the text, escaped"
    assert all(seen[6:])


def test_the_openapi_document_has_no_warnings_and_every_route(tmp_path, capsys):
    call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(tmp_path / "schema.yml"))
    document = json.loads(Client().get("/api/schema/?format=json").content)
    described = set(document["paths"])
    assert len(described) == len([r for r in ROUTES if r.startswith("api:") and r not in
                                  ("api:nowhere", "api:docs", "api:schema")])  # fmt: skip


def test_health_names_what_fails_and_says_demo(monkeypatch, settings):
    assert Client().get("/healthz").status_code == 503
    assert Client().get("/healthz").json() == {
        "status": "failing", "database": "ok", "broker": "failing", "demo": False,
    }  # fmt: skip
    monkeypatch.setattr(dispatch, "broker_answers", lambda: True)
    settings.FOURFOLD_DEMO = True
    answer = Client().get("/healthz")
    assert answer.status_code == 200 and answer.json()["demo"] is True
    assert "demo deployment" in answer.json()["notice"]
    assert "Demo deployment" in Client().get("/").content.decode()


def test_django_s_own_check_of_a_deployment_is_content(tmp_path):
    environment = {"PATH": "/usr/bin", "VAR": str(tmp_path), "SECRET_KEY": "k" * 60 + "0123456789",
                   "DJANGO_SETTINGS_MODULE": "portal.settings"}  # fmt: skip
    checked = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr


def test_a_deployment_without_a_kept_secret_is_named(settings):
    from portal.apps import secret_key_is_kept

    settings.SECRET_KEY_IS_KEPT = False
    assert [e.id for e in secret_key_is_kept(None)] == ["portal.E001"]
    settings.SECRET_KEY_IS_KEPT = True
    assert secret_key_is_kept(None) == []


def test_no_migration_is_missing():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_the_methods_of_the_matrix_are_all_that_browsers_send():
    assert {"get", "post", "put", "patch", "delete"} == set(METHODS)


def test_a_head_request_is_a_get_without_a_body(as_):
    answer = as_("analyst").call("head", "queries/")
    assert answer.status_code == 200 and not answer.content


def test_polling_costs_few_queries(as_, django_assert_max_num_queries, crew):
    query = factories.released(crew)
    caller = as_("analyst")
    address = f"queries/{query.pk}/result/"
    caller.get(address)
    with django_assert_max_num_queries(6):
        caller.get(address)


def test_two_orders_are_never_alike():
    dataset = factories.dataset()
    nonces = {
        json.loads(factories.approved(dataset, program=f"count() where age > {n}", epsilon="0.1").order.body)[
            "nonce"
        ]
        for n in range(5)
    }
    assert len(nonces) == 5


def test_named_addresses_are_the_contract_s():
    assert reverse("api:queries") == "/api/queries/"
    assert reverse("api:reports", args=[3]) == "/api/parties/3/reports/"
    assert reverse("api:budget") == "/api/budget/" and reverse("api:audit") == "/api/audit/"
    assert reverse("healthz") == "/healthz"
