"""Keys of one session, and agreement on everything it reads, before round 0.

Three flights: signed hellos; seeds sealed to the ephemeral keys of the hellos (HPKE); then, over the pair channels,
the contributions to each k_c and a keyed confirmation of k_c and of all that is stored under component c.
A party that finds anything wrong falls silent before round 0, so two honest parties never start while they disagree.

Hidden: every key; from party c, k_c. Public: the hellos. docs/protocols.md, "Keys and round 0"; after Dalskov,
Escudero, Keller, USENIX Security 2021, whose setup assumes these keys.
"""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from mpcnode.channel import Channel
from mpcnode.errors import ProtocolAbort, StepReused
from mpcnode.transport.base import Transport

HELLO = b"fourfold/1/hello"
SESSION = b"fourfold/1/session"
FLIGHT_2 = b"fourfold/1/flight-2"
LARGEST_HELLO = 512 * 1024
KEM_PUBLIC = 1184 + 32  # ML-KEM-768 and X25519, raw

# Hybrid: whoever records today's traffic must not read converted columns once X25519 falls.
SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True)
class Head:
    """A party's ledger at one moment: how many lines, and the hash of the last."""

    length: int
    digest: bytes


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who this party is and whose signatures it accepts: pinned raw Ed25519 keys of all n parties."""

    private: Ed25519PrivateKey = field(repr=False)
    public: Mapping[int, bytes]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What all parties of a session must agree on, field by field.

    order_hash, attempt, plan_hash, mode   the question and which try this is
    layout                                 row blocks and drivers, as the plan writes them
    code_version, constants                the program, and the digest of its tables (noise thresholds)
    missing                                n = 3: the party that is not there
    """

    order_hash: bytes
    attempt: int
    plan_hash: bytes
    mode: str
    layout: bytes
    code_version: str
    constants: bytes
    missing: int | None = None


@dataclass(frozen=True, kw_only=True)
class DriverKeys:
    """The keys of one driver: links, tags, streams. To another process of the same party they go sealed."""

    party: int
    n: int
    session_id: bytes
    block: int
    links: Mapping[tuple[int, int], bytes] = field(repr=False)
    vouch: Mapping[int, bytes] = field(repr=False)
    prss: Mapping[int, bytes] = field(repr=False)

    def channel(self, transport: Transport, timeout: float) -> Channel:
        """The sealed links of the block; to be made once, by the process that uses them."""
        context = self.session_id + self.block.to_bytes(4, "big")
        return Channel(self.party, self.vouch, transport, self.links, context, timeout)


@dataclass(frozen=True, kw_only=True)
class Established:
    """A session's keys in one party, agreed on and confirmed. `channel` and `vouch_keys` are those of `block`."""

    party: int
    n: int
    session_id: bytes
    block: int
    channel: Channel = field(repr=False)
    prss_keys: Mapping[int, bytes] = field(repr=False)
    vouch_keys: Mapping[int, bytes] = field(repr=False)
    heads: Mapping[int, Head]
    views: frozenset[bytes]  # the stored ring views that every party offered: this session reads these
    drivers: int  # as many as the party with the fewest can run
    earlier: frozenset[bytes]  # what two parties named as answered before
    _pairs: Mapping[int, bytes] = field(repr=False)
    _opened: set[int] = field(repr=False)

    def keys(self, block: int) -> DriverKeys:
        """The keys of one more driver: every process that exchanges messages has its own.

        A block's keys come out once (`StepReused`): two workers on one key would repeat pads and nonces.
        """
        if block in self._opened:
            raise StepReused(f"the keys of block {block} are in use")
        self._opened.add(block)
        return _driver_keys(self.party, self.session_id, self._pairs, block, self.prss_keys)

    def driver(self, block: int, transport: Transport, timeout: float) -> tuple[Channel, Mapping[int, bytes]]:
        """Channel and vouch keys of one more driver in this process."""
        keys = self.keys(block)
        return keys.channel(transport, timeout), keys.vouch


