"""A throw-away PostgreSQL that can be killed in the middle of things and started again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psycopg2

from tests.redis_server import free_port

OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


def binaries() -> Path | None:
    """Where the programs of the newest version are, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name))
    return found[-1] if found else None


class Postgres:
    """One cluster on a free port of loopback. `stop` is a crash; close it when done."""

    def __init__(self, bin: Path) -> None:
        self.bin, self.port = bin, free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="fourfold-pg-"))
        self.user: list[str] = []
        if os.getuid() == 0:  # it refuses to run as root; its package brings a user for it
            self.user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-D", self.folder / "data", "-A", "trust", "-U", "fourfold", "-N")

    @property
    def url(self) -> str:
        return f"postgres://fourfold@127.0.0.1:{self.port}/postgres"

    def start(self) -> Postgres:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c max_connections=40"
        self._run(
            "pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", options, "start"
        )
        return self

    def stop(self) -> None:
        """No connection is asked; recovery comes from the log."""
        self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "stop")

    def connections(self) -> int:
        """How many there are beside the one that asks."""
        db = psycopg2.connect(self.url)
        try:
            with db.cursor() as cursor:
                cursor.execute(OTHERS)
                return int(cursor.fetchone()[0])
        finally:
            db.close()

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):  # it was stopped already
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [*self.user, str(self.bin / program), *map(str, arguments)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True, cwd="/",
        )  # fmt: skip
