"""Sends calls together that wait at the same time on one event loop.

A call goes out at once while few calls are on their way. Further calls wait until one of these
returns, and then go in one pipeline: one round trip for many calls, and far less work for redis-py.
Each call gets its own reply or error.

Threads have no groups: these saved them only a tenth of the time, because Python runs one thread at
a time. Clusters have none either, because the calls of a group would go to several nodes.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any, NamedTuple

from redis.asyncio import Redis

from langgraph_redis_json.client.plan import Command, Replies

MOST_AT_ONCE = 8
"""Calls and groups on their way at the same time. A call that finds fewer of them does not wait."""

MOST_IN_GROUP = 100
"""Calls in a group. Each gets its reply when the server has carried out all of them."""

MOST_BYTES = 256 * 1024
"""Bytes of a group after which it takes no further call."""

Exchange = Callable[[Redis, Sequence[Command]], Awaitable[Replies]]
"""Sends commands in one trip. Returns their replies, some of which may be exceptions."""


class Groups:
    """The calls of one saver. Each event loop has groups of its own, on connections of its own.

    Args:
        exchange: sends commands.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._loops: dict[asyncio.AbstractEventLoop, _GroupsOfLoop] = {}

    async def send(self, client: Redis, command: Command) -> Any:
        """The reply to a command, which may be an exception.

        Args:
            client: that of the running event loop.
            command: one that may be sent again after a lost connection, as scripts may.
        """
        loop = asyncio.get_running_loop()
        groups = self._loops.get(loop)
        if groups is None:
            # A group that was on its way there holds its loop, so a weak reference would not do.
            for closed in [other for other in [*self._loops] if other.is_closed()]:
                self._loops.pop(closed, None)
            groups = self._loops[loop] = _GroupsOfLoop(self._exchange)
        return await groups.send(client, command, loop)


class _Waiting(NamedTuple):
    """A call that waits to be sent."""

    client: Redis
    command: Command
    reply: "asyncio.Future[Any]"


class _GroupsOfLoop:
    """The calls on one event loop."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._on_their_way = 0
        self._waiting: deque[_Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, client: Redis, command: Command, loop: asyncio.AbstractEventLoop) -> Any:
        # A small pool of the caller's own would refuse to open more connections.
        if self._on_their_way < min(MOST_AT_ONCE, client.connection_pool.max_connections):
            self._on_their_way += 1
            try:
                [reply] = await self._exchange(client, [command])
                return reply
            finally:
                self._on_their_way -= 1
                self._send_waiting()
        waiting = _Waiting(client, command, loop.create_future())
        self._waiting.append(waiting)
        return await waiting.reply

    def _send_waiting(self) -> None:
        """Send the calls that wait, as one group."""
        group: list[_Waiting] = []
        size = 0
        while self._waiting and len(group) < MOST_IN_GROUP and size < MOST_BYTES:
            if group and self._waiting[0].client is not group[0].client:
                break
            call = self._waiting.popleft()
            if not call.reply.done():  # else the call was cancelled
                group.append(call)
                size += sum([len(part) for part in call.command if not isinstance(part, int)])
        if group:
            self._on_their_way += 1
            # It has a task and a context of its own, so that to cancel a call harms no other call.
            task = Context().run(asyncio.ensure_future, self._send_group(group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send_group(self, group: Sequence[_Waiting]) -> None:
        try:
            replies = await self._exchange(group[0].client, [call.command for call in group])
        except asyncio.CancelledError:  # the event loop ends
            for call in group:
                call.reply.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - each call raises it
            replies = [error] * len(group)
        finally:
            self._on_their_way -= 1
            self._send_waiting()
        for call, reply in zip(group, replies, strict=True):
            if not call.reply.done():
                call.reply.set_result(reply)
