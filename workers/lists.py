"""This party's end of Redis: the lists of a named session, and the portal's word that a query is called off.

Opened by the process that uses it, after any fork. Redis sees sealed frames and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import redis

from mpcnode.transport.base import Transport
from mpcnode.transport.redis import RedisTransport, connect
from workers.config import Config


class Lists:
    """One client of one process; connections are made when they are used."""

    def __init__(self, config: Config) -> None:
        self._party, self._parties = config.party, [peer.party for peer in config.peers]
        self._client = connect(config.redis_url)

    def connect(self, name: str, cancelled: Callable[[], bool]) -> Transport:
        """This party's end of the lists of that name, those to itself included."""
        return RedisTransport(self._client, self._party, self._parties, name, cancelled=cancelled)

    def cancelled(self, query: str, attempt: int) -> bool:
        """Whether the portal has called this attempt off; False while Redis does not answer."""
        try:
            last = self._client.get(f"cancel:{query}")
            return last is not None and attempt <= int(last)
        except (redis.RedisError, ValueError):
            return False  # the rounds notice a dead Redis by themselves

    def close(self) -> None:
        self._client.close()
