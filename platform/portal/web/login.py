"""Logging in: user name and password, then a code of whoever has a second factor. The admin's door is the same one.

Between the two steps nobody is logged in: the session holds whose password was right, for five minutes and five codes.
"""

import time
from typing import Any

from django.contrib.auth import login
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from portal.accounts import second_factor
from portal.accounts.models import User

PENDING, SECONDS, TRIES = "log_in", 300, 5


class LogIn(LoginView):
    template_name = "web/login.html"
    http_method_names = ["get", "post", "head"]

    def form_valid(self, form: Any) -> Any:
        user = form.get_user()
        if not second_factor.enrolled(user):
            return super().form_valid(form)
        self.request.session.cycle_key()
        self.request.session[PENDING] = {
            "user": user.pk,
            "backend": user.backend,
            "hash": user.get_session_auth_hash(),
            "time": int(time.time()),
            "tries": 0,
            "next": self.get_success_url(),
        }
        return redirect("web:login-code")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def second_step(request: HttpRequest) -> HttpResponse:
    """A code or a recovery code; then the session begins."""
    pending = request.session.get(PENDING)
    user = _whose(pending)
    if user is None or pending is None:
        request.session.pop(PENDING, None)
        return redirect("web:login")
    wrong = ""
    if request.method == "POST":
        try:
            second_factor.check(user, request.POST.get("code", ""))
        except (second_factor.CodeNeeded, second_factor.CodeWrong) as refused:
            wrong = f"{refused}"
            request.session[PENDING] = pending | {"tries": pending["tries"] + 1}
        else:
            request.session.pop(PENDING)
            login(request, user, backend=pending["backend"])
            second_factor.given(request)
            return redirect(pending["next"])
    return render(request, "web/login_code.html", {"wrong": wrong[:1].upper() + wrong[1:]})


def _whose(pending: Any) -> User | None:
    """Whose password was right; None once that is too long ago, tried too often, or no longer true."""
    if not pending or pending["tries"] >= TRIES or not 0 <= time.time() - pending["time"] <= SECONDS:
        return None
    user = User.objects.filter(pk=pending["user"], is_active=True).first()
    if user is None or not constant_time_compare(user.get_session_auth_hash(), pending["hash"]):
        return None
    return user
