"""What every page is told of the deployment, and of where its reader may go."""

from typing import Any

from django.conf import settings

from portal.notices.telling import unread
from portal.web.navigation import links


def deployment(request: Any) -> dict[str, Any]:
    return {
        "demo": settings.FOURFOLD_DEMO,
        "links": links(getattr(request, "user", None), getattr(request, "path", "")),
        "unread": lambda: unread(request.user),  # asked by the frame alone
    }
