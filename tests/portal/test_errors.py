"""Whatever is wrong with a request, the answer is a problem document with a stable code, and nothing leaks."""

import json

import pytest
from django.test import Client

from portal.queries import compiling

from . import factories

pytestmark = pytest.mark.django_db
KEYS = {"type", "title", "status", "code", "detail", "where", "suggestions"}


def is_problem(answer, status, code=None):
    assert answer.status_code == status, answer.content[:500]
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert set(body) >= KEYS
    assert body["status"] == status
    assert code in (None, body["code"]), body
    return body


@pytest.fixture
def dataset():
    return factories.dataset()


def ask(dataset, **changes):
    return {"program": "count()", "datasets": [dataset.pk], "epsilon": "1", "mode": "dp", **changes}


MALFORMED = {
    "nothing": b"",
    "half an object": b'{"program": ',
    "no utf-8": b'{"program": "\xff"}',
    "a NUL": b'{"program": "count()\\u0000", "datasets": []}',
    "half a character": b'{"program": "\\ud800", "datasets": []}',
    "a NUL in a key": b'{"pro\\u0000gram": "count()"}',
    "not a number": b'{"epsilon": NaN}',
    "no end": b'{"epsilon": Infinity}',
    "an endless number": b'{"epsilon": ' + b"9" * 5000 + b"}",
    "a huge exponent": b'{"epsilon": 1e999999999}',
    "a deep list": b"[" * 20_000 + b"]" * 20_000,
    "a deep object": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "a list": b"[1, 2]",
    "a text": b'"count()"',
    "null": b"null",
    "a number": b"7",
}


@pytest.mark.parametrize("path", ["queries/", "queries/preview/", "datasets/", "tokens/"])
@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_body_is_the_caller_s_error(as_, path, what):
    who = "provider" if path == "datasets/" else "analyst"
    is_problem(as_(who).post(path, content=MALFORMED[what]), 400)


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_report_is_the_caller_s_error(what):
    path = "/api/parties/0/reports/"
    is_problem(Client().post(path, MALFORMED[what], content_type="application/json"), 400)


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/xml"])
def test_only_json_is_understood(as_, kind):
    is_problem(as_("analyst").post("queries/", content=b"count()", content_type=kind), 415)


@pytest.mark.parametrize(
    "changes",
    [
        {"program": 7},
        {"program": ""},
        {"program": "   "},
        {"program": None},
        {"program": ["count()"]},
        {"program": {}},
        {"program": {"statements": "count"}},
        {"program": {"statements": [{"statistic": 7}]}},
        {"program": "x" * (64 * 1024 + 1)},
        {"program": "(" * 60_000},
        {"program": "count() where " + "not " * 10_000 + "age > 1"},
        {"program": "count() where age in (" + "1," * 20_000 + "1)"},
        {"datasets": []},
        {"datasets": "all"},
        {"datasets": [7]},
        {"datasets": ["x" * 32]},
        {"datasets": ["f" * 32]},
        {"datasets": [None]},
        {"datasets": ["F" * 32]},
        {"datasets": ["f" * 32] * 17},
        {"epsilon": "many"},
        {"epsilon": 0},
        {"epsilon": "0"},
        {"epsilon": -1},
        {"epsilon": "1e9"},
        {"epsilon": "NaN"},
        {"epsilon": "Infinity"},
        {"epsilon": None},
        {"epsilon": True},
        {"epsilon": [1]},
        {"epsilon": 10**40},
        {"mode": "clear"},
        {"mode": 7},
        {"mode": None},
        {"mode": ["dp"]},
    ],
    ids=lambda changes: str(changes)[:40],
)
@pytest.mark.parametrize("path", ["queries/", "queries/preview/"])
def test_a_request_out_of_bounds_is_refused_with_a_code(as_, dataset, path, changes):
    is_problem(as_("analyst").post(path, ask(dataset, **changes)), 400)


def test_a_program_that_is_wrong_says_where_and_what_was_meant(as_, dataset):
    body = is_problem(as_("analyst").post("queries/", ask(dataset, program="count()\nmean(agee)")), 400)
    assert body["where"] == {"line": 2, "column": 6}
    assert body["suggestions"] == ["age"]


def test_a_program_beyond_the_policy_is_refused_with_the_rule(as_, dataset):
    body = is_problem(as_("analyst").post("queries/", ask(dataset, epsilon="6")), 400, "epsilon_per_query")
    assert "5" in body["detail"]


