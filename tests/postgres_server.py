"""A throw-away PostgreSQL for tests: an empty cluster in a folder, on a free port of loopback, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.redis_server import free_port


def binaries() -> Path | None:
    """The folder with initdb and pg_ctl of the newest installed version, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).resolve().parent if there else None


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server for the time of the block. Skips the test where there is none to start."""
    folder = binaries()
    if folder is None or shutil.which("pg_dump") is None:
        pytest.skip("PostgreSQL's server and pg_dump are not installed here")
    become = []
    if os.geteuid() == 0:  # the server refuses to run as root; its package brings a user for it
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("this is root, and there is no user postgres to run a server as")
        become = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    place = Path(tempfile.mkdtemp(prefix="fourfold-postgres-"))
    try:
        place.chmod(0o711)
        data = place / "data"
        data.mkdir(mode=0o700)
        if become:
            shutil.chown(data, "postgres")
            shutil.chown(place, "postgres")
        port = free_port()
        _run([*become, folder / "initdb", "-D", data, "-A", "trust", "-U", "fourfold", "-N"])
        options = f"-p {port} -h 127.0.0.1 -k {place} -c fsync=off"
        _run(
            [
                *become,
                folder / "pg_ctl",
                "-D",
                data,
                "-w",
                "-t",
                "30",
                "-l",
                place / "log",
                "-o",
                options,
                "start",
            ]
        )
        try:
            yield f"postgres://fourfold@127.0.0.1:{port}"
        finally:
            _run([*become, folder / "pg_ctl", "-D", data, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run(argv: list[object]) -> None:
    # To files, not pipes: the server would keep a pipe open for as long as it runs.
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run([str(a) for a in argv], stdout=said, stderr=said, cwd="/", check=False)
        if done.returncode:
            said.seek(0)
            pytest.skip(f"PostgreSQL does not start here: {said.read().strip()[-300:]}")
