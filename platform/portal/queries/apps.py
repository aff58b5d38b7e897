from django.apps import AppConfig


class QueriesConfig(AppConfig):
    name = "portal.queries"
    label = "queries"
