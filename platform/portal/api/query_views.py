"""Questions: preview, submit, look, decide, withdraw, cancel, read the answer."""

# mypy: disable-error-code="type-arg"

from abc import ABC, abstractmethod
from typing import Any

from django.db.models import F
from django.http import HttpResponse
from django.utils.http import parse_etags
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics, status
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics.privacy.accountant import delta_text
from analytics.query.consent import ACTIVE, PASSIVE
from portal.absence import lost
from portal.accounts import second_factor
from portal.accounts.models import Role
from portal.api import serializers
from portal.api.errors import problem
from portal.api.permissions import EVERY_ROLE, ByRole, may_read_answer, visible_datasets, visible_queries
from portal.budgets.actions import decimal_text
from portal.queries import actions, at_hand, release
from portal.queries.compiling import Prepared, prepare
from portal.queries.models import Query, State
from portal.queries.tests_so_far import tests_so_far
from portal.registry.models import Dataset, DatasetState
from portal.registry.versions import must_answer

RETRY_AFTER = "1"
BODY_LIMIT = 512 * 1024  # 64 KiB of text, escaped


def _asked(request: Any, kind: type[serializers.RequestSerializer]) -> dict[str, Any]:
    """A validated request, its ids replaced by datasets that this person may ask about."""
    serializer = kind(data=request.data)
    serializer.is_valid(raise_exception=True)
    asked = dict(serializer.validated_data)
    asked["datasets"] = _datasets(request.user, asked["datasets"])
    return asked


def _datasets(user: Any, ids: list[str]) -> list[Dataset]:
    # Of an older version an answer may be stored; nothing else is answered on it.
    asked = visible_datasets(user).filter(pk__in=ids, state__in=[DatasetState.READY, DatasetState.SUPERSEDED])
    found = {d.pk: d for d in asked}
    absent = [i for i in ids if i not in found]
    if absent:
        raise ValidationError(
            {"datasets": [f"There is no dataset {i} that you may ask about." for i in absent]}
        )
    return [found[i] for i in ids]


class Preview(APIView):
    """The plan of a question: what it would release, cost and err by. Nothing is kept or charged.

    With assumptions also how wide each figure will be, its power, and the cheapest epsilon for a wanted width.
    """

    permission_classes = [ByRole]
    roles = {"POST": frozenset({Role.ANALYST})}
    throttle_scope = "compile"
    body_limit = BODY_LIMIT

    @extend_schema(request=serializers.PreviewRequestSerializer, responses=serializers.PreviewSerializer)
    def post(self, request: Any) -> Response:
        asked = _asked(request, serializers.PreviewRequestSerializer)
        assumptions = asked.pop("assumptions")
        return Response(self._shown(prepare(**asked), request.user, assumptions))

    def _shown(self, prepared: Prepared, analyst: Any, assumptions: Any) -> dict[str, Any]:
        plan = prepared.plan
        stored = release.stored_answer(Query(plan_hash=plan.hash)) is not None
        found = None if stored else at_hand.look(analyst, prepared)
        free = stored or (found is not None and found.whole)
        if not free:
            must_answer(prepared.datasets)
        return {
            "program": prepared.program,
            "datasets": [d.pk for d in prepared.datasets],
            "epsilon": decimal_text(plan.micro_epsilon),
            "delta": delta_text(plan.atto_delta),
            "mode": plan.mode,
            "plan": prepared.described(assumptions),
            "plan_hash": plan.hash,
            "stored": stored,
            "charge": decimal_text(0 if free else plan.micro_epsilon),
            "charge_delta": delta_text(0 if free else plan.atto_delta),
            "from": [str(query.pk) for query in found.used()] if found and found.whole else [],
            "free_statements": found.statements() if found else [],
            "told": found.told() if found else "",
            "tests_so_far": tests_so_far(analyst, prepared.datasets),
            "missing": (missing := lost.current()),
            "security": ACTIVE if missing is None else PASSIVE,
        }


@extend_schema_view(
    get=extend_schema(responses=serializers.QuerySerializer(many=True)),
    post=extend_schema(
        request=serializers.SubmissionSerializer,
        responses={
            201: serializers.QueryDetailSerializer,
            409: OpenApiResponse(
                description="not_useful: noise would drown a figure; confirm to ask all the same"
            ),
        },
    ),
)
class Queries(generics.ListAPIView):
    """Questions that you may see, newest first; a new question."""

    permission_classes = [ByRole]
    roles = {"GET": EVERY_ROLE, "POST": frozenset({Role.ANALYST})}
    filterset_fields = ["state", "mode"]
    body_limit = BODY_LIMIT
    queryset = Query.objects.none()

    def get_throttles(self) -> list[Any]:
        # Only submitting compiles.
        self.throttle_scope = "compile" if self.request.method == "POST" else None
        return super().get_throttles()

    def get_queryset(self) -> Any:
        return (
            visible_queries(self.request.user)
            .select_related("analyst", "order")
            .prefetch_related("parts", "attempts")
        )

    def get_serializer_class(self) -> Any:
        if getattr(self.request.user, "role", "") == Role.PROVIDER:
            return serializers.QueryForProviderSerializer
        return serializers.QuerySerializer

    def post(self, request: Any) -> Response:
        query = actions.submit(analyst=request.user, **_asked(request, serializers.SubmissionSerializer))
        body = serializers.QueryDetailSerializer(query).data
        return Response(
            body, status=status.HTTP_201_CREATED, headers={"Location": f"/api/queries/{query.pk}/"}
        )


