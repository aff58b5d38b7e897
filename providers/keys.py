"""The provider's signing key, and the public keys of parties and portal that it relies on.

A bundle is sealed to four keys, so whoever chooses those keys reads the table. They come from a file that
the provider was given, or are shown and pinned on first use; a portal that later serves other keys is
refused with both fingerprints. Pins lie beside the key, one entry per portal address.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.query.approval import fingerprint, load_private_key, make_private_key
from providers.report import KeysRefused

PARTIES = 4


@dataclass(frozen=True, kw_only=True)
class PartyKeys:
    """Public keys of one party, hex: X25519 to seal to, Ed25519 to check receipts with."""

    party: int
    seal: str
    sign: str

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(bytes.fromhex(self.seal) + bytes.fromhex(self.sign)).hexdigest()[:32]

    def public(self) -> dict[str, Any]:
        return {"party": self.party, "seal": self.seal, "sign": self.sign}


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The four parties and the portal that a table is entrusted to."""

    parties: tuple[PartyKeys, ...]
    portal_sign: str

    @property
    def portal_fingerprint(self) -> str:
        return fingerprint(self.portal_sign)

    @property
    def fingerprints(self) -> dict[str, str]:
        named = {f"party {party.party}": party.fingerprint for party in self.parties}
        return named | {"portal": self.portal_fingerprint}

    def public(self) -> dict[str, Any]:
        parties = [party.public() | {"fingerprint": party.fingerprint} for party in self.parties]
        return {
            "parties": parties,
            "portal": {"sign": self.portal_sign, "fingerprint": self.portal_fingerprint},
        }


def default_key_path() -> Path:
    """Where a provider's key lies unless told otherwise."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "fourfold" / "provider.pem"


def provider_key(path: Path, say: Callable[[str], None]) -> Ed25519PrivateKey:
    """The key in a file, made there (mode 0600) when the file is missing.

    Raises  KeyFileRefused if others can read the file or it holds no such key.
    """
    if path.exists():
        return load_private_key(path)
    key = make_private_key(path)
    say(f"new signing key in {path}: keep a copy, it is the only proof that the dataset is yours")
    return key


def parse_deployment(obj: Any, source: str) -> Deployment:
    """Keys of parties and portal as access.json and /api/parties/ write them.

    Raises  KeysRefused if a party is missing or twice, a key is malformed, or a stated fingerprint is
            not that of its keys.
    """
    entries = obj.get("parties", obj.get("results")) if isinstance(obj, Mapping) else None
    portal = obj.get("portal") if isinstance(obj, Mapping) else None
    if not isinstance(entries, list) or not isinstance(portal, Mapping):
        raise KeysRefused(f'{source} does not list "parties" and "portal" with their public keys')
    parties = []
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("party"), int):
            raise KeysRefused(f"{source}: an entry of the parties has no number")
        number = entry["party"]
        keys = PartyKeys(
            party=number,
            seal=_key(entry.get("seal"), f"{source}: the seal key of party {number}"),
            sign=_key(entry.get("sign"), f"{source}: the sign key of party {number}"),
        )
        _same_fingerprint(entry, keys.fingerprint, f"{source}: party {number}")
        parties.append(keys)
    if sorted(party.party for party in parties) != list(range(PARTIES)):
        raise KeysRefused(f"{source} must name the parties 0 to {PARTIES - 1}, each once")
    if len({key for party in parties for key in (party.seal, party.sign)}) != 2 * PARTIES:
        raise KeysRefused(f"{source} gives two parties the same key")
    sign = _key(portal.get("sign"), f"{source}: the sign key of the portal")
    _same_fingerprint(portal, fingerprint(sign), f"{source}: portal")
    return Deployment(parties=tuple(sorted(parties, key=lambda party: party.party)), portal_sign=sign)


def read_deployment(path: Path) -> Deployment:
    """Keys from a file such as access.json."""
    return parse_deployment(_json(path), str(path))


def pins_path(key_path: Path) -> Path:
    return key_path.with_name(key_path.name + ".pins.json")


def pinned(key_path: Path) -> dict[str, Deployment]:
    """The pinned deployments by portal address."""
    path = pins_path(key_path)
    if not path.exists():
        return {}
    content = _json(path)
    if not isinstance(content, Mapping):
        raise KeysRefused(f"{path} is not a list of pinned keys; remove it to pin again")
    return {url: parse_deployment(entry, f"{path}, {url}") for url, entry in content.items()}


def pin(key_path: Path, url: str, served: Deployment, say: Callable[[str], None]) -> Deployment:
    """What the portal at `url` serves, if it is what was pinned; shown and pinned on first use.

    Raises  KeysRefused naming the pinned and the served fingerprint of every key that changed.
    """
    pins = pinned(key_path)
    if url in pins:
        changed = _changes(pins[url], served)
        if changed:
            raise KeysRefused(
                f"the keys at {url} are not the pinned ones: {changed}; ask the parties out of band, then "
                "give the new keys with --parties FILE"
            )
        return pins[url]
    say(f"keys of {url}, pinned on first use; compare them with what the parties publish:")
    for name, print_ in served.fingerprints.items():
        say(f"  {name}: {print_}")
    _write_pins(key_path, pins | {url: served})
    return served


def trust_file(key_path: Path, url: str, given: Deployment, say: Callable[[str], None]) -> Deployment:
    """Keys that a person gave in a file: they become the pins of `url`, replacing others aloud."""
    pins = pinned(key_path)
    if pins.get(url) != given:
        if url in pins:
            say(f"the given file replaces the pinned keys of {url}: {_changes(pins[url], given)}")
        _write_pins(key_path, pins | {url: given})
    return given


def _changes(old: Deployment, new: Deployment) -> str:
    before, after = old.fingerprints, new.fingerprints
    return ", ".join(
        f"{name} was {before[name]} and is {after[name]}" for name in before if before[name] != after[name]
    )


def _write_pins(key_path: Path, pins: Mapping[str, Deployment]) -> None:
    path = pins_path(key_path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    text = json.dumps({url: entry.public() for url, entry in pins.items()}, indent=1, sort_keys=True)
    try:
        draft.touch(mode=0o600)
        draft.write_text(text + "\n")
        os.replace(draft, path)
    except OSError as wrong:
        raise KeysRefused(f"{path} cannot be written: {wrong.strerror}") from None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except OSError as wrong:
        raise KeysRefused(f"{path} cannot be read: {wrong.strerror}") from None
    except ValueError:
        raise KeysRefused(f"{path} is not JSON") from None


def _key(value: Any, name: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise KeysRefused(f"{name} is not 64 hex digits")
    return value


def _same_fingerprint(entry: Mapping[str, Any], computed: str, name: str) -> None:
    stated = entry.get("fingerprint", computed)
    if stated != computed:
        raise KeysRefused(f"{name}: the stated fingerprint {stated} is not that of its keys, {computed}")
