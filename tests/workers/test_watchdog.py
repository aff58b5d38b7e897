"""A worker that takes no orders although some wait ends itself; one that computes, or has nothing to do, does not."""

import threading
from dataclasses import replace

import pytest
import redis

from tests.redis_server import redis_url  # noqa: F401  (a fixture)
from tests.workers.world import World
from workers import watchdog
from workers.watchdog import LOOKS, Watchdog


@pytest.fixture
def dog(tmp_path, redis_url, monkeypatch):  # noqa: F811
    """(queue's key, client, active requests, dog, whether it ended the worker)."""
    config = replace(World(tmp_path).parties[1].config, redis_url=redis_url)
    active, ended = set(), threading.Event()
    monkeypatch.setattr(watchdog.state, "active_requests", active)
    with redis.Redis.from_url(redis_url) as client:
        client.delete("p1:jobs")
        yield client, active, Watchdog(config, "jobs", every=0.02, end=ended.set), ended
        client.delete("p1:jobs")


def watched(dog, seconds):
    dog.start()
    dog.join(seconds)
    dog.stop()
    dog.join()


def test_orders_that_wait_while_nothing_runs_end_the_worker(dog):
    client, _, thread, ended = dog
    client.rpush("p1:jobs", "an order")
    watched(thread, 30)
    assert ended.is_set()


@pytest.mark.parametrize("waiting", [True, False])
def test_a_worker_that_computes_or_has_nothing_to_do_stays(dog, waiting):
    client, active, thread, ended = dog
    if waiting:
        client.rpush("p1:jobs", "an order")
        active.add("one")
    watched(thread, 0.02 * LOOKS * 4)
    assert not ended.is_set()