def handshake(
    *,
    party: int,
    transport: Transport,
    identity: Identity,
    terms: Terms,
    ledger: Head,
    seen: Mapping[int, Head],
    stored: Callable[[int, Collection[bytes], Collection[bytes]], bytes],
    timeout: float,
    join_timeout: float | None = None,
    block: int = 0,
    offered: Collection[bytes] = (),
    drivers: int = 1,
    contains: Callable[[Head], bool] | None = None,
    earlier: Collection[bytes] = (),
) -> Established:
    """Return this party's keys of a new session, once every party agrees on everything.

    transport     of a name never used before; carries the rounds afterwards
    ledger, seen  own ledger head, and each peer's as this party last saw it
    stored        H_c, from c, the agreed views and the earlier answers: a digest of everything stored under component c that the session
                  reads, bundles and ring views alike
    offered       names (hashes of 16 bytes) of stored ring views that this party can read; those that every party
                  offers are agreed on. None with three parties: nothing computed among three is kept
    earlier       what this party knows as answered before; the session takes what two parties name: one alone may be
                  the corrupt one, and whoever gave an answer remembers it
    contains      whether the own ledger once had a head that a peer saw of it; None asks nobody
    timeout       seconds of silence that end it; `join_timeout` for the first flight, while the others start
    drivers       how many processes of this party can take part; the session has as many as the fewest offer
    Cost          four messages to each peer (about 1.8 KB, 1.2 KB, 80 and 80 bytes at n = 4), one signature, n - 1
                  verifications, n - 1 HPKE seals and openings, no round.
    Leaks         the hellos; ledger heads are hashes of a party's own lines.
    Raises        ProtocolAbort, and sends nothing more: "mismatch" (signature, seal, contribution, confirmation),
                  "disagreement" (order, attempt, plan, mode, parties, layout), "version" (code, constants),
                  "rollback" (somebody's ledger is shorter than it was, or another), "timeout", "cancelled".
    """
    n = len(identity.public)
    if n not in (3, 4) or set(identity.public) != set(range(n)) or party not in identity.public:
        raise ValueError(f"party {party} of {sorted(identity.public)}: parties are 0 to n - 1, n is 3 or 4")
    peers = [p for p in range(n) if p != party]
    ephemeral = _Ephemeral()
    agreed = _agreed(terms, identity.public)
    own_seen = {p: seen.get(p, Head(0, b"")) for p in peers}
    mine = frozenset(offered) if n == 4 else frozenset()
    named = frozenset(earlier)
    body = _hello(party, agreed, ephemeral.public, ledger, own_seen, mine, drivers, named)
    arrived = transport.exchange(
        {p: [body + identity.private.sign(body)] for p in peers},
        dict.fromkeys(peers, 1),
        max(timeout, join_timeout or 0.0),
    )
    hellos = {p: _read_hello(p, arrived[p][0], identity.public[p], agreed) for p in peers}
    hellos[party] = _Hello(body, ephemeral.public, ledger, own_seen, mine, drivers, named)
    _check_ledgers(hellos)
    _check_own_ledger(party, hellos, contains)
    views = frozenset.intersection(*(hello.views for hello in hellos.values()))
    named_by = Counter(name for hello in hellos.values() for name in hello.earlier)
    before = frozenset(name for name, parties in named_by.items() if parties >= 2)
    session_id = sha256(_encode(SESSION, *(hellos[p].body for p in range(n)))).digest()
    pairs = _agree_on_pairs(party, transport, session_id, ephemeral, hellos, timeout)
    del ephemeral
    own = _driver_keys(party, session_id, pairs, block, {})
    channel = own.channel(transport, timeout)
    keys = _agree_on_components(party, n, channel, session_id)
    _confirm(party, channel, session_id, keys, {c: stored(c, views, before) for c in keys})
    return Established(
        party=party,
        n=n,
        session_id=session_id,
        block=block,
        channel=channel,
        # k_c itself is the key of the confirmation: what expands to masks is derived from it once more.
        prss_keys={c: HKDFExpand(SHA256(), 16, b"fourfold/1/streams").derive(k) for c, k in keys.items()},
        vouch_keys=own.vouch,
        heads={p: hellos[p].ledger for p in peers},
        views=views,
        drivers=min(hello.drivers for hello in hellos.values()),
        earlier=before,
        _pairs=pairs,
        _opened={block},
    )


# Flight 1: hellos


class _Ephemeral:
    """The key pair of one handshake."""

    def __init__(self) -> None:
        lattice, curve = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        self.private = MLKEM768X25519PrivateKey(lattice, curve)
        self.public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()


@dataclass(frozen=True)
class _Hello:
    """A peer's hello after all checks, and its exact bytes."""

    body: bytes
    ephemeral: bytes
    ledger: Head
    seen: Mapping[int, Head]
    views: frozenset[bytes]
    drivers: int
    earlier: frozenset[bytes]


def _agreed(terms: Terms, public: Mapping[int, bytes]) -> list[tuple[str, str, bytes]]:
    """(word of the abort, name, value) of each field that every hello must hold alike, in their order."""
    n = len(public)
    return [
        ("version", "code version", terms.code_version.encode()),
        ("version", "constants", terms.constants),
        ("disagreement", "order", terms.order_hash),
        ("disagreement", "attempt", _number(terms.attempt)),
        ("disagreement", "n", _number(n)),
        ("disagreement", "missing party", b"" if terms.missing is None else _number(terms.missing)),
        ("disagreement", "party set", _encode(*(public[p] for p in range(n)))),
        ("disagreement", "block layout", terms.layout),
        ("disagreement", "plan", terms.plan_hash),
        ("disagreement", "mode", terms.mode.encode()),
    ]


