"""Objects of the portal with sensible defaults, and parties and providers that sign with keys of their own."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import Client

from analytics.query.approval import fingerprint, public_hex, sign
from analytics.query.model import digest
from analytics.query.schema import parse_codebook
from portal.accounts.actions import ensure_account, ensure_token
from portal.accounts.models import User
from portal.keys import portal_public
from portal.queries import actions, attempts
from portal.queries.models import Attempt, Query
from portal.registry import parties
from portal.registry.actions import announce
from portal.registry.models import Dataset, DatasetState
from portal.webhooks import actions as webhooks
from portal.webhooks.models import Webhook

PASSWORD = "correct horse battery staple"
PROGRAM = "count() where age >= 60"
NAMES = {
    "provider": ("provider", "Hospital A"),
    "provider2": ("provider", "Hospital B"),
    "analyst": ("analyst", "Institute"),
    "analyst2": ("analyst", "Agency"),
    "operator": ("operator", "Platform"),
    "auditor": ("auditor", "Audit Office"),
}
_serial = itertools.count(1)


def codebook(**policy: Any) -> dict[str, Any]:
    return {
        "primaryKey": "id",
        "title": "A trial",
        "capacity": 256,
        "fields": [
            {
                "name": "arm",
                "type": "string",
                "categories": [{"value": "a"}, {"value": "b", "label": "control"}],
            },
            {
                "name": "age",
                "type": "integer",
                "unit": "years",
                "constraints": {"minimum": 0, "maximum": 127},
                "resolution": 1,
            },
        ],
        "policy": {
            "epsilon": "10",
            "epsilon_per_query": "5",
            "minimum_cohort": 11,
            "modes": ["dp", "exact"],
            "statistics": ["*"],
            "expires": "2099-01-01",
            **policy,
        },
    }


@dataclass(frozen=True)
class Party:
    """A computing party as the portal meets it: a number and a signing key."""

    number: int
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)

    @property
    def public(self) -> dict[str, Any]:
        hexed = public_hex(self.key)
        return {
            "party": self.number,
            "seal": f"{self.number}" * 64,
            "sign": hexed,
            "fingerprint": fingerprint(hexed),
        }

    def signed(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The body of a post to reports/."""
        report = {"type": f"fourfold/1/{kind}", "party": self.number, "time": int(time.time()), **fields}
        return {"report": report, "signature": sign(report, self.key)}

    def result(
        self, query: Query, *, attempt: int = 1, integers: Any = None, **fields: Any
    ) -> dict[str, Any]:
        integers = zeros(query) if integers is None else integers
        said = {
            "query": str(query.pk),
            "attempt": attempt,
            "order_hash": query.order.hash,
            "plan_hash": query.plan_hash,
            "session": "5" * 64,
            "result_hash": digest({"type": "fourfold/1/integers", "integers": integers}),
            "rounds": 9,
            **fields,
        }
        return {**self.signed("result", **said), "integers": integers}

    def word(self, kind: str, query: Query, *, attempt: int = 1, **fields: Any) -> dict[str, Any]:
        """A started, refusal or abort of an attempt."""
        said = {"query": str(query.pk), "attempt": attempt, "order_hash": query.order.hash, **fields}
        return self.signed(kind, **said)

    def authorization(self, method: str, path: str, *, when: int | None = None) -> str:
        when = int(time.time()) if when is None else when
        signed = {
            "type": "fourfold/1/request",
            "party": self.number,
            "method": method,
            "path": path,
            "time": when,
        }
        return f"Party {self.number}:{when}:{sign(signed, self.key)}"

    def get(self, path: str, **how: Any) -> Any:
        return Client().get(path, headers={"Authorization": self.authorization("GET", path, **how)})

    def post(self, body: Any) -> Any:
        path = f"/api/parties/{self.number}/reports/"
        return Client().post(path, json.dumps(body), content_type="application/json")


