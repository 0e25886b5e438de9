"""Clients that others use too, and calls from many threads."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio
from checkpoints import BIG, config, ids, put
from conftest import Client, MakeSaver

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.memory import LARGE
from langgraph_redis_json.threads import CHUNK


def test_a_client_that_parses_json_itself(redis_url: str, key_prefix: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.json().get(
            f"{key_prefix}:not there"
        )  # from now on the client parses replies to JSON.GET
        with RedisSaver(client, key_prefix=key_prefix) as saver:
            saver.setup()
            values = {"large": "x" * 2 * LARGE, "blob": BIG}
            put(saver, "1", values)
            saver.get_tuple(config())
            assert saver.get_tuple(config()).checkpoint["channel_values"] == values  # type: ignore[union-attr]
            assert [found.thread_id for found in saver.threads()] == ["thread"]
            saver.copy_thread("thread", "copy")
            saver.prune(["thread"])
            assert ids(saver.list(config("copy"))) == ["1"]
        assert client.json().get(f"{key_prefix}:not there") is None


@pytest.mark.parametrize("kind", [RedisSaver, AsyncRedisSaver])
def test_many_threads_call_where_no_loop_runs(
    redis_url: str, key_prefix: str, make_saver: MakeSaver, kind: Any
) -> None:
    make_saver(Client(RedisSaver, 3, False))  # makes the indexes
    saver = kind(redis_url, key_prefix=key_prefix)

    def work(number: int) -> int:
        put(saver, f"{number:03}", {"channel": number})
        saver.put_writes(config(checkpoint_id=f"{number:03}"), [("channel", number)], "task")
        found = saver.get_tuple(config(checkpoint_id=f"{number:03}"))
        assert found is not None
        return int(found.checkpoint["channel_values"]["channel"])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(40), timeout=60)) == list(range(40))


@pytest.mark.parametrize("way", ["URL", "host and port"])
def test_hundreds_of_calls_at_once(
    redis_url: str, key_prefix: str, make_saver: MakeSaver, way: str
) -> None:
    make_saver(Client(RedisSaver, 3, False))  # makes the indexes
    count = 300

    async def main() -> None:
        if way == "URL":
            made = AsyncRedisSaver.from_conn_string(redis_url, key_prefix=key_prefix)
        else:
            where = urlsplit(redis_url)
            login = {"username": where.username, "password": where.password}
            made = AsyncRedisSaver.from_conn_info(
                host=where.hostname or "", port=where.port or 0, key_prefix=key_prefix, **login
            )
        async with made as saver:
            calls = [
                saver.aput_writes(config(f"{number}", "", "1"), [("channel", number)], "task")
                for number in range(count)
            ]
            await asyncio.gather(*calls)

    asyncio.run(main())
    saver = RedisSaver(redis_url, key_prefix=key_prefix)
    saver.prune([f"{number}" for number in range(count)], strategy="delete")


def test_a_call_that_waits_for_a_loop_that_ends(redis_url: str, key_prefix: str) -> None:
    saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)
    with ThreadPoolExecutor(1) as threads:

        async def work() -> Any:
            await saver.asetup()
            call = threads.submit(saver.get_tuple, config())
            # The call is on its way to this loop, which never gets to it.
            time.sleep(0.2)  # noqa: ASYNC251
            return call

        assert isinstance(asyncio.run(work()).exception(timeout=30), (RuntimeError, CancelledError))


@pytest.mark.parametrize("client", [Client(RedisSaver, 3, False)], indirect=True)
def test_a_thread_half_deleted_is_not_listed(make_saver: MakeSaver, client: Client) -> None:
    saver = make_saver(client)
    for number in range(2 * CHUNK):
        saver.put_writes(config(checkpoint_id=f"{number:04}"), [("channel", 1)], "task")
    put(saver, "0001")
    saver._execute(next(saver._plans.delete_thread("thread")))  # and then the process dies
    assert list(saver.threads()) == []
    assert list(saver.list(config())) == []
