"""Pages of who asks: the catalogue, the editor, queries and their answers."""

from django.urls import URLPattern, path

from portal.web.analyst import answers, asking, datasets

urlpatterns: list[URLPattern] = [
    path("datasets/", datasets.catalogue, name="catalogue"),
    path("datasets/<dataset:pk>/", datasets.dataset, name="dataset"),
    path("datasets/<dataset:pk>/twin.csv", datasets.twin, name="twin"),
    path("queries/", asking.queries, name="queries"),
    path("queries/new/", asking.new, name="query-new"),
    path("queries/drafts/", asking.save_draft, name="drafts"),
    path("queries/drafts/<small:draft>/delete/", asking.delete_draft, name="draft-delete"),
    path("queries/<uuid:pk>/", answers.query, name="query"),
    path("queries/<uuid:pk>/live/", answers.live, name="query-live"),
    path("queries/<uuid:pk>/report/", answers.report, name="query-report"),
    path("queries/<uuid:pk>/result.json", answers.as_json, name="query-json"),
    path("queries/<uuid:pk>/result.csv", answers.as_csv, name="query-csv"),
    path("queries/<uuid:pk>/withdraw/", answers.withdraw, name="query-withdraw"),
    path("queries/<uuid:pk>/cancel/", answers.cancel, name="query-cancel"),
    path("queries/<uuid:pk>/retry/", answers.retry, name="query-retry"),
]
