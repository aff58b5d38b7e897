"""The Celery application of one party: its own prefix in Redis, its own queue, JSON only, nothing redelivered.

A message is a hint of {query, attempt} or {dataset}; the broker is trusted with nothing else. Celery does not
repeat a task of a killed process (acks early): the portal makes a new attempt instead, and a party runs an
attempt once (docs/decisions/0005). Settings were tried against killed, frozen and doubled workers.
"""

from __future__ import annotations

import os

# One thread of numpy a party: four parties on one machine would fight for its cores. Before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import logging
import sys
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutting_down

from analytics import logs
from workers import config, exporter
from workers.errors import Misconfigured
from workers.heartbeat import Heartbeat
from workers.version import code_version
from workers.watchdog import Watchdog

SOFT_LIMIT, HARD_LIMIT = 540, 600  # seconds of one task
JOBS, HELPERS = (
    "jobs",
    "helpers",
)  # queues: orders from the portal; blocks of rows from a lead of the same party


def make_app(party: int, redis_url: str) -> Celery:
    """The application of one party; the portal's sender uses the same names."""
    app = Celery("workers", broker=redis_url, backend=None, include=["workers.tasks"])
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_default_queue=JOBS,
        task_ignore_result=True,
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        task_soft_time_limit=SOFT_LIMIT,
        task_time_limit=HARD_LIMIT,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool="prefork",
        worker_max_tasks_per_child=200,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "global_keyprefix": f"p{party}:",
            "visibility_timeout": 3600,  # above every limit of a task
            "socket_timeout": 20,
        },
    )
    return app


def _app() -> Celery:
    try:
        mine = config.load()
        lines(mine.party)
    except (Misconfigured, ValueError) as wrong:
        sys.exit(f"this party cannot start: {wrong}")
    code_version()  # of the program as it was loaded; children of the pool inherit it
    return make_app(mine.party, mine.redis_url)


def lines(party: int) -> None:
    """All loggers of this process write one line an event. Raises ValueError if LOG_FORMAT is none."""
    logs.identify(role="party", party=party)
    handler = logging.StreamHandler()
    handler.setFormatter(logs.formatter(os.environ.get("LOG_FORMAT", "text")))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)
    for chatty in ("httpx", "httpcore", "kombu", "amqp"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _set_up(**_: Any) -> None:
    """Celery sets up loggers of its own unless somebody answers when it asks; `lines` did already."""


_beat: Heartbeat | None = None
_dog: Watchdog | None = None


def _start(sender: Any, **_: Any) -> None:
    """In the main process of the worker that takes orders; children of the pool, and helpers, have no heartbeat."""
    global _beat, _dog
    if JOBS not in sender.app.amqp.queues.consume_from:
        return
    mine = config.load()
    exporter.serve(mine)
    _beat = Heartbeat(mine)
    _beat.start()
    _dog = Watchdog(mine, JOBS)
    _dog.start()
    os.register_at_fork(after_in_parent=_replaced)


def _replaced() -> None:
    """A new child takes the place of one that was killed or out of time: its attempt is closed at once.

    Celery itself says that a task was lost some five to fifteen seconds later.
    """
    if _beat is not None:
        _beat.soon()


def _stop(**_: Any) -> None:
    if _beat is not None:
        _beat.stop()
    if _dog is not None:
        _dog.stop()


setup_logging.connect(_set_up)
worker_ready.connect(_start)
worker_shutting_down.connect(_stop)
app = _app()
