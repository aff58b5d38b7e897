"""The users of a Redis server that parties share: each reaches its own keys and nobody else's."""

import stat
import subprocess
from io import StringIO

import pytest
import redis
from django.core.management import CommandError, call_command

from portal.stack.valkey import free_port, server_binary, wait_for

NAMES = ["portal", "party0", "party1", "party2", "party3"]


def url(folder, name):
    return (folder / f"{name}.env").read_text().strip().removeprefix("REDIS_URL=")


@pytest.fixture
def folder(tmp_path):
    port = free_port()
    place = tmp_path / "redis"
    call_command("redis_users", str(place), host="127.0.0.1", port=port, stdout=StringIO())
    running = subprocess.Popen(
        [server_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", "",
         "--aclfile", str(place / "users.acl")], stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        wait_for(url(place, "admin"))
        yield place
    finally:
        running.terminate()
        running.wait(10)


def test_every_owner_reaches_its_own_and_is_refused_the_others(folder):
    clients = {name: redis.Redis.from_url(url(folder, name)) for name in NAMES}
    for number in range(4):
        mine, peer = clients[f"party{number}"], (number + 1) % 4
        mine.lpush(f"p{number}:jobs", "x")
        mine.rpush(f"mpc:{number}:{peer}:s", "y")
        clients[f"party{peer}"].lpop(f"mpc:{number}:{peer}:s")
        for refused in (
            ["LRANGE", f"p{peer}:jobs", 0, -1],
            ["RPUSH", f"mpc:{peer}:{(peer + 1) % 4}:s", "forged"],
            ["LRANGE", f"mpc:{number}:{peer}:s", 0, -1],
            ["SET", "cancel:q", 1],
            ["KEYS", "*"],
            ["FLUSHALL"],
            ["CONFIG", "GET", "dir"],
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                mine.execute_command(*refused)
    with pytest.raises(redis.exceptions.NoPermissionError):
        clients["portal"].rpush("mpc:0:1:s", "forged")
    clients["portal"].set("cancel:q", 1)
    assert clients["party2"].get("cancel:q") == b"1"


def test_strangers_may_do_nothing_and_the_health_check_may_ping(folder):
    address = url(folder, "portal").rpartition("@")[2]
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis.from_url(f"redis://{address}").ping()
    health = redis.Redis.from_url(f"redis://health:any@{address}")
    assert health.ping()
    with pytest.raises(redis.exceptions.NoPermissionError):
        health.get("cancel:q")


def test_each_file_is_its_owner_s_and_the_list_holds_no_password(folder):
    listed = (folder / "users.acl").read_text()
    for name in NAMES:
        file = folder / f"{name}.env"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert url(folder, name).split(":")[2].partition("@")[0] not in listed


def test_passwords_are_never_replaced_in_place(folder):
    before = url(folder, "party1")
    with pytest.raises(CommandError, match="is there already"):
        call_command("redis_users", str(folder), stdout=StringIO())
    assert url(folder, "party1") == before
