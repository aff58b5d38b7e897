"""A party's real worker with one fault built in: it dies, or stops for a while, at a place that a test names.

Started as `celery -A doomed worker` instead of `-A workers`; nothing else is different. Every place that the process
comes to is a line of `labels` in the party's folder: messages by their number in the session, and what happens between
them by name. `doom` in the same folder names one place and what to do there, once:

    {"label": "before message 7", "how": "child"}     SIGKILL to the computing child
    {"label": "after spend", "how": "whole"}          SIGKILL to the worker and all its children
    {"label": "before message 7", "how": "hold"}      wait until a file `go` is there
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from mpcnode.transport.redis import RedisTransport
from workers import tasks
from workers.app import app
from workers.ledger import Ledger
from workers.party import Party
from workers.portal_client import Portal

__all__ = ["app", "tasks"]
FOLDER = Path(os.environ["FOURFOLD_PARTY_DIR"])

if os.environ.get("FAULTS_REDELIVER"):
    # The worst broker: a message that is not acknowledged within a second comes again.
    app.conf.task_acks_late = True
    app.conf.broker_transport_options["visibility_timeout"] = 1

_inside: list[int] = []  # messages sent so far, while an attempt runs in this process


def reached(label: str) -> None:
    if not _inside:
        return
    with open(FOLDER / "labels", "a") as labels:
        labels.write(label + "\n")
    try:
        doom = json.loads((FOLDER / "doom").read_text())
    except FileNotFoundError:
        return
    if doom["label"] != label:
        return
    (FOLDER / "doom").unlink()
    match doom["how"]:
        case "child":
            os.kill(os.getpid(), signal.SIGKILL)
        case "whole":
            os.killpg(0, signal.SIGKILL)
        case "hold":
            while not (FOLDER / "go").exists():
                time.sleep(0.01)
            (FOLDER / "go").unlink()


def attempt(run):
    def inner(self, query, number):
        _inside[:] = [0]
        try:
            return run(self, query, number)
        finally:
            _inside.clear()

    return inner


def sent(send):
    """Before every message of the session itself, not of the lists of ABORT and ABANDON beside it."""

    def inner(self, out, *rest):
        beside = any(key.endswith(("-abort", "-abandon")) for key in self.inbox.values())
        if _inside and out != {} and not beside:
            reached(f"before message {_inside[0]}")
            _inside[0] += 1
        return send(self, out, *rest)

    return inner


def around(name, act):
    def inner(self, *args, **how):
        reached(f"before {name}")
        result = act(self, *args, **how)
        reached(f"after {name}")
        return result

    return inner


def told(report):
    def inner(self, said, **beside):
        kind = said["type"].rpartition("/")[2]
        reached(f"before reporting {kind}")
        answer = report(self, said, **beside)
        reached(f"after reporting {kind}")
        return answer

    return inner


Party.run = attempt(Party.run)
Portal.report = told(Portal.report)
RedisTransport.exchange = sent(RedisTransport.exchange)
for name in ("reserve", "spend", "opening", "close"):
    setattr(Ledger, name, around(name, getattr(Ledger, name)))
# `exchange` also carries what `push` does for a channel, but the READYs and openings go out one peer at a time.
RedisTransport.push = sent(RedisTransport.push)
