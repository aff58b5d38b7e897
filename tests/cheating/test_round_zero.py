"""Two honest parties that disagree about a component never start, though a third holder helps them to.

Component c has three holders. One honest holder has another key k_c, or another stored component; the corrupt holder
knows both versions and confirms to each honest one what it wants to hear. The two honest holders still hear each
other. Party c, which holds nothing of it and disagrees with nobody, may send its round 0 into the silence.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpcnode import handshake as handshake_module
from mpcnode.channel import Channel
from tests.cheating.bench import reason
from tests.mpcnode.test_handshake import Meeting, round_0, stored

BEFORE_ROUND_0 = 4  # frames of a link: hello, flight 2, contributions, confirmation
CASES = [
    pytest.param(c, odd, corrupt, id=f"component {c}, odd {odd}, corrupt {corrupt}")
    for c in range(4)
    for odd in range(4)
    for corrupt in range(4)
    if len({c, odd, corrupt}) == 3
]


def stale(c: int) -> bytes:
    return b"stale" if c >= 0 else b""


class Accomplice(Channel):
    """The corrupt holder's channel: what it says to the odd holder is made for the odd holder's version.

    wrong_key    it gave the odd holder another contribution to k_c, and confirms the key that comes of it
    otherwise    it confirms the stored component that the odd holder has
    """

    party_of_us = c = odd = -1
    wrong_key = True

    def send(self, peer: int, payload: bytes, label: str) -> None:
        if (self.party, peer) == (self.party_of_us, self.odd):
            at = handshake_module._shared(4, self.party, peer).index(self.c) * 32
            mine = bytearray(payload)
            if label == "contributions" and self.wrong_key:
                mine[at] ^= 1
                self.told = bytes(mine[at : at + 32])
            if label == "confirmation":
                mine[at : at + 32] = self.proof()
            payload = bytes(mine)
        super().send(peer, payload, label)

    def receive(
        self, peer: int, label: str, timeout: float | None = None, length: int | None = None
    ) -> bytes:
        message = super().receive(peer, label, timeout, length)
        if self.party == self.party_of_us and label == "contributions" and peer != self.c:
            at = handshake_module._shared(4, self.party, peer).index(self.c) * 32
            self.__dict__.setdefault("heard", {})[peer] = message[at : at + 32]
        return message

    def proof(self) -> bytes:
        """What the odd holder expects of this party about component c."""
        encode, number = handshake_module._encode, handshake_module._number
        session_id = self.context[:32]
        if self.wrong_key:
            contributions = self.heard | {self.party: self.told}  # type: ignore[attr-defined]
            material = b"".join(contributions[p] for p in range(4) if p != self.c)
            info = encode(b"prss", number(4), number(self.c))
            key = HKDF(SHA256(), 32, salt=session_id, info=info).derive(material)
            digest = stored(self.c, (), ())
        else:
            key, digest = self.true_key(), stale(self.c)
        return hmac.digest(key, encode(b"confirm", session_id, number(self.party), digest), "sha256")


def wrong_at_one_holder(
    patch: pytest.MonkeyPatch, c: int, odd: int, corrupt: int, wrong_key: bool, confirm: bool = True
) -> None:
    """Assert that no honest holder of c sends round 0."""
    true_confirm: Callable[..., None] = handshake_module._confirm

    class Ours(Accomplice):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.context: bytes = arguments[4]

        def true_key(self) -> bytes:
            return keys_of_corrupt[self.c]

    Ours.party_of_us, Ours.c, Ours.odd, Ours.wrong_key = corrupt, c, odd, wrong_key
    keys_of_corrupt: dict[int, bytes] = {}

    def confirmed(party: int, channel: Channel, session_id: bytes, keys: Any, digests: Any) -> None:
        if party == corrupt:
            keys_of_corrupt.update(keys)
        if confirm:
            true_confirm(party, channel, session_id, keys, digests)

    patch.setattr(handshake_module, "Channel", Ours)
    patch.setattr(handshake_module, "_confirm", confirmed)
    changes = (
        {}
        if wrong_key
        else {odd: {"stored": lambda k, views, earlier: stale(k) if k == c else stored(k, views, earlier)}}
    )
    meeting = Meeting(4, changes=changes)
    outcomes = meeting.run(round_0)
    honest = [p for p in range(4) if p not in (c, corrupt)]
    for p in honest:
        assert reason(outcomes[p]) == "mismatch", f"party {p} starts"
        assert meeting.sent(p) == [BEFORE_ROUND_0] * 3
    # The corrupt party satisfied the odd one: without the other honest holder nobody would have known.
    assert f"({c}, {corrupt})" not in outcomes[odd].detail
    assert reason(outcomes[c]) is not None


@pytest.mark.parametrize(("c", "odd", "corrupt"), CASES)
@pytest.mark.parametrize("wrong", ["key", "component"])
def test_no_honest_holder_starts_on_another_key_or_component(
    c: int, odd: int, corrupt: int, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_at_one_holder(monkeypatch, c, odd, corrupt, wrong == "key")
