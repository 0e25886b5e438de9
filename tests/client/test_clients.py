"""Clients that are shared, and calls from many threads and event loops."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack
from copy import copy
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio
from redis.cache import CacheConfig

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.client.async_runner import AsyncRunner
from langgraph_redis_json.client.clients import SearchNode
from langgraph_redis_json.client.plan import Command, Replies
from langgraph_redis_json.operations import delete_thread as delete_thread_operation
from langgraph_redis_json.operations.delete_thread import CHUNK
from langgraph_redis_json.storage.cache import LARGE
from tests.support.checkpoints import BIG, config, get_tuple, ids, put
from tests.support.clients import ACL_USER, Client, MakeSaver
from tests.support.plans import execute


def test_a_client_may_parse_json_replies(redis_url: str, key_prefix: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.json()  # from now on the client parses replies to JSON.GET
        with RedisSaver(client, key_prefix=key_prefix) as saver:
            saver.setup()
            values = {"large": "x" * 2 * LARGE, "blob": BIG}
            put(saver, "1", values)
            saver.get_tuple(config())
            assert get_tuple(saver, config()).checkpoint["channel_values"] == values
            assert [found.thread_id for found in saver.threads()] == ["thread"]
            saver.copy_thread("thread", "copy")
            saver.prune(["thread"])
            assert ids(saver.list(config("copy"))) == ["1"]
        assert client.json().get(f"{key_prefix}not there") is None


@pytest.mark.parametrize("kind", [RedisSaver, AsyncRedisSaver])
def test_many_threads_call_without_a_running_event_loop(
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
        assert list(threads.map(work, range(40), timeout=300)) == list(range(40))


@pytest.mark.parametrize("way", ["URL", "host and port"])
def test_one_saver_serves_hundreds_of_calls_at_once(
    redis_url: str, key_prefix: str, make_saver: MakeSaver, way: str
) -> None:
    make_saver(Client(RedisSaver, 3, False))  # makes the indexes
    count = 300

    async def main() -> None:
        if way == "URL":
            made = AsyncRedisSaver.from_conn_string(redis_url, key_prefix=key_prefix)
        else:
            where = urlsplit(redis_url)
            login: dict[str, Any] = {"username": where.username, "password": where.password}
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


async def write_at_once(savers: Sequence[AsyncRedisSaver]) -> None:
    calls = [
        saver.aput_writes(config(f"{number}", "", "1"), [("channel", number)], "task")
        for number in range(8)
        for saver in savers
    ]
    await asyncio.gather(*calls)


def make_client(redis_url: str, pool: str) -> Any:
    if pool == "of a URL":
        return redis_url
    blocking = redis.asyncio.BlockingConnectionPool.from_url(redis_url, max_connections=3)
    return redis.asyncio.Redis.from_pool(blocking)


@pytest.mark.parametrize("pool", ["of a URL", "blocking"])
def test_clones_work_on_one_event_loop_after_another(
    redis_url: str, key_prefix: str, make_saver: MakeSaver, pool: str
) -> None:
    make_saver(Client(RedisSaver, 3, False))
    for _ in range(5):
        saver = AsyncRedisSaver(make_client(redis_url, pool), key_prefix=key_prefix)
        asyncio.run(write_at_once([saver]))
        clones = [copy(saver) for _ in range(8)]  # as with_allowlist makes them
        asyncio.run(write_at_once(clones))


def test_a_clone_can_be_called_from_a_thread(
    redis_url: str, key_prefix: str, make_saver: MakeSaver
) -> None:
    make_saver(Client(RedisSaver, 3, False))
    saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)
    clone = copy(saver)
    put(saver, "1")

    def read() -> list[Any]:
        return [clone.get_tuple(config()) for _ in range(50)]

    async def main() -> list[Any]:
        await write_at_once([saver])
        reading = asyncio.gather(*[asyncio.to_thread(read) for _ in range(4)])
        while not reading.done():
            await write_at_once([saver])
        return [found for part in await reading for found in part]

    assert all(asyncio.run(asyncio.wait_for(main(), 300)))


@pytest.mark.parametrize("pool", ["of a URL", "blocking"])
def test_event_loops_may_take_turns(
    redis_url: str, key_prefix: str, make_saver: MakeSaver, pool: str
) -> None:
    make_saver(Client(RedisSaver, 3, False))
    saver = AsyncRedisSaver(make_client(redis_url, pool), key_prefix=key_prefix)
    with ExitStack() as stack:
        loops = [asyncio.new_event_loop() for _ in range(2)]
        for loop in loops:
            stack.callback(loop.close)
        for number in range(3):
            for loop in loops:
                loop.run_until_complete(write_at_once([saver]))
                put(saver, f"{number}")
                assert ids(saver.list(config()))[0] == f"{number}"
        for loop in loops:
            loop.run_until_complete(saver.aget_tuple(config()))
            loop.run_until_complete(saver._runner._clients.disconnect())


class Held(AsyncRunner):
    """Holds the first call from a thread until the event loop has called."""

    def __init__(self, client: Any, *, owned: bool) -> None:
        super().__init__(client, owned=owned)
        self.begun, self.written = threading.Event(), threading.Event()

    async def execute(
        self, client: Any, commands: Sequence[Command], searches: SearchNode
    ) -> Replies:
        replies = await super().execute(client, commands, searches)
        if threading.current_thread() is not threading.main_thread() and not self.begun.is_set():
            self.begun.set()
            assert await asyncio.to_thread(self.written.wait, 120)
        return replies


def test_an_event_loop_may_begin_while_a_thread_calls(
    redis_url: str, key_prefix: str, make_saver: MakeSaver
) -> None:
    other = make_saver(Client(RedisSaver, 3, False))
    for number in range(100):
        put(other, f"{number:03}", {"channel": BIG})

    async def main(saver: AsyncRedisSaver) -> list[int]:
        saver._runner = held = Held(saver._runner.client, owned=True)

        def read() -> list[int]:
            """The first call begins before the event loop calls, the second one after it."""
            return [len(ids(saver.list(config()))) for _ in range(2)]

        reading = asyncio.create_task(asyncio.to_thread(read))
        assert await asyncio.to_thread(held.begun.wait, 120)
        await write_at_once([saver])
        held.written.set()
        while not reading.done():
            await write_at_once([saver])
        return await reading

    for _ in range(5):
        saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)
        assert asyncio.run(asyncio.wait_for(main(saver), 300)) == [100, 100]


def test_a_client_may_cache_replies(redis_url: str, key_prefix: str) -> None:
    url = redis_url.replace(ACL_USER, "")  # docs/acl.conf does not let clients do this
    with redis.Redis.from_url(url, protocol=3, cache_config=CacheConfig()) as client:
        saver = RedisSaver(client, key_prefix=key_prefix)
        saver.setup()
        for number in range(3):
            put(saver, f"{number}", {"blob": f"{number}{BIG}"})
            assert ids(saver.list(config()))[0] == f"{number}"
            assert get_tuple(saver, config()).checkpoint["id"] == f"{number}"
        assert [found.thread_id for found in saver.threads()] == ["thread"]
        assert ids(saver.list(None, filter={"absent": None})) == ["2", "1", "0"]
        saver.copy_thread("thread", "copy")
        saver.prune(["thread"])
        assert ids(saver.list(config())) == ["2"]
        assert ids(saver.list(config("copy"))) == ["2", "1", "0"]


def test_a_client_may_have_a_single_connection(
    redis_url: str, key_prefix: str, make_saver: MakeSaver
) -> None:
    make_saver(Client(RedisSaver, 3, False))
    with redis.Redis.from_url(redis_url, single_connection_client=True) as client:
        saver = RedisSaver(client, key_prefix=key_prefix)
        put(saver, "1")
        plain = saver._runner._plain
        assert isinstance(plain, redis.Redis)
        assert plain.connection is client.connection  # so that WAIT is about its writes
        del plain
        assert client.connection is not None
        del saver
        gc.collect()
        assert client.connection not in client.connection_pool._available_connections


def test_a_call_raises_when_its_event_loop_ends(
    redis_url: str, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)
    with ThreadPoolExecutor(1) as threads:

        async def work() -> Any:
            await saver.asetup()
            loop, handed_over = asyncio.get_running_loop(), threading.Event()
            hand_over = loop.call_soon_threadsafe

            def note(*arguments: Any, **options: Any) -> Any:
                handle = hand_over(*arguments, **options)
                handed_over.set()
                return handle

            monkeypatch.setattr(loop, "call_soon_threadsafe", note)
            call = threads.submit(saver.get_tuple, config())
            # The loop has the call, but ends before it runs it.
            assert handed_over.wait(120)
            return call

        error = asyncio.run(work()).exception(timeout=120)
    assert isinstance(error, (RuntimeError, CancelledError))


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_call_that_an_event_loop_never_runs_raises(
    redis_url: str, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop stops after the call has seen it run and before the call is handed over."""
    saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)
    loop = asyncio.new_event_loop()
    hand_over = loop.call_soon_threadsafe
    found_running, stopped, handed_over = (threading.Event() for _ in range(3))

    def hand_over_late(*arguments: Any, **options: Any) -> Any:
        found_running.set()
        assert stopped.wait(120)
        handle = hand_over(*arguments, **options)
        handed_over.set()
        return handle

    with ThreadPoolExecutor(1) as threads:

        async def work() -> Any:
            await saver.asetup()
            await saver.aclose()  # its connections, before the loop is closed
            monkeypatch.setattr(loop, "call_soon_threadsafe", hand_over_late)
            call = threads.submit(saver.get_tuple, config())
            assert found_running.wait(120)
            return call

        call = loop.run_until_complete(work())
        stopped.set()
        assert handed_over.wait(120)
        loop.close()
        with pytest.raises(RuntimeError, match="stopped before this call ended"):
            call.result(timeout=120)


@pytest.mark.parametrize("client", [Client(RedisSaver, 3, False)], indirect=True)
def test_a_half_deleted_thread_is_not_listed(make_saver: MakeSaver, client: Client) -> None:
    saver = make_saver(client)
    for number in range(2 * CHUNK):
        saver.put_writes(config(checkpoint_id=f"{number:04}"), [("channel", 1)], "task")
    put(saver, "0001")
    plan = delete_thread_operation.delete_thread(saver._context, "thread")
    execute(saver, next(plan))  # and then the process is killed
    assert list(saver.threads()) == []
    assert list(saver.list(config())) == []
