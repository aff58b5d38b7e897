"""An analyst's side of the REST interface: preview, ask, wait.

Holds a token, nothing secret of a patient. What comes back is believed only after `analytics.check`.
Errors, each with its exit code:

ClientError
+-- Unreachable        1  no answer from the portal
+-- Unverified         1  the answer is not what three parties signed
+-- RequestRejected    2  the portal will not take this program or request
+-- Refused            3  a person or a rule refused the query, or it was withdrawn
+-- Aborted            4  the parties gave up; nothing was released
+-- TimedOut           5  still waiting; the query lives on and can be asked for again
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import httpx

LONGEST_PAUSE = 30.0


class ClientError(Exception):
    """The question got no answer."""

    code = "client_error"
    exit_code = 1

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.code


class Unreachable(ClientError):
    code = "unreachable"


class Unverified(ClientError):
    code = "unverified"


class RequestRejected(ClientError):
    code = "rejected"
    exit_code = 2


class Refused(ClientError):
    code = "refused"
    exit_code = 3


class Aborted(ClientError):
    code = "aborted"
    exit_code = 4


class TimedOut(ClientError):
    code = "timeout"
    exit_code = 5


class Client:
    """One account at one portal. `transport`, `sleep` and `clock` are seams for tests."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url.rstrip("/")
        self.sleep, self.clock = sleep, clock
        try:
            self.http = httpx.Client(
                base_url=self.url,
                headers={"Authorization": f"Token {token}", "Accept": "application/json"},
                timeout=httpx.Timeout(60.0, connect=10.0),
                transport=transport,
                follow_redirects=False,
            )
        except (httpx.InvalidURL, UnicodeError, ValueError) as wrong:
            raise RequestRejected(f"{url} is no address, or the token no token: {wrong}") from None

    def preview(
        self,
        program: str,
        datasets: Sequence[str],
        epsilon: str,
        mode: str,
        assumptions: dict[str, Any] | None = None,
        delta: str | None = None,
    ) -> dict[str, Any]:
        """The plan of a program, and what it would cost. Nothing is submitted."""
        body = request(program, datasets, epsilon, mode, delta)
        if assumptions:
            body["assumptions"] = assumptions
        return self._call("POST", "/api/queries/preview/", body)

    def ask(
        self,
        program: str,
        datasets: Sequence[str],
        epsilon: str,
        mode: str,
        delta: str | None = None,
        *,
        confirmed: bool = False,
    ) -> dict[str, Any]:
        """Submit a program; returns the query with its "id". `confirmed`: also where a figure is not useful."""
        body = request(program, datasets, epsilon, mode, delta)
        if confirmed:
            body["confirm"] = ["not_useful"]
        query = self._call("POST", "/api/queries/", body)
        if not isinstance(query.get("id"), str):
            raise Unreachable(f"{self.url} answered, but not as a Fourfold portal does")
        return query

    def wait(
        self, query: str, timeout: float = 600.0, told: Callable[[str], None] = lambda text: None
    ) -> dict[str, Any]:
        """Poll until the query is released and return the body of its result.

        The portal's Retry-After is honoured, and a portal that is away for a while is waited for; `told`
        is called once for each new state.
        Raises  Refused, Aborted, TimedOut, RequestRejected.
        """
        until, last = self.clock() + timeout, ""
        while True:
            pause = 2.0
            try:
                response = self._send("GET", f"/api/queries/{query}/result/")
            except Unreachable as away:
                state = str(away)
            else:
                if response.status_code == 200:
                    return _body(response)
                pause = _pause(response)
                state = _waiting(response)
            if state and state != last:
                told(state)
                last = state
            left = until - self.clock()
            if left <= 0:
                raise TimedOut(
                    f"no answer to query {query} within {timeout:g} s; it is still there to be asked for"
                )
            self.sleep(min(pause, left))

    def parties(self) -> list[dict[str, Any]]:
        """The public keys of the parties, as this portal states them."""
        found = self._call("GET", "/api/parties/")
        listed = found.get("results", found.get("parties", []))
        return list(listed)

    def dataset(self, dataset: str) -> dict[str, Any]:
        """What is public of a dataset: codebook, policy, manifest."""
        return self._call("GET", f"/api/datasets/{dataset}/")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        for _ in range(5):
            response = self._send(method, path, body)
            if response.status_code != 429:
                break
            self.sleep(_pause(response))
        if response.is_success:
            return _body(response)
        if response.status_code >= 500:
            raise Unreachable(f"{self.url} answered {response.status_code}; try again later")
        raise _rejected(response)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            return self.http.request(method, path, json=body)
        except httpx.TimeoutException:
            raise Unreachable(f"{self.url} did not answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as wrong:
            raise Unreachable(f"{self.url} cannot be reached: {wrong}") from None


def request(
    program: str, datasets: Sequence[str], epsilon: str, mode: str, delta: str | None = None
) -> dict[str, Any]:
    """The body of a submission. A program that begins with a brace is sent as the JSON object it is."""
    text: Any = program
    if program.lstrip().startswith("{"):
        try:
            text = json.loads(program)
        except ValueError as wrong:
            raise RequestRejected(f"the program begins like JSON but is none: {wrong}") from None
    asked = {"program": text, "datasets": list(datasets), "epsilon": epsilon, "mode": mode}
    return asked if delta is None else {**asked, "delta": delta}


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, list):
        return {"results": body}
    if not isinstance(body, dict):
        raise Unreachable(f"{response.request.url} answered, but not as a Fourfold portal does")
    return body


def _waiting(response: httpx.Response) -> str:
    """The state to tell while there is no result yet. Raises where there will be none."""
    status = response.status_code
    if status == 202:
        return str(_problem(response).get("state", ""))
    if status == 409:
        problem = _problem(response)
        code = str(problem.get("code", "aborted"))
        detail = str(problem.get("detail") or problem.get("title") or "")
        message = f"query {code}: {detail}" if detail else f"query {code}"
        raise (Refused if code in ("refused", "withdrawn") else Aborted)(message, code)
    if status == 429 or status >= 500:
        return f"the portal answered {status}; waiting"
    raise _rejected(response)


def _rejected(response: httpx.Response) -> RequestRejected:
    """What the portal has against a request, in one line."""
    problem = _problem(response)
    detail = problem.get("detail") or problem.get("title") or f"the portal answered {response.status_code}"
    where = problem.get("where")
    place = ""
    if isinstance(where, dict) and where.get("line") is not None:
        place = f"line {where['line']}, column {where.get('column')}: "
    if problem.get("code") == "not_useful":
        detail = f"{detail}; in a terminal: --confirm"
    near = problem.get("suggestions")
    hint = f" (did you mean {' or '.join(map(str, near))}?)" if isinstance(near, list) and near else ""
    return RequestRejected(f"{place}{detail}{hint}", str(problem.get("code", "rejected")))


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _pause(response: httpx.Response) -> float:
    """Seconds to wait before the next request."""
    try:
        seconds = float(response.headers.get("Retry-After", "2"))
    except ValueError:
        seconds = 2.0
    return min(max(seconds, 0.1), LONGEST_PAUSE) if isfinite(seconds) else 2.0
