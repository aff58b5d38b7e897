"""A new party gets its share of a dataset from the three others, without any provider's rows.

Each of the three seals to the new party the two components that both of them hold, with their salts, signed
inside the seal. So each component comes twice, and what is stored is a copy that opens the commitment of the
provider's manifest: one false sender is noticed and named here, and stops nothing. Who is new is the provider's
signed word, equal to the keys that this party has pinned. Hidden: components and salts, which only holders see.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from analytics.query import approval
from analytics.query.consent import ConsentRejected, current_set
from analytics.query.model import canonical
from analytics.query.schema import parse_codebook
from mpcnode.store import Store, Words
from workers.bundle import CHUNK, LONGEST_HEADER, SUITE, Bundle, Served, commitment_opens
from workers.config import PARTIES, Config
from workers.errors import BundleRejected
from workers.keys import Keys
from workers.manifest import Manifest
from workers.portal_client import Portal

log = logging.getLogger(__name__)

SIGNATURE_BYTES = 64


def newcomer(manifest: Manifest, party_sets: Any) -> tuple[int | None, int]:
    """(the party that the last party set brought in, or None; how many sets there are).

    Raises  BundleRejected, party_set.
    """
    try:
        _, last = current_set(manifest.public, party_sets)
    except ConsentRejected as wrong:
        raise BundleRejected("party_set", str(wrong)) from None
    return last, len(party_sets or ())


def provide(dataset_id: str, *, config: Config, keys: Keys, store: Store, portal: Portal) -> str:
    """Seal and post this party's copies for the new party of a dataset. Repeating it is harmless.

    Returns  "provided", or "unneeded" if no other party is new.
    Raises   BundleRejected if the provider's party sets do not lead to the pinned parties; StoreError;
             PortalUnreachable.
    """
    meta = store.meta(dataset_id)
    manifest = Manifest.parse(meta["manifest"], meta["signature"])
    party_sets = portal.dataset(dataset_id).get("party_sets")
    manifest.check_world(config, party_sets)
    to, epoch = newcomer(manifest, party_sets)
    if to is None or to == config.party:
        return "unneeded"
    plain = _signed(manifest, meta, epoch, to, config, keys, store)
    public = X25519PublicKey.from_public_bytes(bytes.fromhex(config.peers[to].seal))
    chunks = -(-len(plain) // CHUNK)
    for number in range(chunks):
        info = _info(manifest.hash, epoch, config.party, to, number, chunks)
        sealed = SUITE.encrypt(plain[number * CHUNK : (number + 1) * CHUNK], public, info)
        portal.provide(dataset_id, epoch, number, chunks, sealed)
    log.info("party %d: dataset %s provided to party %d", config.party, dataset_id, to)
    return "provided"


def receive(
    served: Served, party_sets: Any, sent: Mapping[int, Iterable[bytes]], config: Config, keys: Keys
) -> Bundle:
    """The new party's components, each from a copy that opens its commitment.

    sent  {sender: its sealed chunks in order}, of the three others
    Raises  BundleRejected: party_set, cannot_open, provision_signature, bad_bundle, commitment.
    """
    last, epoch = newcomer(served.manifest, party_sets)
    if last != config.party:
        raise BundleRejected("party_set", "the provider's last party set does not bring in this party")
    components: dict[int, Words] = {}
    salts: dict[int, str] = {}
    wrong: dict[int, BundleRejected] = {}
    for sender in (p for p in range(PARTIES) if p != config.party):
        try:
            copies = list(_copies(served, epoch, sender, sent.get(sender, ()), config, keys))
        except BundleRejected as failed:
            wrong[sender] = failed
            continue
        for c, salt, array in copies:
            if not commitment_opens(served, c, salt, array):
                wrong[sender] = BundleRejected("commitment", f"component {c} of party {sender} is false")
            elif c not in components:
                components[c], salts[c] = array, salt
    for sender, why in wrong.items():
        log.warning("party %d: what party %d provided is not used: %s", config.party, sender, why)
    if len(components) < PARTIES - 1:
        raise next(iter(wrong.values()))
    return Bundle(served=served, components=components, salts=salts)


def shared_with(party: int, other: int) -> list[int]:
    """The components that both hold."""
    return [c for c in range(PARTIES) if c not in (party, other)]


def longest(served: Served) -> int:
    """The most chunks that an honest sender needs."""
    planes, words = served.shape
    return -(-(SIGNATURE_BYTES + 4 + LONGEST_HEADER + 2 * 8 * planes * words) // CHUNK)


def _signed(
    manifest: Manifest, meta: Mapping[str, Any], epoch: int, to: int, config: Config, keys: Keys, store: Store
) -> bytes:
    """Signature, length, header, components: what is sealed in chunks."""
    held = [c for c in range(PARTIES) if c != config.party]
    wanted = shared_with(config.party, to)
    schema = parse_codebook(meta["codebook"])
    names = list(dict.fromkeys(column for column, _ in schema.plane_names))
    columns = store.columns(manifest.dataset, names)
    salts = meta.get("salts", {})
    if not all(str(c) in salts for c in wanted):
        raise BundleRejected("commitment", "this dataset was stored without its salts: upload it again")
    header = canonical(
        {
            **_about(manifest.hash, epoch, config.party, to),
            "components": [{"component": c, "salt": salts[str(c)]} for c in wanted],
        }
    )
    bodies = [
        np.concatenate([columns[name][held.index(c)] for name in names]).astype("<u8").tobytes()
        for c in wanted
    ]
    plain = b"".join([len(header).to_bytes(4, "big"), header, *bodies])
    return (
        bytes.fromhex(approval.sign(_witnessed(manifest.hash, epoch, config.party, to, plain), keys.sign))
        + plain
    )


def _copies(
    served: Served, epoch: int, sender: int, sealed: Iterable[bytes], config: Config, keys: Keys
) -> Iterator[tuple[int, str, Words]]:
    """(component, salt, array) of each copy that a sender signed. Raises BundleRejected."""
    chunks = list(sealed)
    manifest_hash = served.manifest.hash
    whole = b""
    for number, chunk in enumerate(chunks):
        info = _info(manifest_hash, epoch, sender, config.party, number, len(chunks))
        try:
            whole += SUITE.decrypt(chunk, keys.seal, info)
        except (InvalidTag, ValueError):
            raise BundleRejected("cannot_open", f"chunk {number} of party {sender} does not open") from None
    signature, plain = whole[:SIGNATURE_BYTES], whole[SIGNATURE_BYTES:]
    try:
        said = _witnessed(manifest_hash, epoch, sender, config.party, plain)
        approval.verify(said, signature.hex(), config.peers[sender].sign)
    except approval.BadSignature:
        raise BundleRejected("provision_signature", f"party {sender} did not sign what it provided") from None
    yield from _parsed(served, epoch, sender, plain, config)


def _parsed(
    served: Served, epoch: int, sender: int, plain: bytes, config: Config
) -> Iterator[tuple[int, str, Words]]:
    rows, words = served.shape
    length, wanted = int.from_bytes(plain[:4], "big"), shared_with(sender, config.party)
    text, bodies = plain[4 : 4 + length], plain[4 + length :]
    try:
        header = json.loads(text)
        salts = [entry["salt"] for entry in header["components"]]
        expected = {
            **_about(served.manifest.hash, epoch, sender, config.party),
            "components": [{"component": c, "salt": s} for c, s in zip(wanted, salts, strict=True)],
        }
        right = canonical(expected) == text and all(len(bytes.fromhex(s)) == 32 for s in salts)
    except (ValueError, TypeError, KeyError, RecursionError):
        right = False
    size = 8 * rows * words
    if not right or len(bodies) != size * len(wanted):
        raise BundleRejected("bad_bundle", f"what party {sender} provided is not of this dataset's form")
    for k, c in enumerate(wanted):
        array = np.frombuffer(bodies[k * size : (k + 1) * size], dtype="<u8").astype(np.uint64, copy=False)
        yield c, salts[k], array.reshape(rows, words)


def _about(manifest_hash: str, epoch: int, sender: int, to: int) -> dict[str, Any]:
    return {
        "type": "fourfold/1/provision",
        "manifest_hash": manifest_hash,
        "epoch": epoch,
        "from": sender,
        "to": to,
    }


def _info(manifest_hash: str, epoch: int, sender: int, to: int, chunk: int, chunks: int) -> bytes:
    return canonical({**_about(manifest_hash, epoch, sender, to), "chunk": chunk, "chunks": chunks})


def _witnessed(manifest_hash: str, epoch: int, sender: int, to: int, plain: bytes) -> dict[str, Any]:
    """What a sender signs. It stays inside the seal: a hash of components is for their holders alone."""
    about = _about(manifest_hash, epoch, sender, to)
    return {**about, "type": "fourfold/1/provided", "sha256": hashlib.sha256(plain).hexdigest()}
