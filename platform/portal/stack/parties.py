"""The folders of the four parties of this machine: keys made by each party's own program, settings written here.

A party's private keys never pass through this module: `python -m workers init` makes them in the party's folder and
prints only what is public. The floors are those of a demonstration, which start-up says aloud.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import stopping
from .children import spawn
from .surroundings import StackError, Surroundings, private_folder

PARTIES = range(4)
DEMO_FLOORS = {"minimum_cohort": 1, "micro_epsilon_per_query": 20_000_000}
# What only the portal may know stays out of a party's environment.
NOT_FOR_PARTIES = {
    "DJANGO_SETTINGS_MODULE",
    "SECRET_KEY",
    "DATABASE_URL",
    "FOURFOLD_PORTAL_KEY",
    "FOURFOLD_PARTIES_FILE",
    "FOURFOLD_ROOT",
    "FOURFOLD_DEMO",
    "METRICS_TOKEN",
    "VAR",
    "PORT",
}


def environment(environ: Mapping[str, str], folder: Path, redis_url: str = "") -> dict[str, str]:
    """What a party's process is started with."""
    env = {name: value for name, value in environ.items() if name not in NOT_FOR_PARTIES}
    port = env.get("METRICS_PORT", "")
    if port.isdigit() and int(port) and folder.name.isdigit():
        env["METRICS_PORT"] = str(int(port) + int(folder.name))  # four parties, four ports
    return env | {"FOURFOLD_PARTY_DIR": str(folder), "REDIS_URL": redis_url}


class Introductions:
    """The four `init` programs, running side by side while the portal sets itself up."""

    def __init__(self, place: Surroundings) -> None:
        self.place = place
        self.running: list[subprocess.Popen[str]] = []

    def begin(self, environ: Mapping[str, str]) -> Introductions:
        for number in PARTIES:
            folder = private_folder(self.place.party(number))
            with stopping.held():
                self.running.append(
                    spawn(
                        [sys.executable, "-m", "workers", "init", str(folder), "--party", str(number)],
                        cwd=self.place.root,
                        env=environment(environ, folder),
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                )
        return self

    def collect(self) -> list[dict[str, Any]]:
        """The public keys of the four: [{"party", "seal", "sign", "fingerprint"}], by number."""
        try:
            return [self._answer(number, program) for number, program in enumerate(self.running)]
        finally:
            self.end()

    def _answer(self, number: int, program: subprocess.Popen[str]) -> dict[str, Any]:
        try:
            out, err = program.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            raise StackError(f"party {number} did not make its keys within 60 s") from None
        try:
            public = json.loads(out)
            return {name: public[name] for name in ("party", "seal", "sign", "fingerprint")}
        except (ValueError, KeyError, TypeError):
            reason = (err.strip().splitlines() or [f"exit {program.returncode}"])[-1]
            raise StackError(f"party {number} could not make its keys: {reason}") from None

    def end(self) -> None:
        for program in self.running:
            if program.poll() is None:
                program.kill()
                program.communicate()


def settle(place: Surroundings, introduced: list[dict[str, Any]], portal_sign: str, url: str) -> None:
    """Write each party's settings and the list of parties that the portal reads."""
    peers = [{name: public[name] for name in ("party", "seal", "sign")} for public in introduced]
    for number in PARTIES:
        settings = {
            "party": number,
            "portal_url": url,
            "portal_sign": portal_sign,
            "peers": peers,
            "floors": DEMO_FLOORS,
            "exact": True,
        }
        write_private(place.party(number) / "party.json", settings)
    write_private(place.parties_file, introduced)


def write_private(path: Path, content: object) -> None:
    """Replace `path` at once, readable by its owner alone."""
    spare = path.with_name(path.name + ".new")
    spare.unlink(missing_ok=True)
    spare.touch(mode=0o600, exist_ok=False)
    spare.write_text(json.dumps(content, indent=1) + "\n")
    spare.replace(path)
