"""A dataset's way into a party: fetched, checked, stored, acknowledged; or complained about and gone."""

import httpx
import pytest

from mpcnode import store as store_module
from providers import bundle as provider_bundle
from tests.workers.world import World
from workers.errors import PortalUnreachable
from workers.ingest import ingest
from workers.ledger import Charge
from workers.portal_client import Portal


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def take(world, dataset_id, party=0, patience=0.0):
    own = world.parties[party]
    with Portal(
        own.config, own.keys, transport=world.portal.transport, sleep=lambda _: None, patience=patience
    ) as portal:
        return ingest(
            dataset_id, config=own.config, keys=own.keys, store=own.store, ledger=own.ledger, portal=portal
        )


def test_all_parties_store_a_dataset_and_sign_receipts_for_its_manifest(world):
    dataset = world.prepare()
    world.serve(dataset)
    assert [take(world, dataset.id, party) for party in range(4)] == ["stored"] * 4
    receipts = world.portal.said("receipt")
    assert [r["party"] for r in receipts] == [0, 1, 2, 3]
    assert {r["manifest_hash"] for r in receipts} == {dataset.manifest_hash}
    assert all(party.store.list() == [dataset.id] for party in world.parties)
    names = ["", "age", "arm"]
    for c in range(4):
        digests = {
            p.store.component_digests(dataset.id, names, c) for p in world.parties if p.config.party != c
        }
        assert len(digests) == 1


def test_a_dataset_that_is_stored_gets_its_receipt_again_without_its_bundle(world):
    dataset = world.prepare()
    world.serve(dataset)
    take(world, dataset.id)
    world.portal.requests.clear()
    assert take(world, dataset.id) == "known"
    assert len(world.portal.said("receipt", 0)) == 2
    assert not any("bundles" in path for _, path in world.portal.requests)


def test_a_bundle_that_fails_is_complained_about_and_nothing_is_stored(world):
    dataset = world.prepare()
    world.serve(dataset)
    world.portal.bundles[dataset.id, 0] = list(provider_bundle.seal(dataset, 1))
    assert take(world, dataset.id) == "cannot_open"
    (complaint,) = world.portal.said("complaint")
    assert (complaint["code"], complaint["manifest_hash"]) == ("cannot_open", dataset.manifest_hash)
    assert world.parties[0].store.list() == [] and world.portal.said("receipt") == []


def test_a_full_disk_is_complained_about_and_the_next_try_succeeds(world, monkeypatch):
    dataset = world.prepare()
    world.serve(dataset)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module.os, "rename", full)
        assert take(world, dataset.id) == "store_error"
    assert world.portal.said("complaint")[0]["code"] == "store_error"
    assert take(world, dataset.id) == "stored"


def test_a_portal_that_is_down_for_a_moment_is_asked_again(world):
    dataset = world.prepare()
    world.serve(dataset)
    world.portal.down = 3
    assert take(world, dataset.id, patience=10.0) == "stored"


def test_a_portal_that_stays_down_or_does_not_know_the_dataset_leaves_nothing(world):
    with pytest.raises(PortalUnreachable, match="404"):
        take(world, "0" * 32)
    world.portal.down = 10**6
    with pytest.raises(PortalUnreachable, match="503"):
        take(world, "0" * 32)
    assert world.parties[0].store.list() == [] and world.portal.reports == []


def test_what_is_no_manifest_at_all_is_complained_about_without_a_hash(world):
    dataset = world.prepare()
    world.serve(dataset)
    world.portal.datasets[dataset.id]["manifest"] = {"number": 1.5}
    assert take(world, dataset.id) == "bad_manifest"
    assert world.portal.said("complaint")[0]["manifest_hash"] == "0" * 64


def test_a_manifest_signed_anew_replaces_the_old_one_only_while_nothing_was_charged(world):
    dataset = world.prepare()
    world.serve(dataset)
    take(world, dataset.id)
    anew = world.resigned(dataset, title="A better title")
    world.serve(anew)
    assert take(world, dataset.id) == "stored"
    own = world.parties[0]
    assert own.store.meta(dataset.id)["manifest"]["title"] == "A better title"
    own.ledger.reserve(
        nonce="0" * 32, attempt=1, query="q", order_hash="o", mode="dp",
        charges=[Charge(dataset=dataset.id, micro_epsilon=1, cap=10)],
    )  # fmt: skip
    world.serve(world.resigned(dataset, title="A third title"))
    assert take(world, dataset.id) == "conflict"
    assert own.store.meta(dataset.id)["manifest"]["title"] == "A better title"


def credulous(world, dataset):
    """A portal that checks no signature."""
    served = {**world.portal.datasets[dataset.id], "chunks": 1}
    return httpx.MockTransport(
        lambda request: httpx.Response(200, json=served if request.method == "GET" else {})
    )


def test_a_party_whose_keys_are_not_those_of_its_party_json_stores_nothing(world):
    dataset = world.prepare()
    world.serve(dataset)
    world.parties[1].keys = world.parties[2].keys
    own = world.parties[1]
    with Portal(own.config, world.parties[1].keys, transport=credulous(world, dataset)) as portal:
        outcome = ingest(
            dataset.id, config=own.config, keys=own.keys, store=own.store, ledger=own.ledger, portal=portal
        )
    assert outcome == "party_set" and own.store.list() == []
