"""Checks of what the party depends on: Redis and its rules, its queue, the portal, its peers' code, the clocks."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import redis
from kombu.connection import Connection
from kombu.exceptions import KombuError
from redis.exceptions import NoPermissionError

from mpcnode.errors import MpcError
from mpcnode.transport.redis import key, require_noeviction
from workers.alarm import others
from workers.doctor import Case, Problem, Skipped
from workers.health import latency
from workers.version import code_version

SKEW = 30  # seconds; orders forgive 60
SLOW = 100_000  # microseconds of one PING
NAME = "doctor"  # of lists that no session ever has: what is tried on them leaves nothing
RULES = "give each party a Redis user of its own with the rules of docs/operations.md"


def reachable(case: Case) -> str:
    url = case.config.redis_url
    client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=None)
    try:
        client.ping()
    except redis.AuthenticationError as wrong:
        raise Problem(
            f"Redis refuses this party's user: {wrong}", "set user and password in REDIS_URL"
        ) from None
    except (redis.RedisError, OSError, ValueError) as wrong:
        raise Problem(
            f"Redis does not answer: {type(wrong).__name__}",
            "is REDIS_URL right, is the server up, is its port open?",
        ) from None
    finally:
        client.close()
    took = latency(case.redis)
    if took is None:
        raise Skipped("Redis stopped answering")
    if took > SLOW:
        raise Problem(
            f"a PING takes {took} microseconds",
            "every round of a query waits for several: bring Redis nearer",
        )
    return f"answers in {took} microseconds"


def rules(case: Case) -> str:
    """What this party's user may and may not do. Everything is tried on lists that do not exist."""
    client, me = case.redis, case.config.party
    peers = others(case.config)
    first, second = peers[0], peers[1]
    needed = [
        ("serve its own queue", ("LLEN", f"p{me}:jobs")),
        ("read its inbox", ("LRANGE", key(first, me, NAME), 0, 0)),
        ("write its outbox", ("EXPIRE", key(me, first, NAME), 1)),
        ("see what is cancelled", ("GET", f"cancel:{NAME}")),
    ]
    forbidden = [
        ("read another party's queue", ("LLEN", f"p{first}:jobs")),
        ("forge a message between two others", ("EXPIRE", key(first, second, NAME), 1)),
        ("read a message between two others", ("LRANGE", key(first, second, NAME), 0, 0)),
        ("read back its own outbox", ("LRANGE", key(me, first, NAME), 0, 0)),
        ("cancel queries", ("EXPIRE", f"cancel:{NAME}", 1)),
        ("list all keys", ("KEYS", f"{NAME}:*")),
        ("read the server's settings", ("CONFIG", "GET", "maxmemory")),
    ]
    missing = [what for what, command in needed if not _allowed(client, command)]
    if missing:
        raise Problem(f"this party's user may not {', '.join(missing)}", RULES)
    open_ = [what for what, command in forbidden if _allowed(client, command)]
    if open_:
        raise Problem(f"this party's user may {', '.join(open_)}", RULES)
    return f"{len(needed)} things are allowed, {len(forbidden)} refused, as they must be"


def _allowed(client: redis.Redis, command: tuple[str | int, ...]) -> bool:
    try:
        client.execute_command(*command)  # type: ignore[no-untyped-call]
    except NoPermissionError:
        return False
    except redis.RedisError as wrong:
        raise Skipped(f"Redis stopped answering: {type(wrong).__name__}") from None
    return True


def memory(case: Case) -> str:
    """A server that evicts loses protocol messages."""
    try:
        require_noeviction(case.redis)
        info = case.redis.info("memory")
    except MpcError as wrong:
        raise Problem(str(wrong), "set maxmemory-policy noeviction") from None
    except redis.RedisError as wrong:
        raise Skipped(f"Redis does not say: {type(wrong).__name__}") from None
    return f"policy {info.get('maxmemory_policy')}, {info.get('used_memory_human')} in use"


def redis_clock(case: Case) -> str:
    try:
        theirs = int(case.redis.time()[0])
    except redis.RedisError as wrong:
        raise Skipped(f"Redis does not say: {type(wrong).__name__}") from None
    return _skew(theirs, "Redis")


def queue(case: Case) -> str:
    """The party's Celery queues, asked the way Celery asks; that of its helpers only where it has some."""
    me = case.config.party
    names = ["jobs", "helpers"] if case.config.drivers > 1 else ["jobs"]
    options = {"global_keyprefix": f"p{me}:", "socket_timeout": 2, "socket_connect_timeout": 2}
    said = []
    try:
        with _broker(case, options) as broker:
            for name in names:
                waiting = broker.default_channel.queue_declare(queue=name).message_count
                said.append(f"p{me}:{name}, {waiting} tasks wait")
    except (KombuError, redis.RedisError, OSError) as wrong:
        raise Problem(f"the queues of p{me} cannot be used: {type(wrong).__name__}", RULES) from None
    return "; ".join(said)


def _broker(case: Case, options: dict[str, Any]) -> Any:
    """A connection of Celery's kind; not before Redis itself answered: kombu would wait long. Raises Skipped."""
    case.redis  # noqa: B018
    return Connection(case.config.redis_url, transport_options=options)  # type: ignore[no-untyped-call]


def portal(case: Case) -> str:
    """The portal answers, and is the one whose key is pinned."""
    try:
        sign = case.answer.json()["portal"]["sign"]
    except (ValueError, KeyError, TypeError):
        raise Problem("what answers there is no Fourfold portal", "set portal_url in party.json") from None
    if sign != case.config.portal_sign:
        raise Problem(
            f"the portal shows the key {sign[:16]}..., pinned is {case.config.portal_sign[:16]}...",
            "ask the portal's operator by telephone: no order of another key is accepted",
        )
    return f"{case.config.portal_url} has the pinned key; it calls this party {case.mine['state']}"


def portal_clock(case: Case) -> str:
    try:
        theirs = int(parsedate_to_datetime(case.answer.headers["Date"]).timestamp())
    except Problem:
        raise Skipped("needs the portal") from None
    except (KeyError, ValueError):
        raise Skipped("the portal does not say what time it is") from None
    return _skew(theirs, "the portal")


def code(case: Case) -> str:
    """Peers that are heard run the same code; and so does this party's own process."""
    own, me = code_version(), case.config.party
    heard = {p["party"]: p["code_version"] for p in case.parties if p["state"] in ("ok", "degraded")}
    if heard.get(me, own) != own:
        raise Problem(
            f"the running party has {heard[me]}, on disk is {own}",
            "restart the party: it runs what it loaded",
        )
    other = [f"party {party} runs {version}" for party, version in heard.items() if version != own]
    if other:
        raise Problem(
            f"here is {own}; {', '.join(other)}",
            "upgrade as docs/operations.md says: no session starts between them",
        )
    return f"{own}, as {len(heard)} parties that are heard"


def _skew(theirs: int, whose: str) -> str:
    skew = int(time.time()) - theirs
    if abs(skew) > SKEW:
        ahead = "ahead of" if skew > 0 else "behind"
        raise Problem(f"this clock is {abs(skew)} s {ahead} that of {whose}", "run NTP on both machines")
    return f"{abs(skew)} s from that of {whose}"
