"""A manifest must say what the codebook, the pinned parties and this portal say, and be signed for it.

The portal checks it so that mistakes surface at upload; the parties check it again, for themselves. What a later version may follow is in `versions.py`.
"""

from typing import Any

from analytics.query.approval import BadSignature, verify
from analytics.query.schema import Schema
from portal.registry.models import PARTIES

TYPE = "fourfold/1/manifest"
KEYS = frozenset(
    {
        "type", "dataset", "version", "previous", "title", "provider_key", "codebook_hash", "capacity",
        "patient_unit", "max_rows_per_patient", "layout_hash", "party_set", "portal", "policy",
        "commitments", "created",
    }
)  # fmt: skip
LARGEST_CAPACITY = 2**24
MOST_VERSIONS = 10**6


class ManifestRefused(Exception):
    """The manifest is malformed, contradicts the codebook, or is not signed by its provider."""

    code = "manifest_refused"

    def __init__(self, message: str, code: str = "manifest_refused") -> None:
        super().__init__(message)
        self.code = code


def check(
    manifest: Any, signature: str, schema: Schema, *, party_set: list[dict[str, Any]], portal: str
) -> None:
    """Return if the manifest holds together. Raises ManifestRefused naming the key that does not."""
    _must(isinstance(manifest, dict) and manifest.get("type") == TYPE, f"an object of type {TYPE} is needed")
    keys = KEYS if manifest.get("version") == 1 else KEYS | {"chain"}
    odd = ", ".join(sorted(map(str, set(manifest) ^ keys)))
    _must(not odd, f"missing or unknown keys: {odd}")
    _hex(manifest, "dataset", 32)
    for key in ("provider_key", "codebook_hash", "layout_hash"):
        _hex(manifest, key, 64)
    try:
        verify(manifest, signature, manifest["provider_key"])
    except BadSignature:
        raise ManifestRefused(
            "the signature is not that of the manifest by its provider_key", "bad_signature"
        ) from None
    _whole(manifest, "version", 1, MOST_VERSIONS)
    if manifest["version"] == 1:
        _must(manifest["previous"] is None, "previous: a first version has no predecessor")
    else:
        _hex(manifest, "previous", 64)
        _hex(manifest, "chain", 32)
        _must(manifest["chain"] != manifest["dataset"], "chain: the id of its first version is needed")
    title = manifest["title"]
    _must(isinstance(title, str) and 0 < len(title) <= 200, "title: 1 to 200 characters")
    _whole(manifest, "capacity", 1, LARGEST_CAPACITY)
    _whole(manifest, "max_rows_per_patient", 1, 1)
    _whole(manifest, "created", 0, 2**40)
    _must(manifest["patient_unit"] == "patient", "patient_unit: patient")
    commitments = manifest["commitments"]
    _must(isinstance(commitments, list) and len(commitments) == PARTIES, "commitments: four are needed")
    for entry in commitments:
        _must(_is_hex(entry, 64), "commitments: 64 hex digits each")
    _must(
        manifest["party_set"] == party_set,
        "party_set: not the parties of this portal (GET /api/parties/ lists them)",
    )
    _must(manifest["portal"] == {"sign": portal}, "portal: not the key of this portal")
    _must(
        manifest["codebook_hash"] == schema.hash, "codebook_hash: not the hash of the codebook sent with it"
    )
    _must(manifest["capacity"] == schema.capacity, "capacity: the codebook says another one")
    _must(manifest["layout_hash"] == schema.layout_hash, "layout_hash: not the layout of this codebook")
    _must(
        isinstance(manifest["policy"], dict) and manifest["policy"] == dict(schema.policy),
        "policy: the codebook says another one",
    )


def _must(holds: bool, message: str) -> None:
    if not holds:
        raise ManifestRefused(message)


def _whole(obj: dict[str, Any], key: str, low: int, high: int) -> None:
    value = obj[key]
    _must(
        isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        f"{key}: a whole number from {low} to {high} is needed",
    )


def _hex(obj: dict[str, Any], key: str, digits: int) -> None:
    _must(_is_hex(obj[key], digits), f"{key}: {digits} hex digits are needed")


def _is_hex(text: Any, digits: int) -> bool:
    return isinstance(text, str) and len(text) == digits and set(text) <= set("0123456789abcdef")
