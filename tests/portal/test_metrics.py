"""/metrics: figures that follow from the rows, and nothing that names a person, a dataset or an answer."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from portal import durations, metrics
from portal.budgets.actions import BudgetExhausted
from portal.queries import actions
from portal.queries.models import Attempt, Query, Report, State
from portal.registry.models import PartyState

from . import factories
from .test_dispatcher import alive

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh(monkeypatch, settings):
    monkeypatch.setattr(durations, "LAG", timedelta(0))
    monkeypatch.setattr(metrics, "_durations", durations.Durations())
    settings.METRICS_TOKEN = "scrape-me"


def scraped(**headers):
    headers = headers or {"Authorization": "Bearer scrape-me"}
    answer = Client().get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.content
    return answer


def samples():
    """{(name, labels): value} of a scrape, read by the client library's own parser."""
    families = text_string_to_metric_families(scraped().content.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def value(found, name, **labels):
    return found.get((name, tuple(sorted(labels.items()))))


def test_the_scraper_s_token_opens_metrics_and_nothing_else(settings):
    bearer = {"Authorization": "Bearer scrape-me"}
    answer = scraped(**bearer)
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    assert Client().get("/api/queries/", headers=bearer).status_code == 401
    assert Client().get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    settings.METRICS_TOKEN = ""
    for empty in ("Bearer ", "Bearer", "Bearer scrape-me"):
        assert Client().get("/metrics", headers={"Authorization": empty}).status_code == 401


def test_prometheus_s_own_accept_header_is_served():
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    scraped(Authorization="Bearer scrape-me", Accept=accept)


def test_queries_are_counted_by_state(crew):
    dataset = factories.dataset()
    factories.query(dataset)
    factories.approved(dataset, epsilon="0.5")
    factories.released(crew, dataset, epsilon="0.25")
    Query.objects.filter(state="APPROVED").update(created=timezone.now() - timedelta(minutes=10))
    found = samples()
    counts = {state: value(found, "fourfold_queries", state=state) for state in State.values}
    assert {state: count for state, count in counts.items() if count} == {
        "SUBMITTED": 1,
        "APPROVED": 1,
        "RELEASED": 1,
    }
    assert None not in counts.values()
    assert 600 <= value(found, "fourfold_oldest_query_seconds", state="APPROVED") < 660
    assert value(found, "fourfold_oldest_query_seconds", state="RUNNING") == 0


def test_stages_of_a_released_attempt_are_measured_from_its_rows():
    query, attempt = factories.running()
    start = timezone.now() - timedelta(seconds=100)

    def at(seconds):
        return start + timedelta(seconds=seconds)

    for party in range(4):
        for kind, when in (("started", 8.3 + party), ("result", 10.3 + party / 3)):
            Report.objects.create(attempt=attempt, party=party, kind=kind, body="{}", time=at(when))
    Query.objects.filter(pk=query.pk).update(created=at(0), approved_at=at(7))
    Attempt.objects.filter(pk=attempt.pk).update(started_at=at(7.3), ended_at=at(11.8), state="RELEASED")
    found = samples()
    sums = {stage: value(found, "fourfold_stage_seconds_sum", stage=stage,
                         outcome="approved" if stage == "decide" else "released")
            for stage in durations.STAGES}  # fmt: skip
    assert sums == pytest.approx({"decide": 7, "wait": 0.3, "start": 1.0, "compute": 3.0, "release": 0.5})
    bucket = {"stage": "compute", "outcome": "released"}
    assert value(found, "fourfold_stage_seconds_bucket", le="2.0", **bucket) == 0
    assert value(found, "fourfold_stage_seconds_bucket", le="5.0", **bucket) == 1
    assert value(found, "fourfold_stage_seconds_bucket", le="+Inf", **bucket) == 1
    again = samples()
    assert value(again, "fourfold_stage_seconds_count", **bucket) == 1


def test_two_processes_that_look_at_other_times_come_to_the_same_figures(crew, monkeypatch):
    often, seldom = durations.Durations(), durations.Durations()
    for epsilon in ("0.5", "0.25", "0.125"):
        factories.released(crew, factories.dataset(), epsilon=epsilon)
        often.read()
    now = timezone.now()
    sums = [{k: (h.counts, h.sum) for k, h in d.read(now).items()} for d in (often, seldom)]
    assert sums[0].keys() == sums[1].keys() and len(sums[0]) > 2
    for key, (counts, total) in sums[0].items():
        assert counts == sums[1][key][0] and total == pytest.approx(sums[1][key][1])


def test_what_ended_this_moment_is_counted_once_its_lag_is_over(crew, monkeypatch):
    monkeypatch.setattr(durations, "LAG", timedelta(seconds=30))
    factories.released(crew, factories.dataset())
    both = durations.Durations()
    assert both.read() == {}
    assert both.read(timezone.now() + timedelta(seconds=31))[("wait", "released")].sum >= 0


def test_failed_attempts_are_counted_by_their_public_code(crew):
    query, _ = factories.running()
    for party in crew:
        party.post(party.word("refusal", query, code="floor_cohort"))
    assert value(samples(), "fourfold_attempts_total", outcome="failed", code="floor_cohort") == 1


def test_an_approval_over_budget_is_counted_and_changes_nothing():
    dataset = factories.dataset(book=factories.codebook(epsilon="1", epsilon_per_query="1"))
    first, second = factories.query(dataset, epsilon="0.75"), factories.query(dataset, epsilon="0.5")
    actions.approve(query=first, by=factories.account("operator"))
    with pytest.raises(BudgetExhausted):
        actions.approve(query=second, by=factories.account("operator"))
    second.refresh_from_db()
    assert second.state == "SUBMITTED" and not hasattr(second, "order")
    assert value(samples(), "fourfold_budget_refusals_total") == 1


def test_requests_are_timed_by_the_name_of_their_route(as_):
    before = samples()
    for _ in range(3):
        as_("analyst").get("queries/?state=RUNNING")
    Client().get("/no/such/page")
    found = samples()

    def more(**labels):
        name = "fourfold_http_request_seconds_count"
        return value(found, name, **labels) - (value(before, name, **labels) or 0)

    assert more(route="api:queries", method="GET", status="200") == 3
    assert more(route="none", method="GET", status="404") == 1
    assert not any("RUNNING" in str(labels) for (name, labels) in found if "http" in name)


def test_parties_are_reported_by_the_age_of_their_heartbeat():
    alive(age=40)
    PartyState.objects.filter(party=3).delete()
    found = samples()
    ages = [value(found, "fourfold_party_heartbeat_age_seconds", party=str(n)) for n in range(4)]
    assert all(40 <= age < 60 for age in ages[:3]) and ages[3] is None


def test_a_broker_that_is_down_is_said_and_the_rest_still_shown():
    found = samples()
    assert value(found, "fourfold_broker_up") == 0
    assert value(found, "fourfold_queue_length", party="0") is None
    assert value(found, "fourfold_uploads_total") == 0


def test_no_metric_names_a_person_a_dataset_a_title_or_a_question(crew):
    dataset = factories.dataset()
    query = factories.released(crew, dataset, program="count() where age >= 67")
    text = scraped().content.decode()
    for hidden in (dataset.pk, str(query.pk), "A trial", "age >=", "analyst", "Hospital", query.plan_hash):
        assert hidden not in text.replace("api:", ""), hidden


def test_the_page_on_monitoring_names_every_metric_and_no_other(crew):
    page = (Path(__file__).parents[2] / "docs/monitoring.md").read_text()
    part = page.partition("## Metrics of the portal")[2].partition("## Metrics of a party")[0]
    named = set(re.findall(r"`(fourfold_\w+)`", part))
    factories.released(crew, factories.dataset())
    alive()
    shown = re.findall(r"# TYPE (fourfold_\w+) (\w+)", scraped().content.decode())
    assert named == {name for name, _ in shown if not name.endswith("_created")}
