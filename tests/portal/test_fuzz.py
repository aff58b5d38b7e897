"""Anything may be posted anywhere: the answer is never a failure of ours."""

import contextlib
import copy
import json
import string

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.query.approval import sign

from . import factories
from .test_permissions import ROUTES, address

pytestmark = pytest.mark.django_db
FUZZ = settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT = st.text(max_size=20) | st.sampled_from(
    ["", "\x00", "\ud800", "count()", "f" * 32, "../..", "' OR 1=1 --", "𝔘"]
)
LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | TEXT
    | st.sampled_from([2**63, -(2**63) - 1, 10**300, 1e308])
)
JSON = st.recursive(
    LEAF, lambda x: st.lists(x, max_size=4) | st.dictionaries(TEXT, x, max_size=4), max_leaves=12
)


@st.composite
def spoiled(draw, body):
    """A valid body with one to three of its places replaced by anything, or removed."""
    body = copy.deepcopy(body)
    for _ in range(draw(st.integers(1, 3))):
        place, key = body, None
        while isinstance(place, (dict, list)) and place:
            if key is not None and draw(st.booleans()):
                break
            parent = place
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            place = parent[key]
        if key is None:
            return draw(JSON)
        if isinstance(parent, dict) and draw(st.booleans()):
            parent.pop(key)
        else:
            parent[key] = draw(JSON)
    return body


def is_ours(answer):
    assert answer.status_code < 500, answer.content[:500]
    if answer.status_code >= 400:
        assert answer["Content-Type"] == "application/problem+json"
        assert b"Traceback" not in answer.content


@given(data=st.data())
@FUZZ
def test_any_question(as_, data):
    body = {
        "program": {"statements": [{"statistic": "mean", "columns": ["age"], "by": ["arm"], "epsilon": "1"}]},
        "datasets": [factories.dataset().pk],
        "epsilon": "1",
        "mode": "dp",
    }
    is_ours(as_("analyst").post("queries/", data.draw(spoiled(body))))


@given(program=st.text(max_size=60) | st.text(string.printable, max_size=200) | st.lists(st.sampled_from(
    ["count", "mean", "(", ")", "age", "arm", '"', "'", "where", "by", "epsilon", ",", ";", "\n", "=", ">=", "in",
     "not", "is", "missing", "1e99", "-1", "#", "control"]), max_size=30).map(" ".join))  # fmt: skip
@FUZZ
def test_any_program(as_, program):
    body = {"program": program, "datasets": [factories.dataset().pk], "epsilon": "1", "mode": "dp"}
    is_ours(as_("analyst").post("queries/preview/", body))


@given(data=st.data())
@FUZZ
def test_any_announcement(as_, data):
    body = data.draw(spoiled(factories.announcement()))
    is_ours(as_("provider").post("datasets/", json.loads(json.dumps(body, default=str))))


@given(data=st.data(), kind=st.sampled_from(["result", "abort", "started", "receipt", "heartbeat"]))
@FUZZ
def test_any_signed_report(crew, data, kind):
    query, _ = factories.running(factories.dataset())
    said = {
        "result": lambda: crew[0].result(query),
        "abort": lambda: crew[0].word("abort", query, code="timeout", ready=True),
        "started": lambda: crew[0].word("started", query),
        "receipt": lambda: crew[0].signed("receipt", dataset="e" * 32, manifest_hash="a" * 64),
        "heartbeat": lambda: crew[0].signed(
            "heartbeat", code_version="1", ledger={"length": 1, "head": "h"}, busy=False
        ),
    }[kind]()
    said["report"] = data.draw(spoiled(said["report"]))
    with contextlib.suppress(ValueError, TypeError):
        said["signature"] = sign(said["report"], crew[0].key)
    is_ours(crew[0].post(said))


@given(data=st.data())
@FUZZ
def test_any_query_string(as_, data):
    names = st.sampled_from(
        ["page", "page_size", "state", "mode", "dataset", "kind", "subject", "format", "by", "chunks"]
    )
    asked = data.draw(st.dictionaries(names, TEXT | st.integers().map(str), max_size=4))
    path = data.draw(st.sampled_from(["queries/", "datasets/", "budget/", "audit/", "parties/", "schema/"]))
    asked = {k: v.encode("utf-8", "replace") for k, v in asked.items()}
    answer = Client(raise_request_exception=False).get(f"/api/{path}", asked, headers=as_("auditor").headers)
    assert answer.status_code < 500, answer.content[:500]


@pytest.mark.parametrize("name", [r for r in ROUTES if r.startswith("api:")])
@pytest.mark.parametrize(
    "kind", ["text/html", "application/octet-stream", "*/*;q=0", "x", "application/json; charset=\xff"]
)
def test_any_wish_for_a_format(as_, name, kind):
    dataset = factories.dataset()
    path = address(name, factories.query(dataset), dataset)
    answer = Client(raise_request_exception=False).get(
        path, headers={**as_("auditor").headers, "Accept": kind}
    )
    assert answer.status_code < 500, answer.content[:300]
