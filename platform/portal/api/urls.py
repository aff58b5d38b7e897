"""Routes under /api/. Names are part of the contract; each is a row of the permission matrix in the tests."""

from django.urls import path, re_path, register_converter
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from portal.api import absence_views, dataset_views, other_views, party_views, query_views, webhook_views


class DatasetId:
    regex = "[0-9a-f]{32}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class Small:
    """A whole number of at most six digits: no path holds a number that a database could not."""

    regex = "[0-9]{1,6}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(DatasetId, "dataset")
register_converter(Small, "small")

app_name = "api"
urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="api:schema"), name="docs"),
    path("tokens/", other_views.Tokens.as_view(), name="tokens"),
    path("tokens/revoke/", other_views.Revoke.as_view(), name="revoke"),
    path("me/", other_views.Me.as_view(), name="me"),
    path("audit/", other_views.Audit.as_view(), name="audit"),
    path("budget/", dataset_views.Budgets.as_view(), name="budget"),
    path("datasets/", dataset_views.Datasets.as_view(), name="datasets"),
    path("datasets/<dataset:pk>/", dataset_views.DatasetDetail.as_view(), name="dataset"),
    path(
        "datasets/<dataset:pk>/bundles/<small:party>/<small:chunk>/",
        dataset_views.BundleChunk.as_view(),
        name="bundle",
    ),
    path("datasets/<dataset:pk>/party-sets/", absence_views.PartySets.as_view(), name="party-sets"),
    path("datasets/<dataset:pk>/complete/", dataset_views.Complete.as_view(), name="complete"),
    path("queries/", query_views.Queries.as_view(), name="queries"),
    path("queries/preview/", query_views.Preview.as_view(), name="preview"),
    path("queries/<uuid:pk>/", query_views.QueryDetail.as_view(), name="query"),
    path("queries/<uuid:pk>/approve/", query_views.Approve.as_view(), name="approve"),
    path("queries/<uuid:pk>/refuse/", query_views.Refuse.as_view(), name="refuse"),
    path("queries/<uuid:pk>/withdraw/", query_views.Withdraw.as_view(), name="withdraw"),
    path("queries/<uuid:pk>/cancel/", query_views.Cancel.as_view(), name="cancel"),
    path("queries/<uuid:pk>/result/", query_views.ResultView.as_view(), name="result"),
    path("webhooks/", webhook_views.Webhooks.as_view(), name="webhooks"),
    path("webhooks/<uuid:webhook>/", webhook_views.WebhookDetail.as_view(), name="webhook"),
    path("webhooks/<uuid:webhook>/enable/", webhook_views.EnableWebhook.as_view(), name="webhook-enable"),
    path(
        "webhooks/<uuid:webhook>/deliveries/", webhook_views.Deliveries.as_view(), name="webhook-deliveries"
    ),
    path("parties/", party_views.Parties.as_view(), name="parties"),
    path("parties/<small:party>/lost/", absence_views.Lost.as_view(), name="lost"),
    path("parties/<small:party>/returned/", absence_views.Returned.as_view(), name="returned"),
    path("consents/", absence_views.Consents.as_view(), name="consents"),
    path("consents/<uuid:pk>/", absence_views.ConsentTo.as_view(), name="consent"),
    path("parties/<small:party>/reports/", party_views.Reports.as_view(), name="reports"),
    path(
        "parties/<small:party>/datasets/<dataset:pk>/",
        party_views.PartyDataset.as_view(),
        name="party-dataset",
    ),
    path(
        "parties/<small:party>/datasets/<dataset:pk>/bundles/<small:chunk>/",
        party_views.PartyChunk.as_view(),
        name="party-chunk",
    ),
    path("parties/<small:party>/datasets/<dataset:pk>/owed/", absence_views.Owed.as_view(), name="owed"),
    path(
        "parties/<small:party>/datasets/<dataset:pk>/provisions/<small:epoch>/<small:chunks>/<small:chunk>/",
        absence_views.Provision.as_view(),
        name="provision",
    ),
    path(
        "parties/<small:party>/datasets/<dataset:pk>/provided/<small:epoch>/<small:sender>/<small:chunk>/",
        absence_views.Provided.as_view(),
        name="provided",
    ),
    path("parties/<small:party>/orders/<uuid:pk>/", party_views.PartyOrder.as_view(), name="party-order"),
    re_path(r"^.*$", other_views.Nowhere.as_view(), name="nowhere"),
]
