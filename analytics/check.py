"""Is this answer what the parties computed for this program?

An analyst who holds the parties' public keys need not trust the portal: three equal signed reports bind the
integers and the plan's hash, the hash binds program, datasets and codebooks, and every figure follows from
the integers. Public data throughout; `agreed` needs no network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isclose
from typing import Any

from analytics.client import Unverified
from analytics.privacy.accountant import DeltaRejected, EpsilonRejected, atto_delta, micro_epsilon
from analytics.query import released
from analytics.query.approval import BadSignature, verify
from analytics.query.consent import PASSIVE
from analytics.query.errors import QueryError
from analytics.query.model import Plan, digest
from analytics.query.plan import compile
from analytics.query.resolve import DatasetFacts
from analytics.query.schema import parse_codebook
from analytics.statistics import figures

ENOUGH = 3  # equal signed reports, of four parties


def agreed(result: dict[str, Any], parties: Sequence[dict[str, Any]]) -> list[int]:
    """The parties whose signed reports say exactly these integers, in one session; at least three.

    Shapes  result: the body of result/; parties: [{"party", "sign"}], from a source you trust.
    Raises  Unverified otherwise, naming what is wrong; also where the result does not say, as the reports do, that
            a party was missing. Needs no network.
    An answer from earlier releases holds theirs: each must have been signed so, by the parties returned.
    """
    if result.get("from"):
        sources = result.get("sources")
        if not isinstance(sources, list) or not sources or not all(isinstance(s, dict) for s in sources):
            raise Unverified("this answer is from earlier releases and does not hold them")
        return sorted(set.intersection(*(set(agreed({**s, "from": []}, parties)) for s in sources)))
    try:
        keys = {int(p["party"]): str(p["sign"]) for p in parties}
        told = digest({"type": "fourfold/1/integers", "integers": result["integers"]})
        signatures = list(result["signatures"])
        # An identical question is answered from the store: the reports then name the query they were for.
        query = result.get("stored_from") or result["query"]
        plan_hash, missing = result.get("plan_hash"), result.get("missing")
    except (KeyError, TypeError, ValueError) as wrong:
        raise Unverified(
            f"this is no result, or no list of parties: {wrong!r} is missing or malformed"
        ) from None
    if len(set(keys.values())) != len(keys):
        raise Unverified("two parties of the list share a key")
    same: dict[str, set[int]] = {}
    wrong_ones: list[str] = []
    for entry in signatures:
        try:
            report, signature = entry["report"], entry["signature"]
            party = report["party"]
            verify(report, signature, keys[party])
            if (report["type"], report["query"], report["result_hash"]) != ("fourfold/1/result", query, told):
                wrong_ones.append(f"party {party} signed other integers or another query")
                continue
            if plan_hash is not None and report["plan_hash"] != plan_hash:
                wrong_ones.append(f"party {party} computed another plan")
                continue
            if report.get("missing") != missing:
                wrong_ones.append(f"party {party} signed that {_among(report.get('missing'))}")
                continue
            if party == missing:
                wrong_ones.append(f"party {party} is said to be missing and signed")
                continue
            run = digest({k: report[k] for k in ("attempt", "order_hash", "plan_hash", "session")})
            same.setdefault(run, set()).add(int(party))
        except BadSignature:
            wrong_ones.append("a signature does not fit its report or the key in the list of parties")
        except (KeyError, TypeError, ValueError):
            wrong_ones.append("a signature is malformed or of an unknown party")
    best = max(same.values(), key=len, default=set())
    if len(best) < ENOUGH:
        why = "; ".join(dict.fromkeys(wrong_ones)) or "too few signatures"
        raise Unverified(f"{len(best)} equal signatures over these integers, {ENOUGH} are needed: {why}")
    return sorted(best)


def security(result: Mapping[str, Any]) -> str:
    """How the answer was made, if not among four; of a result that `agreed` passed, the parties signed it."""
    missing = result.get("missing")
    return "" if missing is None else f"{PASSIVE}: party {missing} was missing"


def _among(missing: Any) -> str:
    return "four parties computed" if missing is None else f"three parties computed, without party {missing}"


def recomputed(
    result: dict[str, Any],
    program: str | Mapping[str, Any],
    epsilon: str,
    mode: str,
    datasets: Sequence[dict[str, Any]],
    delta: str | None = None,
) -> None:
    """Return if this program over these datasets is the signed plan, and its figures are those shown.

    Shapes  datasets: bodies of datasets/ID/, with manifest and codebook; result: one that `agreed` passed.
    Raises  Unverified where plan or figures differ, or a codebook is not the one its manifest names.
    """
    try:
        facts = [facts_of(body) for body in datasets]
        plan = compile(program, facts, micro_epsilon(epsilon), mode, _atto(delta))
        if plan.hash != result["plan_hash"]:
            raise Unverified("the parties computed another plan than this program over these datasets")
        if result.get("from"):
            plan = _read_again(plan, facts, mode, result)
        again = figures(plan, facts, result["integers"])
        same = _same(json.loads(json.dumps(again)), result["statements"])
    except (QueryError, EpsilonRejected, DeltaRejected, IndexError, KeyError, TypeError, ValueError) as wrong:
        raise Unverified(f"the figures cannot be computed again: {wrong}") from None
    if not same:
        raise Unverified("the figures shown are not those that follow from the signed integers")


def _read_again(plan: Plan, facts: Sequence[DatasetFacts], mode: str, result: Mapping[str, Any]) -> Plan:
    """The plan with the noise of the earlier tables that it was read from, if its integers follow from those."""
    earlier = []
    for source in result["sources"]:
        delta = _atto(source.get("delta"))
        old = compile(source["program"], facts, micro_epsilon(source["epsilon"]), mode, delta)
        if old.hash != source["plan_hash"]:
            raise Unverified(
                f"query {source['query']} computed another plan than the program it is said to be"
            )
        earlier.append(old)
    places = [p for p in released.find(plan, earlier, facts[0].schema.fields) if p is not None]
    if len(places) < len(plan.releases):
        raise Unverified("not every table of this program is in the earlier releases")
    signed = [source["integers"] for source in result["sources"]]
    read, tables = released.read(plan, places, earlier, signed)
    if tables != result["integers"]:
        raise Unverified("the integers are not sums of those that the parties signed")
    return read


def _atto(delta: str | None) -> int:
    return 0 if delta in (None, "0") else atto_delta(str(delta))


def _same(one: Any, other: Any) -> bool:
    """Equal in everything but the last digits of floats: two machines may round a logarithm differently."""
    if isinstance(one, float) and isinstance(other, (int, float)):
        return isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def facts_of(body: Mapping[str, Any]) -> DatasetFacts:
    """What is public of a dataset, from the body of datasets/ID/.

    Raises  Unverified if the codebook is not the one that the manifest names; KeyError, TypeError, ValueError or
            QueryError for anything but such a body.
    """
    manifest, schema = body["manifest"], parse_codebook(body["codebook"])
    if schema.hash != manifest["codebook_hash"]:
        raise Unverified(
            f"dataset {manifest['dataset']}: the codebook is not the one that the manifest names"
        )
    return DatasetFacts(
        id=manifest["dataset"],
        version=manifest["version"],
        manifest_hash=digest(manifest),
        capacity=manifest["capacity"],
        schema=schema,
        policy=manifest["policy"],
    )
