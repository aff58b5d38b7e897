"""A party's configuration and keys: what is missing is named, what is exposed is refused."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from workers import config, keys
from workers.__main__ import main
from workers.errors import Misconfigured
from workers.ledger import Charge, Ledger

ROOT = Path(__file__).parents[2]


def hexkey(number):
    return f"{number:064x}"


def party_json(**changes):
    peers = [{"party": p, "seal": hexkey(10 + p), "sign": hexkey(20 + p)} for p in range(4)]
    whole = {"party": 1, "portal_url": "http://127.0.0.1:8000/", "portal_sign": hexkey(1), "peers": peers}
    return {**whole, **changes}


def parse(obj):
    return config.parse(obj, folder=Path("/nowhere"), redis_url="redis://x")


def test_party_json_and_environment_become_one_frozen_object(tmp_path):
    floors = {"minimum_cohort": 1, "micro_epsilon_per_query": 20_000_000}
    (tmp_path / "party.json").write_text(json.dumps(party_json(floors=floors, exact=True)))
    found = config.load({"FOURFOLD_PARTY_DIR": str(tmp_path), "REDIS_URL": "redis://:secret@host/0"})
    assert (found.party, found.exact, found.floors.minimum_cohort) == (1, True, 1)
    assert found.portal_url == "http://127.0.0.1:8000" and found.me.seal == hexkey(11)
    assert found.database == tmp_path / "party.sqlite3" and found.store == tmp_path / "store"
    assert "secret" not in repr(found)
    with pytest.raises(AttributeError):
        found.party = 2


def test_floors_are_strict_and_exact_is_off_unless_told():
    found = parse(party_json())
    assert (found.floors.minimum_cohort, found.floors.micro_epsilon_per_query) == (11, 5_000_000)
    assert found.exact is False


def test_drivers_and_the_room_of_ring_views_have_limits():
    found = parse(party_json(drivers=3, ring_views_mb=0))
    assert (found.drivers, found.ring_views_mb) == (3, 0)
    assert (parse(party_json()).drivers, parse(party_json()).ring_views_mb) == (1, 512)
    for changes in ({"drivers": 0}, {"drivers": True}, {"ring_views_mb": -1}, {"ring_views_mb": "512"}):
        with pytest.raises(Misconfigured, match=next(iter(changes))):
            parse(party_json(**changes))


@pytest.mark.parametrize("name", ["FOURFOLD_PARTY_DIR", "REDIS_URL"])
def test_a_missing_variable_is_named(tmp_path, name):
    environ = {"FOURFOLD_PARTY_DIR": str(tmp_path), "REDIS_URL": "redis://x"}
    del environ[name]
    with pytest.raises(Misconfigured, match=name):
        config.load(environ)


def peers_with(index, **changes):
    peers = party_json()["peers"]
    peers[index] = {**peers[index], **changes}
    return peers


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"party": 4}, "party: 0 to 3"),
        ({"party": True}, "party: 0 to 3"),
        ({"portal_url": "portal"}, "portal_url"),
        ({"portal_sign": "12"}, "portal_sign"),
        ({"peers": party_json()["peers"][:3]}, "parties 0 to 3"),
        ({"peers": peers_with(2, party=1)}, "parties 0 to 3"),
        ({"peers": peers_with(2, seal="x" * 64)}, "64 hex"),
        ({"peers": peers_with(2, seal=hexkey(23))}, "share a key"),
        ({"peers": peers_with(2, name="x")}, "'name' is not known"),
        ({"peers": {}}, "list of all four"),
        ({"floors": {"minimum_cohort": 0}}, "floors.minimum_cohort"),
        ({"floors": {"epsilon": 1}}, "'epsilon' is not known"),
        ({"floors": {"micro_epsilon_per_query": 1.5}}, "floors.micro_epsilon_per_query"),
        ({"timeouts": {"join": 0}}, "timeouts.join"),
        ({"exact": "yes"}, "exact"),
        ({"exakt": True}, "'exakt' is not known"),
    ],
)
def test_what_is_wrong_in_party_json_is_named(changes, says):
    with pytest.raises(Misconfigured, match=says):
        parse(party_json(**changes))


@pytest.mark.parametrize("name", ["party", "portal_url", "portal_sign", "peers"])
def test_a_name_missing_in_party_json_is_named(name):
    whole = party_json()
    del whole[name]
    with pytest.raises(Misconfigured, match=f"{name} is missing"):
        parse(whole)


def test_a_party_json_that_is_missing_or_no_json_is_said(tmp_path):
    environ = {"FOURFOLD_PARTY_DIR": str(tmp_path), "REDIS_URL": "redis://x"}
    with pytest.raises(Misconfigured, match=r"party\.json cannot be read"):
        config.load(environ)
    (tmp_path / "party.json").write_text("{")
    with pytest.raises(Misconfigured, match="is not JSON"):
        config.load(environ)


def test_init_makes_keys_once_and_prints_the_same_line_again(tmp_path, capsys):
    assert main(["init", str(tmp_path / "p2"), "--party", "2"]) == 0
    first = capsys.readouterr().out
    assert main(["init", str(tmp_path / "p2"), "--party", "2"]) == 0
    assert capsys.readouterr().out == first and first.count("\n") == 1
    line = json.loads(first)
    assert set(line) == {"party", "seal", "sign", "fingerprint"} and line["party"] == 2
    assert (
        line["fingerprint"] == keys.fingerprint(line["seal"], line["sign"]) and len(line["fingerprint"]) == 32
    )
    for path in (tmp_path / "p2" / "keys").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_init_runs_as_a_command_without_any_configuration(tmp_path):
    bare = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-m", "workers", "init", str(tmp_path), "--party", "0"],
        cwd=ROOT, env=bare, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and json.loads(done.stdout)["party"] == 0 and done.stderr == ""


def test_a_key_that_is_lost_is_made_again_and_the_others_are_kept(tmp_path):
    before = keys.init(tmp_path)
    (tmp_path / "keys" / "store.key").unlink()
    after = keys.init(tmp_path)
    assert (after.sign_hex, after.seal_hex) == (before.sign_hex, before.seal_hex)
    assert after.store != before.store


def test_a_lost_key_is_not_replaced_once_there_is_a_store_to_open(tmp_path):
    keys.init(tmp_path)
    (tmp_path / "store").mkdir()
    keys.init(tmp_path)
    (tmp_path / "keys" / "store.key").unlink()
    with pytest.raises(Misconfigured, match="restore its backup"):
        keys.init(tmp_path)


@pytest.mark.parametrize("name", ["sign.pem", "seal.key", "store.key"])
def test_a_key_that_others_can_read_is_refused(tmp_path, name, capsys):
    keys.init(tmp_path)
    (tmp_path / "keys" / name).chmod(0o640)
    with pytest.raises(Misconfigured, match="chmod 600"):
        keys.load(tmp_path)
    assert main(["init", str(tmp_path), "--party", "0"]) == 1
    assert "chmod 600" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sign.pem", "seal.key", "store.key"])
def test_a_file_that_holds_no_key_is_refused(tmp_path, name):
    keys.init(tmp_path)
    (tmp_path / "keys" / name).write_text("nothing of use")
    with pytest.raises(Misconfigured, match="holds no"):
        keys.load(tmp_path)


def test_keys_do_not_print(tmp_path):
    mine = keys.init(tmp_path)
    assert repr(mine) == "Keys()" and mine.store.hex() not in str(mine)


def test_verify_ledger_prints_the_head_or_the_damage(tmp_path, capsys):
    assert main(["verify-ledger", str(tmp_path)]) == 1
    assert "no ledger yet" in capsys.readouterr().err
    path = tmp_path / "party.sqlite3"
    Ledger(path).reserve(
        nonce="0" * 32, attempt=1, query="q", order_hash="o", mode="dp",
        charges=[Charge(dataset="d", micro_epsilon=1, cap=1)],
    )  # fmt: skip
    assert main(["verify-ledger", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("1 lines, head ")
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER lines_never_change")
        db.execute("UPDATE lines SET micro_epsilon = 0")
    assert main(["verify-ledger", str(tmp_path)]) == 1
    assert "line 1 of the ledger" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["0", "", "9100", "65535"])
def test_a_metrics_port_is_read_from_the_environment(tmp_path, given):
    (tmp_path / "party.json").write_text(json.dumps(party_json()))
    environ = {"FOURFOLD_PARTY_DIR": str(tmp_path), "REDIS_URL": "redis://x", "METRICS_PORT": given}
    found = config.load(environ)
    assert (found.metrics_port, found.metrics_host) == (int(given or 0), "127.0.0.1")


@pytest.mark.parametrize("given", ["65536", "-1", "http", "９１"])
def test_a_metrics_port_that_is_none_is_named(tmp_path, given):
    (tmp_path / "party.json").write_text(json.dumps(party_json()))
    environ = {"FOURFOLD_PARTY_DIR": str(tmp_path), "REDIS_URL": "redis://x", "METRICS_PORT": given}
    with pytest.raises(Misconfigured, match="METRICS_PORT"):
        config.load(environ)
