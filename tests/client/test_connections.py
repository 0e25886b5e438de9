"""The connections of a saver that a URL made: bounded, shared and given back."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio

from langgraph_redis_json import AsyncRedisSaver, RedisSaver, UnsuitableServerError
from langgraph_redis_json.client.clients import CONNECTIONS
from tests.support.checkpoints import checkpoint, config
from tests.support.waiting import wait_until

CALLS = 2_000


def connections(client: redis.Redis, name: str) -> int:
    return sum(one["name"] == name for one in client.client_list())


def named(url: str, name: str, more: str = "") -> str:
    return f"{url}?client_name={name}{more}"


@pytest.mark.parametrize(("more", "most"), [("", CONNECTIONS), ("&max_connections=3", 3)])
def test_a_burst_of_coroutines_shares_few_connections(
    redis_url: str, redis_client: redis.Redis, key_prefix: str, more: str, most: int
) -> None:
    async def burst() -> int:
        url = named(redis_url, key_prefix, more)
        async with AsyncRedisSaver(url, key_prefix=key_prefix) as saver:
            made = checkpoint("1", {"value": 1})
            await asyncio.gather(
                *(
                    saver.aput(config(f"{number}"), made, {}, made["channel_versions"])
                    for number in range(CALLS)
                )
            )
            opened = connections(redis_client, key_prefix)
            for number in range(0, CALLS, 100):
                found = await saver.aget_tuple(config(f"{number}"))
                assert found is not None
                assert found.checkpoint["channel_values"] == {"value": 1}
            return opened

    assert 1 <= asyncio.run(burst()) <= most
    # The server notices a moment later that a connection is closed.
    wait_until(lambda: connections(redis_client, key_prefix) == 0, seconds=20)


def test_a_burst_of_threads_shares_few_connections(
    redis_url: str, redis_client: redis.Redis, key_prefix: str
) -> None:
    url = named(redis_url, key_prefix, "&max_connections=4")
    made = checkpoint("1", {"value": 1})
    with RedisSaver(url, key_prefix=key_prefix) as saver, ThreadPoolExecutor(32) as threads:

        def call(number: int) -> Any:
            saver.put(config(f"{number}"), made, {}, made["channel_versions"])
            return saver.get_tuple(config(f"{number}"))

        found = list(threads.map(call, range(400)))
        assert 1 <= connections(redis_client, key_prefix) <= 4
    assert all(one.checkpoint["channel_values"] == {"value": 1} for one in found)
    # The server notices a moment later that a connection is closed.
    wait_until(lambda: connections(redis_client, key_prefix) == 0, seconds=20)


@pytest.mark.parametrize("saver", [RedisSaver, AsyncRedisSaver])
def test_another_database_is_refused_by_the_first_call(redis_url: str, saver: Any) -> None:
    made = checkpoint("1")
    for call in (
        lambda: saver(f"{redis_url}/1").put(config(), made, {}, {}),
        lambda: list(saver(f"{redis_url}/1").list(config())),
        lambda: list(saver(f"{redis_url}/1").threads()),
    ):
        with pytest.raises(UnsuitableServerError, match="database 0"):
            call()


@pytest.mark.parametrize("saver", [RedisSaver, AsyncRedisSaver])
def test_an_encoding_other_than_utf_8_is_refused(redis_url: str, saver: Any) -> None:
    client = redis.asyncio.Redis if saver is AsyncRedisSaver else redis.Redis
    with pytest.raises(ValueError, match="utf-8"):
        saver(client.from_url(redis_url, decode_responses=True, encoding="latin-1"))


@pytest.mark.parametrize("saver", [RedisSaver, AsyncRedisSaver])
@pytest.mark.parametrize("url", ["", " "])
def test_an_empty_url_is_refused(saver: Any, url: str) -> None:
    with pytest.raises(ValueError, match="URL is empty"):
        saver.from_conn_string(url)


@pytest.mark.parametrize("saver", [RedisSaver, AsyncRedisSaver])
def test_a_saver_of_a_url_has_few_connections(redis_url: str, saver: Any) -> None:
    for url, most in ((redis_url, CONNECTIONS), (f"{redis_url}?max_connections=5", 5)):
        assert saver(url)._runner.client.connection_pool.max_connections == most
