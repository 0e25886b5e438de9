"""Event loops and threads: several loops at once, loops that stop, and executors that are full."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import redis.asyncio
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.client.long_steps import LONG
from tests.support.checkpoints import checkpoint, config, get_tuple, ids, put
from tests.support.clients import Client, MakeSaver

LARGE = {"text": "é" * 10 * LONG, "list": [{"n": n, "text": "x" * 500} for n in range(1_000)]}
"""Channel values that take long to encode and to decode."""

SECONDS = 120
"""The bound of a call that would never end if it failed."""


# ---- several loops


@pytest.mark.parametrize("given", ["URL", "client"])
def test_several_event_loops_at_once(
    redis_url: str, key_prefix: str, make_saver: MakeSaver, given: str
) -> None:
    make_saver(Client(RedisSaver, 3, False))  # makes the indexes
    client: Any = redis_url if given == "URL" else redis.asyncio.Redis.from_url(redis_url)
    saver = AsyncRedisSaver(client, key_prefix=key_prefix)
    together = threading.Barrier(4)

    async def work(thread_id: str, number: int) -> None:
        for step in range(number, number + 3):
            made = checkpoint(f"{step:03}", {"value": [thread_id, step]})
            stored = await saver.aput(
                config(thread_id), made, {"step": step}, made["channel_versions"]
            )
            await saver.aput_writes(stored, [("value", step)], "task")
            found = await saver.aget_tuple(config(thread_id))
            assert found is not None
            assert found.checkpoint["channel_values"] == {"value": [thread_id, step]}
            assert found.pending_writes == [("task", "value", step)]

    async def rounds(name: int, number: int) -> None:
        # Several calls at a time, so that each loop has several connections.
        await asyncio.gather(*(work(f"{name}-{each}", number) for each in range(5)))
        listed = [one.checkpoint["id"] async for one in saver.alist(config(f"{name}-0"))]
        assert listed == [f"{step:03}" for step in reversed(range(number + 3))]

    def run(name: int) -> None:
        for number in range(0, 15, 3):
            together.wait(SECONDS)
            asyncio.run(asyncio.wait_for(rounds(name, number), SECONDS))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(run, range(4), timeout=4 * SECONDS))
    for name in range(4):
        assert len(ids(saver.list(config(f"{name}-4")))) == 15


def test_loops_and_calls_without_a_loop_at_once(
    redis_url: str, key_prefix: str, make_saver: MakeSaver
) -> None:
    """A call on a thread never waits for the loop of another call, which ends with that."""
    make_saver(Client(RedisSaver, 3, False))
    saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)

    async def awaited(thread_id: str, number: int) -> None:
        made = checkpoint(f"{number:03}", {"value": number})
        await saver.aput(config(thread_id), made, {"step": 1}, made["channel_versions"])

    def run(name: int) -> None:
        for number in range(25):
            thread_id = f"{name}"
            if name % 2:
                asyncio.run(asyncio.wait_for(awaited(thread_id, number), SECONDS))
            else:
                put(saver, f"{number:03}", {"value": number}, thread_id=thread_id)
                found = get_tuple(saver, config(thread_id))
                assert found.checkpoint["channel_values"] == {"value": number}

    with ThreadPoolExecutor(4) as threads:
        # A call that waits for a loop of asyncio.run() may find that this loop has ended: not here,
        # because calls on threads come first.
        list(threads.map(run, (0, 2), timeout=SECONDS))
        list(threads.map(run, (1, 3), timeout=SECONDS))
    assert saver._runner._clients._of_one_call == set()
    for name in range(4):
        assert len(ids(saver.list(config(f"{name}")))) == 25


# ---- a loop that stops


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread; a test may stop it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


@pytest.mark.parametrize("call", ["get_tuple", "list"])
def test_a_call_that_waits_for_a_loop_that_stops(
    redis_url: str,
    key_prefix: str,
    make_saver: MakeSaver,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    """The loop is stopped, but not closed, after it got the call and before it ran it."""
    put(make_saver(Client(RedisSaver, 3, False)), "1")
    saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)
    calls: dict[str, Callable[[], Any]] = {
        "get_tuple": lambda: saver.get_tuple(config()),
        "list": lambda: list(saver.list(config())),
    }
    with running_loop() as loop, ThreadPoolExecutor(1) as threads:
        asyncio.run_coroutine_threadsafe(saver.aget_tuple(config()), loop).result(SECONDS)
        handed_over = threading.Event()
        hand_over = loop.call_soon_threadsafe

        def note(*arguments: Any, **options: Any) -> Any:
            handle = hand_over(*arguments, **options)
            handed_over.set()
            return handle

        stopped: Future[bool] = Future()

        def stop_with_the_call() -> None:
            monkeypatch.setattr(loop, "call_soon_threadsafe", note)
            waiting.append(threads.submit(calls[call]))
            stopped.set_result(handed_over.wait(SECONDS))
            loop.stop()  # the loop ends this round, which the call is not part of

        waiting: list[Future[Any]] = []
        loop.call_soon_threadsafe(stop_with_the_call)
        assert stopped.result(SECONDS)
        [future] = waiting
        with pytest.raises(RuntimeError, match=r"the event loop .* stopped before this call ended"):
            future.result(SECONDS)
        monkeypatch.undo()
        assert not loop.is_closed()
        # Further calls run an event loop of their own.
        assert get_tuple(saver, config()).checkpoint["id"] == "1"
        assert ids(saver.list(config())) == ["1"]
        loop.run_until_complete(end(saver))


async def end(saver: AsyncRedisSaver) -> None:
    """Let the other tasks of the running loop end, then close the saver."""
    await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.wait_for(asyncio.gather(*others), SECONDS)
    await saver.aclose()


# ---- the threads of long steps


class Recording(JsonPlusSerializer):
    """Notes the threads that it works in."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[str] = set()

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        self.threads.add(threading.current_thread().name)
        return super().dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        self.threads.add(threading.current_thread().name)
        return super().loads_typed(data)

    def worked_in_own_threads(self) -> bool:
        found = any(name.startswith("langgraph-redis-json") for name in self.threads)
        self.threads.clear()
        return found


