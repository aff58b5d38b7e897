"""A provider is shown what three parties give up, is asked, and signs exactly that order, or exactly these parties."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.query.approval import make_private_key, public_hex, sign
from analytics.query.consent import ConsentRejected, check_consents, current_set, set_digest
from analytics.query.model import digest
from analytics.query.order import Approval, Order, OrderDataset
from providers import __main__ as commands
from tests.providers.world import FakePortal, Party, World

QUERY = "01234567-89ab-4cde-8f01-23456789abcd"
NOW = 1_800_000_000


class AskingPortal(FakePortal):
    """A portal with one order among three, and a list of what was signed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.consents: list[dict] = []
        self.sets: list[dict] = []
        self.order: Order | None = None
        self.changes: dict = {}
        self.signer = self.world.portal

    def route(self, request: httpx.Request) -> httpx.Response:
        path, dataset = request.url.path, next(iter(self.datasets), "")
        if path == f"/api/consents/{QUERY}/" and request.method == "POST":
            self.consents.append(json.loads(request.content))
            return httpx.Response(200, json={})
        if path == f"/api/consents/{QUERY}/" and self.order is not None:
            return httpx.Response(200, json=self.envelope() | self.changes)
        if path == f"/api/datasets/{dataset}/party-sets/":
            self.sets.append(json.loads(request.content))
            return httpx.Response(201, json={})
        if path == f"/api/datasets/{dataset}/" and request.method == "GET":
            known = self.datasets[dataset]
            return httpx.Response(200, json={"id": dataset, **known, "party_sets": self.sets})
        return super().route(request)

    def envelope(self) -> dict:
        order = self.order.public()
        yes = Approval(order_hash=self.order.hash, by="operator", reason="urgent", time=NOW).public()
        return {
            "order": order,
            "order_signature": sign(order, self.signer),
            "approval": yes,
            "approval_signature": sign(yes, self.signer),
        }


@pytest.fixture
def world(tmp_path):
    return World(provider=make_private_key(tmp_path / "key.pem"))


@pytest.fixture
def portal(world, monkeypatch):
    fake = AskingPortal(world)
    dataset = world.dataset()
    manifest = dict(dataset.manifest)
    fake.datasets[dataset.id] = {
        "manifest": manifest,
        "signature": dataset.signature,
        "state": "READY",
        "polls": 0,
    }
    fake.order = Order(
        query=QUERY,
        nonce="0" * 32,
        program="count() by arm\nmean(age)",
        plan_hash="a" * 64,
        mode="dp",
        micro_epsilon=500_000,
        max_attempts=2,
        minimum_cohort=11,
        datasets=(OrderDataset(id=dataset.id, version=1, manifest_hash=digest(manifest)),),
        analyst="curie",
        not_before=NOW,
        expires=2 * NOW,
        missing=2,
    )
    monkeypatch.setattr(
        commands,
        "connect",
        lambda url, token: httpx.Client(
            transport=fake.transport, base_url=url, headers={"Authorization": token}
        ),
    )
    return fake


@pytest.fixture
def access(world, tmp_path):
    path = tmp_path / "access.json"
    path.write_text(json.dumps(world.access()))
    return path


@pytest.fixture
def run(tmp_path, access, monkeypatch):
    def run(command, *arguments, typed="", parties=access):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        given = [
            command,
            "--url",
            "http://portal.test",
            "--token",
            "secret",
            "--key",
            str(tmp_path / "key.pem"),
        ]
        return commands.main([*given, "--parties", str(parties), *map(str, arguments)])

    return run


def test_what_is_consented_to_is_shown_before_anybody_is_asked(portal, run, capsys):
    assert run("consent", QUERY, typed="no\n") == 1
    shown = capsys.readouterr().err
    for text in (
        "count() by arm", "mean(age)", next(iter(portal.datasets)), "epsilon 0.5", "at most 2 times", "curie",
        "operator", "party 2 is missing", "three-party, passive", "could read chosen rows", "Type yes", "nothing was signed",
    ):  # fmt: skip
        assert text in shown, text
    assert portal.consents == []


def test_delta_is_shown_beside_epsilon(portal, run, capsys):
    portal.order = replace(portal.order, atto_delta=10**12, squares=1)
    assert run("consent", QUERY, typed="no\n") == 1
    assert "epsilon 0.5, delta 1e-6, at most 2 times" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["", "y\n", "\n", "yess\n"])
def test_only_the_word_yes_signs(portal, run, typed):
    assert run("consent", QUERY, typed=typed) == 1
    assert portal.consents == []


@pytest.mark.parametrize(("typed", "options"), [("yes\n", []), ("", ["--yes"])])
def test_the_signed_consent_is_one_that_every_party_takes(portal, world, run, typed, options):
    assert run("consent", QUERY, *options, typed=typed) == 0
    keys = {dataset: public_hex(world.provider) for dataset in portal.datasets}
    check_consents(portal.consents, portal.order, keys, NOW)
    other = Order(**{**vars(portal.order), "missing": 1})
    with pytest.raises(ConsentRejected):
        check_consents(portal.consents, other, keys, NOW)


def test_a_consent_may_be_void_sooner_than_its_order(portal, world, run):
    assert run("consent", QUERY, "--yes", "--hours", 1) == 0
    assert portal.consents[0]["consent"]["expires"] < portal.order.expires


def changed_order(portal):
    portal.changes = {"order": {**portal.order.public(), "program": "count()"}}


