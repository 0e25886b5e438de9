"""Tests on a cluster that one has: ``make test-cluster CLUSTER_URL=redis://host:port``.

The embedded server has no search coordinator, so without CLUSTER_URL there is nothing to run.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster
from redis.exceptions import RedisError, ResponseError

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from tests.support.checkpoints import config
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.live_cluster import LiveCluster

URL = os.environ.get("CLUSTER_URL", "")

collect_ignore_glob = [] if URL else ["test_*.py"]


@pytest.fixture(scope="module")
def cluster_client() -> Iterator[RedisCluster]:
    """A plain client with all permissions."""
    with RedisCluster.from_url(URL, decode_responses=True) as client:
        yield client


@pytest.fixture(scope="module")
def live(cluster_client: RedisCluster) -> LiveCluster:
    return LiveCluster(cluster_client)


@pytest.fixture(params=["whole", "fragmented"])
def layout(request: pytest.FixtureRequest, live: LiveCluster) -> Iterator[str]:
    """The slots of each node in one range, as far as they were, or in many."""
    kind: str = request.param
    if kind == "whole":
        yield kind
        return
    with live.fragmented():
        yield kind


@pytest.fixture
def key_prefix(cluster_client: RedisCluster) -> Iterator[str]:
    """A key prefix that only this test uses; its keys and indexes are deleted afterwards."""
    prefix = f"test-{uuid4().hex[:12]}:"
    yield prefix
    # After KILL=1 a part of the cluster is gone.
    with suppress(RedisError) if os.environ.get("KILL") else nullcontext():
        _delete(cluster_client, prefix)


def _delete(client: RedisCluster, prefix: str) -> None:
    """Delete the indexes and keys that begin with a prefix."""
    for node in client.get_primaries():
        for index in client.execute_command("FT._LIST", target_nodes=node):
            if index.startswith(prefix):
                # A node with several ranges of slots drops it once, and then says it is unknown.
                with suppress(ResponseError):
                    client.execute_command("FT.DROPINDEX", index, target_nodes=node)
    pipeline = client.pipeline()
    for key in client.scan_iter(f"{prefix}*", count=1000, target_nodes=RedisCluster.PRIMARIES):
        pipeline.unlink(key)
    pipeline.execute()


@pytest.fixture
def make_saver(
    key_prefix: str, event_loop_thread: asyncio.AbstractEventLoop
) -> Iterator[MakeSaver]:
    """Makes savers on the test's own part of the cluster."""
    with ExitStack() as stack:

        def on_loop(coroutine: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(coroutine, event_loop_thread).result()

        def make(client: Client, *, setup: bool = True, **more: Any) -> Saver:
            options: dict[str, Any] = {"key_prefix": key_prefix, **more}
            if client.saver is RedisSaver:
                of_saver = RedisCluster.from_url(URL, **client.options())
                made = RedisSaver(stack.enter_context(of_saver), **options)
                if setup:
                    made.setup()
                return made

            async def asynchronous() -> AsyncRedisSaver:
                # redis-py would otherwise close connections that are in use when slots move.
                other = AsyncRedisCluster.from_url(URL, reinitialize_steps=0, **client.options())
                saver = AsyncRedisSaver(other, **options)
                await (saver.setup() if setup else saver.aget_tuple(config("names the loop")))
                return saver

            awaited: AsyncRedisSaver = on_loop(asynchronous())
            stack.callback(lambda: on_loop(awaited._runner.client.aclose()))
            return awaited

        yield make


@pytest.fixture
def saver(make_saver: MakeSaver, client: Client) -> Saver:
    return make_saver(client)
