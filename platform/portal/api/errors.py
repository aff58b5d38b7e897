"""Every error is a problem document (RFC 9457) with a stable code; no exception text of ours leaks out.

Domain errors carry a `code`; the table below says which status each kind has.
"""

import logging
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, JsonResponse
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from analytics.query.consent import ConsentRejected
from analytics.query.errors import CodebookRejected, PolicyRefused, ProgramRejected
from portal.absence.lost import LostRefused, NotOperator
from portal.accounts.second_factor import CodeNeeded, CodeWrong, NotEnrolled
from portal.approvals.rules import NotAllowed
from portal.budgets.actions import BudgetExhausted, decimal_text
from portal.queries.actions import NotUseful, ReasonNeeded
from portal.queries.compiling import RequestRejected
from portal.queries.reports import ReportConflict, ReportRefused
from portal.queries.states import IllegalMove
from portal.registry.actions import DatasetConflict
from portal.registry.bundles import ChunkRefused, DiskFull
from portal.registry.manifests import ManifestRefused
from portal.registry.parties import PartiesUnknown
from portal.registry.versions import Superseded, VersionRefused
from portal.webhooks.actions import WebhookRefused
from portal.webhooks.addresses import AddressRefused

log = logging.getLogger("portal.api")

STATUS: tuple[tuple[type[Exception], int], ...] = (
    (ProgramRejected, 400),
    (RequestRejected, 400),
    (PolicyRefused, 400),
    (CodebookRejected, 400),
    (ManifestRefused, 400),
    (ReportRefused, 400),
    (ReasonNeeded, 400),
    (ConsentRejected, 400),
    (WebhookRefused, 400),
    (AddressRefused, 400),
    (NotAllowed, 403),
    (CodeNeeded, 403),
    (CodeWrong, 403),
    (NotEnrolled, 403),
    (NotOperator, 403),
    (LostRefused, 409),
    (NotUseful, 409),
    (BudgetExhausted, 409),
    (IllegalMove, 409),
    (DatasetConflict, 409),
    (VersionRefused, 409),
    (Superseded, 409),
    (ReportConflict, 409),
    (ChunkRefused, 409),
    (PartiesUnknown, 503),
    (DiskFull, 507),
)
TITLES = {
    400: "The request cannot be used",
    401: "Who are you?",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    429: "Too many requests",
    500: "Our fault",
    503: "Not available now",
    507: "The portal's disk is full",
}


def problem(code: str, detail: str, http_status: int, **more: Any) -> dict[str, Any]:
    """The body of a problem document."""
    return {
        "type": f"urn:fourfold:problem:{code}",
        "title": TITLES.get(http_status, "Problem"),
        "status": http_status,
        "code": code,
        "detail": detail,
        "where": None,
        "suggestions": [],
        **more,
    }


def handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """The exception handler of the REST framework."""
    for kind, http_status in STATUS:
        if isinstance(error, kind):
            set_rollback()
            code = str(getattr(error, "code", "error"))
            if http_status >= 500:
                log.error("%s: %s", code, error)
                return Response(problem(code, TITLES[http_status] + ".", http_status), http_status)
            detail = error.message if isinstance(error, ProgramRejected) else str(error)
            return Response(problem(code, detail, http_status, **_more(error)), http_status)
    if isinstance(error, Http404):
        # One text for what is absent and what may not be seen.
        error = exceptions.NotFound("There is nothing here that you may see.")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    response = exception_handler(error, context)
    if response is None:
        # What nobody foresaw: the log gets the place, the client gets nothing but the status.
        log.exception("unexpected %s in %s", type(error).__name__, type(context.get("view")).__name__)
        set_rollback()
        return Response(problem("internal", "Something failed here; it was logged.", 500), 500)
    assert isinstance(error, exceptions.APIException)
    response.data = _framework(error, response.status_code)
    return response


def not_found(request: Any, exception: Any = None) -> JsonResponse:
    """For addresses under /api/ that no route has."""
    body = problem("not_found", "There is nothing here that you may see.", 404)
    return JsonResponse(body, status=404, content_type="application/problem+json")


def internal(request: Any) -> JsonResponse:
    body = problem("internal", "Something failed here; it was logged.", 500)
    return JsonResponse(body, status=500, content_type="application/problem+json")


def bad_request(request: Any, exception: Any = None) -> JsonResponse:
    body = problem("bad_request", "The request cannot be used.", 400)
    return JsonResponse(body, status=400, content_type="application/problem+json")


def _more(error: Exception) -> dict[str, Any]:
    if isinstance(error, ProgramRejected):
        public = error.public()
        return {"where": public["where"], "suggestions": public["suggestions"]}
    if isinstance(error, CodebookRejected):
        return {"problems": error.problems}
    if isinstance(error, NotUseful):
        return {"confirm": [error.code]}
    if isinstance(error, BudgetExhausted):
        return {
            "dataset": error.dataset,
            "asked": decimal_text(error.asked),
            "left": decimal_text(error.left),
        }
    return {}


def _framework(error: exceptions.APIException, http_status: int) -> dict[str, Any]:
    if isinstance(error, exceptions.ValidationError):
        fields = list(_fields(error.detail))
        detail = "; ".join(f"{name}: {text}" if name else text for name, text in fields)
        listed = [{"field": name, "message": text} for name, text in fields]
        return problem("invalid", detail, http_status, errors=listed)
    codes = error.get_codes()
    code = codes if isinstance(codes, str) else "invalid"
    if http_status == status.HTTP_404_NOT_FOUND:
        return problem("not_found", "There is nothing here that you may see.", 404)
    return problem(code, str(error.detail), http_status)


def _fields(detail: Any, path: str = "") -> Any:
    """(field, message) of a validation error, depth first."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            below = "" if name == "non_field_errors" else str(name)
            yield from _fields(inner, f"{path}.{below}" if path and below else path or below)
    elif isinstance(detail, list):
        for inner in detail:
            yield from _fields(inner, path)
    else:
        yield path, str(detail)
