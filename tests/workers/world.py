"""Four parties' folders, a portal's key and a provider's: what the tests of `workers` stand on."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.query import approval
from analytics.query.model import digest
from analytics.query.order import Approval, Order, sorted_datasets
from analytics.query.plan import DatasetFacts
from analytics.query.plan import compile as compile_plan
from analytics.query.schema import parse_codebook
from mpcnode.store import Store
from mpcnode.transport.memory import MemoryNetwork
from providers import bundle as provider_bundle
from workers import config as configs
from workers import keys as key_files
from workers.config import Config
from workers.keys import Keys
from workers.ledger import Ledger

QUERY = "01234567-89ab-4cde-8f01-23456789abcd"
ROWS = 300


def codebook(**changes: Any) -> dict[str, Any]:
    policy = {
        "epsilon": "10",
        "epsilon_per_query": "4",
        "minimum_cohort": 11,
        "modes": ["dp", "exact"],
        "statistics": ["*"],
        "expires": "2100-01-01",
    }
    whole = {
        "primaryKey": "id",
        "fields": [
            {"name": "id", "type": "string"},
            {
                "name": "age",
                "type": "integer",
                "unit": "years",
                "constraints": {"minimum": 18, "maximum": 81},
                "resolution": 1,
            },
            {"name": "arm", "type": "string", "categories": [{"value": "a"}, {"value": "b"}, {"value": "c"}]},
        ],
        "capacity": 512,
        "policy": policy,
    }
    changes["policy"] = {**policy, **changes.get("policy", {})}
    return {**whole, **changes}


@dataclass(kw_only=True)
class Party:
    """One party's configuration, keys, store and ledger."""

    config: Config
    keys: Keys
    store: Store = field(repr=False)
    ledger: Ledger = field(repr=False)


