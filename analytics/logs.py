"""One line per event, as text or JSON: when, how bad, which logger, what, and of which query, attempt and request.

Portal and parties share it: `analytics` is the package that both have. Ids are bound to what runs (`bound`), so that a line of a library names its query too.
Never in a line: a value, a token, the text of a program. Of an exception it therefore says kind and places alone:
the words may quote what was read, and locals hold shares.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

KINDS = ("text", "json")
IDS = ("role", "party", "request", "query", "attempt", "dataset")  # in the order of a line
_REQUEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {10: "\\n", 13: "\\r"}
_CONTROL |= {0x2028: "\\u2028", 0x2029: "\\u2029"}  # some readers of logs break lines here

_process: dict[str, str | int] = {}
_bound: ContextVar[Mapping[str, str | int]] = ContextVar("bound", default={})  # noqa: B039  (never changed in place)


def identify(**who: str | int) -> None:
    """Say once what this process is: role=, and party= of a party."""
    _process.update(_known(who))


@contextmanager
def bound(**ids: str | int) -> Iterator[None]:
    """Lines written inside name these ids; they nest."""
    token = _bound.set({**_bound.get(), **_known(ids)})
    try:
        yield
    finally:
        _bound.reset(token)


def bind(**ids: str | int) -> None:
    """Add ids to the `bound` block that this runs in, until that block ends."""
    _bound.set({**_bound.get(), **_known(ids)})


def ids(record: logging.LogRecord | None = None) -> dict[str, str | int]:
    """What a line written now would name, in order."""
    named = {**_process, **_bound.get()}
    # Django's last line on a request comes when nothing is bound any more; it brings the request.
    answered = getattr(getattr(record, "request", None), "request_id", None)
    if answered is not None:
        named["request"] = answered
    return {name: named[name] for name in IDS if name in named}


def request_id(offered: str = "") -> str:
    """The id that somebody offered if it is one (1 to 64 of A-Z a-z 0-9 . _ -), else a new one."""
    return offered if _REQUEST.fullmatch(offered) else uuid4().hex


def formatter(kind: str) -> logging.Formatter:
    """Raises ValueError, naming LOG_FORMAT, unless `kind` is text or json."""
    if kind not in KINDS:
        raise ValueError(f"LOG_FORMAT: text or json is needed, not {kind!r}")
    return _Json() if kind == "json" else _Text()


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            **ids(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = [{"type": kind, "places": places} for kind, places in chain(record.exc_info[1])]
        return json.dumps(line, ensure_ascii=True, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        named = " ".join(f"{name}={value}" for name, value in ids(record).items())
        line = f"{_time(record)} {record.levelname} {record.name} {_message(record)}"
        line += f" [{named}]" if named else ""
        if record.exc_info and record.exc_info[1] is not None:
            causes = (f"{kind} at {' > '.join(places)}" for kind, places in chain(record.exc_info[1]))
            line += "; " + "; after ".join(causes)
        return line.translate(_CONTROL)


def chain(error: BaseException) -> list[tuple[str, list[str]]]:
    """(kind, places) of an exception and what it came from, last first; no words, no locals, no source lines."""
    found: list[tuple[str, list[str]]] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = traceback.extract_tb(current.__traceback__)
        places = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames]
        found.append((type(current).__name__, places))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return found


def _message(record: logging.LogRecord) -> str:
    """The words of a record; where Celery quotes an exception, its kind alone."""
    if isinstance(record.args, Mapping) and "exc" in record.args:
        hidden = {"exc": str(record.args["exc"]).partition("(")[0], "traceback": "", "args": "", "kwargs": ""}
        return str(record.msg) % {**record.args, **hidden}
    return record.getMessage()


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _known(ids: Mapping[str, Any]) -> Mapping[str, str | int]:
    unknown = set(ids) - set(IDS)
    if unknown:
        raise TypeError(f"a line of the log has no place for {', '.join(sorted(unknown))}")
    return ids
