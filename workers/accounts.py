"""A chain's account in a party's ledger: what an attempt is charged, what a signed manifest allows, what is held.

Rows of the ledger's file as objects; what is done to them is in `workers.ledger`. A file of before there were deltas
has none in its rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analytics.privacy.filters import Allowance, Loss


@dataclass(frozen=True, kw_only=True)
class Charge:
    """What one attempt costs one dataset chain, and the caps its signed manifest sets; micro-epsilon, 10^-18 of delta.

    chain  None: the dataset is the first version, and its id is the chain's
    """

    dataset: str
    micro_epsilon: int
    cap: int
    chain: str | None = None
    atto_delta: int = 0
    squares: int = 0
    delta_cap: int = 0

    @classmethod
    def of(cls, loss: Loss, *, dataset: str, chain: str | None, cap: int, delta_cap: int) -> Charge:
        return cls(dataset=dataset, chain=chain, cap=cap, delta_cap=delta_cap, **vars(loss))

    @property
    def loss(self) -> Loss:
        return Loss(micro_epsilon=self.micro_epsilon, atto_delta=self.atto_delta, squares=self.squares)

    @property
    def allowance(self) -> Allowance:
        return Allowance.of(self.cap, self.delta_cap)

    @property
    def account(self) -> str:
        """What the ledger charges: the chain, whichever version was asked about."""
        return self.chain or self.dataset


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a chain as this party took it; `previous` is "" for the first, `cap` micro-epsilon."""

    chain: str
    version: int
    dataset: str
    manifest_hash: str
    previous: str
    provider_key: str
    cap: int
    used: bool = False  # an order on it was accepted here
    delta_cap: int = 0  # 10^-18


@dataclass(frozen=True, kw_only=True)
class Balance:
    """One dataset chain at this party, in micro-epsilon; `mode` is None until an order ran.

    `delta_cap` and what is held (reserved and spent) of it are in 10^-18; `squares` is what is held by zCDP.
    """

    cap: int
    reserved: int
    spent: int
    mode: str | None
    delta_cap: int = 0
    atto_delta: int = 0
    squares: int = 0


def loss_of(row: Mapping[str, Any] | sqlite3.Row) -> Loss:
    """What a debit or a line charges."""
    return Loss(micro_epsilon=row["micro_epsilon"], atto_delta=row["atto_delta"], squares=row["squares"])


def held_of(account: Mapping[str, Any]) -> Loss:
    """What a chain has reserved and spent; of a file of before there were deltas too."""
    return Loss(
        micro_epsilon=account["held"],
        atto_delta=account.get("delta_held", 0),
        squares=account.get("squares_held", 0),
    )


def allowance_of(account: Mapping[str, Any]) -> Allowance:
    return Allowance(
        micro_epsilon=account["cap"], atto_delta=account["delta_cap"], squares=account["squares_cap"]
    )


def named(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """A debit, as its own row and each of its lines name it."""
    loss = loss_of({"atto_delta": 0, "squares": 0, **row})
    return row["nonce"], row["attempt"], row["dataset"], row["mode"], loss


def hashed(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a line's hash covers: where nothing of delta was charged, what it always covered."""
    later = {name for name in ("atto_delta", "squares") if not row.get(name)}
    return {"type": "fourfold/1/ledger", **{name: row[name] for name in row.keys() - later}}


def as_far_as_it_fits(allowed: Allowance, held: Loss, loss: Loss) -> Loss:
    """A debit that others spent: whole, or so much of it that the chain is exhausted by both accountings."""
    if allowed.covers(held + loss):
        return loss
    if allowed.by_sum(held):
        return Loss(
            micro_epsilon=allowed.micro_epsilon - held.micro_epsilon,
            atto_delta=min(loss.atto_delta, allowed.atto_delta // 2 - held.atto_delta),
            squares=loss.squares,
        )
    return Loss(
        micro_epsilon=loss.micro_epsilon,
        atto_delta=loss.atto_delta,
        squares=allowed.squares - held.squares,
    )
