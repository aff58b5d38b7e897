"""A party is lost, or back; and the orders among three that wait for a provider's consent."""

# mypy: disable-error-code="type-arg"

from typing import Any

from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.generics import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics.query.consent import PASSIVE
from portal.absence import consents, lost, replacement, takeover
from portal.absence.models import LostParty, PartySet
from portal.accounts.models import Role
from portal.api import serializers
from portal.api.dataset_views import PROVIDERS
from portal.api.parsers import BoundedBytesParser
from portal.api.party_views import PartyView, uploaded
from portal.api.permissions import ByRole, visible_datasets
from portal.api.renderers import BytesRenderer, JSONRenderer
from portal.queries.actions import signed_by_portal
from portal.queries.models import Query
from portal.registry import bundles
from portal.registry.models import PARTIES

OPERATORS = frozenset({Role.OPERATOR})


class _OnParty(APIView):
    permission_classes = [ByRole]
    roles = {"POST": OPERATORS}

    def asked(self, request: Any, party: int) -> dict[str, Any]:
        if party >= PARTIES:
            raise Http404
        serializer = serializers.ReasonSerializer(data=request.data if request.data is not None else {})
        serializer.is_valid(raise_exception=True)
        return {"party": party, "by": request.user, "reason": serializer.validated_data["reason"]}

    def shown(self, row: LostParty) -> Response:
        return Response(serializers.LostPartySerializer(row).data)


class Lost(_OnParty):
    """A party is lost: orders may be made among the three others. A second operator, if there is one, confirms."""

    @extend_schema(request=serializers.ReasonSerializer, responses=serializers.LostPartySerializer)
    def post(self, request: Any, party: int) -> Response:
        return self.shown(lost.declare(**self.asked(request, party)))


class Returned(_OnParty):
    """A lost party is back, or replaced: no order is made or begun among three any more."""

    @extend_schema(request=serializers.ReasonSerializer, responses=serializers.LostPartySerializer)
    def post(self, request: Any, party: int) -> Response:
        return self.shown(lost.revoke(**self.asked(request, party)))


def _waiting(query: Query, user: Any) -> dict[str, Any]:
    return {
        "query": str(query.pk),
        "security": PASSIVE,
        "missing": query.order.missing,
        "datasets": consents.own_missing(query, user),
        "expires": query.order.expires,
        "order_hash": query.order.hash,
        **signed_by_portal(query),
    }


class Consents(APIView):
    """The orders among three parties that wait for your consent, each as the portal signed it."""

    permission_classes = [ByRole]
    roles = {"GET": PROVIDERS}

    @extend_schema(responses=serializers.WaitingConsentSerializer(many=True))
    def get(self, request: Any) -> Response:
        return Response([_waiting(query, request.user) for query in consents.orders_waiting(request.user)])


class ConsentTo(APIView):
    """One order among three, and your signed consent to it for one of your datasets."""

    permission_classes = [ByRole]
    roles = {"GET": PROVIDERS, "POST": PROVIDERS}

    @extend_schema(responses=serializers.WaitingConsentSerializer)
    def get(self, request: Any, pk: Any) -> Response:
        return Response(_waiting(self._query(request, pk), request.user))

    @extend_schema(request=serializers.ConsentSerializer, responses=serializers.WaitingConsentSerializer)
    def post(self, request: Any, pk: Any) -> Response:
        query = self._query(request, pk)
        serializer = serializers.ConsentSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        consents.give(
            query=query,
            by=request.user,
            consent=request.data["consent"],
            signature=serializer.validated_data["signature"],
        )
        return Response(_waiting(query, request.user))

    def _query(self, request: Any, pk: Any) -> Query:
        query = consents.order_for(request.user, pk)
        if query is None:
            raise Http404
        return query


class PartySets(APIView):
    """Who holds a dataset from now on, after a party was replaced: signed by the dataset's provider."""

    permission_classes = [ByRole]
    roles = {"POST": PROVIDERS}

    @extend_schema(request=serializers.PartySetSerializer, responses={201: serializers.AcceptedSerializer})
    def post(self, request: Any, pk: str) -> Response:
        dataset = get_object_or_404(visible_datasets(request.user), pk=pk)
        serializer = serializers.PartySetSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        _, new = replacement.hand_on(
            dataset=dataset,
            by=request.user,
            body=request.data["set"],
            signature=serializer.validated_data["signature"],
        )
        return Response({"accepted": new}, status=201 if new else 200)


def _set_under_way(pk: str, epoch: int) -> PartySet:
    return get_object_or_404(
        PartySet.objects.select_related("dataset"), dataset=pk, epoch=epoch, ready_at=None
    )


class Provision(PartyView):
    """One sealed chunk that a party provides for the new party of a dataset."""

    parser_classes = [BoundedBytesParser]
    body_limit = bundles.LARGEST_CHUNK

    @extend_schema(
        request={"application/octet-stream": OpenApiTypes.BINARY}, responses=serializers.AcceptedSerializer
    )
    def put(self, request: Any, party: int, pk: str, epoch: int, chunks: int, chunk: int) -> Response:
        content = request.data if isinstance(request.data, bytes) else b""
        row = _set_under_way(pk, epoch)
        return Response(
            {"accepted": replacement.store(row, sender=party, number=chunk, of=chunks, content=content)}
        )


class Provided(PartyView):
    """One sealed chunk that another party provided, for the new party alone."""

    renderer_classes = [BytesRenderer, JSONRenderer]

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Any, party: int, pk: str, epoch: int, sender: int, chunk: int) -> HttpResponse:
        row = _set_under_way(pk, epoch)
        found = get_object_or_404(row.provisions, sender=sender, number=chunk)
        if party != row.party:
            raise Http404
        return HttpResponse(replacement.read(found), content_type="application/octet-stream")


class Owed(PartyView):
    """The debits of a dataset that the others spent and signed while this party was not there."""

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Any, party: int, pk: str) -> Response:
        return Response({"debits": takeover.owed(party, uploaded(pk))})