def another_portal(portal):
    portal.signer = Ed25519PrivateKey.generate()


def among_four(portal):
    portal.order = Order(**{**vars(portal.order), "missing": None})


def another_query(portal):
    portal.order = Order(**{**vars(portal.order), "query": QUERY.replace("0", "f")})


def another_dataset(portal):
    portal.order = Order(
        **{**vars(portal.order), "datasets": (OrderDataset(id="f" * 32, version=1, manifest_hash="0" * 64),)}
    )


def another_manifest(portal):
    (dataset,) = portal.order.datasets
    changed = OrderDataset(id=dataset.id, version=1, manifest_hash="0" * 64)
    portal.order = Order(**{**vars(portal.order), "datasets": (changed,)})


def nothing(portal):
    portal.order = None


@pytest.mark.parametrize(
    "forge",
    [changed_order, another_portal, among_four, another_query, another_dataset, another_manifest, nothing],
    ids=lambda forge: forge.__name__,
)
def test_nothing_is_signed_unless_the_pinned_portal_signed_such_an_order_on_a_dataset_of_this_key(
    portal, run, forge
):
    forge(portal)
    assert run("consent", QUERY, "--yes") == 1
    assert portal.consents == []


def test_a_missing_key_is_not_made_for_a_consent(portal, run, tmp_path):
    (tmp_path / "key.pem").unlink()
    assert run("consent", QUERY, "--yes") == 1
    assert not (tmp_path / "key.pem").exists()


# Party sets


def with_new(world, *numbers):
    parties = [Party(p.number) if p.number in numbers else p for p in world.parties]
    return World(parties=tuple(parties), portal=world.portal, provider=world.provider)


def written(tmp_path, world):
    path = tmp_path / "new-access.json"
    path.write_text(json.dumps(world.access()))
    return path


@pytest.mark.parametrize("number", range(4))
def test_a_new_party_is_shown_by_both_fingerprints_and_signed(portal, world, run, tmp_path, capsys, number):
    new, (dataset,) = with_new(world, number), portal.datasets
    assert run("sign-parties", dataset, typed="yes\n", parties=written(tmp_path, new)) == 0
    shown = capsys.readouterr().err
    for deployment in (world.deployment(), new.deployment()):
        assert deployment.parties[number].fingerprint in shown
    manifest = portal.datasets[dataset]["manifest"]
    parties, last = current_set(manifest, portal.sets)
    assert (parties, last) == ([p.public() for p in new.parties], number)


def test_sets_follow_one_another(portal, world, run, tmp_path):
    (dataset,) = portal.datasets
    one = with_new(world, 1)
    two = with_new(one, 3)
    for each in (one, two):
        assert run("sign-parties", dataset, "--yes", parties=written(tmp_path, each)) == 0
    parties, last = current_set(portal.datasets[dataset]["manifest"], portal.sets)
    assert (parties, last) == ([p.public() for p in two.parties], 3)
    assert [s["set"]["epoch"] for s in portal.sets] == [1, 2]


@pytest.mark.parametrize("numbers", [(), (0, 1)], ids=["none", "two"])
def test_no_set_is_signed_in_which_none_or_two_parties_are_new(portal, world, run, tmp_path, numbers):
    (dataset,) = portal.datasets
    assert run("sign-parties", dataset, "--yes", parties=written(tmp_path, with_new(world, *numbers))) == 1
    assert portal.sets == []


def test_a_new_set_needs_a_yes(portal, world, run, tmp_path):
    (dataset,) = portal.datasets
    assert run("sign-parties", dataset, typed="no\n", parties=written(tmp_path, with_new(world, 2))) == 1
    assert portal.sets == []


def signed_set(world, portal, key=None, **changes):
    new, (dataset,) = with_new(world, 2), portal.datasets
    manifest = portal.datasets[dataset]["manifest"]
    body = {
        "type": "fourfold/1/party-set",
        "dataset": dataset,
        "manifest_hash": digest(manifest),
        "epoch": 1,
        "old": set_digest(manifest["party_set"]),
        "new": [p.public() for p in new.parties],
        "created": NOW,
        **changes,
    }
    return manifest, [{"set": body, "signature": sign(body, key or world.provider)}]


def test_a_signed_set_is_followed_and_one_of_another_key_place_or_form_is_not(world, portal):
    current_set(*signed_set(world, portal))
    swapped = [dict(p.public()) for p in world.parties]
    swapped[2]["seal"] = "0" * 64
    for changes in (
        {"key": Ed25519PrivateKey.generate()},
        {"key": world.portal},
        {"epoch": 2},
        {"old": "0" * 64},
        {"dataset": "f" * 32},
        {"manifest_hash": "0" * 64},
        {"new": [p.public() for p in world.parties]},
        {"new": swapped},
        {"new": [p.public() for p in world.parties[:3]]},
        {"extra": 1},
    ):
        with pytest.raises(ConsentRejected) as refused:
            current_set(*signed_set(world, portal, **changes))
        assert refused.value.code == "party_set"
    manifest, sets = signed_set(world, portal)
    for odd in ("x", {}, [None], [{}], sets * 2):
        with pytest.raises(ConsentRejected):
            current_set(manifest, odd or 5)


def test_a_portal_that_knows_no_such_dataset_gets_no_signature(portal, run, tmp_path, world):
    assert run("sign-parties", "f" * 32, "--yes", parties=written(tmp_path, with_new(world, 1))) == 1
    assert portal.sets == []
