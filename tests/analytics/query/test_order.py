"""Orders: one changed byte is another order, and nothing unsigned or out of time passes."""

import pytest

from analytics.query.approval import BadSignature, make_private_key, public_hex, sign
from analytics.query.order import Approval, Order, OrderRejected, check, sorted_datasets

NOW = 1_800_000_000


def an_order(**changes):
    return Order(
        **{
            "query": "0b8f7a0e-3f1c-4b6e-9d57-0d5c9a3b1f00",
            "nonce": "0f" * 16,
            "program": "count()",
            "plan_hash": "ab" * 32,
            "mode": "dp",
            "micro_epsilon": 500_000,
            "max_attempts": 2,
            "minimum_cohort": 11,
            "datasets": sorted_datasets([Dataset("02"), Dataset("01")]),
            "analyst": "analyst",
            "not_before": NOW - 10,
            "expires": NOW + 3600,
            **changes,
        }
    )


class Dataset:
    def __init__(self, pair):
        self.id, self.version, self.manifest_hash = pair * 16, 1, "cd" * 32


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return make_private_key(tmp_path_factory.mktemp("portal") / "sign.pem")


def an_envelope(key, order=None, approval=None):
    order = (order or an_order()).public()
    approval = (
        approval or Approval(order_hash=Order.parse(order).hash, by="operator", reason="", time=NOW).public()
    )
    return {
        "order": order,
        "order_signature": sign(order, key),
        "approval": approval,
        "approval_signature": sign(approval, key),
        "attempt": 1,
    }


def test_an_envelope_opens_to_what_was_put_in(key):
    order, approval = check(an_envelope(key), portal_public_hex=public_hex(key), now=NOW)
    assert order == an_order()
    assert approval.by == "operator"
    assert order.worst_charge == 1_000_000
    assert [d.id for d in order.datasets] == ["01" * 16, "02" * 16]


@pytest.mark.parametrize("name", sorted(set(an_order().public()) - {"type"}))
def test_every_field_changed_after_signing_is_refused(key, name):
    envelope = an_envelope(key)
    value = envelope["order"][name]
    envelope["order"][name] = (value or 0) + 1 if value is None or isinstance(value, int) else value[:-1]
    with pytest.raises(BadSignature):
        check(envelope, portal_public_hex=public_hex(key), now=NOW)


@pytest.mark.parametrize("name", ["micro_epsilon", "minimum_cohort", "max_attempts", "expires"])
def test_an_approval_is_for_one_order_only(key, name):
    approval = Approval(order_hash=an_order().hash, by="operator", reason="", time=NOW).public()
    changed = an_order(**{name: getattr(an_order(), name) + 1})
    with pytest.raises(OrderRejected) as caught:
        check(an_envelope(key, changed, approval), portal_public_hex=public_hex(key), now=NOW)
    assert caught.value.code == "approval_mismatch"


def test_an_order_signed_by_another_key_is_refused(key, tmp_path):
    other = make_private_key(tmp_path / "other.pem")
    with pytest.raises(BadSignature):
        check(an_envelope(other), portal_public_hex=public_hex(key), now=NOW)


def test_an_order_is_no_approval(key):
    envelope = an_envelope(key)
    envelope["approval"], envelope["approval_signature"] = envelope["order"], envelope["order_signature"]
    with pytest.raises(OrderRejected):
        check(envelope, portal_public_hex=public_hex(key), now=NOW)


@pytest.mark.parametrize(
    ("now", "code"),
    [(NOW - 70 - 1, "not_yet_valid"), (NOW + 3661, "order_expired"), (NOW + 3660, None), (NOW - 60, None)],
)
def test_time_is_enforced_with_a_minute_of_slack(key, now, code):
    if code is None:
        assert check(an_envelope(key), portal_public_hex=public_hex(key), now=now)
        return
    with pytest.raises(OrderRejected) as caught:
        check(an_envelope(key), portal_public_hex=public_hex(key), now=now)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "changes",
    [
        {"query": "x"},
        {"nonce": "0F" * 16},
        {"program": ""},
        {"program": "x" * 65537},
        {"plan_hash": ""},
        {"mode": "both"},
        {"mode": "exact"},
        {"micro_epsilon": 0},
        {"micro_epsilon": -1},
        {"micro_epsilon": 1.0},
        {"micro_epsilon": True},
        {"max_attempts": 0},
        {"max_attempts": 11},
        {"minimum_cohort": 0},
        {"datasets": ()},
        {"analyst": ""},
        {"not_before": NOW + 3600},
        {"expires": 2**63},
    ],
)
def test_an_order_that_exists_is_valid(changes):
    with pytest.raises(OrderRejected):
        an_order(**changes)


def test_an_exact_order_charges_nothing():
    assert an_order(mode="exact", micro_epsilon=0).worst_charge == 0


@pytest.mark.parametrize("change", ["unsorted", "twice", "unknown", "missing", "list", "type", "float"])
def test_parse_refuses_other_shapes(change):
    obj = an_order().public()
    if change == "unsorted":
        obj["datasets"].reverse()
    elif change == "twice":
        obj["datasets"][1] = obj["datasets"][0]
    elif change == "unknown":
        obj["threshold"] = 1
    elif change == "missing":
        del obj["nonce"]
    elif change == "list":
        obj["datasets"] = {"id": 1}
    elif change == "type":
        obj["type"] = "fourfold/1/approval"
    elif change == "float":
        obj["datasets"][0]["version"] = 1.0
    with pytest.raises(OrderRejected):
        Order.parse(obj)


@pytest.mark.parametrize(
    "change", [{"decision": "refuse"}, {"order_hash": "x"}, {"by": ""}, {"time": -1}, {"reason": None}]
)
def test_only_a_whole_yes_is_an_approval(change):
    obj = Approval(order_hash="ab" * 32, by="operator", reason="fine", time=NOW).public()
    assert Approval.parse(obj).public() == obj
    with pytest.raises(OrderRejected):
        Approval.parse({**obj, **change})


@pytest.mark.parametrize("envelope", [{}, None, {"order": {}}, []])
def test_an_envelope_without_its_parts_is_refused(key, envelope):
    with pytest.raises(OrderRejected):
        check(envelope, portal_public_hex=public_hex(key), now=NOW)
