"""Who asks: a person by token or session, a party by a signature over its request."""

# mypy: disable-error-code="misc"

import re
import time
from typing import Any

from django.utils import timezone
from knox.auth import TokenAuthentication as KnoxTokenAuthentication
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

from analytics.query.approval import BadSignature, verify
from portal.registry import parties

CLOCK_SLACK = 60  # seconds
_PARTY = re.compile(r"Party ([0-9]):([0-9]{1,12}):([0-9a-f]{128})")


class TokenAuthentication(KnoxTokenAuthentication):
    """`Authorization: Token T`."""

    def authenticate_credentials(self, token: bytes) -> Any:
        # The parent decodes whatever came; a token of ours is short and plain.
        if len(token) > 256 or not token.isalnum():
            raise AuthenticationFailed("Invalid token.")
        return super().authenticate_credentials(token)

    def _cleanup_token(self, auth_token: Any) -> bool:
        """Whether this token has expired, which removes it.

        The parent looks through the owner's other tokens too, at every request: that is done when one is made
        (`accounts.actions.make_token`).
        """
        if auth_token.expiry is None or auth_token.expiry >= timezone.now():
            return False
        auth_token.delete()
        return True


class PartyUser:
    """A computing party that signed its request. It has no account and no role."""

    is_authenticated = True
    is_active = True
    is_staff = False
    is_superuser = False
    role = ""

    def __init__(self, party: int) -> None:
        self.party = party
        self.pk = f"party-{party}"
        self.username = f"party {party}"


class PartyAuthentication(BaseAuthentication):
    """`Authorization: Party N:UNIXTIME:HEXSIG`, the signature over method, path and time."""

    def authenticate(self, request: Any) -> tuple[PartyUser, None] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header.startswith("Party "):
            return None
        match = _PARTY.fullmatch(header)
        if match is None:
            raise AuthenticationFailed("Write Authorization: Party N:UNIXTIME:SIGNATURE.")
        number, when, signature = int(match[1]), int(match[2]), match[3]
        keys = {p.party: p.sign for p in parties.pinned()}
        if number not in keys:
            raise AuthenticationFailed("There is no such party.")
        if abs(time.time() - when) > CLOCK_SLACK:
            raise AuthenticationFailed("The request is too old, or the clocks differ by more than a minute.")
        signed = {
            "type": "fourfold/1/request",
            "party": number,
            "method": request.method,
            "path": request.path,
            "time": when,
        }
        try:
            verify(signed, signature, keys[number])
        except BadSignature:
            raise AuthenticationFailed("The signature is not that of the party.") from None
        return PartyUser(number), None

    def authenticate_header(self, request: Any) -> str:
        return "Party"
