"""The analyst's pages: who opens them, what each state shows, and that a page without scripts does the same."""

from __future__ import annotations

import csv
import io
import json
import uuid
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from portal.queries import actions, attempts
from portal.queries.models import Draft, Query
from portal.web.analyst import example
from portal.web.analyst.asking import EXAMPLES

from . import factories

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(1)</script>'


def client(name):
    one = Client()
    if name:
        one.force_login(factories.account(name))
    return one


def page(name, route, *args, query=""):
    return client(name).get(reverse(f"web:{route}", args=args) + query)


def asked(dataset, **changes):
    return {
        "title": "Elderly",
        "purpose": "A report",
        "program": "count() where age >= 60",
        "datasets": [dataset.pk],
        "epsilon": "1",
        "mode": "dp",
        **changes,
    }


#                 nobody provider provider2 analyst analyst2 operator auditor
WHO = ["", "provider", "provider2", "analyst", "analyst2", "operator", "auditor"]
PAGES = {
    "index": [200, 200, 200, 200, 200, 200, 200],
    "catalogue": [302, 200, 200, 200, 200, 200, 200],
    "dataset": [302, 200, 404, 200, 200, 200, 200],
    "twin": [302, 200, 404, 200, 200, 200, 200],
    "queries": [302, 403, 403, 200, 200, 200, 200],
    "query-new": [302, 403, 403, 200, 200, 403, 403],
    "query": [302, 403, 403, 200, 404, 200, 200],
    "query-live": [302, 403, 403, 200, 404, 200, 200],
    "query-report": [302, 403, 403, 200, 404, 200, 200],
    "query-json": [302, 403, 403, 200, 404, 200, 200],
    "query-csv": [302, 403, 403, 200, 404, 200, 200],
}
ACTIONS = {
    "query-withdraw": [302, 403, 403, 302, 404, 403, 403],
    "query-cancel": [302, 403, 403, 302, 404, 403, 403],
    "query-retry": [302, 403, 403, 302, 404, 403, 403],
    "drafts": [302, 403, 403, 302, 302, 403, 403],
    "draft-delete": [302, 403, 403, 302, 404, 403, 403],
}


def args(route, dataset, query, draft):
    if route in ("dataset", "twin"):
        return [dataset.pk]
    if route == "draft-delete":
        return [draft.pk]
    return [query.pk] if route.startswith("query-") and route != "query-new" or route == "query" else []


@pytest.mark.parametrize("route", PAGES)
def test_a_page_opens_for_its_roles_alone(route, crew):
    dataset = factories.dataset()
    query = factories.released(crew, dataset)
    found = [page(who, route, *args(route, dataset, query, None)).status_code for who in WHO]
    assert found == PAGES[route]


@pytest.mark.parametrize("route", ACTIONS)
def test_an_action_is_for_who_asked_alone(route, crew):
    dataset = factories.dataset()
    query = factories.released(crew, dataset)
    draft = Draft.objects.create(analyst=factories.account("analyst"), title="mine")
    for who, expected in zip(WHO, ACTIONS[route], strict=True):
        answer = client(who).post(reverse(f"web:{route}", args=args(route, dataset, query, draft)))
        assert answer.status_code == expected, who
        assert client(who).get(reverse(f"web:{route}", args=args(route, dataset, query, draft))).status_code in (
            302, 403, 405,
        )  # fmt: skip
        query.refresh_from_db()
        assert query.state == "RELEASED"


def test_an_exact_answer_is_not_the_operator_s_to_read(crew):
    query = factories.released(crew, factories.dataset(), mode="exact")
    assert page("operator", "query-json", query.pk).status_code == 404
    assert page("operator", "query-report", query.pk).status_code == 404
    shown = page("operator", "query", query.pk).content.decode()
    assert "not its answer" in shown and "<table" not in shown
    assert page("auditor", "query-json", query.pk).status_code == 200


