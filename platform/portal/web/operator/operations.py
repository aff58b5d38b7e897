"""How the deployment is: parties, queue, jobs in flight, throughput; and the switch that pauses it."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from portal import dispatch
from portal.accounts.models import Role
from portal.operations import load, pauses
from portal.operations.health import conditions
from portal.operations.switching import switch
from portal.registry import parties
from portal.web.roles import roles


@roles(Role.OPERATOR, Role.AUDITOR)
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """Read by operators and auditors; paused and resumed by operators."""
    user: Any = request.user
    if request.method == "POST":
        if user.role != Role.OPERATOR:
            words = "Operators pause and resume; you may look."
            return render(
                request, "web/problem.html", {"words": words, "title": "Not yours to do"}, status=403
            )
        switch(request, by=user.get_username())
        return redirect("web:operations")
    now = timezone.now()
    context = {
        "parties": _parties(now),
        "pause": pauses.current(),
        "unfinished": pauses.unfinished(),
        "may_switch": user.role == Role.OPERATOR,
        "waiting": load.waiting(now),
        "flight": load.in_flight(now),
        "hours": load.throughput(now),
        "busiest": load.HOURS,
        "now": now,
    }
    return render(request, "web/operator/operations.html", context)


def _parties(now: Any) -> list[dict[str, Any]]:
    """Each party's condition and queue; none where the file with their keys cannot be read."""
    try:
        fingerprints = [p.fingerprint for p in parties.pinned()]
    except parties.PartiesUnknown:
        return []
    queues = dispatch.queue_lengths()
    return [
        {"number": c.party, **c.public(now), "queue": None if queues is None else queues.get(c.party)}
        for c in conditions(fingerprints)
    ]
