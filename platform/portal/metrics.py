"""/metrics: what Prometheus asks for, from rows where rows know it, and counted by the web server where they do not.

Only the seconds of HTTP requests are counted in memory (files that all processes of the web server share, made by
`gunicorn.conf.py`); everything else is read at each scrape, so that restarts and several processes change nothing.
Public: ids of parties, states and codes. No dataset, no person, no answer, no size of a cohort.
"""

# mypy: disable-error-code="misc"

import hmac
import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Sum
from django.utils import timezone
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from portal import dispatch
from portal.accounts.models import Role
from portal.api.authentication import TokenAuthentication
from portal.api.renderers import JSONRenderer
from portal.audit.models import Event
from portal.durations import Durations
from portal.queries.actions import OVER_BUDGET
from portal.queries.models import Attempt, Query, State
from portal.registry.actions import UPLOADED
from portal.registry.models import Chunk, Dataset, DatasetState, PartyState
from portal.webhooks.models import Delivery, DeliveryState, Webhook

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
WAITS = (State.SUBMITTED, State.APPROVED, State.RUNNING)

_memory = CollectorRegistry()
_requests = Histogram(
    "fourfold_http_request_seconds",
    "Seconds until an answer was ready, by route, method and status",
    ["route", "method", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0),
    registry=_memory,
)
_durations = Durations()


def observe(route: str, method: str, status: int, seconds: float) -> None:
    """Count one request; `route` is the name of an address pattern, never an address."""
    method = method if method in METHODS else "other"
    _requests.labels(route or "none", method, str(status)).observe(seconds)


class Rows(Collector):
    """Everything that the database and the broker know."""

    def collect(self) -> Iterator[Metric]:
        now = timezone.now()
        yield from _queries(now)
        yield _stages(now)
        yield from _datasets()
        yield from _parties(now)
        yield from _queues()
        yield from _webhooks()


def _queries(now: datetime) -> Iterator[Metric]:
    states = GaugeMetricFamily("fourfold_queries", "Queries by state", labels=["state"])
    oldest = GaugeMetricFamily(
        "fourfold_oldest_query_seconds", "Age of the oldest query in a state that waits", labels=["state"]
    )
    found = {s: (n, since) for s, n, since in Query.objects.order_by().values_list("state").annotate(
        Count("pk"), Min("created"))}  # fmt: skip
    for state in State.values:
        count, since = found.get(state, (0, None))
        states.add_metric([state], count)
        if state in WAITS:
            oldest.add_metric([state], (now - since).total_seconds() if since else 0)
    yield states
    yield oldest
    attempts = CounterMetricFamily(
        "fourfold_attempts", "Attempts that ended, by outcome and public code", labels=["outcome", "code"]
    )
    ended = Attempt.objects.order_by().exclude(ended_at=None).values_list("state", "code")
    for state, code, count in ended.annotate(Count("pk")):
        attempts.add_metric([state.lower(), code], count)
    yield attempts
    refusals = Event.objects.filter(kind=OVER_BUDGET).count()
    yield CounterMetricFamily(
        "fourfold_budget_refusals", "Approvals that a privacy budget could not cover", value=refusals
    )


def _stages(now: datetime) -> Metric:
    family = HistogramMetricFamily(
        "fourfold_stage_seconds", "Seconds of the stages of queries and attempts", labels=["stage", "outcome"]
    )
    for (stage, outcome), histogram in _durations.read(now).items():
        family.add_metric([stage, outcome], buckets=histogram.cumulative(), sum_value=histogram.sum)
    return family


def _datasets() -> Iterator[Metric]:
    states = GaugeMetricFamily("fourfold_datasets", "Datasets by state", labels=["state"])
    found = dict(Dataset.objects.order_by().values_list("state").annotate(Count("pk")))
    for state in DatasetState.values:
        states.add_metric([state], found.get(state, 0))
    yield states
    uploads = Event.objects.filter(kind=UPLOADED).count()
    yield CounterMetricFamily("fourfold_uploads", "Uploads that were completed", value=uploads)
    stored = Chunk.objects.aggregate(Sum("size"))["size__sum"] or 0
    yield GaugeMetricFamily("fourfold_bundle_bytes", "Bytes of sealed bundles that are kept", value=stored)


def _parties(now: datetime) -> Iterator[Metric]:
    ages = GaugeMetricFamily(
        "fourfold_party_heartbeat_age_seconds", "Since a party's last heartbeat", labels=["party"]
    )
    busy = GaugeMetricFamily("fourfold_party_busy", "Whether a party runs an attempt", labels=["party"])
    lines = GaugeMetricFamily("fourfold_party_ledger_lines", "Length of a party's ledger", labels=["party"])
    for state in PartyState.objects.order_by("party"):
        label = [str(state.party)]
        ages.add_metric(label, max(0.0, (now - state.last_seen).total_seconds()))
        busy.add_metric(label, state.busy)
        lines.add_metric(label, state.ledger_length)
    yield from (ages, busy, lines)


def _queues() -> Iterator[Metric]:
    """The broker may be down: then this says so, and nothing of its queues."""
    lengths = dispatch.queue_lengths()
    yield GaugeMetricFamily("fourfold_broker_up", "Whether Redis answers", value=lengths is not None)
    family = GaugeMetricFamily(
        "fourfold_queue_length", "Messages that a party has not taken", labels=["party"]
    )
    for party, length in (lengths or {}).items():
        family.add_metric([str(party)], length)
    yield family


def _webhooks() -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "fourfold_webhook_deliveries", "Deliveries of the last month, by state", labels=["state"]
    )
    found = dict(Delivery.objects.order_by().values_list("state").annotate(Count("pk")))
    for state in DeliveryState.values:
        family.add_metric([state], found.get(state, 0))
    yield family
    disabled = Webhook.objects.filter(enabled=False).count()
    yield GaugeMetricFamily("fourfold_webhooks_disabled", "Webhooks that failures disabled", value=disabled)


class ScraperUser:
    """Whoever knows METRICS_TOKEN. It has no account and no role, and opens nothing else."""

    is_authenticated = True
    is_active = True
    role = ""
    pk = "scraper"


class ScraperAuthentication(BaseAuthentication):
    """`Authorization: Bearer METRICS_TOKEN`."""

    def authenticate(self, request: Any) -> tuple[ScraperUser, None] | None:
        kind, _, given = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        known = settings.METRICS_TOKEN
        if kind != "Bearer" or not known or not hmac.compare_digest(given.encode(), known.encode()):
            return None
        return ScraperUser(), None

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"


class MayScrape(BasePermission):
    """The scraper, and operators."""

    def has_permission(self, request: Any, view: Any) -> bool:
        user = request.user
        return isinstance(user, ScraperUser) or getattr(user, "role", "") == Role.OPERATOR


class TextRenderer(BaseRenderer):
    """The text exposition format; what is no text is a problem document."""

    media_type = "text/plain"
    format = "txt"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        if isinstance(data, bytes):
            return data
        return JSONRenderer().render(data, accepted_media_type, renderer_context)


class Metrics(APIView):
    """Text exposition, version 0.0.4."""

    authentication_classes = [ScraperAuthentication, TokenAuthentication, SessionAuthentication]
    permission_classes = [MayScrape]
    renderer_classes = [TextRenderer, JSONRenderer]
    schema = None

    def get(self, request: Any) -> Response:
        return Response(exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")


def exposition() -> bytes:
    """All metrics of the portal, whichever process of the web server is asked."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    else:
        counted = _memory
    rows = CollectorRegistry(auto_describe=False)
    rows.register(Rows())
    return generate_latest(counted) + generate_latest(rows)
