"""Commands of a provider: `draft` a codebook, `check` a table against it, `upload` it, `list` what became of it, show
`keys`; when a party is lost, `consent` to an order among three, or `sign-parties` that hold a dataset from now on.

Results go to stdout, everything said to a person to stderr; `check` prints its report on stdout. Exit status:
0 done, 1 the codebook, the tables or the upload have a problem, 2 the command line cannot be understood.
No traceback ever reaches a user.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from analytics.query.approval import SignatureError, fingerprint, load_private_key, public_hex
from analytics.query.errors import CodebookRejected
from analytics.query.schema import Schema, canonical_codebook, load_codebook, parse_codebook
from providers import bundle, consent, history, keys, versions
from providers.codebook import Encoded, encode
from providers.counts import counts_of, lines_of
from providers.draft import draft
from providers.draft_report import said_of
from providers.planes import to_planes
from providers.report import ProviderError, Report, TableRejected
from providers.study import sheets_of
from providers.suspicion import suspect_values
from providers.table import read_table
from providers.trace import Trace
from providers.upload import Portal, connect, upload

COMMANDS = "draft, check, upload, list, keys, consent or sign-parties"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except TableRejected as wrong:
        for problem in wrong.report.problems:
            say(str(problem))
        say(str(wrong))
    except (ProviderError, SignatureError) as wrong:
        say(f"error: {wrong}")
    except KeyboardInterrupt:
        say("interrupted: run the same command again to go on")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as wrong:  # noqa: BLE001 (the last resort: a bug is one line too, and shows no row)
        say(
            f"error: an internal error of kind {type(wrong).__name__}; nothing more was sent. Please report it"
        )
    return 1


def say(text: str) -> None:
    """One line to the person at the screen."""
    print(" ".join(text.splitlines()), file=sys.stderr, flush=True)


def check(options: argparse.Namespace) -> int:
    """Read the files against the codebook and print every problem."""
    report = Report()
    schema_and_raw = _codebook(options.codebook, report)
    counts: list[dict[str, Any]] = []
    if schema_and_raw is not None:
        schema, _ = schema_and_raw
        traces: dict[str, Trace] = {}
        encoded = read_study(schema, options.files, report, traces if options.counts else None)
        counts = counts_of(schema, encoded, traces) if options.counts else []
        if not options.json:
            _print_summary(schema, encoded)
            for line in lines_of(counts):
                print(line)
    problems = [problem.public() for problem in report.problems]
    if options.json:
        print(json.dumps({"problems": problems, "counts": counts} if options.counts else problems, indent=1))
    else:
        for problem in report.problems:
            print(problem)
        errors, warnings = len(report.errors), len(report.warnings)
        print(f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}")
    return 1 if report.errors else 0


def propose(options: argparse.Namespace) -> int:
    """Print a codebook proposed for the files; everything that explains it goes to stderr."""
    report = Report()
    tables = [table for path in options.files if (table := read_table(path, report)) is not None]
    report.refuse()
    proposed = draft(tables, report, primary_key=options.primary_key, today=date.today())
    for line in said_of(proposed):
        say(line)
    for problem in report.problems:
        say(str(problem))
    print(json.dumps(proposed.codebook, indent=1, ensure_ascii=False))
    return 0


def send(options: argparse.Namespace) -> int:
    """Check, split, seal and upload; stdout is the dataset id alone."""
    report = Report()
    schema_and_raw = _codebook(options.codebook, report)
    report.refuse()
    assert schema_and_raw is not None
    schema, codebook = schema_and_raw
    given = None if options.parties is None else keys.read_deployment(options.parties)
    encoded = read_study(schema, options.files, report)
    report.refuse()
    assert encoded is not None
    for problem in report.warnings:
        say(str(problem))
    key = keys.provider_key(options.key, say)
    say(f"signing with {fingerprint(public_hex(key))} ({options.key})")
    with connect(options.url, options.token) as client:
        portal = Portal(client, say)
        deployment = _trusted(options, portal, given)
        prepare = partial(
            bundle.prepare,
            private_key=key,
            codebook=codebook,
            codebook_hash=schema.hash,
            policy=schema.policy,
            title=options.title or schema.title or Path(options.codebook).stem,
            plane_names=schema.plane_names,
            capacity=schema.capacity,
            planes=to_planes(encoded, schema.plane_names, schema.capacity),
            party_set=[party.public() for party in deployment.parties],
            portal_sign=deployment.portal_sign,
            created=int(time.time()),
        )
        if options.new_version_of is None:
            dataset = prepare()
            versions.warn_of_a_second_budget(portal, dataset, say)
        else:
            before = versions.predecessor(portal, options.new_version_of, public_hex(key))
            dataset = versions.following(
                before, prepare, schema.policy, looser=options.looser_policy, say=say
            )
        print(upload(portal, dataset, deployment, key, timeout=options.timeout), flush=True)
    return 0


def consenting(options: argparse.Namespace) -> int:
    """Show an order among three parties, ask, and sign the provider's consent to exactly that order."""
    key = load_private_key(options.key)
    given = None if options.parties is None else keys.read_deployment(options.parties)
    with connect(options.url, options.token) as client:
        portal = Portal(client, say)
        order = consent.asked(portal, options.query, key, _trusted(options, portal, given))
        if not _agreed(order.lines(), "Consent to this order", options.yes):
            return 1
        expires = None if options.hours is None else int(time.time() + 3600 * options.hours)
        consent.give(portal, options.query, order.sign(expires))
    say(f"consented for {', '.join(order.datasets)}")
    return 0


