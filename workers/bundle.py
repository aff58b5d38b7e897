"""A dataset arrives: every check a party makes before it stores its shares and signs a receipt.

Manifest (signature, same parties, same portal), codebook (hash, rules, layout), then the party's own bundle:
HPKE chunks (RFC 9180) bound to party, manifest and place, strictly parsed, components expanded, and each
compared with the commitment that its other holders compare too. Any failure is a complaint with one code and
nothing is stored. Hidden: components, salts and the party's private key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke

from analytics.query.errors import CodebookRejected
from analytics.query.model import canonical
from analytics.query.schema import Schema, canonical_codebook, parse_codebook
from mpcnode.sharing import SEED_BYTES, expand
from mpcnode.store import Words
from workers.config import PARTIES, Config
from workers.errors import BundleRejected
from workers.keys import Keys
from workers.manifest import Manifest

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
CHUNK = 2**20
LONGEST_HEADER = 4096
SALT_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Served:
    """The public part of a dataset, checked: what its bundle must look like."""

    manifest: Manifest
    codebook: Mapping[str, Any]
    schema: Schema
    chunks: int

    @property
    def layout(self) -> list[tuple[str, str | int]]:
        return [(column, part) for column, part in self.schema.plane_names]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.schema.plane_names), -(-self.manifest.capacity // 64)

    def meta(self) -> dict[str, Any]:
        """What the store keeps beside the shares, enough to check an order without the portal."""
        return {
            "version": self.manifest.version,
            "capacity": self.manifest.capacity,
            "manifest": dict(self.manifest.public),
            "signature": self.manifest.signature,
            "codebook": self.codebook,
        }


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A party's components of a dataset, each equal to what the manifest commits to."""

    served: Served
    components: Mapping[int, Words] = field(repr=False)
    salts: Mapping[int, str] = field(repr=False)

    def meta(self) -> dict[str, Any]:
        """What the store keeps beside the shares: with the salts, to provide for a party that is replaced."""
        return {**self.served.meta(), "salts": {str(c): salt for c, salt in self.salts.items()}}


