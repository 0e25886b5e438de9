"""Many conversations at once, large states on an event loop, and the size of the cache."""

from __future__ import annotations

import asyncio
import gc
import resource
import statistics
import threading
import time
import tracemalloc
from array import array
from collections.abc import Coroutine
from typing import Any

import pytest
import redis
import redis.asyncio
from langchain_core.messages import AIMessage

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.client.long_steps import executor
from langgraph_redis_json.storage.cache import (
    MOST_BYTES,
    Cache,
    CachedCheckpoint,
    Slice,
    StoredChannel,
)
from langgraph_redis_json.storage.json_codec import Dumped
from tests.support.checkpoints import checkpoint, config, put
from tests.support.clients import Client, MakeSaver, Saver
from tests.support.record import LONG, times, tried
from tests.support.waiting import wait_until

MEGABYTE = 2**20


# ---- 200 conversations at once


async def converse(
    saver: AsyncRedisSaver, thread: str, first: int, end: float, took: array[float]
) -> int:
    """Steps of a conversation, as a graph makes them, until the time `end`."""
    step = first
    messages: list[dict[str, Any]] = []
    while time.monotonic() < end or step < first + 2:
        begun = time.perf_counter()
        # A conversation keeps its last 40 messages, so that memory can stay flat.
        messages = [*messages[-39:], {"id": f"{thread}-{step}", "text": "x" * 300}]
        values = {"messages": messages, "step": step}
        made = checkpoint(f"{step:08}", values, {"messages": f"{step}", "step": f"{step}"})
        stored = await saver.aput(
            config(thread), made, {"source": "loop", "step": step}, made["channel_versions"]
        )
        await saver.aput_writes(stored, [("messages", messages[-1])], "task")
        found = await saver.aget_tuple(config(thread))
        took.append((time.perf_counter() - begun) / 3)
        assert found is not None
        assert found.checkpoint["channel_values"] == values
        step += 1
        if step % 20 == 0:
            await saver.aprune([thread])
    return step - first


async def test_two_hundred_conversations_share_one_saver(redis_url: str, key_prefix: str) -> None:
    seconds = times(2, 60)
    pool = redis.asyncio.BlockingConnectionPool.from_url(redis_url, max_connections=50, timeout=60)
    admin = redis.Redis.from_url(redis_url)
    took = array("d")
    heaps = []
    async with AsyncRedisSaver(pool, key_prefix=key_prefix) as saver:
        await saver.setup()
        before = len(admin.client_list())
        if LONG:
            tracemalloc.start()
        for half in range(2):  # the second half must need no more than the first
            end = time.monotonic() + seconds / 2
            steps = await asyncio.gather(
                *(converse(saver, f"thread-{n}", half * 1_000_000, end, took) for n in range(200))
            )
            assert min(steps) >= 2
            gc.collect()
            if LONG:
                heaps.append(tracemalloc.get_traced_memory()[0] / MEGABYTE)
        open_connections = len(admin.client_list()) - before
        assert open_connections <= 50
        await pool.disconnect()
        wait_until(lambda: len(admin.client_list()) <= before)
    admin.close()
    if LONG:
        tracemalloc.stop()
        assert heaps[1] < heaps[0] * 1.2 + 1
        cut = statistics.quantiles(took, n=100)
        tried(
            f"200 concurrent conversations on one `AsyncRedisSaver`, {seconds} s, 50 connections",
            3 * len(took),
            checked=len(took),
            lost=0,
            torn=0,
            note=f"{3 * len(took) / seconds:.0f} calls/s, under `tracemalloc`; a call took "
            f"{cut[49] * 1000:.0f} ms in the median and {cut[98] * 1000:.0f} ms at p99; "
            f"{open_connections} connections, none left; Python heap {heaps[0]:.1f} MB at half "
            f"time, {heaps[1]:.1f} MB at the end",
        )


# ---- an event loop beside large states

STATES: dict[str, Any] = {
    "1,000 messages": [AIMessage(content="x" * 900, id=f"{n}") for n in range(1000)],
    "a text": "é " * 350_000,
    "a tree of 100,000 values": {f"{n}": {"a": n, "b": [n, "c"]} for n in range(20_000)},
}


