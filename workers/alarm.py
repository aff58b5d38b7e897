"""Who gives up tells the others at once: a signed ABORT that carries no detail.

Without it a dead session costs everybody a time-out, and so does a session whose other parties are gone
already. It is heard until this party's READY leaves: from then on only the others' READYs decide. Public:
that a party gave up, and when.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mpcnode.errors import ProtocolAbort
from mpcnode.transport.base import Transport
from workers.config import Config
from workers.keys import Keys

ABORT = b"fourfold/1/abort"

# (name of a session, whether it was cancelled) -> this party's end of it
Connect = Callable[[str, Callable[[], bool]], Transport]


@dataclass(frozen=True, kw_only=True)
class Place:
    """One attempt of one order: what an ABORT is about, and the name of its session's lists.

    missing  the party that an order among three does without: nothing is sent to it
    """

    nonce: str
    attempt: int
    order_hash: str
    missing: int | None = None

    @property
    def name(self) -> str:
        return f"{self.nonce}-{self.attempt}"

    @property
    def message(self) -> bytes:
        return ABORT + bytes.fromhex(self.order_hash) + self.attempt.to_bytes(8, "big")


def never() -> bool:
    """Of a session that nobody cancels."""
    return False


@dataclass(kw_only=True)
class Alarm:
    """One party's ear and voice for the ABORT of an attempt. `by` is the first peer that gave up.

    Nothing here raises what a peer or the carrier did. Close it when the attempt is over.
    """

    place: Place
    config: Config
    keys: Keys = field(repr=False)
    connect: Connect
    by: int | None = None
    _transport: Transport | None = field(default=None, repr=False)

    def heard(self) -> bool:
        """Whether a peer has given up, as far as the carrier delivered it."""
        with suppress(ProtocolAbort):
            for peer in others(self.config, self.place.missing) if self.by is None else ():
                frame = self._opened.poll(peer)
                if frame is not None and signed_by(self.config, peer, self.place.message, bytes(frame)):
                    self.by = peer
                    break
        return self.by is not None

    def give_up(self) -> None:
        """Tell every peer that this party takes no further part in the attempt."""
        with suppress(ProtocolAbort):
            for peer in others(self.config, self.place.missing):
                self._opened.push(peer, [self.keys.sign.sign(self.place.message)])

    def close(self) -> None:
        if self._transport is not None:
            with suppress(ProtocolAbort):
                self._transport.close()

    @property
    def _opened(self) -> Transport:
        if self._transport is None:
            self._transport = self.connect(f"{self.place.name}-abort", never)
        return self._transport


def give_up(place: Place, config: Config, keys: Keys, connect: Connect) -> None:
    """Tell every peer that this party, which is in no session, will not come to this one."""
    alarm = Alarm(place=place, config=config, keys=keys, connect=connect)
    alarm.give_up()
    alarm.close()


def others(config: Config, missing: int | None = None) -> list[int]:
    return [peer.party for peer in config.peers if peer.party not in (config.party, missing)]


def signed_by(config: Config, party: int, message: bytes, signature: bytes) -> bool:
    """Whether the pinned key of a party signed these bytes."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(config.peers[party].sign))
        key.verify(signature, message)
    except (InvalidSignature, ValueError, IndexError):
        return False
    return True
