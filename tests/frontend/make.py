"""Writes what the browser's modules and these tests share: test vectors of bundles, and the list of statistics.

    python -m tests.frontend.make

Everything is made of fixed keys and times by the code that providers run, so the same code makes the same bytes;
`test_vectors.py` holds the committed files against it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from analytics.query.approval import public_hex
from analytics.query.model import canonical, digest
from analytics.query.schema import canonical_codebook, load_codebook, parse_codebook
from analytics.query.statistic import spellings, statistics
from providers.bundle import FIRST, Dataset, Place, plaintext, prepare
from providers.codebook import Encoded
from providers.planes import to_planes
from providers.ranging import Column

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests/vectors/bundle"
STATISTICS = ROOT / "platform/portal/web/static/web/provider/statistics.js"
CREATED = 1_800_000_000
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)

SMALL = """{"primaryKey": "id", "title": "A small trial", "capacity": 64, "fields": [
 {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 127}},
 {"name": "weight", "type": "number", "constraints": {"minimum": 30, "maximum": 157.5}, "resolution": 5e-1},
 {"name": "arm", "type": "string", "categories": ["a", "b"]}],
 "policy": {"epsilon": 2.50, "epsilon_per_query": "0.5", "expires": "2030-01-01"}}"""
WIDE = """{"primaryKey": ["PATIENT"], "title": "Größe, Straße, \\ud83d\\ude00 and a \\"quote\\"\\n", "capacity": 200,
 "facts": {"z": 1.0, "a": [1e-6, -0.0, 12345678901234567890, true, null], "\\ud83d\\ude00": "x", "\\uffff": "y", "\\u007f": "\\u001f"},
 "fields": [
 {"name": "größe", "unit": "cm", "type": "number", "constraints": {"minimum": -1.5, "maximum": "4294965.7945"}, "resolution": 0.001,
  "missingValues": ["", "NA", "–"]},
 {"name": "Straße", "type": "string", "categories": [{"value": 2, "label": "zwei"}, {"value": "1"}], "recodes": {"x": 2, "y": "1"}},
 {"name": "wide", "type": "integer", "constraints": {"minimum": -2147483648, "maximum": 2147483647}}],
 "policy": {"epsilon": 3, "modes": ["exact", "dp"], "statistics": ["km", "average", "count"], "expires": "20300131"}}"""
WIDE = WIDE.replace('\\"quote\\"\\n', '\\"quote\\"')


def fixed(name: str) -> bytes:
    """32 bytes that are the same in every run."""
    return hashlib.sha256(b"fourfold test vector: " + name.encode()).digest()


def provider_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(fixed("provider"))


def seal_key(party: int) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(fixed(f"seal {party}"))


def party_set() -> list[dict[str, Any]]:
    return [
        {
            "party": n,
            "seal": seal_key(n).public_key().public_bytes(*RAW).hex(),
            "sign": public_hex(Ed25519PrivateKey.from_private_bytes(fixed(f"sign {n}"))),
        }
        for n in range(4)
    ]


def portal_sign() -> str:
    return public_hex(Ed25519PrivateKey.from_private_bytes(fixed("portal")))


def pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def random_codes(codebook: str, patients: int) -> Encoded:
    """Codes that a table under this codebook could have."""
    rng = np.random.default_rng(patients)
    schema = parse_codebook(load_codebook(codebook))
    columns = {}
    for item in schema.fields:
        present = rng.random(patients) < 0.8
        codes = rng.integers(0, item.codes, patients)
        columns[item.name] = Column(np.where(present, codes, 0).astype(np.int64), present)
    return Encoded(patients, columns)


def dataset_of(codebook: str, encoded: Encoded, place: Place) -> Dataset:
    raw = load_codebook(codebook)
    schema = parse_codebook(raw)
    return prepare(
        private_key=provider_key(),
        codebook=canonical_codebook(raw),
        codebook_hash=schema.hash,
        policy=schema.policy,
        title=schema.title,
        plane_names=schema.plane_names,
        capacity=schema.capacity,
        planes=to_planes(encoded, schema.plane_names, schema.capacity),
        party_set=party_set(),
        portal_sign=portal_sign(),
        created=CREATED,
        place=place,
    )


def vector(codebook: str, patients: int, place: Place = FIRST) -> dict[str, Any]:
    """One dataset from its codebook and codes to the clear text of its four bundles."""
    encoded = random_codes(codebook, patients)
    dataset = dataset_of(codebook, encoded, place)
    schema = parse_codebook(load_codebook(codebook))
    return {
        "provider_pem": pem(provider_key()),
        "party_set": party_set(),
        "portal_sign": portal_sign(),
        "created": CREATED,
        "place": {"version": place.version, "chain": place.chain, "previous": place.previous},
        "codebook": codebook,
        "patients": patients,
        "columns": {
            name: {"codes": column.codes.tolist(), "present": column.present.astype(int).tolist()}
            for name, column in encoded.columns.items()
        },
        "expected": {
            "canonical_codebook": canonical(dataset.codebook).decode(),
            "codebook_hash": schema.hash,
            "layout_hash": schema.layout_hash,
            "dataset": dataset.id,
            "manifest": canonical(dataset.manifest).decode(),
            "manifest_hash": dataset.manifest_hash,
            "signature": dataset.signature,
            "bundles": [plaintext(dataset, party).hex() for party in range(4)],
        },
    }


def vectors() -> dict[str, dict[str, Any]]:
    """Every vector by the name of its file."""
    small = vector(SMALL, 40)
    first = json.loads(small["expected"]["manifest"])
    second = Place(version=2, chain=first["dataset"], previous=digest(first))
    return {
        "small": small,
        "second-version": vector(SMALL, 41, second),
        "wide": vector(WIDE, 130),
        "nobody": vector(SMALL, 0),
    }


def statistics_js() -> str:
    """The statistics that a policy may name, as a module."""
    said = {"STATISTICS": list(statistics()), "SPELLINGS": dict(spellings())}
    parts = "".join(f"export const {name} = {json.dumps(value, indent=2)};\n" for name, value in said.items())
    return f"// Statistics that a policy may name, and every spelling of them. Made by python -m tests.frontend.make.\n\n{parts}"


def written() -> dict[Path, str]:
    """Every file that is made, with its content."""
    files = {
        VECTORS / f"{name}.json": json.dumps(one, indent=1, ensure_ascii=True) + "\n"
        for name, one in vectors().items()
    }
    return {STATISTICS: statistics_js(), **files}


if __name__ == "__main__":
    for path, text in written().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