def sign_parties(options: argparse.Namespace) -> int:
    """Show which party of a dataset is new, ask, and sign the new set of parties."""
    key = load_private_key(options.key)
    given = keys.read_deployment(options.parties)
    with connect(options.url, options.token) as client:
        portal = Portal(client, say)
        stated = consent.new_set(portal, options.dataset, key, given)
        if not _agreed(stated.lines(), "Sign these parties", options.yes):
            return 1
        portal.json("POST", f"api/datasets/{options.dataset}/party-sets/", json=stated.sign(key))
        keys.trust_file(options.key, str(client.base_url), given, say)
    say(f"signed; the other parties now hand party {stated.new.party} its share of {options.dataset}")
    return 0


def _agreed(lines: Iterable[str], question: str, yes: bool) -> bool:
    """Show what is about to be signed; whether the person types yes, or said so on the command line."""
    for line in lines:
        print(line, file=sys.stderr)
    if yes:
        return True
    print(f"{question}? Type yes: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() == "yes":
        return True
    say("nothing was signed")
    return False


def _trusted(options: argparse.Namespace, portal: Portal, given: keys.Deployment | None) -> keys.Deployment:
    """The keys of parties and portal: from a given file, else as pinned for this address."""
    url = str(portal.client.base_url)
    if given is not None:
        return keys.trust_file(options.key, url, given, say)
    served = keys.parse_deployment(portal.parties(), f"{url}api/parties/")
    return keys.pin(options.key, url, served, say)


def show_history(options: argparse.Namespace) -> int:
    """Print every dataset of the provider's organisation: versions, receipts, budget, queries."""
    with connect(options.url, options.token) as client:
        entries = history.history(Portal(client, say))
    print(json.dumps(entries, indent=1) if options.json else history.table(entries))
    return 0


def show_keys(options: argparse.Namespace) -> int:
    """Print the provider's public key and what is pinned; the key is made when missing."""
    key = keys.provider_key(options.key, say)
    own = {"file": str(options.key), "sign": public_hex(key), "fingerprint": fingerprint(public_hex(key))}
    pins = {url: deployment.public() for url, deployment in keys.pinned(options.key).items()}
    if options.json:
        print(json.dumps({"provider": own, "pinned": pins}, indent=1))
        return 0
    print(f"provider key {own['sign']}\n  fingerprint {own['fingerprint']}\n  file {own['file']}")
    for url, deployment in keys.pinned(options.key).items():
        print(f"pinned for {url}")
        for name, shown in deployment.fingerprints.items():
            print(f"  {name}: {shown}")
    return 0


def read_study(
    schema: Schema, files: Sequence[str], report: Report, traces: dict[str, Trace] | None = None
) -> Encoded | None:
    """Every file read and encoded, with everything that is wrong or suspicious in the report."""
    wanted = [(path, sheet) for path in files for sheet in sheets_of(schema, Path(path).name)]
    tables = [table for path, sheet in wanted if (table := read_table(path, report, sheet)) is not None]
    if len(tables) < len(wanted):
        return None  # with a file less, all further complaints would be about its absence
    encoded = encode(schema, tables, report, traces)
    suspect_values(schema, encoded, report)
    return encoded


def _codebook(path: str, report: Report) -> tuple[Schema, dict[str, Any]] | None:
    """The schema and the canonical codebook; None if it breaks rules, which are then in the report."""
    name = Path(path).name
    try:
        raw = load_codebook(Path(path).read_bytes())
        schema = parse_codebook(raw)
    except OSError as wrong:
        report.error(
            "codebook_unreadable",
            f"the codebook cannot be read: {wrong.strerror}",
            "check the name after --codebook",
            file=name,
        )
        return None
    except CodebookRejected as wrong:
        for problem in wrong.problems:
            message = f"{problem['where']}: {problem['message']}"
            report.error(problem["rule"], message, problem["remedy"], file=name)
        return None
    for problem in schema.warnings:
        message = f"{problem['where']}: {problem['message']}"
        report.warning(problem["rule"], message, problem["remedy"], file=name)
    return schema, canonical_codebook(raw)


def _print_summary(schema: Schema, encoded: Encoded | None) -> None:
    if encoded is None:
        return
    print(f"{encoded.patients} patients, capacity {schema.capacity}, {len(schema.fields)} fields")
    for item in schema.fields:
        column = encoded.columns.get(item.name)
        if column is None:
            print(f"  {item.name}: not read")
        else:
            present = int(column.present.sum())
            print(f"  {item.name}: {present} present, {encoded.patients - present} missing, {item.bits} bits")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m providers", description=str(__doc__).split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar=COMMANDS)
    checking = commands.add_parser("check", help="check tables against a codebook; sends nothing")
    sending = commands.add_parser("upload", help="check, split, seal to the four parties and upload")
    for command in (checking, sending):
        command.add_argument("--codebook", required=True, metavar="C.json")
        command.add_argument("files", nargs="+", metavar="FILE", help="CSV files of one study")
    drafting = commands.add_parser(
        "draft",
        help="propose a codebook for tables; sends nothing",
        description="Propose a codebook for the files of one study: JSON on stdout, all explanations on stderr. What "
        "was read from values is marked local: check and upload refuse it until a person has removed the marks.",
    )
    drafting.add_argument("files", nargs="+", metavar="FILE", help="the files of one study")
    drafting.add_argument("--primary-key", metavar="COLUMN", help="the column that says who a row belongs to")
    drafting.set_defaults(command=propose)
    checking.add_argument("--json", action="store_true", help="print the problems as a JSON list")
    checking.add_argument(
        "--counts",
        action="store_true",
        help="for sign-off, on this screen only: how many values every step leaves (text, missingValues, recodes, "
        "where, reduce, derive, cut or round, range), which text becomes which level, minimum, median and "
        'maximum; with --json the output is {"problems": [...], "counts": [...]}',
    )
    checking.set_defaults(command=check)
    sending.add_argument("--parties", type=Path, metavar="FILE", help="public keys of parties and portal")
    sending.add_argument("--title", help="the dataset's public title")
    sending.add_argument(
        "--new-version-of", metavar="DATASET", help="the dataset that this table replaces; its budget goes on"
    )
    sending.add_argument(
        "--looser-policy",
        action="store_true",
        help="yes, the new version's policy allows more than the old one",
    )
    sending.add_argument("--timeout", type=float, default=600, help="seconds to wait for receipts (600)")
    sending.set_defaults(command=send)
    listing = commands.add_parser(
        "list", help="show what became of your datasets: versions, receipts, budget"
    )
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(command=show_history)
    for command in (sending, listing):
        command.add_argument("--url", required=True, help="address of the portal")
        command.add_argument("--token", required=True, help="the provider's API token")
    showing = commands.add_parser("keys", help="show the provider's public key and the pinned keys")
    showing.add_argument("--json", action="store_true")
    showing.set_defaults(command=show_keys)
    agreeing = commands.add_parser("consent", help="sign your yes to one order among three parties")
    agreeing.add_argument("query", metavar="QUERY", help="the query's id, as the operator told you")
    agreeing.add_argument("--hours", type=float, help="the consent is void after so many hours")
    agreeing.set_defaults(command=consenting)
    handing = commands.add_parser("sign-parties", help="sign who holds a dataset after a party was replaced")
    handing.add_argument("dataset", metavar="DATASET")
    handing.set_defaults(command=sign_parties)
    for command in (agreeing, handing):
        command.add_argument("--url", required=True, help="address of the portal")
        command.add_argument("--token", required=True, help="the provider's API token")
        command.add_argument("--yes", action="store_true", help="do not ask")
        command.add_argument(
            "--parties",
            type=Path,
            metavar="FILE",
            required=command is handing,
            help="public keys of parties and portal",
        )
    for command in (sending, showing, agreeing, handing):
        command.add_argument("--key", type=Path, default=keys.default_key_path(), metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