def _hello(
    party: int,
    agreed: list[tuple[str, str, bytes]],
    ephemeral: bytes,
    ledger: Head,
    seen: Mapping[int, Head],
    views: frozenset[bytes],
    drivers: int,
    earlier: frozenset[bytes],
) -> bytes:
    witnessed = (_encode(_number(p), _number(head.length), head.digest) for p, head in sorted(seen.items()))
    return _encode(
        HELLO,
        _number(party),
        *(value for _, _, value in agreed),
        secrets.token_bytes(32),
        ephemeral,
        _encode(_number(ledger.length), ledger.digest),
        _encode(*witnessed),
        _encode(*sorted(views)),
        _number(drivers),
        _encode(*sorted(earlier)),
    )


def _read_hello(party: int, frame: bytes, public: bytes, agreed: list[tuple[str, str, bytes]]) -> _Hello:
    """Check a peer's hello against its pinned key and our own terms."""
    if len(frame) > LARGEST_HELLO:
        raise ProtocolAbort("mismatch", f"hello of party {party}: {len(frame)} bytes")
    body, signature = frame[:-64], frame[-64:]
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, body)
    except InvalidSignature:
        raise ProtocolAbort("mismatch", f"hello of party {party}: signature") from None
    fields = _decode(body, party)
    if fields[:1] != [HELLO] or len(fields) != 9 + len(agreed):
        raise ProtocolAbort("version", f"hello of party {party}: another form")
    if fields[1] != _number(party):
        raise ProtocolAbort("mismatch", f"hello of party {party} names another")
    for theirs, (reason, name, ours) in zip(fields[2:-7], agreed, strict=True):
        if theirs != ours:
            raise ProtocolAbort(reason, f"hello of party {party}: another {name}")
    nonce, ephemeral, ledger, witnessed, views, drivers, earlier = fields[-7:]
    if len(nonce) != 32 or len(ephemeral) != KEM_PUBLIC or not int.from_bytes(drivers, "big"):
        raise ProtocolAbort("mismatch", f"hello of party {party}: nonce, key or drivers")
    seen = {}
    for entry in _decode(witnessed, party):
        whose, *head = _decode(entry, party, 3)
        seen[int.from_bytes(whose, "big")] = _head(head)
    return _Hello(
        body,
        ephemeral,
        _head(_decode(ledger, party, 2)),
        seen,
        frozenset(_decode(views, party)),
        int.from_bytes(drivers, "big"),
        frozenset(_decode(earlier, party)),
    )


def _check_ledgers(hellos: Mapping[int, _Hello]) -> None:
    """A ledger that anybody saw longer, or with another line at this length, was set back."""
    for witness, hello in hellos.items():
        for party, was in hello.seen.items():
            if party not in hellos or party == witness:
                continue
            now = hellos[party].ledger
            if now.length < was.length or (
                now.length == was.length and now.digest != was.digest and was.length
            ):
                raise ProtocolAbort(
                    "rollback",
                    f"ledger of party {party} has {now.length} lines; party {witness} saw {was.length}",
                )


def _check_own_ledger(
    party: int, hellos: Mapping[int, _Hello], contains: Callable[[Head], bool] | None
) -> None:
    """What a peer saw of this party's ledger must still be in it: a ledger that was set back grows again, and only
    its own party can tell that it lost lines."""
    for witness, hello in hellos.items():
        was = hello.seen.get(party)
        if contains is not None and witness != party and was and was.length and not contains(was):
            raise ProtocolAbort(
                "rollback",
                f"party {witness} saw {was.length} lines of this party's ledger that are not in it: it was set back",
            )


# Flight 2: pair keys


