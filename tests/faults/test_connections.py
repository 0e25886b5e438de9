"""Connections that are cut during a request or a reply, and cancelled calls."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from langgraph_redis_json import AsyncRedisSaver, RedisSaver
from langgraph_redis_json.embedded import EmbeddedRedis
from tests.support.checkpoints import config, each_saver
from tests.support.clients import Client, Saver
from tests.support.proxy import FaultyProxy, faulty_proxy
from tests.support.record import times, tried
from tests.support.waiting import wait_until
from tests.support.work import LOST, Writer, check_contents, in_threads

RETRIES = pytest.mark.parametrize("retries", [0, 3], ids=["no retries", "3 retries"])


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """An embedded server behind the proxy, also if REDIS_URL is set."""
    with EmbeddedRedis() as server:
        yield server.url


@pytest.fixture
def proxy(redis_url: str) -> Iterator[FaultyProxy]:
    with faulty_proxy(int(redis_url.rpartition(":")[2])) as made:
        yield made


@pytest.fixture
def retries() -> int:
    return 3


@pytest.fixture
def saver(
    client: Client,
    proxy: FaultyProxy,
    retries: int,
    key_prefix: str,
    event_loop_thread: asyncio.AbstractEventLoop,
) -> Iterator[Saver]:
    """Each saver, through the proxy."""
    options: dict[str, Any] = client.options()
    if client.saver is RedisSaver:
        connection = redis.Redis(port=proxy.port, retry=Retry(NoBackoff(), retries), **options)
        made = RedisSaver(connection, key_prefix=key_prefix)
        made.setup()
        yield made
        connection.close()
        return
    retry = redis.asyncio.retry.Retry(NoBackoff(), retries)

    async def asynchronous() -> AsyncRedisSaver:
        there = redis.asyncio.Redis(port=proxy.port, retry=retry, **options)
        made = AsyncRedisSaver(there, key_prefix=key_prefix)
        await made.setup()
        return made

    there = asyncio.run_coroutine_threadsafe(asynchronous(), event_loop_thread).result()
    yield there
    asyncio.run_coroutine_threadsafe(there._runner.client.aclose(), event_loop_thread).result()


@RETRIES
@each_saver
def test_nothing_is_lost_when_a_connection_is_cut(
    saver: Saver, proxy: FaultyProxy, redis_client: redis.Redis, key_prefix: str, retries: int
) -> None:
    """After any byte of a put, a put_writes or a get_tuple, sent or answered."""
    writer, cuts, raised, checked = Writer("thread"), times(60, 800), 0, 0
    choose = random.Random(7)
    writer.step(saver)
    for number in range(cuts):
        which = choose.choice(["request", "reply"])
        # A request has some thousand bytes, the reply to a put few.
        proxy.cut(
            which, choose.randrange(7000 if which == "request" else choose.choice([30, 3000]))
        )
        since, harmed = writer.put, proxy.harmed
        while proxy.harmed == harmed:
            try:
                writer.step(saver)
                checked += writer.check(saver, since)
            except LOST:
                raised += 1
                break
        proxy.heal()
        checked += writer.check(saver, since)
        if number % 20 == 0:  # a new conversation for the next cuts
            writer = Writer(f"thread-{number}")
            writer.step(saver)
    check_contents(redis_client, key_prefix)
    assert proxy.harmed == cuts
    assert (raised == 0) is (retries == 3)
    tried(
        "A connection cut after any byte of a request or a reply "
        f"(`{type(saver).__name__}`, client with {retries} retries)",
        cuts,
        checked=checked,
        lost=0,
        torn=0,
        note=f"{raised} calls raised, the others were retried by the client",
    )


@each_saver
def test_a_reply_is_never_given_to_another_call(saver: Saver, proxy: FaultyProxy) -> None:
    """16 threads read and write one conversation each while connections are cut."""
    done = threading.Event()
    writers = [Writer(f"thread-{number}") for number in range(16)]
    answers = [0] * len(writers)

    def converse(number: int) -> None:
        writer = writers[number]
        while not done.is_set():
            try:
                writer.step(saver)
                found = saver.get_tuple(config(writer.thread_id))
                assert found is not None
                assert found.checkpoint["channel_values"] == writer.values(writer.put)
                answers[number] += 3
            except LOST:
                check(writer)
            if writer.put > 30:
                saver.delete_thread(writer.thread_id)
                writer.put = writer.begun = writer.written = -1

    def check(writer: Writer) -> None:
        while True:
            try:
                writer.check(saver)
                return
            except LOST:
                pass

    choose = random.Random(11)
    cuts = times(30, 400)
    with in_threads(converse, range(len(writers))) as failures:
        for _ in range(cuts):
            harmed = proxy.harmed
            proxy.delay(choose.choice([0, 0, 0.002]))
            proxy.cut(choose.choice(["request", "reply"]), choose.randrange(50_000))
            while proxy.harmed == harmed and not failures:
                done.wait(0.001)
        proxy.heal()
        wait_until(lambda: min(answers) > 0 or failures)
        done.set()
    for writer in writers:
        writer.check(saver)
    tried(
        f"A connection cut while 16 threads use one `{type(saver).__name__}`",
        cuts,
        checked=sum(answers),
        lost=0,
        torn=0,
        note="each call got its own reply",
    )


async def test_a_cancelled_call_leaves_no_reply_to_a_later_one(
    proxy: FaultyProxy, key_prefix: str
) -> None:
    """Its connection is not used again, because its reply may still arrive there."""
    client = redis.asyncio.Redis(port=proxy.port, max_connections=2, protocol=3)
    async with client:
        saver = AsyncRedisSaver(client, key_prefix=key_prefix)
        await saver.setup()
        choose = random.Random(13)
        cancels, cancelled, checked = times(150, 2000), 0, 0
        await saver.aput(*_first("thread-0"))
        for number in range(cancels):
            thread = f"thread-{number % 10}"
            proxy.delay(choose.choice([0, 0.001]))
            task = asyncio.create_task(
                choose.choice(
                    [
                        lambda: saver.aput(*_first(thread)),  # noqa: B023 (called here)
                        lambda: saver.aget_tuple(config(thread)),  # noqa: B023
                        lambda: _listed(saver),
                    ]
                )()
            )
            for _ in range(choose.randrange(12)):
                await asyncio.sleep(0)
            await asyncio.sleep(choose.choice([0, 0, 0.001]))
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                cancelled += 1
            for n in range(min(number, 3)):
                found = await saver.aget_tuple(config(f"thread-{n}"))
                assert found is None or found.checkpoint["channel_values"] == {
                    "whose": f"thread-{n}"
                }
                checked += 1
        assert cancelled
        await saver.aput(*_first("thread-0"))
    tried(
        "A call of `AsyncRedisSaver` cancelled at a random moment",
        cancelled,
        checked=checked,
        lost=0,
        torn=0,
        note="each later call got its own reply",
    )


def _first(thread: str) -> Any:
    values = {"whose": thread}
    checkpoint = Writer(thread)
    made: Any = {
        "v": 4,
        "id": checkpoint.id_of(0),
        "ts": "2025-01-02T03:04:05+00:00",
        "channel_values": values,
        "channel_versions": {"whose": 1},
        "versions_seen": {},
        "updated_channels": None,
    }
    return config(thread), made, {"step": 0}, {"whose": 1}


async def _listed(saver: AsyncRedisSaver) -> None:
    async for _ in saver.alist(None):
        pass


@each_saver
def test_a_put_sent_twice_is_stored_once(saver: Saver, proxy: FaultyProxy) -> None:
    """The reply is lost, so the client sends again what the server has done already."""
    writer = Writer("thread")
    for _ in range(6):
        harmed = proxy.harmed
        proxy.cut("reply", 0)
        writer.step(saver)  # the reply to its put is lost
        proxy.cut("reply", 0)
        writer.write(saver, writer.put)
        assert proxy.harmed == harmed + 2
        writer.check(saver)
    other = saver.get_tuple(config("thread"))
    assert other is not None
    assert len(other.checkpoint["channel_values"]["messages"]) == 6
