"""The front page, and pages for what went wrong: a problem document under /api/, plain words elsewhere."""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.api import errors
from portal.api.permissions import visible_datasets, visible_queries
from portal.web.analyst import example, noise
from portal.web.analyst.tables import tables
from portal.web.charts import charts
from portal.web.charts.style import themes

SHOWN = 20


@login_not_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """What Fourfold answers, shown on a dummy twin; before that, to people who are logged in, what is theirs."""
    user: Any = request.user
    chosen = request.GET.get("epsilon", example.USUAL)
    epsilon = chosen if chosen in example.EPSILONS else example.USUAL
    context: dict[str, Any] = {"epsilon": epsilon, "epsilons": example.EPSILONS, "program": example.PROGRAM}
    if user.is_authenticated:
        context |= {
            "datasets": visible_datasets(user).select_related("provider")[:SHOWN],
            "queries": visible_queries(user).defer("plan", "description")[:SHOWN],
        }
    answer = example.answer(epsilon)
    pictures: dict[str, Any] = {}
    answers = []
    for number, statement in enumerate(answer["statements"], 1):
        own = charts(statement)
        names = [f"chart-{number}-{k}" for k in range(1, len(own) + 1)]
        pictures |= {name: chart.public() for name, chart in zip(names, own, strict=True)}
        answers.append(
            {
                "number": number,
                "statement": statement,
                "tables": tables(statement, "dp"),
                "charts": [{"id": n, "chart": c} for n, c in zip(names, own, strict=True)],
                "noise": noise.words(statement, "dp"),
            }
        )
    context |= {"answers": answers, "pictures": {"themes": themes(), "charts": pictures}}
    return render(request, "web/index.html", context)


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    if _is_api(request):
        return errors.not_found(request)
    return _page(request, 404, "There is nothing here that you may see.")


def bad_request(request: HttpRequest, exception: Any = None) -> HttpResponse:
    if _is_api(request):
        return errors.bad_request(request)
    return _page(request, 400, "The request cannot be used.")


def internal(request: HttpRequest) -> HttpResponse:
    if _is_api(request):
        return errors.internal(request)
    return _page(request, 500, "Something failed here; it was logged.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    if _is_api(request):
        body = errors.problem("csrf", "The request lacks its CSRF token.", 403)
        return JsonResponse(body, status=403, content_type="application/problem+json")
    return _page(request, 403, "The form was too old, or came from elsewhere. Go back and try again.")


def locked_out(request: HttpRequest, credentials: Any = None, *args: Any, **kwargs: Any) -> HttpResponse:
    """After too many failed log-ins; the same words whether the account exists."""
    if _is_api(request):
        body = errors.problem("throttled", "Too many failed attempts; try again later.", 429)
        return JsonResponse(body, status=429, content_type="application/problem+json")
    return _page(request, 429, "Too many failed attempts; try again later.")


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _page(request: HttpRequest, status: int, words: str) -> HttpResponse:
    return render(request, "web/problem.html", {"words": words}, status=status)
