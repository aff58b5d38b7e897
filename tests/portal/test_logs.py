"""Lines of the portal's log name the request and what it is about, and hold nothing of what was asked."""

import io
import json
import logging

import pytest
from django.conf import settings
from django.test import Client

from analytics import logs
from portal.queries import dispatcher

from . import factories
from .test_dispatcher import alive

pytestmark = pytest.mark.django_db


@pytest.fixture
def lines():
    """Reads what was logged so far, as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.formatter("json"))
    root = logging.getLogger()
    root.addHandler(handler)
    yield lambda: [json.loads(text) for text in stream.getvalue().splitlines()]
    root.removeHandler(handler)


def test_the_formatter_of_the_settings_is_the_one_that_writes_ids():
    assert settings.LOGGING["formatters"]["line"]["()"] == "analytics.logs.formatter"
    assert settings.LOGGING["root"]["handlers"] == ["stderr"]


@pytest.mark.parametrize("path", ["/healthz", "/", "/api/datasets/", "/api/no/such/place/", "/no/such/page"])
def test_every_answer_names_its_request(path):
    given = Client().get(path, headers={"X-Request-ID": "abc-1"})
    made = Client().get(path)
    assert given["X-Request-ID"] == "abc-1"
    assert len(made["X-Request-ID"]) == 32


@pytest.mark.parametrize("offered", ["a b", "x" * 65, "<script>"])
def test_an_id_that_is_none_is_replaced(offered):
    answer = Client().get("/healthz", headers={"X-Request-ID": offered})
    assert answer["X-Request-ID"] != offered


def test_a_decision_is_logged_with_its_request_and_query_and_without_program_or_token(as_, lines):
    query = factories.query(program="count() where age >= 67")
    operator = as_("operator")
    operator.post(f"queries/{query.pk}/approve/", {"reason": "Mrs Smith"}, headers={"X-Request-ID": "r-7"})
    said = [line for line in lines() if line["message"].startswith("query approved")]
    assert [(line["request"], line["query"], line["logger"]) for line in said] == [
        ("r-7", str(query.pk), "portal.audit")
    ]
    everything = json.dumps(lines())
    token = operator.headers["Authorization"].split()[1]
    for hidden in ("age >= 67", "Mrs Smith", token, token[:15]):
        assert hidden not in everything


def test_what_nobody_foresaw_is_logged_with_ids_and_place_and_without_its_words(as_, lines, monkeypatch):
    query = factories.query()

    def fails(*args):
        raise RuntimeError(f"patient-4711 in {args}")

    monkeypatch.setattr("portal.api.query_views.visible_queries", fails)
    answer = as_("analyst").get(f"queries/{query.pk}/", headers={"X-Request-ID": "r-8"})
    assert answer.status_code == 500
    line = next(line for line in lines() if line["logger"] == "portal.api")
    assert (line["request"], line["query"], line["level"]) == ("r-8", str(query.pk), "ERROR")
    assert line["error"][0]["type"] == "RuntimeError"
    assert line["error"][0]["places"][-1].endswith(" fails")
    assert "patient-4711" not in json.dumps(lines())
    last = next(line for line in lines() if line["logger"] == "django.request")
    assert last["request"] == "r-8"


def test_a_report_is_logged_with_party_query_and_attempt(lines, crew):
    query, _ = factories.running()
    for party in crew:
        party.post(party.result(query))
    line = next(line for line in lines() if line["message"].startswith("query released"))
    assert (line["query"], line["attempt"], line["party"]) == (str(query.pk), 1, 3)


def test_the_dispatcher_logs_with_query_and_attempt(lines, crew, sender, settings):
    alive()
    settings.FOURFOLD_SETTLE_SECONDS = 0
    query, _ = factories.running()
    crew[0].post(crew[0].word("abort", query, code="timeout", ready=False))
    dispatcher.tick(sender)
    line = next(line for line in lines() if line["message"].startswith("attempt failed"))
    assert (line["query"], line["attempt"]) == (str(query.pk), 1)