def zeros(query: Query, value: int = 40) -> list[list[int]]:
    """Integers of the shape that a query releases."""
    sizes = []
    for release in query.plan["releases"]:
        cells = 1
        for by in release["by"]:
            cells *= len(by["groups"])
        sizes.append(cells * (len(release["transform"]) + (query.mode == "exact")))
    return [[value] * size for size in sizes]


def account(name: str) -> User:
    """One of the standard accounts."""
    return ensure_account(name, *NAMES[name], PASSWORD)


def token(name: str) -> str:
    account(name)
    return ensure_token(name)


class Caller:
    """JSON requests with a token. `call("get", "queries/")` is under /api/."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.headers = {"Authorization": f"Token {token(name)}"} if name else {}

    def call(self, method: str, path: str, body: Any = None, **how: Any) -> Any:
        content = how.pop("content", "" if body is None else json.dumps(body))
        if method != "get":
            how |= {"data": content, "content_type": how.get("content_type", "application/json")}
        headers = {**self.headers, **how.pop("headers", {})}
        return getattr(Client(raise_request_exception=False), method)(f"/api/{path}", headers=headers, **how)

    def get(self, path: str, **how: Any) -> Any:
        return self.call("get", path, **how)

    def post(self, path: str, body: Any = None, **how: Any) -> Any:
        return self.call("post", path, body, **how)


def announcement(
    key: Ed25519PrivateKey | None = None, book: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """The body of a post to datasets/: a signed manifest and its codebook."""
    key = key or Ed25519PrivateKey.generate()
    book = book or codebook()
    schema = parse_codebook(book)
    manifest = {
        "type": "fourfold/1/manifest",
        "dataset": f"{next(_serial):032x}",
        "version": 1,
        "previous": None,
        "title": "A trial",
        "provider_key": public_hex(key),
        "codebook_hash": schema.hash,
        "capacity": schema.capacity,
        "patient_unit": "patient",
        "max_rows_per_patient": 1,
        "layout_hash": schema.layout_hash,
        "party_set": parties.party_set(),
        "portal": {"sign": portal_public()["sign"]},
        "policy": dict(schema.policy),
        "commitments": ["c" * 64] * 4,
        "created": 1_800_000_000,
        **changes,
    }
    return {"manifest": manifest, "signature": sign(manifest, key), "codebook": book}


def dataset(state: str = DatasetState.READY, *, provider: str = "provider", **how: Any) -> Dataset:
    """A dataset that went through the real announcement, then put into `state`."""
    body = announcement(**how)
    made, _ = announce(
        by=account(provider),
        manifest=body["manifest"],
        signature=body["signature"],
        codebook=body["codebook"],
    )
    Dataset.objects.filter(pk=made.pk).update(state=state)
    made.refresh_from_db()
    return made


def query(
    *datasets: Dataset, analyst: str = "analyst", program: Any = PROGRAM, epsilon: Any = "1", mode: str = "dp"
) -> Query:
    from decimal import Decimal

    return actions.submit(
        analyst=account(analyst),
        program=program,
        datasets=list(datasets) or [dataset()],
        epsilon=Decimal(epsilon),
        mode=mode,
    )


def approved(*datasets: Dataset, **how: Any) -> Query:
    made = query(*datasets, **how)
    actions.approve(query=made, by=account("operator"))
    made.refresh_from_db()
    return made


def running(*datasets: Dataset, **how: Any) -> tuple[Query, Attempt]:
    made = approved(*datasets, **how)
    attempt = attempts.begin(made)
    assert attempt is not None
    made.refresh_from_db()
    return made, attempt


def released(crew: list[Party], *datasets: Dataset, **how: Any) -> Query:
    made, _ = running(*datasets, **how)
    for party in crew:
        assert party.post(party.result(made)).status_code == 200
    made.refresh_from_db()
    assert made.state == "RELEASED", made.state
    return made


def webhook(owner: str = "analyst", url: str = "https://hooks.example.org/fourfold", **how: Any) -> Webhook:
    return webhooks.register(owner=account(owner), url=url, events=how.get("events", []))
