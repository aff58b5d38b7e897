"""The environment of `up` and `demo`: read once, before Django reads its settings.

VAR holds everything a deployment keeps. A second start on the same VAR finds the same keys, accounts and data.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn


class StackError(Exception):
    """The stack cannot start; the message says in one line what to do."""

    code = "stack"


@dataclass(frozen=True)
class Surroundings:
    """Where one deployment lives. Paths are absolute; `port` 0 means any free one."""

    root: Path
    var: Path
    port: int

    @property
    def access(self) -> Path:
        return self.var / "access.json"

    @property
    def log(self) -> Path:
        return self.var / "log"

    @property
    def parties_file(self) -> Path:
        return self.var / "parties.json"

    @property
    def portal_key(self) -> Path:
        return self.var / "portal" / "sign.pem"

    def party(self, number: int) -> Path:
        return self.var / "parties" / str(number)

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Surroundings:
        text = environ.get("PORT", "8000")
        if not (text.isascii() and text.isdigit() and int(text) < 65536):
            raise StackError(f"PORT must be a number from 0 to 65535, not {text!r}")
        return cls(root=Path(environ["FOURFOLD_ROOT"]), var=Path(environ["VAR"]), port=int(text))


def prepare(environ: MutableMapping[str, str], *, command: str, root: Path) -> None:
    """Complete the environment for `command`; ends the process with one line when VAR cannot be used."""
    var = Path(environ.get("VAR") or "var").absolute()
    try:
        if command == "demo":
            var = fresh(var / "demo")
        private_folder(var)
        private_folder(var / "portal")
        environ.setdefault("SECRET_KEY", secret(var / "portal" / "secret_key"))
    except (OSError, StackError) as problem:
        leave(f"VAR {var} cannot be used: {problem}")
    environ["VAR"] = str(var)
    environ["FOURFOLD_ROOT"] = str(root)
    environ["FOURFOLD_PARTIES_FILE"] = str(var / "parties.json")
    environ["FOURFOLD_PORTAL_KEY"] = str(var / "portal" / "sign.pem")
    environ["FOURFOLD_DEMO"] = "1"
    # Sixteen processes on a small machine: one thread each is faster than sixteen pools of threads.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        environ.setdefault(name, "1")


def private_folder(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def secret(path: Path) -> str:
    """The secret kept at `path`, made on first use; readable by its owner alone."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    except FileExistsError:
        pass
    text = path.read_text().strip()
    if not text:
        # A start that was killed between creating and writing.
        path.unlink()
        return secret(path)
    return text


def lock(path: Path) -> int:
    """Hold `path` until this process ends, however it ends; StackError when another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StackError(f"another stack is running in {path.parent}") from None
    return descriptor


def fresh(folder: Path) -> Path:
    """An empty folder for one demonstration; the last one's is kept until now, for looking at its logs."""
    private_folder(folder.parent)
    lock(folder.parent / "demo.lock")
    shutil.rmtree(folder, ignore_errors=True)
    return private_folder(folder)


def leave(message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    raise SystemExit(1)
