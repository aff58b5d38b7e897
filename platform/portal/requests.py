"""Every request has an id: the one its sender gave in X-Request-ID, else a new one; the answer says it.

How long the answer took is counted by route. Lines of the log written while it is answered name it, and the query, dataset and party of its address.
"""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from analytics import logs
from portal import metrics

HEADER = "X-Request-ID"


class Requests:
    """Middleware, the outermost."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = logs.request_id(request.headers.get(HEADER, ""))
        request.request_id = request_id  # type: ignore[attr-defined]
        began = time.perf_counter()
        with logs.bound(request=request_id):
            response = self.get_response(request)
        match = request.resolver_match
        metrics.observe(
            match.view_name if match else "",
            request.method or "",
            response.status_code,
            time.perf_counter() - began,
        )
        response[HEADER] = request_id
        return response

    def process_view(
        self, request: HttpRequest, view: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        key = kwargs.get("pk")
        if isinstance(key, UUID):
            logs.bind(query=str(key))
        elif isinstance(key, str):
            logs.bind(dataset=key)
        if "party" in kwargs:
            logs.bind(party=kwargs["party"])