def check_served(served: Mapping[str, Any], dataset_id: str, config: Config) -> Served:
    """Check what the portal serves of a dataset before its bundle is fetched.

    Raises  BundleRejected: bad_manifest, bad_signature, dataset_mismatch, party_set, portal_key,
            bad_codebook, codebook_hash, layout, policy, bad_bundle.
    """
    manifest = Manifest.parse(served.get("manifest"), served.get("signature"))
    if manifest.dataset != dataset_id:
        raise BundleRejected("dataset_mismatch", "the manifest is another dataset's")
    manifest.check_world(config, served.get("party_sets"))
    schema = _schema(served.get("codebook"), manifest)
    chunks = served.get("chunks")
    planes, words = len(schema.plane_names), -(-manifest.capacity // 64)
    # The explicit component and seeds: at most this many bytes, whatever a portal says.
    longest = 4 + LONGEST_HEADER + SEED_BYTES * PARTIES + 8 * planes * words
    # A party that was replaced has its share from the others: bundles may have been deleted by then.
    fewest = 0 if served.get("party_sets") else 1
    if type(chunks) is not int or not fewest <= chunks <= -(-longest // CHUNK):
        raise BundleRejected("bad_bundle", "the bundle has another number of chunks than its layout can fill")
    return Served(
        manifest=manifest, codebook=canonical_codebook(served["codebook"]), schema=schema, chunks=chunks
    )


def open_bundle(served: Served, sealed: Iterable[bytes], config: Config, keys: Keys) -> Bundle:
    """Open this party's bundle and compare every component with its commitment.

    sealed  the chunks in order
    Raises  BundleRejected: cannot_open, bad_bundle, commitment.
    """
    plain = b"".join(_open(served, sealed, config.party, keys))
    entries, bodies = _header(plain, served, config.party)
    rows, words = served.shape
    components = {}
    for entry in entries:
        size = SEED_BYTES if entry["form"] == "seed" else 8 * rows * words
        body, bodies = bodies[:size], bodies[size:]
        if len(body) != size:
            raise BundleRejected("bad_bundle", "the bundle ends before its components do")
        if entry["form"] == "seed":
            array = expand(bytes(body), (rows, words))
        else:
            array = np.frombuffer(body, dtype="<u8").astype(np.uint64, copy=False).reshape(rows, words)
        if not commitment_opens(served, entry["component"], entry["salt"], array):
            number = entry["component"]
            raise BundleRejected("commitment", f"component {number} is not the one the manifest commits to")
        components[entry["component"]] = array
    if len(bodies):
        raise BundleRejected("bad_bundle", "the bundle goes on after its components")
    salts = {entry["component"]: entry["salt"] for entry in entries}
    return Bundle(served=served, components=components, salts=salts)


def commitment_opens(served: Served, component: int, salt: str, array: Words) -> bool:
    """Whether an array is the component that the manifest commits to under this salt."""
    public = served.manifest.public
    hashed = hashlib.sha256(b"fourfold/1/component" + bytes.fromhex(salt) + bytes([component]))
    hashed.update(bytes.fromhex(public["layout_hash"]))
    hashed.update(array.astype("<u8", copy=False).tobytes())
    return hmac.compare_digest(hashed.hexdigest(), public["commitments"][component])


def _schema(found: Any, manifest: Manifest) -> Schema:
    """The codebook that the manifest names by its hash, valid by this party's own rules."""
    if not isinstance(found, dict):
        raise BundleRejected("bad_codebook", "the codebook is no object")
    try:
        schema = parse_codebook(found)
    except CodebookRejected as wrong:
        raise BundleRejected("bad_codebook", str(wrong)) from None
    public = manifest.public
    if schema.hash != public["codebook_hash"]:
        raise BundleRejected("codebook_hash", "the codebook is not the one the manifest names")
    if (schema.capacity, schema.layout_hash) != (public["capacity"], public["layout_hash"]):
        raise BundleRejected("layout", "the codebook's planes are not those the manifest names")
    if dict(schema.policy) != public["policy"]:
        raise BundleRejected("policy", "the manifest's policy is not the codebook's")
    return schema


def _open(served: Served, sealed: Iterable[bytes], party: int, keys: Keys) -> Iterable[bytes]:
    chunks = list(sealed)
    if len(chunks) != served.chunks:
        raise BundleRejected("bad_bundle", "a chunk of the bundle is missing")
    for number, chunk in enumerate(chunks):
        info = canonical(
            {
                "type": "fourfold/1/input",
                "party": party,
                "manifest_hash": served.manifest.hash,
                "chunk": number,
                "chunks": served.chunks,
            }
        )
        try:
            plain = SUITE.decrypt(chunk, keys.seal, info)
        except (InvalidTag, ValueError):
            raise BundleRejected("cannot_open", f"chunk {number} is not sealed to this party") from None
        if len(plain) > CHUNK or (len(plain) < CHUNK and number + 1 < served.chunks):
            raise BundleRejected("bad_bundle", f"chunk {number} has another size than it must")
        yield plain


def _header(plain: bytes, served: Served, party: int) -> tuple[list[dict[str, Any]], memoryview]:
    length = int.from_bytes(plain[:4], "big")
    text = plain[4 : 4 + length]
    if len(plain) < 4 or length > LONGEST_HEADER or len(text) != length:
        raise BundleRejected("bad_bundle", "the bundle's header is cut or too long")
    try:
        header = json.loads(text)
        strict = canonical(header) == text
    except (ValueError, TypeError, RecursionError):
        strict = False
    # One byte string is right, so it is built here and compared: nothing is left to interpret but salts.
    if not strict or not isinstance(header, dict):
        raise BundleRejected("bad_bundle", "the bundle's header is not canonical JSON")
    entries = header.get("components")
    held = [c for c in range(PARTIES) if c != party]
    expected = [
        {"component": c, "form": "planes" if c == PARTIES - 1 else "seed", "salt": _salt(entries, position)}
        for position, c in enumerate(held)
    ]
    if header != {
        "type": "fourfold/1/bundle",
        "party": party,
        "manifest_hash": served.manifest.hash,
        "components": expected,
    }:
        raise BundleRejected("bad_bundle", "the bundle's header is not this party's of this manifest")
    return expected, memoryview(plain)[4 + length :]


def _salt(entries: Any, position: int) -> str:
    try:
        salt = entries[position]["salt"]
        right = isinstance(salt, str) and bytes.fromhex(salt).hex() == salt and len(salt) == 2 * SALT_BYTES
    except (TypeError, KeyError, IndexError, ValueError):
        right = False
    if not right:
        raise BundleRejected("bad_bundle", "a salt is not 64 hex digits")
    return str(salt)
