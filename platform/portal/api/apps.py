from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "portal.api"
    label = "api"

    def ready(self) -> None:
        import portal.api.schema  # noqa: F401  registers itself with the OpenAPI generator
