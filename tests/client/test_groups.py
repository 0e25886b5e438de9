"""Calls that wait at the same time on an event loop go out together."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from typing import Any
from weakref import ReferenceType, ref

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import ResponseError

from langgraph_redis_json import AsyncRedisSaver, embedded
from langgraph_redis_json.client.async_runner import _exchange
from langgraph_redis_json.client.groups import MOST_AT_ONCE, MOST_BYTES, MOST_IN_GROUP, Groups
from langgraph_redis_json.client.plan import Command, Replies
from tests.support.checkpoints import checkpoint, config

PUSH = "return redis.call('RPUSH', KEYS[1], ARGV[1])"


class Recorder:
    """Sends commands to the server.

    Attributes:
        groups: the commands of each trip.
        gate: trips wait until it is open.
        most_at_once: how many trips were on their way at the same time, at most.
    """

    def __init__(self) -> None:
        self.groups: list[Sequence[Command]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = self.most_at_once = 0
        self._news = asyncio.Condition()

    async def __call__(self, client: Redis, commands: Sequence[Command]) -> Replies:
        self.groups.append(commands)
        async with self._news:
            self._news.notify_all()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        replies = await _exchange(client, commands)
        self.at_once -= 1
        return replies

    async def group_of(self, count: int) -> None:
        """Wait for a trip with so many commands."""
        async with self._news:
            await self._news.wait_for(lambda: any(len(group) == count for group in self.groups))


@pytest_asyncio.fixture
async def client(redis_url: str, key_prefix: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as made:
        yield made
        await made.delete(key_prefix)


@pytest.fixture
def sent() -> Recorder:
    return Recorder()


async def crowd(groups: Groups, client: Redis, commands: Sequence[Command]) -> list[Any]:
    return await asyncio.gather(*(groups.send(client, command) for command in commands))


def push(key: str, what: object) -> Command:
    return ("EVAL", PUSH, 1, key, f"{what}")


async def test_a_lone_call_goes_alone(client: Redis, sent: Recorder, key_prefix: str) -> None:
    groups = Groups(sent)
    for number in range(3):
        assert await groups.send(client, push(key_prefix, number)) == number + 1
    assert [*map(len, sent.groups)] == [1, 1, 1]


async def test_a_crowd_goes_in_groups_and_in_order(
    client: Redis, sent: Recorder, key_prefix: str
) -> None:
    """Each call gets its own reply. The calls that wait are carried out in their order."""
    groups, count = Groups(sent), 500
    replies = await crowd(groups, client, [push(key_prefix, n) for n in range(count)])
    assert sorted(replies) == [*range(1, count + 1)]
    sizes = [*map(len, sent.groups)]
    assert sizes[:MOST_AT_ONCE] == [1] * MOST_AT_ONCE
    assert sum(sizes) == count
    assert MOST_IN_GROUP / 2 < max(sizes) <= MOST_IN_GROUP
    assert len(sizes) <= MOST_AT_ONCE + 2 * count / MOST_IN_GROUP
    for group in sent.groups:
        numbers = [int(command[4]) for command in group]
        assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    # Nothing is left behind: the next call goes alone, and the next crowd in as few trips.
    await groups.send(client, push(key_prefix, "last"))
    assert len(sent.groups[-1]) == 1
    await crowd(groups, client, [push(key_prefix, n) for n in range(count)])
    assert sent.most_at_once == MOST_AT_ONCE


async def test_large_calls_go_in_small_groups(
    client: Redis, sent: Recorder, key_prefix: str
) -> None:
    groups = Groups(sent)
    await crowd(groups, client, [push(key_prefix, "x" * (MOST_BYTES // 2))] * 30)
    assert max(map(len, sent.groups)) == 2


async def test_each_call_gets_its_own_error(client: Redis, sent: Recorder, key_prefix: str) -> None:
    groups = Groups(sent)
    wrong: Command = ("EVAL", "return redis.error_reply('wrong')", 1, key_prefix)
    commands = [wrong if number % 3 == 0 else push(key_prefix, number) for number in range(60)]
    replies = await crowd(groups, client, commands)
    assert max(map(len, sent.groups)) > 10
    for command, reply in zip(commands, replies, strict=True):
        assert isinstance(reply, ResponseError) == (command is wrong)


async def test_a_lost_server_fails_every_call(sent: Recorder) -> None:
    async with Redis(port=embedded._free_port(), retry=Retry(NoBackoff(), 0)) as client:
        groups = Groups(sent)
        calls = [groups.send(client, push("key", number)) for number in range(40)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error) for error in ended} <= {LostConnectionError}
        assert max(map(len, sent.groups)) > 10
        with pytest.raises(LostConnectionError):
            await groups.send(client, push("key", "last"))


async def test_a_crowd_fits_into_a_small_pool(redis_url: str, key_prefix: str) -> None:
    """A client's own pool may refuse to open more connections than it allows."""
    async with Redis.from_url(redis_url, max_connections=3, decode_responses=True) as client:
        groups = Groups(Recorder())
        replies = await crowd(groups, client, [push(key_prefix, n) for n in range(200)])
        assert sorted(replies) == [*range(1, 201)]
        await client.delete(key_prefix)


