"""What parties fetch and post. They have keys, not accounts."""

import json
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.absence import consents, lost, replacement, takeover
from portal.accounts.models import Role
from portal.api import serializers
from portal.api.authentication import PartyAuthentication
from portal.api.permissions import IsThatParty
from portal.api.renderers import BytesRenderer, JSONRenderer
from portal.audit import chain
from portal.keys import portal_public
from portal.operations import pauses
from portal.queries import actions, attempts
from portal.queries import reports as posted
from portal.queries.models import Query, State
from portal.registry import bundles, parties
from portal.registry.models import PARTIES, Chunk, Dataset, DatasetState


class Parties(APIView):
    """The four parties' public keys and how they are, which is lost, the portal's own key, and if it pauses.

    What parties say of their stores (`health`) is shown to operators and auditors.
    """

    permission_classes = [AllowAny]

    @extend_schema(responses=serializers.PartiesSerializer)
    def get(self, request: Any) -> Response:
        pause = pauses.current()
        details = getattr(request.user, "role", "") in (Role.OPERATOR, Role.AUDITOR)
        return Response(
            {
                "parties": parties.listing(details=details),
                "portal": portal_public(),
                "lost": lost.current(),
                "paused": pause and {"since": pause.since, "reason": pause.reason},
            }
        )


class Reports(APIView):
    """A party's signed report; the signature in the body is all the authority it needs."""

    permission_classes = [AllowAny]
    authentication_classes = []
    throttle_scope = "reports"
    body_limit = 4 * 1024 * 1024

    @extend_schema(request=serializers.ReportSerializer, responses=serializers.AcceptedSerializer)
    def post(self, request: Any, party: int) -> Response:
        if party >= PARTIES:
            raise NotFound
        report = posted.read(party, request.data)
        answer: dict[str, Any] = {"accepted": posted.accept(report)}
        if report.kind == "heartbeat":
            answer["audit"] = chain.countersign(party, report.report, report.signature)
        return Response(answer)


class PartyView(APIView):
    """Asked by a party, with its own signature."""

    authentication_classes = [PartyAuthentication]
    permission_classes = [IsThatParty]
    throttle_classes = []


def uploaded(pk: str) -> Dataset:
    """A dataset whose bundles are complete."""
    return get_object_or_404(Dataset.objects.exclude(state=DatasetState.UPLOADING), pk=pk)


class PartyDataset(PartyView):
    """Manifest, signature, codebook and the number of chunks of this party's bundle."""

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Any, party: int, pk: str) -> Response:
        dataset = uploaded(pk)
        return Response(
            {
                "manifest": json.loads(dataset.manifest),
                "signature": dataset.signature,
                "codebook": json.loads(dataset.codebook),
                "state": dataset.state,
                "chunks": dataset.chunks.filter(party=party).count(),
                "party_sets": replacement.signed_sets(dataset),
                "provided": {}
                if (row := replacement.outstanding(dataset)) is None
                else replacement.provided(row),
            }
        )


class PartyChunk(PartyView):
    """One sealed chunk."""

    renderer_classes = [BytesRenderer, JSONRenderer]

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Any, party: int, pk: str, chunk: int) -> HttpResponse:
        found = get_object_or_404(
            Chunk.objects.select_related("dataset"), dataset=uploaded(pk), party=party, number=chunk
        )
        return HttpResponse(bundles.read(found), content_type="application/octet-stream")


class PartyOrder(PartyView):
    """The signed order and approval of a running query, and which attempt it is."""

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Any, party: int, pk: Any) -> Response:
        query = get_object_or_404(
            Query.objects.select_related("order").filter(state=State.RUNNING, order__isnull=False), pk=pk
        )
        attempt = attempts.running_attempt(query)
        if attempt is None:
            raise NotFound
        datasets = [
            {
                "id": d.pk,
                "version": d.version,
                "manifest": json.loads(d.manifest),
                "signature": d.signature,
                "codebook": json.loads(d.codebook),
            }
            for d in query.datasets.order_by("pk")
        ]
        beside = {
            "consents": consents.envelope(query),
            "taken_over": takeover.envelope(query),
            "party_sets": {d.pk: replacement.signed_sets(d) for d in query.datasets.order_by("pk")},
        }
        return Response(
            {**actions.signed_by_portal(query), "attempt": attempt.number, "datasets": datasets, **beside}
        )
