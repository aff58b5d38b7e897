"""Datasets: the catalogue, an upload in sealed chunks, and each dataset's budget."""

# mypy: disable-error-code="type-arg"

import re
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.models import Role
from portal.api import serializers
from portal.api.parsers import BoundedBytesParser
from portal.api.permissions import EVERY_ROLE, ByRole, visible_datasets
from portal.budgets.models import Account
from portal.registry import actions, bundles
from portal.registry.models import Dataset, DatasetState

PROVIDERS = frozenset({Role.PROVIDER})
_CHUNKS = re.compile(r"[0-9]{1,6}")


@extend_schema_view(
    get=extend_schema(responses=serializers.DatasetSerializer(many=True)),
    post=extend_schema(
        request=serializers.ManifestRequestSerializer,
        responses={201: serializers.DatasetDetailSerializer, 200: serializers.DatasetDetailSerializer},
    ),
)
class Datasets(generics.ListAPIView):
    """Datasets that you may see; a new one, announced by its signed manifest."""

    permission_classes = [ByRole]
    roles = {"GET": EVERY_ROLE, "POST": PROVIDERS}
    serializer_class = serializers.DatasetSerializer
    filterset_fields = ["state", "chain", "version"]
    queryset = Dataset.objects.none()
    body_limit = 4 * 1024 * 1024

    def get_queryset(self) -> Any:
        return visible_datasets(self.request.user).select_related("provider")

    def post(self, request: Any) -> Response:
        serializer = serializers.ManifestRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        dataset, new = actions.announce(
            by=request.user,
            manifest=request.data["manifest"],
            signature=serializer.validated_data["signature"],
            codebook=request.data["codebook"],
        )
        body = serializers.DatasetDetailSerializer(dataset).data
        return Response(
            body, status=201 if new else 200, headers={"Location": f"/api/datasets/{dataset.pk}/"}
        )


class DatasetDetail(generics.RetrieveAPIView):
    """One dataset: codebook, policy, signed manifest, receipts."""

    permission_classes = [ByRole]
    roles = {"GET": EVERY_ROLE}
    serializer_class = serializers.DatasetDetailSerializer
    queryset = Dataset.objects.none()

    def get_queryset(self) -> Any:
        return visible_datasets(self.request.user).select_related("provider")


class BundleChunk(APIView):
    """One sealed chunk of one party's bundle, of at most a mebibyte of plaintext."""

    permission_classes = [ByRole]
    roles = {"PUT": PROVIDERS}
    parser_classes = [BoundedBytesParser]
    body_limit = bundles.LARGEST_CHUNK

    @extend_schema(
        parameters=[OpenApiParameter("chunks", int, description="how many chunks the bundle has")],
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={201: serializers.AcceptedSerializer, 200: serializers.AcceptedSerializer},
    )
    def put(self, request: Any, pk: str, party: int, chunk: int) -> Response:
        dataset = get_object_or_404(visible_datasets(request.user), pk=pk)
        of = request.query_params.get("chunks", "")
        if not _CHUNKS.fullmatch(of):
            raise ValidationError({"chunks": ["How many chunks the bundle has: ?chunks=M."]})
        content = request.data if isinstance(request.data, bytes) else b""
        new = bundles.store(dataset, party=party, number=chunk, of=int(of), content=content)
        return Response({"accepted": new}, status=201 if new else 200)


class Complete(APIView):
    """All chunks are here: the parties may open their bundles."""

    permission_classes = [ByRole]
    roles = {"POST": PROVIDERS}

    @extend_schema(request=None, responses=serializers.DatasetDetailSerializer)
    def post(self, request: Any, pk: str) -> Response:
        dataset = get_object_or_404(visible_datasets(request.user), pk=pk)
        actions.finish_upload(dataset=dataset, by=request.user)
        return Response(serializers.DatasetDetailSerializer(dataset).data)


class Budgets(APIView):
    """The privacy accounts of datasets that you may see, as decimal text with six places.

    All versions of a table share one account: a list has it once, under the version that answers.
    """

    permission_classes = [ByRole]
    roles = {"GET": EVERY_ROLE}

    @extend_schema(
        parameters=[OpenApiParameter("dataset", str, description="only this dataset's")],
        responses=serializers.BudgetSerializer(many=True),
    )
    def get(self, request: Any) -> Response:
        datasets = visible_datasets(request.user)
        wanted = request.query_params.get("dataset")
        if wanted is not None:
            # An id that could not be one is as absent as any other.
            known = wanted if re.fullmatch(r"[0-9a-f]{32}", wanted) else ""
            datasets = datasets.filter(pk=get_object_or_404(datasets, pk=known).pk)
        # The last one of a chain stays: the version that answers, else the newest.
        ordered = sorted(datasets, key=lambda d: (d.state == DatasetState.READY, d.version))
        shown = {d.chain: d.pk for d in ordered}
        accounts = Account.objects.filter(pk__in=shown).select_related("dataset").order_by("pk")
        body = serializers.BudgetSerializer(accounts, many=True, context={"shown": shown}).data
        return Response(body)
