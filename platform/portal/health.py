"""/healthz: whether this process can do its work, for supervisors and load balancers."""

from django.conf import settings
from django.db import connection
from django.db.utils import Error as DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from portal import dispatch

DEMO = "demo deployment: all four parties run on one machine, which protects nobody from its owner"


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 if database and broker answer, else 503; says when this is a demo deployment."""
    database, broker = _database(), dispatch.broker_answers()
    healthy = database and broker
    body = {
        "status": "ok" if healthy else "failing",
        "database": "ok" if database else "failing",
        "broker": "ok" if broker else "failing",
        "demo": settings.FOURFOLD_DEMO,
    }
    if settings.FOURFOLD_DEMO:
        body["notice"] = DEMO
    response = JsonResponse(body, status=200 if healthy else 503, headers={"Cache-Control": "no-store"})
    # A supervisor asks every second: one failing broker is not a line in the log for each.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True
