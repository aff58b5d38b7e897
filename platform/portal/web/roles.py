"""Which roles may open a page; strangers are asked to log in, others are told that it is not theirs."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

from portal.accounts.models import Role

View = Callable[..., HttpResponseBase]
EVERY_ROLE = tuple(Role)


def roles(*allowed: Role) -> Callable[[View], View]:
    """A page for these roles alone."""

    def decorate(view: View) -> View:
        @wraps(view)
        def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            user: Any = request.user
            if not user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if user.role not in allowed:
                words = f"This page is for {' and '.join(f'{role.label.lower()}s' for role in allowed)}."
                return render(
                    request, "web/problem.html", {"words": words, "title": "Not your page"}, status=403
                )
            return view(request, *args, **kwargs)

        return page

    return decorate