def test_a_question_is_submitted_without_scripts():
    dataset = factories.dataset()
    answer = client("analyst").post(reverse("web:query-new"), asked(dataset))
    query = Query.objects.get()
    assert answer["Location"] == reverse("web:query", args=[query.pk])
    assert (query.title, query.purpose, query.micro_epsilon) == ("Elderly", "A report", 10**6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"title": ""}, "Give the question a title"),
        ({"purpose": ""}, "Say what the answer is for"),
        ({"datasets": []}, "Choose at least one dataset"),
        ({"datasets": ["f" * 32]}, "is not one of the available choices"),
        ({"program": "mean(agee)"}, "did you mean age"),
        ({"epsilon": "6"}, "epsilon"),
        ({"epsilon": ""}, "epsilon is needed in dp mode"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_nothing_is_lost(changes, said):
    dataset = factories.dataset()
    answer = client("analyst").post(reverse("web:query-new"), asked(dataset, **changes))
    text = answer.content.decode()
    assert answer.status_code == 400 and said in text and "A report" in text or changes.get("purpose") == ""
    assert said in text and not Query.objects.exists()


def test_a_question_that_noise_would_drown_is_asked_only_when_confirmed():
    book = factories.codebook()
    book["facts"] = {"n": 20}
    dataset = factories.dataset(book=book)
    drowned = asked(dataset, epsilon="0.05")
    answer = client("analyst").post(reverse("web:query-new"), drowned)
    assert answer.status_code == 409 and "Ask all the same" in answer.content.decode()
    assert not Query.objects.exists()
    assert client("analyst").post(reverse("web:query-new"), {**drowned, "confirm": "1"}).status_code == 302


def test_title_and_purpose_go_over_rest_and_to_the_operator(as_):
    dataset = factories.dataset()
    body = {"program": "count()", "datasets": [dataset.pk], "epsilon": "1", "title": "T1", "purpose": "P1"}
    made = as_("analyst").post("queries/", body).json()
    assert (made["title"], made["purpose"]) == ("T1", "P1")
    waiting = client("operator").get("/admin/queries/waitingquery/").content.decode()
    assert "T1" in waiting and "P1" in waiting


def test_a_draft_is_kept_as_typed_seen_by_nobody_else_and_gone_when_submitted():
    dataset = factories.dataset()
    mine = client("analyst")
    kept = mine.post(reverse("web:drafts"), asked(dataset, program="mean(", title="Half"))
    draft = Draft.objects.get()
    assert kept["Location"].endswith(f"?draft={draft.pk}") and draft.program == "mean("
    assert "mean(" in mine.get(kept["Location"]).content.decode()
    assert client("analyst2").get(kept["Location"]).status_code == 404
    assert "Half" not in page("analyst2", "queries").content.decode()
    mine.post(reverse("web:drafts"), asked(dataset, draft=draft.pk, title="Whole"))
    assert Draft.objects.get().title == "Whole"
    client("analyst2").post(reverse("web:query-new"), asked(dataset, draft=draft.pk))
    assert Draft.objects.exists()
    mine.post(reverse("web:query-new"), asked(dataset, draft=draft.pk, program="count()"))
    assert not Draft.objects.exists()


def test_a_clone_holds_what_was_asked_and_nobody_clones_another_s():
    query = factories.query(program="count() where age > 77", epsilon="1.25")
    text = page("analyst", "query-new", query=f"?clone={query.pk}").content.decode()
    assert "count() where age &gt; 77" in text and 'value="1.25"' in text
    for other in (f"?clone={query.pk}", "?clone=nonsense", "?draft=9999999999", f"?clone={uuid.uuid4()}"):
        assert "age &gt; 77" not in page("analyst2", "query-new", query=other).content.decode()


def test_the_editor_begins_with_the_four_questions():
    factories.dataset()
    text = page("analyst", "query-new").content.decode()
    four = (ROOT / "samples/questions.txt").read_text()
    assert EXAMPLES[0][1].split("\n") == four.strip().split("\n") + [""]
    assert escape(four.strip()) in text
    assert "connected to 0 of 4 data servers" in text


def test_each_state_is_told_and_offers_what_can_be_done(crew):
    dataset = factories.dataset()
    waiting = factories.query(dataset, program="count() where age > 1", epsilon="0.1")
    text = page("analyst", "query", waiting.pk).content.decode()
    assert "waiting for approval" in text and "Withdraw the query" in text
    client("analyst").post(reverse("web:query-withdraw", args=[waiting.pk]), {"reason": "a slip"})
    assert "a slip" in page("analyst", "query", waiting.pk).content.decode()
    refused = factories.query(dataset, program="count() where age > 2", epsilon="0.1")
    actions.refuse(query=refused, by=factories.account("operator"), reason="too narrow")
    assert "too narrow" in page("analyst", "query", refused.pk).content.decode()
    running, _ = factories.running(dataset, program="count() where age > 3", epsilon="0.1")
    crew[1].post(crew[1].word("started", running))
    text = page("analyst", "query-live", running.pk).content.decode()
    assert "1 of 4 parties have begun" in text and "so far; the plan expects" in text
    assert "Cancel the query" in page("analyst", "query", running.pk).content.decode()
    client("analyst").post(reverse("web:query-cancel", args=[running.pk]))
    text = page("analyst", "query", running.pk).content.decode()
    assert "cancelled" in text and "Try again" in text


def test_a_query_that_aborted_is_tried_again_as_a_new_one():
    query, _ = factories.running()
    Query.objects.filter(pk=query.pk).update(title="Once more")
    attempts.abort(query, code="timeout", reason="no answer")
    answer = client("analyst").post(reverse("web:query-retry", args=[query.pk]))
    again = Query.objects.exclude(pk=query.pk).get()
    assert answer["Location"] == reverse("web:query", args=[again.pk])
    assert (again.state, again.program, again.title) == ("SUBMITTED", query.program, "Once more")
    assert again.micro_epsilon == query.micro_epsilon and again.plan_hash == query.plan_hash


def test_an_answer_has_table_picture_noise_and_files(crew):
    dataset = factories.dataset()
    query = factories.released(crew, dataset, program="count() by arm\nmean(age) by arm")
    text = page("analyst", "query", query.pk).content.decode()
    assert "noise SD" in text and 'id="pictures"' in text and "of the noise alone" in text
    exact = page("analyst", "query-json", query.pk)
    assert exact.content.decode() == query.result.body and "attachment" in exact["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(page("analyst", "query-csv", query.pk).content.decode())))
    assert rows[0] == ["statement", "question", "group", "figure", "value", "reason"]
    groups = json.loads(query.result.body)["statements"][0]["groups"]
    assert [row[4] for row in rows if row[0] == "1" and row[3] == "value"] == [
        str(g["value"]) for g in groups
    ]
    report = page("analyst", "query-report", query.pk).content.decode()
    assert str(query.pk) in report and dataset.manifest_hash in report and "How to cite" in report


def test_a_report_is_only_of_a_released_answer():
    query = factories.query()
    for route in ("query-report", "query-json", "query-csv"):
        assert page("analyst", route, query.pk).status_code == 404


@pytest.mark.parametrize("text", [HOSTILE, "=HYPERLINK(1)"])
def test_hostile_texts_stay_texts(crew, text):
    book = factories.codebook()
    book["fields"][0] |= {"title": text, "categories": [{"value": "a"}, {"value": "b", "label": text}]}
    book["fields"][1] |= {"unit": text}
    book["facts"] = {"study": text, "more": {text: text}}
    dataset = factories.dataset(book=book, title=text)
    query = factories.released(crew, dataset, program="mean(age) by arm")
    Query.objects.filter(pk=query.pk).update(title=text, purpose=text)
    Draft.objects.create(analyst=query.analyst, title=text, program=text)
    for route, arguments in (
        ("index", []), ("catalogue", []), ("dataset", [dataset.pk]), ("queries", []), ("query-new", []),
        ("query", [query.pk]), ("query-live", [query.pk]), ("query-report", [query.pk]),
    ):  # fmt: skip
        shown = page("analyst", route, *arguments).content.decode()
        assert "<script>alert" not in shown and "<img src=x" not in shown, route
    table = page("analyst", "query-csv", query.pk).content.decode()
    assert not any(cell.startswith("=") for row in csv.reader(io.StringIO(table)) for cell in row)


def test_the_catalogue_is_searched_by_every_word_of_fields_and_levels():
    dataset = factories.dataset(title="Alpha trial")
    found = lambda q: dataset.pk in page("analyst", "catalogue", query=f"?q={q}").content.decode()
    assert found("alpha") and found("years") and found("control") and found("Hospital+a")
    assert not found("alpha+nothing")
    assert "Nothing has all these words" in page("analyst", "catalogue", query="?q=zzz").content.decode()


def test_a_dataset_s_page_says_fields_policy_and_what_is_left():
    text = page("analyst", "dataset", factories.dataset().pk).content.decode()
    for said in ("0 to 127", "a, control", "epsilon 10 left", "may truly hold fewer", "2099-01-01"):
        assert said in text


def test_a_twin_is_a_file_that_a_provider_could_upload(tmp_path):
    dataset = factories.dataset()
    answer = page("analyst", "twin", dataset.pk)
    rows = list(csv.reader(io.StringIO(answer.content.decode())))
    assert rows[0] == ["id", "arm", "age"] and len(rows) == 257
    assert {row[1] for row in rows[1:]} <= {"a", "b", ""}


def test_the_example_of_the_first_page_is_the_sample():
    assert json.loads(example.CODEBOOK.read_text()) == json.loads(
        (ROOT / "samples/codebook.json").read_text()
    )


def test_a_smaller_epsilon_makes_wider_intervals_on_the_first_page():
    curve = {e: example.answer(e)["statements"][1]["groups"][0]["curve"][3] for e in ("0.25", "4")}
    width = {e: point["high"] - point["low"] for e, point in curve.items()}
    assert width["0.25"] > width["4"]
    assert "epsilon=" not in Client().get("/?epsilon=nonsense").content.decode()


def test_pages_cost_few_queries(crew, django_assert_max_num_queries):
    dataset = factories.dataset()
    for n in range(5):
        factories.query(factories.dataset(title=f"other {n}"), program=f"count() where age > {n}")
    query = factories.released(crew, dataset, program="count() by arm\nmean(age) by arm")
    one = client("analyst")
    for route, arguments in (
        ("index", []), ("catalogue", []), ("dataset", [dataset.pk]), ("queries", []), ("query-new", []),
        ("query", [query.pk]), ("query-live", [query.pk]),
    ):  # fmt: skip
        address = reverse(f"web:{route}", args=arguments)
        one.get(address)
        with django_assert_max_num_queries(15):
            one.get(address)
