"""A pause or its end that was sent from a page: done, and told as the page's message."""

from django.contrib import messages
from django.http import HttpRequest

from portal.operations import pauses


def switch(request: HttpRequest, *, by: str) -> None:
    """Do what the form's `to` says: paused (with a `reason`) or running. What cannot be done is told, not raised."""
    try:
        if request.POST.get("to") == "paused":
            pauses.begin(by=by, reason=request.POST.get("reason", ""))
            messages.success(request, "Paused: running queries end, nothing new starts.")
        elif request.POST.get("to") == "running":
            pauses.end(by=by)
            messages.success(request, "Resumed: what waits is started.")
        else:
            messages.error(request, "Choose to pause or to resume.")
    except pauses.PauseConflict as wrong:
        messages.error(request, f"Nothing was changed: {wrong}.")