class QueryDetail(generics.RetrieveAPIView):
    """One question, its plan and what happened to it."""

    permission_classes = [ByRole]
    roles = {"GET": EVERY_ROLE}
    queryset = Query.objects.none()

    def get_queryset(self) -> Any:
        return (
            visible_queries(self.request.user)
            .select_related("analyst", "order")
            .prefetch_related("parts", "attempts", "events")
        )

    def get_serializer_class(self) -> Any:
        if getattr(self.request.user, "role", "") == Role.PROVIDER:
            return serializers.QueryForProviderSerializer
        return serializers.QueryDetailSerializer


class _Decision(APIView, ABC):
    """Shared by approve, refuse, withdraw and cancel: find the query, act, show it."""

    permission_classes = [ByRole]
    serializer_class: Any = serializers.ReasonSerializer

    @abstractmethod
    def act(self, query: Query, user: Any, reason: str) -> None:
        """Move the query as this user decided, or raise a problem."""

    @extend_schema(request=serializers.ReasonSerializer, responses=serializers.QueryDetailSerializer)
    def post(self, request: Any, pk: Any) -> Response:
        query = get_object_or_404(visible_queries(request.user), pk=pk)
        serializer = self.serializer_class(data=request.data if request.data is not None else {})
        serializer.is_valid(raise_exception=True)
        self.act(query, request.user, **serializer.validated_data)
        query.refresh_from_db()
        return Response(serializers.QueryDetailSerializer(query).data)


class Approve(_Decision):
    """Yes: the budget is reserved, the order signed, the parties will compute."""

    roles = {"POST": frozenset({Role.OPERATOR})}
    serializer_class = serializers.ApproveSerializer

    @extend_schema(request=serializers.ApproveSerializer, responses=serializers.QueryDetailSerializer)
    def post(self, request: Any, pk: Any) -> Response:
        if request.auth is None:  # a session; whoever made a token gave a code for it
            second_factor.must_be_fresh(request)
        return super().post(request, pk)

    def act(self, query: Query, user: Any, reason: str, missing: int | None = None) -> None:
        actions.approve(query=query, by=user, reason=reason, missing=missing)


class Refuse(_Decision):
    """No, with a reason."""

    roles = {"POST": frozenset({Role.OPERATOR})}

    def act(self, query: Query, user: Any, reason: str) -> None:
        actions.refuse(query=query, by=user, reason=reason)


class Withdraw(_Decision):
    """The asker takes it back before it runs."""

    roles = {"POST": frozenset({Role.ANALYST})}

    def act(self, query: Query, user: Any, reason: str) -> None:
        actions.withdraw(query=query, by=user, reason=reason)


class Cancel(_Decision):
    """A running query is stopped: it ends ABORTED with the code "cancelled" and nothing of it is released."""

    roles = {"POST": frozenset({Role.ANALYST, Role.OPERATOR})}

    def act(self, query: Query, user: Any, reason: str) -> None:
        actions.cancel(query=query, by=user, reason=reason)


class ResultView(APIView):
    """The answer: the same bytes every time, with an ETag; 202 while it is not there yet."""

    permission_classes = [ByRole]
    roles = {"GET": EVERY_ROLE}

    @extend_schema(
        parameters=[OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, required=False)],
        responses={
            200: serializers.ResultSerializer,
            202: serializers.WaitSerializer,
            304: OpenApiResponse(description="the answer that you have"),
            409: OpenApiResponse(description="refused, withdrawn or aborted"),
        },
    )
    def get(self, request: Any, pk: Any) -> HttpResponse:
        # Analysts poll this: one row by its key, without program, plan and answer, which only a 200 needs.
        polled = visible_queries(request.user).only("analyst", "mode", "state", "reason", "code")
        query = get_object_or_404(polled.annotate(etag=F("result__etag")), pk=pk)
        if not may_read_answer(request.user, query):
            self.permission_denied(request, message="You may see this query, not its answer.")
        if query.state == State.RELEASED:
            return self._answer(request, query)
        if query.state in (State.REFUSED, State.WITHDRAWN, State.ABORTED):
            code = query.state.lower()
            detail = query.reason or f"The query is {code}."
            more = {"query": str(query.pk), "abort_code": query.code or None}
            return Response(problem(code, detail, 409, **more), status=409)
        waiting = {"query": str(query.pk), "state": query.state}
        return Response(
            waiting, status=202, headers={"Retry-After": RETRY_AFTER, "Cache-Control": "no-store"}
        )

    def _answer(self, request: Any, query: Any) -> HttpResponse:
        etag = f'"{query.etag}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        known = parse_etags(request.META.get("HTTP_IF_NONE_MATCH", ""))
        if "*" in known or etag in [tag.removeprefix("W/") for tag in known]:
            return HttpResponse(status=304, headers=headers)
        return HttpResponse(query.result.body.encode(), content_type="application/json", headers=headers)
