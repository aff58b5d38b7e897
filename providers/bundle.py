"""A table's planes become one sealed bundle per party, bound to a signed manifest.

Four components, XOR: 0, 1 and 2 are expanded from seeds, 3 is what remains; party p's bundle holds every
component but p. Everything random is derived from the provider's key and the content, so the same table
under the same key, at the same place of its chain, is the same dataset; only the sealing itself is fresh. Each
component is committed to
with a salt, so its three holders can tell that they were given the same one. HPKE (RFC 9180) with
X25519, HKDF-SHA256, AES-256-GCM.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import hashes, hpke, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from analytics.query.approval import public_hex, sign
from analytics.query.model import canonical, digest
from mpcnode.sharing import expand, split_planes

PARTIES = 4
CHUNK = 2**20
SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)

Planes = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a table stands in its chain: the first, or version n of chain `chain` after the manifest `previous`."""

    version: int = 1
    chain: str | None = None
    previous: str | None = None

    def public(self) -> dict[str, Any]:
        """These names as the manifest has them; a first version names no chain: it begins one."""
        named = {"version": self.version, "previous": self.previous}
        return named if self.chain is None else {**named, "chain": self.chain}


FIRST = Place()


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A table ready to be sealed: its public manifest, and the components that no one but us holds yet."""

    manifest: Mapping[str, Any]
    signature: str
    codebook: Mapping[str, Any]
    seeds: tuple[bytes, ...] = field(repr=False)
    salts: tuple[bytes, ...] = field(repr=False)
    last: bytes = field(repr=False)

    @property
    def id(self) -> str:
        return str(self.manifest["dataset"])

    @property
    def manifest_hash(self) -> str:
        return digest(self.manifest)


def layout(planes: Sequence[tuple[str, int | str]], capacity: int) -> dict[str, Any]:
    """The public shape of a table: which plane is which, and how many rows each is padded to."""
    return {"type": "fourfold/1/layout", "planes": [list(name) for name in planes], "capacity": capacity}


def prepare(
    *,
    private_key: Ed25519PrivateKey,
    codebook: Mapping[str, Any],
    codebook_hash: str,
    policy: Mapping[str, Any],
    title: str,
    plane_names: Sequence[tuple[str, int | str]],
    capacity: int,
    planes: Planes,
    party_set: Sequence[Mapping[str, Any]],
    portal_sign: str,
    created: int,
    place: Place = FIRST,
) -> Dataset:
    """Split a table's planes and sign the manifest that describes them, at this place of its chain.

    Shapes  planes: uint64 (len(plane_names), ceil(capacity / 64)).
    """
    shape = layout(plane_names, capacity)
    layout_hash = digest(shape)
    parties = [{name: party[name] for name in ("party", "seal", "sign")} for party in party_set]
    body = planes.astype("<u8").tobytes()
    secret = provider_secret(private_key)
    content = _mac(secret, canonical(codebook) + canonical(shape) + body + canonical(parties))
    # A table that comes back later in its chain is another version, under seeds of its own.
    bound = b"" if place == FIRST else canonical(place.public())
    dataset = _mac(secret, b"dataset" + content + bound)[:16]
    seeds = tuple(_mac(secret, b"seed" + dataset + bytes([c])) for c in range(PARTIES - 1))
    salts = tuple(_mac(secret, b"salt" + dataset + bytes([c])) for c in range(PARTIES))
    last = split_planes(planes, seeds)
    components = [*(expand(seed, planes.shape) for seed in seeds), last]
    manifest = {
        "type": "fourfold/1/manifest",
        "dataset": dataset.hex(),
        **place.public(),
        "title": title,
        "provider_key": public_hex(private_key),
        "codebook_hash": codebook_hash,
        "capacity": capacity,
        "patient_unit": "patient",
        "max_rows_per_patient": 1,
        "layout_hash": layout_hash,
        "party_set": parties,
        "portal": {"sign": portal_sign},
        "policy": dict(policy),
        "commitments": [
            commitment(c, salts[c], layout_hash, components[c].astype("<u8").tobytes())
            for c in range(PARTIES)
        ],
        "created": created,
    }
    return Dataset(
        manifest=manifest,
        signature=sign(manifest, private_key),
        codebook=codebook,
        seeds=seeds,
        salts=salts,
        last=last.astype("<u8").tobytes(),
    )


def provider_secret(private_key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes from which ids, seeds and salts follow; known to nobody without the private key."""
    raw = private_key.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"fourfold/1/provider-secret").derive(raw)


def commitment(component: int, salt: bytes, layout_hash: str, body: bytes) -> str:
    """What the manifest says of one component, and its three holders check before they sign a receipt."""
    head = b"fourfold/1/component" + salt + bytes([component]) + bytes.fromhex(layout_hash)
    return hashlib.sha256(head + body).hexdigest()


def plaintext(dataset: Dataset, party: int) -> bytes:
    """Party p's bundle in clear: a header that names its components in order, then their bodies."""
    held = [c for c in range(PARTIES) if c != party]
    header = canonical(
        {
            "type": "fourfold/1/bundle",
            "party": party,
            "manifest_hash": dataset.manifest_hash,
            "components": [
                {
                    "component": c,
                    "form": "planes" if c == PARTIES - 1 else "seed",
                    "salt": dataset.salts[c].hex(),
                }
                for c in held
            ],
        }
    )
    bodies = [dataset.last if c == PARTIES - 1 else dataset.seeds[c] for c in held]
    return len(header).to_bytes(4, "big") + header + b"".join(bodies)


def chunk_info(party: int, manifest_hash: str, chunk: int, chunks: int) -> bytes:
    """What the seal of one chunk is bound to: it opens nowhere else."""
    return canonical(
        {
            "type": "fourfold/1/input",
            "party": party,
            "manifest_hash": manifest_hash,
            "chunk": chunk,
            "chunks": chunks,
        }
    )


def chunk_count(dataset: Dataset, party: int) -> int:
    """How many chunks party p's bundle is cut in; at least one."""
    return -(-len(plaintext(dataset, party)) // CHUNK)


def seal(dataset: Dataset, party: int) -> Iterator[bytes]:
    """The sealed chunks of one party's bundle, in order; only that party's private key opens them."""
    clear = plaintext(dataset, party)
    chunks = chunk_count(dataset, party)
    entry = next(entry for entry in dataset.manifest["party_set"] if entry["party"] == party)
    key = X25519PublicKey.from_public_bytes(bytes.fromhex(entry["seal"]))
    for chunk in range(chunks):
        info = chunk_info(party, dataset.manifest_hash, chunk, chunks)
        yield SUITE.encrypt(clear[chunk * CHUNK : (chunk + 1) * CHUNK], key, info)


def _mac(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, "sha256")