class FakePortal:
    """The portal's side of the parties' HTTP: serves what it was given, keeps what is reported."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.datasets: dict[str, dict[str, Any]] = {}
        self.bundles: dict[tuple[str, int], list[bytes]] = {}
        self.envelopes: dict[str, dict[str, Any]] = {}
        self.reports: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.down = 0  # how many requests fail before the portal is back
        self.sets: dict[str, list[dict[str, Any]]] = {}  # dataset: signed party sets
        self.provisions: dict[tuple[str, int], dict[int, bytes]] = {}  # (dataset, sender): chunks
        self.owed: dict[str, list[dict[str, Any]]] = {}

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.requests.append((request.method, path))
        if self.down:
            self.down -= 1
            return httpx.Response(503)
        words = path.strip("/").split("/")
        party = int(words[2])
        self._check(party, request, path)
        match words[3:]:
            case ["datasets", dataset] if dataset in self.datasets:
                served = self.datasets[dataset]
                provided = {s: len(chunks) for (d, s), chunks in self.provisions.items() if d == dataset}
                beside = {"party_sets": self.sets.get(dataset, []), "provided": provided}
                chunks = len(self.bundles[dataset, party])
                return httpx.Response(200, json={**served, **beside, "chunks": chunks})
            case ["datasets", dataset, "provisions", _, _, number]:
                self.provisions.setdefault((dataset, party), {})[int(number)] = request.content
                return httpx.Response(200, json={})
            case ["datasets", dataset, "provided", _, sender, number]:
                return httpx.Response(200, content=self.provisions[dataset, int(sender)][int(number)])
            case ["datasets", dataset, "owed"]:
                return httpx.Response(200, json={"debits": self.owed.get(dataset, [])})
            case ["datasets", dataset, "bundles", number]:
                return httpx.Response(200, content=self.bundles[dataset, party][int(number)])
            case ["orders", query] if query in self.envelopes:
                return httpx.Response(200, json=self.envelopes[query])
            case ["reports"]:
                body = json.loads(request.content)
                sign = self.world.parties[party].config.me.sign
                approval.verify(body["report"], body["signature"], sign)
                self.reports.append(body)
                return httpx.Response(201, json={})
        return httpx.Response(404)

    def said(self, kind: str, party: int | None = None) -> list[dict[str, Any]]:
        """Reports of one kind."""
        reports = [body["report"] for body in self.reports]
        return [r for r in reports if r["type"] == f"fourfold/1/{kind}" and party in (None, r["party"])]

    def _check(self, party: int, request: httpx.Request, path: str) -> None:
        scheme, _, rest = request.headers["Authorization"].partition(" ")
        number, when, signature = rest.split(":")
        signed = {"type": "fourfold/1/request", "party": party, "method": request.method, "path": path}
        approval.verify({**signed, "time": int(when)}, signature, self.world.parties[party].config.me.sign)
        assert scheme == "Party" and int(number) == party and abs(int(when) - time.time()) < 60


class World:
    """Four parties that pinned each other, one portal, one provider."""

    def __init__(
        self,
        folder: Path,
        *,
        minimum_cohort: int = 11,
        exact: bool = True,
        three_party: bool = False,
        portal_key: Ed25519PrivateKey | None = None,
        provider_key: Ed25519PrivateKey | None = None,
    ) -> None:
        self.folder = folder
        self.settings = {
            "minimum_cohort": minimum_cohort,
            "exact": exact,
            "three_party": three_party,
        }
        self.portal_key = portal_key or Ed25519PrivateKey.generate()
        self.provider_key = provider_key or Ed25519PrivateKey.generate()
        self.portal_sign = approval.public_hex(self.portal_key)
        keys = [key_files.init(folder / f"p{p}") for p in range(4)]
        self.peers = [{"party": p, "seal": k.seal_hex, "sign": k.sign_hex} for p, k in enumerate(keys)]
        self.parties = []
        for number, own in enumerate(keys):
            place = folder / f"p{number}"
            config = configs.parse(
                {
                    "party": number,
                    "portal_url": "http://portal.test",
                    "portal_sign": self.portal_sign,
                    "peers": self.peers,
                    "floors": {"minimum_cohort": minimum_cohort},
                    "exact": exact,
                    "three_party": three_party,
                },
                folder=place,
                redis_url="redis://nowhere",
            )
            store = Store(config.store, own.store, number)
            self.parties.append(Party(config=config, keys=own, store=store, ledger=Ledger(config.database)))
        self.portal = FakePortal(self)
        self.networks: dict[str, MemoryNetwork] = {}
        self.lock = threading.Lock()
        self.datasets: dict[str, provider_bundle.Dataset] = {}

    def network(self, name: str) -> MemoryNetwork:
        """The queues of one named session, in memory."""
        with self.lock:
            return self.networks.setdefault(name, MemoryNetwork(4))

    def connect(self, party: int) -> Any:
        """What a party connects by, in memory."""
        return lambda name, cancelled: self.network(name).transport(party, cancelled)

    def copy(self, folder: Path) -> World:
        """The same world in other folders, as it is on disk now."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        twin = World(folder, **self.settings, portal_key=self.portal_key, provider_key=self.provider_key)
        twin.datasets = dict(self.datasets)
        return twin

    def write_party_json(self, number: int, portal_url: str, **more: Any) -> None:
        """What a party's own process reads."""
        config = self.parties[number].config
        whole = {
            "party": number,
            "portal_url": portal_url,
            "portal_sign": self.portal_sign,
            "peers": self.peers,
            "floors": {"minimum_cohort": config.floors.minimum_cohort},
            "exact": config.exact,
            **more,
        }
        (config.folder / "party.json").write_text(json.dumps(whole))

    def prepare(
        self,
        book: dict[str, Any] | None = None,
        planes: Any = None,
        place: provider_bundle.Place = provider_bundle.FIRST,
        **changes: Any,
    ) -> provider_bundle.Dataset:
        """A dataset as its provider signs it; `changes` are names of the manifest to sign otherwise."""
        book = codebook() if book is None else book
        schema = parse_codebook(book)
        names = schema.plane_names
        if planes is None:
            planes = self.planes(names, schema.capacity)
        prepared = provider_bundle.prepare(
            private_key=self.provider_key,
            codebook=book,
            codebook_hash=schema.hash,
            policy=schema.policy,
            title="A study",
            plane_names=names,
            capacity=schema.capacity,
            planes=planes,
            party_set=self.peers,
            portal_sign=self.portal_sign,
            created=1_700_000_000,
            place=place,
        )
        return self.resigned(prepared, **changes)

    def successor(
        self,
        before: provider_bundle.Dataset,
        book: dict[str, Any] | None = None,
        *,
        rows: int = ROWS - 1,
        **changes: Any,
    ) -> provider_bundle.Dataset:
        """The next version of a table, with as many patients; `changes` are names of the manifest."""
        book = dict(before.codebook) if book is None else book
        schema = parse_codebook(book)
        place = provider_bundle.Place(
            version=before.manifest["version"] + 1,
            chain=before.manifest.get("chain", before.id),
            previous=before.manifest_hash,
        )
        return self.prepare(book, self.planes(schema.plane_names, schema.capacity, rows), place, **changes)

    def resigned(self, dataset: provider_bundle.Dataset, /, **changes: Any) -> provider_bundle.Dataset:
        manifest = {**dataset.manifest, **changes}
        return provider_bundle.Dataset(
            manifest=manifest,
            signature=approval.sign(manifest, self.provider_key),
            codebook=dataset.codebook,
            seeds=dataset.seeds,
            salts=dataset.salts,
            last=dataset.last,
        )

    @staticmethod
    def planes(names: list[tuple[str, Any]], capacity: int, rows: int = ROWS) -> Any:
        """Random codes of `rows` patients, everybody present, padded with zeros."""
        rng = np.random.default_rng(5)
        bits = np.zeros((len(names), capacity), dtype=np.uint8)
        for position, (column, part) in enumerate(names):
            bits[position, :rows] = 1 if part in ("valid", "present") else rng.integers(0, 2, rows)
            if (column, part) == ("arm", 1):  # codes 0 to 2 only
                bits[position, :rows] &= 1 - bits[position - 1, :rows]
        return np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64)

    def serve(self, dataset: provider_bundle.Dataset) -> str:
        """Put a dataset on the portal, sealed to all four."""
        self.datasets[dataset.id] = dataset
        self.portal.datasets[dataset.id] = {
            "manifest": dict(dataset.manifest),
            "signature": dataset.signature,
            "codebook": dict(dataset.codebook),
        }
        for party in range(4):
            self.portal.bundles[dataset.id, party] = list(provider_bundle.seal(dataset, party))
        return dataset.id

    def facts(self, dataset: provider_bundle.Dataset) -> DatasetFacts:
        return DatasetFacts(
            id=dataset.id,
            version=dataset.manifest["version"],
            manifest_hash=dataset.manifest_hash,
            capacity=dataset.manifest["capacity"],
            schema=parse_codebook(dataset.codebook),
            policy=dataset.manifest["policy"],
        )

    def order(
        self,
        program: str = "count()",
        *,
        datasets: list[str] | None = None,
        mode: str = "dp",
        micro_epsilon: int = 1_000_000,
        atto_delta: int = 0,
        number: int = 1,
        **changes: Any,
    ) -> Order:
        """An order as the portal writes it; `changes` are names of the order to write otherwise."""
        ids = sorted(datasets if datasets is not None else self.datasets)
        facts = [self.facts(self.datasets[i]) for i in ids]
        micro_epsilon = micro_epsilon if mode == "dp" else 0
        plan = compile_plan(program, facts, micro_epsilon, mode, atto_delta)
        now = int(time.time())
        counted = mode == "dp" and any(fact.policy.get("atto_delta") for fact in facts)
        whole: dict[str, Any] = {
            "query": QUERY,
            "nonce": f"{number:032x}",
            "program": program,
            "plan_hash": plan.hash,
            "mode": mode,
            "micro_epsilon": micro_epsilon,
            "max_attempts": 2,
            "minimum_cohort": plan.minimum_cohort,
            "datasets": sorted_datasets(facts),
            "analyst": "analyst",
            "not_before": now - 5,
            "expires": now + 3600,
            "atto_delta": atto_delta,
            "squares": plan.loss.squares if counted else 0,
        }
        return Order(**{**whole, **changes})

    def envelope(
        self, order: Order, *, attempt: int = 1, key: Ed25519PrivateKey | None = None, **approval_changes: Any
    ) -> dict[str, Any]:
        """The signed envelope of an order."""
        key = key or self.portal_key
        yes = Approval(order_hash=order.hash, by="operator", reason="", time=int(time.time()))
        body = {**yes.public(), **approval_changes}
        return {
            "order": order.public(),
            "order_signature": approval.sign(order.public(), key),
            "approval": body,
            "approval_signature": approval.sign(body, key),
            "attempt": attempt,
            "datasets": [],
        }

    def consents(self, order: Order, *, key: Ed25519PrivateKey | None = None, **changes: Any) -> list[Any]:
        """The provider's consent for each dataset of an order; `changes` are names to write otherwise."""
        signed = []
        for dataset in order.datasets:
            body = {
                "type": "fourfold/1/consent",
                "dataset": dataset.id,
                "order_hash": order.hash,
                "n": 3,
                "missing": order.missing,
                "expires": order.expires,
                **changes,
            }
            signed.append({"consent": body, "signature": approval.sign(body, key or self.provider_key)})
        return signed

    def replace(self, number: int) -> Party:
        """A new party with new keys and an empty folder, pinned by all; returns what the old one was."""
        old = self.parties[number]
        old.config.folder.rename(self.folder / f"lost{number}")
        own = key_files.init(self.folder / f"p{number}")
        self.peers = list(self.peers)
        self.peers[number] = {"party": number, "seal": own.seal_hex, "sign": own.sign_hex}
        for party in self.parties:
            party.config = replace(party.config, peers=tuple(configs.Peer(**peer) for peer in self.peers))
        store = Store(old.config.store, own.store, number)
        config = self.parties[number].config
        self.parties[number] = Party(config=config, keys=own, store=store, ledger=Ledger(config.database))
        return old

    def sign_set(self, dataset: str, /, *, key: Ed25519PrivateKey | None = None, **changes: Any) -> None:
        """The provider's word on the parties that are pinned now; `changes` are names to write otherwise."""
        manifest, before = self.datasets[dataset].manifest, self.portal.sets.setdefault(dataset, [])
        held = before[-1]["set"]["new"] if before else manifest["party_set"]
        body = {
            "type": "fourfold/1/party-set",
            "dataset": dataset,
            "manifest_hash": digest(manifest),
            "epoch": len(before) + 1,
            "old": digest(held),
            "new": self.peers,
            "created": 1_700_000_000,
            **changes,
        }
        before.append({"set": body, "signature": approval.sign(body, key or self.provider_key)})

    def give(self, dataset: provider_bundle.Dataset) -> str:
        """Store a dataset at all parties without the portal."""
        self.datasets[dataset.id] = dataset
        schema = parse_codebook(dataset.codebook)
        shape = len(schema.plane_names), -(-schema.capacity // 64)
        last = np.frombuffer(dataset.last, dtype="<u8").astype(np.uint64).reshape(shape)
        whole = [*(provider_bundle.expand(seed, shape) for seed in dataset.seeds), last]
        meta = {
            "version": dataset.manifest["version"],
            "capacity": schema.capacity,
            "manifest": dict(dataset.manifest),
            "signature": dataset.signature,
            "codebook": dict(dataset.codebook),
        }
        for number, party in enumerate(self.parties):
            mine = {c: a for c, a in enumerate(whole) if c != number}
            salts = {str(c): dataset.salts[c].hex() for c in mine}
            party.store.put(dataset.id, {**meta, "salts": salts}, schema.plane_names, mine)
        return dataset.id


def manifest_hash(dataset: provider_bundle.Dataset) -> str:
    return digest(dataset.manifest)
