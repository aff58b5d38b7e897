"""The tasks of a party, by the names the portal sends. Thin: what they do is in `workers.party` and
`workers.ingest`.

Everything is opened inside the task, after the fork: no key, cipher, connection or random state is shared
between processes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from celery import current_task, group

from analytics import logs
from mpcnode.errors import StoreError
from mpcnode.store import Store
from workers import config, ingest, keys, provision
from workers.app import HELPERS, app
from workers.errors import BundleRejected, PortalUnreachable
from workers.ledger import Ledger
from workers.lists import Lists
from workers.party import Party
from workers.portal_client import Portal

log = logging.getLogger(__name__)

# Whoever writes to the queue chooses these, and they become part of a signed request's path.
_QUERY = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DATASET = re.compile("[0-9a-f]{32}")


@app.task(name="workers.run")  # type: ignore[untyped-decorator]
def run(query: str, attempt: int) -> None:
    """Play this party's part in one attempt of an approved query."""
    if not (_matches(_QUERY, query) and type(attempt) is int):
        log.warning("a run task is no hint of ours")
        return
    with _named(query=query, attempt=attempt), party() as mine:
        outcome = mine.run(query, attempt)
        log.info("party %d: query %s attempt %d: %s", mine.config.party, query, attempt, outcome)


@app.task(name="workers.assist")  # type: ignore[untyped-decorator]
def assist(query: str, attempt: int, block: int) -> None:
    """Drive one block of rows of an attempt that another process of this party leads."""
    if not (_matches(_QUERY, query) and type(attempt) is int and type(block) is int):
        log.warning("an assist task is no hint of ours")
        return
    with _named(query=query, attempt=attempt), party() as mine:
        outcome = mine.assist(query, attempt, block)
        log.info("party %d: query %s attempt %d driver %d: %s",
                 mine.config.party, query, attempt, block, outcome)  # fmt: skip


def summon(query: str, attempt: int, helpers: int) -> None:
    """Ask this party's further processes for help with an attempt."""
    group(assist.s(query, attempt, block) for block in range(1, helpers + 1)).apply_async(queue=HELPERS)


@app.task(name="workers.ingest")  # type: ignore[untyped-decorator]
def take(dataset: str) -> None:
    """Open, check and store this party's part of a dataset."""
    if not _matches(_DATASET, dataset):
        log.warning("an ingest task is no hint of ours")
        return
    with _named(dataset=dataset), party() as mine:
        try:
            ingest.ingest(
                dataset,
                config=mine.config,
                keys=mine.keys,
                store=mine.store,
                ledger=mine.ledger,
                portal=mine.portal,
            )
        except PortalUnreachable as gone:
            log.warning("party %d: dataset %s waits: %s", mine.config.party, dataset, gone)


@app.task(name="workers.provision")  # type: ignore[untyped-decorator]
def provide(dataset: str) -> None:
    """Hand a new party its share of a dataset."""
    if not _matches(_DATASET, dataset):
        log.warning("a provision task is no hint of ours")
        return
    with _named(dataset=dataset), party() as mine:
        try:
            provision.provide(
                dataset, config=mine.config, keys=mine.keys, store=mine.store, portal=mine.portal
            )
        except (PortalUnreachable, BundleRejected, StoreError) as wrong:
            log.warning("party %d: dataset %s not provided: %s", mine.config.party, dataset, wrong)


def _named(**ids: str | int) -> AbstractContextManager[None]:
    """Lines of this task name what it is about; the task's id is that of its requests to the portal."""
    return logs.bound(request=logs.request_id(current_task.request.id or ""), **ids)


@contextmanager
def party() -> Iterator[Party]:
    """This process's party, opened for one task."""
    mine = config.load()
    own = keys.load(mine.folder)
    lists = Lists(mine)
    try:
        with Portal(mine, own) as portal:
            yield Party(
                config=mine,
                keys=own,
                store=Store(mine.store, own.store, mine.party),
                ledger=Ledger(mine.database),
                portal=portal,
                connect=lists.connect,
                cancelled=lists.cancelled,
                summon=summon,
            )
    finally:
        lists.close()


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None
