"""People, their organisations and roles: made, changed, closed, opened; a new password is shown once."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from knox.models import AuthToken

from portal.accounts import people, second_factor
from portal.accounts.models import Organisation, Role, User
from portal.web.roles import roles

PAGE = 50
FORM = ["GET", "HEAD", "POST"]
# What may be done to an account, by the word of its button, and what is said then.
DONE: dict[str, tuple[Callable[..., Any], str]] = {
    "close": (people.close, "The account is closed: its sessions and tokens have ended."),
    "reopen": (people.reopen, "The account is open again."),
    "tokens": (people.revoke_tokens, "All tokens of the account are revoked."),
    "factor": (people.remove_factor, "The second factor is removed."),
    "unlock": (people.unlock, "Failed log-ins are forgotten."),
}


@roles(Role.OPERATOR)
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Accounts by name, and organisations."""
    asked = request.GET.get("q", "").replace("\x00", "").strip()[:150]
    found = User.objects.select_related("organisation").order_by("username")
    if asked:
        found = found.filter(Q(username__icontains=asked) | Q(organisation__name__icontains=asked))
    context = {
        "page": Paginator(found, PAGE).get_page(request.GET.get("page")),
        "q": asked,
        "locked": people.locked_out(),
        "organisations": Organisation.objects.annotate(count=Count("people")).order_by("name"),
    }
    return render(request, "web/operator/people.html", context)


@roles(Role.OPERATOR)
@never_cache
@require_http_methods(FORM)
def new(request: HttpRequest) -> HttpResponse:
    """A new account; its first password is shown this once."""
    context: dict[str, Any] = {"given": request.POST}
    if request.method == "POST":
        try:
            made, password = people.create(
                by=_by(request),
                name=_text(request, "name"),
                role=_text(request, "role"),
                organisation=_text(request, "organisation"),
            )
        except people.PeopleRefused as refused:
            context["wrong"] = _sentence(refused)
        else:
            return render(request, "web/operator/password.html", {"person": made, "password": password})
    context |= _choices(request)
    status = 400 if "wrong" in context else 200
    return render(request, "web/operator/person_new.html", context, status=status)


@roles(Role.OPERATOR)
@never_cache
@require_http_methods(FORM)
def one(request: HttpRequest, pk: int) -> HttpResponse:
    """One account, and what may be done to it."""
    person = get_object_or_404(User.objects.select_related("organisation"), pk=pk)
    wrong = ""
    if request.method == "POST":
        try:
            answer = _act(request, person)
        except (people.PeopleRefused, second_factor.NotEnrolled) as refused:
            wrong = _sentence(refused)
        else:
            return answer
    context = {
        "person": person,
        "wrong": wrong,
        "may": people.may_manage(_by(request), person),
        "enrolled": second_factor.enrolled(person),
        "tokens": AuthToken.objects.filter(user=person).count(),
        "locked": person.username in people.locked_out(),
        **_choices(request),
    }
    return render(request, "web/operator/person.html", context, status=409 if wrong else 200)


def _act(request: HttpRequest, person: User) -> HttpResponse:
    """Raises PeopleRefused, NotEnrolled."""
    what, by = request.POST.get("do", ""), _by(request)
    if what == "password":
        password = people.reset_password(by=by, user=person)
        return render(request, "web/operator/password.html", {"person": person, "password": password})
    if what == "change":
        role, organisation = _text(request, "role"), _text(request, "organisation")
        people.change(by=by, user=person, role=role, organisation=organisation)
        messages.success(request, "The account is changed.")
    elif what in DONE:
        act, told = DONE[what]
        act(by=by, user=person)
        messages.success(request, told)
    return redirect("web:person", pk=person.pk)


def _by(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _choices(request: HttpRequest) -> dict[str, Any]:
    may_make = [r for r in Role if r != Role.OPERATOR or _by(request).is_superuser]
    return {"roles": may_make, "organisations": Organisation.objects.order_by("name")}


def _text(request: HttpRequest, name: str) -> str:
    return request.POST.get(name, "").replace("\x00", "")


def _sentence(refused: Exception) -> str:
    words = f"{refused}".rstrip(".") + "."
    return words[:1].upper() + words[1:]
