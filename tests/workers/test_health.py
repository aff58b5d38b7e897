"""What a party says of its health is true of its disk, its keys and its Redis, and fits what the portal takes."""

import time

import pytest

from portal.operations import health as portal_health
from tests.redis_server import RedisServer
from tests.workers.full_disk import fill, small_disk
from tests.workers.world import World
from workers import config as configs
from workers import health
from workers import keys as key_files
from workers.errors import LedgerError
from workers.health import Health
from workers.ledger import Charge, Ledger


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.give(made.prepare())
    return made


def said(world, party=1):
    own = world.parties[party]
    looks = Health(own.config, own.keys)
    return looks.say(own.ledger)[1]


def test_a_sound_party_says_so_in_the_shape_that_the_portal_takes(world):
    before = int(time.time())
    told = said(world)
    store = told["store"]
    assert store | {"free_bytes": 0} == {
        "readable": True,
        "writable": True,
        "free_bytes": 0,
        "datasets": 1,
        "columns": 2,
        "last_error": "",
    }
    assert store["free_bytes"] > 2**20 and before <= told["started"] <= time.time()
    assert told["fingerprint"] == world.parties[1].keys.fingerprint
    assert portal_health.fits(told)


def test_constants_are_the_same_at_every_party_and_tell_other_scales_apart(world, monkeypatch):
    first = said(world, 0)["constants"]
    assert first == said(world, 3)["constants"]
    monkeypatch.setattr(health, "SCALES", health.SCALES[:-1])
    assert said(world, 0)["constants"] != first


def test_a_party_without_datasets_is_sound(tmp_path):
    world = World(tmp_path)
    store = said(world)["store"]
    assert (store["readable"], store["datasets"], store["columns"]) == (True, 0, 0)


def test_datasets_are_counted_again_when_one_comes_or_goes(world):
    own = world.parties[1]
    looks = Health(own.config, own.keys)
    assert looks.say(own.ledger)[1]["store"]["datasets"] == 1
    second = world.give(world.prepare(dataset="f" * 32))
    assert looks.say(own.ledger)[1]["store"]["columns"] == 4
    own.store.destroy(second)
    assert looks.say(own.ledger)[1]["store"]["datasets"] == 1


def test_a_changed_file_is_noticed_and_its_kind_told(world):
    own = world.parties[1]
    (meta,) = own.config.store.glob("datasets/*/meta")
    meta.write_bytes(bytes(len(meta.read_bytes())))
    store = said(world)["store"]
    assert (store["readable"], store["writable"], store["last_error"]) == (False, True, "sealed")


def test_another_store_key_is_noticed(world):
    own = world.parties[1]
    place = own.config.folder / "keys/store.key"
    place.unlink()
    place.write_text("0" * 64)
    place.chmod(0o600)
    looks = Health(own.config, key_files.load(own.config.folder))
    assert looks.say(own.ledger)[1]["store"]["readable"] is False


def test_every_dataset_has_its_turn(world):
    second = world.give(world.prepare(dataset="f" * 32))
    own = world.parties[1]
    (own.config.store / "datasets" / second / "meta").write_bytes(b"x" * 40)
    looks = Health(own.config, own.keys)
    assert {looks.say(own.ledger)[1]["store"]["readable"] for _ in range(2)} == {True, False}


def test_a_store_that_is_gone_is_told_with_the_systems_word(world):
    own = world.parties[1]
    looks = Health(own.config, own.keys)
    (own.config.store / "datasets").rename(own.config.store / "elsewhere")
    store = looks.say(own.ledger)[1]["store"]
    assert (store["readable"], store["last_error"]) == (False, "ENOENT")
    (own.config.store / "elsewhere").rename(own.config.store / "datasets")
    store = looks.say(own.ledger)[1]["store"]
    assert (store["readable"], store["last_error"]) == (True, "ENOENT"), "the last error since the start"


def test_a_full_disk_is_told(tmp_path):
    with small_disk(tmp_path / "disk") as place:
        world = World(place)
        own = world.parties[1]
        looks = Health(own.config, own.keys)
        assert looks.say(own.ledger)[1]["store"]["writable"] is True
        fill(place)
        with pytest.raises(LedgerError):  # SQLite needs a few pages of its own even to read
            own.ledger.head()
        store = looks.say(own.ledger)[1]["store"]
        assert (store["writable"], store["free_bytes"], store["last_error"]) == (False, 0, "ENOSPC")


def test_the_probe_leaves_nothing(world):
    own = world.parties[1]
    before = sorted(own.config.store.rglob("*"))
    said(world)
    assert sorted(own.config.store.rglob("*")) == before


def test_redis_is_timed_and_its_absence_told(world):
    server = RedisServer().start()
    try:
        client = health.ping_client(server.url)
        first = health.latency(client)
        assert isinstance(first, int) and first > 0
        server.kill()
        assert health.latency(client) is None
        server.start()
        assert health.latency(client) is not None
    finally:
        server.close()


def test_the_peers_ledgers_are_told_as_last_seen_and_odd_words_of_a_peer_are_not(world):
    own = world.parties[1]
    own.ledger.see_peer(2, 4, "4" * 64)
    own.ledger.see_peer(0, 3, "not a head")
    told = said(world)
    assert told["peers"] == [[2, 4, "4" * 64]] and portal_health.fits(told)


def test_a_ledger_opened_to_read_shows_the_same_and_changes_nothing(tmp_path):
    path = tmp_path / "party.sqlite3"
    ledger = Ledger(path)
    charge = Charge(dataset="d", micro_epsilon=1, cap=10)
    ledger.reserve(nonce="0" * 32, attempt=1, query="q", order_hash="1" * 64, mode="dp", charges=[charge])
    reading = Ledger(path, readonly=True)
    assert reading.verify() == ledger.verify() and reading.head() == ledger.head()
    with pytest.raises(Exception, match="readonly"):
        reading.see_peer(1, 1, "1" * 64)
    missing = Ledger(tmp_path / "none.sqlite3", readonly=True)
    with pytest.raises(Exception, match="cannot be used"):
        missing.head()
    assert not (tmp_path / "none.sqlite3").exists()


def test_nothing_of_a_table_is_in_a_heartbeat(world):
    names = {"age", "arm", *world.datasets}
    assert not any(name in str(said(world)) for name in names)
    assert configs.PARTIES == 4
