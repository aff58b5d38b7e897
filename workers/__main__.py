"""Commands of a party's operator: `python -m workers init DIR --party N` and `verify-ledger DIR`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from workers import config, keys
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
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "init":
            print(json.dumps(public(chosen.folder, chosen.party)))
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


def ledger_of(folder: Path) -> Ledger:
    path = folder / "party.sqlite3"
    if not path.is_file():
        raise Misconfigured(f"{path} does not exist: the party has no ledger yet")
    return Ledger(path)


if __name__ == "__main__":
    sys.exit(main())
