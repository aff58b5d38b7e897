"""What a person must do before anything else: change a password that somebody else made, enrol a second factor.

It holds for sessions alone, on pages, in the admin and under /api/; a token was made by somebody who had passed here.
"""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import logout
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from portal.accounts import second_factor
from portal.api import errors

OPEN = ("/static/", "/healthz")


class Gate:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(OPEN) or not request.user.is_authenticated:
            return self.get_response(request)
        return self._first(request) or self.get_response(request)

    def _first(self, request: HttpRequest) -> HttpResponseBase | None:
        user: Any = request.user
        if user.must_change_password:
            return _to(request, "web:account-password", "change your password first")
        if second_factor.required(user) and not second_factor.ever_given(request):
            if second_factor.enrolled(user):
                # A session from before the rule: it begins anew, with a code.
                logout(request)
                return self.get_response(request)
            return _to(request, "web:account-factor", "enrol a second factor first")
        return None


def _to(request: HttpRequest, name: str, words: str) -> HttpResponseBase | None:
    if request.path in (reverse(name), reverse("web:logout")):
        return None
    if request.path.startswith("/api/"):
        body = errors.problem("account", f"On the page of your account, {words}.", 403)
        return JsonResponse(body, status=403, content_type="application/problem+json")
    return redirect(name)
