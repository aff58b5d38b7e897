"""How each party is, in plain words, from what the parties sign in their heartbeats.

Checkable here: a party is silent; it says that its store, Redis or disk do not serve; it runs other code or other
constants than another; its keys or clock are not as they should be; its ledger is shorter than one that it showed
before or than a peer says it saw, or differs at the same length. Not checkable here: that a longer ledger continues
a shorter one (the portal sees heads, not lines; the party itself looks that up in every handshake and in its doctor),
and whether a peer lies.
Public: all of it. No value and no cohort is in a heartbeat.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from portal.operations.models import PartyHealth
from portal.registry.models import PARTIES, PartyState

LEAST_FREE = 2**30  # bytes
SLOW_REDIS = 100_000  # microseconds for one PING
CLOCK_SKEW = 60  # seconds, as much as an order allows
SETTLED = 15  # seconds after which a peer's word on a ledger must be in that party's own heartbeat
_HEX32, _HEX64 = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{64}")
_STORE = {"readable", "writable", "free_bytes", "datasets", "columns", "last_error"}
_NAMES = {"store", "constants", "fingerprint", "started", "redis_us", "peers", "audit"}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One party as the portal sees it. `state`: ok, degraded (then `reasons` say why), silent or never seen."""

    party: int
    state: str
    reasons: tuple[str, ...] = ()
    last_seen: datetime | None = None
    heartbeat: PartyState | None = None
    said: Mapping[str, Any] | None = None
    ledger_seen: tuple[tuple[str, int, str], ...] = ()

    def public(self, now: datetime) -> dict[str, Any]:
        """What everybody may know; details of the store are the operators' (`details`)."""
        seen, beat = self.last_seen, self.heartbeat
        return {
            "state": self.state,
            "reasons": list(self.reasons),
            "last_seen": seen,
            "last_seen_seconds": None if seen is None else max(0, int((now - seen).total_seconds())),
            "code_version": beat and beat.code_version,
            "busy": beat and beat.busy,
            "ledger": beat and {"length": beat.ledger_length, "head": beat.ledger_head},
            "ledger_seen": [
                {"by": by, "length": length, "head": head} for by, length, head in self.ledger_seen
            ],
        }

    def details(self) -> dict[str, Any] | None:
        return dict(self.said) if self.said else None


def fits(said: Any) -> bool:
    """Whether the `health` of a heartbeat has the shape that parties send, in bounds."""
    if not (isinstance(said, dict) and set(said) == _NAMES and isinstance(said["store"], dict)):
        return False
    store, peers = said["store"], said["peers"]
    return (
        set(store) == _STORE
        and all(isinstance(store[name], bool) for name in ("readable", "writable"))
        and all(_whole(store[name]) for name in ("free_bytes", "datasets", "columns"))
        and isinstance(store["last_error"], str)
        and len(store["last_error"]) <= 40
        and _matches(_HEX64, said["constants"])
        and _matches(_HEX32, said["fingerprint"])
        and _whole(said["started"])
        and (said["redis_us"] is None or _whole(said["redis_us"]))
        and isinstance(peers, list)
        and len(peers) < PARTIES
        and all(_peer(entry) for entry in peers)
        and _audit(said["audit"])
    )


def hear(party: int, report: Mapping[str, Any]) -> None:
    """Keep what a party's newest heartbeat says of its health and of its peers' ledgers."""
    said = report.get("health") or {}
    before = PartyHealth.objects.filter(party=party).first()
    known = before.witnessed if before else {}
    witnessed = {}
    for peer, length, head in said.get("peers", []):
        was = known.get(str(peer), [])
        witnessed[str(peer)] = was if was[:2] == [length, head] else [length, head, int(time.time())]
    length, head = report["ledger"]["length"], report["ledger"]["head"]
    longest, set_back = (length, head), False
    if before:
        was = before.longest, before.longest_head
        # A ledger that was set back grows again: only the very ledger that was lost makes it good.
        set_back = was != (length, head) and (before.set_back or length <= before.longest)
        longest = was if set_back else longest
    PartyHealth.objects.update_or_create(
        party=party,
        defaults={
            "said": said,
            "witnessed": witnessed,
            "longest": longest[0],
            "longest_head": longest[1],
            "set_back": set_back,
        },
    )


def conditions(fingerprints: Sequence[str], now: datetime | None = None) -> list[Condition]:
    """The condition of each party, in order; `fingerprints` are those of the pinned keys."""
    now = now or timezone.now()
    beats = {state.party: state for state in PartyState.objects.all()}
    healths = {health.party: health for health in PartyHealth.objects.all()}
    alive = {
        party: beat
        for party, beat in beats.items()
        if (now - beat.last_seen).total_seconds() <= settings.FOURFOLD_PARTY_FRESH
    }
    found = []
    for party in range(PARTIES):
        beat, health = beats.get(party), healths.get(party)
        said = health.said if health else {}
        if beat is None:
            found.append(Condition(party=party, state="never seen"))
            continue
        reasons = [*_own(said, beat, fingerprints[party]), *_ledger(party, beat, healths)]
        if party in alive:
            reasons += _others(party, alive, healths)
            state = "degraded" if reasons else "ok"
        else:
            reasons = [f"silent since {beat.last_seen:%Y-%m-%d %H:%M:%S} UTC", *reasons]
            state = "silent"
        found.append(
            Condition(
                party=party,
                state=state,
                reasons=tuple(reasons),
                last_seen=beat.last_seen,
                heartbeat=beat,
                said=said,
                ledger_seen=_seen(party, healths),
            )
        )
    return found


