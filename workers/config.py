"""What a party is told once: who it is, whom it trusts, what it refuses whatever anybody signs.

`party.json` in the party's folder and the environment become one frozen object; a missing, unknown or
malformed name is said by that name. Public: everything here; private keys are files of `workers.keys`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workers.errors import Misconfigured

PARTIES = 4
_KEY = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Peer:
    """The pinned public keys of one party (raw, hex): HPKE for sealing, Ed25519 for signatures."""

    party: int
    seal: str
    sign: str


@dataclass(frozen=True, kw_only=True)
class Floors:
    """What this party refuses to go below (cohort) or above (epsilon of one attempt, in millionths)."""

    minimum_cohort: int = 11
    micro_epsilon_per_query: int = 5_000_000


@dataclass(frozen=True, kw_only=True)
class Config:
    """One party. `peers` are all parties in order, itself included; times are seconds."""

    party: int
    folder: Path
    portal_url: str
    portal_sign: str
    peers: tuple[Peer, ...]
    floors: Floors = Floors()
    exact: bool = False
    three_party: bool = False  # whether orders among three parties, passively secure, are taken at all
    redis_url: str = field(default="redis://127.0.0.1:6379/0", repr=False)  # may carry a password
    join_timeout: float = 15.0
    round_timeout: float = 15.0
    drivers: int = (
        1  # processes that one query may use: the lead and drivers - 1 workers on the queue "helpers"
    )
    ring_views_mb: int = 512  # what stored ring views may take on the disk, in MiB; 0 keeps none
    metrics_port: int = 0  # 0: no metrics
    metrics_host: str = "127.0.0.1"

    @property
    def me(self) -> Peer:
        return self.peers[self.party]

    @property
    def database(self) -> Path:
        return self.folder / "party.sqlite3"

    @property
    def store(self) -> Path:
        return self.folder / "store"


def load(environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of the party whose folder is FOURFOLD_PARTY_DIR.

    Raises  Misconfigured, naming the variable or the name in party.json.
    """
    environ = os.environ if environ is None else environ
    try:
        folder, redis_url = Path(environ["FOURFOLD_PARTY_DIR"]), environ["REDIS_URL"]
    except KeyError as missing:
        raise Misconfigured(f"{missing.args[0]} is not set in the environment") from None
    port = environ.get("METRICS_PORT", "") or "0"
    _must(port.isascii() and port.isdigit() and int(port) < 2**16, "METRICS_PORT: 0 to 65535 is needed")
    read = parse(_read(folder / "party.json"), folder=folder, redis_url=redis_url)
    host = environ.get("METRICS_HOST", "") or read.metrics_host
    return replace(read, metrics_port=int(port), metrics_host=host)


def parse(obj: Any, *, folder: Path, redis_url: str) -> Config:
    """The configuration in the JSON object of party.json; unknown names are errors."""
    party = _entry(
        obj,
        "party.json",
        ("party", "portal_url", "portal_sign", "peers"),
        ("floors", "exact", "three_party", "timeouts", "ring_views_mb", "drivers"),
    )
    floors = _entry(party.get("floors", {}), "floors", (), ("minimum_cohort", "micro_epsilon_per_query"))
    timeouts = _entry(party.get("timeouts", {}), "timeouts", (), ("join", "round"))
    for name, value in floors.items():
        _must(_whole(value) and value >= 1, f"floors.{name}: a whole number from 1 is needed")
    for name, value in timeouts.items():
        _must(_whole(value) and 1 <= value <= 600, f"timeouts.{name}: 1 to 600 seconds are needed")
    _must(_whole(party["party"]) and 0 <= party["party"] < PARTIES, "party: 0 to 3 is needed")
    _must(isinstance(party["portal_url"], str) and party["portal_url"].startswith(("http://", "https://")),
          "portal_url: http://... or https://... is needed")  # fmt: skip
    _must(_public(party["portal_sign"]), "portal_sign: a public key of 64 hex digits is needed")
    for name in ("exact", "three_party"):
        _must(isinstance(party.get(name, False), bool), f"{name}: true or false is needed")
    views = party.get("ring_views_mb", Config.ring_views_mb)
    _must(_whole(views) and views >= 0, "ring_views_mb: a whole number from 0 is needed")
    drivers = party.get("drivers", Config.drivers)
    _must(_whole(drivers) and 1 <= drivers <= 64, "drivers: 1 to 64 is needed")
    return Config(
        party=party["party"],
        folder=folder,
        portal_url=party["portal_url"].rstrip("/"),
        portal_sign=party["portal_sign"],
        peers=_peers(party["peers"]),
        floors=Floors(**floors),
        exact=party.get("exact", False),
        three_party=party.get("three_party", False),
        ring_views_mb=views,
        drivers=drivers,
        redis_url=redis_url,
        join_timeout=float(timeouts.get("join", Config.join_timeout)),
        round_timeout=float(timeouts.get("round", Config.round_timeout)),
    )


def _peers(found: Any) -> tuple[Peer, ...]:
    _must(isinstance(found, list), "peers: a list of all four parties is needed")
    peers = [Peer(**_entry(entry, "peers", ("party", "seal", "sign"), ())) for entry in found]
    for peer in peers:
        _must(_public(peer.seal) and _public(peer.sign), "peers: seal and sign are 64 hex digits")
        _must(_whole(peer.party), "peers: party is a whole number")
    peers.sort(key=lambda peer: peer.party)
    _must([p.party for p in peers] == list(range(PARTIES)), "peers: parties 0 to 3, each once")
    keys = [key for peer in peers for key in (peer.seal, peer.sign)]
    _must(len(set(keys)) == len(keys), "peers: two parties share a key")
    return tuple(peers)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as wrong:
        raise Misconfigured(f"{path} cannot be read: {wrong.strerror}") from None
    except ValueError:
        raise Misconfigured(f"{path} is not JSON") from None


def _entry(obj: Any, where: str, needed: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Any]:
    _must(isinstance(obj, dict), f"{where}: an object is needed")
    for name in needed:
        _must(name in obj, f"{where}: {name} is missing")
    for name in obj:
        _must(name in needed + optional, f"{where}: {name!r} is not known")
    return dict(obj)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _public(value: object) -> bool:
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


def _must(holds: bool, message: str) -> None:
    if not holds:
        raise Misconfigured(message)
