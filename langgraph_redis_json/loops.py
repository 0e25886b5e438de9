"""Connections belong to the event loop that they were made on, and to one process."""

import asyncio
from copy import copy
from itertools import zip_longest
from os import getpid
from typing import Any
from weakref import proxy

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

_inherited: list[Any] = []
"""Connections of a parent process. If they were finalized here, they would leave what the parent's
event loop waits for, too, for the kernel has that but once; and the parent would wait for ever."""


class Home:
    """The event loop that a saver and its clones are awaited on.

    Attributes:
        loop: the one on which they were awaited last.
        process: the process in which that was.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.process = 0
        # What pools were like on other loops, which may go on: the attributes of each.
        self._asleep: dict[asyncio.AbstractEventLoop, list[dict[str, Any]]] = {}

    def is_awake(self) -> bool:
        """Whether the loop runs, and goes on when a call has ended."""
        return self.loop is not None and self.process == getpid() and self.loop.is_running()

    def settle(self, client: Redis | RedisCluster) -> None:
        """See that a client's connections are those of the running event loop and this process.

        (Those of a cluster's client belong to its first loop for ever.)
        """
        loop = asyncio.get_running_loop()
        if loop is self.loop and self.process == getpid():
            return
        if self.loop is not None and isinstance(client, Redis):
            pools = _pools(client)
            self._asleep[self.loop] = [vars(pool).copy() for pool in pools]
            if self.process != getpid():
                _inherited.append(self._asleep)
                self._asleep = {}
            for other in [other for other in self._asleep if other.is_closed()]:
                del self._asleep[other]
            for pool, own in zip_longest(pools, self._asleep.pop(loop, ())):
                if own:
                    vars(pool).update(own)
                else:
                    _renew(pool)
        self.loop, self.process = loop, getpid()


def with_own_connections(client: Redis) -> Redis:
    """The same client on other connections."""
    twin = copy(client)
    pool: Any = copy(client.connection_pool)
    twin.connection_pool = pool
    if manager := getattr(pool, "sentinel_manager", None):
        pool.connection_kwargs = {**pool.connection_kwargs, "connection_pool": proxy(pool)}
        pool.sentinel_manager = copy(manager)
        pool.sentinel_manager.sentinels = [*map(with_own_connections, manager.sentinels)]
    _renew(pool)
    return twin


async def disconnect(client: Redis | RedisCluster) -> None:
    """Close all connections of a client; it may open others."""
    if isinstance(client, RedisCluster):
        await client.aclose()
    else:
        for pool in _pools(client):
            await pool.disconnect()


def _pools(client: Redis) -> list[Any]:
    """The pool of a client, and those of its Sentinels."""
    pool = client.connection_pool
    manager = getattr(pool, "sentinel_manager", None)
    return [pool, *(each.connection_pool for each in (manager.sentinels if manager else ()))]


def _renew(pool: Any) -> None:
    """Let a pool begin anew, without connections, on another event loop."""
    for name, value in vars(pool).items():
        if isinstance(value, (asyncio.Lock, asyncio.Condition)):
            setattr(pool, name, type(value)())
    pool.reset()
