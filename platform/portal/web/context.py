"""What every page is told of the deployment."""

from typing import Any

from django.conf import settings


def deployment(request: Any) -> dict[str, Any]:
    return {"demo": settings.FOURFOLD_DEMO}
