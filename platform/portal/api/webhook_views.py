"""An analyst's or a provider's own webhooks, and what became of each delivery."""

# mypy: disable-error-code="type-arg, misc"

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.generics import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.models import Role
from portal.api import serializers
from portal.api.permissions import ByRole
from portal.webhooks import actions
from portal.webhooks.models import Delivery, Webhook

OWNERS = frozenset({Role.ANALYST, Role.PROVIDER})


def _own(request: Any, webhook: Any) -> Webhook:
    return get_object_or_404(Webhook, pk=webhook, owner=request.user.pk)


class Webhooks(generics.ListAPIView):
    """Your webhooks; a new one, whose secret is shown this once."""

    permission_classes = [ByRole]
    roles = {"GET": OWNERS, "POST": OWNERS}
    serializer_class = serializers.WebhookSerializer
    queryset = Webhook.objects.none()

    def get_queryset(self) -> Any:
        return Webhook.objects.filter(owner=self.request.user.pk)

    @extend_schema(
        request=serializers.NewWebhookSerializer, responses={201: serializers.WebhookWithSecretSerializer}
    )
    def post(self, request: Any) -> Response:
        asked = serializers.NewWebhookSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        webhook = actions.register(owner=request.user, **asked.validated_data)
        body = {**serializers.WebhookSerializer(webhook).data, "secret": actions.secret(webhook)}
        return Response(body, status=201, headers={"Location": f"/api/webhooks/{webhook.pk}/"})


class WebhookDetail(APIView):
    """One of your webhooks; DELETE removes it with its log."""

    permission_classes = [ByRole]
    roles = {"GET": OWNERS, "DELETE": OWNERS}

    @extend_schema(responses=serializers.WebhookSerializer)
    def get(self, request: Any, webhook: Any) -> Response:
        return Response(serializers.WebhookSerializer(_own(request, webhook)).data)

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Any, webhook: Any) -> Response:
        actions.remove(webhook=_own(request, webhook), by=request.user)
        return Response(status=204)


class EnableWebhook(APIView):
    """Told again from now on, after failures had disabled it."""

    permission_classes = [ByRole]
    roles = {"POST": OWNERS}

    @extend_schema(request=None, responses=serializers.WebhookSerializer)
    def post(self, request: Any, webhook: Any) -> Response:
        own = _own(request, webhook)
        actions.enable(webhook=own, by=request.user)
        return Response(serializers.WebhookSerializer(own).data)


class Deliveries(generics.ListAPIView):
    """What one of your webhooks was told, newest first; kept for a month."""

    permission_classes = [ByRole]
    roles = {"GET": OWNERS}
    serializer_class = serializers.DeliverySerializer
    filterset_fields = ["state", "event"]
    queryset = Delivery.objects.none()

    def get_queryset(self) -> Any:
        if "webhook" not in self.kwargs:
            return Delivery.objects.none()
        return Delivery.objects.filter(webhook=_own(self.request, self.kwargs["webhook"]))
