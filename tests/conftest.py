from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
import redis.asyncio

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.clients import ACL_USER, CLIENTS, Client, MakeSaver, Saver, acl_for


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Redis that all tests share: the one REDIS_URL names, else an embedded one. With
    REDIS_ACL set, savers log in there as the user of docs/acl.conf."""
    if url := os.environ.get("REDIS_URL"):
        yield url
    elif os.environ.get("REDIS_ACL"):
        users = acl_for("test-", tmp_path_factory.mktemp("acl"))
        with EmbeddedRedis(options=["--include", str(users)]) as server:
            yield server.url.replace("redis://", f"redis://{ACL_USER}")
    else:
        with EmbeddedRedis() as server:
            yield server.url


@pytest.fixture(scope="session")
def event_loop_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in another thread than the tests."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A plain client with all permissions, to inspect what the savers store."""
    url = redis_url.replace(ACL_USER, "")
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


@pytest.fixture
def key_prefix(redis_client: redis.Redis) -> Iterator[str]:
    """A key prefix that only this test uses; its keys and indexes are deleted afterwards."""
    prefix = f"test-{uuid4().hex[:12]}:"
    yield prefix
    for index in redis_client.execute_command("FT._LIST"):
        if index.startswith(prefix):
            redis_client.execute_command("FT.DROPINDEX", index)
    for keys in _batches(redis_client, f"{prefix}*"):
        redis_client.unlink(*keys)


def _batches(client: redis.Redis, pattern: str) -> Iterator[list[Any]]:
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, match=pattern, count=1000)
        if keys:
            yield keys
        if cursor == 0:
            return


@pytest.fixture
def make_saver(
    redis_url: str, key_prefix: str, event_loop_thread: asyncio.AbstractEventLoop
) -> Iterator[MakeSaver]:
    """Makes savers on the test's own part of the server. `AsyncRedisSaver` is called as
    `RedisSaver` is, from another thread than its event loop's."""
    closing: list[Callable[[], None]] = []

    def make(client: Client, *, setup: bool = True, **options: Any) -> Saver:
        options = {"key_prefix": key_prefix, **options}
        if client.saver is RedisSaver:
            connection = redis.Redis.from_url(redis_url, **client.options())
            closing.append(connection.close)
            saver = RedisSaver(connection, **options)
            if setup:
                saver.setup()
            return saver

        def on_loop(coroutine: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(coroutine, event_loop_thread).result()

        async def make_there() -> AsyncRedisSaver:
            connection = redis.asyncio.Redis.from_url(redis_url, **client.options())
            closing.append(lambda: on_loop(connection.aclose()))
            saver = AsyncRedisSaver(connection, **options)
            if setup:
                await saver.setup()
            else:
                await saver.aget_tuple({"configurable": {"thread_id": "names the loop"}})
            return saver

        return on_loop(make_there())

    yield make
    for close in closing:
        close()


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    """Each saver with each client configuration."""
    return request.param


@pytest.fixture
def saver(make_saver: MakeSaver, client: Client) -> Saver:
    """Each saver with each client configuration, after setup()."""
    return make_saver(client)
