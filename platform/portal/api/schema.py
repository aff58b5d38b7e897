"""How people and parties authenticate, as the OpenAPI document says it. Loaded when the app is ready."""

# mypy: disable-error-code="no-untyped-call"

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "portal.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "Authorization: Token T",
        }


class PartyScheme(OpenApiAuthenticationExtension):
    target_class = "portal.api.authentication.PartyAuthentication"
    name = "party"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "Authorization: Party N:UNIXTIME:SIGNATURE over method, path and time",
        }
