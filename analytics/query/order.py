"""An order, and the approval of its digest: what a party reads before it computes.

The order names the query, the text, the plan's hash, the datasets by manifest, the epsilon and how often it
may be tried; the approval is a signed yes to exactly that digest. Both are public and canonical, so that one
changed byte (an epsilon raised, a cohort lowered, another dataset version) is another order without approval.
`missing` is the party that a passive run among three does without; None is four parties, actively secure.
What a party adds (nonce unseen, own floors, own ledger, own compile) is not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from analytics.privacy.filters import Loss
from analytics.query.approval import verify
from analytics.query.model import digest

ORDER_TYPE = "fourfold/1/order"
APPROVAL_TYPE = "fourfold/1/approval"
MODES = ("dp", "exact")
MOST_ATTEMPTS = 10
PARTIES = 4
CLOCK_SLACK = 60  # seconds between honest clocks
LONGEST_PROGRAM = 64 * 1024  # bytes of UTF-8
LATER = frozenset({"atto_delta", "squares"})  # names that came after the first orders

_HEX32 = re.compile("[0-9a-f]{32}")
_HEX64 = re.compile("[0-9a-f]{64}")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class OrderRejected(Exception):
    """An order or its approval is malformed, does not fit, or is out of its time."""

    code = "order_rejected"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


@dataclass(frozen=True, kw_only=True)
class OrderDataset:
    """One dataset of an order: id (32 hex), version, hash of its signed manifest (64 hex)."""

    id: str
    version: int
    manifest_hash: str

    def __post_init__(self) -> None:
        _must(_matches(_HEX32, self.id), "datasets: an id is 32 hex digits")
        _must(_whole(self.version, 1), "datasets: a version is a whole number from 1")
        _must(_matches(_HEX64, self.manifest_hash), "datasets: a manifest_hash is 64 hex digits")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What every party receives; times are integer unix seconds, epsilon in millionths, delta in 10^-18, per attempt.

    `squares` is what the plan costs by zCDP (`analytics.privacy.filters`), where a dataset's policy has a delta; else 0.
    What is 0 of these two is left out of the signed text.
    """

    query: str
    nonce: str
    program: str
    plan_hash: str
    mode: str
    micro_epsilon: int
    max_attempts: int
    minimum_cohort: int
    datasets: tuple[OrderDataset, ...]
    analyst: str
    not_before: int
    expires: int
    missing: int | None = None
    atto_delta: int = 0
    squares: int = 0

    def __post_init__(self) -> None:
        _must(_matches(_UUID, self.query), "query: a lower-case uuid is needed")
        _must(_matches(_HEX32, self.nonce), "nonce: 32 hex digits are needed")
        _must(isinstance(self.program, str), "program: text is needed")
        _must(
            0 < len(self.program.encode("utf-8", "replace")) <= LONGEST_PROGRAM, "program: empty or too long"
        )
        _must(_matches(_HEX64, self.plan_hash), "plan_hash: 64 hex digits are needed")
        _must(self.mode in MODES, "mode: dp or exact")
        _must(_whole(self.micro_epsilon, 0), "micro_epsilon: a whole number is needed")
        _must(
            (self.micro_epsilon > 0) == (self.mode == "dp"), "micro_epsilon: positive in dp mode, 0 in exact"
        )
        for name in LATER:
            _must(_whole(getattr(self, name), 0), f"{name}: a whole number is needed")
            _must(getattr(self, name) == 0 or self.mode == "dp", f"{name}: only in dp mode")
        _must(_whole(self.max_attempts, 1) and self.max_attempts <= MOST_ATTEMPTS, "max_attempts: 1 to 10")
        _must(_whole(self.minimum_cohort, 1), "minimum_cohort: a whole number from 1")
        ids = [dataset.id for dataset in self.datasets]
        _must(bool(ids), "datasets: at least one is needed")
        _must(ids == sorted(set(ids)), "datasets: sorted by id, each once")
        _must(isinstance(self.analyst, str) and 0 < len(self.analyst) <= 256, "analyst: 1 to 256 characters")
        _must(_whole(self.not_before, 0) and _whole(self.expires, 0), "not_before, expires: unix seconds")
        _must(self.not_before < self.expires, "expires: must come after not_before")
        _must(
            self.missing is None or (_whole(self.missing, 0) and self.missing < PARTIES),
            "missing: a party from 0 to 3, or null",
        )

    @classmethod
    def parse(cls, obj: Any) -> Order:
        """The order in a JSON object; unknown or missing keys, types and values out of range are refused."""
        if isinstance(obj, dict):
            for name in obj.keys() & LATER:
                _must(obj[name] != 0, f"{name}: left out where it is 0")  # one order, one text
            obj = {**dict.fromkeys(LATER, 0), **obj}
        fields = _exactly(obj, ORDER_TYPE, cls)
        _must(isinstance(fields["datasets"], list), "datasets: a list is needed")
        keys = set(OrderDataset.__dataclass_fields__)
        for entry in fields["datasets"]:
            _must(
                isinstance(entry, Mapping) and set(entry) == keys,
                "datasets: each has id, version, manifest_hash",
            )
        return cls(**{**fields, "datasets": tuple(OrderDataset(**entry) for entry in fields["datasets"])})

    def public(self) -> dict[str, Any]:
        """The JSON object that is signed."""
        said = {"type": ORDER_TYPE, **vars(self), "datasets": [dict(vars(d)) for d in self.datasets]}
        # An order of pure epsilon is the bytes that it always was.
        return {name: value for name, value in said.items() if value or name not in LATER}

    @property
    def hash(self) -> str:
        return digest(self.public())

    @property
    def n(self) -> int:
        """How many parties compute."""
        return PARTIES - (self.missing is not None)

    @property
    def parties(self) -> tuple[int, ...]:
        """Who computes, ascending."""
        return tuple(p for p in range(PARTIES) if p != self.missing)

    @property
    def loss(self) -> Loss:
        """What one attempt is charged to each dataset."""
        return Loss(micro_epsilon=self.micro_epsilon, atto_delta=self.atto_delta, squares=self.squares)

    @property
    def worst_charge(self) -> int:
        """Micro-epsilon that each dataset pays if every attempt dies after its READY."""
        return self.max_attempts * self.micro_epsilon


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A yes to one order's digest; `by` is an account name, `time` unix seconds."""

    order_hash: str
    by: str
    reason: str
    time: int
    decision: str = "approve"

    def __post_init__(self) -> None:
        _must(_matches(_HEX64, self.order_hash), "order_hash: 64 hex digits are needed")
        _must(self.decision == "approve", "decision: only approve is an approval")
        _must(isinstance(self.by, str) and 0 < len(self.by) <= 256, "by: 1 to 256 characters")
        _must(isinstance(self.reason, str) and len(self.reason) <= 4096, "reason: at most 4096 characters")
        _must(_whole(self.time, 0), "time: unix seconds")

    @classmethod
    def parse(cls, obj: Any) -> Approval:
        """The approval in a JSON object; unknown or missing keys, types and values out of range are refused."""
        return cls(**_exactly(obj, APPROVAL_TYPE, cls))

    def public(self) -> dict[str, Any]:
        """The JSON object that is signed."""
        return {"type": APPROVAL_TYPE, **vars(self)}