def _agree_on_pairs(
    party: int,
    transport: Transport,
    session_id: bytes,
    ephemeral: _Ephemeral,
    hellos: Mapping[int, _Hello],
    timeout: float,
) -> dict[int, bytes]:
    """pair(a,b) = HKDF(session_id, s_ab, s_ba): known to a and b alone, new for every session."""
    peers = [p for p in hellos if p != party]
    seeds = {p: secrets.token_bytes(32) for p in peers}
    sealed = {}
    for p in peers:
        public = hellos[p].ephemeral
        try:
            key = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(public[:1184]),
                X25519PublicKey.from_public_bytes(public[1184:]),
            )
            sealed[p] = [
                SUITE.encrypt(seeds[p], key, _encode(FLIGHT_2, session_id, _number(party), _number(p)))
            ]
        except ValueError:
            raise ProtocolAbort("mismatch", f"hello of party {p}: no valid key") from None
    arrived = transport.exchange(sealed, dict.fromkeys(peers, 1), timeout)
    pairs = {}
    for p in peers:
        info = _encode(FLIGHT_2, session_id, _number(p), _number(party))
        try:
            theirs = SUITE.decrypt(arrived[p][0], ephemeral.private, info)
        except (InvalidTag, ValueError):
            raise ProtocolAbort("mismatch", f"flight 2 of party {p}") from None
        if len(theirs) != 32:
            raise ProtocolAbort("mismatch", f"flight 2 of party {p}: length")
        low, high = sorted((party, p))
        secret = seeds[p] + theirs if party == low else theirs + seeds[p]
        info = _encode(b"fourfold/1/pair", _number(low), _number(high))
        pairs[p] = HKDF(SHA256(), 32, salt=session_id, info=info).derive(secret)
    return pairs


def _driver_keys(
    party: int, session_id: bytes, pairs: Mapping[int, bytes], block: int, prss: Mapping[int, bytes]
) -> DriverKeys:
    """One key per use: 'chan' a>b, 'chan' b>a, 'vouch' {a,b}, each with its block."""

    def key(p: int, use: bytes, a: int, b: int) -> bytes:
        info = _encode(b"fourfold/1/key", use, _number(block), _number(a), _number(b))
        return HKDFExpand(SHA256(), 16, info).derive(pairs[p])

    links = {(party, p): key(p, b"chan", party, p) for p in pairs}
    links |= {(p, party): key(p, b"chan", p, party) for p in pairs}
    vouch = {p: key(p, b"vouch", min(party, p), max(party, p)) for p in pairs}
    return DriverKeys(
        party=party, n=len(pairs) + 1, session_id=session_id, block=block, links=links, vouch=vouch, prss=prss
    )


# Flight 3: component keys and confirmation


def _shared(n: int, a: int, b: int) -> list[int]:
    """The components that both parties hold."""
    return [c for c in range(n) if c not in (a, b)]


def _agree_on_components(party: int, n: int, channel: Channel, session_id: bytes) -> dict[int, bytes]:
    """k_c = HKDF(session_id, contributions of all holders in party order, 'prss', n, c) for every c held."""
    held = [c for c in range(n) if c != party]
    given = {(c, party): secrets.token_bytes(32) for c in held}
    for peer in channel.peers:
        channel.send(peer, b"".join(given[c, party] for c in _shared(n, party, peer)), "contributions")
    for peer in channel.peers:
        common = _shared(n, party, peer)
        message = channel.receive(peer, "contributions", length=32 * len(common))
        given |= {(c, peer): message[32 * i : 32 * i + 32] for i, c in enumerate(common)}
    keys = {}
    for c in held:
        material = b"".join(given[c, p] for p in range(n) if p != c)
        info = _encode(b"prss", _number(n), _number(c))
        keys[c] = HKDF(SHA256(), 32, salt=session_id, info=info).derive(material)
    return keys


def _confirm(
    party: int,
    channel: Channel,
    session_id: bytes,
    keys: Mapping[int, bytes],
    digests: Mapping[int, bytes],
) -> None:
    """Every holder of c shows every other that it has the same k_c and the same stored component."""

    def proof(c: int, whose: int) -> bytes:
        said = _encode(b"confirm", session_id, _number(whose), digests[c])
        return hmac.digest(keys[c], said, "sha256")

    n = len(keys) + 1
    for peer in channel.peers:
        channel.send(peer, b"".join(proof(c, party) for c in _shared(n, party, peer)), "confirmation")
    wrong = []
    for peer in channel.peers:
        common = _shared(n, party, peer)
        message = channel.receive(peer, "confirmation", length=32 * len(common))
        wrong += [
            (c, peer)
            for i, c in enumerate(common)
            if not hmac.compare_digest(message[32 * i : 32 * i + 32], proof(c, peer))
        ]
    if wrong:
        raise channel.abort("mismatch", f"confirmation (component, party): {wrong}")


# Encoding: length-prefixed, so no two lists of fields share their bytes


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _encode(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _decode(data: bytes, party: int, count: int | None = None) -> list[bytes]:
    parts, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if at + 4 > len(data) or end > len(data):
            raise ProtocolAbort("mismatch", f"hello of party {party}: encoding")
        parts.append(data[at + 4 : end])
        at = end
    if count is not None and len(parts) != count:
        raise ProtocolAbort("mismatch", f"hello of party {party}: encoding")
    return parts


def _head(parts: list[bytes]) -> Head:
    return Head(int.from_bytes(parts[0], "big"), parts[1])