def unable(*, without: int | None = None) -> bool:
    """Whether a party, but one done without, says that it cannot write: it could not even count a budget."""
    cannot = PartyHealth.objects.filter(said__store__writable=False)
    return (cannot if without is None else cannot.exclude(party=without)).exists()


def _own(said: Mapping[str, Any], beat: PartyState, fingerprint: str) -> list[str]:
    """What a party's own words say against it."""
    reasons = []
    skew = beat.said_at - int(beat.last_seen.timestamp())
    if said:
        store = said["store"]
        why = f" ({store['last_error']})" if store["last_error"] else ""
        if not store["readable"]:
            reasons.append(f"its store cannot be read{why}")
        if not store["writable"]:
            reasons.append(f"its store cannot be written{why}")
        if store["free_bytes"] < LEAST_FREE:
            reasons.append(f"{store['free_bytes'] // 2**20} MiB are free on its disk")
        if said["redis_us"] is None:
            reasons.append("Redis does not answer it")
        elif said["redis_us"] > SLOW_REDIS:
            reasons.append(f"Redis answers it in {said['redis_us'] // 1000} ms")
        if said["fingerprint"] != fingerprint:
            reasons.append("its keys are not those that are pinned here")
        if said.get("audit", {}).get("wrong"):
            reasons.append(
                "it saw an audit trail that this portal's does not continue: run `manage.py verify_audit`"
            )
    if abs(skew) > CLOCK_SKEW:
        reasons.append(f"its clock is {abs(skew)} s {'ahead' if skew > 0 else 'behind'}")
    return reasons


def _others(party: int, alive: Mapping[int, PartyState], healths: Mapping[int, PartyHealth]) -> list[str]:
    """Parties that run another program: no session between them can start."""
    mine = alive[party].code_version
    code = [peer for peer, beat in sorted(alive.items()) if beat.code_version != mine]
    constants = {p: h.said["constants"] for p, h in healths.items() if p in alive and h.said}
    other = [p for p, digest in sorted(constants.items()) if digest != constants.get(party, digest)]
    reasons = []
    if code:
        reasons.append(f"runs {mine}, other code than {_parties(code)}")
    if other:
        reasons.append(f"computes other constants than {_parties(other)}")
    return reasons


def _ledger(party: int, beat: PartyState, healths: Mapping[int, PartyHealth]) -> list[str]:
    """Signs that its ledger was set back: a restored backup, or worse. Peers refuse it (code rollback)."""
    now, reasons = (beat.ledger_length, beat.ledger_head), []
    own = healths.get(party)
    if own and own.set_back:
        reasons.append(_set_back(now[0], own.longest, "this portal"))
    for peer, health in sorted(healths.items()):
        if peer == party or str(party) not in health.witnessed:
            continue
        length, head, since = health.witnessed[str(party)]
        # Its next heartbeat may still be under way when a peer already tells of a longer ledger.
        shorter = length > now[0] and beat.last_seen.timestamp() > since + SETTLED
        if shorter or (length == now[0] and head != now[1]):
            reasons.append(_set_back(now[0], length, f"party {peer}"))
    return reasons


def _seen(party: int, healths: Mapping[int, PartyHealth]) -> tuple[tuple[str, int, str], ...]:
    """Who saw which (lines, head) of a party's ledger: it must hold them all, which only the party can look up."""
    seen = []
    if party in healths:
        seen.append(("portal", healths[party].longest, healths[party].longest_head))
    for peer, health in sorted(healths.items()):
        if peer != party and str(party) in health.witnessed:
            seen.append((f"party {peer}", *health.witnessed[str(party)][:2]))
    return tuple(seen)


def _set_back(lines: int, seen: int, by: str) -> str:
    if seen == lines:
        return (
            f"its ledger of {lines} lines is not the one that {by} saw: it was replaced, and peers refuse it"
        )
    return f"its ledger has {lines} lines, {by} saw {seen}: it was set back, and peers refuse it"


def _parties(numbers: Sequence[int]) -> str:
    return f"part{'y' if len(numbers) == 1 else 'ies'} {', '.join(map(str, numbers))}"


def _peer(entry: Any) -> bool:
    if not (isinstance(entry, list) and len(entry) == 3):
        return False
    party, length, head = entry
    return _whole(party) and party < PARTIES and _whole(length) and _matches(_HEX64, head)


def _audit(said: Any) -> bool:
    return (
        isinstance(said, dict)
        and set(said) == {"number", "hash", "wrong"}
        and _whole(said["number"])
        and _matches(_HEX64, said["hash"])
        and isinstance(said["wrong"], bool)
    )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
