"""A worker that takes no orders although some wait, and runs none, ends itself: whoever supervises it starts another.

A Redis that dies twice within seconds, while tasks run, can leave Celery's consumer connected and idle for good. The
heartbeat goes on, so nobody would notice. A thread of the main process, asleep but for one LLEN every five seconds.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable

import redis
from celery.worker import state

from mpcnode.transport.redis import connect
from workers.config import Config

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds
LOOKS = 6  # in a row, before a worker is taken for stuck
LAST = 20.0  # seconds that its shutdown may take


class Watchdog(threading.Thread):
    """Looks until `stop`; `end` is called once if tasks wait and none runs, look after look."""

    def __init__(
        self, config: Config, queue: str, *, every: float = EVERY, end: Callable[[], None] | None = None
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._config, self._queue, self._every = config, f"p{config.party}:{queue}", every
        self._end = end or ended
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        client = connect(self._config.redis_url)
        stuck = 0
        while not self._stopped.wait(self._every):
            try:
                waiting = bool(client.llen(self._queue))
            except redis.RedisError:  # a worker without Redis is no stuck one
                waiting = False
            stuck = stuck + 1 if waiting and not state.active_requests else 0
            if stuck == LOOKS:
                log.error("party %d: orders wait and none is taken: this worker ends", self._config.party)
                self._end()
                return


def ended() -> None:
    """End this process as its supervisor would; at once if it does not hear."""
    last = threading.Timer(LAST, os._exit, (os.EX_TEMPFAIL,))
    last.daemon = True  # a shutdown that ends by itself does not wait for it
    last.start()
    os.kill(os.getpid(), signal.SIGTERM)