@pytest.fixture
def offloaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that ran steps of plans."""
    seen: list[str] = []
    submit = executor().submit

    def record(step: Any, *arguments: Any) -> Any:
        def recorded() -> Any:
            seen.append(threading.current_thread().name)
            return step(*arguments)

        return submit(recorded)

    monkeypatch.setattr(executor(), "submit", record)
    return seen


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
async def test_large_states_are_not_encoded_on_the_event_loop(
    state: Any, redis_url: str, key_prefix: str, offloaded: list[str]
) -> None:
    async with AsyncRedisSaver.from_conn_string(redis_url, key_prefix=key_prefix) as saver:
        await saver.setup()
        await saver.aput(config(), checkpoint("0", {"small": ["y"] * 20}), {}, {"small": 1})
        await saver.aget_tuple(config())
        assert offloaded == []  # small values are decoded on the event loop
        made = checkpoint("1", {"state": state})
        stored = await saver.aput(config(), made, {"step": 1}, {"state": 1})
        assert len(offloaded) == 1
        await saver.aput_writes(stored, [("state", state)], "task")
        assert len(offloaded) == 2
        found = await saver.aget_tuple(config())
        assert len(offloaded) == 3
        assert found is not None
        assert found.checkpoint["channel_values"] == {"state": state}
        listed = [found async for found in saver.alist(config())]
        assert [found.checkpoint["id"] for found in listed] == ["1", "0"]
        assert len(offloaded) > 3
    assert all(name.startswith("langgraph-redis-json") for name in offloaded)


@pytest.mark.skipif(not LONG, reason="measures time: make test-faults")
async def test_the_event_loop_stays_responsive_beside_large_states(
    redis_url: str, key_prefix: str
) -> None:
    late: list[float] = []

    async def beat() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - begun - 0.001)

    async def lateness(work: Coroutine[Any, Any, Any]) -> float:
        """The longest delay of the event loop during some work, in milliseconds."""
        late.clear()
        beating = asyncio.create_task(beat())
        await asyncio.sleep(0.005)
        await work
        beating.cancel()
        return max(late) * 1000

    async def serialize(state: Any) -> None:
        """The serializer's work, which every saver needs, in a thread."""
        dumped = await asyncio.to_thread(saver.serde.dumps_typed, state)
        for _ in range(2):  # get_tuple has it twice: as a channel and as a pending write
            await asyncio.to_thread(saver.serde.loads_typed, dumped)

    async def step(name: str, number: int, state: Any) -> None:
        made = checkpoint(f"{number}", {"state": state}, {"state": number})
        stored = await saver.aput(config(name), made, {"step": 1}, {"state": number})
        await saver.aput_writes(stored, [("state", state)], "task")
        await saver.aget_tuple(config(name))

    # A full garbage collection stops all threads.
    gc.collect()
    gc.disable()
    notes = []
    async with AsyncRedisSaver.from_conn_string(redis_url, key_prefix=key_prefix) as saver:
        await saver.setup()
        for name, state in STATES.items():
            worst, least = [], []
            for number in range(10):
                worst.append(await lateness(step(name, number, state)))
                least.append(await lateness(serialize(state)))
            notes.append(
                f"{name}: {statistics.median(worst):.0f} ms ({max(worst):.0f} ms), beside the "
                f"serializer alone {statistics.median(least):.0f} ms ({max(least):.0f} ms)"
            )
    gc.enable()
    tried(
        "States of about 1 MB on an event loop: how late it was at worst, median of 10 rounds (and "
        "the worst of all), without pauses of Python's garbage collector; and beside LangGraph's "
        "serializer in a thread, without a saver",
        10 * len(STATES),
        note="; ".join(notes),
    )


# ---- the cache of a saver


def cached(channels: int, text: int, items: int, size: int) -> CachedCheckpoint:
    found = {}
    for number in range(channels):
        log = f"l::{number}:{'x' * 16}"
        found[f"channel-{number}"] = StoredChannel(
            f"{number:032}.{number:016}",
            b"x" * text + b"%d" % number,
            slices=[Slice(log, 0, items)] if items else (),
            item_hashes=array("q", bytes(8 * items)),
            log_lengths={log: items} if items else {},
            dumped=Dumped("msgpack", bytes(size)) if size else None,
            items_size=size,
        )
    return CachedCheckpoint("c::1", found)


@pytest.mark.parametrize(
    ("threads", "channels", "text", "items", "size"),
    [
        (4_000, 20, 300, 0, 0),
        (80, 1000, 500, 0, 0),
        (100, 1000, 30, 0, 0),
        (200, 10, 100, 5_000, 0),
        (3_000, 2, 100, 100, 40_000),
    ],
    ids=["many threads", "many channels", "many small channels", "long lists", "large lists"],
)
def test_the_cache_is_bounded(
    threads: int, channels: int, text: int, items: int, size: int
) -> None:
    cache = Cache()
    tracemalloc.start()
    for number in range(threads):
        cache.put(f"contents:{{{number}}}", "", cached(channels, text, items, size))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < MOST_BYTES * 1.25 < 50_000_000
    last = cache.get(f"contents:{{{threads - 1}}}", "", "c::1")
    assert len(last.channels) == channels
    assert len(last.held) == (channels if size else 0)


@pytest.mark.skipif(not LONG, reason="takes minutes: make test-faults")
def test_a_hundred_thousand_threads_fit_the_cache(make_saver: MakeSaver) -> None:
    saver: Saver = make_saver(Client(RedisSaver, 3, False))
    messages = [{"id": f"{n}", "text": "x" * 300} for n in range(10)]
    tracemalloc.start()
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(100_000):
        put(saver, "1", {"messages": messages, "user": f"{number}"}, thread_id=f"{number}")
        if number >= 5_000:  # room for the next ones on the server
            saver.delete_thread(f"{number - 5_000}")
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun) / 1024
    assert taken < 50_000_000
    tried(
        "100,000 threads through one saver",
        100_000,
        note=f"the cache took {taken / MEGABYTE:.1f} MB; the process grew by {grown:.0f} MB",
    )