def test_no_budget_left_names_what_was_asked_and_what_is_left(as_):
    dataset = factories.dataset(book=factories.codebook(epsilon="3", epsilon_per_query="2"))
    for age in (60, 61):
        query = factories.query(dataset, program=f"count() where age >= {age}", epsilon="2")
        answer = as_("operator").post(f"queries/{query.pk}/approve/", {})
    body = is_problem(answer, 409, "budget_exhausted")
    assert (body["asked"], body["left"], body["dataset"]) == ("2.000000", "1.000000", dataset.pk)
    assert "2.000000" in body["detail"] and "1.000000" in body["detail"]


def test_a_wrong_codebook_lists_every_problem(as_):
    body = factories.announcement()
    body["codebook"] = {"primaryKey": 7, "fields": [{"name": "x", "type": "colour"}], "colour": 1}
    problem = is_problem(as_("provider").post("datasets/", body), 400, "codebook_rejected")
    assert len(problem["problems"]) >= 3
    assert all({"where", "rule", "message", "remedy"} <= set(p) for p in problem["problems"])


@pytest.mark.parametrize(
    "path",
    [
        "nothing/",
        "queries/7/",
        "queries/x/result/",
        "datasets/short/",
        "parties/9999999/reports/",
        "",
        "x%00y/",
    ],
)
def test_an_address_that_does_not_exist_is_a_problem_too(path):
    is_problem(Client().get(f"/api/{path}"), 404, "not_found")


def test_a_page_that_does_not_exist_is_a_page():
    answer = Client().get("/nothing/")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")


def test_a_party_that_does_not_exist_is_absent(crew):
    is_problem(Client().post("/api/parties/4/reports/", "{}", content_type="application/json"), 404)


@pytest.mark.parametrize(
    "path", ["queries/?page=0", "queries/?page=x", "queries/?page=" + "9" * 50, "audit/?page=-1"]
)
def test_a_page_out_of_range_is_absent(as_, path):
    is_problem(as_("auditor").get(path), 404)


@pytest.mark.parametrize("path", ["queries/?state=ASLEEP", "datasets/?state=%00", "queries/?mode=clear"])
def test_a_filter_that_means_nothing_is_refused(as_, path):
    is_problem(as_("operator").get(path), 400, "invalid")


@pytest.mark.parametrize("path", ["audit/?kind=%00", "audit/?subject=" + "x" * 500, "budget/?dataset=%00"])
def test_odd_text_in_a_parameter_is_the_caller_s_error(as_, path):
    assert as_("auditor").get(path).status_code in (400, 404)


@pytest.mark.parametrize(
    "header",
    [
        "Token",
        "Token ",
        "Token a b",
        "Token ÿ",
        "Token " + "a" * 100_0,
        "Bearer x",
        "Basic eDp5",
        "Token é" * 3,
        "\x00",
    ],
)
def test_an_odd_authorization_is_nobody(header):
    is_problem(Client().get("/api/queries/", headers={"Authorization": header}), 401)


def test_a_method_that_a_route_lacks_is_a_problem(as_):
    is_problem(as_("auditor").call("delete", "queries/"), 403)
    is_problem(as_("auditor").call("delete", "me/"), 405)


def test_a_body_beyond_the_limit_is_too_large(as_):
    is_problem(as_("analyst").post("queries/", content=b'{"program": "' + b"x" * 600_000 + b'"}'), 413)
    is_problem(as_("analyst").post("tokens/", content=b'"' + b"x" * 100_000 + b'"'), 413)


def test_an_error_nobody_foresaw_tells_the_client_nothing(as_, dataset, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise RuntimeError("CANARY-73219")

    monkeypatch.setattr(compiling.plan, "compile", fail)
    answer = as_("analyst").post("queries/", ask(dataset))
    body = is_problem(answer, 500, "internal")
    assert b"CANARY" not in answer.content and "Traceback" not in json.dumps(body)


def test_too_many_requests_say_when_to_come_back(as_, settings, monkeypatch):
    from rest_framework.throttling import ScopedRateThrottle

    monkeypatch.setattr(
        ScopedRateThrottle, "THROTTLE_RATES", {"login": "2/min", "compile": "9/s", "reports": "9/s"}
    )
    for _ in range(3):
        answer = Client().post("/api/tokens/", "{}", content_type="application/json")
    is_problem(answer, 429, "throttled")
    assert int(answer["Retry-After"]) > 0


def test_missing_party_keys_are_not_explained_to_strangers(settings):
    settings.FOURFOLD_PARTIES_FILE.unlink()
    body = is_problem(Client().get("/api/parties/"), 503, "parties_unknown")
    assert "parties.json" not in json.dumps(body)
