"""Everybody's own account: password, tokens, second factor. What is secret is shown once, where it was made."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe
from knox.models import AuthToken

from portal.accounts import second_factor
from portal.accounts.actions import change_password, make_token, revoke_token
from portal.accounts.second_factor import CodeNeeded, CodeWrong, NotEnrolled

LIFETIMES = {"10h": timedelta(hours=10), "7d": timedelta(days=7), "90d": timedelta(days=90)}
FORM = ["GET", "HEAD", "POST"]


@login_required
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """What there is, and where to change it."""
    return render(request, "web/account/overview.html", _facts(request.user))


@login_required
@never_cache
@sensitive_post_parameters()
@require_http_methods(FORM)
def password(request: HttpRequest) -> HttpResponse:
    """The old one, a new one twice. All other sessions end; tokens too, if so chosen."""
    user: Any = request.user
    form = PasswordChangeForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        change_password(user, form.cleaned_data["new_password1"], tokens=bool(request.POST.get("tokens")))
        update_session_auth_hash(request, user)
        messages.success(request, "Your password is changed; your other sessions have ended.")
        return redirect("web:account")
    status = 400 if form.errors else 200
    return render(request, "web/account/password.html", {"form": form}, status=status)


@login_required
@never_cache
@require_http_methods(FORM)
def tokens(request: HttpRequest) -> HttpResponse:
    """List, make (shown once), revoke."""
    user: Any = request.user
    context: dict[str, Any] = {}
    if request.method == "POST" and "revoke" in request.POST:
        if revoke_token(user, request.POST["revoke"].replace("\x00", "")):
            messages.success(request, "The token is revoked: it opens nothing any more.")
        return redirect("web:account-tokens")
    if request.method == "POST":
        try:
            lifetime = LIFETIMES[request.POST.get("lifetime", "")]
            second_factor.must_be_fresh(request, request.POST.get("code", ""))
        except KeyError:
            context["wrong"] = "Choose how long it lasts."
        except (CodeNeeded, CodeWrong) as refused:
            context["wrong"] = _sentence(refused)
        else:
            context["made"] = make_token(user, lifetime=lifetime, by=user)
    context |= {
        "tokens": AuthToken.objects.filter(user=user).order_by("-created"),
        "needs_code": second_factor.asks(request),
    }
    return render(request, "web/account/tokens.html", context, status=400 if "wrong" in context else 200)


@login_required
@never_cache
@require_http_methods(FORM)
def factor(request: HttpRequest) -> HttpResponse:
    """Enrol: a picture, then a code. Enrolled: other recovery codes, or no second factor any more."""
    user: Any = request.user
    context: dict[str, Any] = {}
    if request.method == "POST":
        try:
            context["codes"] = _changed(request)
        except (CodeNeeded, CodeWrong, NotEnrolled) as refused:
            context["wrong"] = _sentence(refused)
        else:
            if context["codes"] is None:
                return redirect("web:account")
    context |= _facts(user)
    context["needs_code"] = second_factor.asks(request)
    if not context["enrolled"]:
        device = second_factor.begin(user)
        context |= {"picture": second_factor.picture(device), "key": second_factor.key_text(device)}
    return render(request, "web/account/factor.html", context, status=400 if "wrong" in context else 200)


def _changed(request: HttpRequest) -> list[str] | None:
    """Recovery codes to show, if there are new ones. Raises CodeNeeded, CodeWrong, NotEnrolled."""
    user: Any = request.user
    code, what = request.POST.get("code", ""), request.POST.get("do")
    codes = None
    if what == "confirm":
        codes = second_factor.confirm(user, code)
        update_session_auth_hash(request, user)
        second_factor.given(request)
    elif what == "codes":
        second_factor.must_be_fresh(request, code)
        codes = second_factor.renew_codes(user)
    elif what == "remove":
        second_factor.must_be_fresh(request, code)
        second_factor.remove(user, by=user.username)
        update_session_auth_hash(request, user)
        request.session.pop(second_factor.GIVEN, None)
        messages.success(request, "Your second factor is removed; your other sessions have ended.")
    return codes


def _facts(user: Any) -> dict[str, Any]:
    return {
        "person": user,
        "enrolled": second_factor.enrolled(user),
        "required": second_factor.required(user),
        "codes_left": second_factor.codes_left(user),
        "token_count": AuthToken.objects.filter(user=user).count(),
    }


def _sentence(refused: Exception) -> str:
    words = f"{refused}."
    return words[:1].upper() + words[1:]
