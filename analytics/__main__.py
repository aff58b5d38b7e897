"""python -m analytics ask | preview | twin | verify: questions from a terminal.

Results go to stdout, all else to stderr. Exit: 0 released, 2 bad program or request, 3 refused or
withdrawn, 4 aborted, 5 time-out, 1 the portal cannot be reached or the answer cannot be verified.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analytics import render
from analytics.client import Client, ClientError, RequestRejected, Unverified, request

LARGEST_FILE = 64 * 1024 * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ClientError as wrong:
        print(f"{wrong.code}: {wrong}", file=sys.stderr)
        return wrong.exit_code
    except KeyboardInterrupt:
        print("interrupted; a submitted query goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def ask(options: argparse.Namespace) -> int:
    if options.twin:
        return twin(options)
    parties = None if options.parties is None else _parties(options.parties)
    client, program = Client(options.url, options.token), _program(options.program)
    query = client.ask(
        program, options.dataset, options.epsilon, options.mode, options.delta, confirmed=options.confirm
    )
    print(f"query {query['id']}", file=sys.stderr, flush=True)
    result = client.wait(query["id"], options.timeout, told=lambda state: print(state, file=sys.stderr))
    if parties is not None:
        # Only who checks pays for loading compiler and statistics.
        from analytics.check import agreed, recomputed, security

        signers = agreed(result, parties)
        asked = request(program, options.dataset, options.epsilon, options.mode)["program"]
        bodies = [client.dataset(dataset) for dataset in options.dataset]
        recomputed(result, asked, options.epsilon, options.mode, bodies, options.delta)
        print(
            f"{_signed(signers, security(result))}; plan and figures computed again here are the same",
            file=sys.stderr,
        )
    if result.get("from"):
        print(f"costs nothing: released with query {', '.join(result['from'])}", file=sys.stderr)
    print(_json(result) if options.json else render.answer(result))
    return 0


def preview(options: argparse.Namespace) -> int:
    client = Client(options.url, options.token)
    body = client.preview(
        _program(options.program),
        options.dataset,
        options.epsilon,
        options.mode,
        _assumed(options.assume),
        options.delta,
    )
    answered = None
    if options.twin:
        answered = _twin_answer(options, _public([client.dataset(dataset) for dataset in options.dataset]))
        body = body | {"twin": answered}
    print(_json(body) if options.json else render.plan(body.get("plan", body)))
    if answered is not None and not options.json:
        print(f"\n{answered['twin']}\n\n{render.answer(answered)}")
    if body.get("told"):
        print(body["told"], file=sys.stderr)
    if body.get("missing") is not None:
        told = f"party {body['missing']} is lost: an order now would be {body.get('security')}"
        print(f"{told}, and waits for every provider's consent", file=sys.stderr)
    return 0


def twin(options: argparse.Namespace) -> int:
    """The dummy twins' answers, from codebooks in files or of a portal's datasets; nothing is submitted."""
    if options.codebook:
        found = [_codebook(path) for path in options.codebook]
    elif options.url and options.token and options.dataset:
        client = Client(options.url, options.token)
        found = _public([client.dataset(dataset) for dataset in options.dataset])
    else:
        raise RequestRejected("name --codebook FILE, or --url, --token and --dataset")
    if options.csv is not None:
        _write_twin(options.csv, found)
    if options.program is not None:
        answered = _twin_answer(options, found)
        print(_json(answered) if options.json else f"{answered['twin']}\n\n{render.answer(answered)}")
    elif options.csv is None:
        raise RequestRejected("name a program, or --csv FILE for the twin's table")
    return 0


def _twin_answer(options: argparse.Namespace, found: Sequence[Any]) -> dict[str, Any]:
    from analytics.privacy.accountant import DeltaRejected, EpsilonRejected, atto_delta, micro_epsilon
    from analytics.query.errors import QueryError
    from analytics.query.plan import compile
    from analytics.twin import answer

    program = request(_program(options.program), [], options.epsilon, options.mode)["program"]
    try:
        delta = 0 if options.delta is None else atto_delta(options.delta)
        return answer(compile(program, found, micro_epsilon(options.epsilon), options.mode, delta), found)
    except (QueryError, EpsilonRejected, DeltaRejected) as wrong:
        raise RequestRejected(str(wrong), wrong.code) from None


def _write_twin(path: str, found: Sequence[Any]) -> None:
    from analytics.query.errors import QueryError
    from analytics.twin import raw_file

    if len(found) > 1:
        raise RequestRejected("--csv writes the twin of one dataset: name one")
    try:
        text = raw_file(found[0])
        Path(path).write_text(text, encoding="utf-8")
    except QueryError as wrong:
        raise RequestRejected(str(wrong), wrong.code) from None
    except OSError as wrong:
        raise RequestRejected(f"{path} cannot be written: {wrong.strerror}") from None


def _codebook(path: str) -> Any:
    """A codebook of a file as the facts of a dataset that nobody has uploaded yet."""
    from analytics.query.errors import CodebookRejected
    from analytics.query.resolve import DatasetFacts
    from analytics.query.schema import load_codebook, parse_codebook

    try:
        schema = parse_codebook(load_codebook(_read(path)))
    except CodebookRejected as wrong:
        raise RequestRejected(f"{path}: {wrong}", wrong.code) from None
    return DatasetFacts(
        id=schema.hash[:32],
        version=1,
        manifest_hash=schema.hash,
        capacity=schema.capacity,
        schema=schema,
        policy=schema.policy,
    )


def _public(bodies: Sequence[dict[str, Any]]) -> list[Any]:
    """The facts of datasets as the portal shows them."""
    from analytics.check import facts_of
    from analytics.query.errors import QueryError

    try:
        return [facts_of(body) for body in bodies]
    except (QueryError, KeyError, TypeError, ValueError) as wrong:
        raise RequestRejected(f"a dataset of this portal cannot be read: {wrong}") from None


def verify(options: argparse.Namespace) -> int:
    from analytics.check import agreed, security

    result = _read_json(options.result)
    if not isinstance(result, dict):
        raise Unverified(f"{options.result} holds no result")
    signers = agreed(result, _parties(options.parties))
    print(_signed(signers, security(result)))
    if result.get("from"):
        print("the answer is computed from integers of earlier queries: ask --parties computes it again")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analytics", description="Ask questions of shared data.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, words in (
        ("ask", ask, "submit a program, wait for its release, print the answers"),
        ("preview", preview, "print the plan of a program and what it would cost"),
    ):
        command = commands.add_parser(name, help=words, description=words)
        command.set_defaults(run=run)
        command.add_argument("--url", required=True, help="address of the portal")
        command.add_argument("--token", required=True, help="your API token")
        command.add_argument(
            "--dataset", required=True, action="append", metavar="ID", help="again to pool several"
        )
        command.add_argument("--epsilon", default="1", help="total for the program, per dataset (default 1)")
        command.add_argument(
            "--delta", help="beside epsilon, such as 1e-6: less noise for a plan of more than twelve tables"
        )
        command.add_argument("--mode", choices=("dp", "exact"), default="dp")
        command.add_argument("--timeout", type=seconds, default=600.0, metavar="SECONDS")
        command.add_argument("--json", action="store_true", help="print the body as JSON")
        command.add_argument("--parties", metavar="FILE", help="trusted party keys: check the signatures too")
        command.add_argument(
            "--confirm", action="store_true", help="ask also where noise would drown a figure (ask only)"
        )
        command.add_argument(
            "--assume",
            action="append",
            default=[],
            metavar="[STATEMENT:]sd=10,n=746,rate=0.3,effect=1,width=0.5",
            help="what is supposed of each figure, or of one statement's by its number (preview only)",
        )
        command.add_argument(
            "--twin", action="store_true", help="let the datasets' dummy twins answer; nothing is submitted"
        )
        command.add_argument(
            "program", metavar="PROGRAM_OR_FILE", help="the program, or a file that holds it"
        )
        command.set_defaults(codebook=[], csv=None)
    words = "let a dummy twin, made up from the codebook alone, answer a program in clear"
    command = commands.add_parser("twin", help=words, description=words)
    command.set_defaults(run=twin)
    command.add_argument(
        "--codebook", action="append", default=[], metavar="FILE", help="again to pool several"
    )
    command.add_argument("--url", help="address of the portal")
    command.add_argument("--token", help="your API token")
    command.add_argument("--dataset", action="append", metavar="ID", help="again to pool several")
    command.add_argument("--epsilon", default="1", help="total for the program, per dataset (default 1)")
    command.add_argument(
        "--delta", help="beside epsilon, such as 1e-6: less noise for a plan of more than twelve tables"
    )
    command.add_argument("--mode", choices=("dp", "exact"), default="dp")
    command.add_argument("--json", action="store_true", help="print the body as JSON")
    command.add_argument("--csv", metavar="FILE", help="write the twin's raw table")
    command.add_argument("program", nargs="?", metavar="PROGRAM_OR_FILE", help="the program, or its file")
    command = commands.add_parser("verify", help="check offline who signed a saved result")
    command.set_defaults(run=verify)
    command.add_argument("result", metavar="RESULT.json", help="what ask --json printed")
    command.add_argument("--parties", required=True, metavar="FILE", help="trusted party keys (access.json)")
    return parser


def _assumed(given: Sequence[str]) -> dict[str, Any]:
    """The assumptions of a preview, as the REST interface takes them; the portal says what is wrong with a value."""
    found: dict[str, Any] = {}
    for text in given:
        statement, colon, rest = text.rpartition(":")
        pairs = [pair.partition("=") for pair in rest.split(",")]
        if not all(name and equals and value for name, equals, value in pairs):
            raise RequestRejected(f"--assume {text}: write name=value, as in sd=10,n=746 or 2:sd=10")
        values = {
            {"rate": "event_rate"}.get(name.strip(), name.strip()): value.strip() for name, _, value in pairs
        }
        found.setdefault(statement.strip() if colon else "all", {}).update(values)
    return found


def seconds(text: str) -> float:
    given = float(text)
    if not 0 <= given < 1e9:
        raise ValueError
    return given


def _program(text: str) -> str:
    """The program itself: from a file if there is one of that name."""
    try:
        if not Path(text).is_file():
            return text
    except (OSError, ValueError):  # longer than any file name, or with a character none may have
        return text
    try:
        return _read(text).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestRejected(f"{text} is not UTF-8 text") from None


def _parties(path: str) -> list[dict[str, Any]]:
    """Party keys from access.json, or from a bare list of parties."""
    found = _read_json(path)
    listed = found.get("parties") if isinstance(found, dict) else found
    if not isinstance(listed, list):
        raise Unverified(f"{path} lists no parties")
    return listed


def _read_json(path: str) -> Any:
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError):
        raise RequestRejected(f"{path} is no JSON") from None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            found = file.read(LARGEST_FILE + 1)
    except OSError as wrong:
        raise RequestRejected(f"{path} cannot be read: {wrong.strerror}") from None
    if len(found) > LARGEST_FILE:
        raise RequestRejected(f"{path} is larger than {LARGEST_FILE // 2**20} MiB")
    return found


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _signed(parties: Sequence[int], security: str) -> str:
    how = f" ({security})" if security else ""
    return f"verified: parties {', '.join(map(str, parties))} signed these integers{how}"


if __name__ == "__main__":
    sys.exit(main())
