"""Four parties and a portal with keys, a small table of planes, and a portal that lives in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from analytics.query.approval import public_hex, sign, verify
from analytics.query.model import digest
from providers.bundle import Dataset, prepare
from providers.keys import Deployment, parse_deployment

RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
NAMES = [("", "valid"), ("x", 0), ("x", 1), ("x", "present")]
POLICY = {
    "micro_epsilon": 10_000_000,
    "micro_epsilon_per_query": 1_000_000,
    "minimum_cohort": 11,
    "modes": ["dp"],
    "statistics": ["*"],
    "expires": "2030-01-01",
}
CODEBOOK = {"primaryKey": "id", "fields": [{"name": "x", "type": "integer"}]}


@dataclass(frozen=True)
class Party:
    number: int
    seal: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    sign: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def public(self) -> dict:
        seal = self.seal.public_key().public_bytes(*RAW).hex()
        return {"party": self.number, "seal": seal, "sign": public_hex(self.sign)}

    def receipt(self, dataset: str, manifest_hash: str, time: int = 1_800_000_000) -> dict:
        report = {
            "type": "fourfold/1/receipt",
            "party": self.number,
            "dataset": dataset,
            "manifest_hash": manifest_hash,
            "time": time,
        }
        signature = sign(report, self.sign)
        return {
            "party": self.number,
            "manifest_hash": manifest_hash,
            "signature": signature,
            "time": time,
        }


@dataclass(frozen=True)
class World:
    parties: tuple[Party, ...] = field(default_factory=lambda: tuple(Party(n) for n in range(4)))
    portal: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    provider: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def access(self) -> dict:
        """As access.json and /api/parties/ write the public keys."""
        return {
            "parties": [party.public() for party in self.parties],
            "portal": {"sign": public_hex(self.portal)},
        }

    def deployment(self) -> Deployment:
        return parse_deployment(self.access(), "test")

    def dataset(self, planes: np.ndarray | None = None, **changes) -> Dataset:
        planes = random_planes(1) if planes is None else planes
        settings = {
            "private_key": self.provider,
            "codebook": CODEBOOK,
            "codebook_hash": digest(CODEBOOK),
            "policy": POLICY,
            "title": "a trial",
            "plane_names": NAMES,
            "capacity": 64 * planes.shape[1],
            "planes": planes,
            "party_set": [party.public() for party in self.parties],
            "portal_sign": public_hex(self.portal),
            "created": 1_800_000_000,
        }
        return prepare(**(settings | changes))


def random_planes(seed: int, words: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (len(NAMES), words), dtype=np.uint64)


@dataclass
class FakePortal:
    """The portal's provider routes in memory. `fault(n, request)` may drop or answer the n-th request."""

    world: World
    fault: Callable[[int, httpx.Request], httpx.Response | None] = lambda n, request: None
    receipts: Callable[[str, str], list[dict]] | None = None
    lag: int = 0  # polls of a dataset before the parties have answered

    def __post_init__(self) -> None:
        self.datasets: dict[str, dict] = {}
        self.chunks: dict[tuple[str, int, int], bytes] = {}
        self.seen: list[tuple[str, str]] = []
        self.tokens: set[str] = set()

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.method, request.url.path))
        self.tokens.add(request.headers.get("Authorization", ""))
        early = self.fault(len(self.seen), request)
        return early if early is not None else self.route(request)

    def route(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if (request.method, path) == ("GET", "/api/parties/"):
            return httpx.Response(200, json=self.world.access())
        if (request.method, path) == ("POST", "/api/datasets/"):
            return self.create(json.loads(request.content))
        if path == "/api/datasets/":
            results = [{"id": dataset, **known} for dataset, known in self.datasets.items()]
            return httpx.Response(200, json={"results": results, "next": None})
        if found := re.fullmatch(r"/api/datasets/([0-9a-f]{32})/", path):
            return self.show(found[1])
        if found := re.fullmatch(r"/api/datasets/([0-9a-f]{32})/complete/", path):
            return self.complete(found[1])
        if found := re.fullmatch(r"/api/datasets/([0-9a-f]{32})/bundles/([0-3])/(\d+)/", path):
            return self.put((found[1], int(found[2]), int(found[3])), request.content)
        return problem(404, "not_found")

    def create(self, body: dict) -> httpx.Response:
        manifest = body["manifest"]
        verify(manifest, body["signature"], manifest["provider_key"])
        assert digest(body["codebook"]) == manifest["codebook_hash"]
        dataset = manifest["dataset"]
        known = self.datasets.get(dataset)
        if known and known["manifest"] == manifest:
            return httpx.Response(200, json={"id": dataset, "state": known["state"]})
        if known and known["state"] not in ("UPLOADING", "REJECTED"):
            return problem(409, "manifest_differs")
        self.chunks = {place: content for place, content in self.chunks.items() if place[0] != dataset}
        self.datasets[dataset] = {
            "manifest": manifest,
            "signature": body["signature"],
            "columns": [field["name"] for field in body["codebook"]["fields"]],
            "state": "UPLOADING",
            "receipts": [],
            "polls": 0,
        }
        return httpx.Response(201, json={"id": dataset, "state": "UPLOADING"})

    def put(self, place: tuple[str, int, int], content: bytes) -> httpx.Response:
        if place[0] not in self.datasets:
            return problem(404, "not_found")
        if self.chunks.setdefault(place, content) != content:
            return problem(409, "different_chunk")
        return httpx.Response(201, json={})

    def complete(self, dataset: str) -> httpx.Response:
        if self.datasets[dataset]["state"] != "UPLOADING":
            return problem(409, "not_uploading")
        if {place[1] for place in self.chunks if place[0] == dataset} != set(range(4)):
            return problem(409, "incomplete")
        self.datasets[dataset]["state"] = "CHECKING"
        return httpx.Response(202, json={})

    def show(self, dataset: str) -> httpx.Response:
        known = self.datasets.get(dataset)
        if known is None:
            return problem(404, "not_found")
        known["polls"] += 1
        if known["state"] == "CHECKING" and known["polls"] > self.lag:
            manifest_hash = digest(known["manifest"])
            made = self.receipts or (
                lambda dataset, hash_: [party.receipt(dataset, hash_) for party in self.world.parties]
            )
            known["receipts"] = made(dataset, manifest_hash)
            known["state"] = "READY"
        return httpx.Response(200, json={"id": dataset, **known})


def problem(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"status": status, "code": code, "detail": f"refused: {code}"})
