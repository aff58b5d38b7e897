"""Commands of a party's operator: `python -m workers init DIR --party N`, `verify-ledger DIR`, `doctor [DIR]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from workers import config, keys
from workers.doctor import Case, examine
from workers.doctor.checks import CHECKS
from workers.errors import Misconfigured, WorkerError
from workers.ledger import Ledger


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="make the party's keys where missing, print its public keys")
    init.add_argument("folder", type=Path)
    init.add_argument("--party", type=int, required=True, choices=range(config.PARTIES))
    verify = commands.add_parser("verify-ledger", help="follow the chain of the party's ledger")
    verify.add_argument("folder", type=Path)
    doctor = commands.add_parser("doctor", help="check everything the party needs; change nothing")
    doctor.add_argument("folder", type=Path, nargs="?", help="default: FOURFOLD_PARTY_DIR")
    doctor.add_argument("--json", action="store_true", help="a list of {check, state, message, remedy}")
    doctor.add_argument("--deep", action="store_true", help="open every sealed file of the store")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "init":
            print(json.dumps(public(chosen.folder, chosen.party)))
        elif chosen.command == "doctor":
            return diagnose(chosen.folder, deep=chosen.deep, as_json=chosen.json)
        else:
            length, head = ledger_of(chosen.folder).verify()
            print(f"{length} lines, head {head}")
    except WorkerError as wrong:
        print(wrong, file=sys.stderr)
        return 1
    return 0


def public(folder: Path, party: int) -> dict[str, object]:
    """The line that goes into the other parties' party.json and into the provider's list of parties."""
    mine = keys.init(folder)
    return {"party": party, "seal": mine.seal_hex, "sign": mine.sign_hex, "fingerprint": mine.fingerprint}


def diagnose(folder: Path | None, *, deep: bool, as_json: bool) -> int:
    """Print every finding; 0 if no check failed."""
    if folder is None:
        if not os.environ.get("FOURFOLD_PARTY_DIR"):
            raise Misconfigured("name the party's folder, or set FOURFOLD_PARTY_DIR")
        folder = Path(os.environ["FOURFOLD_PARTY_DIR"])
    found = examine(Case(folder, os.environ, deep=deep), CHECKS)
    if as_json:
        print(json.dumps([finding.public() for finding in found], indent=1))
    else:
        print("\n".join(finding.line() for finding in found))
    return 1 if any(finding.state == "failed" for finding in found) else 0


def ledger_of(folder: Path) -> Ledger:
    path = folder / "party.sqlite3"
    if not path.is_file():
        raise Misconfigured(f"{path} does not exist: the party has no ledger yet")
    return Ledger(path)


if __name__ == "__main__":
    sys.exit(main())
