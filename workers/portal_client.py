"""The party's way to the portal: signed requests out, signed reports out, bytes back that are believed in nothing.

Every request carries a signature of the party over method, path and time; whatever comes back is checked by
its own signatures later. A portal that does not answer is asked again for a while. Public: all of it.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

import httpx

from analytics import logs
from analytics.query import approval
from workers.config import Config
from workers.errors import PortalUnreachable
from workers.keys import Keys

log = logging.getLogger(__name__)

PATIENCE = 30.0  # seconds a request is repeated while the portal does not answer
TIMEOUT = 10.0  # seconds for one try
LARGEST_JSON = 16 * 2**20
LARGEST_CHUNK = 2**20 + 4096
_NO = {400, 403, 404, 409, 413}
_AGAIN = {408, 425, 429, 500, 502, 503, 504}


@lru_cache(maxsize=1)
def _authorities() -> ssl.SSLContext:
    """Whose certificates https believes; read once a process, for it takes 20 ms."""
    return httpx.create_ssl_context()


class Portal:
    """The portal as one party sees it. One thread uses it; close it, or use it in a `with` block."""

    def __init__(
        self,
        config: Config,
        keys: Keys,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = PATIENCE,
        timeout: float = TIMEOUT,
    ) -> None:
        self._party = config.party
        self._keys = keys
        self._sleep = sleep
        self._patience = patience
        url = httpx.URL(config.portal_url)
        # No proxy of the environment may stand between a party and a portal on its own machine.
        own = url.host in ("localhost", "127.0.0.1", "::1")
        verify = _authorities() if url.scheme == "https" else False  # http knows no certificates
        self._client = httpx.Client(
            base_url=url, timeout=timeout, transport=transport, trust_env=not own, verify=verify
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def dataset(self, dataset_id: str) -> dict[str, Any]:
        """{"manifest", "signature", "codebook", "chunks"} of a dataset."""
        return self._object(f"/api/parties/{self._party}/datasets/{dataset_id}/")

    def chunk(self, dataset_id: str, number: int) -> bytes:
        """One sealed chunk of this party's bundle."""
        path = f"/api/parties/{self._party}/datasets/{dataset_id}/bundles/{number}/"
        return self._request("GET", path, limit=LARGEST_CHUNK)

    def order(self, query: str) -> dict[str, Any]:
        """The envelope of an approved query: order, approval, their signatures, attempt."""
        return self._object(f"/api/parties/{self._party}/orders/{query}/")

    def owed(self, dataset_id: str) -> list[dict[str, Any]]:
        """The debits of a dataset that others signed to have spent; each is checked by its signatures."""
        found = self._object(f"/api/parties/{self._party}/datasets/{dataset_id}/owed/").get("debits")
        return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []

    def provide(self, dataset_id: str, epoch: int, number: int, chunks: int, sealed: bytes) -> None:
        """Post one sealed chunk for the new party of a dataset."""
        place = f"/api/parties/{self._party}/datasets/{dataset_id}/provisions"
        self._request("PUT", f"{place}/{epoch}/{chunks}/{number}/", content=sealed)

    def provided(self, dataset_id: str, epoch: int, sender: int, number: int) -> bytes:
        """One sealed chunk that another party posted for this one, the new party of a dataset."""
        place = f"/api/parties/{self._party}/datasets/{dataset_id}/provided"
        return self._request("GET", f"{place}/{epoch}/{sender}/{number}/", limit=LARGEST_CHUNK)

    def report(self, report: dict[str, Any], **beside: Any) -> dict[str, Any]:
        """Sign a report and post it, and return what is said to it, if anything; `beside` travels with it outside the signed object.

        Raises  PortalUnreachable if the portal does not take it while patience lasts.
        """
        body = {"report": report, "signature": approval.sign(report, self._keys.sign), **beside}
        path = f"/api/parties/{self._party}/reports/"
        answer = self._request("POST", path, content=json.dumps(body).encode())
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):
            return {}  # it was taken, which is all that counts
        return found if isinstance(found, dict) else {}

    def _object(self, path: str) -> dict[str, Any]:
        content = self._request("GET", path)
        try:
            # Decimals, not floats: a codebook's numbers are hashed as they were written.
            found = json.loads(content, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise PortalUnreachable(f"{path} did not answer with JSON") from None
        if not isinstance(found, dict):
            raise PortalUnreachable(f"{path} did not answer with an object")
        return found

    def _request(
        self, method: str, path: str, *, content: bytes | None = None, limit: int = LARGEST_JSON
    ) -> bytes:
        deadline = time.monotonic() + self._patience
        pause = 0.1
        while True:
            try:
                status, body = self._once(method, path, content, limit)
            except httpx.HTTPError as wrong:
                status, body = 0, type(wrong).__name__.encode()
            if status and status < 300:
                return body
            if (status and status not in _AGAIN) or time.monotonic() + pause > deadline:
                said = f"status {status}" if status else body.decode()
                raise PortalUnreachable(f"{method} {path}: {said}", final=status in _NO)
            log.info("party %d: %s %s again in %.1f s", self._party, method, path, pause)
            self._sleep(pause)
            pause = min(2 * pause, 3.0)

    def _once(self, method: str, path: str, content: bytes | None, limit: int) -> tuple[int, bytes]:
        headers = {"Authorization": self._authorization(method, path)}
        if request := logs.ids().get("request"):
            headers["X-Request-ID"] = str(request)
        if content is not None:
            headers["Content-Type"] = "application/json"
        with self._client.stream(method, path, content=content, headers=headers) as answer:
            body = bytearray()
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > limit:
                    raise PortalUnreachable(f"{method} {path}: more than {limit} bytes")
            return answer.status_code, bytes(body)

    def _authorization(self, method: str, path: str) -> str:
        now = int(time.time())
        signed = {
            "type": "fourfold/1/request",
            "party": self._party,
            "method": method,
            "path": path,
            "time": now,
        }
        return f"Party {self._party}:{now}:{approval.sign(signed, self._keys.sign)}"
