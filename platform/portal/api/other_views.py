"""Accounts' own business, the audit trail, and addresses that do not exist."""

# mypy: disable-error-code="type-arg, misc"

from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.exceptions import AuthenticationFailed, NotFound, Throttled
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts import second_factor
from portal.accounts.actions import make_token
from portal.accounts.models import Role
from portal.api import serializers
from portal.api.permissions import ByRole
from portal.approvals.rules import NotAllowed
from portal.audit.models import Event


class Tokens(APIView):
    """A token for a user name and password; it lasts ten hours."""

    permission_classes = [AllowAny]
    authentication_classes = []
    throttle_scope = "login"

    @extend_schema(request=serializers.LoginSerializer, responses={201: serializers.TokenSerializer})
    def post(self, request: Any) -> Response:
        serializer = serializers.LoginSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        # The same words whether the name, the password or the account's state is wrong.
        code = serializer.validated_data.pop("code", "")
        user = authenticate(request._request, **serializer.validated_data)
        if getattr(request._request, "axes_locked_out", False):
            raise Throttled(detail="Too many failed attempts; try again later.")
        if user is None:
            raise AuthenticationFailed("User name or password is wrong.")
        _second_step(user, code)
        lifetime = settings.TOKEN_LIFETIME
        token = make_token(user, lifetime=lifetime, by=user)
        return Response({"token": token, "expiry": timezone.now() + lifetime}, status=201)

    def get_authenticate_header(self, request: Any) -> str:
        return "Token"


def _second_step(user: Any, code: str) -> None:
    """Raises  CodeNeeded, CodeWrong, NotEnrolled, NotAllowed: what the page of the account would ask first."""
    if user.must_change_password:
        raise NotAllowed("log in on the page and change your password first")
    if second_factor.enrolled(user):
        second_factor.check(user, code)
    elif second_factor.required(user):
        raise second_factor.NotEnrolled("log in on the page and enrol a second factor first")


class Me(APIView):
    """Who you are here."""

    permission_classes = [IsAuthenticated]

    @extend_schema(responses=serializers.MeSerializer)
    def get(self, request: Any) -> Response:
        user = request.user
        home = user.organisation.name if user.organisation else None
        return Response({"username": user.username, "role": user.role, "organisation": home})


class Revoke(APIView):
    """Give the token of this request back: it opens nothing any more."""

    permission_classes = [IsAuthenticated]

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Any) -> Response:
        if request.auth is not None:
            request.auth.delete()
        return Response(status=204)


class EventFilter(filters.FilterSet):
    kind = filters.CharFilter(max_length=40)
    subject = filters.CharFilter(max_length=200)
    by = filters.CharFilter(max_length=150)

    class Meta:
        model = Event
        fields = ["kind", "subject", "by"]


class Audit(generics.ListAPIView):
    """The audit trail, newest first, for the auditor alone."""

    permission_classes = [ByRole]
    roles = {"GET": frozenset({Role.AUDITOR})}
    serializer_class = serializers.AuditSerializer
    filterset_class = EventFilter
    queryset = Event.objects.all()


class Nowhere(APIView):
    """Every other address under /api/: the same words for everybody."""

    permission_classes = [AllowAny]
    authentication_classes = []
    schema = None

    def _none(self, request: Any, **kwargs: Any) -> Response:
        raise NotFound

    get = post = put = patch = delete = _none
