"""The pages of operators and auditors: who opens them, what they say, what they do, and what they never run."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.audit.actions import record
from portal.audit.models import Event
from portal.operations import pauses
from portal.queries.models import Query
from portal.registry.models import PartyState
from portal.web.operator.audit import cell

from . import factories

pytestmark = pytest.mark.django_db
PAGES = {
    "approvals": {"operator", "auditor"},
    "approval": {"operator", "auditor"},
    "operations": {"operator", "auditor"},
    "audit": {"auditor"},
}


def session(name):
    client = Client()
    client.force_login(factories.account(name))
    return client


def text(answer):
    return answer.content.decode()


@pytest.fixture
def operator():
    return session("operator")


@pytest.fixture
def auditor():
    return session("auditor")


@pytest.mark.parametrize("name", ["provider", "provider2", "analyst", "analyst2", "operator", "auditor"])
@pytest.mark.parametrize("route", PAGES)
def test_a_page_opens_for_its_roles_alone(name, route):
    query = factories.query()
    address = reverse(f"web:{route}", args=[query.pk] if route == "approval" else [])
    answer = session(name).get(address)
    assert answer.status_code == (200 if name in PAGES[route] else 403)
    if name not in PAGES[route]:
        assert "Not your page" in text(answer) and str(query.pk) not in text(answer)
    assert Client().get(address)["Location"].startswith("/login/?next=")


@pytest.mark.parametrize("name", ["operator", "auditor", "analyst", "provider"])
def test_each_role_finds_its_pages_at_the_top(name):
    page = text(session(name).get("/"))
    for route, who in PAGES.items():
        if route != "approval":
            assert (f'href="{reverse(f"web:{route}")}"' in page) == (name in who)


class TestApprovals:
    def test_the_inbox_lists_what_waits_oldest_first(self, operator):
        first = factories.query(program="count() where age >= 61")
        second = factories.query(program="count() where age >= 62")
        page = text(operator.get("/approvals/"))
        assert page.index(str(first.pk)) < page.index(str(second.pk))
        assert "2 queries wait" in page

    def test_an_empty_inbox_says_so(self, operator):
        assert "No query is waiting" in text(operator.get("/approvals/"))

    def test_a_long_inbox_costs_few_queries(self, operator, django_assert_max_num_queries):
        dataset = factories.dataset()
        for age in range(60, 72):
            factories.query(dataset, program=f"count() where age >= {age}", epsilon="0.1")
        operator.get("/approvals/")
        with django_assert_max_num_queries(14):
            operator.get("/approvals/")

    def test_one_page_says_all_that_a_decision_needs(self, operator):
        dataset = factories.dataset()
        before = factories.query(dataset, program="count() where age >= 70", epsilon="1")
        query = factories.query(dataset, program='mean("age") by arm  # <b>how old?</b>', epsilon="1.5")
        page = text(operator.get(f"/approvals/{query.pk}/"))
        for said in (
            "mean(&quot;age&quot;) by arm",
            "&lt;b&gt;how old?&lt;/b&gt;",
            "Institute",
            "mean of age (years), for each arm",
            "\u00b1",
            "<strong>11</strong> patients",
            "3 is reserved for 2 attempts",
            ">10<",
            ">7<",
            f"/approvals/{before.pk}/",
            "1 in all, 1 by this analyst",
            'value="approve"',
            'value="refuse"',
        ):
            assert said in page, said
        assert "<b>how old?</b>" not in page and "style=" not in page

    def test_a_query_about_other_patients_is_not_related(self, operator):
        other = factories.query(factories.dataset())
        query = factories.query(factories.dataset())
        assert f"/approvals/{other.pk}/" not in text(operator.get(f"/approvals/{query.pk}/"))

    def test_approving_leads_back_and_signs(self, operator):
        query = factories.query()
        answer = operator.post(
            f"/approvals/{query.pk}/", {"decision": "approve", "reason": "good"}, follow=True
        )
        assert answer.redirect_chain == [("/approvals/", 302)]
        assert f"Query {query.pk} is approved." in text(answer)
        query.refresh_from_db()
        assert (query.state, query.approved_by, query.order.max_attempts) == ("APPROVED", "operator", 2)

    def test_a_refusal_without_a_comment_stays_on_the_page(self, operator):
        query = factories.query()
        answer = operator.post(f"/approvals/{query.pk}/", {"decision": "refuse", "reason": " "})
        assert answer.status_code == 409 and "A refusal needs a reason" in text(answer)
        operator.post(f"/approvals/{query.pk}/", {"decision": "refuse", "reason": "ask by arm alone"})
        query.refresh_from_db()
        assert (query.state, query.reason) == ("REFUSED", "ask by arm alone")

    def test_what_was_written_is_not_lost_when_nothing_was_changed(self, operator):
        query = factories.query()
        page = text(operator.post(f"/approvals/{query.pk}/", {"decision": "", "reason": "kept <words>"}))
        assert "kept &lt;words&gt;</textarea>" in page and "Nothing was changed" in page

    def test_what_was_decided_already_has_no_form_and_does_not_move_again(self, operator):
        query = factories.approved()
        assert 'value="approve"' not in text(operator.get(f"/approvals/{query.pk}/"))
        answer = operator.post(f"/approvals/{query.pk}/", {"decision": "refuse", "reason": "late"})
        assert answer.status_code == 409
        query.refresh_from_db()
        assert query.state == "APPROVED"

    def test_an_auditor_reads_and_decides_nothing(self, auditor):
        query = factories.query()
        assert 'value="approve"' not in text(auditor.get(f"/approvals/{query.pk}/"))
        answer = auditor.post(f"/approvals/{query.pk}/", {"decision": "approve"})
        assert answer.status_code == 409 and "Only an operator decides" in text(answer)
        query.refresh_from_db()
        assert query.state == "SUBMITTED"

    def test_nobody_is_shown_a_form_for_their_own_query(self, operator):
        query = factories.query()
        Query.objects.filter(pk=query.pk).update(analyst=factories.account("operator"))
        assert "nobody decides on a query of their own" in text(operator.get(f"/approvals/{query.pk}/"))
        answer = operator.post(f"/approvals/{query.pk}/", {"decision": "approve"})
        assert "Nobody decides on a query of their own" in text(answer)

    def test_a_decision_needs_its_token(self):
        query = factories.query()
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(factories.account("operator"))
        assert strict.post(f"/approvals/{query.pk}/", {"decision": "approve"}).status_code == 403


class TestOperations:
    def test_parties_are_shown_with_their_reasons(self, operator, crew):
        beat = {"code_version": "1", "ledger": {"length": 3, "head": ""}, "busy": False}
        crew[1].post(crew[1].signed("heartbeat", **beat))
        PartyState.objects.update(last_seen=timezone.now() - timedelta(hours=2))
        page = text(operator.get("/operations/"))
        assert page.count("never seen") == 3 and "silent since" in page and "Redis does not answer" in page

    def test_without_the_parties_keys_the_page_still_opens(self, operator, settings):
        settings.FOURFOLD_PARTIES_FILE.unlink()
        assert "The parties are not known" in text(operator.get("/operations/"))

    def test_work_is_counted_and_shown(self, operator, crew):
        dataset = factories.dataset()
        factories.released(crew, dataset)
        query, _ = factories.running(dataset, program="count() where age >= 70")
        factories.query(dataset, program="count() where age >= 71")
        page = operator.get("/operations/")
        assert f"/approvals/{query.pk}/" in text(page)
        counted = {row["state"]: row["count"] for row in page.context["waiting"]}
        assert counted == {"SUBMITTED": 1, "APPROVED": 0, "RUNNING": 1}
        assert sum(hour.submitted for hour in page.context["hours"]) == 3
        assert sum(hour.released for hour in page.context["hours"]) == 1

    def test_an_operator_pauses_with_a_reason_and_resumes(self, operator):
        answer = operator.post("/operations/", {"to": "paused", "reason": "new <disk>"}, follow=True)
        assert "new &lt;disk&gt;" in text(answer) and pauses.current().by == "operator"
        operator.post("/operations/", {"to": "running"})
        assert pauses.current() is None

    def test_an_auditor_switches_nothing(self, auditor):
        assert 'value="paused"' not in text(auditor.get("/operations/"))
        assert auditor.post("/operations/", {"to": "paused"}).status_code == 403
        assert pauses.current() is None


class TestAudit:
    def lines(self, answer):
        return b"".join(answer.streaming_content).decode()

    def test_filters_narrow_by_person_kind_subject_and_day(self, auditor):
        record("query approved", by="ann", subject="query 1")
        record("account", by="bob", subject="account carol")
        today = f"{timezone.now():%Y-%m-%d}"
        for asked, seen in (
            ("by=ann", {"query 1"}),
            ("kind=account", {"account carol", "account auditor"}),
            ("subject=CAROL", {"account carol"}),
            ("by=ann&kind=account", set()),
            (f"by=ann&since={today}&until={today}", {"query 1"}),
            ("by=ann&until=2020-01-01", set()),
        ):
            answer = auditor.get(f"/audit/?{asked}")
            assert {event.subject for event, _ in answer.context["events"]} == seen, asked
        assert "No event fits" in text(auditor.get("/audit/?by=nobody"))

    @pytest.mark.parametrize("asked", ["since=yesterday", "until=2026-99-99", "by=%00"])
    def test_a_filter_that_cannot_be_used_says_so_at_its_field(self, auditor, asked):
        answer = auditor.get(f"/audit/?{asked}")
        assert answer.status_code == 400 and 'aria-invalid="true"' in text(answer)

    def test_a_long_trail_is_paged_and_keeps_its_filters(self, auditor):
        for number in range(60):
            record("thing", by="ann", subject=f"thing {number}")
        first = text(auditor.get("/audit/?by=ann"))
        assert "thing 59" in first and "thing 9<" not in first and "by=ann&amp;page=2" in first
        assert "thing 9<" in text(auditor.get("/audit/?by=ann&page=2"))

    def test_csv_holds_every_event_and_no_formula(self, auditor):
        record("note", by="=cmd()", subject="@SUM(1)", detail={"reason": 'a "quoted", line'})
        answer = auditor.get("/audit/export/?format=csv&kind=note")
        rows = list(csv.reader(io.StringIO(self.lines(answer))))
        assert rows[0] == ["time", "kind", "by", "subject", "detail"]
        assert rows[1][1:4] == ["note", "'=cmd()", "'@SUM(1)"]
        assert json.loads(rows[1][4]) == {"reason": 'a "quoted", line'} and len(rows) == 2
        assert answer["Content-Disposition"] == 'attachment; filename="fourfold-audit.csv"'

    @pytest.mark.parametrize("start", list("=+-@\t\r\n"))
    def test_a_cell_never_begins_like_a_formula(self, start):
        assert cell(f"{start}1+1") == f"'{start}1+1"
        assert cell("plain = text") == "plain = text"

    def test_json_lines_hold_the_trail_as_it_is(self, auditor):
        record("note", by="=cmd()", subject="s", detail={"n": 1})
        answer = auditor.get("/audit/export/?format=jsonl&kind=note")
        (row,) = [json.loads(line) for line in self.lines(answer).splitlines()]
        assert (row["by"], row["detail"]) == ("=cmd()", {"n": 1})

    def test_that_the_trail_was_taken_is_in_the_trail(self, auditor):
        self.lines(auditor.get("/audit/export/?format=csv&by=ann"))
        event = Event.objects.first()
        assert (event.kind, event.by, event.detail) == (
            "audit exported", "auditor", {"format": "csv", "by": "ann"},
        )  # fmt: skip

    def test_hostile_texts_are_text(self, auditor):
        record("<script>alert(1)</script>", by='"><img src=x>', subject="<b>", detail={"<i>": "<u>"})
        page = text(auditor.get("/audit/"))
        for raw in ("<script>alert", "<img src=x", "<b>", "<i>", "<u>"):
            assert raw not in page
