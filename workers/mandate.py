"""May this party run this order? Every check it makes by itself, in this order, each with its own code.

    bad_envelope          order, approval and both signatures are there
    order_signature       the pinned portal key signed the order
    approval_signature    the pinned portal key signed the approval
    bad_order             the order's names and values are as they must be
    not_approved          the approval is one, and says yes
    approval_mismatch     it says yes to exactly this order
    other_query           the order is the one the task named
    too_many_attempts     the attempt is one of those the order allows
    not_yet_valid, order_expired         by this party's clock, a minute's slack
    superseded            every dataset is the newest version of its chain that this party took
    not_taking_part       an order among three is not for the party that it does without
    three_party_off       orders among three only where this party's own configuration says so
    unknown_dataset       every dataset is stored here
    other_manifest        ... with the manifest hash and version that the order names
    party_set, portal_key                each manifest, with the provider's later party sets, names the pinned
                          parties; and the pinned portal
    consent_missing, consent_signature, consent_mismatch, consent_expired
                          each provider consents to this very order among three (codes of `analytics.query.consent`)
    mismatch_seen         an order among three, although an attempt at it or on any version of a dataset of it
                          ended with a mismatch here, and this party's operator has not cleared that
    ledger_behind         a party that missed debits of these chains has said that it took them over
    program_rejected      the text compiles here
    plan_hash             ... to the plan that was approved
    terms_differ          minimum cohort, epsilon, delta and zCDP cost of the order are the plan's
    policy ...            each provider's policy allows the plan (codes of `analytics.query.policy`)
    exact_off             exact answers only where this party's own configuration says so
    floor_cohort, floor_epsilon          this party's own floors (no epsilon floor in exact mode)
    exact_version         no other version of a dataset gave exact answers under a smallest cohort
    exact_full            there are not more earlier exact answers than can be compared with
    attempt_seen, superseded, chain_mode, budget_exhausted   the ledger, in the transaction that reserves

Nothing unsigned is looked at before the signatures; nothing is computed before the last check. Public: all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analytics.query import approval, policy
from analytics.query.consent import ConsentRejected, check_consents
from analytics.query.disclosure import guarded
from analytics.query.errors import PolicyRefused, QueryError
from analytics.query.model import Plan
from analytics.query.order import CLOCK_SLACK, Approval, Order, OrderDataset, OrderRejected
from analytics.query.plan import DatasetFacts
from analytics.query.plan import compile as compile_plan
from analytics.query.schema import parse_codebook
from mpcnode.errors import StoreError
from mpcnode.store import Store
from workers.config import Config
from workers.earlier import Memory, cells
from workers.errors import BundleRejected, LedgerError, Refused, Superseded
from workers.ledger import Charge, Ledger
from workers.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class Mandate:
    """An order that passed every check here: what to compute, and for whom it is reserved."""

    order: Order
    attempt: int
    plan: Plan
    facts: tuple[DatasetFacts, ...]

    @property
    def order_hash(self) -> str:
        return self.order.hash

    @property
    def place(self) -> dict[str, Any]:
        """nonce and attempt: the name of this attempt in the ledger."""
        return {"nonce": self.order.nonce, "attempt": self.attempt}


def examine(
    envelope: Mapping[str, Any],
    *,
    query: str,
    attempt: int,
    config: Config,
    store: Store,
    ledger: Ledger,
    now: int | None = None,
) -> Mandate:
    """Make every check, reserve the budget, and return what to run.

    Raises  Refused with the code of the first check that fails; nothing is reserved then.
    """
    now = int(time.time()) if now is None else now
    check_envelope(envelope)
    check_order_signature(envelope, config)
    check_approval_signature(envelope, config)
    order = check_order(envelope)
    yes = check_approval(envelope)
    check_approved(yes, order)
    check_query(order, query)
    check_attempt(order, attempt)
    check_time(order, yes, now)
    check_three_party(order, config)
    for dataset in order.datasets:
        check_newest(dataset, ledger)
    manifests = [check_dataset(dataset, store) for dataset in order.datasets]
    for manifest in manifests:
        check_world(manifest, config, _of(envelope, "party_sets").get(manifest.dataset))
    check_consent(order, manifests, envelope, now)
    check_no_mismatch(order, manifests, ledger)
    check_caught_up(order, manifests, envelope, config, ledger)
    facts = tuple(facts_of(m, store) for m in manifests)
    plan = check_program(order, facts)
    check_plan_hash(order, plan)
    check_terms(order, plan, manifests)
    check_policy(plan, facts, now)
    check_exact(plan, config)
    check_floors(plan, config)
    check_apart(plan, facts, order, manifests, ledger)
    reserve(order, attempt, plan, manifests, ledger)
    return Mandate(order=order, attempt=attempt, plan=plan, facts=facts)


def check_envelope(envelope: Mapping[str, Any]) -> None:
    for name in ("order", "approval"):
        _must(isinstance(envelope.get(name), dict), "bad_envelope", f"the envelope holds no {name}")
        signature = envelope.get(f"{name}_signature")
        _must(isinstance(signature, str), "bad_envelope", f"the envelope holds no signature of its {name}")


def check_order_signature(envelope: Mapping[str, Any], config: Config) -> None:
    _signed(envelope, "order", config)


def check_approval_signature(envelope: Mapping[str, Any], config: Config) -> None:
    _signed(envelope, "approval", config)


def check_order(envelope: Mapping[str, Any]) -> Order:
    try:
        return Order.parse(envelope["order"])
    except OrderRejected as wrong:
        raise Refused("bad_order", str(wrong)) from None


def check_approval(envelope: Mapping[str, Any]) -> Approval:
    try:
        return Approval.parse(envelope["approval"])
    except OrderRejected as wrong:
        raise Refused("not_approved", str(wrong)) from None


def check_approved(yes: Approval, order: Order) -> None:
    _must(yes.order_hash == order.hash, "approval_mismatch", "the approval is for another order")


def check_query(order: Order, query: str) -> None:
    _must(order.query == query, "other_query", "the order is for another query than the task")


def check_attempt(order: Order, attempt: int) -> None:
    _must(1 <= attempt <= order.max_attempts, "too_many_attempts",
          f"attempt {attempt} of an order that allows {order.max_attempts}")  # fmt: skip


def check_time(order: Order, yes: Approval, now: int) -> None:
    begins = max(order.not_before, yes.time)
    _must(now >= begins - CLOCK_SLACK, "not_yet_valid", "the order is not valid yet")
    _must(now <= order.expires + CLOCK_SLACK, "order_expired", "the order has expired")


def check_three_party(order: Order, config: Config) -> None:
    _must(config.party in order.parties, "not_taking_part", "the order is one among the three other parties")
    _must(order.missing is None or config.three_party, "three_party_off",
          "this party takes no orders among three parties: set three_party in party.json to allow them")  # fmt: skip


def check_newest(dataset: OrderDataset, ledger: Ledger) -> None:
    newest = ledger.superseding(dataset.id)
    if newest is not None:
        wrong = Superseded(dataset=dataset.id, newest=newest.dataset, version=newest.version)
        raise Refused(wrong.code, str(wrong))


def check_dataset(dataset: OrderDataset, store: Store) -> Manifest:
    """The manifest of a dataset that is stored here, if it is the one the order names."""
    try:
        meta = store.meta(dataset.id)
        manifest = Manifest.parse(meta["manifest"], meta["signature"])
    except (StoreError, BundleRejected) as wrong:
        raise Refused("unknown_dataset", str(wrong)) from None
    same = (manifest.hash, manifest.version) == (dataset.manifest_hash, dataset.version)
    _must(same, "other_manifest", f"dataset {dataset.id} is stored here with another manifest")
    return manifest


def check_world(manifest: Manifest, config: Config, party_sets: Any = None) -> None:
    try:
        manifest.check_world(config, party_sets)
    except BundleRejected as wrong:
        raise Refused(wrong.code, str(wrong)) from None


def check_consent(order: Order, manifests: Sequence[Manifest], envelope: Mapping[str, Any], now: int) -> None:
    """Three parties are passively secure only: each provider has said yes to this order, and still does."""
    if order.missing is None:
        return
    keys = {manifest.dataset: str(manifest.public["provider_key"]) for manifest in manifests}
    try:
        check_consents(envelope.get("consents"), order, keys, now)
    except ConsentRejected as wrong:
        raise Refused(wrong.code, str(wrong)) from None


def check_no_mismatch(order: Order, manifests: Sequence[Manifest], ledger: Ledger) -> None:
    """Who cheats among four must not gain the weaker three by being caught."""
    if order.missing is None:
        return
    seen = ledger.mismatches(order.hash, ledger.datasets_of([manifest.chain for manifest in manifests]))
    _must(not seen, "mismatch_seen",
          f"an attempt on dataset {', '.join(seen)} ended with a mismatch here: find out why, then run"
          " python -m workers clear-mismatch")  # fmt: skip


def check_caught_up(
    order: Order, manifests: Sequence[Manifest], envelope: Mapping[str, Any], config: Config, ledger: Ledger
) -> None:
    """No party takes part whose ledger lacks debits of these chains that were spent here without it."""
    chains = [manifest.chain for manifest in manifests]
    for party in order.parties:
        behind = ledger.missed_by(party, chains) if party != config.party else set()
        _must(not behind or behind <= _taken_over(envelope, party, config), "ledger_behind",
              f"party {party} has not taken over debits that it missed: its operator runs"
              " python -m workers take-over")  # fmt: skip


def _taken_over(envelope: Mapping[str, Any], party: int, config: Config) -> set[tuple[str, int]]:
    """(order hash, attempt) of each debit that a party has signed to hold."""
    said: set[tuple[str, int]] = set()
    for entry in envelope.get("taken_over") or ():
        try:
            report = entry["report"]
            if (report["type"], report["party"]) == ("fourfold/1/taken-over", party):
                approval.verify(report, entry["signature"], config.peers[party].sign)
                said |= {(str(order_hash), int(attempt)) for order_hash, attempt in report["debits"]}
        except (approval.BadSignature, KeyError, TypeError, ValueError):
            continue  # a word that is none counts for nothing
    return said


def _of(envelope: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = envelope.get(name)
    return found if isinstance(found, Mapping) else {}


def facts_of(manifest: Manifest, store: Store) -> DatasetFacts:
    """What the compiler may know of a dataset: public facts of its manifest and codebook."""
    return DatasetFacts(
        id=manifest.dataset,
        version=manifest.version,
        manifest_hash=manifest.hash,
        capacity=manifest.capacity,
        schema=parse_codebook(store.meta(manifest.dataset)["codebook"]),
        policy=manifest.policy,
    )


def check_program(order: Order, facts: Sequence[DatasetFacts]) -> Plan:
    try:
        return compile_plan(order.program, facts, order.micro_epsilon, order.mode, order.atto_delta)
    except QueryError as wrong:
        raise Refused("program_rejected", f"{wrong.code}: {wrong}") from None


def check_plan_hash(order: Order, plan: Plan) -> None:
    _must(plan.hash == order.plan_hash, "plan_hash", "the text compiles to another plan than was approved")


def check_terms(order: Order, plan: Plan, manifests: Sequence[Manifest]) -> None:
    counted = plan.mode == "dp" and any(manifest.delta_cap for manifest in manifests)
    loss = plan.loss if counted else replace(plan.loss, squares=0)
    signed = (order.mode, order.minimum_cohort, order.loss)
    _must(
        signed == (plan.mode, plan.minimum_cohort, loss),
        "terms_differ",
        "mode, minimum cohort, epsilon, delta or zCDP cost of the order are not the plan's",
    )


def check_policy(plan: Plan, facts: Sequence[DatasetFacts], now: int) -> None:
    try:
        policy.check(plan, facts, now)
    except PolicyRefused as wrong:
        raise Refused(wrong.code, str(wrong)) from None


def check_exact(plan: Plan, config: Config) -> None:
    _must(plan.mode != "exact" or config.exact, "exact_off", "this party gives no exact answers")


def check_floors(plan: Plan, config: Config) -> None:
    floors = config.floors
    _must(plan.minimum_cohort >= floors.minimum_cohort, "floor_cohort",
          f"a minimum cohort of {plan.minimum_cohort} is below this party's {floors.minimum_cohort}")  # fmt: skip
    _must(plan.mode == "exact" or plan.micro_epsilon <= floors.micro_epsilon_per_query, "floor_epsilon",
          f"{plan.micro_epsilon} micro-epsilon is above this party's {floors.micro_epsilon_per_query}")  # fmt: skip


def check_apart(
    plan: Plan, facts: Sequence[DatasetFacts], order: Order, manifests: Sequence[Manifest], ledger: Ledger
) -> None:
    if not guarded(plan):
        return
    for manifest in manifests:
        _must(
            not ledger.exact_on_another_version(manifest.dataset, manifest.chain or manifest.dataset),
            "exact_version",
            f"dataset {manifest.dataset}: another version gave exact answers, and the two would tell who came or went",
        )
    # Fails if there is more than can be compared.
    _ = Memory(ledger=ledger, plan=plan, facts=tuple(facts), nonce=order.nonce).told


def reserve(order: Order, attempt: int, plan: Plan, manifests: Sequence[Manifest], ledger: Ledger) -> None:
    """Accept the attempt and reserve its debit of every dataset, or nothing."""
    charges = [
        Charge.of(order.loss, dataset=m.dataset, chain=m.chain, cap=m.cap, delta_cap=m.delta_cap)
        for m in manifests
    ]
    try:
        ledger.reserve(
            nonce=order.nonce, attempt=attempt, query=order.query, order_hash=order.hash,
            mode=order.mode, charges=charges, missing=order.missing, cells=cells(plan),
        )  # fmt: skip
    except LedgerError as wrong:
        raise Refused(wrong.code, str(wrong)) from None


def _signed(envelope: Mapping[str, Any], name: str, config: Config) -> None:
    try:
        approval.verify(envelope[name], envelope[f"{name}_signature"], config.portal_sign)
    except approval.BadSignature:
        raise Refused(f"{name}_signature", f"the pinned portal key did not sign the {name}") from None


def _must(holds: bool, code: str, message: str) -> None:
    if not holds:
        raise Refused(code, message)