@contextmanager
def full_executor(size: int = 2) -> Iterator[None]:
    """While it lasts, all threads of the running loop's default executor wait."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(size) as threads:
        loop.set_default_executor(threads)
        go_on = threading.Event()
        begun = threading.Barrier(size + 1)

        def block() -> None:
            begun.wait(SECONDS)
            go_on.wait(SECONDS * 4)

        blocked = [threads.submit(block) for _ in range(size)]
        begun.wait(SECONDS)
        try:
            yield
            assert not any(future.done() for future in blocked)
        finally:
            go_on.set()


@pytest.mark.parametrize("kind", [AsyncRedisSaver, RedisSaver])
async def test_long_steps_do_not_use_the_default_executor(
    redis_url: str, key_prefix: str, kind: type[AsyncRedisSaver | RedisSaver]
) -> None:
    serde = Recording()
    saver = kind(redis_url, key_prefix=key_prefix, serde=serde)
    other = kind(redis_url, key_prefix=key_prefix, serde=serde)  # which has nothing in its cache
    await saver.asetup()
    made = checkpoint("1", LARGE)
    with full_executor():
        for step in ("put", "writes", "get", "list"):
            if step == "put":
                call: Any = saver.aput(config(), made, {"step": 1}, made["channel_versions"])
            elif step == "writes":
                call = saver.aput_writes(
                    config(checkpoint_id="1"), [("text", LARGE["text"])], "task"
                )
            elif step == "get":
                call = other.aget_tuple(config())
            else:
                call = anext(other.alist(config()))
            found = await asyncio.wait_for(call, SECONDS)
            assert serde.worked_in_own_threads(), step
            if step in ("get", "list"):
                assert found.checkpoint["channel_values"] == LARGE
                assert found.pending_writes == [("task", "text", LARGE["text"])]
    for one in (saver, other):
        if isinstance(one, AsyncRedisSaver):
            await one.aclose()
        else:
            one.close()


async def test_nodes_that_wait_in_the_default_executor(redis_url: str, key_prefix: str) -> None:
    """LangGraph runs nodes that are not awaited there. They may call the saver, and wait."""
    async with AsyncRedisSaver(redis_url, key_prefix=key_prefix) as saver:
        await saver.setup()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(2) as threads:
            loop.set_default_executor(threads)

            def node(number: int) -> dict[str, Any]:
                thread_id = f"{number}"
                put(saver, "1", LARGE, thread_id=thread_id)
                return get_tuple(saver, config(thread_id)).checkpoint["channel_values"]

            nodes = [loop.run_in_executor(None, node, number) for number in range(6)]
            found = await asyncio.wait_for(asyncio.gather(*nodes), SECONDS)
    assert found == [LARGE] * 6
