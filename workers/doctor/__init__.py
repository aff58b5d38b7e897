"""`python -m workers doctor`: is everything as a party needs it? One line a check, with the remedy where it is not.

It looks and changes nothing, so it may run while the party runs and while it is down: files are opened to read, the
ledger too, what is asked of Redis leaves nothing there. A check that cannot be made because an earlier one failed says
so. Shown: states, sizes, versions, fingerprints; never a key, a share or a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import redis

from workers import config, keys
from workers.errors import Misconfigured
from workers.health import ping_client

SEE_DEPLOYMENT = "write it as in docs/deployment.md"


class Problem(Exception):
    """A check failed; `remedy` says what an operator should do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class Skipped(Exception):
    """A check cannot be made now; not a failure of its own."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found: `state` is ok, failed or skipped."""

    check: str
    state: str
    message: str
    remedy: str = ""

    def line(self) -> str:
        mark = {"ok": "ok     ", "failed": "FAILED ", "skipped": "skipped"}[self.state]
        remedy = f". Remedy: {self.remedy}" if self.remedy else ""
        return f"{mark}  {self.check:<13} {self.message}{remedy}"

    def public(self) -> dict[str, str]:
        return asdict(self)


class Case:
    """One party under examination; what several checks need is fetched once."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *, deep: bool = False) -> None:
        self.folder, self.environ, self.deep = folder, environ, deep

    @cached_property
    def _configured(self) -> config.Config | Misconfigured:
        try:
            return config.load({**self.environ, "FOURFOLD_PARTY_DIR": str(self.folder)})
        except Misconfigured as wrong:
            return wrong

    @cached_property
    def _loaded(self) -> keys.Keys | Misconfigured:
        try:
            return keys.load(self.folder)
        except Misconfigured as wrong:
            return wrong

    @property
    def config(self) -> config.Config:
        """Raises Skipped: what is wrong with it is said once, by its own check."""
        if isinstance(self._configured, Misconfigured):
            raise Skipped("needs the configuration")
        return self._configured

    @property
    def keys(self) -> keys.Keys:
        if isinstance(self._loaded, Misconfigured):
            raise Skipped("needs the keys")
        return self._loaded

    def check_config(self) -> str:
        if isinstance(self._configured, Misconfigured):
            raise Problem(str(self._configured), SEE_DEPLOYMENT)
        return f"party {self._configured.party} in {self.folder}"

    def check_keys(self) -> str:
        if isinstance(self._loaded, Misconfigured):
            remedy = (
                "chmod 600 the file, or restore the keys from their own backup; a new key opens no old bundle"
            )
            raise Problem(str(self._loaded), remedy)
        return f"three keys, fingerprint {self._loaded.fingerprint}"

    @cached_property
    def redis(self) -> redis.Redis:
        """A client of a Redis that answered. Raises Skipped."""
        client = ping_client(self.config.redis_url)
        try:
            client.ping()
        except (redis.RedisError, OSError, ValueError):
            raise Skipped("needs Redis") from None
        return client

    @cached_property
    def _asked(self) -> httpx.Response | str:
        base = httpx.URL(self.config.portal_url)
        own = base.host in ("localhost", "127.0.0.1", "::1")
        try:
            with httpx.Client(base_url=base, timeout=10, trust_env=not own) as client:
                return client.get("/api/parties/", headers={"Accept": "application/json"})
        except httpx.HTTPError as wrong:
            return type(wrong).__name__

    @property
    def answer(self) -> httpx.Response:
        """What the portal says to `GET /api/parties/`. Raises Problem with the reason it did not."""
        remedy = f"is {self.config.portal_url} right, and may this machine reach it?"
        if isinstance(self._asked, str):
            raise Problem(f"the portal does not answer: {self._asked}", remedy)
        if self._asked.status_code != 200:
            raise Problem(f"the portal answers with status {self._asked.status_code}", remedy)
        return self._asked

    @property
    def parties(self) -> list[dict[str, Any]]:
        """The portal's list of parties. Raises Skipped."""
        try:
            listed = self.answer.json()["parties"]
            assert [entry["party"] for entry in listed] == list(range(config.PARTIES))
        except (Problem, ValueError, KeyError, TypeError, AssertionError):
            raise Skipped("needs the portal") from None
        return list(listed)

    @property
    def mine(self) -> dict[str, Any]:
        """What the portal says of this party. Raises Skipped."""
        return self.parties[self.config.party]


Check = tuple[str, Callable[[Case], str]]


def examine(case: Case, checks: Sequence[Check]) -> list[Finding]:
    """The findings of all checks, in order. Raises nothing that a check met."""
    found = []
    for name, check in checks:
        try:
            found.append(Finding(check=name, state="ok", message=check(case)))
        except Problem as problem:
            found.append(Finding(check=name, state="failed", message=str(problem), remedy=problem.remedy))
        except Skipped as why:
            found.append(Finding(check=name, state="skipped", message=str(why)))
    return found
