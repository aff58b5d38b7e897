"""The only module that talks to Celery and Redis: orders leave here, by task name, one queue a party.

A message carries ids and nothing else: it is a hint, the signed order is the authority. Broker trouble is
told to the caller as `BrokerDown`; whatever was not sent is sent again from the rows.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Protocol

from celery import Celery
from django.conf import settings
from kombu.exceptions import KombuError
from redis import Redis
from redis.exceptions import RedisError

from portal.registry.models import PARTIES

QUEUE = "jobs"
CANCEL_SECONDS = 60
WAKE, WAKE_SECONDS = "dispatch:wake", 5


class BrokerDown(Exception):
    """Redis does not answer now."""

    code = "broker_down"


class Sender(Protocol):
    """What the dispatcher needs of the outside; the tests have one that only records."""

    def run(self, query: str, attempt: int, missing: int | None = None) -> None: ...

    def ingest(self, dataset: str, party: int) -> None: ...

    def provision(self, dataset: str, party: int) -> None: ...

    def cancel(self, query: str, attempt: int) -> None: ...


class CelerySender:
    """Sends through Celery to each party's own key prefix."""

    def run(self, query: str, attempt: int, missing: int | None = None) -> None:
        """Tell all parties, but one that is missing, to run an attempt. Raises BrokerDown."""
        for party in (p for p in range(PARTIES) if p != missing):
            _send(
                party,
                "workers.run",
                {"query": query, "attempt": attempt},
                expires=settings.FOURFOLD_ATTEMPT_TIMEOUT,
            )

    def ingest(self, dataset: str, party: int) -> None:
        """Tell a party to open its bundle. Raises BrokerDown."""
        _send(party, "workers.ingest", {"dataset": dataset})

    def provision(self, dataset: str, party: int) -> None:
        """Tell a party to hand the new party of a dataset its share. Raises BrokerDown."""
        _send(party, "workers.provision", {"dataset": dataset})

    def cancel(self, query: str, attempt: int) -> None:
        """Call off the attempt and those before it: waiting parties look for this key. Raises BrokerDown."""
        try:
            _redis(settings.REDIS_URL).set(f"cancel:{query}", str(attempt), ex=CANCEL_SECONDS)
        except RedisError as wrong:
            raise BrokerDown(type(wrong).__name__) from None


def broker_answers() -> bool:
    """Whether Redis answers within a second."""
    try:
        return bool(_redis(settings.REDIS_URL).ping())
    except (RedisError, OSError, ValueError):
        return False


def wake() -> None:
    """Tell the dispatcher to look now. It looks by itself before long: whether it hears this changes no outcome."""
    with suppress(RedisError, OSError, ValueError):
        pipeline = _redis(settings.REDIS_URL).pipeline()
        pipeline.lpush(WAKE, "1")
        pipeline.expire(WAKE, WAKE_SECONDS)
        pipeline.execute()


def rest(seconds: float, sleep: Callable[[float], object]) -> None:
    """Return after `seconds`, or as soon as somebody called `wake`; `sleep` is how to wait without a broker."""
    client = _redis(settings.REDIS_URL, patience=seconds + 2)
    try:
        if client.blpop([WAKE], timeout=seconds) is not None:
            client.delete(WAKE)
    except (RedisError, OSError, ValueError):
        sleep(seconds)


def queue_lengths() -> dict[int, int] | None:
    """How many messages each party has not taken yet; None if Redis does not answer within a second."""
    client = _redis(settings.REDIS_URL)
    try:
        return {party: int(client.llen(f"p{party}:{QUEUE}")) for party in range(PARTIES)}
    except (RedisError, OSError, ValueError):
        return None


def _send(party: int, task: str, payload: dict[str, Any], **options: Any) -> None:
    try:
        _app(party, settings.REDIS_URL).send_task(
            task, kwargs=payload, queue=QUEUE, ignore_result=True, retry=False, **options
        )
    except (KombuError, RedisError, OSError) as wrong:
        raise BrokerDown(type(wrong).__name__) from None


@lru_cache(maxsize=16)
def _app(party: int, url: str) -> Celery:
    app = Celery(f"portal-p{party}", broker=url, backend=None, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=QUEUE,
        task_ignore_result=True,
        worker_send_task_events=False,
        broker_connection_timeout=2,
        broker_transport_options={
            "global_keyprefix": f"p{party}:",
            "visibility_timeout": 3600,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
        },
    )
    return app


@lru_cache(maxsize=8)
def _redis(url: str, patience: float = 1) -> Redis:
    return Redis.from_url(url, socket_timeout=patience, socket_connect_timeout=1, retry=None)
