"""JSON out: problems under their own media type, kept answers as the very text that was kept."""

from typing import Any

from rest_framework.renderers import BaseRenderer
from rest_framework.renderers import JSONRenderer as Base


class JSONRenderer(Base):
    """JSON; a status of 400 and above is a problem document."""

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        response = (renderer_context or {}).get("response")
        if response is not None and response.status_code >= 400:
            response.content_type = "application/problem+json"
            response["Content-Type"] = "application/problem+json"
        return super().render(data, accepted_media_type, renderer_context)


class BytesRenderer(BaseRenderer):
    """Sealed bytes as they are; what is not bytes is a problem document."""

    media_type = "application/octet-stream"
    format = "bin"
    charset = None
    render_style = "binary"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        if isinstance(data, bytes):
            return data
        return JSONRenderer().render(data, accepted_media_type, renderer_context)
