"""Clients that others use too, and calls from many threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio
from checkpoints import BIG, config, ids, put
from conftest import Client, MakeSaver

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.memory import LARGE


def test_a_client_that_parses_json_itself(redis_url: str, key_prefix: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.json().get("not there")  # from now on the client parses replies to JSON.GET
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
        assert client.json().get("not there") is None


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
