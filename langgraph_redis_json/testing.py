"""pytest fixtures for the tests of an application: a real Redis, and savers on it.

    # conftest.py
    pytest_plugins = ["langgraph_redis_json.testing"]

Each test gets savers with a key_prefix of its own, whose keys and indexes are deleted afterwards.
So tests do not see each other's threads, also where they share a server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from uuid import uuid4

import pytest
from redis import Redis

from langgraph_redis_json.aio import AsyncRedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from langgraph_redis_json.saver import RedisSaver

__all__ = [
    "async_redis_saver",
    "redis_saver",
    "redis_saver_key_prefix",
    "redis_saver_url",
]


@pytest.fixture(scope="session")
def redis_saver_url() -> Iterator[str]:
    """The URL of a Redis for all tests: the one that REDIS_URL names, else that of an
    `EmbeddedRedis`, which starts with the first test that needs it."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    with EmbeddedRedis() as server:
        yield server.url


@pytest.fixture
def redis_saver_key_prefix(redis_saver_url: str) -> Iterator[str]:
    """A key_prefix that only this test uses, for savers that the application makes itself. What is
    stored under it is deleted after the test."""
    prefix = f"test-{uuid4().hex}:"
    yield prefix
    with Redis.from_url(redis_saver_url, decode_responses=True) as client:
        for index in client.execute_command("FT._LIST"):
            if index.startswith(prefix):
                client.execute_command("FT.DROPINDEX", index)
        keys = [*client.scan_iter(f"{prefix}*", count=1_000)]
        for first in range(0, len(keys), 1_000):
            client.unlink(*keys[first : first + 1_000])


@pytest.fixture
def redis_saver(redis_saver_url: str, redis_saver_key_prefix: str) -> Iterator[RedisSaver]:
    """A `RedisSaver` that is set up, without threads."""
    with RedisSaver(redis_saver_url, key_prefix=redis_saver_key_prefix) as saver:
        saver.setup()
        yield saver


@pytest.fixture
def async_redis_saver(redis_saver: RedisSaver, redis_saver_url: str) -> AsyncRedisSaver:
    """An `AsyncRedisSaver` on the threads of `redis_saver`. Use it in ``async with`` in the test,
    so that its connections are closed on the event loop of the test."""
    return AsyncRedisSaver(redis_saver_url, key_prefix=redis_saver.key_prefix)