def sorted_datasets(datasets: Iterable[Any]) -> tuple[OrderDataset, ...]:
    """The datasets of an order from anything with id, version and manifest_hash (plan datasets, facts)."""
    found = [OrderDataset(id=d.id, version=d.version, manifest_hash=d.manifest_hash) for d in datasets]
    return tuple(sorted(found, key=lambda d: d.id))


def check(envelope: Mapping[str, Any], *, portal_public_hex: str, now: int) -> tuple[Order, Approval]:
    """Open an envelope {"order", "order_signature", "approval", "approval_signature", ...}.

    Raises  BadSignature if either signature is not the portal's; OrderRejected (order_rejected if a shape is
            wrong, approval_mismatch if the approval is for another order, not_yet_valid or order_expired by
            this clock with a minute's slack). Signatures come first: nothing unsigned is looked at.
    """
    try:
        signed = [(envelope[name], envelope[f"{name}_signature"]) for name in ("order", "approval")]
    except (KeyError, TypeError):
        raise OrderRejected("an envelope holds order, approval and their signatures") from None
    for obj, signature in signed:
        verify(obj, signature, portal_public_hex)
    order, approval = Order.parse(signed[0][0]), Approval.parse(signed[1][0])
    if approval.order_hash != order.hash:
        raise OrderRejected("the approval is for another order", "approval_mismatch")
    if now < order.not_before - CLOCK_SLACK or approval.time > now + CLOCK_SLACK:
        raise OrderRejected("the order is not valid yet", "not_yet_valid")
    if now > order.expires + CLOCK_SLACK:
        raise OrderRejected("the order has expired", "order_expired")
    return order, approval


def _exactly(obj: Any, kind: str, cls: type) -> dict[str, Any]:
    names = set(cls.__dataclass_fields__)  # type: ignore[attr-defined]
    if not isinstance(obj, dict) or obj.get("type") != kind:
        raise OrderRejected(f'an object of type "{kind}" is needed')
    found = set(obj) - {"type"}
    if found != names:
        odd = ", ".join(sorted(map(str, found ^ names)))
        raise OrderRejected(f"{kind}: missing or unknown keys: {odd}")
    return {name: obj[name] for name in names}


def _must(holds: bool, message: str) -> None:
    if not holds:
        raise OrderRejected(message)


def _whole(value: object, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < 2**63


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None
