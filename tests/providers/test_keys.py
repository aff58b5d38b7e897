"""The provider's key is its own, and the keys it seals to are given or pinned, never silently replaced."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from analytics.query.approval import KeyFileRefused, fingerprint, public_hex
from providers import keys
from providers.keys import parse_deployment, pin, pinned, pins_path, provider_key, trust_file
from providers.report import KeysRefused
from tests.providers.world import World

URL = "http://portal.test/"


@pytest.fixture
def said() -> list[str]:
    return []


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_once_readable_by_its_owner_alone(tmp_path, said):
    path = tmp_path / "deep" / "provider.pem"
    first = provider_key(path, said.append)
    assert mode(path) == 0o600
    assert len(said) == 1
    assert public_hex(provider_key(path, said.append)) == public_hex(first)
    assert len(said) == 1


def test_a_key_that_others_can_read_is_refused(tmp_path, said):
    path = tmp_path / "provider.pem"
    provider_key(path, said.append)
    path.chmod(0o640)
    with pytest.raises(KeyFileRefused, match="chmod 600"):
        provider_key(path, said.append)


def test_the_fingerprint_of_a_party_covers_both_its_keys():
    access = World().access()
    one = parse_deployment(access, "test")
    changed = json.loads(json.dumps(access))
    changed["parties"][2]["seal"] = World().access()["parties"][2]["seal"]
    other = parse_deployment(changed, "test")
    assert one.fingerprints["party 2"] != other.fingerprints["party 2"]
    assert one.fingerprints["party 1"] == other.fingerprints["party 1"]
    assert one.fingerprints["portal"] == fingerprint(access["portal"]["sign"])
    assert parse_deployment(one.public(), "test") == one


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: {"parties": a["parties"]}, "portal"),
        (lambda a: [], "parties"),
        (lambda a: a["parties"].pop(), "0 to 3"),
        (lambda a: a["parties"].append(a["parties"][0]), "0 to 3"),
        (lambda a: a["parties"][1].update(seal="zz"), "64 hex digits"),
        (lambda a: a["parties"][1].update(sign=None), "64 hex digits"),
        (lambda a: a["parties"][1].pop("party"), "no number"),
        (lambda a: a["parties"][1].update(seal=a["parties"][0]["seal"]), "same key"),
        (lambda a: a["parties"][1].update(fingerprint="0" * 32), "stated fingerprint"),
        (lambda a: a["portal"].update(fingerprint="0" * 32), "stated fingerprint"),
    ],
)
def test_a_list_of_keys_that_is_not_whole_is_refused(change, reason):
    access = World().access()
    found = change(access)
    with pytest.raises(KeysRefused, match=reason):
        parse_deployment(found if isinstance(found, (dict, list)) and "seal" not in found else access, "test")


def test_keys_are_shown_and_pinned_on_first_use_and_accepted_silently_afterwards(tmp_path, said):
    key, deployment = tmp_path / "provider.pem", World().deployment()
    assert pin(key, URL, deployment, said.append) == deployment
    for shown in deployment.fingerprints.values():
        assert any(shown in line for line in said)
    assert mode(pins_path(key)) == 0o600
    said.clear()
    assert pin(key, URL, deployment, said.append) == deployment
    assert said == []


def test_changed_keys_are_refused_with_both_fingerprints(tmp_path, said):
    key, world, other = tmp_path / "provider.pem", World(), World()
    before = pin(key, URL, world.deployment(), said.append)
    access = world.access()
    access["parties"][3] = other.access()["parties"][3]
    after = parse_deployment(access, "test")
    with pytest.raises(KeysRefused) as refused:
        pin(key, URL, after, said.append)
    assert before.fingerprints["party 3"] in str(refused.value)
    assert after.fingerprints["party 3"] in str(refused.value)
    assert before.fingerprints["party 2"] not in str(refused.value)
    assert pinned(key)[URL] == before


def test_another_portal_has_its_own_pins(tmp_path, said):
    key, here, there = tmp_path / "provider.pem", World().deployment(), World().deployment()
    pin(key, URL, here, said.append)
    pin(key, "https://other.test/", there, said.append)
    assert pinned(key) == {URL: here, "https://other.test/": there}


def test_a_given_file_replaces_pins_aloud(tmp_path, said):
    key, old, new = tmp_path / "provider.pem", World().deployment(), World().deployment()
    pin(key, URL, old, said.append)
    said.clear()
    assert trust_file(key, URL, new, said.append) == new
    assert old.fingerprints["party 0"] in said[0]
    assert new.fingerprints["party 0"] in said[0]
    assert pin(key, URL, new, said.append) == new
    with pytest.raises(KeysRefused):
        pin(key, URL, old, said.append)


@pytest.mark.parametrize("content", ["not json", "[]", '{"http://portal.test/": {}}'])
def test_a_damaged_pin_file_is_refused_not_ignored(tmp_path, said, content):
    key = tmp_path / "provider.pem"
    pins_path(key).write_text(content)
    with pytest.raises(KeysRefused):
        pin(key, URL, World().deployment(), said.append)


def test_a_missing_file_of_keys_is_refused(tmp_path):
    with pytest.raises(KeysRefused, match="cannot be read"):
        keys.read_deployment(tmp_path / "access.json")
