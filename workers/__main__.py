"""Commands of a party's operator: `python -m workers init DIR --party N`, `verify-ledger DIR`, `doctor [DIR]`,
`backup DEST`, `restore SRC`, `clear-mismatch DIR [--dataset ID --reason TEXT]`, `take-over DIR`. The party's folder is
FOURFOLD_PARTY_DIR where a command does not name it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from mpcnode.errors import MpcError
from mpcnode.store import Store
from workers import backup, config, keys
from workers.doctor import Case, Skipped, examine
from workers.doctor.checks import CHECKS
from workers.errors import BackupRefused, Misconfigured, WorkerError
from workers.ledger import Ledger
from workers.portal_client import Portal
from workers.takeover import take_over

FOLDER = "the party's folder; default: FOURFOLD_PARTY_DIR"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="make the party's keys where missing, print its public keys")
    init.add_argument("folder", type=Path)
    init.add_argument("--party", type=int, required=True, choices=range(config.PARTIES))
    verify = commands.add_parser("verify-ledger", help="follow the chain of the party's ledger")
    verify.add_argument("folder", type=Path)
    doctor = commands.add_parser("doctor", help="check everything the party needs; change nothing")
    doctor.add_argument("folder", type=Path, nargs="?", help=FOLDER)
    doctor.add_argument("--json", action="store_true", help="a list of {check, state, message, remedy}")
    doctor.add_argument("--deep", action="store_true", help="open every sealed file of the store")
    copy = commands.add_parser(
        "backup", help="copy the sealed store and the ledger; also while the party runs"
    )
    copy.add_argument("dest", type=Path, help="a folder that does not exist yet")
    copy.add_argument("--folder", type=Path, help=FOLDER)
    copy.add_argument("--keys", type=Path, metavar="PLACE", help="copy the keys too, to another new folder")
    back = commands.add_parser(
        "restore", help="check a backup and put it into a folder without store and ledger"
    )
    back.add_argument("source", type=Path)
    back.add_argument("--folder", type=Path, help=FOLDER)
    back.add_argument(
        "--keys", type=Path, metavar="PLACE", help="the keys' own backup, where the folder has none"
    )
    back.add_argument("--accept-older", action="store_true", help="restore a ledger that peers will refuse")
    clear = commands.add_parser(
        "clear-mismatch", help="list mismatches that keep orders among three parties away, or clear them"
    )
    clear.add_argument("folder", type=Path)
    clear.add_argument("--dataset", metavar="ID", help="clear this dataset's; without it they are listed")
    clear.add_argument("--reason", default="", help="what was found out: kept with the mismatch")
    taking = commands.add_parser(
        "take-over", help="enter the debits that were spent while the party was away"
    )
    taking.add_argument("folder", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "init":
            print(json.dumps(public(chosen.folder, chosen.party)))
        elif chosen.command == "doctor":
            return diagnose(folder_of(chosen.folder), deep=chosen.deep, as_json=chosen.json)
        elif chosen.command == "backup":
            back_up(folder_of(chosen.folder), chosen.dest, chosen.keys)
        elif chosen.command == "restore":
            put_back(chosen.source, folder_of(chosen.folder), chosen.keys, accept_older=chosen.accept_older)
        elif chosen.command == "clear-mismatch":
            _clear(ledger_of(chosen.folder), chosen.dataset, chosen.reason)
        elif chosen.command == "take-over":
            _take_over(chosen.folder)
        else:
            length, head = ledger_of(chosen.folder).verify()
            print(f"{length} lines, head {head}")
    except (WorkerError, MpcError) as wrong:
        print(wrong, file=sys.stderr)
        return 1
    return 0


def public(folder: Path, party: int) -> dict[str, object]:
    """The line that goes into the other parties' party.json and into the provider's list of parties."""
    mine = keys.init(folder)
    return {"party": party, "seal": mine.seal_hex, "sign": mine.sign_hex, "fingerprint": mine.fingerprint}


def folder_of(named: Path | None) -> Path:
    if named is not None:
        return named
    if not os.environ.get("FOURFOLD_PARTY_DIR"):
        raise Misconfigured("name the party's folder, or set FOURFOLD_PARTY_DIR")
    return Path(os.environ["FOURFOLD_PARTY_DIR"])


def back_up(folder: Path, dest: Path, key_place: Path | None) -> None:
    """Make a backup, and one of the keys where they were asked for."""
    if key_place is not None and (key_place == dest or dest in key_place.parents):
        raise BackupRefused("the keys go to another place than the backup: together they open the store")
    made = backup.make(folder, dest)
    if key_place is not None:
        backup.copy_keys(folder / "keys", key_place)
        print(backup.WARNING, file=sys.stderr)
    print(f"{len(made.manifest['files'])} files, ledger of {made.ledger[0]} lines, head {made.ledger[1]}")


def put_back(source: Path, folder: Path, key_place: Path | None, *, accept_older: bool) -> None:
    """Check a backup, compare its ledger with what the portal saw, and restore it."""
    checked = backup.check(source)
    settings = folder / backup.SETTINGS if (folder / backup.SETTINGS).exists() else source / backup.SETTINGS
    try:
        seen = Case(settings.parent, {"REDIS_URL": "redis://", **os.environ}).parties[checked.party][
            "ledger_seen"
        ]
    except Skipped:
        print("the portal does not answer: whether this ledger is the newest is not known", file=sys.stderr)
    else:
        if warning := backup.older(checked, seen):
            print(f"WARNING: {warning}.", file=sys.stderr)
            if not accept_older:
                raise BackupRefused(
                    "nothing was restored; look for a newer backup, or read docs/operations.md, then --accept-older"
                )
    backup.restore(checked, folder, key_folder=key_place)
    print(f"restored party {checked.party}, ledger of {checked.ledger[0]} lines, head {checked.ledger[1]}")


def diagnose(folder: Path, *, deep: bool, as_json: bool) -> int:
    """Print every finding; 0 if no check failed."""
    found = examine(Case(folder, os.environ, deep=deep), CHECKS)
    if as_json:
        print(json.dumps([finding.public() for finding in found], indent=1))
    else:
        print("\n".join(finding.line() for finding in found))
    return 1 if any(finding.state == "failed" for finding in found) else 0


def _clear(ledger: Ledger, dataset: str | None, reason: str) -> None:
    if dataset is not None:
        count = ledger.clear_mismatch(dataset, reason)
        print(f"{count} mismatch{'es' * (count != 1)} of dataset {dataset} cleared")
    for left in ledger.mismatches():
        print(f"dataset {left}: an attempt ended with a mismatch")


def _take_over(folder: Path) -> None:
    """Of every dataset that is stored here. Redis is not needed for it."""
    mine = config.load({"FOURFOLD_PARTY_DIR": str(folder), "REDIS_URL": ""})
    own = keys.load(folder)
    store, ledger = Store(mine.store, own.store, mine.party), ledger_of(folder)
    with Portal(mine, own) as portal:
        for dataset in store.list():
            new = take_over(dataset, config=mine, store=store, ledger=ledger, portal=portal)
            print(f"dataset {dataset}: {new} debit{'s' * (new != 1)} taken over")


def ledger_of(folder: Path) -> Ledger:
    path = folder / "party.sqlite3"
    if not path.is_file():
        raise Misconfigured(f"{path} does not exist: the party has no ledger yet")
    return Ledger(path)


if __name__ == "__main__":
    sys.exit(main())