async def test_a_cancelled_call_harms_no_other(
    client: Redis, sent: Recorder, key_prefix: str
) -> None:
    """One of each: on its way alone, in a group on its way, and not yet sent."""
    groups = Groups(sent)
    sent.gate.clear()
    tasks = [
        asyncio.create_task(groups.send(client, push(key_prefix, number)))
        for number in range(MOST_AT_ONCE + 2 * MOST_IN_GROUP + 10)
    ]
    await asyncio.sleep(0)  # the first ones are on their way now, the others wait
    alone, waiting = tasks[3], tasks[-1]
    alone.cancel()
    waiting.cancel()
    await sent.group_of(MOST_IN_GROUP)  # the call that was cancelled has made room for it
    in_group = tasks[MOST_AT_ONCE + 3]
    assert len(sent.groups[-1]) == MOST_IN_GROUP
    in_group.cancel()
    sent.gate.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    cancelled = {alone, in_group, waiting}
    for task, reply in zip(tasks, ended, strict=True):
        assert isinstance(reply, asyncio.CancelledError) == (task in cancelled)
    pushed: Any = await client.execute_command("LRANGE", key_prefix, 0, -1)
    numbers = {*range(len(tasks))} - {3, len(tasks) - 1}
    assert {*map(int, pushed)} == numbers
    await groups.send(client, push(key_prefix, "last"))
    assert len(sent.groups[-1]) == 1


async def test_a_group_has_no_context_of_a_caller(
    client: Redis, sent: Recorder, key_prefix: str
) -> None:
    """It belongs to many calls, so it must not look like a part of one."""
    caller: ContextVar[str] = ContextVar("caller", default="nobody")
    seen: list[tuple[int, str]] = []

    async def exchange(client: Redis, commands: Sequence[Command]) -> Replies:
        seen.append((len(commands), caller.get()))
        return await sent(client, commands)

    caller.set("somebody")
    await crowd(Groups(exchange), client, [push(key_prefix, n) for n in range(50)])
    assert {name for size, name in seen if size == 1} == {"somebody"}
    assert {name for size, name in seen if size > 1} == {"nobody"}


def test_a_closed_loop_is_forgotten() -> None:
    """A group was on its way there, and never comes back."""

    async def exchange(client: Redis, commands: Sequence[Command]) -> Replies:
        await asyncio.sleep(0 if len(commands) == 1 else 1_000)
        return ["reply"] * len(commands)

    groups, client = Groups(exchange), Redis()

    def leave() -> ReferenceType[asyncio.AbstractEventLoop]:
        loop = asyncio.new_event_loop()
        calls = [groups.send(client, push("key", number)) for number in range(MOST_AT_ONCE + 2)]
        waiting = asyncio.wait([loop.create_task(call) for call in calls], timeout=0.01)
        done, pending = loop.run_until_complete(waiting)
        assert (len(done), len(pending)) == (MOST_AT_ONCE, 2)
        loop.close()
        return ref(loop)

    left = leave()
    assert asyncio.run(groups.send(client, push("key", "next"))) == "reply"
    gc.collect()
    assert left() is None


def test_loops_that_end_early_leave_nothing_behind(redis_url: str, key_prefix: str) -> None:
    """A loop may end while calls wait; the next loop is not affected."""
    saver = AsyncRedisSaver(redis_url, key_prefix=key_prefix)

    async def leave() -> None:
        await saver.setup()
        for number in range(200):
            made = checkpoint(f"{number:03}")
            task = asyncio.create_task(saver.aput(config(), made, {"step": number}, {}))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.sleep(0)

    async def stay() -> int:
        made = checkpoint("999")
        calls = [saver.aput(config(), made, {"step": number}, {}) for number in range(100)]
        found = len(await asyncio.gather(*calls))
        await saver.aclose()
        return found

    for _ in range(2):
        asyncio.run(leave())
    assert asyncio.run(stay()) == 100
